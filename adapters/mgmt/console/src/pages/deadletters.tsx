import { useEffect, useState } from 'preact/hooks';
import { api, at, withQuery, type Json } from '../lib/api';
import { count, exchangeName, plural, rate } from '../lib/format';
import { useLive } from '../lib/live';
import { href, to, vhost } from '../lib/router';
import { mayAct } from '../lib/session';
import { Badge, Button, Empty, Failure, Loading, Note, Page, Panel } from '../ui/parts';
import { Table } from '../ui/table';
import { moveFrom } from './move';

const reasons: [string, string][] = [['rejected', 'rejected'], ['expired', 'expired'], ['maxlen', 'queue full'], ['delivery_limit', 'came back too often']];

interface Source {
  q: Json;
  exchange?: string;
  key?: string;
  /** Queues that its dead letters reach; none: they are lost. */
  sinks: string[];
  died: number;
  now: number;
}

/** sources finds the queues whose messages died or may die, and where they go. */
function sources(queues: Json[], bindings: Json[], exchanges: Json[]): Source[] {
  const types = new Map(exchanges.map((x) => [`${x.vhost}|${x.name}`, x.type as string]));
  const from = new Map<string, Json[]>();
  for (const b of bindings) {
    const k = `${b.vhost}|${b.source}`;
    from.set(k, [...(from.get(k) ?? []), b]);
  }
  const names = new Set(queues.map((q) => `${q.vhost}|${q.name}`));
  const reach = (vh: string, x: string, key: string | undefined, seen: Set<string>): string[] => {
    if (x === '') return key !== undefined && names.has(`${vh}|${key}`) ? [key] : [];
    if (seen.has(x)) return [];
    seen.add(x);
    return (from.get(`${vh}|${x}`) ?? []).filter((b) => types.get(`${vh}|${x}`) !== 'direct' || key === undefined || b.routing_key === key)
      .flatMap((b) => (b.destination_type === 'queue' ? [b.destination as string] : reach(vh, b.destination, key, seen)));
  };
  return queues.map((q): Source => {
    const exchange = q.arguments?.['x-dead-letter-exchange'] ?? q.effective_policy_definition?.['dead-letter-exchange'];
    const key = q.arguments?.['x-dead-letter-routing-key'] ?? q.effective_policy_definition?.['dead-letter-routing-key'];
    const s = q.message_stats ?? {};
    const parked = names.has(`${q.vhost}|parked.${q.name}`) ? [`parked.${q.name}`] : [];
    return {
      q, exchange, key, sinks: [...new Set([...parked, ...(exchange === undefined ? [] : reach(q.vhost, exchange, key, new Set()))])],
      died: reasons.reduce((n, [r]) => n + (s[`dead_lettered_${r}`] ?? 0), 0), now: reasons.reduce((n, [r]) => n + (s[`dead_lettered_${r}_details`]?.rate ?? 0), 0),
    };
  }).filter((s) => s.exchange !== undefined || s.died > 0 || s.sinks.length > 0);
}

/** DeadLetters shows where messages die, why, and where they are now; and sends them back. */
export function DeadLetters() {
  const v = vhost.value;
  const of = (kind: string, columns: string) => (v ? at`/${kind}/${v}` : `/${kind}`) + `?columns=${columns}`;
  const queues = useLive<Json[]>(of('queues', 'name,vhost,type,arguments,effective_policy_definition,messages_ready,messages,consumers,message_stats'), 10);
  const bindings = useLive<Json[]>(of('bindings', 'vhost,source,destination,destination_type,routing_key'), 30);
  const exchanges = useLive<Json[]>(of('exchanges', 'vhost,name,type'), 30);
  const error = queues.error ?? bindings.error ?? exchanges.error;
  if (error && !queues.data) return <Page title="Dead letters"><Failure error={error} /></Page>;
  if (!queues.data || !bindings.data || !exchanges.data) return <Page title="Dead letters"><Loading /></Page>;

  const all = sources(queues.data, bindings.data, exchanges.data);
  const fed = new Map<string, Source[]>();
  for (const s of all) for (const k of s.sinks) fed.set(`${s.q.vhost}|${k}`, [...(fed.get(`${s.q.vhost}|${k}`) ?? []), s]);
  const sinks = queues.data.filter((q) => fed.has(`${q.vhost}|${q.name}`)).sort((a, b) => (b.messages_ready ?? 0) - (a.messages_ready ?? 0));
  const lost = all.filter((s) => s.died > 0 && s.sinks.length === 0);
  return (
    <Page title="Dead letters">
      <p class="muted lead">Messages that were rejected, expired, did not fit or came back too often: where they lie, what became of them, and the way back.</p>
      {lost.length > 0 && <Note tone="warn" title={`${plural(lost.reduce((n, s) => n + s.died, 0), 'message')} died where nothing catches them`}>
        {lost.slice(0, 5).map((s, i) => <span key={s.q.name}>{i > 0 && ', '}<a href={to.queue(s.q.vhost, s.q.name)}>{s.q.name}</a></span>)}{lost.length > 5 && ` and ${lost.length - 5} more`} {lost.length === 1 ? 'has' : 'have'} no dead letter exchange that leads to a queue. A <a href={href(['policies'], { vhost: v })}>policy</a> with dead-letter-exchange keeps them.
      </Note>}
      {sinks.length === 0 ? <Empty title="No queue catches dead letters">Give queues a dead-letter-exchange, by policy or argument, and bind a queue to it: then what fails can be looked at and sent back.</Empty>
        : sinks.slice(0, 50).map((q) => <Sink key={`${q.vhost}|${q.name}`} q={q} from={fed.get(`${q.vhost}|${q.name}`)!} />)}
      {all.some((s) => s.died > 0) && <Panel title="Where messages die" flush>
        <Table label="Where messages die" empty="" rows={all.filter((s) => s.died > 0).sort((a, b) => b.died - a.died).slice(0, 200)} rowKey={(s) => `${s.q.vhost}|${s.q.name}`} cells={[
          { title: 'Queue', cell: (s) => <a href={to.queue(s.q.vhost, s.q.name)}>{s.q.name}</a> },
          ...reasons.map(([r, title]) => ({ title: title[0]!.toUpperCase() + title.slice(1), num: true, cell: (s: Source) => count(s.q.message_stats?.[`dead_lettered_${r}`] ?? 0) })),
          { title: 'Now', num: true, cell: (s) => rate(s.now) },
          { title: 'They go to', cell: (s) => s.sinks.length === 0 && s.exchange === undefined ? <Badge tone="warn">nowhere: no dead letter exchange</Badge> : s.sinks.length === 0 ? <Badge tone="bad">nowhere: {exchangeName(s.exchange ?? '')} leads to no queue</Badge> : s.sinks.map((k, i) => <span key={k}>{i > 0 && ', '}<a href={to.queue(s.q.vhost, k)}>{k}</a></span>) },
        ]} />
      </Panel>}
    </Page>
  );
}

