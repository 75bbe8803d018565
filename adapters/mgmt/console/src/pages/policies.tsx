import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { api, at, type Json } from '../lib/api';
import { count, plural, value } from '../lib/format';
import { useLive, useOnce } from '../lib/live';
import { go, href, route, to, vhost } from '../lib/router';
import { mayAdminister, mayMakePolicies } from '../lib/session';
import { effective, measured, settings } from '../lib/settings';
import { Ask, confirmAct, openDialog } from '../ui/dialog';
import { List, type Act, type Column } from '../ui/list';
import { Badge, Button, Facts, Failure, Loading, Menu, Note, Page, Panel, Tabs } from '../ui/parts';
import { parseObject, SettingFields, type Values } from '../ui/settings';
import { Table } from '../ui/table';
import { say } from '../ui/toast';
import { VHostField } from './declare';

/** Kind is one of the two kinds of policies, which differ in who may make them. */
interface Kind {
  base: 'policies' | 'operator-policies';
  one: string;
  many: string;
  may: () => boolean;
}

const kinds: Record<string, Kind> = {
  policies: { base: 'policies', one: 'policy', many: 'policies', may: () => mayMakePolicies.value },
  'operator-policies': { base: 'operator-policies', one: 'operator policy', many: 'operator policies', may: () => mayAdminister.value },
};

const applyTo: [string, string][] = [
  ['all', 'queues and exchanges'], ['queues', 'all queues and streams'], ['classic_queues', 'classic queues'], ['quorum_queues', 'quorum queues'], ['streams', 'streams'], ['exchanges', 'exchanges'],
];

const columns = (k: Kind): Column[] => [
  { id: 'name', title: 'Name', cell: (p) => <a class="name" href={href([k.base, p.vhost, p.name])}>{p.name}</a> },
  { id: 'vhost', title: 'Vhost', roomy: true, cell: (p) => p.vhost },
  { id: 'pattern', title: 'Names that match', cell: (p) => <code>{p.pattern}</code> },
  { id: 'apply-to', title: 'Applies to', roomy: true, cell: (p) => applyTo.find(([a]) => a === p['apply-to'])?.[1] ?? p['apply-to'] },
  { id: 'definition', title: 'Settings', sort: false, cell: (p) => <span class="features">{Object.entries(p.definition).map(([n, v]) => <Badge key={n} title={settings.find((s) => s.key === n)?.help}>{n}: {measured(settings.find((s) => s.key === n), v)}</Badge>)}</span> },
  { id: 'priority', title: 'Priority', num: true, cell: (p) => count(p.priority) },
];

const acts = (k: Kind): Act[] => (k.may() ? [{
  name: 'Delete', verb: 'Delete', danger: true, warning: (rows) => <p>{plural(rows.length, k.one, k.many)} will be gone: what they applied to falls back to other policies and defaults at once.</p>,
  run: (p) => api.delete(at`/${k.base}/${p.vhost}/${p.name}`),
}] : []);

/** Policies lists policies and operator policies. */
export function Policies() {
  const k = kinds[route.value.parts[0]!] ?? kinds.policies!;
  const v = vhost.value;
  return (
    <Page title="Policies" actions={k.may() && <Button icon="plus" kind="primary" onClick={() => openDialog(<EditPolicy k={k} vhost={v || '/'} done={(vh, n) => go(href([k.base, vh, n]))} />)}>New {k.one}</Button>}>
      <Tabs value={k.base} options={[['policies', 'Policies'], ['operator-policies', 'Operator policies']]} onChange={(t) => go(href([t], { vhost: v }))} />
      {k.base === 'operator-policies' && <p class="hint above">Limits that owners of virtual hosts cannot exceed: of two numbers the lower counts.</p>}
      <List key={k.base} id={k.base} path={(v ? at`/${k.base}/${v}` : `/${k.base}`)} columns={columns(k)} acts={acts(k)} what={[k.one, k.many]} rowKey={(p) => `${p.vhost}|${p.name}`} rowName={(p) => p.name} every={10}
        empty="A policy gives settings to all queues or exchanges whose names match, and can change later." />
    </Page>
  );
}

