// Looking into a queue: messages stay where they are, in order, unmarked.

import { useEffect, useState } from 'preact/hooks';
import { api, at, withQuery, type ApiError, type Json } from '../lib/api';
import { ago, bytes, count, exchangeName, time } from '../lib/format';
import { setQuery, route } from '../lib/router';
import { openDialog } from './dialog';
import { Icon } from './icons';
import { MessageBadges, MessageView, preview } from './message';
import { Button, Empty, Failure, Loading } from './parts';
import { Get } from './get';

/** Browse lists messages a page at a time; a row opens to all of its message. */
export function Browse({ q, mayGet, onMove }: { q: Json; mayGet: boolean; onMove?: (search: string) => void }) {
  const query = route.value.query;
  const state = query.get('state') ?? 'ready', search = query.get('find') ?? '', where = query.get('in') ?? '';
  const [typed, setTyped] = useState(search);
  const [pages, setPages] = useState<string[]>([]);
  const [round, setRound] = useState(0);
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const [answer, setAnswer] = useState<Json>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const isStream = q.type === 'stream';
  const [from, setFrom] = useState('');
  const offset = pages.at(-1) ?? (isStream && from !== '' ? from : isStream && q.first_offset !== undefined ? String(Math.max(Number(q.first_offset), Number(q.committed_offset ?? 0) - 49)) : '');
  const path = withQuery(at`/queues/${q.vhost}/${q.name}/messages`, { offset, count: 50, state, truncate: 20_000, search, in: where });

  useEffect(() => {
    const end = new AbortController();
    setBusy(true);
    api.get(path, end.signal).then((a) => { setAnswer(a); setError(undefined); setBusy(false); }, (err) => {
      if (end.signal.aborted) return;
      setError(err);
      setBusy(false);
    });
    return () => end.abort();
    // A stream's newest offset moves on: only what the user does asks again.
  }, [isStream && pages.length === 0 && from === '' ? `${q.name}/${state}/${search}/${where}` : path, round]);

  const again = () => {
    setPages([]);
    setRound(round + 1);
  };
  const filter = (changes: Record<string, string | undefined>) => {
    setPages([]);
    setQuery(changes);
  };
  const rows: Json[] = answer?.messages ?? [];
  const key = (m: Json) => String(m.id ?? m.position);
  return (
    <div class="browse">
      <div class="list-bar">
        <form class="search" onSubmit={(e) => { e.preventDefault(); filter({ find: typed.trim() || undefined }); }}>
          <Icon name="search" size={14} /><input type="search" name="find" placeholder="Search in messages" aria-label="Search in messages" value={typed} onInput={(e) => setTyped(e.currentTarget.value)} />
        </form>
        <label class="pick"><select aria-label="Search in" value={where} onChange={(e) => filter({ in: e.currentTarget.value || undefined })}><option value="">in all of it</option><option value="body">in bodies</option><option value="headers">in headers</option><option value="key">in keys</option></select></label>
        {!isStream && <label class="pick"><select aria-label="State" value={state} onChange={(e) => filter({ state: e.currentTarget.value === 'ready' ? undefined : e.currentTarget.value })}><option value="ready">ready</option><option value="unacked">with consumers</option><option value="delayed">delayed</option><option value="all">all</option></select></label>}
        {isStream && <label class="pick">from offset <input class="offset" inputMode="numeric" value={from} placeholder="newest" aria-label="From offset" onChange={(e) => { setPages([]); setFrom(e.currentTarget.value.trim()); }} /></label>}
        <Button icon="refresh" kind="quiet" title="Look again" onClick={again} />
        <span class="spring" />
        <span class="muted">Looked at {answer ? time(Date.now()).slice(11) : '…'}; nothing is taken out</span>
        {onMove && <Button onClick={() => onMove(search)}>Move…</Button>}
        {mayGet && !isStream && <Button onClick={() => openDialog(<Get q={q} done={again} />)}>Get…</Button>}
      </div>
      {error ? (
        <Failure error={error} absent="This broker cannot show messages without taking them out. “Get” with requeue comes closest: it marks them as redelivered." />
      ) : !answer ? <Loading /> : rows.length === 0 ? (
        <Empty title={search ? 'No message matches' : 'No messages'}>{search && answer.next_offset ? <Button onClick={() => setPages([...pages, String(answer.next_offset)])}>Search further</Button> : state === 'ready' && q.messages_unacknowledged > 0 ? `${count(q.messages_unacknowledged)} are with consumers: choose that state above.` : undefined}</Empty>
      ) : (
        <div class={busy ? 'scroll stale' : 'scroll'}>
          <table class="messages">
            <thead><tr><th class="check" /><th scope="col" class="num">{isStream ? 'Offset' : 'Place'}</th><th scope="col">Routing key</th><th scope="col">Body</th><th scope="col" class="num">Size</th><th scope="col" class="num roomy">Age</th><th scope="col" /></tr></thead>
            <tbody>
              {rows.map((m) => {
                const k = key(m), is = open.has(k);
                const flip = () => {
                  const next = new Set(open);
                  if (is) next.delete(k);
                  else next.add(k);
                  setOpen(next);
                };
                return (
                  <>
                    <tr key={k} class={is ? 'open' : 'shut'} onClick={flip}>
                      <td class="check"><button type="button" class="twist" aria-expanded={is} aria-label={`Message ${m.position}`} onClick={(e) => { e.stopPropagation(); flip(); }}><Icon name={is ? 'down' : 'right'} size={12} /></button></td>
                      <td class="num">{count(m.position)}</td>
                      <td><code title={exchangeName(m.exchange)}>{m.routing_key}</code></td>
                      <td class="preview-cell"><code>{preview(m)}</code></td>
                      <td class="num">{bytes(m.size)}</td>
                      <td class="num roomy">{m.enqueued_at ? ago(m.enqueued_at).replace(' ago', '') : ''}</td>
                      <td><MessageBadges m={m} /></td>
                    </tr>
                    {is && <tr key={k + '+'} class="detail"><td colSpan={7}><MessageView m={m} /></td></tr>}
                  </>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
      {answer && (pages.length > 0 || answer.next_offset !== null && answer.next_offset !== undefined) && (
        <nav class="pager" aria-label="Pages of messages">
          <Button icon="left" title="Messages before" disabled={pages.length === 0} onClick={() => setPages(pages.slice(0, -1))} />
          <span>{rows.length > 0 ? `${count(rows[0]!.position)} to ${count(rows.at(-1)!.position)} of ${count(answer.total)}` : ''}</span>
          <Button icon="right" title="Messages after" disabled={answer.next_offset === null || answer.next_offset === undefined} onClick={() => setPages([...pages, String(answer.next_offset)])} />
        </nav>
      )}
    </div>
  );
}

