import { at, type Json } from '../lib/api';
import { exchangeName, plural, value } from '../lib/format';
import { route, setQuery, to, vhost } from '../lib/router';
import { api } from '../lib/api';
import { mayAct } from '../lib/session';
import { openDialog } from '../ui/dialog';
import { List, type Act, type Column, type Filter } from '../ui/list';
import { Button, Page } from '../ui/parts';
import { AddBinding } from './declare';

const columns: Column[] = [
  { id: 'source', title: 'From exchange', cell: (b) => <a class="name" href={to.exchange(b.vhost, b.source)}>{exchangeName(b.source)}</a> },
  { id: 'routing_key', title: 'Routing key', cell: (b) => <span class="mono">{b.routing_key}</span> },
  { id: 'destination', title: 'To', cell: (b) => <a href={b.destination_type === 'queue' ? to.queue(b.vhost, b.destination) : to.exchange(b.vhost, b.destination)}>{b.destination}</a> },
  { id: 'destination_type', title: 'Kind', roomy: true, cell: (b) => b.destination_type },
  { id: 'vhost', title: 'Vhost', roomy: true, cell: (b) => b.vhost },
  { id: 'arguments', title: 'Arguments', roomy: true, sort: false, cell: (b) => Object.keys(b.arguments).length > 0 && <span class="mono">{value(b.arguments)}</span> },
];

const filters: Filter[] = [
  { id: 'kind', title: 'To', options: [{ value: 'queue', title: 'queues', where: 'destination_type:eq:queue' }, { value: 'exchange', title: 'exchanges', where: 'destination_type:eq:exchange' }] },
];

const acts: Act[] = [{
  name: 'Unbind', verb: 'Unbind', danger: true, applies: (b) => b.source !== '',
  warning: (rows) => <p>{plural(rows.length, 'binding')} will be gone: messages no longer take these ways.</p>,
  run: (b) => api.delete(at`/bindings/${b.vhost}/e/${b.source}/${b.destination_type === 'queue' ? 'q' : 'e'}/${b.destination}/${b.properties_key}`),
}];

const name = (b: Json) => `${exchangeName(b.source)} → ${b.destination} ${b.routing_key}`;

/** Bindings lists all ways from exchanges to queues and other exchanges. */
export function Bindings() {
  const v = vhost.value;
  // Each queue is bound to the default exchange by its name: nobody looks for those.
  const all = route.value.query.get('default') === '1';
  return (
    <Page title="Bindings" actions={mayAct.value && <Button icon="plus" kind="primary" onClick={() => openDialog(<AddBinding vhost={v || '/'} done={() => {}} />)}>New binding</Button>}>
      <List id="bindings" path={(v ? at`/bindings/${v}` : '/bindings') + (all ? '' : '?where=source:ne:')} columns={columns} filters={filters} acts={acts} what={['binding', 'bindings']} sort="source"
        rowKey={(b) => `${b.vhost}|${b.source}|${b.destination_type}|${b.destination}|${b.properties_key}`} rowName={name} every={10}
        tools={<label class="check-line"><input type="checkbox" checked={all} onChange={(e) => setQuery({ default: e.currentTarget.checked ? '1' : undefined, page: undefined })} />also those of the default exchange</label>} />
    </Page>
  );
}
