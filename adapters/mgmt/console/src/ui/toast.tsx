// Short news at the edge of the page: done, or not done and why.

import { signal } from '@preact/signals';
import { advice } from '../lib/api';
import { Icon } from './icons';

interface Toast {
  id: number;
  text: string;
  bad: boolean;
}

const toasts = signal<Toast[]>([]);
let next = 1;

function show(text: string, bad: boolean): void {
  const id = next++;
  toasts.value = [...toasts.value.slice(-3), { id, text, bad }];
  setTimeout(() => drop(id), bad ? 12_000 : 5_000);
}

const drop = (id: number) => {
  toasts.value = toasts.value.filter((t) => t.id !== id);
};

/** say tells of something done. */
export const say = (text: string): void => show(text, false);
/** complain tells of something that failed and what to do. */
export const complain = (err: unknown): void => show(advice(err), true);

export function Toasts() {
  return (
    <div class="toasts" aria-live="polite">
      {toasts.value.map((t) => (
        <div key={t.id} class={t.bad ? 'toast bad' : 'toast'} role={t.bad ? 'alert' : 'status'}>
          <Icon name={t.bad ? 'warn' : 'check'} />
          <span>{t.text}</span>
          <button type="button" aria-label="Dismiss" onClick={() => drop(t.id)}><Icon name="close" size={12} /></button>
        </div>
      ))}
    </div>
  );
}
