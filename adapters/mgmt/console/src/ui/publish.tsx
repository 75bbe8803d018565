// A form that publishes one message, or several of the same.

import { useState } from 'preact/hooks';
import { api, at, exchangeSegment, type Json } from '../lib/api';
import { exchangeName, plural } from '../lib/format';
import { Button, Failure, Note, Segments } from './parts';

interface Row {
  name: string;
  kind: 'text' | 'number' | 'flag' | 'json';
  value: string;
}

/** headerValue reads what was typed as the kind it is to be. */
function headerValue(r: Row): unknown {
  switch (r.kind) {
    case 'number':
      if (r.value.trim() === '' || Number.isNaN(Number(r.value))) throw new Error(`Header ${r.name} is no number.`);
      return Number(r.value);
    case 'flag':
      return r.value === 'true';
    case 'json':
      try {
        return JSON.parse(r.value);
      } catch {
        throw new Error(`Header ${r.name} is no valid JSON.`);
      }
    default:
      return r.value;
  }
}

/** HeaderRows edits headers, each with its kind. */
export function HeaderRows({ rows, onChange, label = 'Headers' }: { rows: Row[]; onChange: (rows: Row[]) => void; label?: string }) {
  const set = (i: number, change: Partial<Row>) => onChange(rows.map((r, k) => (k === i ? { ...r, ...change } : r)));
  return (
    <div class="field"><span>{label}</span>
      {rows.map((r, i) => (
        <div key={i} class="header-row">
          <input aria-label="Header name" placeholder="name" value={r.name} spellcheck={false} autocomplete="off" onInput={(e) => set(i, { name: e.currentTarget.value })} />
          <select aria-label="Kind of value" value={r.kind} onChange={(e) => set(i, { kind: e.currentTarget.value as Row['kind'], value: e.currentTarget.value === 'flag' ? 'true' : r.value })}><option value="text">text</option><option value="number">number</option><option value="flag">yes/no</option><option value="json">JSON</option></select>
          {r.kind === 'flag' ? <select aria-label="Header value" value={r.value} onChange={(e) => set(i, { value: e.currentTarget.value })}><option value="true">yes</option><option value="false">no</option></select>
            : <input aria-label="Header value" placeholder="value" value={r.value} spellcheck={false} autocomplete="off" onInput={(e) => set(i, { value: e.currentTarget.value })} />}
          <Button kind="quiet" icon="close" title="Remove header" onClick={() => onChange(rows.filter((_, k) => k !== i))} />
        </div>
      ))}
      <div><button type="button" class="link" onClick={() => onChange([...rows, { name: '', kind: 'text', value: '' }])}>Add a header</button></div>
    </div>
  );
}

export const headersOf = (rows: Row[]): Record<string, unknown> => Object.fromEntries(rows.filter((r) => r.name).map((r) => [r.name, headerValue(r)]));
export type HeaderRow = Row;

const properties: [string, string, string][] = [
  ['content_type', 'Content type', 'application/json'], ['content_encoding', 'Content encoding', ''], ['priority', 'Priority', '0'], ['correlation_id', 'Correlation id', ''], ['reply_to', 'Reply to', ''], ['expiration', 'TTL in ms', ''],
  ['message_id', 'Message id', ''], ['type', 'Type', ''], ['app_id', 'App id', ''],
];
const numbers = new Set(['priority']);

/** Publish sends to an exchange; a queue gets it by the default one. What is typed stays. */
export function Publish({ vhost, exchange, queue, done }: { vhost: string; exchange: string; queue?: string; done?: () => void }) {
  const [key, setKey] = useState(queue ?? '');
  const [payload, setPayload] = useState('');
  const [encoding, setEncoding] = useState<'string' | 'base64'>('string');
  const [persistent, setPersistent] = useState(true);
  const [rows, setRows] = useState<Row[]>([]);
  const [values, setValues] = useState<Record<string, string>>({});
  const [times, setTimes] = useState('1');
  const [result, setResult] = useState<{ sent: number; routed: number }>();
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);

  const send = async () => {
    setBusy(true);
    setError(undefined);
    setResult(undefined);
    const n = Math.min(1000, Math.max(1, Number(times) || 1));
    let sent = 0, routed = 0;
    try {
      const props: Json = { delivery_mode: persistent ? 2 : 1 };
      const headers = headersOf(rows);
      if (Object.keys(headers).length > 0) props.headers = headers;
      for (const [k, v] of Object.entries(values)) if (v !== '') props[k] = numbers.has(k) ? Number(v) : v;
      for (let i = 0; i < n; i++) {
        const answer = await api.post(at`/exchanges/${vhost}/${exchangeSegment(exchange)}/publish`, { properties: props, routing_key: key, payload, payload_encoding: encoding });
        sent++;
        if (answer.routed) routed++;
      }
      done?.();
    } catch (err) {
      setError(err);
    }
    if (sent > 0) setResult({ sent, routed });
    setBusy(false);
  };
  return (
    <form class="publish" onSubmit={(e) => { e.preventDefault(); void send(); }}>
      <div class="fields">
        {queue === undefined && <label class="field"><span>Routing key</span><input name="routing_key" class="mono" value={key} spellcheck={false} autocomplete="off" onInput={(e) => setKey(e.currentTarget.value)} /></label>}
        <label class="field"><span>Delivery</span><select name="delivery" value={String(persistent)} onChange={(e) => setPersistent(e.currentTarget.value === 'true')}><option value="true">persistent: survives a restart</option><option value="false">transient</option></select></label>
        <label class="field"><span>Times</span><input name="times" inputMode="numeric" value={times} onInput={(e) => setTimes(e.currentTarget.value)} /></label>
      </div>
      <label class="field"><span>Body</span><textarea name="payload" class="mono" rows={7} value={payload} spellcheck={false} onInput={(e) => setPayload(e.currentTarget.value)} /></label>
      <div class="field"><span>Body is</span><Segments label="Body is" value={encoding} options={[['string', 'Text'], ['base64', 'Base64']]} onChange={setEncoding} /></div>
      <HeaderRows rows={rows} onChange={setRows} />
      <details class="more"><summary>Properties</summary><div class="fields">{properties.map(([k, title, hint]) => <label key={k} class="field"><span>{title}</span><input name={k} value={values[k] ?? ''} placeholder={hint} spellcheck={false} autocomplete="off" onInput={(e) => setValues({ ...values, [k]: e.currentTarget.value })} /></label>)}</div></details>
      {result && (result.routed === result.sent
        ? <Note tone="ok" title={`${plural(result.sent, 'message')} published`}>{queue === undefined ? 'At least one queue got each.' : `Now in ${queue}.`}</Note>
        : <Note tone="warn" title="No queue got it">{exchangeName(exchange)} has no binding that matches this key and these headers. “Where would this go?” shows why.</Note>)}
      {error !== undefined && <Failure error={error} />}
      <Button type="submit" kind="primary" icon="send" disabled={busy}>{busy ? 'Publishing…' : 'Publish'}</Button>
    </form>
  );
}
