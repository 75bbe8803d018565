import { confirm, dialog, equal, row, sees } from './browser.mjs';

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
  await page.locator('tr', { hasText: 'billing-1' }).getByRole('link', { name: /\(1\)$/ }).click();
  await sees(page, 'Prefetch for the channel');
  await page.locator('.facts').getByRole('link').first().click();
  await page.getByRole('heading', { name: 'billing-worker' }).waitFor();
  await page.locator('tr', { hasText: 'billing-1' }).getByRole('link', { name: 'billing', exact: true }).click();
  await page.getByRole('heading', { name: 'billing', exact: true }).waitFor();
}

export async function mqttClientsHaveSessionsAlsoOffline(b) {
  const page = await b.page({ hash: '#/clients' });
  await row(page, 'vent-north').getByText('connected').waitFor();
  await row(page, 'tablet').getByText('offline').waitFor();
  await row(page, 'tablet').getByRole('link', { name: 'tablet' }).click();
  await row(page, 'greenhouse/+/temperature').waitFor();
  equal((await page.locator('.stat', { hasText: 'Waiting' }).locator('dd').first().innerText()) !== '0', true, 'messages wait for it');
  await page.getByRole('button', { name: 'End session…' }).click();
  await confirm(page);
  await page.getByRole('heading', { name: 'MQTT clients' }).waitFor();
  await row(page, 'tablet').waitFor({ state: 'detached' });
}

export async function retainedTopicsAreATree(b) {
  const page = await b.page({ hash: '#/retained?vhost=%2F' });
  await page.getByRole('button', { name: 'Open greenhouse', exact: true }).click();
  await page.getByRole('button', { name: 'Open greenhouse/north', exact: true }).click();
  await page.getByRole('button', { name: 'temperature', exact: true }).click();
  await page.locator('.body-view pre', { hasText: '21.5' }).waitFor();
  await page.getByRole('button', { name: 'Clear…' }).click();
  await confirm(page);
  await page.getByRole('button', { name: 'temperature', exact: true }).waitFor({ state: 'detached' });
}

export async function stompSubscriptionsNameTheirDestination(b) {
  const page = await b.page({ hash: '#/subscriptions' });
  await row(page, '/topic/greenhouse.*.temperature').waitFor();
  equal(await page.locator('tbody tr').count(), 1, 'subscriptions');
}
