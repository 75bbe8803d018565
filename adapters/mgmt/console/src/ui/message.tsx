// A message as people read it: its body, properties, headers, and what it has
// been through.

import { useState } from 'preact/hooks';
import type { Json } from '../lib/api';
import { ago, bytes, count, duration, exchangeName, time, value } from '../lib/format';
import { Badge, Copy, Facts, Segments } from './parts';

/** decoded is a payload as bytes and, if it is text, as text. */
function decoded(m: Json): { text?: string; raw: Uint8Array } {
  if (m.payload_encoding === 'base64') {
    let raw: Uint8Array;
    try {
      raw = Uint8Array.from(atob(m.payload), (c) => c.charCodeAt(0));
    } catch {
      raw = new Uint8Array(); // Cut in the middle of a group.
    }
    try {
      return { raw, text: new TextDecoder('utf-8', { fatal: true }).decode(raw) };
    } catch {
      return { raw };
    }
  }
  return { text: m.payload ?? '', raw: new TextEncoder().encode(m.payload ?? '') };
}

/** pretty is indented JSON, or undefined if the text is none. */
function pretty(text: string): string | undefined {
  const t = text.trimStart();
  if (!/^[[{"]/.test(t)) return undefined;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return undefined;
  }
}

const hexMax = 4096;

/** hex is the usual dump: offset, sixteen bytes, what they are in ASCII. */
export function hex(raw: Uint8Array): string {
  const lines: string[] = [];
  for (let i = 0; i < Math.min(raw.length, hexMax); i += 16) {
    const row = [...raw.subarray(i, i + 16)];
    lines.push(`${i.toString(16).padStart(6, '0')}  ${row.map((b) => b.toString(16).padStart(2, '0')).join(' ').padEnd(47)}  ${row.map((b) => (b >= 32 && b < 127 ? String.fromCharCode(b) : '.')).join('')}`);
  }
  if (raw.length > hexMax) lines.push(`… ${count(raw.length - hexMax)} more bytes`);
  return lines.join('\n');
}

/** Body shows a payload as JSON, text or hex. */
export function Body({ m }: { m: Json }) {
  const { text, raw } = decoded(m);
  const json = text === undefined ? undefined : pretty(text);
  const natural = json !== undefined ? 'json' : text !== undefined ? 'text' : 'hex';
  const [view, setView] = useState<string>();
  const options: [string, string][] = [...(json !== undefined ? [['json', 'JSON'] as [string, string]] : []), ...(text !== undefined ? [['text', 'Text'] as [string, string]] : []), ['hex', 'Hex']];
  const now = options.some(([o]) => o === view) ? view! : natural;
  const shown = now === 'json' ? json! : now === 'text' ? text! : hex(raw);
  const cut = m.truncated || (m.payload_bytes ?? m.size ?? raw.length) > raw.length;
  return (
    <div class="body-view">
      <div class="body-bar">
        <Segments label="Show as" value={now} options={options} onChange={setView} />
        <span class="muted">{bytes(m.payload_bytes ?? m.size ?? raw.length)}{cut && `, the first ${bytes(raw.length)} shown`}</span>
        <span class="spring" />
        <Copy text={shown} label="Copy body" />
      </div>
      <pre tabIndex={0}>{shown === '' ? <span class="muted">(empty)</span> : shown}</pre>
    </div>
  );
}

const reasons: Record<string, string> = {
  rejected: 'was rejected by a consumer', expired: 'waited longer than its TTL', maxlen: 'was dropped because the queue was full', delivery_limit: 'was given back too often',
};

/** Deaths tells in words what dead-lettering did to a message, the first time first. */
export function Deaths({ headers }: { headers: Json }) {
  const deaths: Json[] = Array.isArray(headers?.['x-death']) ? [...headers['x-death']].reverse() : [];
  if (deaths.length === 0) return null;
  return (
    <ol class="deaths">
      {deaths.map((d, i) => {
        const at = Number(d.time) > 1e12 ? Number(d.time) : Number(d.time) * 1000;
        return (
          <li key={i}>
            Published to <b>{exchangeName(d.exchange)}</b>{d['routing-keys']?.length > 0 && <> with key <code>{d['routing-keys'].join(', ')}</code></>}, it reached <b>{d.queue}</b> and {reasons[d.reason] ?? `died (${d.reason})`}
            {d.count > 1 && <>, {count(d.count)} times</>}{d['original-expiration'] && <>; its own TTL was {duration(Number(d['original-expiration']))}</>}.
            {at > 0 && <span class="muted"> First {time(at)}, {ago(at)}.</span>}
          </li>
        );
      })}
    </ol>
  );
}

/** story is x-death in one line, for lists. */
export function story(headers: Json): string {
  const d = headers?.['x-death']?.[0];
  if (!d) return '';
  return `${reasons[d.reason] ?? d.reason} in ${d.queue}${d.count > 1 ? `, ${d.count} times` : ''}`;
}

const names: Record<string, string> = {
  content_type: 'Content type', content_encoding: 'Content encoding', delivery_mode: 'Delivery', priority: 'Priority', correlation_id: 'Correlation id', reply_to: 'Reply to', expiration: 'TTL', message_id: 'Message id', timestamp: 'Timestamp', type: 'Type', user_id: 'User id', app_id: 'App id', cluster_id: 'Cluster id',
};

/** MessageView is all of one message. */
export function MessageView({ m, bare }: { m: Json; bare?: boolean }) {
  const { headers, ...properties } = m.properties ?? {};
  const plain = Object.entries(headers ?? {}).filter(([k]) => !/^x-(death$|first-death-|last-death-)/.test(k));
  const show = (k: string, v: unknown) => (k === 'delivery_mode' ? (v === 2 ? 'persistent' : 'transient') : k === 'timestamp' ? time(Number(v) * 1000) : k === 'expiration' ? duration(Number(v)) : value(v));
  return (
    <div class="message">
      {!bare && <Facts of={[
        ['Exchange', exchangeName(m.exchange ?? '')], ['Routing key', <code>{m.routing_key}</code>], ['In the queue since', m.enqueued_at && `${time(m.enqueued_at)}, ${ago(m.enqueued_at)}`], ['Expires', m.expires_at && `${time(m.expires_at)}, ${ago(m.expires_at)}`],
        ['State', m.state], ['Delivered before', m.delivery_count ? `${count(m.delivery_count)} times` : m.redelivered ? 'yes' : undefined],
      ]} />}
      <Deaths headers={headers} />
      <Body m={m} />
      {Object.keys(properties).length > 0 && <><h3>Properties</h3><Facts of={Object.entries(properties).map(([k, v]) => [names[k] ?? k, show(k, v)])} /></>}
      {plain.length > 0 && <><h3>Headers</h3><Facts of={plain.map(([k, v]) => [k, <span class="mono">{value(v)}</span>])} /></>}
    </div>
  );
}

/** MessageBadges are what a list says of a message at a glance. */
export function MessageBadges({ m }: { m: Json }) {
  return (
    <span class="features">
      {m.state && m.state !== 'ready' && <Badge tone="info">{m.state}</Badge>}
      {m.redelivered && <Badge tone="warn" title="Was delivered before and came back">redelivered</Badge>}
      {m.properties?.headers?.['x-death'] && <Badge tone="bad" title={story(m.properties.headers)}>dead letter</Badge>}
      {m.properties?.priority > 0 && <Badge>priority {m.properties.priority}</Badge>}
    </span>
  );
}

/** preview is the beginning of a body on one line. */
export function preview(m: Json): string {
  const { text, raw } = decoded(m);
  return text === undefined ? [...raw.subarray(0, 32)].map((b) => b.toString(16).padStart(2, '0')).join(' ') : text.slice(0, 200).replace(/\s+/g, ' ');
}
