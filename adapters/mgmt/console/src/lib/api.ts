// The one way to the broker: its public HTTP API, as any script could use it.
//
// Credentials travel in a header that only this code sets, never in a cookie,
// so no other site can act in the user's name; "omit" also keeps the browser
// from asking for a password of its own when the answer is 401.

import { authorization, signedOut } from './session';

/** Json is what the API answers with, where its shape is the page's business. */
export type Json = any; // eslint-disable-line

/** ApiError is an answer that is not a success, or none at all (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly word: string,
    readonly reason: string,
  ) {
    super(reason || word);
  }

  /** missing: there is no such object, or an older broker has no such resource. */
  get missing(): boolean {
    return this.status === 404 || this.status === 405;
  }
}

/** at builds a path, encoding each value as one segment of it. */
export function at(parts: TemplateStringsArray, ...values: (string | number)[]): string {
  return parts.reduce((path, part, i) => path + encodeURIComponent(String(values[i - 1])) + part);
}

/** exchangeSegment names the default exchange, which has no name, in paths. */
export const exchangeSegment = (name: string): string => name || 'amq.default';

/** withQuery appends the parameters that have a value. */
export function withQuery(path: string, query: Record<string, string | number | boolean | undefined | null>): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(query)) if (v !== undefined && v !== null && v !== '' && v !== false) q.set(k, String(v));
  const text = q.toString();
  return text ? path + (path.includes('?') ? '&' : '?') + text : path;
}

/** open sends a request below /api and returns a successful answer unread. */
export async function open(method: string, path: string, body?: unknown, signal?: AbortSignal, headers: Record<string, string> = {}): Promise<Response> {
  const auth = authorization();
  if (auth) headers['authorization'] = auth;
  if (body !== undefined && !(body instanceof FormData)) headers['content-type'] = 'application/json';
  let answer: Response;
  try {
    answer = await fetch('api' + path, {
      method,
      headers,
      signal,
      credentials: 'omit',
      cache: 'no-store',
      body: body === undefined || body instanceof FormData ? body : typeof body === 'string' ? body : JSON.stringify(body),
    });
  } catch (err) {
    if (signal?.aborted) throw err;
    throw new ApiError(0, 'unreachable', 'The broker does not answer.');
  }
  if (answer.ok) return answer;
  let word = String(answer.status), reason = answer.statusText;
  try {
    const said = await answer.json();
    word = String(said.error ?? word);
    reason = typeof said.reason === 'string' ? said.reason : JSON.stringify(said.reason ?? said);
  } catch {
    // No body, or not ours: the status has to do.
  }
  if (answer.status === 401 && word !== 'not_authorised' && auth && auth === authorization()) {
    signedOut('Your sign-in is no longer valid. Sign in again to go on where you were.');
  }
  throw new ApiError(answer.status, word, reason);
}

async function read(method: string, path: string, body?: unknown, signal?: AbortSignal, headers?: Record<string, string>): Promise<Json> {
  const answer = await open(method, path, body, signal, headers);
  const text = await answer.text();
  return text ? JSON.parse(text) : undefined;
}

export const api = {
  get: (path: string, signal?: AbortSignal): Promise<Json> => read('GET', path, undefined, signal),
  put: (path: string, body: unknown): Promise<Json> => read('PUT', path, body),
  post: (path: string, body: unknown, signal?: AbortSignal): Promise<Json> => read('POST', path, body, signal),
  delete: (path: string, headers?: Record<string, string>): Promise<Json> => read('DELETE', path, undefined, undefined, headers),
};

/** advice says what to do about an error, where that is more than its text. */
export function advice(err: unknown): string {
  if (!(err instanceof ApiError)) return err instanceof Error ? err.message : String(err);
  const why = err.reason.replaceAll('&lt;', '<').replaceAll('&gt;', '>');
  switch (true) {
    case err.status === 0:
      return 'The broker does not answer. Look whether it is running and whether this address still reaches it; this page tries again by itself.';
    case err.status === 401 && /virtual host/.test(why):
      return `Your user has no permissions in this virtual host. An administrator can give them under Users.`;
    case err.status === 401 && /Access refused|access/i.test(why):
      return 'Your permissions do not cover this. An administrator can widen them (configure, write or read) under Users.';
    case err.status === 401 && /^Not (\w+) user/.test(why):
      return `This needs the tag ${/^Not (\w+) user/.exec(why)![1]!.replace('monitor', 'monitoring')}. An administrator can give it to your user.`;
    case err.missing && /^(Not Found|Object Not Found)?$/.test(why):
      return 'There is no such thing any more, or this broker is too old to know it.';
    case /inequivalent arg/.test(why):
      return `${why}. Something of this name exists with other settings: choose another name, or delete that one first.`;
    case err.status === 503:
      return `${why}. The broker refuses this for now; Overview says why.`;
    case err.status >= 500:
      return `${why}. The broker's log has the details.`;
  }
  return why || `The broker answered ${err.status}.`;
}
