import { equal, row, sees } from './browser.mjs';

const names = (page) => page.locator('tbody a.name').allInnerTexts();

export async function filterSortAndColumnsAreInTheLink(b) {
  const page = await b.page({ hash: '#/queues' });
  await page.getByRole('link', { name: 'billing', exact: true }).waitFor();
  await page.getByLabel('Filter queues by name').fill('tenant-0');
  await page.getByText('10 of ').waitFor();
  equal((await names(page)).length, 10, 'rows of tenant-0');
  // A regular expression, then one that is none.
  await page.getByRole('button', { name: 'Regular expression' }).click();
  await page.getByLabel('Filter queues by name').fill('tenant-(11|12)$');
  await page.getByText('2 of ').waitFor();
  await page.getByLabel('Filter queues by name').fill('tenant-(');
  await page.getByText('Not a valid expression').waitFor();
  await page.getByLabel('Filter queues by name').fill('^(billing|failed)$');
  await page.getByText('2 of ').waitFor();
  await page.getByRole('button', { name: 'Name' }).click();
  await page.waitForFunction(() => location.hash.includes('sort=name'));
  await page.getByRole('button', { name: 'Name' }).click();
  await page.waitForFunction(() => document.querySelector('tbody a.name')?.textContent === 'failed');
  await page.locator('.columns summary').click();
  await page.getByLabel('Memory').check();
  await page.getByRole('button', { name: 'Memory' }).waitFor();
  const link = await page.evaluate(() => location.href);
  await page.close();
  // The same link shows the same, in a browser that knows nothing.
  const other = await b.page({ hash: new URL(link).hash });
  await other.getByText('2 of ').waitFor();
  await other.getByRole('button', { name: 'Memory' }).waitFor();
  equal(await names(other), ['failed', 'billing'], 'rows of the link');
}

export async function pagesAndConditionsComeFromTheServer(b) {
  const page = await b.page({ hash: '#/queues?size=25' });
  await page.getByText('Page').first().waitFor();
  equal((await names(page)).length, 25, 'rows of a page');
  await page.getByRole('button', { name: 'Next page' }).click();
  await page.waitForFunction(() => location.hash.includes('page=2'));
  await row(page, 'tenant-30').waitFor();
  // A filter that leaves fewer pages than the one we are on begins at the first.
  await page.locator('select[aria-label=Show]').selectOption('unconsumed');
  await page.waitForFunction(() => !location.hash.includes('page=2'));
  await page.locator('select[aria-label=Type]').selectOption('stream');
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
  equal(await names(page), ['history'], 'streams without consumers');
}

export async function selectionAndTypingSurviveRefreshes(b) {
  const page = await b.page({ hash: '#/queues' });
  await page.getByLabel('Select tenant-03').check();
  await page.getByLabel('Select tenant-05').click({ modifiers: ['Shift'] });
  await page.getByText('3 selected').waitFor();
  // What is typed and chosen stays while figures change under it.
  await page.getByLabel('Filter queues by name').focus();
  const before = (await b.api('GET', '/queues/%2F/history?columns=messages')).messages;
  await b.until('the stream grows', async () => (await b.api('GET', '/queues/%2F/history?columns=messages')).messages > before + 20);
  await page.waitForFunction((n) => [...document.querySelectorAll('tbody tr')].some((tr) => tr.textContent.startsWith('history') && Number(tr.textContent.replace(/\D+/g, ' ').trim().split(' ')[0]) >= n), 1);
  await page.getByText('3 selected').waitFor();
  equal(await page.evaluate(() => document.activeElement.getAttribute('data-filter') !== null), true, 'focus is in the filter');
  await page.getByLabel('Filter queues by name').fill('billing');
  await row(page, 'billing').waitFor();
  await page.getByText('3 selected').waitFor();
}

export async function figuresFollowTheBroker(b) {
  const page = await b.page({ hash: '#/queues/%2F/history' });
  const total = () => page.locator('.stat', { hasText: 'Ready' }).locator('dd').first().innerText();
  await page.locator('.stat').first().waitFor();
  const first = await total();
  await page.waitForFunction((old) => [...document.querySelectorAll('.stat')].find((s) => s.textContent.startsWith('Ready')).querySelector('dd').innerText !== old, first);
}

export async function theVirtualHostNarrowsLists(b) {
  const v = await b.vhost('narrow');
  await b.api('PUT', '/queues/narrow/only-here', {});
  const page = await b.page({ hash: '#/queues' });
  await page.getByLabel('Virtual host').selectOption(v);
  await row(page, 'only-here').waitFor();
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
  // It goes along to the next page.
  await page.locator('.side').getByRole('link', { name: 'Exchanges' }).click();
  await page.waitForFunction(() => location.hash.includes('vhost=narrow'));
  await page.goBack();
  await row(page, 'only-here').waitFor();
  await b.api('DELETE', '/vhosts/narrow');
}

export async function thePaletteFindsPagesAndObjects(b) {
  const page = await b.page();
  await sees(page, 'Messages in queues');
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox', { name: 'Find or do' }).fill('shipp');
  await page.getByRole('option', { name: 'shipping' }).waitFor();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'shipping' }).waitFor();
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox', { name: 'Find or do' }).fill('dark');
  await page.getByRole('option', { name: 'Dark theme' }).waitFor();
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.documentElement.dataset.theme === 'dark');
  await page.reload();
  await page.getByRole('heading', { name: 'shipping' }).waitFor();
  equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark', 'theme after a reload');
}
