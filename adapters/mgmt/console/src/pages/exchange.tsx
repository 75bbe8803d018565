import type { ComponentChildren } from 'preact';
import { api, at, exchangeSegment, withQuery, type Json } from '../lib/api';
import { bytes, count, exchangeName, plural, rate, time, value } from '../lib/format';
import { useLive } from '../lib/live';
import { go, href, route, setQuery, to } from '../lib/router';
import { allowed } from '../lib/session';
import { Chart, RangePicker, sampled, type Series } from '../ui/chart';
import { confirmAct, openDialog } from '../ui/dialog';
import { Badge, Button, Facts, Failure, Loading, Menu, Note, Page, Panel, Stat, Stats, Tabs } from '../ui/parts';
import { Publish } from '../ui/publish';
import { Table } from '../ui/table';
import { complain, say } from '../ui/toast';
import { AddBinding } from './declare';
import { ExchangeFeatures, own } from './exchanges';
import { unbind } from './queue';
import { RouteForm } from './route';
import { Tailing } from './tail';

const rates: Series[] = [
  { name: 'In', colour: 'c-publish', details: (d) => d?.message_stats?.publish_in_details },
  { name: 'Out', colour: 'c-deliver', details: (d) => d?.message_stats?.publish_out_details },
];

/** Exchange is one exchange: its rates, its bindings both ways, and publishing. */
export function Exchange({ parts: [vhost = '/', segment = ''] }: { parts: string[] }) {
  const name = segment === 'amq.default' ? '' : segment;
  const path = at`/exchanges/${vhost}/${exchangeSegment(name)}`;
  const live = useLive(withQuery(path, sampled('msg_rates')), 2);
  const x = live.data;
  const tab = route.value.query.get('tab') ?? 'bindings';
  const title = exchangeName(name);
  const crumbs: [string, string][] = [['Exchanges', href(['exchanges'], { vhost })]];
  if (live.error?.missing) return <Page title={title} crumbs={crumbs}><Note tone="warn" title="This exchange is not there">It was deleted, or went with its last binding.</Note></Page>;
  if (!x) return <Page title={title} crumbs={crumbs}>{live.error ? <Failure error={live.error} /> : <Loading />}</Page>;

  const s = x.message_stats ?? {};
  const mayConfigure = allowed('configure', vhost, name), mayWrite = allowed('write', vhost, name);
  const alternate = x.arguments?.['alternate-exchange'];
  const tabs: [string, ComponentChildren][] = [['bindings', 'Bindings'], ['rates', 'Rates'], ['route', 'Where would this go?'], ['tail', 'Live tail']];
  if (mayWrite && !x.internal) tabs.splice(2, 0, ['publish', 'Publish']);
  if (x.messages_delayed !== undefined) tabs.push(['delayed', <>Waiting <span class="muted">{count(x.messages_delayed)}</span></>]);
  return (
    <Page title={title} crumbs={crumbs} badges={<><Badge tone="info">{x.type}</Badge><Badge>{vhost}</Badge><ExchangeFeatures of={x} /></>}
      actions={<>
        {tab === 'rates' && <RangePicker />}
        <Menu label="Actions" items={[mayConfigure && !own(x) && { name: 'Delete…', danger: true, act: () => confirmAct({
          title: `Delete ${name}?`, verb: 'Delete', lost: <p>The exchange and all bindings from and to it will be gone for good. Programs that publish here will get errors.</p>,
          act: () => api.delete(path), done: () => { say(`${name} is deleted`); go(href(['exchanges'], { vhost })); },
        }) }]} />
      </>}>
      <Stats>
        <Stat name="In" value={rate(s.publish_in_details?.rate ?? 0)} note={`${count(s.publish_in ?? 0)} since start`} />
        <Stat name="Out" value={rate(s.publish_out_details?.rate ?? 0)} note={`${count(s.publish_out ?? 0)} since start`} />
        {x.messages_delayed !== undefined && <Stat name="Waiting" value={count(x.messages_delayed)} note={bytes(x.message_bytes_delayed)} />}
        <Stat name="Alternate" value={alternate ? <a href={to.exchange(vhost, alternate)}>{alternate}</a> : '–'} note={alternate ? 'gets what matches nothing' : 'what matches nothing is gone'} />
      </Stats>
      <Tabs value={tab} options={tabs} onChange={(t) => setQuery({ tab: t === 'bindings' ? undefined : t })} />
      {tab === 'bindings' && <Bindings x={x} path={path} mayBind={allowed('read', vhost, name) && name !== ''} />}
      {tab === 'rates' && <Panel><Chart id={`exchange/${vhost}/${name}`} title="Messages a second" unit="rate" series={rates} data={x} height={220} /></Panel>}
      {tab === 'publish' && <Panel><Publish vhost={vhost} exchange={name} /></Panel>}
      {tab === 'route' && <RouteForm vhost={vhost} exchange={name} />}
      {tab === 'tail' && <Tailing vhost={vhost} kind="exchange" name={name} />}
      {tab === 'delayed' && <Delayed path={path} may={mayConfigure} />}
      {Object.keys(x.arguments).length > 0 && <Panel title="Arguments"><Facts of={Object.entries(x.arguments).map(([k, v]) => [k, <span class="mono">{value(v)}</span>])} /></Panel>}
    </Page>
  );
}

