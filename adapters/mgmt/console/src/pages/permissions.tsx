import { useState } from 'preact/hooks';
import { api, at, type Json } from '../lib/api';
import { plural } from '../lib/format';
import { useOnce } from '../lib/live';
import { route, setQuery, to } from '../lib/router';
import { mayAdminister } from '../lib/session';
import { Ask, confirmAct, openDialog } from '../ui/dialog';
import { List, type Act, type Column } from '../ui/list';
import { Button, Page, Tabs } from '../ui/parts';
import { say } from '../ui/toast';
import { VHostField } from './declare';
import { Explain } from './explain';

const pattern = (name: string) => (p: Json) => <code>{p[name] || 'nothing'}</code>;

const columns: Column[] = [
  { id: 'user', title: 'User', cell: (p) => <a class="name" href={to.user(p.user)}>{p.user}</a> },
  { id: 'vhost', title: 'Virtual host', cell: (p) => <a href={to.vhost(p.vhost)}>{p.vhost}</a> },
  { id: 'configure', title: 'Configure', cell: pattern('configure'), help: 'May declare and delete queues and exchanges whose names match' },
  { id: 'write', title: 'Write', cell: pattern('write'), help: 'May publish to exchanges and bind to queues whose names match' },
  { id: 'read', title: 'Read', cell: pattern('read'), help: 'May consume from queues and bind from exchanges whose names match' },
];

const topicColumns: Column[] = [
  columns[0]!, columns[1]!, { id: 'exchange', title: 'Exchange', cell: (p) => p.exchange || '(all topic exchanges)' },
  { id: 'write', title: 'Write', cell: pattern('write'), help: 'May publish with routing keys that match' }, { id: 'read', title: 'Read', cell: pattern('read'), help: 'May bind with routing keys that match' },
];

const acts: Act[] = [{
  name: 'Take away', verb: 'Take away', danger: true, warning: (rows) => <p>{plural(rows.length, 'permission')} will be gone: those users can no longer use these virtual hosts.</p>,
  run: (p) => api.delete(at`/permissions/${p.vhost}/${p.user}`),
}];
const topicActs: Act[] = [{
  name: 'Remove', verb: 'Remove', danger: true, warning: (rows) => <p>{plural(rows.length, 'restriction')} will be gone: every routing key is allowed then, where permissions allow the exchange.</p>,
  run: (p) => api.delete(at`/topic-permissions/${p.vhost}/${p.user}/${p.exchange || 'amq.default'}`),
}];

/** clearPermission asks, then takes a user's permissions in a virtual host. */
export function clearPermission(p: Json, done: () => void): void {
  confirmAct({ title: `Take all permissions of ${p.user} in ${p.vhost}?`, verb: 'Take away', lost: <p>Programs that sign in as {p.user} can no longer use this virtual host.</p>, act: () => api.delete(at`/permissions/${p.vhost}/${p.user}`), done });
}

/** Permissions lists who may do what where. */
export function Permissions() {
  const tab = route.value.query.get('tab') ?? 'permissions';
  return (
    <Page title="Permissions" actions={mayAdminister.value && tab !== 'explain' && (tab === 'permissions'
      ? <Button icon="plus" kind="primary" onClick={() => openDialog(<SetPermission done={() => {}} />)}>Give permission</Button>
      : <Button icon="plus" kind="primary" onClick={() => openDialog(<SetTopicPermission done={() => {}} />)}>Restrict topics</Button>)}>
      <Tabs value={tab} options={[['permissions', 'Queues and exchanges'], ['topics', 'Topics'], ['explain', 'May this user…?']]} onChange={(t) => setQuery({ tab: t === 'permissions' ? undefined : t, q: undefined, page: undefined, sort: undefined })} />
      {tab === 'explain' ? <Explain /> : tab === 'permissions'
        ? <List key="p" id="permissions" path="/permissions" columns={columns} acts={acts} what={['permission', 'permissions']} rowKey={(p) => `${p.vhost}|${p.user}`} rowName={(p) => `${p.user} in ${p.vhost}`} />
        : <List key="t" id="topic-permissions" path="/topic-permissions" columns={topicColumns} acts={topicActs} what={['topic permission', 'topic permissions']} rowKey={(p) => `${p.vhost}|${p.user}|${p.exchange}`} rowName={(p) => `${p.user} in ${p.vhost}`} empty="Without them, a permission for a topic exchange covers all routing keys." />}
    </Page>
  );
}

