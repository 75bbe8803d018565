// Moving messages: elsewhere, or back to where they came from.

import { useEffect, useState } from 'preact/hooks';
import { api, ApiError, at, type Json } from '../lib/api';
import { ago, count, duration, exchangeName, plural, value } from '../lib/format';
import { useLive, useOnce } from '../lib/live';
import { to } from '../lib/router';
import { mayAct } from '../lib/session';
import { Ask, openDialog } from '../ui/dialog';
import { List, type Column } from '../ui/list';
import { Badge, Button, Failure, Loading, Note, Page, Segments, State, type Tone } from '../ui/parts';
import { Table } from '../ui/table';
import { complain } from '../ui/toast';

type To = 'origin' | 'queue' | 'exchange';

const absent = 'This broker cannot move messages by itself. A shovel from this queue to another does it.';

/** MoveDialog asks where to, shows what would go where, moves, and tells how far it is. */
export function MoveDialog({ vhost, queue, initial = 'queue', search = '', reason = '', done }: { vhost: string; queue: string; initial?: To; search?: string; reason?: string; done?: () => void }) {
  const [kind, setKind] = useState<To>(initial);
  const [target, setTarget] = useState('');
  const [exchange, setExchange] = useState('');
  const [key, setKey] = useState('');
  const [find, setFind] = useState(search);
  const [why, setWhy] = useState(reason);
  const [older, setOlder] = useState('');
  const [limit, setLimit] = useState('');
  const [preview, setPreview] = useState<Json>();
  const [error, setError] = useState<unknown>();
  const [id, setID] = useState<string>();
  const queues = useOnce<Json[]>(kind === 'queue' ? at`/queues/${vhost}?columns=name&disable_stats=true` : undefined);
  const exchanges = useOnce<Json[]>(kind === 'exchange' ? at`/exchanges/${vhost}?columns=name` : undefined);

  const ready = kind === 'origin' || (kind === 'queue' ? target !== '' : exchange !== '');
  const body = (look: boolean) => ({
    to: kind === 'origin' ? 'origin' : kind === 'queue' ? { queue: target } : { exchange, ...(key ? { routing_key: key } : {}) },
    filter: { ...(find ? { search: find } : {}), ...(why ? { reason: why } : {}), ...(Number(older) > 0 ? { older_than_ms: Number(older) * 60_000 } : {}) },
    ...(Number(limit) > 0 ? { limit: Number(limit) } : {}), preview: look,
  });
  const wanted = JSON.stringify(body(true));
  useEffect(() => {
    setPreview(undefined);
    if (!ready || id) return;
    const end = new AbortController();
    const timer = setTimeout(() => api.post(at`/queues/${vhost}/${queue}/move`, JSON.parse(wanted), end.signal).then((p) => { setPreview(p); setError(undefined); }, (err) => {
      if (!end.signal.aborted) setError(err);
    }), 300);
    return () => {
      clearTimeout(timer);
      end.abort();
    };
  }, [wanted, ready, id]);

  if (id) return <Progress id={id} done={done} />;
  const destinations: Json[] = preview?.destinations ?? [];
  return (
    <Ask wide stay title={kind === 'origin' ? `Send messages of ${queue} back` : `Move messages of ${queue}`} verb={preview ? `Move ${plural(preview.matched, 'message')}` : 'Move'} disabled={!ready || !preview || preview.matched === 0}
      act={async () => setID(String((await api.post(at`/queues/${vhost}/${queue}/move`, body(false))).id))}>
      <div class="field"><span>Where to</span><Segments label="Where to" value={kind} options={[['origin', 'Back to where they came from'], ['queue', 'A queue'], ['exchange', 'An exchange']]} onChange={setKind} /></div>
      {kind === 'origin' && <p class="hint">Each dead letter returns to the queue it died in, without what dead-lettering added. Messages that never died stay.</p>}
      {kind === 'queue' && <label class="field"><span>To queue</span><input name="target" list="move-queues" value={target} spellcheck={false} autocomplete="off" onInput={(e) => setTarget(e.currentTarget.value)} /><datalist id="move-queues">{queues.data?.filter((q) => q.name !== queue).slice(0, 500).map((q) => <option key={q.name} value={q.name} />)}</datalist></label>}
      {kind === 'exchange' && <div class="fields">
        <label class="field"><span>To exchange</span><input name="exchange" list="move-exchanges" value={exchange} spellcheck={false} autocomplete="off" onInput={(e) => setExchange(e.currentTarget.value)} /><datalist id="move-exchanges">{exchanges.data?.filter((x) => x.name).map((x) => <option key={x.name} value={x.name} />)}</datalist></label>
        <label class="field"><span>With routing key</span><input class="mono" value={key} placeholder="their own" spellcheck={false} onInput={(e) => setKey(e.currentTarget.value)} /></label>
      </div>}
      <div class="fields">
        <label class="field"><span>Only those that contain</span><input name="search" value={find} placeholder="anything" spellcheck={false} onInput={(e) => setFind(e.currentTarget.value)} /></label>
        <label class="field"><span>Only those that</span><select name="reason" value={why} onChange={(e) => setWhy(e.currentTarget.value)}><option value="">died for any reason, or not at all</option><option value="rejected">were rejected</option><option value="expired">expired</option><option value="maxlen">did not fit</option><option value="delivery_limit">came back too often</option></select></label>
        <label class="field"><span>Older than, minutes</span><input inputMode="numeric" value={older} placeholder="any age" onInput={(e) => setOlder(e.currentTarget.value)} /></label>
        <label class="field"><span>At most</span><input name="limit" inputMode="numeric" value={limit} placeholder="all" onInput={(e) => setLimit(e.currentTarget.value)} /></label>
      </div>
      {error !== undefined ? <Failure error={error} absent={error instanceof ApiError && error.missing && /queue/.test(error.reason) ? undefined : absent} />
        : !ready ? null : !preview ? <Loading />
        : preview.matched === 0 ? <Note title="No message matches" />
        : <><h3>What would go where</h3><Table label="Preview" empty="Nowhere" rows={destinations} rowKey={(d, i) => `${d.exchange}|${d.routing_key}|${d.queue}|${i}`} cells={[
            { title: 'To', cell: (d) => { const all: string[] = d.queues ?? (d.queue ? [d.queue] : []); return all.length > 0 ? <b>{all.slice(0, 3).join(', ')}{all.length > 3 && ` and ${all.length - 3} more`}</b> : <Badge tone="bad">no queue: they stay</Badge>; } },
            { title: 'As if published to', cell: (d) => <>{exchangeName(d.exchange ?? '')}{d.routing_key && <> with <code>{d.routing_key}</code></>}</> },
            { title: 'Messages', num: true, cell: (d) => count(d.count) },
          ]} /></>}
    </Ask>
  );
}

