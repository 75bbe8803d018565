import { api, at, type Json } from '../lib/api';
import { mayAdminister } from '../lib/session';
import { useLive } from '../lib/live';
import { Button, Failure, Loading, Page, Panel, State } from '../ui/parts';
import { Table } from '../ui/table';
import { complain, say } from '../ui/toast';

/** Features lists feature flags, and features that are going away. */
export function Features() {
  const flags = useLive<Json[]>('/feature-flags', 30);
  const old = useLive<Json[]>('/deprecated-features', 30);
  return (
    <Page title="Feature flags">
      <Panel title="Flags" flush>
        {flags.data ? <Table label="Feature flags" empty="None: everything this broker can do is on" rows={flags.data} rowKey={(f) => f.name} cells={[
          { title: 'Name', cell: (f) => <span class="mono">{f.name}</span> },
          ...(flags.data.some((f) => f.desc) ? [{ title: 'What it is', cell: (f: Json) => f.desc }] : []),
          { title: 'State', cell: (f) => <State tone={f.state === 'enabled' ? 'ok' : 'plain'}>{f.state}</State> },
          { title: '', cell: (f) => mayAdminister.value && f.state === 'disabled' && <Button onClick={() => void api.put(at`/feature-flags/${f.name}/enable`, {}).then(() => { say(`${f.name} is on`); flags.reload(); }, complain)}>Turn on</Button> },
        ]} /> : flags.error ? <Failure error={flags.error} /> : <Loading />}
      </Panel>
      <Panel title="Going away" flush>
        {old.data && <Table label="Deprecated features" empty="None" rows={old.data} rowKey={(f) => f.name} cells={[{ title: 'Name', cell: (f) => <span class="mono">{f.name}</span> }, { title: 'What it is', cell: (f) => f.desc }, { title: 'Phase', cell: (f) => f.deprecation_phase }]} />}
      </Panel>
    </Page>
  );
}
