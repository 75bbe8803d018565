import type { ComponentChildren } from 'preact';
import { api, at, withQuery, type Json } from '../lib/api';
import { ago, bytes, count, duration, plural, rate, time, value } from '../lib/format';
import { useLive } from '../lib/live';
import { go, href, to, vhost } from '../lib/router';
import { isAdministrator, mayAct, me } from '../lib/session';
import { Chart, RangePicker, sampled, traffic } from '../ui/chart';
import { Ask, openDialog } from '../ui/dialog';
import { List, type Act, type Column, type Filter } from '../ui/list';
import { Badge, Button, Facts, Failure, Loading, Note, Page, Panel, Stat, State, Stats, type Tone } from '../ui/parts';
import { Table } from '../ui/table';
import { say } from '../ui/toast';
import { useState } from 'preact/hooks';
import { ConsumerTable } from './queue';

/** clientName is what a client calls itself, where it does. */
export const clientName = (c: Json): string => c.user_provided_name || c.client_id || c.variable_map?.client_id || '';

const tones: Record<string, Tone> = { running: 'ok', blocked: 'bad', blocking: 'warn', flow: 'warn', closing: 'warn' };
export function ConnectionState({ of: c }: { of: Json }) {
  const words: Record<string, string> = { blocked: 'held back', blocking: 'about to be held back', flow: 'slowed' };
  return <State tone={tones[c.state] ?? 'plain'}>{words[c.state] ?? c.state}</State>;
}

const columns: Column[] = [
  { id: 'name', title: 'Client', cell: (c) => <a class="name" href={to.connection(c.name)} title={c.name}>{clientName(c) || c.name}</a> },
  { id: 'peer', title: 'Address', sort: 'peer_host', roomy: true, cell: (c) => <span class="mono">{c.peer_host}:{c.peer_port}</span> },
  { id: 'protocol', title: 'Protocol', cell: (c) => <>{c.protocol}{c.ssl && <Badge tone="ok" title="Encrypted">TLS</Badge>}</> },
  { id: 'user', title: 'User', roomy: true, cell: (c) => (isAdministrator.value ? <a href={to.user(c.user)}>{c.user}</a> : c.user) },
  { id: 'vhost', title: 'Vhost', roomy: true, cell: (c) => c.vhost },
  { id: 'state', title: 'State', cell: (c) => <ConnectionState of={c} /> },
  { id: 'channels', title: 'Channels', num: true, roomy: true, cell: (c) => count(c.channels ?? 0) },
  { id: 'recv', title: 'From client', num: true, sort: 'recv_oct_details.rate', cell: (c) => `${bytes(c.recv_oct_details?.rate ?? 0)}/s` },
  { id: 'send', title: 'To client', num: true, sort: 'send_oct_details.rate', cell: (c) => `${bytes(c.send_oct_details?.rate ?? 0)}/s` },
  { id: 'connected_at', title: 'Connected', num: true, roomy: true, cell: (c) => <span title={time(c.connected_at)}>{duration(Date.now() - c.connected_at)}</span> },
  { id: 'product', title: 'Library', off: true, sort: 'client_properties.product', cell: (c) => [c.client_properties?.product, c.client_properties?.version].filter(Boolean).join(' ') },
  { id: 'heartbeat', title: 'Heartbeat', num: true, off: true, sort: 'timeout', cell: (c) => (c.timeout ? `${c.timeout} s` : 'off') },
  { id: 'recv_oct', title: 'Received', num: true, off: true, cell: (c) => bytes(c.recv_oct) },
  { id: 'send_oct', title: 'Sent', num: true, off: true, cell: (c) => bytes(c.send_oct) },
  { id: 'auth_mechanism', title: 'Signed in by', off: true, cell: (c) => c.auth_mechanism },
];

const filters: Filter[] = [
  { id: 'protocol', title: 'Protocol', options: [['AMQP', 'AMQP'], ['MQTT', 'MQTT'], ['STOMP', 'STOMP']].map(([v, t]) => ({ value: v!, title: t!, where: `protocol:has:${v}` })) },
  { id: 'state', title: 'State', options: [{ value: 'blocked', title: 'held back', where: 'state:has:block' }, { value: 'running', title: 'running', where: 'state:eq:running' }] },
];

const mayClose = (c: Json) => mayAct.value && (isAdministrator.value || c.user === me.value?.name);
const close = (c: Json, reason: string) => api.delete(at`/connections/${c.name}`, reason ? { 'x-reason': reason } : {});