function Bindings({ x, path, mayBind }: { x: Json; path: string; mayBind: boolean }) {
  const from = useLive<Json[]>(path + '/bindings/source', 5);
  const into = useLive<Json[]>(path + '/bindings/destination', 10);
  if (x.name === '') return <Note title="The default exchange">It leads to every queue by its name: a message with routing key “orders” goes to the queue “orders”. It can be neither bound nor deleted.</Note>;
  const again = () => {
    from.reload();
    into.reload();
  };
  const remove = (b: Json) => mayBind && <Button kind="quiet" icon="close" title={`Unbind ${b.destination} ${b.routing_key}`} onClick={() => unbind(b, again)} />;
  return (
    <>
      {mayBind && <p class="above"><Button icon="plus" onClick={() => openDialog(<AddBinding vhost={x.vhost} source={x.name} done={again} />)}>Bind a queue or exchange</Button></p>}
      <Panel title="From here to" flush>
        {from.data ? <Table label="Bindings from here" empty="Nothing is bound: what is published here goes nowhere" rows={from.data} rowKey={(b) => `${b.destination}|${b.properties_key}`} cells={[
          { title: 'To', cell: (b) => <a href={b.destination_type === 'queue' ? to.queue(b.vhost, b.destination) : to.exchange(b.vhost, b.destination)}>{b.destination}</a> },
          { title: 'Kind', cell: (b) => b.destination_type },
          { title: 'Routing key', cell: (b) => <span class="mono">{b.routing_key}</span> },
          { title: 'Arguments', cell: (b) => Object.keys(b.arguments).length > 0 && <span class="mono">{value(b.arguments)}</span> },
          { title: '', cell: remove },
        ]} /> : from.error ? <Failure error={from.error} /> : <Loading />}
      </Panel>
      {into.data && into.data.length > 0 && (
        <Panel title="From other exchanges to here" flush>
          <Table label="Bindings to here" empty="" rows={into.data} rowKey={(b) => `${b.source}|${b.properties_key}`} cells={[
            { title: 'From', cell: (b) => <a href={to.exchange(b.vhost, b.source)}>{exchangeName(b.source)}</a> },
            { title: 'Routing key', cell: (b) => <span class="mono">{b.routing_key}</span> },
            { title: 'Arguments', cell: (b) => Object.keys(b.arguments).length > 0 && <span class="mono">{value(b.arguments)}</span> },
            { title: '', cell: remove },
          ]} />
        </Panel>
      )}
    </>
  );
}

/** Delayed are the messages that an exchange keeps until they are due. */
function Delayed({ path, may }: { path: string; may: boolean }) {
  const live = useLive(path + '/delayed?page_size=100', 5);
  if (!live.data) return live.error ? <Failure error={live.error} absent="Messages that wait in an exchange cannot be listed here." /> : <Loading />;
  const change = (p: Promise<unknown>, done: string) => void p.then(() => { say(done); live.reload(); }, complain);
  return (
    <Panel title={`Next of ${plural(live.data.total_count, 'message')}`} flush>
      <Table label="Waiting messages" empty="No message waits" rows={live.data.items as Json[]} rowKey={(m) => m.id} cells={[
        { title: 'Due', cell: (m) => time(m.due_ms) },
        { title: 'Body', num: true, cell: (m) => bytes(m.payload_bytes) },
        { title: '', cell: (m) => may && <span class="features">
          <Button onClick={() => change(api.put(`${path}/delayed/${m.id}`, { delay_ms: 0 }), 'Sent on now')}>Send now</Button>
          <Button kind="danger" onClick={() => confirmAct({ title: 'Cancel this message?', verb: 'Cancel message', lost: <p>A message of {bytes(m.payload_bytes)}, due {time(m.due_ms)}, will be gone for good.</p>, act: () => api.delete(`${path}/delayed/${m.id}`), done: live.reload })}>Cancel</Button>
        </span> },
      ]} />
    </Panel>
  );
}
