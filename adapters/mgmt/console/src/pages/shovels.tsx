import { useState } from 'preact/hooks';
import { api, at, type Json } from '../lib/api';
import { count, plural, rate, value } from '../lib/format';
import { useLive } from '../lib/live';
import { go, href, vhost } from '../lib/router';
import { mayMakePolicies } from '../lib/session';
import { Ask, confirmAct, openDialog } from '../ui/dialog';
import { List, type Act, type Column } from '../ui/list';
import { Badge, Button, Facts, Failure, Loading, Note, Page, Panel, Stat, State, Stats, type Tone } from '../ui/parts';
import { say } from '../ui/toast';
import { VHostField } from './declare';

const tones: Record<string, Tone> = { running: 'ok', starting: 'info', terminated: 'bad' };
const endOf = (s: Json, side: 'src' | 'dest') => s[`${side}_queue`] ?? ([s[`${side}_exchange`], s[`${side}_exchange_key`] ?? s[`${side}_key`]].filter(Boolean).join(' ') || s[`${side}_address`] || '');

const columns: Column[] = [
  { id: 'name', title: 'Name', cell: (s) => <a class="name" href={href(['shovels', s.vhost, s.name])}>{s.name}</a> },
  { id: 'vhost', title: 'Vhost', roomy: true, cell: (s) => s.vhost },
  { id: 'state', title: 'State', cell: (s) => <State tone={tones[s.state] ?? 'plain'}>{s.state}</State> },
  { id: 'src', title: 'From', sort: 'src_uri', cell: (s) => <span title={s.src_uri}>{endOf(s, 'src')} <span class="muted">{s.src_uri}</span></span> },
  { id: 'dest', title: 'To', sort: 'dest_uri', cell: (s) => <span title={s.dest_uri}>{endOf(s, 'dest')} <span class="muted">{s.dest_uri}</span></span> },
  { id: 'transferred', title: 'Moved', num: true, cell: (s) => count(s.transferred ?? 0) },
  { id: 'remaining', title: 'Left', num: true, roomy: true, cell: (s) => (s.remaining === undefined || s.remaining === 'unlimited' ? '' : count(s.remaining)) },
  { id: 'rate', title: 'Now', num: true, cell: (s) => rate(s.rate ?? 0) },
];

/** words makes a name for people of a field's. */
const words = (field: string) => (field === 'uri' ? 'Broker' : field[0]!.toUpperCase() + field.slice(1).replaceAll('_', ' '));

const remove = (s: Json) => api.delete(at`/parameters/shovel/${s.vhost}/${s.name}`);

/** Shovels lists what moves messages between queues here and on other brokers. */
export function Shovels() {
  const v = vhost.value;
  const acts: Act[] = mayMakePolicies.value ? [{ name: 'Delete', verb: 'Delete', danger: true, warning: (rows) => <p>{plural(rows.length, 'shovel')} will stop. Messages on their way are not lost: they stay where they were.</p>, run: remove }] : [];
  return (
    <Page title="Shovels" actions={mayMakePolicies.value && <Button icon="plus" kind="primary" onClick={() => openDialog(<NewShovel vhost={v || '/'} />)}>New shovel</Button>}>
      <List id="shovels" path={v ? at`/shovels/${v}` : '/shovels'} columns={columns} acts={acts} what={['shovel', 'shovels']} rowKey={(s) => `${s.vhost}|${s.name}`} rowName={(s) => s.name} every={3}
        empty="A shovel takes messages from a queue, here or on another broker, and publishes them elsewhere, for as long as it exists." />
    </Page>
  );
}

