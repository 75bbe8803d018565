import { useState } from 'preact/hooks';
import { api, ApiError, at, open, withQuery, type Json } from '../lib/api';
import { plural, value } from '../lib/format';
import { useOnce } from '../lib/live';
import { mayAdminister } from '../lib/session';
import { confirmAct } from '../ui/dialog';
import { Badge, Button, Failure, Note, Page, Panel } from '../ui/parts';
import { Table } from '../ui/table';
import { complain, say } from '../ui/toast';

/** Definitions exports everything declared, and imports it after a look at the difference. */
export function Definitions() {
  const [v, setV] = useState('');
  const vhosts = useOnce<Json[]>('/vhosts?columns=name');
  return (
    <Page title="Definitions">
      <div class="two">
        <Panel title="Export">
          <p class="muted">Users, virtual hosts, permissions, policies, queues, exchanges and bindings as RabbitMQ writes them; no messages. Passwords are in it as hashes: keep the file to yourself.</p>
          <label class="field above-field"><span>Of</span><select name="export-vhost" value={v} onChange={(e) => setV(e.currentTarget.value)}><option value="">the whole broker</option>{vhosts.data?.map((x) => <option key={x.name} value={x.name}>virtual host {x.name}</option>)}</select></label>
          <Button onClick={() => void download(v).catch(complain)}>Download definitions</Button>
        </Panel>
        {mayAdminister.value && <Import vhosts={(vhosts.data ?? []).map((x) => x.name)} />}
      </div>
    </Page>
  );
}

async function download(v: string): Promise<void> {
  const answer = await open('GET', v ? at`/definitions/${v}` : '/definitions');
  const url = URL.createObjectURL(await answer.blob());
  const a = document.createElement('a');
  a.href = url;
  a.download = `definitions-${new Date().toISOString().slice(0, 10)}.json`;
  a.click();
  URL.revokeObjectURL(url);
}

interface Plan {
  add: Json[];
  change: Json[];
  refuse: Json[];
  same: number;
}

function Import({ vhosts }: { vhosts: string[] }) {
  const [into, setInto] = useState('');
  const [text, setText] = useState('');
  const [plan, setPlan] = useState<Plan>();
  const [error, setError] = useState<unknown>();
  const [blind, setBlind] = useState(false);
  const [over, setOver] = useState(false);
  const read = (file: File | undefined) => void file?.text().then((t) => { setText(t); setPlan(undefined); setError(undefined); });

  const path = (what: 'plan' | 'apply') => withQuery('/definitions/' + what, { vhost: into });
  const look = async () => {
    setError(undefined);
    setPlan(undefined);
    try {
      JSON.parse(text);
    } catch (err) {
      setError(new Error(`This is no JSON: ${(err as Error).message}`));
      return;
    }
    try {
      setPlan(await api.post(path('plan'), text));
    } catch (err) {
      if (err instanceof ApiError && err.missing) setBlind(true);
      else setError(err);
    }
  };
  const apply = (force: boolean) => confirmAct({
    title: 'Import these definitions?', verb: 'Import',
    lost: plan ? <p>{plural(plan.add.length, 'object')} will be made and {plural(plan.change.length, 'object')} changed. Nothing is deleted.{force && plan.refuse.length > 0 && ` ${plural(plan.refuse.length, 'object')} are left out.`}</p> : <p>Users, permissions and policies of the same name are overwritten; queues and exchanges that exist stay as they are. Nothing is deleted.</p>,
    act: () => (blind ? api.post(into ? at`/definitions/${into}` : '/definitions', text) : api.post(withQuery(path('apply'), { force }), text)),
    done: () => { say('Definitions imported'); setPlan(undefined); setText(''); },
  });
  return (
    <Panel title="Import">
      <div class={over ? 'drop over' : 'drop'} onDragOver={(e) => { e.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)} onDrop={(e) => { e.preventDefault(); setOver(false); read(e.dataTransfer?.files[0]); }}>
        <label>Drop a file here or <input type="file" accept=".json,application/json" aria-label="Definitions file" onChange={(e) => read(e.currentTarget.files?.[0])} /></label>
      </div>
      <label class="field"><span>Or paste</span><textarea name="definitions" rows={6} class="mono" spellcheck={false} value={text} placeholder='{"queues": [ … ]}' onInput={(e) => { setText(e.currentTarget.value); setPlan(undefined); }} /></label>
      <label class="field"><span>Into</span><select value={into} onChange={(e) => { setInto(e.currentTarget.value); setPlan(undefined); }}><option value="">where the file says</option>{vhosts.map((n) => <option key={n} value={n}>virtual host {n}</option>)}</select></label>
      <p class="above"><Button kind="primary" disabled={text.trim() === ''} onClick={() => void look()}>Show the difference</Button></p>
      {error !== undefined && <Failure error={error} />}
      {blind && <Note tone="warn" title="This broker cannot say what would change"><Button onClick={() => apply(false)}>Import without a look</Button></Note>}
      {plan && (
        <>
          <p class="above features"><Badge tone="ok">{plural(plan.add.length, 'new')}</Badge><Badge tone="warn">{plural(plan.change.length, 'changed', 'changed')}</Badge><Badge tone={plan.refuse.length ? 'bad' : 'plain'}>{plan.refuse.length} refused</Badge><Badge>{plan.same} as they are</Badge></p>
          <Differences plan={plan} />
          {plan.add.length + plan.change.length === 0
            ? <Note tone="ok" title="Nothing to do">Everything in this file is here already{plan.refuse.length > 0 && ', or refused'}.</Note>
            : <p class="above">{plan.refuse.length === 0 ? <Button kind="primary" onClick={() => apply(false)}>Import…</Button> : <Button kind="danger" onClick={() => apply(true)}>Import without the refused…</Button>}</p>}
        </>
      )}
    </Panel>
  );
}

function Differences({ plan }: { plan: Plan }) {
  const rows = [
    ...plan.refuse.map((o) => ({ o, tone: 'bad' as const, word: 'refused', what: o.reason as string })),
    ...plan.change.map((o) => ({ o, tone: 'warn' as const, word: 'changed', what: changes(o.before, o.after) })),
    ...plan.add.map((o) => ({ o, tone: 'ok' as const, word: 'new', what: value(o.value) })),
  ];
  return (
    <Table label="Differences" empty="No difference" rows={rows.slice(0, 500)} rowKey={(r, i) => `${r.word}|${r.o.kind}|${r.o.vhost}|${r.o.name}|${i}`} cells={[
      { title: '', cell: (r) => <Badge tone={r.tone}>{r.word}</Badge> },
      { title: 'What', cell: (r) => r.o.kind },
      { title: 'Name', cell: (r) => <b>{r.o.name}</b> },
      { title: 'Vhost', cell: (r) => r.o.vhost },
      { title: 'Detail', cell: (r) => <code title={r.what}>{r.what}</code> },
    ]} />
  );
}

/** changes tells the fields in which two objects differ. */
function changes(before: Json, after: Json): string {
  if (before === null || typeof before !== 'object' || after === null || typeof after !== 'object') return `${value(before)} → ${value(after)}`;
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((k) => JSON.stringify(before[k]) !== JSON.stringify(after[k])).map((k) => `${k}: ${value(before[k]) || 'none'} → ${value(after[k]) || 'none'}`).join('; ');
}
