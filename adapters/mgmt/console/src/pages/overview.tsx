import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { api, withQuery, type Json } from '../lib/api';
import { alarmsPath, readAlarms } from '../lib/alarms';
import { bytes, count, duration, plural, rate } from '../lib/format';
import { useLive } from '../lib/live';
import { href, vhost } from '../lib/router';
import { isMonitor, mayAdminister } from '../lib/session';
import { Chart, depths, messageRates, RangePicker, sampled } from '../ui/chart';
import { Ask, openDialog } from '../ui/dialog';
import { Badge, Button, Failure, Loading, Note, Page, Panel, Stat, Stats } from '../ui/parts';
import { Table } from '../ui/table';
import { say } from '../ui/toast';

/** Overview is how the broker does: alarms, load now and lately, its node and ports. */
export function Overview() {
  const v = vhost.value;
  // One virtual host has figures of its own; the broker's are in its overview.
  const history = sampled('lengths', 'msg_rates');
  const all = useLive(withQuery('/overview', v ? {} : history), 5);
  const one = useLive(v ? withQuery(`/vhosts/${encodeURIComponent(v)}`, history) : undefined, 5);
  const nodes = useLive<Json[]>(isMonitor.value ? '/nodes' : undefined, 5);
  const alarms = useLive(alarmsPath.value, 5);
  const o = all.data;

  if (!o) return <Page title="Overview">{all.error ? <Failure error={all.error} /> : <Loading />}</Page>;
  const data = v ? (one.data ?? {}) : o;
  const totals = (d: Json) => d?.queue_totals ?? d;
  const t = totals(data) ?? {};
  const objects = o.object_totals ?? {};
  const rateOf = (name: string) => rate(data.message_stats?.[name + '_details']?.rate ?? 0);
  return (
    <Page title="Overview" badges={<><Badge title="What answers">{o.product_name ?? 'RabbitMQ'} {o.product_version}</Badge><Badge title="Cluster">{o.cluster_name}</Badge>{v && <Badge tone="accent">vhost {v}</Badge>}</>} actions={<RangePicker />}>
      {readAlarms(alarms.data, alarms.error).map((a) => <Note key={a.title} tone="bad" title={a.title}><p>{a.what}</p><p><b>What to do:</b> {a.todo}</p>{a.resource && mayAdminister.value && <p><Button onClick={() => openDialog(<ChangeLimit resource={a.resource!} done={alarms.reload} />)}>Change the limit…</Button></p>}</Note>)}
      {one.error && <Failure error={one.error} />}
      <Stats>
        <Stat name="Ready" value={count(t.messages_ready ?? 0)} note="waiting" href={href(['queues'], { vhost: v, sort: 'messages_ready', desc: '1' })} />
        <Stat name="Unacked" value={count(t.messages_unacknowledged ?? 0)} note="delivered" href={href(['queues'], { vhost: v, sort: 'messages_unacknowledged', desc: '1' })} />
        <Stat name="Published" value={rateOf('publish')} />
        <Stat name="Delivered" value={rateOf('deliver_get')} />
        <Stat name="Acked" value={rateOf('ack')} />
        {!v && <>
          <Stat name="Connections" value={count(objects.connections)} href="#/connections" />
          <Stat name="Channels" value={count(objects.channels)} href="#/channels" />
          <Stat name="Consumers" value={count(objects.consumers)} href="#/consumers" />
          <Stat name="Queues" value={count(objects.queues)} href="#/queues" />
          <Stat name="Exchanges" value={count(objects.exchanges)} href="#/exchanges" />
        </>}
      </Stats>
      <div class="two">
        <Panel><Chart id={`overview/${v}/depth`} title="Messages in queues" unit="level" series={depths(totals)} data={data} age={nodes.data?.[0]?.uptime} /></Panel>
        <Panel><Chart id={`overview/${v}/rates`} title="Messages a second" unit="rate" series={messageRates} data={data} age={nodes.data?.[0]?.uptime} /></Panel>
      </div>
      {isMonitor.value && (nodes.error ? <Failure error={nodes.error} /> : nodes.data?.map((n) => <NodePanel key={n.name} node={n} />))}
      <div class="two">
        <Churn of={o.churn_rates} />
        {o.listeners && (
          <Panel title="Listeners" flush>
            <Table label="Listeners" empty="No ports are open" rows={o.listeners as Json[]} rowKey={(l) => l.protocol + l.ip_address + l.port} cells={[
              { title: 'Protocol', cell: (l) => protocols[l.protocol] ?? l.protocol },
              { title: 'Address', cell: (l) => <span class="mono">{l.ip_address}</span> },
              { title: 'Port', num: true, cell: (l) => <span class="mono">{l.port}</span> },
              { title: 'TLS', cell: (l) => (/ssl|https|tls/.test(l.protocol) ? 'yes' : 'no') },
            ]} />
          </Panel>
        )}
      </div>
    </Page>
  );
}