/** Shovel is one shovel with all it says of itself. */
export function Shovel({ parts: [vh = '/', name = ''] }: { parts: string[] }) {
  const live = useLive(at`/shovels/${vh}/${name}`, 2);
  const s = live.data;
  const crumbs: [string, string][] = [['Shovels', href(['shovels'], { vhost: vh })]];
  if (live.error?.missing) return <Page title={name} crumbs={crumbs}><Note tone="warn" title="This shovel is not there">One that stops after the queue’s length deletes itself when it is done.</Note></Page>;
  if (!s) return <Page title={name} crumbs={crumbs}>{live.error ? <Failure error={live.error} /> : <Loading />}</Page>;
  return (
    <Page title={name} crumbs={crumbs} badges={<><State tone={tones[s.state] ?? 'plain'}>{s.state}</State><Badge>{vh}</Badge></>}
      actions={mayMakePolicies.value && <Button kind="danger" onClick={() => confirmAct({ title: `Delete ${name}?`, verb: 'Delete', lost: <p>It stops. What it moved stays where it is now.</p>, act: () => remove({ ...s, vhost: vh, name }), done: () => go(href(['shovels'])) })}>Delete…</Button>}>
      {s.reason && <Note tone="bad" title="It stopped">{value(s.reason)}</Note>}
      <Stats>
        <Stat name="Moved" value={count(s.transferred ?? 0)} />
        <Stat name="Now" value={rate(s.rate ?? 0)} />
        <Stat name="On its way" value={count(s.pending ?? 0)} note="not yet confirmed" />
        {typeof s.remaining === 'number' && <Stat name="Left" value={count(s.remaining)} />}
        <Stat name="Refused" value={count(s.refused ?? 0)} note="by the destination" tone={s.refused > 0 ? 'warn' : undefined} />
      </Stats>
      <div class="two">
        {(['src', 'dest'] as const).map((side) => (
          <Panel key={side} title={side === 'src' ? 'From' : 'To'}>
            <Facts of={Object.entries(s).filter(([k]) => k.startsWith(side + '_')).sort(([a], [b]) => a.localeCompare(b)).map(([k, v]) => [words(k.slice(side.length + 1)), value(v)])} />
          </Panel>
        ))}
      </div>
      <Panel title="Facts"><Facts of={Object.entries(s).filter(([k]) => !/^(src|dest)_/.test(k) && !['name', 'vhost', 'reason', 'state', 'transferred', 'rate', 'pending', 'remaining', 'refused'].includes(k)).map(([k, v]) => [words(k), value(v)])} /></Panel>
    </Page>
  );
}

function NewShovel({ vhost }: { vhost: string }) {
  const [v, setV] = useState(vhost);
  const here = (vh: string) => `amqp:///${encodeURIComponent(vh)}`;
  const [o, setO] = useState({ name: '', 'src-uri': here(vhost), 'src-queue': '', 'dest-uri': here(vhost), 'dest-queue': '', 'dest-exchange': '', 'dest-exchange-key': '', 'ack-mode': 'on-confirm', 'src-delete-after': 'never', 'src-prefetch-count': '1000' });
  const text = (k: keyof typeof o, label: string, help?: string) => (
    <label class="field"><span>{label}</span><input name={k} value={o[k]} spellcheck={false} autocomplete="off" onInput={(e) => setO({ ...o, [k]: e.currentTarget.value })} />{help && <small>{help}</small>}</label>
  );
  return (
    <Ask wide title="New shovel" verb="Create shovel" disabled={!o.name || !o['src-queue'] || !(o['dest-queue'] || o['dest-exchange'])} done={() => { say('Shovel created'); go(href(['shovels'], { vhost: v })); }}
      act={() => {
        const { name, ...rest } = o;
        const value = Object.fromEntries(Object.entries(rest).filter(([, x]) => x !== ''));
        return api.put(at`/parameters/shovel/${v}/${name}`, { value: { 'src-protocol': 'amqp091', 'dest-protocol': 'amqp091', ...value, 'src-prefetch-count': Number(o['src-prefetch-count']) || 1000 } });
      }}>
      <div class="fields">{text('name', 'Name')}<VHostField value={v} onChange={(to) => {
        // Ends that are this broker follow to its virtual host.
        setO({ ...o, 'src-uri': o['src-uri'] === here(v) ? here(to) : o['src-uri'], 'dest-uri': o['dest-uri'] === here(v) ? here(to) : o['dest-uri'] });
        setV(to);
      }} /></div>
      <div class="fields">{text('src-uri', 'From broker', 'amqp:///vhost is this one; else amqp://user:password@host/vhost')}{text('src-queue', 'From queue')}</div>
      <div class="fields">{text('dest-uri', 'To broker')}{text('dest-queue', 'To queue')}</div>
      <div class="fields">{text('dest-exchange', 'Or to exchange')}{text('dest-exchange-key', 'With key', 'Without it messages keep theirs.')}</div>
      <div class="fields">
        <label class="field"><span>Acknowledges</span><select value={o['ack-mode']} onChange={(e) => setO({ ...o, 'ack-mode': e.currentTarget.value })}><option value="on-confirm">when the destination confirmed: nothing is lost</option><option value="on-publish">when published</option><option value="no-ack">never: fastest, may lose</option></select></label>
        <label class="field"><span>Ends</span><select value={o['src-delete-after']} onChange={(e) => setO({ ...o, 'src-delete-after': e.currentTarget.value })}><option value="never">never</option><option value="queue-length">after what is in the queue now</option></select></label>
      </div>
    </Ask>
  );
}
