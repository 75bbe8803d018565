// A list of objects: the server filters, sorts and pages; the URL keeps what
// was asked for; rows stay selected while they change, and over pages.

import type { ComponentChildren } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { advice, withQuery, type Json } from '../lib/api';
import { count } from '../lib/format';
import { useLive } from '../lib/live';
import { recall, remember } from '../lib/prefs';
import { route, setQuery, vhost, vhosts } from '../lib/router';
import { mayAct } from '../lib/session';
import { Ask, closeDialog, openDialog } from './dialog';
import { Icon } from './icons';
import { Button, Empty, Failure, lightDismiss, Loading } from './parts';
import { complain, say } from './toast';

export interface Column<T = Json> {
  id: string;
  title: string;
  cell: (row: T) => ComponentChildren;
  /** Field that the server sorts by; the id if absent, false for none. */
  sort?: string | false;
  /** A figure: set to the right, sorted from the largest first. */
  num?: boolean;
  /** Not shown until chosen. */
  off?: boolean;
  /** Left out on phones until chosen. */
  roomy?: boolean;
  help?: string;
}

/** Filter narrows a list by what its rows are; where are the server's conditions, with commas. */
export interface Filter {
  id: string;
  title: string;
  options: { value: string; title: string; where: string }[];
}

/** Act is what can be done to selected rows, after a look at which. */
export interface Act<T = Json> {
  name: string;
  verb: string;
  danger?: boolean;
  /** What happens, said before it does. */
  warning: (rows: T[]) => ComponentChildren;
  /** Whether it applies to a row at all; the others are left out, and said so. */
  applies?: (row: T) => boolean;
  /** Asks for more than yes; its text goes to run. */
  input?: { label: string; initial: string };
  run: (row: T, input: string) => Promise<unknown>;
}

interface Answer<T> {
  items: T[];
  total: number;
  filtered: number;
  page: number;
  pages: number;
}

export interface ListProps<T> {
  id: string;
  path: string;
  columns: Column<T>[];
  rowKey: (row: T) => string;
  /** What a row is called, for people. */
  rowName: (row: T) => string;
  what: [one: string, many: string];
  filters?: Filter[];
  acts?: Act<T>[];
  empty?: ComponentChildren;
  /** Said where the broker does not have this list. */
  absent?: string;
  every?: number;
  sort?: string;
  descending?: boolean;
  /** Further controls beside the filter. */
  tools?: ComponentChildren;
  /** For lists inside a page of their own: prefix of its parameters in the URL. */
  prefix?: string;
  noSearch?: boolean;
  /** The path asks for part of a list: how many there are in all says nothing here. */
  part?: boolean;
}

const sizes = [25, 50, 100, 250, 500];

/** normal makes one shape of a page from the server and of a bare list. */
function normal<T>(data: Json, page: number, size: number, text: string, name: (row: T) => string): Answer<T> | undefined {
  if (!data) return undefined;
  if (!Array.isArray(data)) {
    return { items: data.items ?? [], total: data.total_count ?? 0, filtered: data.filtered_count ?? data.total_count ?? 0, page: data.page ?? 1, pages: data.page_count ?? 1 };
  }
  const kept = text ? (data as T[]).filter((r) => name(r).toLowerCase().includes(text.toLowerCase())) : (data as T[]);
  return { items: kept.slice((page - 1) * size, page * size), total: data.length, filtered: kept.length, page, pages: Math.max(1, Math.ceil(kept.length / size)) };
}

