import { useEffect, useState } from 'preact/hooks';
import { api, at, exchangeSegment, type Json } from '../lib/api';
import { exchangeName, plural, value } from '../lib/format';
import { useOnce } from '../lib/live';
import { route, setQuery, to, vhost } from '../lib/router';
import { Icon } from '../ui/icons';
import { Badge, Empty, Failure, Loading, Note, Page, Panel, Segments } from '../ui/parts';
import { HeaderRows, headersOf, type HeaderRow } from '../ui/publish';

/** RoutePage asks where a message would go; nothing is published. */
export function RoutePage() {
  return (
    <Page title="Where would this go?">
      <p class="muted lead">Give what a message has; see which bindings it matches and which queues it reaches. Nothing is published.</p>
      <RouteForm key={vhost.value} vhost={vhost.value || '/'} />
    </Page>
  );
}

/** RouteForm is the simulator, for one exchange or any. */
export function RouteForm({ vhost, exchange }: { vhost: string; exchange?: string }) {
  const q = route.value.query;
  const mode = exchange === undefined && q.has('topic') ? 'topic' : 'key';
  const x = exchange ?? q.get('exchange') ?? (mode === 'topic' ? 'amq.topic' : 'amq.topic');
  const [key, setKey] = useState(q.get('key') ?? '');
  const [topic, setTopic] = useState(q.get('topic') ?? '');
  const [rows, setRows] = useState<HeaderRow[]>([]);
  const [answer, setAnswer] = useState<Json>();
  const [error, setError] = useState<unknown>();
  const exchanges = useOnce<Json[]>(exchange === undefined ? at`/exchanges/${vhost}?columns=name,type` : undefined);

  const asked = JSON.stringify([vhost, x, mode, key, topic, rows]);
  useEffect(() => {
    const end = new AbortController();
    const timer = setTimeout(() => {
      setQuery(mode === 'topic' ? { topic: topic || ' ', key: undefined } : { key: key || undefined });
      let headers = {};
      try {
        headers = headersOf(rows);
      } catch (err) {
        setError(err);
        return;
      }
      api.post(at`/exchanges/${vhost}/${exchangeSegment(mode === 'topic' ? 'amq.topic' : x)}/route`, { ...(mode === 'topic' ? { topic } : { routing_key: key }), headers }, end.signal)
        .then((a) => { setAnswer(a); setError(undefined); }, (err) => { if (!end.signal.aborted) setError(err); });
    }, 150);
    return () => {
      clearTimeout(timer);
      end.abort();
    };
  }, [asked]);

  return (
    <div class="split wide-left">
      <Panel title="A message">
        {exchange === undefined && <div class="field"><span>From</span><Segments label="From" value={mode} options={[['key', 'AMQP or STOMP'], ['topic', 'MQTT']]} onChange={(m) => setQuery(m === 'topic' ? { topic: topic || ' ', key: undefined } : { topic: undefined })} /></div>}
        {mode === 'key' && exchange === undefined && <label class="field"><span>Exchange</span><select name="exchange" value={x} onChange={(e) => setQuery({ exchange: e.currentTarget.value })}>{[...new Set([x, ...(exchanges.data ?? []).map((e) => e.name || 'amq.default')])].map((n) => <option key={n} value={n}>{n === 'amq.default' ? '(default)' : n}</option>)}</select></label>}
        {mode === 'key' ? <label class="field"><span>Routing key</span><input name="key" class="mono" value={key} autofocus={exchange === undefined} spellcheck={false} autocomplete="off" onInput={(e) => setKey(e.currentTarget.value)} /></label>
          : <label class="field"><span>Topic</span><input name="topic" class="mono" value={topic.trimStart()} autofocus spellcheck={false} autocomplete="off" placeholder="greenhouse/north/temperature" onInput={(e) => setTopic(e.currentTarget.value)} /></label>}
        <HeaderRows rows={rows} onChange={setRows} />
      </Panel>
      <div aria-live="polite">
        {error !== undefined ? <Failure error={error} absent="This broker cannot tell beforehand where a message would go." /> : !answer ? <Loading /> : exchange === undefined && !answer.routed && !(mode === 'topic' ? topic.trim() : key) && rows.length === 0 ? <Empty title={mode === 'topic' ? 'Type a topic to begin' : 'Type a key to begin'}>What it matches and which queues it reaches is shown here.</Empty> : <Answer vhost={vhost} exchange={mode === 'topic' ? 'amq.topic' : x} answer={answer} />}
      </div>
    </div>
  );
}

function Answer({ vhost, exchange, answer: a }: { vhost: string; exchange: string; answer: Json }) {
  const queues: string[] = a.queues ?? [];
  const paths: Json[][] = a.paths ?? [];
  return (
    <>
      {a.routed ? <Note tone="ok" title={`It would reach ${plural(queues.length, 'queue')}`}>{a.alternate && 'By the alternate exchange: no binding of the exchange itself matched.'}{a.delayed && ' After the delay it asks for.'}</Note>
        : <Note tone="warn" title="It would reach no queue">{exchange === 'amq.default' ? 'There is no queue of this name.' : 'No binding matches. A publisher that asks for it (mandatory) gets it back; else it is gone.'}</Note>}
      {queues.length > 0 && <Panel title="Queues"><p class="chips">{queues.map((q) => <a key={q} class="chip" href={to.queue(vhost, q)}><Icon name="queue" size={13} />{q}</a>)}</p></Panel>}
      {paths.length > 0 && (
        <Panel title="Which ways">
          <ol class="ways">
            {paths.slice(0, 100).map((p, i) => (
              <li key={i}>
                {(p[0]?.kind === 'exchange' && (p[0]?.name === exchange || p[0]?.via === 'publish')) ? null : <><a href={to.exchange(vhost, exchange)}>{exchangeName(exchange === 'amq.default' ? '' : exchange)}</a></>}
                {p.map((step, k) => (
                  <span key={k}>
                    {(k > 0 || !(p[0]?.kind === 'exchange' && (p[0]?.name === exchange || p[0]?.via === 'publish'))) && <span class="by">{step.binding ? <code>{step.binding.routing_key || (Object.keys(step.binding.arguments ?? {}).length ? value(step.binding.arguments) : '(empty)')}</code> : <span class="muted">{step.via === 'alternate' ? 'alternate' : step.via === 'default' ? 'by name' : step.via}</span>}<Icon name="right" size={12} /></span>}
                    <a href={step.kind === 'queue' ? to.queue(vhost, step.name) : to.exchange(vhost, step.name)} class={step.kind === 'queue' ? 'end' : undefined}>{exchangeName(step.name)}</a>
                  </span>
                ))}
              </li>
            ))}
          </ol>
          {paths.length > 100 && <p class="muted">and {paths.length - 100} more</p>}
        </Panel>
      )}
      {a.truncated && <Badge tone="warn">there are more ways than are shown</Badge>}
    </>
  );
}
