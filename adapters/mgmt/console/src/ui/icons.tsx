// Icons are drawn on a grid of 16 with a line of 1.5, in the colour of the text.

const paths = {
  overview: 'M2 13V8m4 5V3m4 10V6m4 7V9',
  map: 'M4 4.5a1.5 1.5 0 1 0 0-.01M12 4a1.5 1.5 0 1 0 0-.01M12 12.5a1.5 1.5 0 1 0 0-.01M5.5 4.5h5M5 5.6l6 5.8',
  route: 'M3 13V9a3 3 0 0 1 3-3h7M10 3l3 3-3 3',
  queue: 'M2.5 4h11M2.5 8h11M2.5 12h7',
  exchange: 'M2 5h10M9 2l3 3-3 3M14 11H4m3 3-3-3 3-3',
  binding: 'M6.5 9.5l3-3M7 5l1.5-1.5a2.8 2.8 0 0 1 4 4L11 9M9 11l-1.5 1.5a2.8 2.8 0 0 1-4-4L5 7',
  dead: 'M3 5h10M6 5V3h4v2M4.5 5l.6 8h5.8l.6-8M7 8v3m2-3v3',
  tail: 'M2 11l3-4 2.5 2.5L11 4l3 3',
  connection: 'M5 2v4M11 2v4M3 6h10v2a5 5 0 0 1-10 0zM8 13v2',
  channel: 'M2 6c2-3 4 3 6 0s4 3 6 0M2 11c2-3 4 3 6 0s4 3 6 0',
  consumer: 'M13 3H7v10h6M2 8h7M6.5 5.5 9 8l-2.5 2.5',
  client: 'M5 2h6v12H5zM7.5 12h1',
  retained: 'M4 2h8v12l-4-3-4 3z',
  subscription: 'M3 13a10 10 0 0 1 10-10M3 13a5 5 0 0 1 5-5M3 13h.5',
  user: 'M8 8a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM2.5 14c.6-2.6 2.8-4 5.5-4s4.9 1.4 5.5 4',
  vhost: 'M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.5M5 11h.5',
  policy: 'M8 2l5 2v4c0 3-2 5-5 6-3-1-5-3-5-6V4zM6 8l1.5 1.5L10.5 6.5',
  limit: 'M2.5 12a5.5 5.5 0 1 1 11 0M8 12l2.5-4',
  definitions: 'M4 2h5l3 3v9H4zM9 2v3h3M6 8h4M6 11h4',
  shovel: 'M2 14l5-5M9.5 2.5l4 4-3 3.5-4.5-4.5z',
  audit: 'M3 3h10v10H3zM5.5 6h5M5.5 8.5h5M5.5 11h3',
  flag: 'M4 14V2.5h8l-2 3 2 3H4',
  node: 'M4 4h8v8H4zM6 2v2M10 2v2M6 12v2M10 12v2M2 6h2M2 10h2M12 6h2M12 10h2',
  search: 'M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.7 10.7 14 14',
  sun: 'M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1',
  moon: 'M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5z',
  auto: 'M8 2v12A6 6 0 0 1 8 2zM8 2a6 6 0 0 1 0 12',
  menu: 'M2.5 4h11M2.5 8h11M2.5 12h11',
  close: 'M3.5 3.5l9 9M12.5 3.5l-9 9',
  down: 'M4 6l4 4 4-4',
  right: 'M6 4l4 4-4 4',
  left: 'M10 4 6 8l4 4',
  up: 'M4 10l4-4 4 4',
  plus: 'M8 3v10M3 8h10',
  check: 'M3 8.5 6.5 12 13 4.5',
  warn: 'M8 2l6.5 11.5h-13zM8 6.5v3.5M8 12v.1',
  info: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 7.5V11M8 5v.1',
  columns: 'M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10',
  refresh: 'M13 5a5.5 5.5 0 1 0 .5 4M13.5 2v3.5H10',
  pause: 'M5.5 3v10M10.5 3v10',
  play: 'M4.5 3l8 5-8 5z',
  lock: 'M4 7h8v6.5H4zM5.5 7V5a2.5 2.5 0 0 1 5 0v2',
  out: 'M6.5 2.5H3v11h3.5M7 8h7M11 5l3 3-3 3',
  copy: 'M5.5 5.5h8v8h-8zM3.5 10.5h-1v-8h8v1',
  more: 'M3.5 8h.1M8 8h.1M12.5 8h.1',
  send: 'M14 2 2 7l5 2 2 5zM7 9l3-3',
  fit: 'M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10',
  minus: 'M3 8h10',
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}

/** Hare is the broker's mark: two ears and a face. */
export function Hare({ size = 22 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="var(--accent)" />
      <path d="M10 4c-3 4-2 9 0 12-2 2-3 4-3 6 0 4 4 6 9 6s9-2 9-6c0-2-1-4-3-6 2-3 3-8 0-12-2 2-4 6-4 10h-4c0-4-2-8-4-10z" fill="var(--on-accent)" />
    </svg>
  );
}