const acts: Act[] = [{
  name: 'Close', verb: 'Close', danger: true, applies: mayClose, input: { label: 'Reason, which the clients are told', initial: 'Closed in the console' },
  warning: (rows) => <p>{plural(rows.length, 'connection')} will be closed. Unacked messages go back to their queues; exclusive queues are deleted. Most clients connect again.</p>,
  run: close,
}];

/** Connections lists clients of every protocol. */
export function Connections() {
  const v = vhost.value;
  return (
    <Page title="Connections">
      <List id="connections" path={v ? at`/vhosts/${v}/connections` : '/connections'} columns={columns} filters={filters} acts={acts} what={['connection', 'connections']} rowKey={(c) => c.name} rowName={(c) => clientName(c) || c.name}
        empty="Clients show up here as they connect, whatever they speak." />
    </Page>
  );
}

/** consumersOf is the list of the consumers whose channel has this value. */
const consumersOf = (vhost: string, field: string, value: string) => withQuery(at`/consumers/${vhost}`, { page: 1, page_size: 500, where: `channel_details.${field}:eq:${value}` });

/** Connection is one client's connection. */
export function Connection({ parts: [name = ''] }: { parts: string[] }) {
  const live = useLive(withQuery(at`/connections/${name}`, sampled('data_rates')), 2);
  const channels = useLive<Json[]>(at`/connections/${name}/channels`, 5);
  const c = live.data;
  const consumers = useLive(c?.vhost ? consumersOf(c.vhost, 'connection_name', name) : undefined, 10);
  const crumbs: [string, string][] = [['Connections', href(['connections'])]];
  if (live.error?.missing) return <Page title={name} crumbs={crumbs}><Note tone="warn" title="This connection has ended">Its client may have connected again under another port: look for it in the list.</Note></Page>;
  if (!c) return <Page title={name} crumbs={crumbs}>{live.error ? <Failure error={live.error} /> : <Loading />}</Page>;
  const own: Json[] = consumers.data?.items ?? [];
  const title = clientName(c) || name;
  return (
    <Page title={title} crumbs={crumbs} badges={<><ConnectionState of={c} /><Badge tone="info">{c.protocol}</Badge><Badge>{c.vhost}</Badge>{c.ssl && <Badge tone="ok">TLS</Badge>}</>}
      actions={<><RangePicker />{mayClose(c) && <Button kind="danger" onClick={() => openDialog(<CloseOne c={c} title={title} />)}>Close…</Button>}</>}>
      {c.state === 'blocked' && <Note tone="warn" title="This client is held back">It publishes while memory or disk is short. It goes on by itself when the alarm is over; Overview says which and what to do.</Note>}
      <Stats>
        <Stat name="From client" value={`${bytes(c.recv_oct_details?.rate ?? 0)}/s`} note={bytes(c.recv_oct)} />
        <Stat name="To client" value={`${bytes(c.send_oct_details?.rate ?? 0)}/s`} note={bytes(c.send_oct)} />
        <Stat name="Channels" value={count(c.channels ?? 0)} />
        {c.subscriptions !== undefined && <Stat name="Subscriptions" value={count(c.subscriptions)} />}
        <Stat name="Connected" value={duration(Date.now() - c.connected_at)} note={time(c.connected_at)} />
      </Stats>
      <Panel><Chart id={`connection/${name}`} title="Bytes a second" unit="bytes/s" series={traffic} data={c} /></Panel>
      {channels.data && channels.data.length > 0 && (
        <Panel title="Channels" flush>
          <Table label="Channels" empty="" rows={channels.data} rowKey={(h) => h.name} cells={[
            { title: 'Channel', cell: (h) => <a href={to.channel(h.name)}>{h.number}</a> },
            { title: 'Mode', cell: (h) => channelMode(h) },
            { title: 'Consumers', num: true, cell: (h) => count(h.consumer_count) },
            { title: 'Prefetch', num: true, cell: (h) => (h.prefetch_count || h.global_prefetch_count ? count(h.prefetch_count || h.global_prefetch_count) : 'no limit') },
            { title: 'Unacked', num: true, cell: (h) => count(h.messages_unacknowledged) },
            { title: 'Published', num: true, cell: (h) => rate(h.message_stats?.publish_details?.rate ?? 0) },
            { title: 'Delivered', num: true, cell: (h) => rate(h.message_stats?.deliver_get_details?.rate ?? 0) },
          ]} />
        </Panel>
      )}
      {own.length > 0 && <Panel title="Consumers" flush><ConsumerTable rows={own} withQueue /></Panel>}
      <div class="two">
        <Panel title="Facts">
          <Facts of={[
            ['Name', <span class="mono">{name}</span>], ['Client', c.client_id && /MQTT/.test(c.protocol) ? <a href={to.client(c.vhost, c.client_id)}>{c.client_id}</a> : c.client_id],
            ['User', isAdministrator.value ? <a href={to.user(c.user)}>{c.user}</a> : c.user], ['Virtual host', <a href={to.vhost(c.vhost)}>{c.vhost}</a>],
            ['From', `${c.peer_host}:${c.peer_port}`], ['To', `${c.host}:${c.port}`], ['Heartbeat', c.timeout ? `${c.timeout} s` : 'off'], ['Largest frame', c.frame_max > 0 && bytes(c.frame_max)],
            ['Channels allowed', c.channel_max > 0 && count(c.channel_max)], ['Signed in by', c.auth_mechanism], ['Certificate', c.peer_cert_subject], ['TLS', c.ssl && [c.ssl_protocol, c.ssl_cipher].filter(Boolean).join(' ')],
            ['Expires', c.expires_at && time(c.expires_at)],
          ]} />
        </Panel>
        <Panel title="What the client says of itself">
          <Facts of={Object.entries(c.client_properties ?? {}).filter(([k]) => k !== 'capabilities').map(([k, v]): [string, ComponentChildren] => [k, value(v)])} />
          {c.client_properties?.capabilities && <p class="muted">Can: {Object.entries(c.client_properties.capabilities).filter(([, v]) => v).map(([k]) => k.replaceAll('_', ' ')).join(', ')}</p>}
        </Panel>
      </div>
    </Page>
  );
}

