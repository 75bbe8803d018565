// What a browser remembers for its user: choices, never credentials.

/** recall reads a choice, or gives the default if there is none. */
export function recall<T>(key: string, otherwise: T): T {
  try {
    const text = localStorage.getItem('leveret.' + key);
    return text === null ? otherwise : (JSON.parse(text) as T);
  } catch {
    return otherwise; // Storage is off, or holds what we did not write.
  }
}

/** remember keeps a choice; undefined forgets it. */
export function remember(key: string, value: unknown): void {
  try {
    if (value === undefined) localStorage.removeItem('leveret.' + key);
    else localStorage.setItem('leveret.' + key, JSON.stringify(value));
  } catch {
    // Storage is off or full: the choice lasts as long as the page.
  }
}
