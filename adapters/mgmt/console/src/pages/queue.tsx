import type { ComponentChildren } from 'preact';
import { api, at, withQuery, type Json } from '../lib/api';
import { ago, bytes, count, exchangeName, plural, rate, value } from '../lib/format';
import { useLive, useOnce } from '../lib/live';
import { go, href, route, setQuery, to } from '../lib/router';
import { allowed, isPolicymaker, mayAct } from '../lib/session';
import { effective, measured, settings } from '../lib/settings';
import { Chart, depths, messageRates, RangePicker, sampled } from '../ui/chart';
import { confirmAct, openDialog } from '../ui/dialog';
import { Badge, Button, Facts, Failure, Loading, Menu, Note, Page, Panel, Stat, State, Stats, Tabs } from '../ui/parts';
import { Table } from '../ui/table';
import { complain, say } from '../ui/toast';
import { Browse } from '../ui/browse';
import { Publish } from '../ui/publish';
import { AddBinding } from './declare';
import { moveFrom } from './move';
import { QueueFeatures, queueState } from './queues';
import { Tailing } from './tail';

/** Queue is one queue or stream: how it does, what is in it, what can be done. */
export function Queue({ parts: [vhost = '/', name = ''] }: { parts: string[] }) {
  const path = at`/queues/${vhost}/${name}`;
  const live = useLive(withQuery(path, sampled('lengths', 'msg_rates')), 2);
  const q = live.data;
  const tab = route.value.query.get('tab') ?? 'overview';
  const crumbs: [string, string][] = [['Queues & streams', href(['queues'], { vhost })]];

  if (live.error?.missing) {
    return <Page title={name} crumbs={crumbs}><Note tone="warn" title="This queue is not there">It was deleted, or its connection took it along if it was exclusive or auto-delete.</Note></Page>;
  }
  if (!q) return <Page title={name} crumbs={crumbs}>{live.error ? <Failure error={live.error} /> : <Loading />}</Page>;

  const [tone, word] = queueState(q);
  const mayConfigure = allowed('configure', vhost, name), mayRead = allowed('read', vhost, name);
  const isStream = q.type === 'stream';
  const rateOf = (k: string) => rate(q.message_stats?.[k + '_details']?.rate ?? 0);
  // What would be lost is counted when it is asked about.
  const now = (then: (q: Json) => void) => void api.get(path).then(then, complain);
  const purge = () => now((q) => confirmAct({
    title: `Purge ${name}?`, verb: 'Purge',
    lost: <><p><b>{plural(q.messages_ready ?? 0, 'ready message')}</b> will be gone for good, without dead-lettering.</p>{q.messages_unacknowledged > 0 && <p>{plural(q.messages_unacknowledged, 'unacked message')} stay with their consumers.</p>}</>,
    act: () => api.delete(path + '/contents'), done: () => { say(`${name} is empty`); live.reload(); },
  }));
  const remove = () => now((q) => confirmAct({
    title: `Delete ${name}?`, verb: 'Delete', type: (q.messages ?? 0) > 0 ? name : undefined,
    lost: <><p>The queue, <b>{plural(q.messages ?? 0, 'message')}</b> in it and all bindings to it will be gone for good.</p>{q.consumers > 0 && <p>{plural(q.consumers, 'consumer')} will be cancelled.</p>}</>,
    act: () => api.delete(path), done: () => { say(`${name} is deleted`); go(href(['queues'], { vhost })); },
  }));
  const tabs: [string, ComponentChildren][] = [
    ['overview', 'Overview'], ['messages', 'Messages'], ['consumers', <>Consumers <span class="muted">{count(q.consumers)}</span></>], ['bindings', 'Bindings'], ['settings', 'Settings'],
  ];
  if (mayRead) tabs.push(['tail', 'Live tail']);
  if (allowed('write', vhost, '')) tabs.splice(2, 0, ['publish', 'Publish']);
  const move = (initial: 'queue' | 'origin', search = '') => moveFrom({ vhost, queue: name, initial, search, done: live.reload });
  const mayMove = mayAct.value && mayRead && !isStream;
  return (
    <Page title={name} crumbs={crumbs}
      badges={<><State tone={tone}>{word}</State><Badge title="Virtual host">{vhost}</Badge><QueueFeatures of={q} />{q.policy && <a href={to.policy(vhost, q.policy)}><Badge tone="accent">policy {q.policy}</Badge></a>}</>}
      actions={<>
        {tab === 'overview' && <RangePicker />}
        <Menu label="Actions" items={[
          mayMove && { name: 'Move messages…', act: () => move('queue') },
          mayMove && { name: 'Send dead letters back…', act: () => move('origin') },
          mayRead && !isStream && { name: 'Purge…', act: purge, danger: true },
          mayConfigure && { name: 'Delete…', act: remove, danger: true },
        ]} />
      </>}>
      <Stats>
        <Stat name="Ready" value={count(q.messages_ready)} note={bytes(q.message_bytes_ready)} />
        <Stat name="Unacked" value={count(q.messages_unacknowledged)} note={bytes(q.message_bytes_unacknowledged)} />
        {q.messages_delayed > 0 && <Stat name="Delayed" value={count(q.messages_delayed)} note="ready again later" />}
        {q.messages_leaving > 0 && <Stat name="Leaving" value={count(q.messages_leaving)} note="on their way elsewhere" />}
        <Stat name="Consumers" value={count(q.consumers)} tone={!isStream && q.consumers === 0 && q.messages_ready > 0 ? 'warn' : undefined} note={q.consumers > 0 ? `${Math.round((q.consumer_utilisation ?? 0) * 100)} % with room` : !isStream && q.messages_ready > 0 ? 'nobody takes these' : undefined} />
        <Stat name="In" value={rateOf('publish')} />
        <Stat name="Out" value={rateOf('deliver_get')} />
        <Stat name="Acked" value={rateOf('ack')} />
        <Stat name="Redelivered" value={rateOf('redeliver')} />
      </Stats>
      <Tabs value={tab} options={tabs} onChange={(t) => setQuery({ tab: t === 'overview' ? undefined : t })} />
      {tab === 'overview' && <Overview q={q} />}
      {tab === 'messages' && <Browse q={q} mayGet={mayAct.value && mayRead} onMove={mayMove ? (search) => move('queue', search) : undefined} />}
      {tab === 'publish' && <Panel><Publish vhost={vhost} exchange="" queue={name} done={live.reload} /></Panel>}
      {tab === 'tail' && <Tailing vhost={vhost} kind="queue" name={name} />}
      {tab === 'consumers' && <Consumers q={q} />}
      {tab === 'bindings' && <Bindings q={q} path={path} />}
      {tab === 'settings' && <Settings q={q} />}
    </Page>
  );
}

