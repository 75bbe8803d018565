import { useState } from 'preact/hooks';
import { api, at, type Json } from '../lib/api';
import { count, plural } from '../lib/format';
import { useLive } from '../lib/live';
import { go, href, to } from '../lib/router';
import { mayAdminister, me } from '../lib/session';
import { Ask, confirmAct, openDialog } from '../ui/dialog';
import { List, type Act, type Column } from '../ui/list';
import { Badge, Button, Facts, Failure, Loading, Menu, Note, Page, Panel, Segments } from '../ui/parts';
import { Table } from '../ui/table';
import { say } from '../ui/toast';
import { clearPermission, SetPermission, SetTopicPermission } from './permissions';

const columns: Column[] = [
  { id: 'name', title: 'Name', cell: (u) => <a class="name" href={to.user(u.name)}>{u.name}</a> },
  { id: 'tags', title: 'Tags', sort: false, cell: (u) => <Tags of={u.tags} /> },
  { id: 'password', title: 'Password', sort: false, roomy: true, cell: (u) => (u.password_hash ? 'yes' : <span class="muted">none: cannot sign in by password</span>) },
  { id: 'limits', title: 'Limits', sort: false, roomy: true, cell: (u) => Object.entries(u.limits ?? {}).map(([k, v]) => `${k}: ${v}`).join(', ') },
];

function Tags({ of }: { of: string[] | string }) {
  const all = Array.isArray(of) ? of : of.split(',').filter(Boolean);
  return <span class="features">{all.map((t) => <Badge key={t} tone={t === 'administrator' ? 'accent' : 'plain'}>{t}</Badge>)}</span>;
}

const acts: Act[] = [{
  name: 'Delete', verb: 'Delete', danger: true, applies: (u) => u.name !== me.value?.name,
  warning: (rows) => <p>{plural(rows.length, 'user')} with all permissions will be gone. Programs that sign in as one of them no longer can.</p>,
  run: (u) => api.delete(at`/users/${u.name}`),
}];

/** Users lists who may sign in. */
export function Users() {
  return (
    <Page title="Users" actions={mayAdminister.value && <Button icon="plus" kind="primary" onClick={() => openDialog(<EditUser />)}>New user</Button>}>
      <List id="users" path="/users" columns={columns} acts={acts} what={['user', 'users']} rowKey={(u) => u.name} rowName={(u) => u.name} />
    </Page>
  );
}

const tagHelp: [string, string][] = [
  ['administrator', 'everything in this console'], ['monitoring', 'all connections and the node'], ['policymaker', 'policies and parameters of its virtual hosts'], ['management', 'this console for its own virtual hosts'],
];

function EditUser({ user, done }: { user?: Json; done?: () => void }) {
  const [name, setName] = useState(user?.name ?? '');
  const [tags, setTags] = useState<string[]>(user ? (Array.isArray(user.tags) ? user.tags : user.tags.split(',').filter(Boolean)) : []);
  const [mode, setMode] = useState<'keep' | 'password' | 'hash' | 'none'>(user ? 'keep' : 'password');
  const [password, setPassword] = useState('');
  const other = tags.filter((t) => !tagHelp.some(([n]) => n === t));
  return (
    <Ask title={user ? `Change ${user.name}` : 'New user'} verb={user ? 'Save' : 'Create user'} disabled={name === '' || (mode === 'password' && password === '')}
      done={() => { say(`User ${name} saved`); if (done) done(); else go(to.user(name)); }}
      act={() => api.put(at`/users/${name}`, {
        tags: tags.join(','),
        ...(mode === 'password' ? { password } : mode === 'hash' ? { password_hash: password } : mode === 'none' ? { password_hash: '' } : { password_hash: user!.password_hash, hashing_algorithm: user!.hashing_algorithm }),
      })}>
      {!user && <label class="field"><span>Name</span><input name="name" autofocus value={name} autocomplete="off" spellcheck={false} onInput={(e) => setName(e.currentTarget.value)} /></label>}
      <div class="field"><span>Password</span>
        <Segments label="Password" value={mode} options={[...(user ? [['keep', 'Keep'] as ['keep', string]] : []), ['password', 'New password'], ['hash', 'Hash'], ['none', 'None']]} onChange={(m) => { setMode(m); setPassword(''); }} />
        {mode === 'password' && <input name="new-password" type="password" autocomplete="new-password" value={password} aria-label="Password" onInput={(e) => setPassword(e.currentTarget.value)} />}
        {mode === 'hash' && <input class="mono" value={password} aria-label="Password hash" spellcheck={false} placeholder="base64 of salt and SHA-256, as in definitions" onInput={(e) => setPassword(e.currentTarget.value)} />}
        {mode === 'none' && <small>The user signs in by certificate or token, or not at all.</small>}
      </div>
      <fieldset><legend>Tags: what it may see here</legend>
        {tagHelp.map(([t, help]) => <label key={t} class="check-field"><input type="checkbox" name={`tag-${t}`} checked={tags.includes(t)} onChange={(e) => setTags(e.currentTarget.checked ? [...tags, t] : tags.filter((x) => x !== t))} /><span>{t}<small>{help}</small></span></label>)}
        <label class="field"><span>Others</span><input value={other.join(', ')} onChange={(e) => setTags([...tags.filter((t) => !other.includes(t)), ...e.currentTarget.value.split(',').map((t) => t.trim()).filter(Boolean)])} /></label>
      </fieldset>
      <p class="hint">Tags give no right to messages: that is what permissions are for.</p>
    </Ask>
  );
}

