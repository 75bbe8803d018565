// A picture of a virtual host: exchanges, queues and who consumes, with what
// flows between them now.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { at, type Json } from '../lib/api';
import { count, exchangeName, plural, rate, short, value } from '../lib/format';
import { layout, type Arrow, type Box } from '../lib/layout';
import { useLive } from '../lib/live';
import { href, route, setQuery, to, vhost } from '../lib/router';
import { Icon } from '../ui/icons';
import { Button, Empty, Facts, Failure, Loading, Page } from '../ui/parts';
import { clientName } from './connections';

interface Node {
  id: string;
  kind: 'exchange' | 'queue' | 'client' | 'group';
  name: string;
  note: string;
  link?: string;
  /** Names of what a group stands for. */
  members?: string[];
  tone?: 'warn';
  facts: [string, string][];
}

interface Edge extends Arrow {
  label: string;
  title: string;
  rate?: number;
  dead?: boolean;
}

const groupFrom = 6;

/** picture makes nodes and edges of what there is. */
function picture(v: string, exchanges: Json[], queues: Json[], bindings: Json[], consumers: Json[], connections: Json[], o: { unbound: boolean; find: string; open: ReadonlySet<string> }): { nodes: Node[]; edges: Edge[]; hidden: number } {
  const nodes = new Map<string, Node>();
  const edges = new Map<string, Edge & { keys: string[] }>();
  const X = (n: string) => 'x:' + n, Q = (n: string) => 'q:' + n;
  const byName = new Map(queues.map((q) => [q.name as string, q]));
  const clients = new Map(connections.map((c) => [c.name as string, c]));

  const link = (from: string, to: string, key: string, dead = false) => {
    const id = `${from}>${to}${dead ? '!' : ''}`;
    const e = edges.get(id);
    if (e) e.keys.push(key);
    else edges.set(id, { from, to, keys: [key], label: '', title: '', dead });
  };
  const made = bindings.filter((b) => b.source !== '');
  for (const b of made) link(X(b.source), b.destination_type === 'queue' ? Q(b.destination) : X(b.destination), b.routing_key || (Object.keys(b.arguments).length ? value(b.arguments) : ''));
  for (const x of exchanges) if (x.arguments?.['alternate-exchange']) link(X(x.name), X(x.arguments['alternate-exchange']), 'alternate');
  for (const q of queues) {
    const dlx = q.arguments?.['x-dead-letter-exchange'] ?? q.effective_policy_definition?.['dead-letter-exchange'];
    const key = q.arguments?.['x-dead-letter-routing-key'] ?? q.effective_policy_definition?.['dead-letter-routing-key'];
    if (dlx === '' && key && byName.has(key)) link(Q(q.name), Q(key), 'dead letters', true);
    else if (dlx) link(Q(q.name), X(dlx), key ?? '', true);
  }
  const perClient = new Map<string, { name: string; kind: string; consumers: number; connection: string }>();
  for (const c of consumers) {
    const conn = clients.get(c.channel_details?.connection_name);
    const name = (conn && clientName(conn)) || c.channel_details?.connection_name || c.consumer_tag;
    const id = 'c:' + name;
    const p = perClient.get(id) ?? { name, kind: conn?.protocol ?? '', consumers: 0, connection: c.channel_details?.connection_name ?? '' };
    p.consumers++;
    perClient.set(id, p);
    link(Q(c.queue.name), id, '');
  }

  const used = new Set([...edges.values()].flatMap((e) => [e.from, e.to]));
  let hidden = 0;
  for (const x of exchanges) {
    if (x.name === '' || (!used.has(X(x.name)) && (x.name.startsWith('amq.') || !o.unbound))) {
      if (x.name !== '' && !x.name.startsWith('amq.')) hidden++;
      continue;
    }
    const s = x.message_stats;
    nodes.set(X(x.name), { id: X(x.name), kind: 'exchange', name: exchangeName(x.name), note: s?.publish_in_details?.rate ? `${x.type} · ${rate(s.publish_in_details.rate)}` : x.type, link: to.exchange(v, x.name),
      facts: [['Type', x.type], ['In', rate(s?.publish_in_details?.rate ?? 0)], ['Out', rate(s?.publish_out_details?.rate ?? 0)]] });
  }
  for (const q of queues) {
    if (!used.has(Q(q.name)) && !o.unbound) {
      hidden++;
      continue;
    }
    const s = q.message_stats;
    nodes.set(Q(q.name), { id: Q(q.name), kind: 'queue', name: q.name, note: [q.type !== 'classic' && q.type, `${short(q.messages_ready ?? 0)} ready`].filter(Boolean).join(' · '), link: to.queue(v, q.name), tone: q.type !== 'stream' && q.messages_ready > 0 && q.consumers === 0 ? 'warn' : undefined,
      facts: [['Ready', count(q.messages_ready ?? 0)], ['Unacked', count(q.messages_unacknowledged ?? 0)], ['Consumers', count(q.consumers ?? 0)], ['In', rate(s?.publish_details?.rate ?? 0)], ['Out', rate(s?.deliver_get_details?.rate ?? 0)]] });
  }
  for (const [id, p] of perClient) nodes.set(id, { id, kind: 'client', name: p.name, note: p.consumers > 1 ? `${p.kind} · ${plural(p.consumers, 'consumer')}` : p.kind, link: p.connection ? to.connection(p.connection) : undefined, facts: [['Protocol', p.kind], ['Consumers', count(p.consumers)]] });
  for (const [id, e] of edges) {
    if (!nodes.has(e.from) || !nodes.has(e.to)) edges.delete(id);
  }

  // Queues that differ only by name and are many stand as one.
  const likeness = new Map<string, string[]>();
  for (const n of nodes.values()) {
    if (n.kind !== 'queue') continue;
    const near = [...edges.values()].filter((e) => e.from === n.id || e.to === n.id).map((e) => (e.from === n.id ? (e.to.startsWith('c:') ? '>client' : '>' + e.to + e.dead) : '<' + e.from)).sort();
    const key = near.join(' ');
    likeness.set(key, [...(likeness.get(key) ?? []), n.id]);
  }
  for (const [key, all] of likeness) {
    if (all.length < groupFrom || o.open.has('g:' + key)) continue;
    const id = 'g:' + key, members = all.map((q) => nodes.get(q)!);
    const sum = (f: (q: Json) => number) => members.reduce((s, m) => s + f(byName.get(m.name)), 0);
    nodes.set(id, { id, kind: 'group', name: `${count(all.length)} queues`, note: `${members[0]!.name} …`, members: members.map((m) => m.name), facts: [['Ready', count(sum((q) => q.messages_ready ?? 0))], ['In', rate(sum((q) => q.message_stats?.publish_details?.rate ?? 0))]] });
    for (const m of members) nodes.delete(m.id);
    const swap = (n: string) => (all.includes(n) ? id : n);
    for (const [eid, e] of [...edges]) {
      if (!all.includes(e.from) && !all.includes(e.to)) continue;
      edges.delete(eid);
      const [f, t] = [swap(e.from), swap(e.to)];
      const old = edges.get(`${f}>${t}`);
      if (old) old.keys.push(...e.keys);
      else edges.set(`${f}>${t}`, { ...e, from: f, to: t });
    }
  }

  // What flows over an arrow is known where it is the only one into or out of a queue.
  const into = new Map<string, number>(), out = new Map<string, number>();
  for (const e of edges.values()) {
    if (!e.dead) into.set(e.to, (into.get(e.to) ?? 0) + 1);
    if (e.to.startsWith('c:')) out.set(e.from, (out.get(e.from) ?? 0) + 1);
  }
  const list: Edge[] = [...edges.values()].map((e) => {
    const target = e.to.startsWith('q:') ? byName.get(e.to.slice(2)) : undefined, source = e.from.startsWith('q:') ? byName.get(e.from.slice(2)) : undefined;
    let r: number | undefined;
    if (e.dead && source) r = ['rejected', 'expired', 'maxlen', 'delivery_limit'].reduce((s, k) => s + (source.message_stats?.[`dead_lettered_${k}_details`]?.rate ?? 0), 0);
    else if (target && into.get(e.to) === 1) r = target.message_stats?.publish_details?.rate ?? 0;
    else if (source && e.to.startsWith('c:') && out.get(e.from) === 1) r = source.message_stats?.deliver_get_details?.rate ?? 0;
    const keys = [...new Set(e.keys)].filter(Boolean);
    return { from: e.from, to: e.to, dead: e.dead, rate: r, label: keys.length === 0 ? '' : keys.length === 1 ? keys[0]! : `${keys[0]} +${keys.length - 1}`, title: keys.join('\n') };
  });

  if (o.find) {
    const f = o.find.toLowerCase();
    const hit = new Set([...nodes.values()].filter((n) => n.name.toLowerCase().includes(f) || n.members?.some((m) => m.toLowerCase().includes(f))).map((n) => n.id));
    const show = new Set(hit);
    const walk = (ids: Set<string>, next: (e: Edge, id: string) => string | undefined) => {
      const open = [...ids];
      const seen = new Set(ids);
      while (open.length > 0) {
        const id = open.pop()!;
        for (const e of list) {
          const n = next(e, id);
          if (n && !seen.has(n)) {
            seen.add(n);
            show.add(n);
            open.push(n);
          }
        }
      }
    };
    walk(hit, (e, id) => (e.from === id ? e.to : undefined));
    walk(hit, (e, id) => (e.to === id ? e.from : undefined));
    return { nodes: [...nodes.values()].filter((n) => show.has(n.id)), edges: list.filter((e) => show.has(e.from) && show.has(e.to)), hidden };
  }
  return { nodes: [...nodes.values()], edges: list, hidden };
}