function Overview({ q }: { q: Json }) {
  const s = q.message_stats ?? {};
  const died: [string, string][] = [['dead_lettered_rejected', 'rejected by consumers'], ['dead_lettered_expired', 'expired'], ['dead_lettered_maxlen', 'dropped, queue full'], ['dead_lettered_delivery_limit', 'delivered too often']];
  const dead = died.filter(([k]) => s[k] > 0);
  return (
    <>
      <div class="two">
        <Panel><Chart id={`queue/${q.vhost}/${q.name}/depth`} title="Messages" unit="level" series={depths((d) => d)} data={q} /></Panel>
        <Panel><Chart id={`queue/${q.vhost}/${q.name}/rates`} title="Messages a second" unit="rate" series={messageRates} data={q} /></Panel>
      </div>
      <Panel title="Facts">
        <Facts of={[
          ['Bodies', bytes(q.message_bytes)], ['Memory', bytes(q.memory)], ['In memory', plural(q.messages_ram ?? 0, 'message')], ['On disk only', q.messages_paged_out > 0 && plural(q.messages_paged_out, 'message')],
          ['Persistent', q.messages_persistent !== undefined && plural(q.messages_persistent, 'message')],
          ['Oldest message', q.head_message_timestamp && ago(q.head_message_timestamp * 1000)],
          ['Idle since', q.idle_since && ago(Date.parse(q.idle_since))],
          ['Offsets', q.first_offset !== undefined && `${count(q.first_offset)} to ${count(q.committed_offset)}`], ['Segments', q.segments !== undefined && count(q.segments)],
          ['Owner', q.owner_pid_details?.name && <a href={to.connection(q.owner_pid_details.name)}>{q.owner_pid_details.name}</a>],
          ['Active consumer', q.single_active_consumer_tag], ['Exclusive consumer', q.exclusive_consumer_tag],
          ['Died here', dead.length > 0 && dead.map(([k, what]) => `${count(s[k])} ${what}`).join(', ')],
        ]} />
      </Panel>
    </>
  );
}

/** ConsumerTable lists consumers with links to who they are. */
export function ConsumerTable({ rows, withQueue }: { rows: Json[]; withQueue?: boolean }) {
  return (
    <Table label="Consumers" empty="No consumers" rows={rows} rowKey={(c) => `${c.channel_details?.name}|${c.consumer_tag}|${c.queue?.name}`} cells={[
      ...(withQueue ? [{ title: 'Queue', cell: (c: Json) => <a href={to.queue(c.queue.vhost, c.queue.name)}>{c.queue.name}</a> }] : []),
      { title: 'Tag', cell: (c) => <span class="mono">{c.consumer_tag}</span> },
      { title: 'Client', cell: (c) => c.channel_details?.user_provided_name && <a href={to.connection(c.channel_details.connection_name)}>{c.channel_details.user_provided_name}</a> },
      { title: 'Channel', cell: (c) => c.channel_details?.name && <a href={to.channel(c.channel_details.name)}>{c.channel_details.name}</a> },
      { title: 'User', cell: (c) => c.channel_details?.user },
      { title: 'Acknowledges', cell: (c) => (c.ack_required ? 'yes' : <span title="Messages count as done when they are sent">no</span>) },
      { title: 'Prefetch', num: true, cell: (c) => (c.prefetch_count > 0 ? count(c.prefetch_count) : 'no limit') },
      { title: 'Activity', cell: (c) => <State tone={c.active ? 'ok' : 'plain'}>{c.activity_status === 'single_active' ? 'the active one' : c.activity_status}</State> },
      { title: 'Arguments', cell: (c) => Object.keys(c.arguments ?? {}).length > 0 && <span class="mono">{value(c.arguments)}</span> },
    ]} />
  );
}

