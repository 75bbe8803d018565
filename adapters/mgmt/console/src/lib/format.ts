// Numbers, sizes and times as people read them.

const thin = '\u202f';
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

/** count shows a whole number with thin spaces between thousands. */
export function count(n: number | undefined | null): string {
  if (n === undefined || n === null || !Number.isFinite(n)) return '–';
  return whole.format(n).replaceAll(',', thin);
}

/** short shows a number in at most five characters, for axes and tiles. */
export function short(n: number): string {
  const a = Math.abs(n);
  if (a < 10 && a % 1 !== 0) return n.toFixed(a < 1 ? 2 : 1);
  if (a < 10_000) return count(Math.round(n));
  for (const [unit, size] of [['G', 1e9], ['M', 1e6], ['k', 1e3]] as const) {
    if (a >= size) return `${(n / size).toFixed(a / size < 100 ? 1 : 0)}${thin}${unit}`;
  }
  return count(n);
}

/** rate shows how often a second something happens. */
export function rate(n: number | undefined | null): string {
  if (n === undefined || n === null || !Number.isFinite(n)) return '–';
  if (n === 0) return '0/s';
  return `${short(n)}/s`;
}

/** bytes shows a size in binary units. */
export function bytes(n: number | undefined | null): string {
  if (n === undefined || n === null || !Number.isFinite(n)) return '–';
  let i = 0;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  while (Math.abs(n) >= 1024 && i < units.length - 1) {
    n /= 1024;
    i++;
  }
  return `${i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)}${thin}${units[i]}`;
}

/** duration shows how long ms are, by their two largest units. */
export function duration(ms: number | undefined | null): string {
  if (ms === undefined || ms === null || !Number.isFinite(ms)) return '–';
  if (ms < 1000) return `${Math.round(ms)}${thin}ms`;
  const parts: string[] = [];
  let s = Math.floor(ms / 1000);
  for (const [unit, size] of [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]] as const) {
    const n = Math.floor(s / size);
    s -= n * size;
    if (n > 0) parts.push(`${n}${thin}${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(' ') || `0${thin}s`;
}

/** time shows a moment (ms since 1970) in the browser's zone. */
export function time(ms: number | undefined | null): string {
  if (!ms) return '–';
  const d = new Date(ms);
  const two = (n: number) => String(n).padStart(2, '0');
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

/** ago shows how long since a moment (ms since 1970). */
export function ago(ms: number | undefined | null): string {
  if (!ms) return '–';
  const d = Date.now() - ms;
  return d < 1000 ? 'just now' : d < 0 ? `in ${duration(-d)}` : `${duration(d)} ago`;
}

/** plural counts things: plural(1, "queue") is "1 queue". */
export const plural = (n: number, one: string, many = one + 's'): string => `${count(n)}${'\u00a0'}${n === 1 ? one : many}`;

/** exchangeName names the exchange that has no name. */
export const exchangeName = (name: string): string => name || '(default)';

/** value shows anything of JSON on one line. */
export function value(v: unknown): string {
  if (typeof v === 'string') return v;
  if (v === null || v === undefined) return '';
  return JSON.stringify(v);
}
