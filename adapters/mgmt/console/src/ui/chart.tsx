// Line charts over time, live and back to a day.

import { signal } from '@preact/signals';
import uPlot from 'uplot';
import { useEffect, useRef } from 'preact/hooks';
import type { Json } from '../lib/api';
import { bytes, rate, short } from '../lib/format';
import { recall, remember } from '../lib/prefs';
import { dark } from './theme';
import { Segments } from './parts';

export interface Series {
  name: string;
  /** Custom property with its colour, without "--". */
  colour: string;
  /** Where the figure is in the data: a "..._details" object with samples, or a number. */
  details: (data: Json) => Json;
  /** The figure itself, where there are no details of it. */
  now?: (data: Json) => number | undefined;
}

/** Ranges back in time: seconds, and between two points. They keep to what a broker samples. */
export const ranges = { '1m': [60, 5], '10m': [600, 5], '1h': [3600, 60], '8h': [28_800, 600], '1d': [86_400, 1800] } as const;
export type Range = keyof typeof ranges;

export const range = signal<Range>(recall<Range>('range', '10m'));

export function RangePicker() {
  return (
    <Segments label="Range of charts" value={range.value} options={[['1m', '1 min'], ['10m', '10 min'], ['1h', '1 h'], ['8h', '8 h'], ['1d', '1 day']]}
      onChange={(r) => {
        range.value = r;
        remember('range', r);
      }} />
  );
}

/** sampled is the query for history of the chosen range, by RabbitMQ's names. */
export function sampled(...kinds: ('lengths' | 'msg_rates' | 'data_rates' | 'node_stats')[]): Record<string, number> {
  const [age, incr] = ranges[range.value];
  return Object.fromEntries(kinds.flatMap((k) => [[`${k}_age`, age], [`${k}_incr`, incr]]));
}

type Points = [number[], number[]];

/** What brokers without history said, so far, by chart and series. */
const heard = new Map<string, Points>();
const heardMax = 1500;

function hear(key: string, v: number): Points {
  const p = heard.get(key) ?? [[], []];
  const now = Date.now() / 1000;
  const last = p[0].at(-1) ?? 0;
  if (now - last > 1.5) {
    p[0].push(now);
    p[1].push(v);
    if (p[0].length > heardMax) {
      p[0].shift();
      p[1].shift();
    }
    if (heard.size > 400) heard.clear();
    heard.set(key, p);
  }
  return p;
}

/** points are a series' moments (s, oldest first) and values. */
function points(key: string, s: Series, data: Json, level: boolean): Points {
  const d = s.details(data);
  const samples: { sample: number; timestamp: number }[] = d?.samples ?? [];
  if (samples.length > 1) {
    const old = [...samples].reverse();
    if (level) return [old.map((x) => x.timestamp / 1000), old.map((x) => x.sample)];
    const t: number[] = [], v: number[] = [];
    for (let i = 1; i < old.length; i++) {
      const dt = (old[i]!.timestamp - old[i - 1]!.timestamp) / 1000;
      if (dt <= 0) continue;
      t.push(old[i]!.timestamp / 1000);
      v.push(Math.max(0, (old[i]!.sample - old[i - 1]!.sample) / dt));
    }
    return [t, v];
  }
  const now = s.now?.(data) ?? (level ? undefined : d?.rate);
  return now === undefined || now === null ? (heard.get(key) ?? [[], []]) : hear(key, Number(now));
}

const units = {
  rate: { axis: short, text: rate },
  level: { axis: short, text: (n: number) => short(n) },
  bytes: { axis: bytes, text: bytes },
  'bytes/s': { axis: bytes, text: (n: number) => `${bytes(n)}/s` },
};

/** Steps of axes of bytes. */
const binary = Array.from({ length: 50 }, (_, i) => 2 ** i);

const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();

