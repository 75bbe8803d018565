// Dialogs: one at a time, over the page, keyboard kept inside by <dialog>.

import { signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { route } from '../lib/router';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Button, Failure } from './parts';
import { Icon } from './icons';

const current = signal<{ id: number; body: ComponentChildren } | undefined>(undefined);
let next = 1;
/** What had the focus before the dialog. */
let back: HTMLElement | undefined;

export const openDialog = (body: ComponentChildren): void => {
  if (!current.value) back = document.activeElement as HTMLElement | null ?? undefined;
  current.value = { id: next++, body };
};
export const closeDialog = (): void => {
  // Closed at once, not when it is drawn again: what is under an open dialog cannot have the focus.
  document.querySelector<HTMLDialogElement>('dialog.dialog[open]')?.close();
  back?.focus();
  back = undefined;
  current.value = undefined;
};

export function Dialogs() {
  const d = current.value;
  const here = route.value.parts.join('/');
  // Whoever goes to another page leaves the dialog behind.
  useEffect(() => closeDialog, [here]);
  return d ? <Frame key={d.id}>{d.body}</Frame> : null;
}

function Frame({ children }: { children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    ref.current!.showModal();
    (ref.current!.querySelector<HTMLElement>('[autofocus], input:not([type=hidden]), textarea, select') ?? ref.current!.querySelector<HTMLElement>('footer button'))?.focus();
  }, []);
  return <dialog ref={ref} class="dialog" onCancel={(e) => { e.preventDefault(); closeDialog(); }}>{children}</dialog>;
}

/** Ask is a dialog that ends in an act or not. What fails is said in it. */
export function Ask({ title, act, children, verb, danger, disabled, wide, stay, told, done }: {
  title: string; verb: string; children: ComponentChildren; danger?: boolean; disabled?: boolean; wide?: boolean;
  /** Stays open when it is done: its content then shows what came of it. */
  stay?: boolean;
  /** It is done already, or goes on anyhow: there is nothing to cancel. */
  told?: boolean;
  /** Does it; a rejection keeps the dialog open and is shown. */
  act: () => Promise<unknown>;
  done?: () => void;
}) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  return (
    <form class={wide ? 'ask wide' : 'ask'} onSubmit={(e) => {
      e.preventDefault();
      if (busy) return;
      setBusy(true);
      setError(undefined);
      act().then(() => {
        if (stay) setBusy(false);
        else closeDialog();
        done?.();
      }, (err) => {
        setBusy(false);
        setError(err);
      });
    }}>
      <header>
        <h2>{title}</h2>
        <button type="button" class="button quiet only-icon" aria-label="Close" onClick={closeDialog}><Icon name="close" /></button>
      </header>
      <div class="body">
        {children}
        {error !== undefined && <Failure error={error} />}
      </div>
      <footer>
        {!told && <Button onClick={closeDialog}>Cancel</Button>}
        <Button type="submit" kind={danger ? 'danger' : 'primary'} disabled={busy || disabled}>{busy ? 'Working…' : verb}</Button>
      </footer>
    </form>
  );
}

/** confirmAct names what will be lost and asks before it does it. */
export function confirmAct(o: { title: string; verb: string; lost: ComponentChildren; act: () => Promise<unknown>; done?: () => void; type?: string }): void {
  openDialog(<Confirm {...o} />);
}

function Confirm({ title, verb, lost, act, done, type }: { title: string; verb: string; lost: ComponentChildren; act: () => Promise<unknown>; done?: () => void; type?: string }) {
  const [typed, setTyped] = useState('');
  return (
    <Ask title={title} verb={verb} danger act={act} done={done} disabled={type !== undefined && typed !== type}>
      <div class="lost">{lost}</div>
      {type !== undefined && (
        <label class="field"><span>Type <b class="mono">{type}</b> to go on</span>
          <input value={typed} autocomplete="off" spellcheck={false} onInput={(e) => setTyped(e.currentTarget.value)} /></label>
      )}
    </Ask>
  );
}
