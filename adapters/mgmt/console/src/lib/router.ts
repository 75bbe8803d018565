// Where we are is in the URL behind "#": path segments, then a query that
// keeps filters, sorting, columns and tabs, so that a link shows the same page.

import { computed, signal } from '@preact/signals';

export interface Route {
  parts: string[];
  query: URLSearchParams;
}

function parse(): Route {
  const hash = location.hash.replace(/^#\/?/, '');
  const cut = hash.indexOf('?');
  const path = cut < 0 ? hash : hash.slice(0, cut);
  return {
    parts: path.split('/').filter((p, i, all) => p !== '' || i < all.length - 1).map(decode),
    query: new URLSearchParams(cut < 0 ? '' : hash.slice(cut + 1)),
  };
}

function decode(s: string): string {
  try {
    return decodeURIComponent(s);
  } catch {
    return s;
  }
}

export const route = signal<Route>(parse());
addEventListener('hashchange', () => {
  route.value = parse();
});

/** vhost is the virtual host that lists are about; "" for all. */
export const vhost = computed(() => route.value.query.get('vhost') ?? '');

/** vhosts are the names of those the user may see. */
export const vhosts = signal<string[]>([]);

type Query = Record<string, string | number | boolean | undefined>;

/** href is a link to a page: its first segment names it, the rest are objects. */
export function href(parts: string[], query: Query = {}): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(query)) if (v !== undefined && v !== '' && v !== false) q.set(k, String(v));
  const text = q.toString();
  return '#/' + parts.map(encodeURIComponent).join('/') + (text ? '?' + text : '');
}

/** go leaves this page for another. */
export function go(to: string): void {
  location.hash = to;
}

/** setQuery changes parameters of the current page without a step of history. */
export function setQuery(changes: Query, step = false): void {
  const q = new URLSearchParams(route.value.query);
  for (const [k, v] of Object.entries(changes)) {
    if (v === undefined || v === '' || v === false) q.delete(k);
    else q.set(k, String(v));
  }
  const text = q.toString();
  const url = '#/' + route.value.parts.map(encodeURIComponent).join('/') + (text ? '?' + text : '');
  if (url === location.hash) return;
  if (step) history.pushState(null, '', url);
  else history.replaceState(null, '', url);
  route.value = parse();
}

/** Links to objects, used wherever one is named. */
export const to = {
  queue: (vhost: string, name: string, query: Query = {}) => href(['queues', vhost, name], query),
  exchange: (vhost: string, name: string, query: Query = {}) => href(['exchanges', vhost, name || 'amq.default'], query),
  connection: (name: string) => href(['connections', name]),
  channel: (name: string) => href(['channels', name]),
  user: (name: string) => href(['users', name]),
  vhost: (name: string) => href(['vhosts', name]),
  policy: (vhost: string, name: string) => href(['policies', vhost, name]),
  operatorPolicy: (vhost: string, name: string) => href(['operator-policies', vhost, name]),
  client: (vhost: string, id: string) => href(['clients', vhost, id]),
};
