// Who is signed in. The header that proves it lives in the tab's session
// storage and goes with the tab; other tabs of the same console may ask for it.

import { computed, signal } from '@preact/signals';
import { duration } from './format';
import { recall, remember } from './prefs';

export interface Permission {
  vhost: string;
  configure: string;
  write: string;
  read: string;
}

export interface User {
  name: string;
  tags: string[];
  /** What its permissions are, if the broker tells. */
  permissions?: Permission[];
}

const storageKey = 'leveret.auth';

export const me = signal<User | undefined>(undefined);
/** notice is why the sign-in page is shown, if there is something to say. */
export const notice = signal('');

/** readOnly hides everything that would change the broker. */
export const readOnly = signal<boolean>(recall('readOnly', false));

export function setReadOnly(on: boolean): void {
  readOnly.value = on;
  remember('readOnly', on || undefined);
}

let header = '';
try {
  header = sessionStorage.getItem(storageKey) ?? '';
} catch {
  // Storage is off: the sign-in lasts as long as the page.
}

/** authorization is the value of the header, or nothing. */
export const authorization = (): string => header;

const tabs = typeof BroadcastChannel === 'function' ? new BroadcastChannel('leveret.auth') : undefined;

function keep(value: string): void {
  header = value;
  try {
    if (value) sessionStorage.setItem(storageKey, value);
    else sessionStorage.removeItem(storageKey);
  } catch {
    // See above.
  }
}

/** basic makes the header for a name and a password, in UTF-8. */
export function basic(name: string, password: string): string {
  const bytes = new TextEncoder().encode(`${name}:${password}`);
  return 'Basic ' + btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(''));
}

/** adopt tries a header: the API's answer decides whether it is kept. */
export async function adopt(value: string, whoami: () => Promise<User>): Promise<void> {
  const before = header;
  header = value;
  try {
    const user = await whoami();
    keep(value);
    notice.value = '';
    me.value = user;
  } catch (err) {
    header = before;
    throw err;
  }
}

/** signedOut forgets the user and says why. */
export function signedOut(why = ''): void {
  keep('');
  notice.value = why;
  me.value = undefined;
}

/** signOut ends the sign-in in every tab. */
export function signOut(why = ''): void {
  signedOut(why);
  tabs?.postMessage({ out: true });
}

/** askTabs gives the header of another tab that is signed in, or nothing. */
export function askTabs(): Promise<string> {
  if (!tabs) return Promise.resolve('');
  return new Promise((resolve) => {
    const late = setTimeout(() => resolve(''), 120);
    tabs.addEventListener('message', function hear(e) {
      if (!e.data?.header) return;
      clearTimeout(late);
      tabs.removeEventListener('message', hear);
      resolve(String(e.data.header));
    });
    tabs.postMessage({ ask: true });
  });
}

tabs?.addEventListener('message', (e) => {
  if (e.data?.ask && header && me.value) tabs.postMessage({ header });
  if (e.data?.out && me.value) signedOut('You signed out in another tab.');
});

const tag = (...names: string[]) => computed(() => names.some((n) => me.value?.tags.includes(n)) ?? false);

export const isAdministrator = tag('administrator');
export const isMonitor = tag('monitoring', 'administrator');
export const isPolicymaker = tag('policymaker', 'administrator');

/** mayAct: changes are offered at all. */
export const mayAct = computed(() => !readOnly.value);
export const mayAdminister = computed(() => mayAct.value && isAdministrator.value);
export const mayMakePolicies = computed(() => mayAct.value && isPolicymaker.value);

/**
 * allowed tells whether the user's permission covers a name. Where the broker
 * does not tell, or its pattern is not ours to read, it decides when asked.
 */
export function allowed(action: 'configure' | 'write' | 'read', vhost: string, name: string): boolean {
  if (action !== 'read' && readOnly.value) return false;
  const all = me.value?.permissions;
  if (!all) return true;
  const p = all.find((p) => p.vhost === vhost);
  if (!p) return false;
  try {
    return new RegExp(p[action] || '^$').test(name || 'amq.default');
  } catch {
    return true;
  }
}

/** watchIdle signs out after minutes without a touch of mouse or key. */
export function watchIdle(minutes: number): () => void {
  let last = Date.now();
  const touch = () => {
    last = Date.now();
  };
  const names = ['pointerdown', 'keydown', 'wheel', 'touchstart'];
  for (const n of names) addEventListener(n, touch, { passive: true, capture: true });
  const timer = setInterval(() => {
    if (Date.now() - last > minutes * 60_000) signOut(`You were signed out after ${duration(minutes * 60_000)} without activity.`);
  }, 5_000);
  return () => {
    clearInterval(timer);
    for (const n of names) removeEventListener(n, touch, { capture: true });
  };
}
