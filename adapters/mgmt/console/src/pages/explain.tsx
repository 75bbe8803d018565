import { useState } from 'preact/hooks';
import { api, type Json } from '../lib/api';
import { time } from '../lib/format';
import { Badge, Button, Failure, Note, Panel } from '../ui/parts';
import { Table } from '../ui/table';
import { VHostField } from './declare';

const operations: [string, string, 'none' | 'name' | 'key'][] = [
  ['login', 'sign in', 'none'], ['vhost', 'enter the virtual host', 'none'], ['configure', 'declare or delete', 'name'], ['write', 'publish to an exchange, bind a queue', 'name'], ['read', 'consume from a queue, bind from an exchange', 'name'],
  ['write-topic', 'publish with a routing key', 'key'], ['read-topic', 'bind with a routing key', 'key'],
];

/** Explain says whether a user may do something, and which rule decides. */
export function Explain() {
  const [o, setO] = useState({ user: '', vhost: '/', operation: 'read', resource: 'queue', name: '', routing_key: '', client_id: '' });
  const [answer, setAnswer] = useState<Json>();
  const [error, setError] = useState<unknown>();
  const needs = operations.find(([v]) => v === o.operation)![2];
  const text = (k: keyof typeof o, label: string) => <label class="field"><span>{label}</span><input name={k} value={o[k]} spellcheck={false} autocomplete="off" onInput={(e) => setO({ ...o, [k]: e.currentTarget.value })} /></label>;
  const ask = () => {
    const { routing_key, client_id, ...rest } = o;
    const asked = { ...rest, ...(needs === 'key' ? { resource: 'exchange', routing_key } : {}), ...(client_id ? { client_id } : {}), remote: true };
    api.post('/auth/explain', asked).then((a) => { setAnswer(a); setError(undefined); }, setError);
  };
  return (
    <div class="split">
      <Panel title="May this user do this?">
        <form onSubmit={(e) => { e.preventDefault(); ask(); }}>
          <div class="fields">{text('user', 'User')}<VHostField value={o.vhost} onChange={(vhost) => setO({ ...o, vhost })} /></div>
          <label class="field"><span>May it</span><select name="operation" value={o.operation} onChange={(e) => setO({ ...o, operation: e.currentTarget.value })}>{operations.map(([v, t]) => <option key={v} value={v}>{t}</option>)}</select></label>
          {needs !== 'none' && <div class="fields">
            {needs === 'name' && <label class="field"><span>A</span><select name="resource" value={o.resource} onChange={(e) => setO({ ...o, resource: e.currentTarget.value })}><option value="queue">queue</option><option value="exchange">exchange</option></select></label>}
            {text('name', needs === 'key' ? 'Exchange' : 'Called')}
            {needs === 'key' && text('routing_key', 'Routing key')}
          </div>}
          {text('client_id', 'MQTT client, if it is one')}
          <Button type="submit" kind="primary" disabled={!o.user}>Explain</Button>
        </form>
      </Panel>
      <div aria-live="polite">
        {error !== undefined ? <Failure error={error} absent="This broker cannot explain permissions." /> : answer && (
          <>
            <Note tone={answer.allowed ? 'ok' : 'bad'} title={answer.allowed ? `${answer.user} may` : `${answer.user} may not`}>{answer.expires_at && `Until ${time(answer.expires_at)}.`}</Note>
            <Panel title="What was looked at; the last one decided" flush>
              <Table label="Reasons" empty="Nothing" rows={answer.reasons as Json[]} rowKey={(_, i) => String(i)} cells={[
                { title: '', cell: (r) => <Badge tone={r.allowed ? 'ok' : 'bad'}>{r.allowed ? 'allows' : 'refuses'}</Badge> },
                { title: 'What', cell: (r) => r.what }, { title: 'Says', cell: (r) => r.backend || 'the broker' }, { title: 'Because', cell: (r) => <span class="wrap" title={r.rule}>{r.rule}</span> },
              ]} />
            </Panel>
          </>
        )}
      </div>
    </div>
  );
}
