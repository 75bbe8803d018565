// The settings that queues have by argument ("x-…"), policy or operator policy:
// what they mean, who may have them, and which of several values counts.

import type { Json } from './api';
import { bytes, count, duration, value } from './format';

export type QueueType = 'classic' | 'quorum' | 'stream';

export interface Setting {
  /** Name in policies; as an argument it begins with "x-". */
  key: string;
  kind: 'number' | 'text' | 'flag' | 'choice';
  title: string;
  help: string;
  unit?: string;
  choices?: string[];
  types: QueueType[];
  /** Not for policies, only when declared. */
  argumentOnly?: boolean;
  /** Not an argument, only a policy. */
  policyOnly?: boolean;
  operator?: boolean;
  /** What counts of two values: the lower, the policy's, or (absent) the argument's. */
  merge?: 'lower' | 'policy';
  otherwise?: string;
}

const both: QueueType[] = ['classic', 'quorum'];
const every: QueueType[] = ['classic', 'quorum', 'stream'];

export const settings: Setting[] = [
  { key: 'message-ttl', kind: 'number', unit: 'ms', title: 'Message TTL', help: 'A message that waits longer than this leaves the queue: to the dead letter exchange if there is one, else for good.', types: both, operator: true, merge: 'lower', otherwise: 'never expire' },
  { key: 'expires', kind: 'number', unit: 'ms', title: 'Queue expires', help: 'The queue is deleted when nobody has used it for this long: no consumer, no get, no declare.', types: both, operator: true, merge: 'lower', otherwise: 'never' },
  { key: 'max-length', kind: 'number', unit: 'messages', title: 'Maximum length', help: 'More ready messages than this and the queue overflows.', types: both, operator: true, merge: 'lower', otherwise: 'no limit' },
  { key: 'max-length-bytes', kind: 'number', unit: 'bytes', title: 'Maximum size', help: 'More bytes of ready bodies than this and the queue overflows; a stream drops its oldest segments.', types: every, operator: true, merge: 'lower', otherwise: 'no limit' },
  { key: 'overflow', kind: 'choice', choices: ['drop-head', 'reject-publish', 'reject-publish-dlx'], title: 'Overflow', help: 'What a full queue does: drop its oldest messages, or refuse new ones (publishers get a nack), dead-lettering those or not.', types: both, operator: true, otherwise: 'drop-head' },
  { key: 'dead-letter-exchange', kind: 'text', title: 'Dead letter exchange', help: 'Where messages go that are rejected, expire, exceed the delivery limit or are dropped because the queue is full. Empty: the default exchange.', types: both, otherwise: 'none: they are gone' },
  { key: 'dead-letter-routing-key', kind: 'text', title: 'Dead letter routing key', help: 'The key they get. Without it they keep their own.', types: both, otherwise: 'the message’s own' },
  { key: 'dead-letter-strategy', kind: 'choice', choices: ['at-most-once', 'at-least-once'], title: 'Dead letter strategy', help: 'Whether a dead letter may be lost on its way.', types: ['quorum'], otherwise: 'at-most-once' },
  { key: 'delivery-limit', kind: 'number', unit: 'deliveries', title: 'Delivery limit', help: 'A message given back more often than this is dead-lettered or dropped: it stops a poison message from going round for ever. -1: no limit.', types: both, operator: true, merge: 'lower', otherwise: 'quorum: 20, classic: no limit' },
  { key: 'delivery-limit-exceeded', kind: 'choice', choices: ['park', 'drop'], title: 'Beyond the limit', help: 'Where there is no dead letter exchange: keep such a message aside in the queue parked.NAME, to be looked at and sent back, or drop it.', types: both, otherwise: 'park' },
  { key: 'single-active-consumer', kind: 'flag', title: 'Single active consumer', help: 'One consumer gets everything; another takes over when it goes.', types: both, argumentOnly: true, otherwise: 'no' },
  { key: 'max-priority', kind: 'number', unit: '1 to 255', title: 'Priorities', help: 'Messages of a higher priority leave first. 5 to 10 are enough for most.', types: ['classic'], argumentOnly: true, otherwise: 'none' },
  { key: 'consumer-timeout', kind: 'number', unit: 'ms', title: 'Consumer timeout', help: 'A consumer that keeps a message unacked longer than this loses its channel and the message goes back.', types: every, merge: 'lower', otherwise: 'never' },
  { key: 'delayed-retry-type', kind: 'choice', choices: ['all', 'failed', 'returned', 'disabled'], title: 'Delayed retry', help: 'Which messages wait before they are delivered again: those given back by consumers, those that failed, or all.', types: both, operator: true, merge: 'policy', otherwise: 'disabled' },
  { key: 'delayed-retry-min', kind: 'number', unit: 'ms', title: 'Shortest delay', help: 'How long a message waits after its first failure.', types: both, operator: true, merge: 'lower' },
  { key: 'delayed-retry-max', kind: 'number', unit: 'ms', title: 'Longest delay', help: 'How long it waits at most after many.', types: both, operator: true, merge: 'lower' },
  { key: 'delayed-retry-backoff', kind: 'choice', choices: ['linear', 'exponential'], title: 'Back-off', help: 'How the delay grows from one failure to the next.', types: both, otherwise: 'linear' },
  { key: 'delayed-retry-jitter', kind: 'number', unit: '%', title: 'Jitter', help: 'Part of the delay left to chance, so that many retries do not come at once.', types: both, otherwise: '0' },
  { key: 'message-deduplication', kind: 'flag', title: 'Deduplication', help: 'A message whose header x-deduplication-header equals that of one still in the queue is dropped.', types: both, otherwise: 'no' },
  { key: 'max-age', kind: 'text', unit: 'such as 7D, 12h, 1M', title: 'Maximum age', help: 'A stream drops segments that are older. Units: Y, M, D, h, m, s.', types: ['stream'], merge: 'policy', otherwise: 'no limit' },
  { key: 'stream-max-segment-size-bytes', kind: 'number', unit: 'bytes', title: 'Segment size', help: 'A stream is cut into files of this size; limits drop whole ones.', types: ['stream'], merge: 'policy', otherwise: '500 MB' },
  { key: 'stream-filter-size-bytes', kind: 'number', unit: '16 to 255', title: 'Filter size', help: 'Bytes of the filter that lets readers pass over parts without messages for them.', types: ['stream'], merge: 'policy', otherwise: '16' },
  { key: 'alternate-exchange', kind: 'text', title: 'Alternate exchange', help: 'For exchanges: where messages go that match no binding.', types: [], policyOnly: true, otherwise: 'none: they are unroutable' },
];