export function List<T = Json>(p: ListProps<T>) {
  const q = route.value.query, pre = p.prefix ?? '';
  const get = (k: string) => q.get(pre + k) ?? '';
  const set = (changes: Record<string, string | number | boolean | undefined>) =>
    setQuery(Object.fromEntries(Object.entries(changes).map(([k, v]) => [pre + k, v])));

  const text = get('q'), regex = get('re') === '1';
  const page = Math.max(1, Number(get('page')) || 1);
  const size = Number(get('size')) || recall(`size.${p.id}`, 50);
  const sort = get('sort') || p.sort || '';
  const descending = get('sort') ? get('desc') === '1' : !!p.descending;
  const chosen = useMemo(() => columnChoice(p.id, p.columns, get('cols')), [p.id, p.columns, get('cols'), vhost.value, vhosts.value]);
  const conditions = (p.filters ?? []).flatMap((f) => f.options.filter((o) => o.value === get(f.id)).map((o) => o.where));

  let path = withQuery(p.path, { page, page_size: size, name: text, use_regex: text && regex, sort, sort_reverse: sort && descending });
  for (const c of conditions) path += c.split(',').map((one) => '&where=' + encodeURIComponent(one)).join('');
  const live = useLive(path, p.every ?? 5);
  const answer = normal<T>(live.data, page, size, text, p.rowName);

  const [selected, setSelected] = useState<ReadonlyMap<string, T>>(new Map());
  useEffect(() => setSelected(new Map()), [p.path]);
  const lastClicked = useRef<string | undefined>(undefined);
  const items = answer?.items ?? [];
  const keys = items.map(p.rowKey);
  const selectable = mayAct.value && (p.acts?.length ?? 0) > 0;
  const allHere = keys.length > 0 && keys.every((k) => selected.has(k));

  useEffect(() => {
    if (live.error?.word === 'page_out_of_range') set({ page: undefined });
  }, [live.error]);

  const select = (key: string, range: boolean) => {
    const next = new Map(selected);
    const on = !next.has(key);
    let from = keys.indexOf(key), to = from;
    if (range && lastClicked.current) {
      const other = keys.indexOf(lastClicked.current);
      if (other >= 0) [from, to] = [Math.min(from, other), Math.max(from, other)];
    }
    for (let i = from; i <= to; i++) {
      if (on) next.set(keys[i]!, items[i]!);
      else next.delete(keys[i]!);
    }
    lastClicked.current = key;
    setSelected(next);
  };

  const invalid = live.error && text && regex && live.error.status === 400 ? 'Not a valid expression' : '';
  const columns = p.columns.filter((c) => chosen.has(c.id));

  return (
    <div class="list" data-list={p.id}>
      <div class="list-bar">
        {!p.noSearch && <SearchBox id={`${pre}${p.id}-filter`} value={text} regex={regex} invalid={invalid} what={p.what[1]} onChange={(q, re) => set({ q, re: re ? '1' : undefined, page: undefined })} />}
        {(p.filters ?? []).map((f) => (
          <label key={f.id} class="pick">
            <select aria-label={f.title} value={get(f.id)} onChange={(e) => set({ [f.id]: e.currentTarget.value, page: undefined })} class={get(f.id) ? 'on' : undefined}>
              <option value="">{f.title}: any</option>
              {f.options.map((o) => <option key={o.value} value={o.value}>{f.title}: {o.title}</option>)}
            </select>
          </label>
        ))}
        {p.tools}
        <span class="spring" />
        <span class="figures" aria-live="polite">
          {answer && (answer.filtered !== answer.total && !p.part ? `${count(answer.filtered)} of ${count(answer.total)}` : count(answer.total))} {(p.part ? answer?.filtered : answer?.total) === 1 ? p.what[0] : p.what[1]}
        </span>
        <Columns all={p.columns} chosen={chosen} onChange={(cols) => {
          remember(`columns.${p.id}`, cols);
          set({ cols: cols?.join(',') });
        }} />
      </div>

      {selectable && selected.size > 0 && (
        <div class="selection" role="toolbar" aria-label="Selected rows">
          <strong>{count(selected.size)} selected</strong>
          {p.acts!.map((a) => (
            <Button key={a.name} kind={a.danger ? 'danger' : 'plain'} onClick={() => openDialog(
              <Batch act={a} rows={[...selected.values()]} name={p.rowName} what={p.what} done={() => {
                setSelected(new Map());
                live.reload();
              }} />)}>{a.name}</Button>
          ))}
          <Button kind="quiet" onClick={() => setSelected(new Map())}>Clear</Button>
        </div>
      )}

      {live.error && !invalid && (!answer || live.error.status !== 0) && live.error.word !== 'page_out_of_range' ? <Failure error={live.error} absent={p.absent} />
        : !answer ? <Loading />
        : items.length === 0 ? <Empty title={answer.total === 0 ? `No ${p.what[1]}` : `No ${p.what[1]} match`}>{answer.total === 0 ? p.empty : 'Change the filter or choose another virtual host.'}</Empty>
        : (
          <div class={live.stale ? 'scroll stale' : 'scroll'} tabIndex={0} role="region" aria-label={p.what[1]}>
            <table>
              <thead>
                <tr>
                  {selectable && <th class="check"><input type="checkbox" aria-label="Select all rows of this page" checked={allHere} onChange={() => {
                    const next = new Map(selected);
                    items.forEach((r, i) => allHere ? next.delete(keys[i]!) : next.set(keys[i]!, r));
                    setSelected(next);
                  }} /></th>}
                  {columns.map((c) => {
                    const field = c.sort === false ? undefined : (c.sort ?? c.id);
                    const is = field !== undefined && sort === field;
                    return (
                      <th key={c.id} scope="col" class={cellClass(c, chosen)} title={c.help} aria-sort={is ? (descending ? 'descending' : 'ascending') : undefined}>
                        {field === undefined ? c.title : (
                          <button type="button" onClick={() => set(is ? { sort: field, desc: descending ? undefined : '1', page: undefined } : { sort: field, desc: c.num ? '1' : undefined, page: undefined })}>
                            {c.title}{is && <Icon name={descending ? 'down' : 'up'} size={11} />}
                          </button>
                        )}
                      </th>
                    );
                  })}
                </tr>
              </thead>
              <tbody>
                {items.map((r, i) => (
                  <tr key={keys[i]} aria-selected={selectable ? selected.has(keys[i]!) : undefined}>
                    {selectable && <td class="check"><input type="checkbox" aria-label={`Select ${p.rowName(r)}`} checked={selected.has(keys[i]!)} onClick={(e) => select(keys[i]!, e.shiftKey)} /></td>}
                    {columns.map((c) => <td key={c.id} class={cellClass(c, chosen)}>{c.cell(r)}</td>)}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}

      {answer && answer.filtered > sizes[0]! && (
        <nav class="pager" aria-label="Pages">
          <Button icon="left" title="Previous page" disabled={page <= 1} onClick={() => set({ page: page - 1 > 1 ? page - 1 : undefined })} />
          <span>Page <input class="page" aria-label="Page" inputMode="numeric" value={page} onChange={(e) => {
            const n = Math.min(answer.pages, Math.max(1, Number(e.currentTarget.value) || 1));
            set({ page: n > 1 ? n : undefined });
          }} /> of {count(answer.pages)}</span>
          <Button icon="right" title="Next page" disabled={page >= answer.pages} onClick={() => set({ page: page + 1 })} />
          <label class="pick">
            <select aria-label="Rows a page" value={String(size)} onChange={(e) => {
              const n = Number(e.currentTarget.value);
              remember(`size.${p.id}`, n);
              set({ size: n, page: undefined });
            }}>{sizes.map((n) => <option key={n} value={String(n)}>{n} rows</option>)}</select>
          </label>
        </nav>
      )}
    </div>
  );
}

const cellClass = (c: Column<never> | Column<Json>, chosen: Chosen) => [c.num && 'num', c.roomy && !chosen.asked && 'roomy'].filter(Boolean).join(' ') || undefined;

/** Chosen are the columns that are shown; asked if somebody chose them. */
type Chosen = Set<string> & { asked?: boolean };

function columnChoice<T>(id: string, all: Column<T>[], inURL: string): Chosen {
  const names = inURL ? inURL.split(',') : recall<string[] | undefined>(`columns.${id}`, undefined);
  // Where there is only one virtual host to be in, no column needs to say so.
  const one = vhost.value !== '' || vhosts.value.length < 2;
  const out: Chosen = new Set(names ?? all.filter((c) => !c.off && !(c.id === 'vhost' && one)).map((c) => c.id));
  out.add(all[0]!.id);
  out.asked = names !== undefined;
  return out;
}

function Columns<T>({ all, chosen, onChange }: { all: Column<T>[]; chosen: Set<string>; onChange: (ids: string[] | undefined) => void }) {
  return (
    <details class="menu columns" onToggle={lightDismiss}>
      <summary class="button quiet"><Icon name="columns" />Columns</summary>
      <div class="choices">
        {all.slice(1).map((c) => (
          <label key={c.id} title={c.help}>
            <input type="checkbox" checked={chosen.has(c.id)} onChange={(e) => {
              const next = new Set(chosen);
              if (e.currentTarget.checked) next.add(c.id);
              else next.delete(c.id);
              onChange(all.map((c) => c.id).filter((id) => next.has(id)));
            }} />{c.title}
          </label>
        ))}
        <button type="button" class="link" onClick={() => onChange(undefined)}>Usual columns</button>
      </div>
    </details>
  );
}

function SearchBox({ id, value, regex, invalid, what, onChange }: { id: string; value: string; regex: boolean; invalid: string; what: string; onChange: (text: string, regex: boolean) => void }) {
  const [typed, setTyped] = useState(value);
  const [seen, setSeen] = useState(value);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  if (value !== seen) {
    // The URL changed under us, by a link or the back button.
    setSeen(value);
    if (value !== typed.trim()) setTyped(value);
  }
  const change = (text: string) => {
    setTyped(text);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => onChange(text.trim(), regex), 220);
  };
  return (
    <div class={invalid ? 'search bad' : 'search'}>
      <Icon name="search" size={14} />
      <input id={id} type="search" placeholder={`Filter ${what}`} aria-label={`Filter ${what} by name`} aria-invalid={!!invalid} value={typed} spellcheck={false} autocomplete="off" onInput={(e) => change(e.currentTarget.value)} data-filter />
      <button type="button" class="regex" aria-pressed={regex} aria-label="Regular expression" title="Regular expression" onClick={() => onChange(typed.trim(), !regex)}>.*</button>
      {invalid && <span class="invalid" role="alert">{invalid}</span>}
    </div>
  );
}

/** Batch shows what an act will do to which rows, then does it and tells how far it is. */
function Batch<T>({ act, rows, name, what, done }: { act: Act<T>; rows: T[]; name: (r: T) => string; what: [string, string]; done: () => void }) {
  const fit = act.applies ? rows.filter(act.applies) : rows;
  const [at, setAt] = useState(-1);
  const [input, setInput] = useState(act.input?.initial ?? '');
  const things = fit.length === 1 ? what[0] : what[1];
  const run = async () => {
    const failed: string[] = [];
    let next = 0, finished = 0;
    setAt(0);
    const worker = async () => {
      while (next < fit.length) {
        const r = fit[next++]!;
        try {
          await act.run(r, input);
        } catch (err) {
          failed.push(`${name(r)}: ${advice(err)}`);
        }
        setAt(++finished);
      }
    };
    await Promise.all([worker(), worker(), worker()]);
    closeDialog();
    if (failed.length < fit.length) say(`${act.name}: ${count(fit.length - failed.length)} ${things} done`);
    if (failed.length > 0) complain(new Error(`${failed.length} failed. ${failed.slice(0, 3).join(' ')}`));
    done();
  };
  return (
    <Ask title={`${act.name}: ${count(fit.length)} ${things}`} verb={act.verb} danger={act.danger} act={run} disabled={fit.length === 0}>
      <div class={act.danger ? 'lost' : undefined}>{act.warning(fit)}</div>
      <ul class="preview">
        {fit.slice(0, 8).map((r) => <li key={name(r)} class="mono">{name(r)}</li>)}
        {fit.length > 8 && <li>and {count(fit.length - 8)} more</li>}
      </ul>
      {fit.length < rows.length && <p class="muted">{count(rows.length - fit.length)} of the selected do not allow this and are left alone.</p>}
      {act.input && <label class="field"><span>{act.input.label}</span><input value={input} onInput={(e) => setInput(e.currentTarget.value)} /></label>}
      {at >= 0 && <progress max={fit.length} value={at} aria-label="Progress" />}
    </Ask>
  );
}