const cols = {
  x: 'name,type,arguments,message_stats.publish_in_details.rate,message_stats.publish_out_details.rate',
  q: 'name,type,arguments,effective_policy_definition,consumers,messages_ready,messages_unacknowledged,message_stats',
  b: 'source,destination,destination_type,routing_key,arguments',
  c: 'queue,consumer_tag,channel_details',
  n: 'name,user_provided_name,client_id,protocol',
};

/** VHostMap draws a virtual host. */
export function VHostMap() {
  const v = vhost.value || '/';
  // A large broker is asked less often: all of it is looked at each time.
  const [every, setEvery] = useState(5);
  const exchanges = useLive<Json[]>(at`/exchanges/${v}?columns=` + cols.x, every);
  const queues = useLive<Json[]>(at`/queues/${v}?columns=` + cols.q, every);
  const bindings = useLive<Json[]>(at`/bindings/${v}?columns=` + cols.b, 2 * every);
  const consumers = useLive<Json[]>(at`/consumers/${v}?columns=` + cols.c, 2 * every);
  const connections = useLive<Json[]>(at`/vhosts/${v}/connections?columns=` + cols.n, 2 * every);
  const find = route.value.query.get('q') ?? '', unbound = route.value.query.get('all') === '1';
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  useEffect(() => setEvery((queues.data?.length ?? 0) > 1000 ? 20 : 5), [queues.data === undefined, v]);
  const error = exchanges.error ?? queues.error ?? bindings.error;
  const ready = exchanges.data && queues.data && bindings.data && consumers.data;
  const pic = useMemo(() => ready ? picture(v, exchanges.data!, queues.data!, bindings.data!, consumers.data!, connections.data ?? [], { unbound, find, open }) : undefined,
    [v, exchanges.data, queues.data, bindings.data, consumers.data, connections.data, unbound, find, open]);
  return (
    <Page title="Map" badges={<span class="muted">of virtual host {v}{!vhost.value && '; choose another above'}</span>}>
      <div class="list-bar">
        <div class="search"><Icon name="search" size={14} /><input type="search" data-filter placeholder="Only what leads to and from…" aria-label="Only what leads to and from" value={find} spellcheck={false} onInput={(e) => setQuery({ q: e.currentTarget.value })} /></div>
        {pic && (pic.hidden > 0 || unbound) && <label class="check-line"><input type="checkbox" checked={unbound} onChange={(e) => setQuery({ all: e.currentTarget.checked ? '1' : undefined })} />also what nothing is bound to{pic.hidden > 0 && ` (${count(pic.hidden)})`}</label>}
        {open.size > 0 && <Button kind="quiet" onClick={() => setOpen(new Set())}>Fold groups</Button>}
        <span class="spring" />
        <ul class="key" aria-hidden="true"><li class="exchange">exchange</li><li class="queue">queue</li><li class="client">consumers</li><li class="dead">dead letters</li></ul>
      </div>
      {error ? <Failure error={error} /> : !pic ? <Loading /> : pic.nodes.length === 0 ? <Empty title={find ? 'Nothing of that name' : 'Nothing is bound here yet'}>{!find && 'Exchanges, queues and who consumes show up here as soon as there are bindings.'}</Empty>
        : <Canvas nodes={pic.nodes} edges={pic.edges} unfold={(id) => setOpen(new Set([...open, id]))} />}
    </Page>
  );
}

