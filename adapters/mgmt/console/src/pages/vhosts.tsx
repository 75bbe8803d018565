import { useState } from 'preact/hooks';
import { api, at, withQuery, type Json } from '../lib/api';
import { count, plural, rate } from '../lib/format';
import { useLive, useOnce } from '../lib/live';
import { go, href, to } from '../lib/router';
import { isAdministrator, mayAdminister } from '../lib/session';
import { Chart, depths, messageRates, RangePicker, sampled } from '../ui/chart';
import { Ask, confirmAct, openDialog } from '../ui/dialog';
import { List, type Column } from '../ui/list';
import { Badge, Button, Facts, Failure, Loading, Menu, Note, Page, Panel, Stat, State, Stats } from '../ui/parts';
import { Table } from '../ui/table';
import { complain, say } from '../ui/toast';
import { SetPermission } from './permissions';

const columns: Column[] = [
  { id: 'name', title: 'Name', cell: (v) => <a class="name" href={to.vhost(v.name)}>{v.name}</a> },
  { id: 'description', title: 'Description', roomy: true, cell: (v) => v.description },
  { id: 'tags', title: 'Tags', roomy: true, sort: false, cell: (v) => <span class="features">{(v.tags ?? []).map((t: string) => <Badge key={t}>{t}</Badge>)}</span> },
  { id: 'default_queue_type', title: 'Default queue type', off: true, cell: (v) => v.default_queue_type },
  { id: 'state', title: 'State', sort: false, roomy: true, cell: (v) => { const all = Object.values(v.cluster_state ?? {}); return <State tone={all.every((s) => s === 'running') ? 'ok' : 'bad'}>{String(all[0] ?? '')}</State>; } },
  { id: 'messages_ready', title: 'Ready', num: true, cell: (v) => <a href={href(['queues'], { vhost: v.name })}>{count(v.messages_ready ?? 0)}</a> },
  { id: 'messages_unacknowledged', title: 'Unacked', num: true, cell: (v) => count(v.messages_unacknowledged ?? 0) },
  { id: 'in', title: 'Published', num: true, sort: 'message_stats.publish_details.rate', cell: (v) => rate(v.message_stats?.publish_details?.rate ?? 0) },
  { id: 'out', title: 'Delivered', num: true, sort: 'message_stats.deliver_get_details.rate', cell: (v) => rate(v.message_stats?.deliver_get_details?.rate ?? 0) },
];

/** VHosts lists the virtual hosts that the user may see. */
export function VHosts() {
  return (
    <Page title="Virtual hosts" actions={mayAdminister.value && <Button icon="plus" kind="primary" onClick={() => openDialog(<Edit />)}>New virtual host</Button>}>
      <List id="vhosts" path="/vhosts" columns={columns} what={['virtual host', 'virtual hosts']} rowKey={(v) => v.name} rowName={(v) => v.name} />
    </Page>
  );
}

function Edit({ v, done }: { v?: Json; done?: () => void }) {
  const [name, setName] = useState(v?.name ?? '');
  const [description, setDescription] = useState(v?.description ?? '');
  const [tags, setTags] = useState((v?.tags ?? []).join(', '));
  const [type, setType] = useState(v?.default_queue_type ?? 'classic');
  const [tracing, setTracing] = useState(!!v?.tracing);
  return (
    <Ask title={v ? `Change ${v.name}` : 'New virtual host'} verb={v ? 'Save' : 'Create'} disabled={name === ''} done={() => { say(`Virtual host ${name} saved`); if (done) done(); else go(to.vhost(name)); }}
      act={() => api.put(at`/vhosts/${name}`, { description, tags: tags.split(',').map((t: string) => t.trim()).filter(Boolean).join(','), default_queue_type: type, tracing })}>
      {!v && <label class="field"><span>Name</span><input name="name" autofocus value={name} spellcheck={false} autocomplete="off" onInput={(e) => setName(e.currentTarget.value)} /><small>You get all permissions in it.</small></label>}
      <label class="field"><span>Description</span><input name="description" value={description} onInput={(e) => setDescription(e.currentTarget.value)} /></label>
      <label class="field"><span>Tags</span><input value={tags} placeholder="production, eu" onInput={(e) => setTags(e.currentTarget.value)} /></label>
      <label class="field"><span>Default queue type</span><select value={type} onChange={(e) => setType(e.currentTarget.value)}>{['classic', 'quorum', 'stream'].map((t) => <option key={t} value={t}>{t}</option>)}</select><small>What a queue is that is declared without a type.</small></label>
      <label class="check-field"><input type="checkbox" checked={tracing} onChange={(e) => setTracing(e.currentTarget.checked)} /><span>Firehose<small>A copy of every message goes to amq.rabbitmq.trace. It costs; turn it off again.</small></span></label>
    </Ask>
  );
}

