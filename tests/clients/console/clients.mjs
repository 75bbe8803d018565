import { confirm, dialog, row, sees } from './browser.mjs';

export async function aConnectionIsClosedWithAReason(b) {
  const page = await b.page({ hash: '#/connections?q=' });
  await row(page, 'victim').getByRole('link', { name: 'victim' }).click();
  await page.getByRole('heading', { name: 'victim' }).waitFor();
  await sees(page, 'What the client says of itself');
  await page.getByRole('button', { name: 'Close…' }).click();
  await dialog(page).getByLabel('Reason').fill('told by the test');
  await confirm(page);
  await page.getByRole('heading', { name: 'Connections' }).waitFor();
  await b.until('the connection is gone', async () => !(await b.api('GET', '/connections?columns=user_provided_name')).some((c) => c.user_provided_name === 'victim'));
}

export async function relatedThingsAreLinked(b) {
  const page = await b.page({ hash: '#/queues/%2F/billing?tab=consumers' });
  await page.locator('tr', { hasText: 'billing-1' }).getByRole('link').first().click();
  await sees(page, 'Prefetch for the channel');
  await page.locator('.facts').getByRole('link').first().click();
  await page.getByRole('heading', { name: 'billing-worker' }).waitFor();
  await page.locator('tr', { hasText: 'billing-1' }).getByRole('link', { name: 'billing', exact: true }).click();
  await page.getByRole('heading', { name: 'billing', exact: true }).waitFor();
}