function EditPolicy({ k, vhost, now, done }: { k: Kind; vhost: string; now?: Json; done: (vhost: string, name: string) => void }) {
  const [v, setV] = useState(vhost);
  const [name, setName] = useState(now?.name ?? '');
  const [pattern, setPattern] = useState(now?.pattern ?? '');
  const [apply, setApply] = useState(now?.['apply-to'] ?? 'queues');
  const [priority, setPriority] = useState(String(now?.priority ?? 0));
  const usable = settings.filter((s) => !s.argumentOnly && (k.base === 'policies' || s.operator) && (apply === 'all' ? true : apply === 'exchanges' ? s.policyOnly : apply === 'streams' ? s.types.includes('stream') : apply === 'classic_queues' ? s.types.includes('classic') : apply === 'quorum_queues' ? s.types.includes('quorum') : !s.policyOnly));
  const known = (n: string) => settings.some((s) => s.key === n);
  const [values, setValues] = useState<Values>(Object.fromEntries(Object.entries(now?.definition ?? {}).filter(([n]) => known(n))));
  const rest = Object.fromEntries(Object.entries(now?.definition ?? {}).filter(([n]) => !known(n)));
  const [more, setMore] = useState(Object.keys(rest).length ? JSON.stringify(rest) : '');
  const queues = useOnce<Json[]>(at`/queues/${v}?columns=name,type&disable_stats=true`);
  let matching: string[] | undefined;
  try {
    const re = new RegExp(pattern);
    matching = pattern === '' ? undefined : queues.data?.map((q) => q.name as string).filter((n) => re.test(n));
  } catch {
    matching = undefined;
  }
  return (
    <Ask wide title={now ? `Change ${now.name}` : `New ${k.one}`} verb="Save" disabled={!name || !pattern} done={() => { say(`${name} saved`); done(v, name); }}
      act={async () => {
        const definition = { ...Object.fromEntries(Object.entries(values).filter(([n]) => usable.some((s) => s.key === n))), ...parseObject(more, 'Other settings') };
        if (Object.keys(definition).length === 0) throw new Error('A policy needs at least one setting.');
        await api.put(at`/${k.base}/${v}/${name}`, { pattern, 'apply-to': apply, priority: Number(priority) || 0, definition });
      }}>
      <div class="fields">
        <label class="field"><span>Name</span><input name="name" value={name} readOnly={!!now} autofocus={!now} spellcheck={false} autocomplete="off" onInput={(e) => setName(e.currentTarget.value)} /></label>
        {now ? null : <VHostField value={v} onChange={setV} />}
        <label class="field"><span>Applies to</span><select name="apply-to" value={apply} onChange={(e) => setApply(e.currentTarget.value)}>{applyTo.map(([a, t]) => <option key={a} value={a}>{t}</option>)}</select></label>
        <label class="field"><span>Priority</span><input name="priority" inputMode="numeric" value={priority} onInput={(e) => setPriority(e.currentTarget.value)} /><small>Of several that match, the highest applies alone.</small></label>
      </div>
      <label class="field"><span>Names that match (regular expression)</span><input name="pattern" class="mono" value={pattern} spellcheck={false} autocomplete="off" placeholder="^shop\." onInput={(e) => setPattern(e.currentTarget.value)} />
        <small>{matching && apply !== 'exchanges' ? `${plural(matching.length, 'queue')} now: ${matching.slice(0, 5).join(', ')}${matching.length > 5 ? ' …' : ''}` : 'Anywhere in the name; ^ and $ tie it to the ends.'}</small></label>
      <fieldset><legend>Settings</legend>
        <SettingFields of={usable} values={values} onChange={setValues} />
        <label class="field"><span>Other settings</span><textarea rows={2} class="mono" value={more} spellcheck={false} placeholder='{"name": "value"}' onInput={(e) => setMore(e.currentTarget.value)} /></label>
      </fieldset>
    </Ask>
  );
}