/** UserField chooses a user, or takes the name of one that is kept elsewhere. */
function UserField({ value, onChange, fixed }: { value: string; onChange: (v: string) => void; fixed: boolean }) {
  const users = useOnce<Json[]>(fixed ? undefined : '/users?columns=name');
  return (
    <label class="field"><span>User</span><input name="user" list="known-users" value={value} readOnly={fixed} autocomplete="off" spellcheck={false} onInput={(e) => onChange(e.currentTarget.value)} />
      <datalist id="known-users">{users.data?.map((u) => <option key={u.name} value={u.name} />)}</datalist></label>
  );
}

const actions: ['configure' | 'write' | 'read', string][] = [
  ['configure', 'Names of queues and exchanges it may declare and delete.'], ['write', 'Exchanges it may publish to, queues it may bind.'], ['read', 'Queues it may consume from, exchanges it may bind from.'],
];

/** SetPermission gives a user permissions in a virtual host. */
export function SetPermission({ user, vhost, now, done }: { user?: string; vhost?: string; now?: Json; done: () => void }) {
  const [u, setU] = useState(user ?? '');
  const [v, setV] = useState(vhost ?? '/');
  const [of, setOf] = useState<Record<string, string>>({ configure: now?.configure ?? '.*', write: now?.write ?? '.*', read: now?.read ?? '.*' });
  return (
    <Ask title="Permissions" verb="Save" disabled={!u} act={() => api.put(at`/permissions/${v}/${u}`, of)} done={() => { say(`Permissions of ${u} saved`); done(); }}>
      <UserField value={u} onChange={setU} fixed={user !== undefined} />
      {vhost === undefined ? <VHostField value={v} onChange={setV} /> : <p class="hint">In virtual host {vhost}.</p>}
      <p class="hint">Regular expressions over names. <code>.*</code> is everything, empty is nothing, <code>^shop\.</code> all that begin with “shop.”.</p>
      {actions.map(([a, help]) => <label key={a} class="field"><span>{a[0]!.toUpperCase() + a.slice(1)}</span><input name={a} class="mono" value={of[a]} spellcheck={false} autocomplete="off" onInput={(e) => setOf({ ...of, [a]: e.currentTarget.value })} /><small>{help}</small></label>)}
    </Ask>
  );
}

/** SetTopicPermission restricts routing keys of a topic exchange. */
export function SetTopicPermission({ user, done }: { user?: string; done: () => void }) {
  const [u, setU] = useState(user ?? '');
  const [v, setV] = useState('/');
  const [exchange, setExchange] = useState('amq.topic');
  const [write, setWrite] = useState('.*');
  const [read, setRead] = useState('.*');
  return (
    <Ask title="Topic permission" verb="Save" disabled={!u} act={() => api.put(at`/topic-permissions/${v}/${u}`, { exchange, write, read })} done={() => { say('Topic permission saved'); done(); }}>
      <UserField value={u} onChange={setU} fixed={user !== undefined} />
      <VHostField value={v} onChange={setV} />
      <label class="field"><span>Topic exchange</span><input value={exchange} spellcheck={false} autocomplete="off" onInput={(e) => setExchange(e.currentTarget.value)} /><small>MQTT topics go through amq.topic.</small></label>
      <label class="field"><span>Write: routing keys it may publish with</span><input class="mono" value={write} spellcheck={false} onInput={(e) => setWrite(e.currentTarget.value)} /></label>
      <label class="field"><span>Read: routing keys it may bind with</span><input class="mono" value={read} spellcheck={false} onInput={(e) => setRead(e.currentTarget.value)} /><small>{'{username}, {vhost} and {client_id} stand for the client’s own.'}</small></label>
    </Ask>
  );
}
