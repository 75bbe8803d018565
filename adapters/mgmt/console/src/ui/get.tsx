// Taking messages out of a queue as a consumer would, with each kind of settling.

import { useState } from 'preact/hooks';
import { api, at, type Json } from '../lib/api';
import { plural } from '../lib/format';
import { Ask } from './dialog';
import { MessageView } from './message';
import { Note } from './parts';

const modes: [string, string, string, boolean][] = [
  ['ack_requeue_true', 'Give back', 'They go back to their places, marked as redelivered.', false],
  ['reject_requeue_true', 'Reject, give back', 'As a consumer that cannot use them now: a delivery limit counts it.', false],
  ['ack_requeue_false', 'Take out', 'They are gone for good.', true],
  ['reject_requeue_false', 'Reject', 'They go to the dead letter exchange, or are gone if there is none.', true],
];

/** Get fetches messages and settles them as asked. */
export function Get({ q, done }: { q: Json; done: () => void }) {
  const [mode, setMode] = useState('ack_requeue_true');
  const [n, setN] = useState('1');
  const [got, setGot] = useState<Json[]>();
  const m = modes.find(([v]) => v === mode)!;
  if (got) {
    return (
      <Ask wide told title={got.length === 0 ? 'The queue is empty' : plural(got.length, 'message')} verb="Done" act={() => Promise.resolve()} done={done}>
        {got.map((g, i) => <MessageView key={i} m={g} />)}
      </Ask>
    );
  }
  return (
    <Ask stay title={`Get from ${q.name}`} danger={m[3]} verb={m[3] ? 'Get and remove' : 'Get'} act={async () => setGot(await api.post(at`/queues/${q.vhost}/${q.name}/get`, { count: Math.max(1, Number(n) || 1), ackmode: mode, encoding: 'auto', truncate: 100_000 }))}>
      <fieldset><legend>What becomes of them</legend>
        {modes.map(([v, title, help]) => <label key={v} class="check-field"><input type="radio" name="ackmode" value={v} checked={mode === v} onChange={() => setMode(v)} /><span>{title}<small>{help}</small></span></label>)}
      </fieldset>
      <label class="field"><span>How many</span><input name="count" inputMode="numeric" value={n} onInput={(e) => setN(e.currentTarget.value)} /></label>
      {m[3] && <Note tone="warn" title={`Up to ${plural(Number(n) || 1, 'message')} will leave this queue`}>To only look at messages, browse them: that changes nothing.</Note>}
    </Ask>
  );
}
