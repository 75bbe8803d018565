// Small parts that every page is made of.

import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { advice, ApiError } from '../lib/api';
import { Icon, type IconName } from './icons';

export type Tone = 'plain' | 'ok' | 'warn' | 'bad' | 'info' | 'accent';

/** Badge is a word about a thing's kind or state. */
export function Badge({ tone = 'plain', title, children }: { tone?: Tone; title?: string; children: ComponentChildren }) {
  return <span class={`badge ${tone}`} title={title}>{children}</span>;
}

/** Dot is a state as a colour; its word stands beside it. */
export function State({ tone, children }: { tone: Tone; children: ComponentChildren }) {
  return <span class={`state ${tone}`}><i aria-hidden="true" />{children}</span>;
}

interface ButtonProps {
  onClick?: (e: MouseEvent) => void;
  icon?: IconName;
  kind?: 'plain' | 'primary' | 'danger' | 'quiet';
  disabled?: boolean;
  title?: string;
  type?: 'button' | 'submit';
  pressed?: boolean;
  children?: ComponentChildren;
}

export function Button({ onClick, icon, kind = 'plain', disabled, title, type = 'button', pressed, children }: ButtonProps) {
  return (
    <button type={type} class={`button ${kind}${children ? '' : ' only-icon'}`} onClick={onClick} disabled={disabled} title={title} aria-label={children ? undefined : title} aria-pressed={pressed}>
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

/** Stat is one figure with its name, and perhaps a line more. */
export function Stat({ name, value, note, tone, href }: { name: string; value: ComponentChildren; note?: ComponentChildren; tone?: Tone; href?: string }) {
  const inner = (
    <>
      <dt>{name}</dt>
      <dd class={tone}>{value}</dd>
      {note !== undefined && <dd class="note">{note}</dd>}
    </>
  );
  return href ? <a class="stat" href={href}><dl>{inner}</dl></a> : <div class="stat"><dl>{inner}</dl></div>;
}

export const Stats = ({ children }: { children: ComponentChildren }) => <div class="stats">{children}</div>;

/** Panel is a titled part of a page. */
export function Panel({ title, aside, children, flush }: { title?: ComponentChildren; aside?: ComponentChildren; children: ComponentChildren; flush?: boolean }) {
  return (
    <section class={flush ? 'panel flush' : 'panel'}>
      {(title || aside) && <header><h2>{title}</h2>{aside && <div class="aside">{aside}</div>}</header>}
      {children}
    </section>
  );
}

/** Facts lists names and values; those without a value are left out. */
export function Facts({ of }: { of: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {of.filter(([, v]) => v !== undefined && v !== null && v !== '' && v !== false).map(([k, v]) => (
        <div key={k}><dt>{k}</dt><dd>{v}</dd></div>
      ))}
    </dl>
  );
}

/** Note says something in a box. */
export function Note({ tone = 'info', children, title }: { tone?: Tone; title?: string; children?: ComponentChildren }) {
  return (
    <div class={`note-box ${tone}`} role={tone === 'bad' ? 'alert' : 'note'}>
      <Icon name={tone === 'bad' || tone === 'warn' ? 'warn' : 'info'} />
      <div>{title && <strong>{title}</strong>}{children && <div>{children}</div>}</div>
    </div>
  );
}

/** Failure says what went wrong and what to do; an absent endpoint is no alarm. */
export function Failure({ error, absent }: { error: unknown; absent?: string }) {
  if (absent && error instanceof ApiError && error.missing) {
    return <Note title="This broker does not have it">{absent}</Note>;
  }
  return <Note tone="bad" title="That did not work">{advice(error)}</Note>;
}

export function Loading() {
  return <div class="loading" role="status"><span class="sr">Loading</span><i /><i /><i /></div>;
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return <div class="empty"><strong>{title}</strong>{children && <p>{children}</p>}</div>;
}

/** Page is a page's head: what it shows, what can be done, and its content. */
export function Page({ title, crumbs, badges, actions, children }: {
  title: string; crumbs?: [string, string][]; badges?: ComponentChildren; actions?: ComponentChildren; children: ComponentChildren;
}) {
  document.title = `${title} · Leveret`;
  return (
    <>
      <div class="page-head">
        {crumbs && <nav aria-label="Breadcrumb" class="crumbs">{crumbs.map(([name, href]) => <span key={href}><a href={href}>{name}</a><Icon name="right" size={12} /></span>)}</nav>}
        <div class="title-row">
          <h1 tabIndex={-1}>{title}</h1>
          {badges && <div class="badges">{badges}</div>}
          {actions && <div class="actions">{actions}</div>}
        </div>
      </div>
      {children}
    </>
  );
}

/** Copy puts text on the clipboard. */
export function Copy({ text, label = 'Copy' }: { text: string; label?: string }) {
  const [done, setDone] = useState(false);
  return (
    <button type="button" class="button quiet only-icon" title={label} aria-label={label} onClick={() => {
      void navigator.clipboard?.writeText(text).then(() => {
        setDone(true);
        setTimeout(() => setDone(false), 1200);
      });
    }}><Icon name={done ? 'check' : 'copy'} /></button>
  );
}

/** Segments chooses one of a few. */
export function Segments<T extends string>({ label, value, options, onChange }: { label: string; value: T; options: [T, string][]; onChange: (v: T) => void }) {
  return (
    <div class="segments" role="radiogroup" aria-label={label}>
      {options.map(([v, text]) => (
        <button key={v} type="button" role="radio" aria-checked={v === value} onClick={() => onChange(v)}>{text}</button>
      ))}
    </div>
  );
}

/** Tabs switches between parts of a page. */
export function Tabs({ value, options, onChange }: { value: string; options: [string, ComponentChildren][]; onChange: (v: string) => void }) {
  return (
    <div class="tabs" role="tablist">
      {options.map(([v, text]) => (
        <button key={v} id={`tab-${v}`} type="button" role="tab" aria-selected={v === value} tabIndex={v === value ? 0 : -1} onClick={() => onChange(v)}
          onKeyDown={(e) => {
            const i = options.findIndex(([o]) => o === value);
            const step = e.key === 'ArrowRight' ? 1 : e.key === 'ArrowLeft' ? -1 : 0;
            if (!step) return;
            const next = options[(i + step + options.length) % options.length]![0];
            onChange(next);
            document.getElementById(`tab-${next}`)?.focus();
          }}>{text}</button>
      ))}
    </div>
  );
}

/** lightDismiss makes an open <details> close on Escape or a press elsewhere; arrows move within a menu. */
export function lightDismiss(e: Event): void {
  const box = e.currentTarget as HTMLDetailsElement;
  if (!box.open) return;
  box.querySelector<HTMLElement>('[role=menuitem]')?.focus();
  const hear = (ev: Event) => {
    if (ev instanceof KeyboardEvent) {
      if (ev.key === 'ArrowDown' || ev.key === 'ArrowUp') {
        const all = [...box.querySelectorAll<HTMLElement>('[role=menuitem]')];
        const i = all.indexOf(document.activeElement as HTMLElement);
        all[(i + (ev.key === 'ArrowDown' ? 1 : all.length - 1)) % all.length]?.focus();
        if (all.length > 0) ev.preventDefault();
        return;
      }
      if (ev.key !== 'Escape') return;
      box.querySelector('summary')?.focus();
    } else if (box.contains(ev.target as Node)) return;
    box.open = false;
    removeEventListener('pointerdown', hear, true);
    removeEventListener('keydown', hear, true);
  };
  addEventListener('pointerdown', hear, true);
  addEventListener('keydown', hear, true);
}

/** Menu is a button that opens a list of acts. */
export function Menu({ label, icon, items, kind = 'plain' }: {
  label: string; icon?: IconName; kind?: 'plain' | 'quiet' | 'primary'; items: ({ name: string; act: () => void; danger?: boolean } | undefined | false)[];
}) {
  const shown = items.filter((i) => !!i);
  if (shown.length === 0) return null;
  return (
    <details class="menu" onToggle={lightDismiss}>
      <summary class={`button ${kind}`} aria-haspopup="menu">{icon && <Icon name={icon} />}{label}<Icon name="down" size={12} /></summary>
      <div role="menu">
        {shown.map((i) => (
          <button key={i.name} type="button" role="menuitem" class={i.danger ? 'danger' : undefined} onClick={(e) => {
            (e.currentTarget as HTMLElement).closest('details')!.open = false;
            i.act();
          }}>{i.name}</button>
        ))}
      </div>
    </details>
  );
}