/** VHost is one virtual host: its load, who may use it, its limits. */
export function VHost({ parts: [name = '/'] }: { parts: string[] }) {
  // Only administrators may ask for one by name; a list shows it to the others.
  const live = useLive(isAdministrator.value ? withQuery(at`/vhosts/${name}`, sampled('lengths', 'msg_rates')) : undefined, 3);
  const list = useLive<Json[]>(isAdministrator.value ? undefined : '/vhosts', 5);
  const v = live.data ?? list.data?.find((x) => x.name === name);
  const permissions = useLive<Json[]>(isAdministrator.value ? at`/vhosts/${name}/permissions` : undefined, 10);
  const limits = useOnce<Json[]>(at`/vhost-limits/${name}`);
  const crumbs: [string, string][] = [['Virtual hosts', '#/vhosts']];
  if (live.error?.missing) return <Page title={name} crumbs={crumbs}><Note tone="warn" title="This virtual host is not there" /></Page>;
  if (!v) return <Page title={name} crumbs={crumbs}>{live.error ? <Failure error={live.error} /> : <Loading />}</Page>;
  return (
    <Page title={name} crumbs={crumbs} badges={<>{(v.tags ?? []).map((t: string) => <Badge key={t}>{t}</Badge>)}{v.tracing && <Badge tone="warn" title="Every message is copied to amq.rabbitmq.trace">firehose on</Badge>}{v.protected_from_deletion && <Badge>protected</Badge>}</>}
      actions={<><RangePicker />{mayAdminister.value && <Menu label="Actions" items={[
        { name: 'Change…', act: () => openDialog(<Edit v={v} done={live.reload} />) },
        { name: v.protected_from_deletion ? 'Allow deletion' : 'Protect from deletion', act: () => void (v.protected_from_deletion ? api.delete(at`/vhosts/${name}/deletion/protection`) : api.post(at`/vhosts/${name}/deletion/protection`, {})).then(live.reload, complain) },
        { name: 'Delete…', danger: true, act: () => confirmAct({
          title: `Delete ${name}?`, verb: 'Delete', type: name,
          lost: <p>The virtual host, <b>all its queues with {plural(v.messages ?? 0, 'message')}</b>, exchanges, bindings, policies and permissions will be gone for good, and its clients are cut off.</p>,
          act: () => api.delete(at`/vhosts/${name}`), done: () => { say(`${name} is deleted`); go('#/vhosts'); },
        }) },
      ]} />}</>}>
      {v.description && <p class="lead muted">{v.description}</p>}
      <Stats>
        <Stat name="Ready" value={count(v.messages_ready ?? 0)} href={href(['queues'], { vhost: name })} />
        <Stat name="Unacked" value={count(v.messages_unacknowledged ?? 0)} />
        <Stat name="Published" value={rate(v.message_stats?.publish_details?.rate ?? 0)} />
        <Stat name="Delivered" value={rate(v.message_stats?.deliver_get_details?.rate ?? 0)} />
      </Stats>
      <div class="two">
        <Panel><Chart id={`vhost/${name}/depth`} title="Messages in queues" unit="level" series={depths((d) => d)} data={v} /></Panel>
        <Panel><Chart id={`vhost/${name}/rates`} title="Messages a second" unit="rate" series={messageRates} data={v} /></Panel>
      </div>
      {isAdministrator.value && (
        <Panel title="Who may use it" flush aside={mayAdminister.value && <Button icon="plus" onClick={() => openDialog(<SetPermission vhost={name} done={permissions.reload} />)}>Give permission</Button>}>
          {permissions.data ? <Table label="Permissions" empty="Nobody has permissions here" rows={permissions.data} rowKey={(p) => p.user} cells={[
            { title: 'User', cell: (p) => <a href={to.user(p.user)}>{p.user}</a> },
            { title: 'Configure', cell: (p) => <code>{p.configure || 'nothing'}</code> }, { title: 'Write', cell: (p) => <code>{p.write || 'nothing'}</code> }, { title: 'Read', cell: (p) => <code>{p.read || 'nothing'}</code> },
          ]} /> : permissions.error ? <Failure error={permissions.error} /> : <Loading />}
        </Panel>
      )}
      <Panel title="Facts"><Facts of={[['Default queue type', v.default_queue_type], ['Limits', limits.data?.length ? Object.entries(limits.data[0]!.value ?? {}).map(([k, n]) => `${k}: ${n}`).join(', ') : 'none'],
        ['Map', <a href={href(['map'], { vhost: name })}>Show how its messages go</a>], ['Policies', <a href={href(['policies'], { vhost: name })}>Show its policies</a>]]} /></Panel>
    </Page>
  );
}
