import { useState } from 'preact/hooks';
import { api, at, withQuery, type Json } from '../lib/api';
import { bytes, count, time } from '../lib/format';
import { useLive, useOnce } from '../lib/live';
import { route, setQuery, vhost } from '../lib/router';
import { mayAct } from '../lib/session';
import { confirmAct } from '../ui/dialog';
import { Icon } from '../ui/icons';
import { MessageView } from '../ui/message';
import { Button, Empty, Failure, Loading, Note, Page, Panel } from '../ui/parts';
import { say } from '../ui/toast';

const absent = 'Retained messages cannot be listed by this broker.';

/** Retained shows retained messages as the tree their topics are. */
export function Retained() {
  const v = vhost.value || '/';
  const topic = route.value.query.get('topic') ?? '';
  const search = route.value.query.get('q') ?? '';
  return (
    <Page title="Retained topics" badges={!vhost.value && <span class="muted">of virtual host /; choose another above</span>}>
      <div class="list-bar">
        <div class="search"><Icon name="search" size={14} /><input type="search" data-filter placeholder="Search topics" aria-label="Search topics" value={search} onChange={(e) => setQuery({ q: e.currentTarget.value })} /></div>
      </div>
      <div class="split">
        <Panel><ul class="tree" role="tree" aria-label="Topics"><Level v={v} under="" search={search} chosen={topic} /></ul></Panel>
        <div>{topic ? <One v={v} topic={topic} /> : <Empty title="Choose a topic">Its message is shown here.</Empty>}</div>
      </div>
    </Page>
  );
}

/** Level is one level of the tree; the next are asked for when opened. */
function Level({ v, under, search, chosen }: { v: string; under: string; search: string; chosen: string }) {
  const [shown, setShown] = useState(100);
  const live = useLive(withQuery(at`/retained/${v}`, { under, search, page: 1, page_size: Math.min(500, shown) }), 5);
  if (!live.data) return live.error ? <Failure error={live.error} absent={absent} /> : <Loading />;
  const rows: Json[] = live.data.items ?? live.data;
  if (rows.length === 0) return under === '' ? <Empty title={search ? 'No topic matches' : 'No retained messages'}>{!search && 'A message that MQTT clients publish with the retain flag stays here for those who subscribe later.'}</Empty> : null;
  const more = (live.data.filtered_count ?? rows.length) - rows.length;
  return (
    <>
      {rows.map((r) => <Branch key={r.topic} v={v} row={r} search={search} chosen={chosen} />)}
      {more > 0 && <li><button type="button" class="link" onClick={() => setShown(shown + 200)}>{count(more)} more</button></li>}
    </>
  );
}

function Branch({ v, row, search, chosen }: { v: string; row: Json; search: string; chosen: string }) {
  const [open, setOpen] = useState(chosen === row.topic || chosen.startsWith(row.topic + '/'));
  // What a search found is shown whole, without what is below it.
  const has = row.children > 0 && !search;
  const name = search ? row.topic : row.level || '(empty)';
  return (
    <li role="treeitem" aria-expanded={has ? open : undefined} aria-selected={chosen === row.topic}>
      <div class={chosen === row.topic ? 'leaf chosen' : 'leaf'}>
        {has ? <button type="button" class="twist" aria-label={open ? `Close ${row.topic}` : `Open ${row.topic}`} onClick={() => setOpen(!open)}><Icon name={open ? 'down' : 'right'} size={12} /></button> : <span class="twist" />}
        {row.message ? <button type="button" class="level" onClick={() => setQuery({ topic: row.topic })}>{name}</button> : <button type="button" class="level plain" onClick={() => setOpen(!open)}>{name}</button>}
        {has && <span class="muted">{count(row.children)}</span>}
        {row.message && <span class="muted spring-left">{bytes(row.message.size)}</span>}
      </div>
      {open && has && <ul role="group"><Level v={v} under={row.topic} search={search} chosen={chosen} /></ul>}
    </li>
  );
}

function One({ v, topic }: { v: string; topic: string }) {
  const path = withQuery(at`/retained/${v}/message`, { topic });
  const one = useOnce(path);
  const clear = () => confirmAct({
    title: 'Clear this retained message?', verb: 'Clear', lost: <p>Clients that subscribe to <b class="mono">{topic}</b> later will get nothing until somebody publishes again.</p>,
    act: () => api.delete(path), done: () => { say('Cleared'); setQuery({ topic: undefined }); },
  });
  return (
    <Panel title={<span class="mono">{topic}</span>} aside={<><Button icon="refresh" kind="quiet" title="Read again" onClick={one.reload} />{mayAct.value && one.data && <Button kind="danger" onClick={clear}>Clear…</Button>}</>}>
      {one.data ? <MessageView m={one.data} bare /> : one.error ? (one.error.missing ? <Note title="No message is kept under this topic" /> : <Failure error={one.error} />) : <Loading />}
      {one.data?.enqueued_at && <p class="muted">Published {time(one.data.enqueued_at)}</p>}
    </Panel>
  );
}
