// Light or dark: what the system says, unless the user says otherwise.

import { signal } from '@preact/signals';
import { recall, remember } from '../lib/prefs';

export type Theme = 'system' | 'light' | 'dark';

export const theme = signal<Theme>(recall<Theme>('theme', 'system'));
/** dark is what is shown. Charts read their colours again when it changes. */
export const dark = signal(false);

const system = matchMedia('(prefers-color-scheme: dark)');

function apply(): void {
  const now = theme.value === 'dark' || (theme.value === 'system' && system.matches);
  document.documentElement.dataset.theme = now ? 'dark' : 'light';
  dark.value = now;
}

export function setTheme(t: Theme): void {
  theme.value = t;
  remember('theme', t === 'system' ? undefined : t);
  apply();
}

system.addEventListener('change', apply);
apply();
