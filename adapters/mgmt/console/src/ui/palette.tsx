// Ctrl-K: go to any page or object, or do something, by typing part of its name.

import { signal } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import { api, withQuery, type Json } from '../lib/api';
import { exchangeName } from '../lib/format';
import { paused } from '../lib/live';
import { go, route, to } from '../lib/router';
import { me, readOnly, setReadOnly, signOut } from '../lib/session';
import { Icon, type IconName } from './icons';
import { entries, linkTo } from './menu';
import { dark, setTheme } from './theme';

interface Hit {
  name: string;
  kind: string;
  icon: IconName;
  act: () => void;
}

const shown = signal(false);

export const openPalette = (): void => {
  shown.value = true;
};

addEventListener('keydown', (e) => {
  if ((e.ctrlKey || e.metaKey) && !e.shiftKey && !e.altKey && e.key.toLowerCase() === 'k' && me.value) {
    e.preventDefault();
    shown.value = !shown.value;
  } else if (e.key === '/' && !shown.value && !(e.target as HTMLElement).closest('input, textarea, select, dialog')) {
    const filter = document.querySelector<HTMLElement>('[data-filter]');
    if (filter) {
      e.preventDefault();
      filter.focus();
    }
  }
});

function commands(): Hit[] {
  return [
    ...entries().map((e): Hit => ({ name: e.name, kind: 'Page', icon: e.icon, act: () => go(linkTo(e)) })),
    { name: dark.value ? 'Light theme' : 'Dark theme', kind: 'Do', icon: dark.value ? 'sun' : 'moon', act: () => setTheme(dark.value ? 'light' : 'dark') },
    { name: paused.value ? 'Follow figures' : 'Hold figures still', kind: 'Do', icon: 'pause', act: () => { paused.value = !paused.value; } },
    { name: readOnly.value ? 'Allow changes' : 'Read-only', kind: 'Do', icon: 'lock', act: () => setReadOnly(!readOnly.value) },
    { name: 'Sign out', kind: 'Do', icon: 'out', act: () => signOut() },
  ];
}

/** fits: the letters of text occur in name, in order; the lower, the better. */
function fits(name: string, text: string): number {
  const n = name.toLowerCase(), t = text.toLowerCase();
  const at = n.indexOf(t);
  if (at >= 0) return at;
  let i = 0;
  for (const ch of n) if (ch === t[i]) i++;
  return i === t.length ? 100 : -1;
}

const objects: { path: string; kind: string; icon: IconName; hit: (r: Json) => { name: string; href: string } }[] = [
  { path: '/queues', kind: 'Queue', icon: 'queue', hit: (r) => ({ name: r.name, href: to.queue(r.vhost, r.name) }) },
  { path: '/exchanges', kind: 'Exchange', icon: 'exchange', hit: (r) => ({ name: exchangeName(r.name), href: to.exchange(r.vhost, r.name) }) },
  { path: '/connections', kind: 'Connection', icon: 'connection', hit: (r) => ({ name: r.user_provided_name ? `${r.user_provided_name} (${r.name})` : r.name, href: to.connection(r.name) }) },
];

export function Palette() {
  const here = route.value.parts.join('/');
  useEffect(() => () => { shown.value = false; }, [here]);
  return shown.value ? <Open /> : null;
}

function Open() {
  const box = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState('');
  const [found, setFound] = useState<Hit[]>([]);
  const [at, setAt] = useState(0);
  const close = () => {
    shown.value = false;
  };
  useEffect(() => {
    const back = document.activeElement as HTMLElement | null;
    box.current!.showModal();
    return () => back?.focus?.();
  }, []);
  useEffect(() => {
    setAt(0);
    const t = text.trim();
    if (t === '') {
      setFound([]);
      return;
    }
    const end = new AbortController();
    const timer = setTimeout(() => {
      void Promise.all(objects.map(async (o) => {
        try {
          const page = await api.get(withQuery(o.path, { page: 1, page_size: 6, name: t, columns: 'name,vhost,user_provided_name' }), end.signal);
          return (page.items as Json[]).map((r): Hit => {
            const { name, href } = o.hit(r);
            return { name, kind: r.vhost && r.vhost !== '/' ? `${o.kind} in ${r.vhost}` : o.kind, icon: o.icon, act: () => go(href) };
          });
        } catch {
          return []; // What cannot be asked is not offered.
        }
      })).then((all) => {
        if (!end.signal.aborted) setFound(all.flat());
      });
    }, 120);
    return () => {
      clearTimeout(timer);
      end.abort();
    };
  }, [text]);

  const t = text.trim();
  const pages = commands().map((h) => [t ? fits(h.name, t) : 0, h] as const).filter(([n]) => n >= 0).sort((a, b) => a[0] - b[0]).map(([, h]) => h);
  const hits = [...pages.slice(0, t ? 6 : 40), ...found];
  const now = Math.min(at, hits.length - 1);
  const take = (h: Hit | undefined) => {
    if (!h) return;
    close();
    h.act();
  };
  useEffect(() => {
    document.getElementById(`hit-${now}`)?.scrollIntoView({ block: 'nearest' });
  }, [now]);
  return (
    <dialog ref={box} class="palette" aria-label="Find or do" onCancel={(e) => { e.preventDefault(); close(); }} onClick={(e) => { if (e.target === box.current) close(); }}>
      <div class="entry">
        <Icon name="search" />
        <input autofocus value={text} placeholder="Page, queue, exchange, connection, or something to do" aria-label="Find or do" role="combobox" aria-expanded="true" aria-controls="hits" aria-activedescendant={hits.length ? `hit-${now}` : undefined}
          autocomplete="off" spellcheck={false} onInput={(e) => setText(e.currentTarget.value)}
          onKeyDown={(e) => {
            if (e.key === 'ArrowDown') setAt((now + 1) % Math.max(1, hits.length));
            else if (e.key === 'ArrowUp') setAt((now + hits.length - 1) % Math.max(1, hits.length));
            else if (e.key === 'Enter') take(hits[now]);
            else return;
            e.preventDefault();
          }} />
      </div>
      <div role="listbox" id="hits" aria-label="Found">
        {hits.map((h, i) => (
          <div key={h.kind + h.name + i} id={`hit-${i}`} role="option" aria-selected={i === now} onPointerMove={() => setAt(i)} onClick={() => take(h)}>
            <Icon name={h.icon} /><span class="what">{h.name}</span><span class="kind">{h.kind}</span>
          </div>
        ))}
        {hits.length === 0 && <p class="muted">Nothing of that name.</p>}
      </div>
    </dialog>
  );
}