function Consumers({ q }: { q: Json }) {
  return <ConsumerTable rows={q.consumer_details ?? []} />;
}

function Bindings({ q, path }: { q: Json; path: string }) {
  const live = useLive<Json[]>(path + '/bindings', 5);
  if (!live.data) return live.error ? <Failure error={live.error} /> : <Loading />;
  const may = allowed('write', q.vhost, q.name);
  return (
    <>
      {may && <p class="above"><Button icon="plus" onClick={() => openDialog(<AddBinding vhost={q.vhost} destination={q.name} done={live.reload} />)}>Bind to an exchange</Button></p>}
      <Table label="Bindings" empty="No bindings" rows={live.data} rowKey={(b) => `${b.source}|${b.properties_key}`} cells={[
        { title: 'From exchange', cell: (b) => <a href={to.exchange(b.vhost, b.source)}>{exchangeName(b.source)}</a> },
        { title: 'Routing key', cell: (b) => <span class="mono">{b.routing_key || (b.source === '' ? q.name : '')}</span> },
        { title: 'Arguments', cell: (b) => Object.keys(b.arguments).length > 0 && <span class="mono">{value(b.arguments)}</span> },
        { title: '', cell: (b) => may && b.source !== '' && <Button kind="quiet" icon="close" title={`Unbind ${b.source} ${b.routing_key}`} onClick={() => unbind(b, live.reload)} /> },
      ]} />
    </>
  );
}

/** unbind asks, then removes a binding. */
export function unbind(b: Json, done: () => void): void {
  confirmAct({
    title: 'Unbind?', verb: 'Unbind',
    lost: <p>Messages to <b>{exchangeName(b.source)}</b>{b.routing_key && <> with key <b class="mono">{b.routing_key}</b></>} will no longer reach <b>{b.destination}</b> this way.</p>,
    act: () => api.delete(at`/bindings/${b.vhost}/e/${b.source || 'amq.default'}/${b.destination_type === 'queue' ? 'q' : 'e'}/${b.destination}/${b.properties_key}`), done,
  });
}

function Settings({ q }: { q: Json }) {
  const policy = useOnce(isPolicymaker.value && q.policy ? at`/policies/${q.vhost}/${q.policy}` : undefined);
  const operator = useOnce(isPolicymaker.value && q.operator_policy ? at`/operator-policies/${q.vhost}/${q.operator_policy}` : undefined);
  const now = effective(q, { policy: policy.data?.definition, operator: operator.data?.definition });
  const unset = settings.filter((s) => s.types.includes(q.type) && !now.some((e) => e.setting === s));
  const known = new Set(settings.map((s) => 'x-' + s.key));
  const others = Object.entries(q.arguments ?? {}).filter(([k]) => !known.has(k));
  return (
    <>
      <Panel title="What counts for this queue, and who says so" flush>
        <Table label="Effective settings" empty="Everything is as the broker does it by default" rows={now} rowKey={(e) => e.setting.key} cells={[
          { title: 'Setting', cell: (e) => <span title={e.setting.help}>{e.setting.title} <code class="muted">{e.setting.key}</code></span> },
          { title: 'Value', cell: (e) => <b class="mono">{measured(e.setting, e.value)}</b> },
          { title: 'From', cell: (e) => e.origin === 'argument' ? 'argument, when declared' : <a href={e.origin.startsWith('operator') ? to.operatorPolicy(q.vhost, q.operator_policy) : q.policy ? to.policy(q.vhost, q.policy) : href(['policies'], { vhost: q.vhost })}>{e.origin}</a> },
          { title: 'Passed over', cell: (e) => <span class="muted">{e.passed.join(', ')}</span> },
        ]} />
      </Panel>
      <div class="two">
        <Panel title="Declared as">
          <Facts of={[['Type', q.type], ['Durable', q.durable ? 'yes' : 'no: gone after a restart'], ['Auto-delete', q.auto_delete ? 'with its last consumer' : 'no'], ['Exclusive', q.exclusive ? 'to its connection' : 'no'],
            ['Policy', q.policy ? <a href={to.policy(q.vhost, q.policy)}>{q.policy}</a> : 'none'], ['Operator policy', q.operator_policy ? <a href={to.operatorPolicy(q.vhost, q.operator_policy)}>{q.operator_policy}</a> : 'none'],
            ...others.map(([k, v]): [string, ComponentChildren] => [k, <span class="mono">{value(v)}</span>])]} />
        </Panel>
        <Panel title="By default">
          <Facts of={unset.filter((s) => s.otherwise).map((s) => [s.title, <span class="muted" title={s.help}>{s.otherwise}</span>])} />
        </Panel>
      </div>
    </>
  );
}