/** Progress follows a move until it ends. */
function Progress({ id, done }: { id: string; done?: () => void }) {
  const live = useLive(at`/moves/${id}`, 1);
  const m = live.data;
  const over = m && m.state !== 'running';
  return (
    <Ask told title={!m ? 'Moving…' : { running: 'Moving…', done: 'Moved', failed: 'The move failed', cancelled: 'The move was cancelled' }[m.state as string] ?? m.state} verb={over ? 'Done' : 'Go on in the background'} act={() => Promise.resolve()} done={done}>
      {live.error ? <Failure error={live.error} /> : !m ? <Loading /> : (
        <>
          <progress max={Math.max(1, m.matched ?? m.total ?? 1)} value={over && m.state === 'done' ? Math.max(1, m.matched ?? m.total ?? 1) : m.moved} aria-label="Progress" />
          <p class="above">{plural(m.moved, 'message')} moved{m.skipped > 0 && `, ${count(m.skipped)} left alone`}{m.total > 0 && `, ${count(m.total)} looked at`}.</p>
          {m.error && <Note tone="bad" title={value(m.error)}>What was moved is at its destination, the rest is where it was. Nothing is lost.</Note>}
          {!over && <Button kind="danger" onClick={() => void api.delete(at`/moves/${id}`).then(live.reload, complain)}>Stop</Button>}
        </>
      )}
    </Ask>
  );
}

const tones: Record<string, Tone> = { running: 'info', done: 'ok', failed: 'bad', cancelled: 'warn' };
const whereTo = (m: Json) => (m.to === 'origin' ? 'where they came from' : m.to?.queue ?? [exchangeName(m.to?.exchange ?? ''), m.to?.routing_key].filter(Boolean).join(' with '));

const columns: Column[] = [
  { id: 'queue', title: 'From', cell: (m) => <a class="name" href={to.queue(m.vhost, m.queue)}>{m.queue}</a> },
  { id: 'vhost', title: 'Vhost', roomy: true, cell: (m) => m.vhost },
  { id: 'to', title: 'To', sort: false, cell: whereTo },
  { id: 'state', title: 'State', cell: (m) => <State tone={tones[m.state] ?? 'plain'}>{m.state}</State> },
  { id: 'moved', title: 'Moved', num: true, cell: (m) => count(m.moved) },
  { id: 'skipped', title: 'Left alone', num: true, roomy: true, cell: (m) => count(m.skipped ?? 0) },
  { id: 'started_at', title: 'Began', num: true, cell: (m) => ago(m.started_at) },
  { id: 'took', title: 'Took', num: true, roomy: true, sort: false, cell: (m) => (m.ended_at ? duration(m.ended_at - m.started_at) : '') },
  { id: 'error', title: 'Error', sort: false, roomy: true, cell: (m) => value(m.error) },
];

/** Moves lists moves under way and those that ended lately. */
export function Moves() {
  return (
    <Page title="Moves">
      <List id="moves" path="/moves" columns={columns} what={['move', 'moves']} rowKey={(m) => m.id} rowName={(m) => m.queue} sort="started_at" descending every={2} absent={absent}
        acts={[{ name: 'Stop', verb: 'Stop', danger: true, applies: (m) => m.state === 'running', warning: () => <p>What was moved stays at its destination, the rest where it is.</p>, run: (m) => api.delete(at`/moves/${m.id}`) }]}
        empty="Move messages on a queue’s page, or send dead letters back." />
    </Page>
  );
}

/** moveFrom opens the dialog if changes are allowed. */
export function moveFrom(o: Parameters<typeof MoveDialog>[0]): void {
  if (mayAct.value) openDialog(<MoveDialog {...o} />);
}
