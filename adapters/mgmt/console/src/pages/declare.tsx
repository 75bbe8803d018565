// Dialogs that make things: queues, exchanges, bindings.

import { useState } from 'preact/hooks';
import { api, at, exchangeSegment, type Json } from '../lib/api';
import { useOnce } from '../lib/live';
import { settings, type QueueType } from '../lib/settings';
import { Ask } from '../ui/dialog';
import { Segments } from '../ui/parts';
import { parseObject, SettingFields, type Values } from '../ui/settings';
import { say } from '../ui/toast';

/** VHostField chooses where something is made. */
export function VHostField({ value, onChange }: { value: string; onChange: (v: string) => void }) {
  const { data } = useOnce<Json[]>('/vhosts?columns=name');
  return (
    <label class="field"><span>Virtual host</span>
      <select name="vhost" value={value} onChange={(e) => onChange(e.currentTarget.value)}>
        {[...new Set([value, ...(data ?? []).map((v) => v.name as string)])].map((n) => <option key={n} value={n}>{n}</option>)}
      </select>
    </label>
  );
}

const kinds: Record<QueueType, string> = {
  classic: 'Messages are delivered once and then gone. The usual queue.',
  quorum: 'As classic, with a delivery limit by default. On one node it has one copy.',
  stream: 'A log that many readers read at their own place; messages stay until retention drops them.',
};

/** DeclareQueue makes a queue or stream, with its settings explained. */
export function DeclareQueue({ vhost, done }: { vhost: string; done: (vhost: string, name: string) => void }) {
  const [v, setV] = useState(vhost);
  const [name, setName] = useState('');
  const [type, setType] = useState<QueueType>('classic');
  const [durable, setDurable] = useState(true);
  const [autoDelete, setAutoDelete] = useState(false);
  const [values, setValues] = useState<Values>({});
  const [more, setMore] = useState('');
  const of = settings.filter((s) => !s.policyOnly && s.types.includes(type));
  return (
    <Ask wide title="New queue" verb="Create queue" disabled={name === ''} done={() => { say(`Queue ${name} created`); done(v, name); }} act={() => {
      const known = new Set(of.map((s) => 'x-' + s.key));
      const args = { ...Object.fromEntries(Object.entries(values).filter(([k]) => known.has(k))), ...parseObject(more, 'Other arguments'), ...(type === 'classic' ? {} : { 'x-queue-type': type }) };
      return api.put(at`/queues/${v}/${name}`, { durable: type === 'classic' ? durable : true, auto_delete: autoDelete, arguments: args });
    }}>
      <div class="fields">
        <label class="field"><span>Name</span><input name="name" value={name} autofocus spellcheck={false} autocomplete="off" onInput={(e) => setName(e.currentTarget.value)} /></label>
        <VHostField value={v} onChange={setV} />
      </div>
      <div class="field"><span>Type</span><Segments label="Type" value={type} options={[['classic', 'Classic'], ['quorum', 'Quorum'], ['stream', 'Stream']]} onChange={setType} /><small>{kinds[type]}</small></div>
      {type === 'classic' && <label class="check-field"><input type="checkbox" name="durable" checked={durable} onChange={(e) => setDurable(e.currentTarget.checked)} /><span>Durable<small>Is there again after a restart of the broker, with its persistent messages.</small></span></label>}
      {type !== 'stream' && <label class="check-field"><input type="checkbox" name="auto_delete" checked={autoDelete} onChange={(e) => setAutoDelete(e.currentTarget.checked)} /><span>Delete with its last consumer</span></label>}
      <fieldset><legend>Arguments</legend>
        <p class="hint">Fixed for the life of the queue. What may change later is better set by a policy.</p>
        <SettingFields prefix="x-" of={of} values={values} onChange={setValues} />
        <label class="field"><span>Other arguments</span><textarea rows={2} class="mono" value={more} spellcheck={false} placeholder='{"x-name": "value"}' onInput={(e) => setMore(e.currentTarget.value)} /></label>
      </fieldset>
    </Ask>
  );
}

const types: [string, string][] = [
  ['direct', 'To queues bound with exactly the message’s routing key.'],
  ['fanout', 'To every bound queue.'],
  ['topic', 'By patterns of words between dots: * is one word, # any number of them.'],
  ['headers', 'By the message’s headers; bindings say which (x-match: all or any).'],
  ['x-consistent-hash', 'To one queue, always the same for one routing key; the binding’s key is the queue’s weight.'],
  ['x-delayed-message', 'Keeps a message for the ms in its header x-delay, then routes it as another type.'],
  ['x-random', 'To one bound queue, by chance.'],
  ['x-modulus-hash', 'To one queue by a hash of the routing key, all the same weight.'],
  ['x-recent-history', 'To every bound queue; a new binding gets the last messages first.'],
];

