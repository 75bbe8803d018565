// A browser at the console, signed in, and the API beside it.

import { chromium } from 'playwright-core';

const patience = Number(process.env.PATIENCE_S || 60) * 1000;

export async function start(base) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    timeout: patience,
    // Nothing but the page uses the network.
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  return new Browser(browser, base);
}

class Browser {
  contexts = [];
  faults = [];

  constructor(browser, base) {
    this.browser = browser;
    this.base = base;
  }

  /** page opens the console in a fresh browser, signed in as user unless that is null. */
  async page({ user = 'guest:guest', viewport = { width: 1280, height: 800 }, hash = '', ...options } = {}) {
    const context = await this.browser.newContext({ viewport, reducedMotion: 'reduce', ...options });
    this.contexts.push(context);
    context.setDefaultTimeout(patience);
    if (user) await context.addInitScript((u) => sessionStorage.getItem('tests.out') || sessionStorage.setItem('leveret.auth', 'Basic ' + btoa(u)), user);
    const page = await context.newPage();
    page.on('pageerror', (err) => this.faults.push(`error in the page: ${err.message}`));
    page.on('console', (m) => {
      // A refused script or style would be said here. Answers like 404 are said too, and are no faults of the page.
      if (m.type() === 'error' && !m.text().startsWith('Failed to load resource')) this.faults.push(`said in the browser's console: ${m.text()}`);
    });
    page.on('response', (r) => {
      if (r.status() >= 500) this.faults.push(`${r.status()} ${r.url()}`);
    });
    await page.goto(this.base + hash);
    return page;
  }

  /** api asks the broker beside the browser. */
  async api(method, path, body, user = 'guest:guest') {
    const res = await fetch(new URL('api' + path, this.base), {
      method, headers: { authorization: 'Basic ' + btoa(user), 'content-type': 'application/json' }, body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await res.text();
    if (!res.ok) throw new Error(`${method} ${path}: ${res.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  }

  /** until asks again and again until what comes is true. */
  async until(what, look) {
    const late = Date.now() + patience;
    for (;;) {
      const is = await look();
      if (is) return is;
      if (Date.now() > late) throw new Error(`not in time: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** fresh makes a virtual host for one step. */
  async vhost(name) {
    await this.api('PUT', `/vhosts/${encodeURIComponent(name)}`, {});
    return name;
  }

  async shoot(path) {
    let i = 0;
    for (const c of this.contexts) for (const p of c.pages()) await p.screenshot({ path: `${path}${i++ || ''}.png` }).catch(() => {});
  }

  /** done closes what a step opened, and fails if the pages had faults. */
  async done() {
    for (const c of this.contexts.splice(0)) await c.close();
    const faults = this.faults.splice(0);
    if (faults.length > 0) throw new Error(faults.join('; '));
  }

  close() {
    return this.browser.close();
  }
}

/** equal fails unless two values have the same JSON. */
export function equal(got, want, what) {
  const [g, w] = [JSON.stringify(got), JSON.stringify(want)];
  if (g !== w) throw new Error(`${what}: ${g}, want ${w}`);
}

/** sees waits for a text to be shown. */
export const sees = (page, text, scope = '#main') => page.locator(scope).getByText(text, { exact: false }).filter({ visible: true }).first().waitFor();

/** row is the row of a table that has a cell with exactly this text. */
export const row = (page, text) => page.locator('tbody tr', { has: page.getByText(text, { exact: true }) }).first();

/** dialog is the open dialog. */
export const dialog = (page) => page.locator('dialog.dialog[open]');

/** confirm presses a dialog's last button and waits for it to be gone. */
export async function confirm(page, type) {
  const d = dialog(page);
  if (type !== undefined) await d.locator('input').fill(type);
  await d.locator('footer button[type=submit]').click();
  await d.waitFor({ state: 'detached' });
}

/** act chooses from a page's menu of actions. */
export async function act(page, name) {
  await page.locator('.actions summary', { hasText: 'Actions' }).click();
  await page.getByRole('menuitem', { name }).click();
}