/** Chart draws series of data. Its legend tells the figures, also of the moment under the pointer. */
export function Chart({ id, title, unit, series, data, height = 150, age }: {
  id: string; title: string; unit: keyof typeof units; series: Series[]; data: Json; height?: number;
  /** How long (ms) there has been something to draw: samples from before are made up. */
  age?: number;
}) {
  const box = useRef<HTMLDivElement>(null);
  const legend = useRef<HTMLDListElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const level = unit === 'level' || unit === 'bytes';
  const theme = dark.value, r = range.value;
  const names = series.map((s) => s.name).join();
  const format = units[unit];

  useEffect(() => {
    const el = box.current!;
    const grid = { stroke: css('line'), width: 1 };
    const axis = { stroke: css('muted'), grid, ticks: { show: false }, font: '11px system-ui, sans-serif' };
    const said = (u: uPlot) => {
      const i = u.cursor.idx ?? (u.data[0]!.length - 1);
      const cells = legend.current?.querySelectorAll('dd');
      series.forEach((_, k) => {
        const v = u.data[k + 1]?.[i];
        if (cells?.[k]) cells[k]!.textContent = v === undefined || v === null ? '–' : format.text(v);
      });
    };
    const u = new uPlot({
      width: Math.max(200, el.clientWidth), height,
      legend: { show: false },
      cursor: { points: { size: 6 }, drag: { x: false, y: false }, sync: { key: 'time' } },
      padding: [8, 8, 0, 0],
      scales: { x: { range: () => [Date.now() / 1000 - ranges[range.value][0], Date.now() / 1000 - 2] }, y: { range: (_u, _min, max) => [0, max > 0 ? max * 1.12 : 1] } },
      series: [{}, ...series.map((s) => ({ label: s.name, stroke: css(s.colour), width: 1.75, points: { show: false }, fill: series.length === 1 ? css(s.colour) + '18' : undefined, spanGaps: true }))],
      axes: [
        { ...axis, space: 70, size: 24, values: [
          [86400, '{YYYY}-{MM}-{DD}', null, null, null, null, null, null, 1], [3600, '{HH}:{mm}', null, null, null, null, null, null, 1],
          [60, '{HH}:{mm}', null, null, null, null, null, null, 1], [1, '{HH}:{mm}:{ss}', null, null, null, null, null, null, 1],
        ] },
        { ...axis, size: 58, space: 32, incrs: unit.startsWith('bytes') ? binary : undefined, values: (_u, all) => all.map((v) => format.axis(v)) },
      ],
      hooks: { setCursor: [said], setData: [said] },
    }, [[]], el);
    plot.current = u;
    const size = new ResizeObserver(() => {
      if (el.clientWidth > 0) u.setSize({ width: el.clientWidth, height });
    });
    size.observe(el);
    return () => {
      size.disconnect();
      u.destroy();
    };
  }, [names, unit, height, theme]);

  useEffect(() => {
    if (!data || !plot.current) return;
    const all = series.map((s) => points(`${id}/${s.name}`, s, data, level));
    const moments = [...new Set(all.flatMap((p) => p[0]))].sort((a, b) => a - b);
    const since = Date.now() / 1000 - Math.min(ranges[r][0] + 2 * ranges[r][1], (age ?? Infinity) / 1000);
    const t = moments.filter((m) => m >= since);
    const columns = all.map(([ts, vs]) => {
      const byTime = new Map(ts.map((m, i) => [m, vs[i]!]));
      return t.map((m) => byTime.get(m) ?? null);
    });
    plot.current.setData([t, ...columns] as uPlot.AlignedData);
  }, [data, names, unit, theme, r, age === undefined]);

  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <dl ref={legend} class="legend">
        {series.map((s) => <div key={s.name}><dt><i style={{ background: `var(--${s.colour})` }} aria-hidden="true" />{s.name}</dt><dd>–</dd></div>)}
      </dl>
      <div ref={box} class="plot" role="img" aria-label={`${title} over time`} style={{ height: `${height}px` }} />
    </figure>
  );
}

/** Figures that many objects have. */
const stat = (name: string) => (d: Json) => d?.message_stats?.[name + '_details'];
export const messageRates: Series[] = [
  { name: 'Published', colour: 'c-publish', details: stat('publish') },
  { name: 'Delivered', colour: 'c-deliver', details: stat('deliver_get') },
  { name: 'Acked', colour: 'c-ack', details: stat('ack') },
  { name: 'Redelivered', colour: 'c-redeliver', details: stat('redeliver') },
];
const total = (name: string, of: (d: Json) => Json) => ({ details: (d: Json) => of(d)?.[name + '_details'], now: (d: Json) => of(d)?.[name] as number | undefined });
export const depths = (of: (d: Json) => Json): Series[] => [
  { name: 'Ready', colour: 'c-ready', ...total('messages_ready', of) },
  { name: 'Unacked', colour: 'c-unacked', ...total('messages_unacknowledged', of) },
  { name: 'Total', colour: 'c-total', ...total('messages', of) },
];
export const traffic: Series[] = [
  { name: 'From client', colour: 'c-publish', details: (d) => d?.recv_oct_details },
  { name: 'To client', colour: 'c-deliver', details: (d) => d?.send_oct_details },
];