function CloseOne({ c, title }: { c: Json; title: string }) {
  const [reason, setReason] = useState('Closed in the console');
  return (
    <Ask title={`Close ${title}?`} verb="Close connection" danger act={() => close(c, reason)} done={() => { say('Closed'); go(href(['connections'])); }}>
      <div class="lost"><p>The client is told why and cut off. Its unacked messages go back to their queues; its exclusive queues are deleted. Most clients connect again.</p></div>
      <label class="field"><span>Reason</span><input name="reason" value={reason} onInput={(e) => setReason(e.currentTarget.value)} /></label>
    </Ask>
  );
}

/** channelMode tells how a channel publishes. */
export function channelMode(h: Json): string {
  return [h.confirm && 'confirms', h.transactional && 'transactions'].filter(Boolean).join(', ') || 'plain';
}

/** channelTitle is what people know a channel by. */
const channelTitle = (h: Json): string => (h.connection_details?.user_provided_name ? `${h.connection_details.user_provided_name} (${h.number})` : h.name);

const channelColumns: Column[] = [
  { id: 'name', title: 'Channel', cell: (h) => <a class="name" href={to.channel(h.name)} title={h.name}>{channelTitle(h)}</a> },
  { id: 'peer', title: 'Address', roomy: true, sort: 'connection_details.peer_host', cell: (h) => h.connection_details?.name && <a class="mono" href={to.connection(h.connection_details.name)}>{h.connection_details.peer_host}:{h.connection_details.peer_port}</a> },
  { id: 'user', title: 'User', roomy: true, cell: (h) => h.user },
  { id: 'vhost', title: 'Vhost', roomy: true, cell: (h) => h.vhost },
  { id: 'mode', title: 'Mode', roomy: true, sort: 'confirm', cell: channelMode },
  { id: 'state', title: 'State', cell: (h) => (h.idle_since ? <State tone="plain">idle</State> : <State tone="ok">{h.state}</State>) },
  { id: 'consumer_count', title: 'Consumers', num: true, roomy: true, cell: (h) => count(h.consumer_count) },
  { id: 'prefetch_count', title: 'Prefetch', num: true, roomy: true, cell: (h) => (h.prefetch_count ? count(h.prefetch_count) : '∞') },
  { id: 'messages_unacknowledged', title: 'Unacked', num: true, cell: (h) => count(h.messages_unacknowledged) },
  { id: 'messages_unconfirmed', title: 'Unconfirmed', num: true, off: true, cell: (h) => count(h.messages_unconfirmed) },
  { id: 'publish', title: 'Published', num: true, sort: 'message_stats.publish_details.rate', cell: (h) => rate(h.message_stats?.publish_details?.rate ?? 0) },
  { id: 'deliver', title: 'Delivered', num: true, sort: 'message_stats.deliver_get_details.rate', cell: (h) => rate(h.message_stats?.deliver_get_details?.rate ?? 0) },
  { id: 'ack', title: 'Acked', num: true, roomy: true, sort: 'message_stats.ack_details.rate', cell: (h) => rate(h.message_stats?.ack_details?.rate ?? 0) },
  { id: 'returned', title: 'Returned', num: true, off: true, sort: 'message_stats.return_unroutable', cell: (h) => count(h.message_stats?.return_unroutable ?? 0), help: 'Went to no queue and came back to the publisher' },
];

