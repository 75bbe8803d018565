// A layered picture of a graph: arrows go from left to right where they can,
// nodes of a layer stand in an order with few crossings, long arrows bend
// around what lies between.
//
//   nodes, arrows -> break cycles -> layers -> points for long arrows
//                 -> order by neighbours, several sweeps -> places

export interface Box {
  id: string;
  width: number;
  height: number;
}

export interface Arrow {
  from: string;
  to: string;
}

export interface Placed {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Layout {
  nodes: Map<string, Placed>;
  /** Points that each arrow passes, by its place in what was given. */
  arrows: [number, number][][];
  width: number;
  height: number;
}

const gapX = 150, gapY = 14, sweeps = 16;

interface Cell {
  id: string;
  layer: number;
  width: number;
  height: number;
  /** Middle, from the top. */
  y: number;
  before: Cell[];
  after: Cell[];
}

export function layout(boxes: Box[], arrows: Arrow[]): Layout {
  const known = new Map(boxes.map((b) => [b.id, b]));
  const real = arrows.map((a) => known.has(a.from) && known.has(a.to) && a.from !== a.to);
  const forward = acyclic(boxes, arrows, real);
  const layer = layers(boxes, arrows, real, forward);

  const cells = new Map<string, Cell>();
  for (const b of boxes) cells.set(b.id, { id: b.id, layer: layer.get(b.id)!, width: b.width, height: b.height, y: 0, before: [], after: [] });
  const chains: Cell[][] = arrows.map((a, i) => {
    if (!real[i]) return [];
    let [u, v] = [cells.get(a.from)!, cells.get(a.to)!];
    if (!forward[i]) [u, v] = [v, u];
    const chain = [u];
    for (let l = u.layer + 1; l < v.layer; l++) {
      const bend: Cell = { id: `~${i}/${l}`, layer: l, width: 0, height: 6, y: 0, before: [], after: [] };
      cells.set(bend.id, bend);
      chain.push(bend);
    }
    chain.push(v);
    for (let k = 1; k < chain.length; k++) {
      chain[k - 1]!.after.push(chain[k]!);
      chain[k]!.before.push(chain[k - 1]!);
    }
    return chain;
  });

  const columns: Cell[][] = [];
  for (const c of cells.values()) (columns[c.layer] ??= []).push(c);
  for (let i = 0; i < columns.length; i++) columns[i] ??= [];
  order(columns);
  place(columns);

  const lefts: number[] = [];
  let x = 0;
  for (const col of columns) {
    lefts.push(x);
    x += Math.max(0, ...col.map((c) => c.width)) + gapX;
  }
  const widest = columns.map((col) => Math.max(0, ...col.map((c) => c.width)));
  const top = Math.min(0, ...[...cells.values()].map((c) => c.y - c.height / 2));
  const nodes = new Map<string, Placed>();
  for (const b of boxes) {
    const c = cells.get(b.id)!;
    nodes.set(b.id, { x: lefts[c.layer]!, y: c.y - c.height / 2 - top, width: c.width, height: c.height });
  }
  const ways = chains.map((chain, i) => {
    if (chain.length === 0) return [];
    const points: [number, number][] = [];
    chain.forEach((c, k) => {
      const n = nodes.get(c.id);
      if (n && k === 0) points.push([n.x + n.width, n.y + n.height / 2]);
      else if (n) points.push([n.x, n.y + n.height / 2]);
      else points.push([lefts[c.layer]!, c.y - top], [lefts[c.layer]! + widest[c.layer]!, c.y - top]);
    });
    return forward[i] ? points : points.reverse();
  });
  const height = Math.max(0, ...[...nodes.values()].map((n) => n.y + n.height));
  return { nodes, arrows: ways, width: Math.max(0, x - gapX), height };
}

/** acyclic tells for each arrow whether it goes forward, so that those that do make no circle. */
function acyclic(boxes: Box[], arrows: Arrow[], real: boolean[]): boolean[] {
  const out = new Map<string, number[]>();
  arrows.forEach((a, i) => {
    if (real[i]) out.set(a.from, [...(out.get(a.from) ?? []), i]);
  });
  const forward = arrows.map(() => true);
  const state = new Map<string, 'open' | 'done'>();
  for (const b of boxes) {
    if (state.has(b.id)) continue;
    const stack: [string, number][] = [[b.id, 0]];
    state.set(b.id, 'open');
    while (stack.length > 0) {
      const top = stack.at(-1)!;
      const i = out.get(top[0])?.[top[1]++];
      if (i === undefined) {
        state.set(top[0], 'done');
        stack.pop();
        continue;
      }
      const to = arrows[i]!.to;
      if (state.get(to) === 'open') forward[i] = false;
      else if (!state.has(to)) {
        state.set(to, 'open');
        stack.push([to, 0]);
      }
    }
  }
  return forward;
}

/** layers puts each node one layer behind the last of those that lead to it. */
function layers(boxes: Box[], arrows: Arrow[], real: boolean[], forward: boolean[]): Map<string, number> {
  const into = new Map<string, string[]>(), from = new Map<string, string[]>(), open = new Map<string, number>();
  arrows.forEach((a, i) => {
    if (!real[i]) return;
    const [u, v] = forward[i] ? [a.from, a.to] : [a.to, a.from];
    from.set(u, [...(from.get(u) ?? []), v]);
    into.set(v, [...(into.get(v) ?? []), u]);
    open.set(v, (open.get(v) ?? 0) + 1);
  });
  const layer = new Map<string, number>();
  const ready = boxes.filter((b) => !open.get(b.id)).map((b) => b.id);
  for (const id of ready) layer.set(id, 0);
  for (let i = 0; i < ready.length; i++) {
    for (const v of from.get(ready[i]!) ?? []) {
      layer.set(v, Math.max(layer.get(v) ?? 0, layer.get(ready[i]!)! + 1));
      open.set(v, open.get(v)! - 1);
      if (open.get(v) === 0) ready.push(v);
    }
  }
  // What nothing leads to stands right before what it leads to.
  for (const b of boxes) {
    const next = from.get(b.id);
    if (!into.get(b.id) && next) layer.set(b.id, Math.max(0, Math.min(...next.map((v) => layer.get(v)!)) - 1));
  }
  return layer;
}

/** order sorts each column by where its neighbours stand, back and forth. */
function order(columns: Cell[][]): void {
  const rank = new Map<Cell, number>();
  const note = (col: Cell[]) => col.forEach((c, i) => rank.set(c, i / Math.max(1, col.length)));
  columns.forEach(note);
  const sort = (col: Cell[], side: 'before' | 'after') => {
    const weight = new Map(col.map((c) => {
      const near = c[side];
      return [c, near.length === 0 ? rank.get(c)! : near.reduce((s, n) => s + rank.get(n)!, 0) / near.length];
    }));
    col.sort((a, b) => weight.get(a)! - weight.get(b)!);
    note(col);
  };
  for (let s = 0; s < sweeps; s++) {
    if (s % 2 === 0) for (let i = 1; i < columns.length; i++) sort(columns[i]!, 'before');
    else for (let i = columns.length - 2; i >= 0; i--) sort(columns[i]!, 'after');
  }
}

/** place gives heights: each cell near its neighbours, none over another. */
function place(columns: Cell[][]): void {
  for (const col of columns) {
    let y = 0;
    for (const c of col) {
      c.y = y + c.height / 2;
      y += c.height + gapY;
    }
    const half = y / 2;
    for (const c of col) c.y -= half;
  }
  for (let s = 0; s < sweeps; s++) {
    const cols = s % 2 === 0 ? columns : [...columns].reverse();
    for (const col of cols) {
      const wish = col.map((c) => {
        const near = [...c.before, ...c.after];
        return near.length === 0 ? c.y : near.reduce((sum, n) => sum + n.y, 0) / near.length;
      });
      settle(col, wish);
    }
  }
}

/** settle puts cells as near to their wishes as their order and size allow. */
function settle(col: Cell[], wish: number[]): void {
  // Blocks of touching cells share the mean of what their cells wish.
  const blocks: { cells: Cell[]; wish: number; height: number }[] = [];
  const offset = (b: { cells: Cell[] }, i: number) => b.cells.slice(0, i).reduce((h, c) => h + c.height + gapY, 0) + b.cells[i]!.height / 2;
  const startOf = (b: { wish: number }) => b.wish;
  col.forEach((c, i) => {
    let block = { cells: [c], wish: wish[i]! - c.height / 2, height: c.height };
    for (let last = blocks.at(-1); last && startOf(last) + last.height + gapY > block.wish; last = blocks.at(-1)) {
      blocks.pop();
      const n = last.cells.length, m = block.cells.length;
      block = { cells: [...last.cells, ...block.cells], wish: (last.wish * n + (block.wish - last.height - gapY) * m) / (n + m), height: last.height + gapY + block.height };
    }
    blocks.push(block);
  });
  for (const b of blocks) b.cells.forEach((c, i) => { c.y = b.wish + offset(b, i); });
}
