// Forms of typed settings, for the arguments of a queue and for policies.

import type { Json } from '../lib/api';
import type { Setting } from '../lib/settings';

export type Values = Record<string, unknown>;

/** SettingFields edits values by the settings' names; clearing one removes it. */
export function SettingFields({ of, values, onChange, prefix = '' }: { of: Setting[]; values: Values; onChange: (v: Values) => void; prefix?: string }) {
  const set = (s: Setting, v: unknown) => {
    const next = { ...values };
    if (v === undefined) delete next[prefix + s.key];
    else next[prefix + s.key] = v;
    onChange(next);
  };
  return (
    <div class="settings">
      {of.map((s) => {
        const v = values[prefix + s.key];
        const id = `setting-${s.key}`;
        return (
          <div key={s.key} class={v === undefined ? 'setting' : 'setting on'}>
            <label for={id}><b>{s.title}</b>{s.unit && <span class="muted"> {s.unit}</span>}<code class="muted">{prefix}{s.key}</code></label>
            {s.kind === 'flag' ? (
              <select id={id} value={v === undefined ? '' : String(v)} onChange={(e) => set(s, e.currentTarget.value === '' ? undefined : e.currentTarget.value === 'true')}>
                <option value="">{s.otherwise ?? 'not set'}</option><option value="true">yes</option><option value="false">no</option>
              </select>
            ) : s.kind === 'choice' ? (
              <select id={id} value={v === undefined ? '' : String(v)} onChange={(e) => set(s, e.currentTarget.value || undefined)}>
                <option value="">{s.otherwise ? `not set (${s.otherwise})` : 'not set'}</option>
                {s.choices!.map((c) => <option key={c} value={c}>{c}</option>)}
              </select>
            ) : (
              <input id={id} inputMode={s.kind === 'number' ? 'numeric' : undefined} value={v === undefined ? '' : String(v)} placeholder={s.otherwise ?? 'not set'} spellcheck={false} autocomplete="off"
                aria-invalid={s.kind === 'number' && v !== undefined && typeof v !== 'number'}
                onInput={(e) => {
                  const t = e.currentTarget.value;
                  if (s.kind !== 'number') set(s, t === '' ? undefined : t);
                  else set(s, t.trim() === '' ? undefined : /^-?\d+$/.test(t.trim()) ? Number(t.trim()) : t);
                }} />
            )}
            <small>{s.help}</small>
          </div>
        );
      })}
    </div>
  );
}

/** parseObject reads what somebody typed as a JSON object; empty is {}. */
export function parseObject(text: string, what: string): Json {
  if (text.trim() === '') return {};
  let v: unknown;
  try {
    v = JSON.parse(text);
  } catch (err) {
    throw new Error(`${what} are no valid JSON: ${(err as Error).message}`);
  }
  if (v === null || typeof v !== 'object' || Array.isArray(v)) throw new Error(`${what} must be a JSON object, such as {"name": "value"}.`);
  return v;
}