/** UserPage is one user: tags, permissions, connections. */
export function UserPage({ parts: [name = ''] }: { parts: string[] }) {
  const live = useLive(at`/users/${name}`, 10);
  const permissions = useLive<Json[]>(at`/users/${name}/permissions`, 10);
  const topics = useLive<Json[]>(at`/users/${name}/topic-permissions`, 10);
  const connections = useLive<Json[]>(at`/connections/username/${name}`, 10);
  const crumbs: [string, string][] = [['Users', '#/users']];
  const u = live.data;
  if (live.error?.missing) return <Page title={name} crumbs={crumbs}><Note tone="warn" title="There is no such user here">It may come from an LDAP, HTTP or token backend, which keep their own.</Note></Page>;
  if (!u) return <Page title={name} crumbs={crumbs}>{live.error ? <Failure error={live.error} /> : <Loading />}</Page>;
  const may = mayAdminister.value;
  return (
    <Page title={name} crumbs={crumbs} badges={<Tags of={u.tags} />} actions={may && <Menu label="Actions" items={[
      { name: 'Change…', act: () => openDialog(<EditUser user={u} done={live.reload} />) },
      { name: 'Close its connections…', danger: true, act: () => confirmAct({ title: `Close all connections of ${name}?`, verb: 'Close all', lost: <p>{plural(connections.data?.length ?? 0, 'connection')} will be closed. Most clients connect again.</p>, act: () => api.delete(at`/connections/username/${name}`, { 'x-reason': 'Closed in the console' }), done: connections.reload }) },
      u.name !== me.value?.name && { name: 'Delete…', danger: true, act: () => confirmAct({ title: `Delete ${name}?`, verb: 'Delete', lost: <p>The user and its permissions will be gone. Programs that sign in as {name} no longer can.</p>, act: () => api.delete(at`/users/${name}`), done: () => go('#/users') }) },
    ]} />}>
      {permissions.data?.length === 0 && <Note tone="warn" title="This user can do nothing yet">It has no permissions in any virtual host.</Note>}
      <Panel title="Permissions" flush aside={may && <Button icon="plus" onClick={() => openDialog(<SetPermission user={name} done={permissions.reload} />)}>Give permission</Button>}>
        {permissions.data ? <Table label="Permissions" empty="None" rows={permissions.data} rowKey={(p) => p.vhost} cells={[
          { title: 'Virtual host', cell: (p) => <a href={to.vhost(p.vhost)}>{p.vhost}</a> },
          { title: 'Configure', cell: (p) => <code>{p.configure || 'nothing'}</code> }, { title: 'Write', cell: (p) => <code>{p.write || 'nothing'}</code> }, { title: 'Read', cell: (p) => <code>{p.read || 'nothing'}</code> },
          { title: '', cell: (p) => may && <span class="features"><Button kind="quiet" onClick={() => openDialog(<SetPermission user={name} vhost={p.vhost} now={p} done={permissions.reload} />)}>Change</Button><Button kind="quiet" icon="close" title={`Take permissions in ${p.vhost}`} onClick={() => clearPermission(p, permissions.reload)} /></span> },
        ]} /> : permissions.error ? <Failure error={permissions.error} /> : <Loading />}
      </Panel>
      <Panel title="Topic permissions" flush aside={may && <Button icon="plus" onClick={() => openDialog(<SetTopicPermission user={name} done={topics.reload} />)}>Restrict topics</Button>}>
        {topics.data && <Table label="Topic permissions" empty="None: every routing key of the exchanges above" rows={topics.data} rowKey={(p) => `${p.vhost}|${p.exchange}`} cells={[
          { title: 'Virtual host', cell: (p) => p.vhost }, { title: 'Exchange', cell: (p) => p.exchange || '(all)' },
          { title: 'Write', cell: (p) => <code>{p.write}</code> }, { title: 'Read', cell: (p) => <code>{p.read}</code> },
        ]} />}
      </Panel>
      <div class="two">
        <Panel title={`Connections: ${count(connections.data?.length ?? 0)}`} flush>
          <Table label="Connections" empty="Not connected" rows={(connections.data ?? []).slice(0, 20)} rowKey={(c) => c.name} cells={[{ title: 'Client', cell: (c) => <a href={to.connection(c.name)}>{c.user_provided_name || c.name}</a> }, { title: 'Protocol', cell: (c) => c.protocol }, { title: 'Vhost', cell: (c) => c.vhost }]} />
        </Panel>
        <Panel title="Facts"><Facts of={[['Password', u.password_hash ? `yes, ${String(u.hashing_algorithm).replace('rabbit_password_hashing_', '')}` : 'none'], ['Limits', Object.entries(u.limits ?? {}).map(([k, v]) => `${k}: ${v}`).join(', ') || 'none'], ['Change limits', <a href={href(['limits'])}>Limits</a>]]} /></Panel>
      </div>
    </Page>
  );
}