/** DeclareExchange makes an exchange. */
export function DeclareExchange({ vhost, done }: { vhost: string; done: (vhost: string, name: string) => void }) {
  const [v, setV] = useState(vhost);
  const [name, setName] = useState('');
  const [type, setType] = useState('topic');
  const [inner, setInner] = useState('topic');
  const [durable, setDurable] = useState(true);
  const [autoDelete, setAutoDelete] = useState(false);
  const [internal, setInternal] = useState(false);
  const [alternate, setAlternate] = useState('');
  const [more, setMore] = useState('');
  return (
    <Ask wide title="New exchange" verb="Create exchange" disabled={name === ''} done={() => { say(`Exchange ${name} created`); done(v, name); }} act={async () => {
      const args = { ...(alternate ? { 'alternate-exchange': alternate } : {}), ...(type === 'x-delayed-message' ? { 'x-delayed-type': inner } : {}), ...parseObject(more, 'Other arguments') };
      await api.put(at`/exchanges/${v}/${name}`, { type, durable, auto_delete: autoDelete, internal, arguments: args });
    }}>
      <div class="fields">
        <label class="field"><span>Name</span><input name="name" value={name} autofocus spellcheck={false} autocomplete="off" onInput={(e) => setName(e.currentTarget.value)} /></label>
        <VHostField value={v} onChange={setV} />
      </div>
      <div class="fields">
        <label class="field"><span>Type</span><select name="type" value={type} onChange={(e) => setType(e.currentTarget.value)}>{types.map(([t]) => <option key={t} value={t}>{t}</option>)}</select><small>{types.find(([t]) => t === type)?.[1]}</small></label>
        {type === 'x-delayed-message' && <label class="field"><span>Routes as</span><select value={inner} onChange={(e) => setInner(e.currentTarget.value)}>{types.slice(0, 4).map(([t]) => <option key={t} value={t}>{t}</option>)}</select></label>}
        <label class="field"><span>Alternate exchange</span><input value={alternate} spellcheck={false} autocomplete="off" placeholder="none" onInput={(e) => setAlternate(e.currentTarget.value)} /><small>Gets what matches no binding here.</small></label>
      </div>
      <label class="check-field"><input type="checkbox" checked={durable} onChange={(e) => setDurable(e.currentTarget.checked)} /><span>Durable</span></label>
      <label class="check-field"><input type="checkbox" checked={autoDelete} onChange={(e) => setAutoDelete(e.currentTarget.checked)} /><span>Delete with its last binding</span></label>
      <label class="check-field"><input type="checkbox" checked={internal} onChange={(e) => setInternal(e.currentTarget.checked)} /><span>Internal<small>Takes messages only from other exchanges.</small></span></label>
      <label class="field"><span>Other arguments</span><textarea rows={2} class="mono" value={more} spellcheck={false} placeholder='{"x-name": "value"}' onInput={(e) => setMore(e.currentTarget.value)} /></label>
    </Ask>
  );
}

/** AddBinding binds; the ends that are known are fixed. */
export function AddBinding({ vhost, source, destination, kind = 'queue', done }: { vhost: string; source?: string; destination?: string; kind?: 'queue' | 'exchange'; done: () => void }) {
  const [v, setV] = useState(vhost);
  const [from, setFrom] = useState(source ?? '');
  const [to, setTo] = useState(destination ?? '');
  const [what, setWhat] = useState(kind);
  const [key, setKey] = useState('');
  const [args, setArgs] = useState('');
  const exchanges = useOnce<Json[]>(at`/exchanges/${v}?columns=name,type`);
  const queues = useOnce<Json[]>(at`/queues/${v}?columns=name&disable_stats=true`);
  const type = exchanges.data?.find((x) => x.name === from)?.type;
  return (
    <Ask title="New binding" verb="Bind" disabled={!from || !to} done={() => { say(`Bound ${to} to ${from}`); done(); }}
      act={async () => api.post(at`/bindings/${v}/e/${exchangeSegment(from)}/${what === 'queue' ? 'q' : 'e'}/${to}`, { routing_key: key, arguments: parseObject(args, 'Arguments') })}>
      {source === undefined && destination === undefined && <VHostField value={v} onChange={setV} />}
      <label class="field"><span>From exchange</span><input name="source" list="known-exchanges" value={from} readOnly={source !== undefined} spellcheck={false} autocomplete="off" onInput={(e) => setFrom(e.currentTarget.value)} /></label>
      <datalist id="known-exchanges">{exchanges.data?.filter((x) => x.name).map((x) => <option key={x.name} value={x.name}>{x.type}</option>)}</datalist>
      {destination === undefined && <div class="field"><span>To</span><Segments label="Kind of destination" value={what} options={[['queue', 'Queue'], ['exchange', 'Exchange']]} onChange={setWhat} /></div>}
      <label class="field"><span>{what === 'queue' ? 'Queue' : 'Exchange'}</span><input name="destination" list={what === 'queue' ? 'known-queues' : 'known-exchanges'} value={to} readOnly={destination !== undefined} spellcheck={false} autocomplete="off" onInput={(e) => setTo(e.currentTarget.value)} /></label>
      <datalist id="known-queues">{queues.data?.slice(0, 500).map((q) => <option key={q.name} value={q.name} />)}</datalist>
      <label class="field"><span>Routing key</span><input name="routing_key" value={key} class="mono" spellcheck={false} autocomplete="off" onInput={(e) => setKey(e.currentTarget.value)} />
        <small>{type === 'topic' ? 'A pattern: * is one word, # any number. MQTT’s a/+/c is a.*.c.' : type === 'fanout' ? 'Not looked at by a fanout exchange.' : type === 'headers' ? 'Not looked at; give the headers below.' : type === 'x-consistent-hash' ? 'The weight of this queue, a number.' : ''}</small></label>
      <label class="field"><span>Arguments</span><textarea rows={type === 'headers' ? 4 : 2} class="mono" value={args} spellcheck={false} placeholder={type === 'headers' ? '{"x-match": "all", "kind": "invoice"}' : '{}'} onInput={(e) => setArgs(e.currentTarget.value)} /></label>
    </Ask>
  );
}
