import { equal, row, sees } from './browser.mjs';

const pages = ['overview', 'queues', 'queues/%2F/billing', 'queues/%2F/failed?tab=messages', 'exchanges/%2F/orders', 'connections', 'dead-letters', 'route?exchange=orders&key=order.paid.eu', 'map', 'users', 'definitions'];

export async function nothingIsWiderThanAPhone(b) {
  const page = await b.page({ viewport: { width: 375, height: 720 }, hasTouch: true });
  await sees(page, 'Messages in queues');
  for (const hash of pages) {
    await page.evaluate((h) => { location.hash = '#/' + h; }, hash);
    await page.locator('h1').waitFor();
    await page.waitForFunction(() => !document.querySelector('#main .loading'));
    const over = await page.evaluate(() => [document.documentElement.scrollWidth - innerWidth, document.querySelector('#main').scrollWidth - document.querySelector('#main').clientWidth]);
    if (over.some((n) => n > 0)) throw new Error(`${hash} is wider than the screen: ${over}`);
  }
  // The navigation opens over the page.
  await page.getByRole('button', { name: 'Pages' }).click();
  await page.locator('.side').getByRole('link', { name: 'Exchanges' }).click();
  await page.getByRole('heading', { name: 'Exchanges' }).waitFor();
}

export async function textStandsOutInBothThemes(b) {
  for (const colorScheme of ['light', 'dark']) {
    const page = await b.page({ colorScheme, hash: '#/queues' });
    await row(page, 'billing').waitFor();
    equal(await page.evaluate(() => document.documentElement.dataset.theme), colorScheme, 'theme');
    for (const hash of ['queues', 'overview', 'queues/%2F/failed?tab=messages', 'dead-letters']) {
      await page.evaluate((h) => { location.hash = '#/' + h; }, hash);
      await page.waitForFunction(() => document.querySelector('#main h1') && !document.querySelector('#main .loading'));
      const weak = await page.evaluate(() => {
        // The ratio of WCAG.
        const light = (c) => {
          const [r, g, bl] = c.map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * bl;
        };
        const ratio = (a, b) => {
          const [x, y] = [light(a), light(b)].sort((m, n) => n - m);
          return (x + 0.05) / (y + 0.05);
        };
        const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return c.startsWith('color(srgb') ? [m[0] * 255, m[1] * 255, m[2] * 255, m[3] ?? 1] : [m[0], m[1], m[2], m[3] ?? 1]; };
        const ground = (el) => {
          const layers = [];
          for (let e = el; e; e = e.parentElement) {
            const c = parse(getComputedStyle(e).backgroundColor);
            if (c[3] > 0) layers.push(c);
            if (c[3] === 1) break;
          }
          return layers.reduceRight((under, c) => [0, 1, 2].map((i) => c[i] * c[3] + under[i] * (1 - c[3])), [255, 255, 255]);
        };
        const out = new Set();
        for (const el of document.querySelectorAll('body *')) {
          if (el.closest('svg, option, [disabled], .stale') || ![...el.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
          const r = el.getBoundingClientRect();
          if (r.width === 0 || r.height === 0) continue;
          const style = getComputedStyle(el);
          const bg = ground(el), fg = parse(style.color);
          const mixed = [0, 1, 2].map((i) => fg[i] * fg[3] + bg[i] * (1 - fg[3]));
          const k = ratio(mixed, bg);
          if (k < 4.5) out.add(`${el.className || el.tagName} "${el.textContent.trim().slice(0, 20)}" ${k.toFixed(2)}`);
        }
        return [...out];
      }).catch((err) => { throw new Error(`${hash}: ${err.message}`); });
      if (weak.length > 0) throw new Error(`${colorScheme} ${hash}: ${weak.slice(0, 8).join('; ')}`);
    }
  }
}

export async function everythingHasANameAndTheKeyboardReachesIt(b) {
  const page = await b.page();
  await sees(page, 'Messages in queues');
  for (const hash of pages) {
    await page.evaluate((h) => { location.hash = '#/' + h; }, hash);
    await page.locator('h1').waitFor();
    await page.waitForFunction(() => !document.querySelector('#main .loading'));
    const nameless = await page.evaluate(() => [...document.querySelectorAll('button, a[href], input, select, textarea, [role=button], [role=tab]')].filter((el) => {
      const label = el.getAttribute('aria-label') || el.labels?.[0]?.textContent || el.textContent || el.getAttribute('title') || '';
      return label.trim() === '' && el.getBoundingClientRect().width > 0;
    }).map((el) => el.outerHTML.slice(0, 120)));
    if (nameless.length > 0) throw new Error(`${hash}: without a name: ${nameless.join(' ')}`);
    const heads = await page.locator('h1').count();
    equal(heads, 1, `${hash}: headings of the first level`);
  }
  // From the top: skip link, then the navigation.
  await page.close();
  await keyboard(await b.page({ hash: '#/queues' }));
}

/** Waits until the focus is where test says, which pages bring about a moment after the key. */
async function focus(page, what, test) {
  try {
    await page.waitForFunction(test);
  } catch {
    throw new Error(`${what}: the focus is on ${await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 200))}`);
  }
}

async function keyboard(page) {
  await row(page, 'billing').waitFor();
  await page.keyboard.press('Tab');
  await focus(page, 'the first stop of the Tab key', () => document.activeElement.textContent === 'To the content');
  await page.keyboard.press('Enter');
  await focus(page, 'where the skip link leads', () => document.activeElement.id === 'main');
  await page.keyboard.press('/');
  await focus(page, 'the slash leads to the filter', () => document.activeElement.hasAttribute('data-filter'));
  // A dialog gives the focus back.
  await page.getByRole('button', { name: 'New queue' }).focus();
  await page.keyboard.press('Enter');
  await page.locator('dialog.dialog[open]').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('dialog.dialog').waitFor({ state: 'detached' });
  await focus(page, 'after the dialog', () => document.activeElement.textContent === 'New queue');
}
