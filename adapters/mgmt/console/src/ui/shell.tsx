// What stands around every page: navigation, virtual host, alarms, the user.

import { signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import type { Json } from '../lib/api';
import { useLive, paused, reachable } from '../lib/live';
import { href, route, setQuery, vhost, vhosts } from '../lib/router';
import { me, readOnly, setReadOnly, signOut } from '../lib/session';
import { alarmsPath, readAlarms } from '../lib/alarms';
import { Hare, Icon, type IconName } from './icons';
import { entries, groups, linkTo } from './menu';
import { lightDismiss } from './parts';
import { openPalette } from './palette';
import { setTheme, theme, type Theme } from './theme';


/** Pages that stand under another's entry. */
const alias: Record<string, string> = { 'operator-policies': 'policies', nodes: 'node' };

const menuOpen = signal(false);

export function Shell({ children }: { children: ComponentChildren }) {
  const here = route.value.parts[0] || 'overview';
  useEffect(() => {
    menuOpen.value = false;
  }, [route.value]);
  return (
    <div class={menuOpen.value ? 'shell menu-open' : 'shell'}>
      <a class="skip" href="#main" onClick={(e) => {
        e.preventDefault();
        document.querySelector<HTMLElement>('#main')?.focus();
      }}>To the content</a>
      <nav class="side" aria-label="Pages" id="side">
        <a class="brand" href="#/overview"><Hare /><span>Leveret</span></a>
        <div class="groups">
          {groups.map(([title, all]) => {
            const shown = all.filter((e) => e.may?.() ?? true);
            return shown.length > 0 && (
              <div key={title} class="group">
                {title && <h2>{title}</h2>}
                <ul>
                  {shown.map((e) => (
                    <li key={e.page}><a href={linkTo(e)} aria-current={here === e.page || (alias[here] ?? '') === e.page ? 'page' : undefined}><Icon name={e.icon} />{e.name}</a></li>
                  ))}
                </ul>
              </div>
            );
          })}
        </div>
      </nav>
      <div class="veil" onClick={() => { menuOpen.value = false; }} />
      <div class="rest">
        <header class="top">
          <button type="button" class="button quiet only-icon burger" aria-label="Pages" aria-expanded={menuOpen.value} aria-controls="side" onClick={() => { menuOpen.value = !menuOpen.value; }}><Icon name="menu" /></button>
          <VHostPicker />
          <button type="button" class="find" onClick={openPalette} aria-keyshortcuts="Control+K Meta+K"><Icon name="search" size={14} /><span>Find or do…</span><kbd>Ctrl K</kbd></button>
          <span class="spring" />
          <Alarm />
          <Pulse />
          <UserMenu />
        </header>
        <main id="main" tabIndex={-1}>{children}</main>
      </div>
    </div>
  );
}

function VHostPicker() {
  const { data } = useLive<Json[]>('/vhosts?columns=name', 30);
  useEffect(() => {
    if (data) vhosts.value = data.map((v) => v.name as string);
  }, [data]);
  const names = [...vhosts.value];
  const now = vhost.value;
  if (now && !names.includes(now)) names.push(now);
  const page = route.value.parts;
  const scoped = entries().find((e) => e.page === (page[0] || 'overview'))?.scoped;
  return (
    <label class="vhost" title="Virtual host that lists show">
      <span>vhost</span>
      <select aria-label="Virtual host" value={now} disabled={!scoped} onChange={(e) => {
        const v = e.currentTarget.value;
        if (page.length > 1) location.hash = href([page[0]!], { vhost: v });
        else setQuery({ vhost: v, page: undefined }, true);
      }}>
        <option value="">all</option>
        {names.map((n) => <option key={n} value={n}>{n}</option>)}
      </select>
    </label>
  );
}

function Alarm() {
  const { data, error } = useLive(alarmsPath.value, 15);
  const alarms = readAlarms(data, error);
  if (alarms.length === 0) return null;
  return <a class="alarm" href="#/overview"><Icon name="warn" size={14} />{alarms.length === 1 ? alarms[0]!.title : `${alarms.length} alarms`}</a>;
}

/** Pulse tells whether what is shown is current, and holds it still. */
function Pulse() {
  const state = !reachable.value ? 'lost' : paused.value ? 'paused' : 'live';
  return (
    <button type="button" class={`pulse ${state}`} aria-pressed={paused.value} title={state === 'lost' ? 'The broker does not answer; trying again' : paused.value ? 'Figures are held still. Go on.' : 'Figures follow the broker. Hold them still.'}
      onClick={() => { paused.value = !paused.value; }}>
      <i aria-hidden="true" /><span>{state === 'lost' ? 'No answer' : state === 'paused' ? 'Paused' : 'Live'}</span>
    </button>
  );
}

function UserMenu() {
  const user = me.value!;
  const choices: [Theme, string, IconName][] = [['system', 'As the system', 'auto'], ['light', 'Light', 'sun'], ['dark', 'Dark', 'moon']];
  return (
    <details class="menu user" onToggle={lightDismiss}>
      <summary class="button quiet" aria-label={`User ${user.name}`}>{readOnly.value && <Icon name="lock" />}<Icon name="user" /><span class="name">{user.name}</span><Icon name="down" size={12} /></summary>
      <div class="choices">
        <p class="muted">{user.tags.join(', ') || 'no tags'}</p>
        <div class="themes" role="radiogroup" aria-label="Theme">
          {choices.map(([t, name, icon]) => <button key={t} type="button" role="radio" aria-checked={theme.value === t} title={name} aria-label={name} onClick={() => setTheme(t)}><Icon name={icon} /></button>)}
        </div>
        <label title="Hide everything that changes the broker"><input type="checkbox" checked={readOnly.value} onChange={(e) => setReadOnly(e.currentTarget.checked)} />Read-only</label>
        <button type="button" class="link" onClick={() => signOut()}><Icon name="out" size={14} />Sign out</button>
      </div>
    </details>
  );
}
