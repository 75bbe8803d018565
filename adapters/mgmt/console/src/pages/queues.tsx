import { at, api, type Json } from '../lib/api';
import { bytes, count, plural, rate } from '../lib/format';
import { href, to, vhost } from '../lib/router';
import { mayAct } from '../lib/session';
import { openDialog } from '../ui/dialog';
import { List, type Act, type Column, type Filter } from '../ui/list';
import { Badge, Button, Page, State, type Tone } from '../ui/parts';
import { DeclareQueue } from './declare';

const rateCell = (name: string) => (q: Json) => rate(q.message_stats?.[name + '_details']?.rate ?? 0);

/** queueState tells what a queue is doing, in a word and a colour. */
export function queueState(q: Json): [Tone, string] {
  if (q.state === 'down' || q.state === 'crashed') return ['bad', q.state];
  if (q.state === 'minority' || q.state === 'flow') return ['warn', q.state];
  return q.idle_since ? ['plain', 'idle'] : ['ok', q.state ?? 'running'];
}

/** queueFeatures are badges for what is unusual about a queue. */
export function QueueFeatures({ of: q, policy }: { of: Json; policy?: boolean }) {
  const a = q.arguments ?? {}, e = q.effective_policy_definition ?? {};
  return (
    <span class="features">
      {q.type !== 'classic' && <Badge tone="info">{q.type}</Badge>}
      {q.durable === false && <Badge title="Gone after a restart of the broker">transient</Badge>}
      {q.exclusive && <Badge title="Belongs to one connection and goes with it">exclusive</Badge>}
      {q.auto_delete && <Badge title="Deleted with its last consumer">auto-delete</Badge>}
      {(a['x-dead-letter-exchange'] ?? e['dead-letter-exchange']) !== undefined && <Badge title={`Dead letters go to ${(a['x-dead-letter-exchange'] ?? e['dead-letter-exchange']) || '(default)'}`}>DLX</Badge>}
      {(a['x-message-ttl'] ?? e['message-ttl']) !== undefined && <Badge title="Messages expire">TTL</Badge>}
      {((a['x-max-length'] ?? e['max-length']) !== undefined || (a['x-max-length-bytes'] ?? e['max-length-bytes']) !== undefined) && <Badge title="Length is limited">limit</Badge>}
      {a['x-max-priority'] !== undefined && <Badge title={`Priorities up to ${a['x-max-priority']}`}>priority</Badge>}
      {policy && q.policy && <Badge tone="accent" title="Policy">{q.policy}</Badge>}
      {a['x-single-active-consumer'] === true && <Badge title="One consumer at a time">single active</Badge>}
    </span>
  );
}

const columns: Column[] = [
  { id: 'name', title: 'Name', cell: (q) => <a class="name" href={to.queue(q.vhost, q.name)} title={q.name}>{q.name}</a> },
  { id: 'vhost', title: 'Vhost', roomy: true, cell: (q) => <a href={to.vhost(q.vhost)}>{q.vhost}</a> },
  { id: 'type', title: 'Type', off: true, cell: (q) => q.type },
  { id: 'features', title: 'Features', sort: false, roomy: true, cell: (q) => <QueueFeatures of={q} policy /> },
  { id: 'policy', title: 'Policy', off: true, cell: (q) => q.policy && <a href={to.policy(q.vhost, q.policy)}>{q.policy}</a> },
  { id: 'operator_policy', title: 'Operator policy', off: true, cell: (q) => q.operator_policy && <a href={to.operatorPolicy(q.vhost, q.operator_policy)}>{q.operator_policy}</a> },
  { id: 'state', title: 'State', sort: false, roomy: true, cell: (q) => { const [tone, word] = queueState(q); return <State tone={tone}>{word}</State>; } },
  { id: 'messages_ready', title: 'Ready', num: true, cell: (q) => count(q.messages_ready ?? 0) },
  { id: 'messages_unacknowledged', title: 'Unacked', num: true, cell: (q) => count(q.messages_unacknowledged ?? 0), help: 'With consumers, not yet acknowledged' },
  { id: 'messages', title: 'Total', num: true, off: true, cell: (q) => count(q.messages ?? 0) },
  { id: 'messages_delayed', title: 'Delayed', num: true, off: true, cell: (q) => count(q.messages_delayed ?? 0), help: 'Given back, ready again later' },
  { id: 'consumers', title: 'Consumers', num: true, roomy: true, cell: (q) => count(q.consumers ?? 0) },
  { id: 'in', title: 'In', num: true, sort: 'message_stats.publish_details.rate', cell: rateCell('publish'), help: 'Messages a second that came in' },
  { id: 'out', title: 'Out', num: true, sort: 'message_stats.deliver_get_details.rate', cell: rateCell('deliver_get'), help: 'Messages a second that went out, with any kind of acknowledgement' },
  { id: 'ack', title: 'Acked', num: true, off: true, sort: 'message_stats.ack_details.rate', cell: rateCell('ack') },
  { id: 'redeliver', title: 'Redelivered', num: true, off: true, sort: 'message_stats.redeliver_details.rate', cell: rateCell('redeliver') },
  { id: 'message_bytes', title: 'Bytes', num: true, off: true, cell: (q) => bytes(q.message_bytes) },
  { id: 'memory', title: 'Memory', num: true, off: true, cell: (q) => bytes(q.memory) },
  { id: 'messages_paged_out', title: 'On disk only', num: true, off: true, cell: (q) => count(q.messages_paged_out ?? 0) },
  { id: 'consumer_utilisation', title: 'Consumer capacity', num: true, off: true, cell: (q) => (q.consumers ? `${Math.round((q.consumer_utilisation ?? 0) * 100)} %` : '–'), help: 'Part of the time in which consumers had room for a message' },
];