interface Heap {
  source: string;
  reason: string;
  n: number;
}

/** Sink is one queue of dead letters or of parked messages, with what its first messages died of. */
function Sink({ q, from }: { q: Json; from: Source[] }) {
  const [heaps, setHeaps] = useState<Heap[]>();
  const [looked, setLooked] = useState(0);
  const [absent, setAbsent] = useState(false);
  useEffect(() => {
    const end = new AbortController();
    api.get(withQuery(at`/queues/${q.vhost}/${q.name}/messages`, { count: 500, truncate: 1, state: 'ready' }), end.signal).then((a) => {
      const by = new Map<string, Heap>();
      for (const m of a.messages) {
        const h = m.properties?.headers;
        const d = h?.['x-death']?.[0];
        const source = d?.queue ?? h?.['x-last-death-queue'] ?? '', reason = d?.reason ?? h?.['x-last-death-reason'] ?? '';
        const k = `${source}|${reason}`;
        const heap = by.get(k) ?? { source, reason, n: 0 };
        heap.n++;
        by.set(k, heap);
      }
      setHeaps([...by.values()].sort((x, y) => y.n - x.n));
      setLooked(a.messages.length);
    }, (err) => {
      if (!end.signal.aborted) setAbsent(err.missing);
    });
    return () => end.abort();
  }, [q.vhost, q.name, Math.floor((q.messages_ready ?? 0) / 50)]);
  return (
    <Panel flush title={<><a href={to.queue(q.vhost, q.name, { tab: 'messages' })}>{q.name}</a> <span class="muted">{plural(q.messages_ready ?? 0, 'message')}{q.vhost !== '/' && ` in ${q.vhost}`}</span></>}
      aside={<><a class="button" href={to.queue(q.vhost, q.name, { tab: 'messages' })}>Look at them</a>{mayAct.value && <Button kind="primary" disabled={!q.messages_ready} onClick={() => moveFrom({ vhost: q.vhost, queue: q.name, initial: 'origin' })}>Send back…</Button>}</>}>
      {heaps && heaps.length > 0 ? (
        <Table label={`Dead letters in ${q.name}`} empty="" rows={heaps} rowKey={(h) => `${h.source}|${h.reason}`} cells={[
          { title: 'Died in', cell: (h) => h.source ? <a href={to.queue(q.vhost, h.source)}>{h.source}</a> : <span class="muted">did not die: published here</span> },
          { title: 'Because', cell: (h) => h.reason && <Badge tone="bad">{reasons.find(([r]) => r === h.reason)?.[1] ?? h.reason}</Badge> },
          { title: looked < (q.messages_ready ?? 0) ? `Of the first ${count(looked)}` : 'Messages', num: true, cell: (h) => count(h.n) },
          { title: '', cell: (h) => mayAct.value && h.source && <Button kind="quiet" onClick={() => moveFrom({ vhost: q.vhost, queue: q.name, initial: 'origin', reason: h.reason })}>Send these back…</Button> },
        ]} />
      ) : <p class="pad muted">{absent ? 'This broker cannot look into queues.' : q.messages_ready ? 'Looking…' : 'Nothing in it.'} Catches what dies in {from.slice(0, 6).map((s, i) => <span key={s.q.name}>{i > 0 && ', '}<a href={to.queue(s.q.vhost, s.q.name)}>{s.q.name}</a></span>)}{from.length > 6 && ` and ${from.length - 6} more`}.</p>}
    </Panel>
  );
}
