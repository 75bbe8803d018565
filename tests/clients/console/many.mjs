import { act, confirm, dialog, equal, row } from './browser.mjs';

/** all selects every row of a list and presses what is to be done with them. */
async function all(page, rows, verb) {
  await page.waitForFunction((n) => document.querySelectorAll('#main tbody input[type=checkbox]').length === n, rows);
  await page.getByLabel('Select all rows of this page').check();
  await page.getByRole('toolbar').getByRole('button', { name: verb }).click();
}

export async function bindingsExchangesAndPermissionsGoAtOnce(b) {
  await b.vhost('many');
  await b.api('PUT', '/queues/many/sink', {});
  for (const x of ['x1', 'x2']) {
    await b.api('PUT', `/exchanges/many/${x}`, { type: 'direct' });
    await b.api('POST', `/bindings/many/e/${x}/q/sink`, { routing_key: 'k', arguments: {} });
  }
  const page = await b.page({ hash: '#/bindings?vhost=many' });
  await all(page, 2, 'Unbind');
  await confirm(page);
  await b.until('the bindings are gone', async () => (await b.api('GET', '/exchanges/many/x1/bindings/source')).length === 0);
  await page.evaluate(() => { location.hash = '#/exchanges?vhost=many&q=x'; });
  await row(page, 'x1').waitFor();
  await page.getByLabel('Select x1').check();
  await page.getByLabel('Select x2').check();
  await page.getByRole('toolbar').getByRole('button', { name: 'Delete' }).click();
  await dialog(page).getByText('2\u00a0exchanges').first().waitFor();
  await confirm(page);
  await row(page, 'x1').waitFor({ state: 'detached' });
  for (const name of ['temp1', 'temp2']) {
    await b.api('PUT', `/users/${name}`, { password: 'x', tags: '' });
    await b.api('PUT', `/permissions/many/${name}`, { configure: '', write: '', read: '' });
  }
  await page.evaluate(() => { location.hash = '#/permissions?q=temp'; });
  await all(page, 2, 'Take away');
  await confirm(page);
  await b.until('the permissions are gone', async () => (await b.api('GET', '/users/temp1/permissions')).length === 0);
  await page.evaluate(() => { location.hash = '#/users?q=temp'; });
  await all(page, 2, 'Delete');
  await confirm(page);
  await page.getByText('No users').waitFor();
  await b.api('DELETE', '/vhosts/many');
}

export async function operatorPoliciesCountWhereTheyAreLower(b) {
  await b.vhost('capped');
  await b.api('PUT', '/queues/capped/small', {});
  await b.api('PUT', '/policies/capped/own', { pattern: '.*', definition: { 'max-length': 5000, 'message-ttl': 60000 } });
  const page = await b.page({ hash: '#/operator-policies?vhost=capped' });
  await page.getByRole('button', { name: 'New operator policy' }).click();
  await dialog(page).locator('input[name=name]').fill('cap');
  await dialog(page).getByLabel('Names that match').fill('^small$');
  await dialog(page).getByLabel('Maximum length').fill('100');
  await confirm(page);
  await page.getByRole('heading', { name: 'cap' }).waitFor();
  await page.evaluate(() => { location.hash = '#/queues/capped/small?tab=settings'; });
  const length = page.locator('tr', { hasText: 'max-length' });
  await length.getByText('100 messages').waitFor();
  await length.getByRole('link', { name: 'operator policy cap', exact: true }).waitFor();
  await length.getByText('policy own: 5000').waitFor();
  const ttl = page.locator('tr', { hasText: 'message-ttl' });
  await ttl.getByText(/^1\u202fmin \(60000 ms\)$/).waitFor();
  await ttl.getByRole('link', { name: 'policy own', exact: true }).waitFor();
  // A change counts at once.
  await page.evaluate(() => { location.hash = '#/operator-policies/capped/cap'; });
  await page.getByRole('button', { name: 'Change…' }).click();
  await dialog(page).getByLabel('Maximum length').fill('70');
  await confirm(page);
  await b.until('the policy has changed', async () => (await b.api('GET', '/queues/capped/small')).effective_policy_definition?.['max-length'] === 70);
  await b.api('DELETE', '/vhosts/capped');
}

export async function delayedMessagesAreSentNowOrCancelled(b) {
  await b.vhost('later');
  await b.api('PUT', '/exchanges/later/alarm-clock', { type: 'x-delayed-message', arguments: { 'x-delayed-type': 'fanout' } });
  await b.api('PUT', '/queues/later/bell', {});
  await b.api('POST', '/bindings/later/e/alarm-clock/q/bell', { routing_key: '', arguments: {} });
  for (const payload of ['soon', 'later']) await b.api('POST', '/exchanges/later/alarm-clock/publish', { properties: { headers: { 'x-delay': 3600000 } }, routing_key: '', payload, payload_encoding: 'string' });
  const page = await b.page({ hash: '#/exchanges/later/alarm-clock' });
  await page.getByRole('tab', { name: /Waiting|Delayed/ }).click();
  await page.getByText('Next of 2\u00a0messages').waitFor();
  await page.getByRole('button', { name: 'Send now' }).first().click();
  await page.getByText('Next of 1\u00a0message').waitFor();
  await b.until('it has arrived', async () => (await b.api('GET', '/queues/later/bell?columns=messages_ready')).messages_ready === 1);
  await page.getByRole('button', { name: 'Cancel' }).first().click();
  await dialog(page).getByText('will be gone for good').waitFor();
  await confirm(page);
  await page.getByText('No message waits').waitFor();
  await b.api('DELETE', '/vhosts/later');
}

export async function figuresCanBeHeldStill(b) {
  await b.vhost('still');
  await b.api('PUT', '/queues/still/one', {});
  const page = await b.page({ hash: '#/queues?vhost=still' });
  await row(page, 'one').waitFor();
  await page.getByRole('button', { name: 'Live' }).click();
  await page.getByRole('button', { name: 'Paused' }).waitFor();
  await b.api('PUT', '/queues/still/two', {});
  equal(await row(page, 'two').count(), 0, 'rows that came while held');
  await page.getByRole('button', { name: 'Paused' }).click();
  await row(page, 'two').waitFor();
  await b.api('DELETE', '/vhosts/still');
}

export async function goingElsewhereLeavesDialogsBehind(b) {
  const page = await b.page({ hash: '#/queues/%2F/failed' });
  await act(page, 'Delete…');
  await dialog(page).waitFor();
  await page.evaluate(() => { location.hash = '#/queues/%2F/billing'; });
  await page.getByRole('heading', { name: 'billing' }).waitFor();
  await dialog(page).waitFor({ state: 'detached' });
  await page.keyboard.press('Control+k');
  await page.locator('.palette').waitFor();
  await page.evaluate(() => { location.hash = '#/exchanges'; });
  await page.getByRole('heading', { name: 'Exchanges' }).waitFor();
  await page.locator('.palette').waitFor({ state: 'detached' });
}