const filters: Filter[] = [
  { id: 'type', title: 'Type', options: ['classic', 'quorum', 'stream'].map((t) => ({ value: t, title: t, where: `type:eq:${t}` })) },
  { id: 'has', title: 'Show', options: [
    { value: 'backlog', title: 'with a backlog', where: 'messages_ready:gt:0' },
    { value: 'unacked', title: 'with unacked messages', where: 'messages_unacknowledged:gt:0' },
    { value: 'unconsumed', title: 'without consumers', where: 'consumers:eq:0' },
    { value: 'stuck', title: 'backlog, no consumers', where: 'messages_ready:gt:0,consumers:eq:0,type:ne:stream' },
    { value: 'nopolicy', title: 'without policy', where: 'policy:eq:' },
  ] },
];

/** summed names what a set of queues holds, for whoever is about to lose it. */
function summed(rows: Json[]): string {
  const messages = rows.reduce((n, q) => n + (q.messages ?? 0), 0);
  const consumers = rows.reduce((n, q) => n + (q.consumers ?? 0), 0);
  return `${plural(messages, 'message')}${consumers > 0 ? ` and ${plural(consumers, 'consumer')}` : ''}`;
}

const acts: Act[] = [
  {
    name: 'Purge', verb: 'Purge', danger: true, applies: (q) => q.type !== 'stream',
    warning: (rows) => <p>{plural(rows.reduce((n, q) => n + (q.messages_ready ?? 0), 0), 'ready message')} in {plural(rows.length, 'queue')} will be gone for good. Unacked ones stay with their consumers.</p>,
    run: (q) => api.delete(at`/queues/${q.vhost}/${q.name}/contents`),
  },
  {
    name: 'Delete', verb: 'Delete', danger: true,
    warning: (rows) => <p>{plural(rows.length, 'queue')} with {summed(rows)} and all bindings to them will be gone for good.</p>,
    run: (q) => api.delete(at`/queues/${q.vhost}/${q.name}`),
  },
];

/** Queues lists queues and streams. */
export function Queues() {
  const v = vhost.value;
  return (
    <Page title="Queues & streams" actions={mayAct.value && <Button icon="plus" kind="primary" onClick={() => openDialog(<DeclareQueue vhost={v || '/'} done={(vh, name) => { location.hash = href(['queues', vh, name]); }} />)}>New queue</Button>}>
      <List id="queues" path={v ? at`/queues/${v}` : '/queues'} columns={columns} filters={filters} acts={acts} what={['queue', 'queues']} rowKey={(q) => `${q.vhost}|${q.name}`} rowName={(q) => q.name}
        empty="Programs declare the queues they use; you can make one here as well." />
    </Page>
  );
}