const protocols: Record<string, string> = {
  amqp: 'AMQP 0-9-1', 'amqp/ssl': 'AMQP 0-9-1', mqtt: 'MQTT', 'mqtt/ssl': 'MQTT', stomp: 'STOMP', 'stomp/ssl': 'STOMP', http: 'HTTP: this console and the API',
  https: 'HTTPS: this console and the API', 'http/web-mqtt': 'MQTT over WebSocket', 'https/web-mqtt': 'MQTT over WebSocket', 'http/web-stomp': 'STOMP over WebSocket',
  'https/web-stomp': 'STOMP over WebSocket', 'http/prometheus': 'Prometheus', 'https/prometheus': 'Prometheus',
};

/** Gauge shows a part of a whole, in words and as a bar. */
export function Gauge({ name, value, limit, text, note, invert }: { name: string; value: number; limit: number; text: (n: number) => string; note?: ComponentChildren; invert?: boolean }) {
  const part = limit > 0 ? value / limit : 0;
  const worry = invert ? limit > 0 && value < limit * 1.25 : part > 0.85;
  const bad = invert ? limit > 0 && value < limit : part >= 1;
  return (
    <div class="gauge">
      <div><span>{name}</span><b>{text(value)}</b></div>
      {!invert && limit > 0 && <div class={`bar ${bad ? 'bad' : worry ? 'warn' : ''}`} role="img" aria-label={`${Math.round(part * 100)} percent`}><i style={{ width: `${Math.min(100, part * 100)}%` }} /></div>}
      <div class="muted">{note ?? (limit > 0 ? `of ${text(limit)}` : 'no limit')}</div>
    </div>
  );
}

export function NodePanel({ node: n }: { node: Json }) {
  return (
    <Panel title={<>Node <a href={href(['node', n.name])} class="mono">{n.name}</a></>} aside={<span class="muted">up {duration(n.uptime)} · {plural(n.processors, 'processor')}</span>}>
      <div class="gauges">
        <Gauge name="Memory" value={n.mem_used} limit={n.mem_limit} text={bytes} />
        <Gauge name="Disk free" value={n.disk_free} limit={n.disk_free_limit} text={bytes} invert note={n.disk_free_limit > 0 ? `publishers wait below ${bytes(n.disk_free_limit)}` : undefined} />
        <Gauge name="File descriptors" value={n.fd_used} limit={n.fd_total} text={count} />
        <Gauge name="Goroutines" value={n.proc_used} limit={0} text={count} note="work at once" />
      </div>
    </Panel>
  );
}

const churn: [string, string][] = [
  ['connection_created', 'Connections opened'], ['connection_closed', 'Connections closed'], ['channel_created', 'Channels opened'], ['channel_closed', 'Channels closed'],
  ['queue_declared', 'Queues declared'], ['queue_created', 'Queues created'], ['queue_deleted', 'Queues deleted'],
];

function Churn({ of }: { of: Json }) {
  if (!of) return null;
  return (
    <Panel title="Churn" flush aside={<span class="muted">many a second: clients that do not keep connections open</span>}>
      <Table label="Churn" empty="Nothing yet" rows={churn.filter(([k]) => of[k] !== undefined)} rowKey={(c) => c[0]} cells={[
        { title: 'What', cell: (c) => c[1] },
        { title: 'Since start', num: true, cell: (c) => count(of[c[0]]) },
        { title: 'Now', num: true, cell: (c) => rate(of[c[0] + '_details']?.rate ?? 0) },
      ]} />
    </Panel>
  );
}

/** ChangeLimit sets how much memory may be used, or how much disk must be left, until a restart. */
function ChangeLimit({ resource, done }: { resource: 'memory' | 'disk'; done: () => void }) {
  const [n, setN] = useState(resource === 'memory' ? '60' : '50');
  const memory = resource === 'memory';
  return (
    <Ask title={memory ? 'Limit of memory' : 'Limit of free disk'} verb="Change the limit" disabled={!(Number(n) > 0)} done={() => { say('The limit is changed'); done(); }}
      act={() => api.put(`/alarms/${resource}/limit`, memory ? { relative: Number(n) / 100 } : { absolute: Math.round(Number(n) * 1024 * 1024) })}>
      <label class="field"><span>{memory ? 'Percent of this machine’s memory' : 'MiB that must be free'}</span><input name="limit" inputMode="decimal" value={n} onInput={(e) => setN(e.currentTarget.value)} />
        <small>Until the broker is started again; {memory ? 'vm_memory_high_watermark' : 'disk_free_limit'} in its configuration lasts.</small></label>
    </Ask>
  );
}
