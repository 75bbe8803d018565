// A small table of what is already here: consumers of a queue, bindings of an
// exchange. Lists that can grow long are ui/list.tsx's.

import type { ComponentChildren } from 'preact';
import type { Json } from '../lib/api';
import { Empty } from './parts';

export interface Cell<T = Json> {
  title: string;
  cell: (row: T) => ComponentChildren;
  num?: boolean;
}

export function Table<T = Json>({ rows, cells, rowKey, empty, label }: { rows: T[]; cells: Cell<T>[]; rowKey: (row: T, i: number) => string; empty: string; label: string }) {
  if (rows.length === 0) return <Empty title={empty} />;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead><tr>{cells.map((c) => <th key={c.title} scope="col" class={c.num ? 'num' : undefined}>{c.title}</th>)}</tr></thead>
        <tbody>{rows.map((r, i) => <tr key={rowKey(r, i)}>{cells.map((c) => <td key={c.title} class={c.num ? 'num' : undefined}>{c.cell(r)}</td>)}</tr>)}</tbody>
      </table>
    </div>
  );
}