export interface Effective {
  setting: Setting;
  value: unknown;
  origin: string;
  /** Other places that say something else and do not count. */
  passed: string[];
}

const low = (a: unknown, b: unknown, key: string): unknown => {
  const [x, y] = [Number(a), Number(b)];
  if (key === 'delivery-limit' && (x < 0 || y < 0)) return Math.max(x, y);
  return Math.min(x, y);
};

/** Definitions are what a queue's policy and operator policy say, where they may be looked at. */
export interface Definitions {
  policy?: Json;
  operator?: Json;
}

/** measured shows a setting's value with its unit, long times and sizes as people read them too. */
export function measured(s: Setting | undefined, v: unknown): string {
  if (!s || s.kind !== 'number' || !s.unit || / to /.test(s.unit) || typeof v !== 'number') return value(v);
  if (s.unit === 'ms' && v >= 1000) return `${duration(v)} (${v} ms)`;
  if (s.unit === 'bytes' && v >= 1024) return `${bytes(v)} (${v} bytes)`;
  return `${count(v)} ${s.unit}`;
}

/** said tells which of a queue's two policies says what counts, and what the other says. */
function said(q: Json, key: string, counts: unknown, d: Definitions): { from: string; other: string[] } {
  const both = [
    { name: q.policy && `policy ${q.policy}`, says: d.policy?.[key], known: d.policy !== undefined },
    { name: q.operator_policy && `operator policy ${q.operator_policy}`, says: d.operator?.[key], known: d.operator !== undefined },
  ].filter((p) => p.name && (!p.known || p.says !== undefined));
  const by = both.filter((p) => !p.known || p.says === counts);
  return {
    from: (by.length > 0 ? by : both).map((p) => p.name).join(by.every((p) => p.known) ? ' and ' : ' or ') || 'policy',
    other: both.filter((p) => p.known && p.says !== counts).map((p) => `${p.name}: ${String(p.says)}`),
  };
}

/** effective tells each setting of a queue that is not the default, and who says so. */
export function effective(q: Json, definitions: Definitions = {}): Effective[] {
  const out: Effective[] = [];
  for (const s of settings) {
    const argument = q.arguments?.['x-' + s.key];
    const policy = q.effective_policy_definition?.[s.key];
    if (argument === undefined && policy === undefined) continue;
    const { from, other } = said(q, s.key, policy, definitions);
    if (policy === undefined) out.push({ setting: s, value: argument, origin: 'argument', passed: [] });
    else if (argument === undefined) out.push({ setting: s, value: policy, origin: from, passed: other });
    else {
      const usePolicy = q.type === 'stream' || s.merge === 'policy' || (s.merge === 'lower' && low(argument, policy, s.key) === Number(policy));
      out.push(usePolicy
        ? { setting: s, value: policy, origin: from, passed: argument === policy ? other : [`argument: ${argument}`, ...other] }
        : { setting: s, value: argument, origin: 'argument', passed: argument === policy ? other : [`${from}: ${policy}`, ...other] });
    }
  }
  return out;
}
