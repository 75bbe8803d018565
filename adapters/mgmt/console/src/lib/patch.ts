// How a stream of changes turns the last state into the next.

import type { Json } from './api';

/** mergePatch applies an RFC 7396 merge patch; neither argument is changed. */
export function mergePatch(target: Json, patch: Json): Json {
  if (patch === null || typeof patch !== 'object' || Array.isArray(patch)) return patch;
  const out: Record<string, Json> = target !== null && typeof target === 'object' && !Array.isArray(target) ? { ...target } : {};
  for (const [k, v] of Object.entries(patch)) {
    if (v === null) delete out[k];
    else out[k] = mergePatch(out[k], v);
  }
  return out;
}

/** RowsEvent is how a list changed: its rows in order, by key, and what is new. */
export interface RowsEvent {
  order: string[];
  changed: Record<string, Json>;
  [count: string]: Json;
}

/** keyOf is a row's identity, as the broker calls it in its changes. */
function keyOf(row: Json): string {
  return row.vhost !== undefined ? `${row.vhost}|${row.name}` : String(row.name);
}

/** RowSet is a list, bare or a page of one, whose rows change one by one. */
export class RowSet {
  private rows = new Map<string, Json>();

  private constructor(private data: Json) {
    for (const row of Array.isArray(data) ? data : data.items) this.rows.set(keyOf(row), row);
  }

  /** of makes a set of a list; what is no list has none. */
  static of(data: Json): RowSet | undefined {
    return Array.isArray(data) || Array.isArray(data?.items) ? new RowSet(data) : undefined;
  }

  /** apply gives the list after a change; undefined if it does not fit what was there. */
  apply(e: RowsEvent): Json | undefined {
    const { order, changed, ...counts } = e;
    const next = new Map<string, Json>();
    for (const key of order) {
      const old = this.rows.get(key);
      const row = key in changed ? mergePatch(old, changed[key]) : old;
      if (row === undefined) return undefined;
      next.set(key, row);
    }
    this.rows = next;
    const items = [...next.values()];
    this.data = Array.isArray(this.data) ? items : { ...this.data, ...counts, items };
    return this.data;
  }
}
