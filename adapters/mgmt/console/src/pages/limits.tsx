import { useState } from 'preact/hooks';
import { api, at, type Json } from '../lib/api';
import { count } from '../lib/format';
import { useLive } from '../lib/live';
import { to } from '../lib/router';
import { mayAdminister } from '../lib/session';
import { Ask, confirmAct, openDialog } from '../ui/dialog';
import { Button, Failure, Loading, Page, Panel } from '../ui/parts';
import { Table } from '../ui/table';
import { say } from '../ui/toast';

const names = {
  vhost: [['max-connections', 'Connections'], ['max-queues', 'Queues']],
  user: [['max-connections', 'Connections'], ['max-channels', 'Channels']],
} as const;

/** Limits are how much virtual hosts and users may have at once. */
export function Limits() {
  return (
    <Page title="Limits">
      <div class="two"><Of kind="vhost" title="Of virtual hosts" /><Of kind="user" title="Of users" /></div>
    </Page>
  );
}

function Of({ kind, title }: { kind: 'vhost' | 'user'; title: string }) {
  const live = useLive<Json[]>(`/${kind}-limits`, 10);
  const rows = (live.data ?? []).flatMap((r) => Object.entries(r.value ?? {}).map(([limit, n]) => ({ who: r[kind] as string, limit, n: n as number })));
  const may = mayAdminister.value;
  const label = (limit: string) => (names[kind] as readonly (readonly [string, string])[]).find(([l]) => l === limit)?.[1] ?? limit;
  return (
    <Panel title={title} flush aside={may && <Button icon="plus" onClick={() => openDialog(<SetLimit kind={kind} done={live.reload} />)}>Set a limit</Button>}>
      {!live.data ? (live.error ? <Failure error={live.error} /> : <Loading />) : (
        <Table label={title} empty="No limits" rows={rows} rowKey={(r) => `${r.who}|${r.limit}`} cells={[
          { title: kind === 'vhost' ? 'Virtual host' : 'User', cell: (r) => <a href={kind === 'vhost' ? to.vhost(r.who) : to.user(r.who)}>{r.who}</a> },
          { title: 'Limit', cell: (r) => label(r.limit) },
          { title: 'At most', num: true, cell: (r) => (r.n < 0 ? 'no limit' : count(r.n)) },
          { title: '', cell: (r) => may && <Button kind="quiet" icon="close" title={`Remove limit ${r.limit} of ${r.who}`} onClick={() => confirmAct({ title: 'Remove this limit?', verb: 'Remove', lost: <p>{r.who} may then have any number of {label(r.limit).toLowerCase()}.</p>, act: () => api.delete(`/${kind}-limits` + at`/${r.who}/${r.limit}`), done: live.reload })} /> },
        ]} />
      )}
    </Panel>
  );
}

function SetLimit({ kind, done }: { kind: 'vhost' | 'user'; done: () => void }) {
  const list = useLive<Json[]>(kind === 'vhost' ? '/vhosts?columns=name' : '/users?columns=name', 60);
  const [who, setWho] = useState('');
  const [limit, setLimit] = useState<string>(names[kind][0][0]);
  const [n, setN] = useState('');
  return (
    <Ask title="Limit" verb="Set limit" disabled={!who || !/^-?\d+$/.test(n)} act={() => api.put(`/${kind}-limits` + at`/${who}/${limit}`, { value: Number(n) })} done={() => { say('Limit set'); done(); }}>
      <label class="field"><span>{kind === 'vhost' ? 'Virtual host' : 'User'}</span><select name="who" value={who} onChange={(e) => setWho(e.currentTarget.value)}><option value="">Choose…</option>{list.data?.map((v) => <option key={v.name} value={v.name}>{v.name}</option>)}</select></label>
      <label class="field"><span>What</span><select name="limit" value={limit} onChange={(e) => setLimit(e.currentTarget.value)}>{names[kind].map(([l, t]) => <option key={l} value={l}>{t}</option>)}</select></label>
      <label class="field"><span>At most</span><input name="value" inputMode="numeric" value={n} onInput={(e) => setN(e.currentTarget.value)} /><small>What is there already stays; new ones are refused.</small></label>
    </Ask>
  );
}
