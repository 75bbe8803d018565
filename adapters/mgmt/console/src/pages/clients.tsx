import { api, at, type Json } from '../lib/api';
import { bytes, count, plural, time } from '../lib/format';
import { useLive } from '../lib/live';
import { go, href, to, vhost } from '../lib/router';
import { mayAct } from '../lib/session';
import { confirmAct } from '../ui/dialog';
import { List, type Act, type Column } from '../ui/list';
import { Badge, Button, Facts, Failure, Loading, Note, Page, Panel, Stat, State, Stats } from '../ui/parts';
import { Table } from '../ui/table';
import { say } from '../ui/toast';

const absent = 'MQTT sessions cannot be listed by this broker. Connected clients are under Connections.';

const columns: Column[] = [
  { id: 'client_id', title: 'Client', cell: (s) => <a class="name" href={to.client(s.vhost, s.client_id)}>{s.client_id}</a> },
  { id: 'connected', title: 'State', cell: (s) => <State tone={s.connected ? 'ok' : 'plain'}>{s.connected ? 'connected' : 'offline'}</State> },
  { id: 'protocol', title: 'Protocol', roomy: true, cell: (s) => s.protocol },
  { id: 'user', title: 'User', roomy: true, cell: (s) => s.user },
  { id: 'vhost', title: 'Vhost', roomy: true, cell: (s) => s.vhost },
  { id: 'subscriptions', title: 'Subscriptions', sort: false, num: true, cell: (s) => <span title={(s.subscriptions ?? []).map((f: Json) => f.filter).join('\n')}>{count(s.subscriptions?.length ?? 0)}</span> },
  { id: 'messages', title: 'Waiting', num: true, cell: (s) => count(s.messages ?? 0), help: 'Messages kept for the client' },
  { id: 'expires_at', title: 'Session ends', num: true, roomy: true, cell: (s) => (s.expires_at ? time(s.expires_at) : s.connected ? '' : 'never') },
];

const end = (s: Json) => api.delete(at`/sessions/${s.vhost}/${s.client_id}`);

const acts: Act[] = [{
  name: 'End session', verb: 'End', danger: true,
  warning: (rows) => <p>{plural(rows.length, 'session')} with {plural(rows.reduce((n, s) => n + (s.messages ?? 0), 0), 'waiting message')} and all their subscriptions will be gone. Connected clients are cut off.</p>,
  run: end,
}];

/** Clients lists MQTT clients with sessions, also those that are offline. */
export function Clients() {
  const v = vhost.value;
  return (
    <Page title="MQTT clients">
      <List id="clients" path={v ? at`/sessions/${v}` : '/sessions'} columns={columns} acts={acts} what={['client', 'clients']} rowKey={(s) => `${s.vhost}|${s.client_id}`} rowName={(s) => s.client_id} absent={absent}
        filters={[{ id: 'is', title: 'Show', options: [{ value: 'on', title: 'connected', where: 'connected:eq:true' }, { value: 'off', title: 'offline', where: 'connected:eq:false' }, { value: 'waiting', title: 'with waiting messages', where: 'messages:gt:0' }] }]}
        empty="MQTT clients show up here, and stay while the broker keeps a session for them." />
    </Page>
  );
}

/** Client is one MQTT client: its session, what it is subscribed to, its will. */
export function Client({ parts: [vh = '/', id = ''] }: { parts: string[] }) {
  const live = useLive(at`/sessions/${vh}/${id}`, 2);
  const s = live.data;
  const crumbs: [string, string][] = [['MQTT clients', href(['clients'], { vhost: vh })]];
  if (!s) return <Page title={id} crumbs={crumbs}>{live.error ? <Failure error={live.error} absent={absent} /> : <Loading />}</Page>;
  if (live.error?.missing) return <Page title={id} crumbs={crumbs}><Note tone="warn" title="This session has ended" /></Page>;
  return (
    <Page title={id} crumbs={crumbs} badges={<><State tone={s.connected ? 'ok' : 'plain'}>{s.connected ? 'connected' : 'offline'}</State>{s.protocol && <Badge tone="info">{s.protocol}</Badge>}<Badge>{vh}</Badge></>}
      actions={mayAct.value && <Button kind="danger" onClick={() => confirmAct({
        title: `End the session of ${id}?`, verb: 'End session',
        lost: <p>{plural(s.messages ?? 0, 'waiting message')} and {plural(s.subscriptions?.length ?? 0, 'subscription')} will be gone.{s.connected && ' The client is cut off; it may connect again and begin anew.'}</p>,
        act: () => end(s), done: () => { say('Session ended'); go(href(['clients'], { vhost: vh })); },
      })}>End session…</Button>}>
      <Stats>
        <Stat name="Waiting" value={count(s.messages ?? 0)} note="messages kept for it" />
        <Stat name="Subscriptions" value={count(s.subscriptions?.length ?? 0)} />
        <Stat name="Session ends" value={s.expires_at ? time(s.expires_at) : s.connected ? '–' : 'never'} />
      </Stats>
      <Panel title="Subscriptions" flush>
        <Table label="Subscriptions" empty="Subscribed to nothing" rows={(s.subscriptions ?? []) as Json[]} rowKey={(f) => f.filter} cells={[
          { title: 'Topic filter', cell: (f) => <a class="mono" href={href(['route'], { vhost: vh, topic: f.filter.replace(/[+#]/g, 'x') })} title="Where would a message to such a topic go?">{f.filter}</a> },
          { title: 'QoS', num: true, cell: (f) => f.qos },
          { title: 'Shared', cell: (f) => f.share },
          { title: 'Options', cell: (f) => [f.no_local && 'not its own messages', f.retain_as_published && 'keeps the retain flag', f.retain_handling ? ['', 'retained if new', 'no retained'][f.retain_handling] : ''].filter(Boolean).join(', ') },
          { title: 'Identifier', num: true, cell: (f) => f.identifier },
        ]} />
      </Panel>
      <div class="two">
        <Panel title="Facts"><Facts of={[['User', s.user], ['Connection', s.connection && <a href={to.connection(s.connection)}>{s.connection}</a>], ['Queues', (s.queues ?? []).length > 0 && (s.queues as string[]).map((q) => <div key={q}><a href={to.queue(vh, q)}>{q}</a></div>)]]} /></Panel>
        {s.will && <Panel title="Will: sent if it is cut off"><Facts of={[['Topic', <span class="mono">{s.will.topic}</span>], ['QoS', s.will.qos], ['Retained', s.will.retain ? 'yes' : 'no'], ['Size', s.will.payload_bytes !== undefined && bytes(s.will.payload_bytes)], ['Delay', s.will.delay > 0 && `${s.will.delay} s`]]} /></Panel>}
      </div>
    </Page>
  );
}
