// What the console knows without a browser: run by bundle_test.go with
//
//	node --test lib_test.mjs

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { build } from 'esbuild';

/** load bundles one file of src and gives what it exports. */
async function load(path) {
  const { outputFiles } = await build({ entryPoints: [path], bundle: true, write: false, format: 'esm', logLevel: 'error' });
  return import('data:text/javascript;base64,' + Buffer.from(outputFiles[0].contents).toString('base64'));
}

const { mergePatch, RowSet } = await load('src/lib/patch.ts');
const { layout } = await load('src/lib/layout.ts');
const { effective } = await load('src/lib/settings.ts');
const { bytes, count, duration, rate } = await load('src/lib/format.ts');
const { events } = await load('src/lib/sse.ts');

test('a merge patch changes, adds and removes, and leaves its argument alone', () => {
  const old = { a: 1, b: { c: 2, d: [1] }, e: 5 };
  assert.deepEqual(mergePatch(old, { a: 2, b: { c: null, x: 'y' }, e: null, f: {} }), { a: 2, b: { d: [1], x: 'y' }, f: {} });
  assert.deepEqual(old, { a: 1, b: { c: 2, d: [1] }, e: 5 });
  assert.deepEqual(mergePatch([1, 2], { a: 1 }), { a: 1 });
  assert.equal(mergePatch({ a: 1 }, 7), 7);
});

test('a list follows changes of its rows by the names it hears first', () => {
  const rows = RowSet.of({ items: [{ name: 'a', n: 1 }, { name: 'b', n: 2 }], total_count: 2 });
  assert.deepEqual(rows.apply({ order: ['/|a', '/|b'], changed: {}, total_count: 2 }), { items: [{ name: 'a', n: 1 }, { name: 'b', n: 2 }], total_count: 2 });
  assert.deepEqual(rows.apply({ order: ['/|c', '/|a'], changed: { '/|c': { name: 'c', n: 3 }, '/|a': { n: 9 } }, total_count: 5 }), { items: [{ name: 'c', n: 3 }, { name: 'a', n: 9 }], total_count: 5 });
  // One that we never heard of: what came before was missed.
  assert.equal(rows.apply({ order: ['/|a', '/|d'], changed: {} }), undefined);
  assert.equal(RowSet.of({ name: 'no list' }), undefined);
  assert.deepEqual(RowSet.of([{ x: 1 }]).apply({ order: ['k'], changed: { k: { x: 2 } } }), [{ x: 2 }]);
});

test('events are read however they are cut', async () => {
  const text = ': hello\n\nevent: full\ndata: {"a":\ndata: 1}\n\ndata: tail ä\r\n\r\n';
  for (const size of [1, 3, 7, 1000]) {
    const raw = new TextEncoder().encode(text);
    const body = new ReadableStream({
      start(c) {
        for (let i = 0; i < raw.length; i += size) c.enqueue(raw.slice(i, i + size));
        c.close();
      },
    });
    const got = [];
    for await (const e of events(new Response(body))) got.push(e);
    assert.deepEqual(got, [{ name: 'full', data: '{"a":\n1}' }, { name: 'message', data: 'tail ä' }], `in parts of ${size}`);
  }
});

test('of an argument and a policy the one counts that the broker goes by', () => {
  const q = { type: 'classic', arguments: { 'x-message-ttl': 1000, 'x-overflow': 'drop-head', 'x-delivery-limit': -1 }, policy: 'p', effective_policy_definition: { 'message-ttl': 5000, overflow: 'reject-publish', 'delivery-limit': 3, 'max-length': 7 } };
  const by = Object.fromEntries(effective(q).map((e) => [e.setting.key, [e.value, e.origin]]));
  assert.deepEqual(by, { 'message-ttl': [1000, 'argument'], overflow: ['drop-head', 'argument'], 'delivery-limit': [3, 'policy p'], 'max-length': [7, 'policy p'] });
});

test('no node of a picture lies over another, and arrows lead to the right', () => {
  let seed = 7;
  const random = (n) => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % n;
  for (let round = 0; round < 20; round++) {
    const boxes = Array.from({ length: 5 + random(80) }, (_, i) => ({ id: String(i), width: 100, height: 30 }));
    const arrows = Array.from({ length: random(150) }, () => ({ from: String(random(boxes.length)), to: String(random(boxes.length + 1)) }));
    const l = layout(boxes, arrows);
    const placed = [...l.nodes.values()];
    assert.equal(placed.length, boxes.length);
    for (const a of placed) {
      assert.ok(Number.isFinite(a.x) && Number.isFinite(a.y) && a.x >= 0 && a.y >= -1e-6 && a.x + a.width <= l.width + 1e-6 && a.y + a.height <= l.height + 1e-6);
      for (const b of placed) assert.ok(a === b || a.x !== b.x || a.y + a.height <= b.y + 1e-6 || b.y + b.height <= a.y + 1e-6, `round ${round}: two nodes in one place`);
    }
    assert.equal(l.arrows.length, arrows.length);
  }
  const chain = layout(['a', 'b', 'c'].map((id) => ({ id, width: 10, height: 10 })), [{ from: 'a', to: 'b' }, { from: 'b', to: 'c' }, { from: 'c', to: 'a' }]);
  assert.ok(chain.nodes.get('a').x < chain.nodes.get('b').x && chain.nodes.get('b').x < chain.nodes.get('c').x);
});

test('figures are short and say their unit', () => {
  const plain = (s) => s.replaceAll(/[\u202f\u00a0]/g, ' ');
  assert.deepEqual([count(1234567), bytes(1536), bytes(0), rate(0), rate(12345), duration(93_784_000), duration(250), count(undefined)].map(plain), ['1 234 567', '1.5 KiB', '0 B', '0/s', '12.3 k/s', '1 d 2 h', '250 ms', '–']);
});
