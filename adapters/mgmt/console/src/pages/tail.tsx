import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, at, exchangeSegment, open, withQuery, type Json } from '../lib/api';
import { count, exchangeName, plural } from '../lib/format';
import { useOnce } from '../lib/live';
import { route, setQuery, vhost } from '../lib/router';
import { events } from '../lib/sse';
import { Icon } from '../ui/icons';
import { MessageBadges, MessageView, preview } from '../ui/message';
import { Badge, Button, Empty, Failure, Page, Segments, State } from '../ui/parts';

/** TailPage follows an exchange or a queue of choice. */
export function TailPage() {
  const q = route.value.query, v = vhost.value || '/';
  const kind = q.get('kind') === 'queue' ? 'queue' : 'exchange';
  const name = q.get('name') ?? '';
  const names = useOnce<Json[]>(kind === 'queue' ? at`/queues/${v}?columns=name&disable_stats=true` : at`/exchanges/${v}?columns=name`);
  const [typed, setTyped] = useState(name);
  return (
    <Page title="Live tail">
      <form class="list-bar" onSubmit={(e) => { e.preventDefault(); setQuery({ name: typed }); }}>
        <Segments label="Follow" value={kind} options={[['exchange', 'Exchange'], ['queue', 'Queue']]} onChange={(k) => { setTyped(''); setQuery({ kind: k === 'queue' ? 'queue' : undefined, name: undefined, key: undefined }); }} />
        <input name="name" list="tail-names" aria-label={kind === 'queue' ? 'Queue' : 'Exchange'} placeholder={kind === 'queue' ? 'queue' : 'exchange'} value={typed} spellcheck={false} autocomplete="off" onInput={(e) => setTyped(e.currentTarget.value)} />
        <datalist id="tail-names">{names.data?.filter((x) => x.name).slice(0, 500).map((x) => <option key={x.name} value={x.name} />)}</datalist>
        <Button type="submit" kind="primary" disabled={typed === ''}>Follow</Button>
      </form>
      {name ? <Tailing key={`${kind}/${v}/${name}`} vhost={v} kind={kind} name={name} /> : <Empty title="Choose what to follow">Messages show up here as they pass. None is consumed and nothing is slowed down.</Empty>}
    </Page>
  );
}

interface Seen {
  id: number;
  at: number;
  m: Json;
}

const keep = 300;

/** Tailing shows messages as they pass an exchange or a queue, the newest first. */
export function Tailing({ vhost, kind, name }: { vhost: string; kind: 'exchange' | 'queue'; name: string }) {
  const [pattern, setPattern] = useState(route.value.query.get('key') ?? '');
  const [asked, setAsked] = useState(pattern);
  const [held, setHeld] = useState(false);
  const [rows, setRows] = useState<Seen[]>([]);
  const [skipped, setSkipped] = useState(0);
  const [total, setTotal] = useState(0);
  const [state, setState] = useState<'opening' | 'open' | 'over'>('opening');
  const [error, setError] = useState<unknown>();
  const [chosen, setChosen] = useState<number>();
  const hold = useRef(false);
  hold.current = held;

  useEffect(() => {
    const end = new AbortController();
    let next = 1, waiting: Seen[] = [], passed = 0, missed = 0;
    // Rows are drawn a few times a second, however fast they come.
    const draw = setInterval(() => {
      if (hold.current || (waiting.length === 0 && missed === 0)) return;
      const fresh = waiting.reverse();
      const n = passed, lost = missed;
      waiting = [];
      passed = missed = 0;
      setRows((old) => [...fresh, ...old].slice(0, keep));
      setTotal((t) => t + n);
      setSkipped((s) => s + lost);
    }, 250);
    const run = async () => {
      setState('opening');
      const base = kind === 'queue' ? at`/queues/${vhost}/${name}/tail` : at`/exchanges/${vhost}/${exchangeSegment(name)}/tail`;
      const answer = await open('GET', withQuery(base, { routing_key: asked, limit_per_second: 50 }), undefined, end.signal, { accept: 'text/event-stream' });
      setState('open');
      setError(undefined);
      for await (const e of events(answer)) {
        const said = JSON.parse(e.data);
        if (e.name === 'message') {
          if (hold.current) continue;
          waiting.push({ id: next++, at: Date.now(), m: said });
          if (waiting.length > keep) waiting.shift();
          passed++;
        } else if (e.name === 'skipped') missed += said.count;
        else if (e.name === 'error') throw new ApiError(500, said.error, said.reason);
      }
      setState('over');
    };
    run().catch((err) => {
      if (end.signal.aborted) return;
      setState('over');
      setError(err);
    });
    return () => {
      clearInterval(draw);
      end.abort();
    };
  }, [vhost, kind, name, asked]);

  const open1 = rows.find((r) => r.id === chosen);
  return (
    <div class="tail">
      <form class="list-bar" onSubmit={(e) => { e.preventDefault(); setAsked(pattern); setQuery({ key: pattern || undefined }); }}>
        <State tone={state === 'open' ? (held ? 'warn' : 'ok') : state === 'opening' ? 'info' : 'bad'}>{held ? 'held' : state === 'open' ? 'following' : state === 'opening' ? 'connecting' : 'ended'}</State>
        {kind === 'exchange' && <input class="mono" aria-label="Routing keys, a pattern" placeholder="routing keys: all, or order.*" value={pattern} spellcheck={false} autocomplete="off" onInput={(e) => setPattern(e.currentTarget.value)} />}
        <Button icon={held ? 'play' : 'pause'} pressed={held} onClick={() => setHeld(!held)}>{held ? 'Go on' : 'Hold'}</Button>
        <Button kind="quiet" onClick={() => { setRows([]); setTotal(0); setSkipped(0); }}>Clear</Button>
        <span class="spring" />
        <span class="muted">{plural(total, 'message')}{skipped > 0 && `, ${count(skipped)} more not shown: at most 50 a second`}</span>
      </form>
      {error !== undefined && <Failure error={error} absent="This broker cannot show messages as they pass." />}
      {rows.length === 0 ? (error === undefined && <Empty title="Waiting for messages">They show up here as they pass.</Empty>) : (
        <div class={open1 ? 'split wide-left' : undefined}>
          <div class="scroll tail-rows">
            <table>
              <tbody>
                {rows.map((r) => (
                  <tr key={r.id} aria-selected={r.id === chosen} onClick={() => { setChosen(r.id); setHeld(true); }}>
                    <td class="mono muted">{new Date(r.at).toTimeString().slice(0, 8)}</td>
                    <td>{r.m.what && <Badge tone={r.m.what === 'publish' ? 'info' : 'ok'}>{r.m.what === 'publish' ? 'in' : 'out'}</Badge>}</td>
                    <td><button type="button" class="link" onClick={() => { setChosen(r.id); setHeld(true); }}><code>{kind === 'queue' ? `${exchangeName(r.m.exchange)} ` : ''}{r.m.routing_key || '(no key)'}</code></button></td>
                    <td class="preview-cell"><code>{preview(r.m)}</code></td>
                    <td class="roomy"><MessageBadges m={r.m} /></td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          {open1 && <div class="panel"><div class="body-bar"><h2>{open1.m.routing_key || 'Message'}</h2><span class="spring" /><button type="button" class="button quiet only-icon" aria-label="Close" onClick={() => setChosen(undefined)}><Icon name="close" /></button></div><MessageView m={open1.m} /></div>}
        </div>
      )}
    </div>
  );
}
