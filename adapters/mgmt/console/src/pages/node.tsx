import { at, withQuery, type Json } from '../lib/api';
import { bytes, count, duration } from '../lib/format';
import { useLive } from '../lib/live';
import { route } from '../lib/router';
import { Chart, RangePicker, sampled, type Series } from '../ui/chart';
import { Badge, Facts, Failure, Loading, Page, Panel } from '../ui/parts';
import { Gauge, NodePanel } from './overview';

const level = (name: string) => ({ details: (d: Json) => d?.[name + '_details'], now: (d: Json) => d?.[name] as number | undefined });
const memory: Series[] = [{ name: 'Memory', colour: 'c-publish', ...level('mem_used') }];
const files: Series[] = [{ name: 'File descriptors', colour: 'c-ready', ...level('fd_used') }, { name: 'Goroutines', colour: 'c-ack', ...level('proc_used') }];

/** What the parts of memory, which have the names they have in RabbitMQ, are here. */
const parts: Record<string, string> = {
  queue_procs: 'Classic queues', quorum_queue_procs: 'Quorum queues', stream_queue_procs: 'Streams', binary: 'Message bodies', mgmt_db: 'Statistics', other_ets: 'Other data', other_proc: 'Stacks', other_system: 'Runtime',
  allocated_unused: 'Free for new data', reserved_unallocated: 'Kept from the system', connection_readers: 'Connections, reading', connection_writers: 'Connections, writing', connection_channels: 'Channels', connection_other: 'Connections, other',
  metadata_store: 'Definitions', msg_index: 'Message index', code: 'Program',
};

/** Node is the process: what it uses, where its memory went, how it is set up. */
export function Node() {
  const list = useLive<Json[]>('/nodes?columns=name', 60);
  const name = route.value.parts[1] ?? list.data?.[0]?.name;
  const live = useLive(name ? withQuery(at`/nodes/${name}`, sampled('node_stats')) : undefined, 5);
  const memoryParts = useLive(name ? at`/nodes/${name}/memory` : undefined, 10);
  const n = live.data;
  if (!n) return <Page title="Node">{live.error ?? list.error ? <Failure error={live.error ?? list.error} /> : <Loading />}</Page>;
  const breakdown: Json = memoryParts.data?.memory;
  const pieces = typeof breakdown === 'object' && breakdown ? Object.entries(breakdown).filter(([k, v]) => typeof v === 'number' && v > 0 && k !== 'total' && !/strategy/.test(k)) as [string, number][] : [];
  const total = pieces.reduce((s, [, v]) => s + v, 0);
  return (
    <Page title={n.name} badges={<><Badge tone={n.running ? 'ok' : 'bad'}>{n.running ? 'running' : 'down'}</Badge><Badge>{n.type}</Badge></>} actions={<RangePicker />}>
      <NodePanel node={n} />
      <div class="two">
        <Panel><Chart id={`node/${n.name}/memory`} title="Memory" unit="bytes" series={memory} data={n} age={n.uptime} /></Panel>
        <Panel><Chart id={`node/${n.name}/files`} title="Descriptors and goroutines" unit="level" series={files} data={n} age={n.uptime} /></Panel>
      </div>
      <div class="two">
        <Panel title="Where memory went">
          {pieces.length === 0 ? <p class="muted">This broker does not tell.</p> : <div class="gauges">{pieces.sort((a, b) => b[1] - a[1]).map(([k, v]) => <Gauge key={k} name={parts[k] ?? k.replaceAll('_', ' ')} value={v} limit={total} text={bytes} note={`${Math.round((v / total) * 100)} %`} />)}</div>}
        </Panel>
        <Panel title="Facts"><Facts of={[['Up', duration(n.uptime)], ['Process', n.os_pid], ['Processors', count(n.processors)], ['Memory counted', n.mem_calculation_strategy], ['Rates', n.rates_mode], ['Data', <span class="mono">{n.db_dir}</span>],
          ['Configuration', (n.config_files ?? []).join(', ') || 'none'], ['Log', (n.log_files ?? []).join(', ') || 'standard error'], ['Enabled', (n.enabled_plugins ?? []).join(', ')], ['Sign-in by', (n.auth_mechanisms ?? []).map((m: Json) => m.name).join(', ')]]} /></Panel>
      </div>
    </Page>
  );
}
