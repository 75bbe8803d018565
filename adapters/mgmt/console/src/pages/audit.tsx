import { value, time } from '../lib/format';
import { isAdministrator } from '../lib/session';
import { to } from '../lib/router';
import { List, type Column } from '../ui/list';
import { Page, State } from '../ui/parts';

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

/** Audit lists administrative acts, the newest first. */
export function Audit() {
  return (
    <Page title="Audit log">
      <List id="audit" path="/audit" columns={columns} what={['act', 'acts']} rowKey={(a) => `${a.id ?? ''}|${a.time}|${a.user}|${a.act}|${a.object}|${a.vhost}`} rowName={(a) => `${a.act} ${a.object}`} absent="Administrative acts are not recorded by this broker; its log may have them."
        empty="Who changed what shows up here: declarations, deletions, permissions, policies, closed connections." />
    </Page>
  );
}