const nodeWidth = 186, nodeHeight = 40;

function Canvas({ nodes, edges, unfold }: { nodes: Node[]; edges: Edge[]; unfold: (id: string) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const shape = nodes.map((n) => n.id).join() + '|' + edges.map((e) => `${e.from}>${e.to}`).join();
  // Rates change all the time, places only with what there is.
  const l = useMemo(() => layout(nodes.map((n): Box => ({ id: n.id, width: nodeWidth, height: nodeHeight })), edges), [shape]);
  const [view, setView] = useState({ x: 0, y: 0, k: 1 });
  const [size, setSize] = useState({ w: 800, h: 500 });
  const [near, setNear] = useState<string>();
  const [chosen, setChosen] = useState<string>();
  const drag = useRef<{ x: number; y: number; moved: boolean } | undefined>(undefined);
  const pointers = useRef(new Map<number, [number, number]>());

  const fit = () => {
    const el = box.current;
    if (!el) return;
    const w = el.clientWidth, h = el.clientHeight;
    setSize({ w, h });
    const k = Math.min(1.15, Math.max(0.12, Math.min((w - 48) / Math.max(1, l.width), (h - 48) / Math.max(1, l.height))));
    // Too small to read: show the beginning in a readable size instead.
    const kk = k < 0.4 ? 0.55 : k;
    setView({ k: kk, x: k < 0.4 ? 24 : (w - l.width * kk) / 2, y: k < 0.4 ? 24 : (h - l.height * kk) / 2 });
  };
  useEffect(fit, [l]);
  const zoom = (f: number, cx = size.w / 2, cy = size.h / 2) => setView((o) => {
    const k = Math.min(3, Math.max(0.08, o.k * f));
    return { k, x: cx - ((cx - o.x) * k) / o.k, y: cy - ((cy - o.y) * k) / o.k };
  });

  const focus = near ?? chosen;
  const lit = useMemo(() => {
    if (!focus) return undefined;
    const on = new Set([focus]);
    const walk = (dir: 'from' | 'to') => {
      const openIDs = [focus];
      const seen = new Set(openIDs);
      while (openIDs.length > 0) {
        const id = openIDs.pop()!;
        for (const e of edges) {
          if (e[dir] !== id) continue;
          const other = dir === 'from' ? e.to : e.from;
          if (!seen.has(other)) {
            seen.add(other);
            on.add(other);
            openIDs.push(other);
          }
        }
      }
    };
    walk('from');
    walk('to');
    return on;
  }, [focus, shape]);

  const maxRate = Math.max(1, ...edges.map((e) => e.rate ?? 0));
  const node = nodes.find((n) => n.id === chosen);
  const visible = (x: number, y: number, w: number, h: number) => x * view.k + view.x < size.w + 40 && (x + w) * view.k + view.x > -40 && y * view.k + view.y < size.h + 40 && (y + h) * view.k + view.y > -40;
  return (
    <div class="map" ref={box} onWheel={(e) => {
      e.preventDefault();
      const r = e.currentTarget.getBoundingClientRect();
      if (e.ctrlKey || e.metaKey || Math.abs(e.deltaY) >= 40) zoom(Math.exp(-e.deltaY * 0.0016), e.clientX - r.left, e.clientY - r.top);
      else setView((o) => ({ ...o, x: o.x - e.deltaX, y: o.y - e.deltaY }));
    }}
      onPointerDown={(e) => {
        if ((e.target as Element).closest('.map-tools, .map-card')) return;
        pointers.current.set(e.pointerId, [e.clientX, e.clientY]);
        drag.current = { x: e.clientX, y: e.clientY, moved: false };
      }}
      onPointerMove={(e) => {
        const d = drag.current;
        if (!d || !pointers.current.has(e.pointerId)) return;
        const before = pointers.current.get(e.pointerId)!;
        if (pointers.current.size === 2) {
          const other = [...pointers.current].find(([id]) => id !== e.pointerId)![1];
          const r = e.currentTarget.getBoundingClientRect();
          const was = Math.hypot(before[0] - other[0], before[1] - other[1]), is = Math.hypot(e.clientX - other[0], e.clientY - other[1]);
          if (was > 0) zoom(is / was, (e.clientX + other[0]) / 2 - r.left, (e.clientY + other[1]) / 2 - r.top);
        } else {
          const dx = e.clientX - before[0], dy = e.clientY - before[1];
          if (!d.moved && Math.hypot(e.clientX - d.x, e.clientY - d.y) < 4) return;
          if (!d.moved) e.currentTarget.setPointerCapture(e.pointerId);
          d.moved = true;
          setView((o) => ({ ...o, x: o.x + dx, y: o.y + dy }));
        }
        pointers.current.set(e.pointerId, [e.clientX, e.clientY]);
      }}
      onPointerUp={(e) => {
        pointers.current.delete(e.pointerId);
        if (!drag.current?.moved && !(e.target as Element).closest('.map-node, .map-tools, .map-card')) setChosen(undefined);
        drag.current = undefined;
      }}
      onPointerCancel={(e) => { pointers.current.delete(e.pointerId); drag.current = undefined; }}>
      <svg width="100%" height="100%" role="group" aria-label={`${nodes.length} nodes and ${edges.length} arrows`} class={lit ? 'focused' : undefined}>
        <defs>
          {(['', 'dead'] as const).map((k) => <marker key={k} id={`tip${k}`} class={`tip ${k}`} viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0.8 7.5 4 0 7.2z" /></marker>)}
        </defs>
        <g transform={`translate(${view.x} ${view.y}) scale(${view.k})`}>
          {edges.map((e, i) => {
            const p = l.arrows[i] ?? [];
            if (p.length < 2) return null;
            const on = !lit || (lit.has(e.from) && lit.has(e.to));
            const w = 1.2 + (e.rate ? 2.6 * Math.log1p(e.rate) / Math.log1p(maxRate) : 0);
            const [mx, my] = middle(p);
            const text = [view.k > 0.55 && (edges.length < 120 || (lit && on)) ? e.label : '', e.rate ? rate(e.rate) : ''];
            return (
              <g key={`${e.from}>${e.to}${e.dead}`} class={`map-edge${e.dead ? ' dead' : ''}${e.rate ? ' flows' : ''}${on ? '' : ' off'}`}>
                <path d={curve(p)} stroke-width={w} marker-end={`url(#tip${e.dead ? 'dead' : ''})`}>{e.title && <title>{e.title}</title>}</path>
                {on && text[0] && <text x={mx} y={my - 4} text-anchor="middle">{cut(text[0], 18)}</text>}
                {on && text[1] && view.k > 0.4 && <text x={mx} y={my + 11} text-anchor="middle" class="rate">{text[1]}</text>}
              </g>
            );
          })}
          {nodes.map((n) => {
            const p = l.nodes.get(n.id);
            if (!p || !visible(p.x, p.y, p.width, p.height)) return null;
            return (
              <g key={n.id} class={`map-node ${n.kind}${n.tone ? ' ' + n.tone : ''}${lit && !lit.has(n.id) ? ' off' : ''}${chosen === n.id ? ' chosen' : ''}`} transform={`translate(${p.x} ${p.y})`} tabIndex={0} role="button" aria-label={`${n.kind} ${n.name}, ${n.note}`}
                onPointerEnter={() => { if (!drag.current) setNear(n.id); }} onPointerLeave={() => setNear(undefined)} onClick={() => { if (!drag.current?.moved) setChosen(n.id); }} onKeyDown={(e) => { if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); setChosen(n.id); } }}>
                {n.kind === 'group' && <rect x="4" y="4" width={p.width} height={p.height} rx="6" class="behind" />}
                <rect width={p.width} height={p.height} rx={n.kind === 'exchange' ? 20 : n.kind === 'client' ? 3 : 7} />
                <text x={n.kind === 'exchange' ? 18 : 12} y="17" class="name">{fitted(n.name, p.width - (n.kind === 'exchange' ? 32 : 20), '600 12.5px system-ui, sans-serif', fold)}</text>
                <text x={n.kind === 'exchange' ? 18 : 12} y="31" class="sub">{fitted(n.note, p.width - (n.kind === 'exchange' ? 32 : 20), '11px system-ui, sans-serif', cut)}</text>
                <title>{n.name}</title>
              </g>
            );
          })}
        </g>
      </svg>
      <div class="map-tools"><Button icon="plus" title="Nearer" onClick={() => zoom(1.3)} /><Button icon="minus" title="Farther" onClick={() => zoom(1 / 1.3)} /><Button icon="fit" title="All of it" onClick={fit} /></div>
      {node && (
        <aside class="map-card panel" aria-label={node.name}>
          <div class="body-bar"><h2>{node.name}</h2><span class="spring" /><button type="button" class="button quiet only-icon" aria-label="Close" onClick={() => setChosen(undefined)}><Icon name="close" /></button></div>
          <Facts of={node.facts} />
          {node.members && <p class="above"><Button onClick={() => { unfold(node.id); setChosen(undefined); }}>Show each</Button><a class="button" href={href(['queues'], { vhost: vhost.value || '/' })}>List</a></p>}
          {node.link && <p class="above"><a class="button" href={node.link}>Open {node.kind === 'client' ? 'connection' : node.kind}</a>{node.kind === 'exchange' && <a class="button" href={node.link + '?tab=route'}>Where would this go?</a>}</p>}
        </aside>
      )}
    </div>
  );
}

const cut = (s: string, n: number) => (s.length > n ? s.slice(0, n - 1) + '…' : s);

/** fold leaves out the middle of a long name: what tells names apart is often at their ends. */
const fold = (s: string, n: number) => (s.length > n ? s.slice(0, Math.ceil(n / 2) - 1) + '…' + s.slice(s.length - Math.floor(n / 2)) : s);

const pen = document.createElement('canvas').getContext('2d');
const fits = new Map<string, string>();

/** fitted shortens text until it is no wider than a box. */
function fitted(s: string, width: number, font: string, shorten: (s: string, n: number) => string): string {
  const key = `${width}|${font}|${s}`;
  let out = fits.get(key);
  if (out !== undefined) return out;
  out = cut(s, 60);
  if (pen) {
    pen.font = font;
    for (let n = Math.min(s.length, 60); n > 4 && pen.measureText(out).width > width; n--) out = shorten(s, n);
  }
  if (fits.size > 5000) fits.clear();
  fits.set(key, out);
  return out;
}

/** curve runs through points, level where it meets boxes. */
function curve(p: [number, number][]): string {
  let d = `M${p[0]![0]} ${p[0]![1]}`;
  for (let i = 1; i < p.length; i++) {
    const [x0, y0] = p[i - 1]!, [x1, y1] = p[i]!;
    if (y0 === y1) d += `L${x1} ${y1}`;
    else {
      const c = Math.max(30, Math.abs(x1 - x0) / 2) * (x1 >= x0 ? 1 : -1);
      d += `C${x0 + c} ${y0} ${x1 - c} ${y1} ${x1} ${y1}`;
    }
  }
  return d;
}

/** middle is where a label of an arrow stands: near its end, where arrows are apart. */
function middle(p: [number, number][]): [number, number] {
  const [a, b] = [p.at(-2)!, p.at(-1)!];
  return [a[0] + (b[0] - a[0]) * 0.6, a[1] + (b[1] - a[1]) * 0.68];
}