/** Channels lists the channels of AMQP connections and the sessions of others. */
export function Channels() {
  const v = vhost.value;
  return (
    <Page title="Channels">
      <List id="channels" path={v ? at`/vhosts/${v}/channels` : '/channels'} columns={channelColumns} what={['channel', 'channels']} rowKey={(h) => h.name} rowName={(h) => h.name}
        filters={[{ id: 'has', title: 'Show', options: [{ value: 'unacked', title: 'with unacked messages', where: 'messages_unacknowledged:gt:0' }, { value: 'consumers', title: 'with consumers', where: 'consumer_count:gt:0' }] }]} />
    </Page>
  );
}

/** Channel is one channel. */
export function Channel({ parts: [name = ''] }: { parts: string[] }) {
  const live = useLive(withQuery(at`/channels/${name}`, sampled('msg_rates')), 2);
  const h = live.data;
  const consumers = useLive(h?.vhost ? consumersOf(h.vhost, 'name', name) : undefined, 10);
  const crumbs: [string, string][] = [['Channels', href(['channels'])]];
  if (live.error?.missing) return <Page title={name} crumbs={crumbs}><Note tone="warn" title="This channel is closed" /></Page>;
  if (!h) return <Page title={name} crumbs={crumbs}>{live.error ? <Failure error={live.error} /> : <Loading />}</Page>;
  const own: Json[] = consumers.data?.items ?? [];
  const s = h.message_stats ?? {};
  return (
    <Page title={channelTitle(h)} crumbs={crumbs} badges={<><Badge>{channelMode(h)}</Badge><Badge>{h.vhost}</Badge></>} actions={<RangePicker />}>
      <Stats>
        <Stat name="Unacked" value={count(h.messages_unacknowledged)} note={h.prefetch_count ? `prefetch ${count(h.prefetch_count)}` : 'no prefetch limit'} />
        <Stat name="Unconfirmed" value={count(h.messages_unconfirmed ?? 0)} />
        <Stat name="Consumers" value={count(h.consumer_count)} />
        <Stat name="Published" value={rate(s.publish_details?.rate ?? 0)} note={`${count(s.publish ?? 0)} in all`} />
        <Stat name="Delivered" value={rate(s.deliver_get_details?.rate ?? 0)} note={`${count(s.deliver_get ?? 0)} in all`} />
        <Stat name="Returned" value={count(s.return_unroutable ?? 0)} note="went to no queue" />
      </Stats>
      <Panel><Chart id={`channel/${name}`} title="Messages a second" unit="rate" data={h} series={[
        { name: 'Published', colour: 'c-publish', details: (d) => d?.message_stats?.publish_details },
        { name: 'Delivered', colour: 'c-deliver', details: (d) => d?.message_stats?.deliver_get_details },
        { name: 'Acked', colour: 'c-ack', details: (d) => d?.message_stats?.ack_details },
      ]} /></Panel>
      <Panel title="Consumers" flush><ConsumerTable rows={own} withQueue /></Panel>
      <Panel title="Facts"><Facts of={[['Connection', <a href={to.connection(h.connection_details?.name)}>{h.connection_details?.name}</a>], ['Client', h.connection_details?.user_provided_name], ['User', h.user], ['State', h.state], ['Idle since', h.idle_since && ago(Date.parse(h.idle_since))],
        ['Prefetch for each consumer', h.prefetch_count || 'no limit'], ['Prefetch for the channel', h.global_prefetch_count || 'no limit'], ['Acks not committed', h.transactional && count(h.acks_uncommitted)], ['Messages not committed', h.transactional && count(h.messages_uncommitted)]]} /></Panel>
    </Page>
  );
}
