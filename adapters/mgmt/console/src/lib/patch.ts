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

/**
 * RowSet is a list, bare or a page of one, whose rows change one by one. What
 * the broker calls its rows is said by the first change after the whole list.
 */
export class RowSet {
  private rows: Map<string, Json> | undefined;

  private constructor(private data: Json) {}

  /** of makes a set of a list; what is no list has none. */
  static of(data: Json): RowSet | undefined {
    return Array.isArray(data) || Array.isArray(data?.items) ? new RowSet(data) : undefined;
  }

  /** apply gives the list after a change; undefined if it does not fit what was there. */
  apply(e: RowsEvent): Json | undefined {
    const { order, changed, ...counts } = e;
    const before: Json[] = Array.isArray(this.data) ? this.data : this.data.items;
    const known = this.rows ?? new Map(order.map((key, i) => [key, before[i]]));
    const next = new Map<string, Json>();
    for (const key of order) {
      const old = known.get(key);
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
