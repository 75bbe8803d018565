// Data that keeps itself up to date while it is looked at.
//
// A page names a path; what that answers is followed by the broker's own
// stream of changes (GET /live) where there is one, else by asking again every
// few seconds. Hidden tabs follow nothing. Browsers give a site few connections,
// so a tab keeps only a few streams and polls the rest.

import { signal } from '@preact/signals';
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { api, ApiError, open, withQuery, type Json } from './api';
import { events } from './sse';
import { mergePatch, RowSet, type RowsEvent } from './patch';

const streamsMax = 2;
/** What is asked for as seldom as this (s) is not worth a stream. */
const seldom = 15;
let streams = 0;
/** Whether the broker streams; undefined until it was asked. */
let streaming: boolean | undefined;

/** paused: nothing is followed while the user wants the page to hold still. */
export const paused = signal(false);
/** reachable is false from a request without answer to the next with one. */
export const reachable = signal(true);

export interface Live<T> {
  data: T | undefined;
  error: ApiError | undefined;
  /** The data is of an earlier path: the first answer for this one is awaited. */
  stale: boolean;
  reload: () => void;
}

/** follow calls seen with every state of path until signal ends it. */
async function follow(path: string, every: number, signal: AbortSignal, seen: (data: Json) => void, failed: (err: ApiError) => void): Promise<void> {
  let wait = every * 1000;
  while (!signal.aborted) {
    try {
      if (streaming !== false && every < seldom && streams < streamsMax) {
        await stream(path, every, signal, seen);
        wait = 1000; // The broker ended it: open the next one soon.
      } else {
        seen(await api.get(path, signal));
        wait = every * 1000;
      }
      reachable.value = true;
    } catch (err) {
      if (signal.aborted) return;
      const e = err instanceof ApiError ? err : new ApiError(0, 'broken', String(err));
      reachable.value = e.status !== 0;
      if (e.status === 401 && e.word !== 'not_authorised') return;
      failed(e);
      wait = Math.max(every * 1000, 3000);
    }
    await pause(wait, signal);
  }
}

/** stream follows one stream to its end. */
async function stream(path: string, every: number, signal: AbortSignal, seen: (data: Json) => void): Promise<void> {
  let answer: Response;
  streams++;
  try {
    try {
      answer = await open('GET', withQuery('/live', { path, every }), undefined, signal, { accept: 'text/event-stream' });
      streaming = true;
    } catch (err) {
      if (!(err instanceof ApiError) || streaming || err.status === 0) throw err;
      // Either the broker does not stream, or the path itself is refused: ask plainly.
      const data = await api.get(path, signal);
      streaming = false;
      seen(data);
      await pause(every * 1000, signal);
      return;
    }
    let data: Json;
    let rows: RowSet | undefined;
    for await (const e of events(answer)) {
      const said = JSON.parse(e.data);
      if (e.name === 'full') {
        data = said;
        rows = RowSet.of(data);
      } else if (e.name === 'patch') {
        data = mergePatch(data, said);
      } else if (e.name === 'rows' && rows) {
        data = rows.apply(said as RowsEvent);
        if (data === undefined) return; // We missed something: begin again.
      } else if (e.name === 'error') {
        const word = String(said?.error ?? 'error');
        throw new ApiError(/not.found/i.test(word) ? 404 : /not_authori/.test(word) ? 401 : 500, word, String(said?.reason ?? ''));
      } else {
        continue;
      }
      reachable.value = true;
      seen(data);
    }
  } finally {
    streams--;
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done);
  });
}

/** useLive follows path, or nothing if it is undefined. */
export function useLive<T = Json>(path: string | undefined, every = 5): Live<T> {
  const [state, setState] = useState<{ path?: string; data?: T; error?: ApiError }>({});
  const [round, setRound] = useState(0);
  const hold = paused.value;
  const shown = useRef<string | undefined>(undefined);

  useEffect(() => {
    if (path === undefined || hold) return;
    let end = new AbortController();
    const begin = () => {
      if (document.hidden || !end.signal.aborted && shown.current === path + round) return;
      end = new AbortController();
      shown.current = path + round;
      void follow(
        path, every, end.signal,
        (data) => setState({ path, data }),
        (error) => setState((old) => (old.path === path && error.status === 0 ? { ...old, error } : { path, error })),
      );
    };
    const look = () => {
      if (document.hidden) {
        end.abort();
        shown.current = undefined;
      } else begin();
    };
    begin();
    document.addEventListener('visibilitychange', look);
    return () => {
      end.abort();
      shown.current = undefined;
      document.removeEventListener('visibilitychange', look);
    };
  }, [path, every, round, hold]);

  const reload = useCallback(() => setRound((n) => n + 1), []);
  const current = state.path === path;
  return { data: state.data, error: current ? state.error : undefined, stale: !current, reload };
}

/** useOnce asks once, and again when reload is called. */
export function useOnce<T = Json>(path: string | undefined): Live<T> {
  const [state, setState] = useState<{ path?: string; data?: T; error?: ApiError }>({});
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (path === undefined) return;
    const end = new AbortController();
    api.get(path, end.signal).then(
      (data) => setState({ path, data }),
      (error) => {
        if (!end.signal.aborted && error instanceof ApiError) setState({ path, error });
      },
    );
    return () => end.abort();
  }, [path, round]);
  const reload = useCallback(() => setRound((n) => n + 1), []);
  const current = state.path === path;
  return { data: current ? state.data : undefined, error: current ? state.error : undefined, stale: !current, reload };
}
