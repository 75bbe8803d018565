import { at, type Json } from '../lib/api';
import { count, time, value } from '../lib/format';
import { useLive } from '../lib/live';
import { route, setQuery, to } from '../lib/router';
import { isAdministrator } from '../lib/session';
import { List, type Column } from '../ui/list';
import { Failure, Loading, Page, Panel, State, Tabs } from '../ui/parts';
import { Table } from '../ui/table';

const columns: Column[] = [
  { id: 'time', title: 'When', sort: false, cell: (a) => <span class="mono">{time(a.time)}</span> },
  { id: 'user', title: 'Who', sort: false, cell: (a) => (isAdministrator.value && a.user ? <a href={to.user(a.user)}>{a.user}</a> : a.user) },
  { id: 'act', title: 'Did', sort: false, cell: (a) => <b>{a.act}</b> },
  { id: 'object', title: 'To', sort: false, cell: (a) => a.object },
  { id: 'vhost', title: 'Vhost', sort: false, roomy: true, cell: (a) => a.vhost },
  { id: 'outcome', title: 'Outcome', sort: false, cell: (a) => <State tone={/^(ok|done|success)/i.test(a.outcome ?? 'ok') ? 'ok' : 'bad'}>{a.outcome}</State> },
  { id: 'via', title: 'Via', sort: false, roomy: true, cell: (a) => a.via },
  { id: 'peer', title: 'From', sort: false, roomy: true, cell: (a) => <span class="mono">{a.peer}</span> },
  { id: 'detail', title: 'Detail', sort: false, roomy: true, cell: (a) => <code title={value(a.detail)}>{value(a.detail)}</code> },
];

/** Audit lists administrative acts, the newest first, and who tried to sign in. */
export function Audit() {
  const tab = route.value.query.get('tab') ?? 'acts';
  return (
    <Page title="Audit log">
      <Tabs value={tab} options={[['acts', 'Acts'], ['attempts', 'Sign-ins']]} onChange={(t) => setQuery({ tab: t === 'acts' ? undefined : t, q: undefined, page: undefined })} />
      {tab === 'acts'
        ? <List id="audit" path="/audit" columns={columns} what={['act', 'acts']} rowKey={(a) => String(a.id ?? `${a.time}|${a.user}|${a.act}|${a.object}`)} rowName={(a) => `${a.act} ${a.object}`} absent="Administrative acts are not recorded by this broker; its log may have them."
            filters={[{ id: 'outcome', title: 'Outcome', options: [{ value: 'ok', title: 'done', where: 'outcome:eq:ok' }, { value: 'refused', title: 'refused or failed', where: 'outcome:ne:ok' }] }]}
            empty="Who changed what shows up here: declarations, deletions, permissions, policies, closed connections." />
        : <Attempts />}
    </Page>
  );
}

function Attempts() {
  const nodes = useLive<Json[]>('/nodes?columns=name', 60);
  const node = nodes.data?.[0]?.name as string | undefined;
  const by = useLive<Json[]>(node ? at`/auth/attempts/${node}` : undefined, 10);
  const from = useLive<Json[]>(node ? at`/auth/attempts/${node}/source` : undefined, 10);
  const error = nodes.error ?? by.error;
  if (error) return <Failure error={error} absent="This broker does not count sign-ins." />;
  if (!by.data) return <Loading />;
  const cells = [
    { title: 'Protocol', cell: (r: Json) => r.protocol },
    { title: 'Succeeded', num: true, cell: (r: Json) => count(r.auth_attempts_succeeded) },
    { title: 'Failed', num: true, cell: (r: Json) => (r.auth_attempts_failed > 0 ? <b class="bad-text">{count(r.auth_attempts_failed)}</b> : '0') },
  ];
  return (
    <div class="two">
      <Panel title="By protocol" flush><Table label="Sign-ins by protocol" empty="Nobody has signed in yet" rows={by.data} rowKey={(r) => r.protocol} cells={cells} /></Panel>
      <Panel title="By user and address" flush><Table label="Sign-ins by source" empty="Not counted by source: auth_attempts_per_source turns it on" rows={from.data ?? []} rowKey={(r, i) => `${r.username}|${r.remote_address}|${i}`} cells={[
        { title: 'User', cell: (r) => r.username }, { title: 'From', cell: (r) => <span class="mono">{r.remote_address}</span> }, ...cells,
      ]} /></Panel>
    </div>
  );
}