/** Policy is one policy: what it says and where it counts. */
export function Policy({ parts: [vh = '/', name = ''] }: { parts: string[] }) {
  const k = kinds[route.value.parts[0]!] ?? kinds.policies!;
  const path = at`/${k.base}/${vh}/${name}`;
  const live = useLive(path, 10);
  const p = live.data;
  const queues = useLive<Json[]>(at`/queues/${vh}?columns=name,vhost,type,arguments,policy,operator_policy,effective_policy_definition`, 20);
  const exchanges = useLive<Json[]>(at`/exchanges/${vh}?columns=name,policy`, 20);
  const crumbs: [string, string][] = [[k.many[0]!.toUpperCase() + k.many.slice(1), href([k.base], { vhost: vh })]];
  if (live.error?.missing) return <Page title={name} crumbs={crumbs}><Note tone="warn" title="This policy is not there" /></Page>;
  if (!p) return <Page title={name} crumbs={crumbs}>{live.error ? <Failure error={live.error} /> : <Loading />}</Page>;
  const field = k.base === 'policies' ? 'policy' : 'operator_policy';
  const on = (queues.data ?? []).filter((q) => q[field] === name);
  const onExchanges = k.base === 'policies' ? (exchanges.data ?? []).filter((x) => x.policy === name) : [];
  const edit = () => openDialog(<EditPolicy k={k} vhost={vh} now={p} done={live.reload} />);
  return (
    <Page title={name} crumbs={crumbs} badges={<><Badge tone="accent">{k.one}</Badge><Badge>{vh}</Badge></>}
      actions={k.may() && <><Button onClick={edit}>Change…</Button><Menu label="Actions" items={[{ name: 'Delete…', danger: true, act: () => confirmAct({
        title: `Delete ${name}?`, verb: 'Delete', lost: <p>{plural(on.length, 'queue')} and {plural(onExchanges.length, 'exchange')} lose these settings at once and fall back to other policies and defaults.</p>,
        act: () => api.delete(path), done: () => go(href([k.base], { vhost: vh })),
      }) }]} /></>}>
      <Panel title="What it says">
        <Facts of={[['Names that match', <code>{p.pattern}</code>], ['Applies to', applyTo.find(([a]) => a === p['apply-to'])?.[1]], ['Priority', count(p.priority)],
          ...Object.entries(p.definition).map(([n, v]): [string, ComponentChildren] => [settings.find((s) => s.key === n)?.title ?? n, <b class="mono" title={settings.find((s) => s.key === n)?.help}>{measured(settings.find((s) => s.key === n), v)}</b>])]} />
      </Panel>
      <Panel title={`Applies to ${plural(on.length, 'queue')}`} flush>
        <Table label="Queues" empty={queues.data ? 'No queue has this policy: another of higher priority may match too' : 'Loading'} rows={on.slice(0, 200)} rowKey={(q) => q.name} cells={[
          { title: 'Queue', cell: (q) => <a href={to.queue(vh, q.name)}>{q.name}</a> }, { title: 'Type', cell: (q) => q.type },
          { title: 'Passed over', cell: (q) => <span class="muted">{effective(q).filter((e) => p.definition[e.setting.key] !== undefined && value(e.value) !== value(p.definition[e.setting.key])).map((e) => `${e.setting.key} is ${value(e.value)} by ${e.origin}`).join(', ')}</span> },
        ]} />
      </Panel>
      {onExchanges.length > 0 && <Panel title={`Applies to ${plural(onExchanges.length, 'exchange')}`}><p>{onExchanges.map((x, i) => <>{i > 0 && ', '}<a href={to.exchange(vh, x.name)}>{x.name}</a></>)}</p></Panel>}
    </Page>
  );
}
