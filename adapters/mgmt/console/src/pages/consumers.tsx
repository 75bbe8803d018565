import { at, type Json } from '../lib/api';
import { count, value } from '../lib/format';
import { to, vhost } from '../lib/router';
import { List, type Column } from '../ui/list';
import { Page, State } from '../ui/parts';

const columns: Column[] = [
  { id: 'queue', title: 'Queue', sort: 'queue.name', cell: (c) => <a class="name" href={to.queue(c.queue.vhost, c.queue.name)}>{c.queue.name}</a> },
  { id: 'destination', title: 'Subscribed to', off: true, cell: (c) => <span class="mono">{c.destination ?? ''}</span> },
  { id: 'consumer_tag', title: 'Tag', cell: (c) => <span class="mono">{c.consumer_tag}</span> },
  { id: 'protocol', title: 'Protocol', roomy: true, cell: (c) => c.protocol ?? '' },
  { id: 'channel', title: 'Connection', roomy: true, sort: 'channel_details.connection_name', cell: (c) => c.channel_details?.connection_name && <a href={to.connection(c.channel_details.connection_name)} title={c.channel_details.connection_name}>{c.channel_details.user_provided_name || c.channel_details.connection_name}</a> },
  { id: 'user', title: 'User', roomy: true, sort: 'channel_details.user', cell: (c) => c.channel_details?.user },
  { id: 'vhost', title: 'Vhost', off: true, sort: 'queue.vhost', cell: (c) => c.queue.vhost },
  { id: 'ack_required', title: 'Acknowledges', roomy: true, cell: (c) => (c.ack_required ? 'yes' : 'no') },
  { id: 'prefetch_count', title: 'Prefetch', num: true, cell: (c) => (c.prefetch_count ? count(c.prefetch_count) : '∞') },
  { id: 'activity_status', title: 'Activity', cell: (c) => <State tone={c.active ? 'ok' : 'plain'}>{c.activity_status === 'single_active' ? 'the active one' : c.activity_status}</State> },
  { id: 'arguments', title: 'Arguments', off: true, sort: false, cell: (c) => <span class="mono">{Object.keys(c.arguments ?? {}).length ? value(c.arguments) : ''}</span> },
];

const key = (c: Json) => `${c.queue.vhost}|${c.queue.name}|${c.channel_details?.name}|${c.channel_details?.connection_name}|${c.consumer_tag}`;

/** Consumers lists who takes messages from which queue, in any protocol. */
export function Consumers() {
  const v = vhost.value;
  return (
    <Page title="Consumers">
      <List id="consumers" path={v ? at`/consumers/${v}` : '/consumers'} columns={columns} what={['consumer', 'consumers']} rowKey={key} rowName={(c) => `${c.queue.name} ${c.consumer_tag}`}
        filters={[{ id: 'ack', title: 'Acknowledges', options: [{ value: 'yes', title: 'yes', where: 'ack_required:eq:true' }, { value: 'no', title: 'no', where: 'ack_required:eq:false' }] }]} />
    </Page>
  );
}

const stompColumns: Column[] = [
  { id: 'destination', title: 'Destination', cell: (c) => <span class="mono">{c.destination ?? '–'}</span> },
  ...columns.filter((c) => ['queue', 'consumer_tag', 'channel', 'user', 'ack_required', 'prefetch_count'].includes(c.id)),
];

/** Subscriptions lists what STOMP clients subscribed to. */
export function Subscriptions() {
  const v = vhost.value;
  return (
    <Page title="STOMP subscriptions">
      <List id="subscriptions" path={(v ? at`/consumers/${v}` : '/consumers') + '?where=protocol:has:STOMP'} columns={stompColumns} what={['subscription', 'subscriptions']} part rowKey={key} rowName={(c) => c.destination ?? c.consumer_tag}
        empty="STOMP clients’ subscriptions show up here with the destination they asked for." />
    </Page>
  );
}
