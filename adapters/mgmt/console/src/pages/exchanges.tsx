import { api, at, type Json } from '../lib/api';
import { count, exchangeName, plural, rate, value } from '../lib/format';
import { to, vhost, go } from '../lib/router';
import { mayAct } from '../lib/session';
import { openDialog } from '../ui/dialog';
import { List, type Act, type Column, type Filter } from '../ui/list';
import { Badge, Button, Page } from '../ui/parts';
import { DeclareExchange } from './declare';

const columns: Column[] = [
  { id: 'name', title: 'Name', cell: (x) => <a class="name" href={to.exchange(x.vhost, x.name)}>{exchangeName(x.name)}</a> },
  { id: 'vhost', title: 'Vhost', roomy: true, cell: (x) => <a href={to.vhost(x.vhost)}>{x.vhost}</a> },
  { id: 'type', title: 'Type', cell: (x) => x.type },
  { id: 'features', title: 'Features', sort: false, roomy: true, cell: (x) => <ExchangeFeatures of={x} /> },
  { id: 'in', title: 'In', num: true, sort: 'message_stats.publish_in_details.rate', cell: (x) => rate(x.message_stats?.publish_in_details?.rate ?? 0), help: 'Messages a second published here' },
  { id: 'out', title: 'Out', num: true, sort: 'message_stats.publish_out_details.rate', cell: (x) => rate(x.message_stats?.publish_out_details?.rate ?? 0), help: 'Messages a second that went on to queues: more than came in where there are several, less where nothing matched' },
  { id: 'publish_in', title: 'In, since start', num: true, off: true, sort: 'message_stats.publish_in', cell: (x) => count(x.message_stats?.publish_in ?? 0) },
  { id: 'publish_out', title: 'Out, since start', num: true, off: true, sort: 'message_stats.publish_out', cell: (x) => count(x.message_stats?.publish_out ?? 0) },
  { id: 'messages_delayed', title: 'Delayed', num: true, off: true, cell: (x) => (x.messages_delayed === undefined ? '' : count(x.messages_delayed)) },
  { id: 'arguments', title: 'Arguments', sort: false, off: true, cell: (x) => Object.keys(x.arguments ?? {}).length > 0 && <span class="mono">{value(x.arguments)}</span> },
];

/** ExchangeFeatures are badges for what is unusual about an exchange. */
export function ExchangeFeatures({ of: x }: { of: Json }) {
  return (
    <span class="features">
      {x.durable === false && <Badge title="Gone after a restart of the broker">transient</Badge>}
      {x.auto_delete && <Badge title="Deleted with its last binding">auto-delete</Badge>}
      {x.internal && <Badge title="Takes messages only from exchanges">internal</Badge>}
      {x.arguments?.['alternate-exchange'] && <Badge title={`What matches nothing goes to ${x.arguments['alternate-exchange']}`}>AE</Badge>}
      {x.messages_delayed > 0 && <Badge tone="info">{plural(x.messages_delayed, 'message')} waiting</Badge>}
      {x.policy && <Badge tone="accent" title="Policy">{x.policy}</Badge>}
    </span>
  );
}

/** own tells exchanges that can be deleted from the broker's own. */
export const own = (x: Json): boolean => x.name === '' || x.name.startsWith('amq.');

const filters: Filter[] = [
  { id: 'type', title: 'Type', options: ['direct', 'fanout', 'topic', 'headers', 'x-delayed-message', 'x-consistent-hash'].map((t) => ({ value: t, title: t, where: `type:eq:${t}` })) },
];

const acts: Act[] = [{
  name: 'Delete', verb: 'Delete', danger: true, applies: (x) => !own(x),
  warning: (rows) => <p>{plural(rows.length, 'exchange')} and all bindings from and to them will be gone for good. Programs that publish there will get errors.</p>,
  run: (x) => api.delete(at`/exchanges/${x.vhost}/${x.name}`),
}];

/** Exchanges lists exchanges. */
export function Exchanges() {
  const v = vhost.value;
  return (
    <Page title="Exchanges" actions={mayAct.value && <Button icon="plus" kind="primary" onClick={() => openDialog(<DeclareExchange vhost={v || '/'} done={(vh, n) => go(to.exchange(vh, n))} />)}>New exchange</Button>}>
      <List id="exchanges" path={v ? at`/exchanges/${v}` : '/exchanges'} columns={columns} filters={filters} acts={acts} what={['exchange', 'exchanges']} rowKey={(x) => `${x.vhost}|${x.name}`} rowName={(x) => exchangeName(x.name)} />
    </Page>
  );
}
