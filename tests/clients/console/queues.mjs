import { act, confirm, dialog, equal, row, sees } from './browser.mjs';

const depth = async (b, v, q) => (await b.api('GET', `/queues/${v}/${q}?columns=messages_ready`)).messages_ready;

export async function declareBindPublishLookGetPurgeDelete(b) {
  const v = await b.vhost('acts');
  const page = await b.page({ hash: '#/queues?vhost=acts' });

  // Declare, with arguments by their forms.
  await page.getByRole('button', { name: 'New queue' }).click();
  const d = dialog(page);
  await d.locator('input[name=name]').fill('letters');
  await d.getByLabel('Message TTL').fill('3600000');
  await d.getByLabel('Dead letter exchange').fill('amq.fanout');
  await confirm(page);
  await page.getByRole('heading', { name: 'letters' }).waitFor();
  const q = await b.api('GET', '/queues/acts/letters');
  equal(q.arguments, { 'x-dead-letter-exchange': 'amq.fanout', 'x-message-ttl': 3600000 }, 'arguments');
  await page.getByRole('tab', { name: 'Settings' }).click();
  await sees(page, 'argument, when declared');

  // Bind.
  await page.getByRole('tab', { name: 'Bindings' }).click();
  await page.getByRole('button', { name: 'Bind to an exchange' }).click();
  await dialog(page).getByLabel('From exchange').fill('amq.topic');
  await dialog(page).getByLabel('Routing key').fill('post.#');
  await confirm(page);
  await row(page, 'post.#').waitFor();

  // Publish to the exchange, with a header and a property, three times.
  await row(page, 'post.#').getByRole('link', { name: 'amq.topic' }).click();
  await page.getByRole('tab', { name: 'Publish' }).click();
  await page.getByLabel('Routing key').fill('post.express');
  await page.getByLabel('Body', { exact: true }).fill('{"to": "Ada", "pages": 3}');
  await page.getByRole('button', { name: 'Add a header' }).click();
  await page.getByLabel('Header name').fill('weight');
  await page.getByLabel('Kind of value').selectOption('number');
  await page.getByLabel('Header value').fill('250');
  await page.getByText('Properties', { exact: true }).click();
  await page.getByLabel('Content type').fill('application/json');
  await page.getByLabel('Times').fill('3');
  await page.getByRole('button', { name: 'Publish', exact: true }).click();
  await page.getByText('3\u00a0messages published').waitFor();
  // What goes nowhere is told.
  await page.getByLabel('Routing key').fill('nobody.wants');
  await page.getByRole('button', { name: 'Publish', exact: true }).click();
  await page.getByText('No queue got it').waitFor();

  // Bytes, to the queue itself.
  await page.evaluate(() => { location.hash = '#/queues/acts/letters?tab=publish'; });
  await page.getByLabel('Body', { exact: true }).fill('/wAB');
  await page.getByRole('radio', { name: 'Base64' }).click();
  await page.getByRole('button', { name: 'Publish', exact: true }).click();
  await page.getByText('1\u00a0message published').waitFor();

  // Look into it: JSON, text, hex; header; nothing is taken.
  await page.getByRole('tab', { name: 'Messages' }).click();
  await page.getByRole('button', { name: 'Message 0' }).click();
  await page.locator('pre', { hasText: '"pages": 3' }).waitFor();
  await sees(page, '250');
  await page.getByRole('radio', { name: 'Hex' }).click();
  await page.locator('pre', { hasText: '000000  7b 22 74 6f' }).waitFor();
  await page.getByRole('button', { name: 'Message 0' }).click();
  await page.getByRole('button', { name: 'Message 3' }).click();
  await page.locator('pre', { hasText: 'ff 00 01' }).waitFor();
  await page.getByLabel('Search in messages').fill('ada');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelectorAll('.messages tr.shut').length === 3);
  equal(await depth(b, v, 'letters'), 4, 'messages after looking');

  // Get: give back, then take out, then reject.
  const get = async (mode, n, want) => {
    await page.getByRole('button', { name: 'Get…' }).click();
    await dialog(page).locator(`input[value=${mode}]`).check();
    await dialog(page).getByLabel('How many').fill(String(n));
    await dialog(page).locator('footer button[type=submit]').click();
    await dialog(page).getByRole('heading', { name: want }).waitFor();
    await confirm(page);
  };
  await get('ack_requeue_true', 1, '1\u00a0message');
  equal(await depth(b, v, 'letters'), 4, 'messages after get and give back');
  await get('ack_requeue_false', 1, '1\u00a0message');
  equal(await depth(b, v, 'letters'), 3, 'messages after taking out');
  await get('reject_requeue_true', 1, '1\u00a0message');
  await get('reject_requeue_false', 1, '1\u00a0message');
  equal(await depth(b, v, 'letters'), 2, 'messages after rejecting');

  // Purge asks and says what will be lost.
  await act(page, 'Purge…');
  await dialog(page).getByText('2\u00a0ready messages').waitFor();
  await dialog(page).getByRole('button', { name: 'Cancel' }).click();
  equal(await depth(b, v, 'letters'), 2, 'messages after thinking again');
  await act(page, 'Purge…');
  await confirm(page);
  await b.until('the queue is empty', async () => (await depth(b, v, 'letters')) === 0);

  // Unbind and delete.
  await page.getByRole('tab', { name: 'Bindings' }).click();
  await row(page, 'post.#').getByRole('button').click();
  await confirm(page);
  await row(page, 'post.#').waitFor({ state: 'detached' });
  await act(page, 'Delete…');
  await confirm(page);
  await page.getByRole('heading', { name: 'Queues & streams' }).waitFor();
  equal((await b.api('GET', '/queues/acts')).length, 0, 'queues left');
  await b.api('DELETE', '/vhosts/acts');
}

export async function deletingMessagesTooAsksForTheName(b) {
  const v = await b.vhost('careful');
  await b.api('PUT', '/queues/careful/full', {});
  await b.api('POST', '/exchanges/careful/amq.default/publish', { properties: {}, routing_key: 'full', payload: 'x', payload_encoding: 'string' });
  const page = await b.page({ hash: '#/queues/careful/full' });
  await page.locator('.stat', { hasText: 'Ready1' }).waitFor();
  await act(page, 'Delete…');
  equal(await dialog(page).locator('footer button[type=submit]').isDisabled(), true, 'delete before the name is typed');
  await confirm(page, 'full');
  await page.getByRole('heading', { name: 'Queues & streams' }).waitFor();
  equal(await b.api('GET', `/queues/${v}`), [], 'queues left');
  await b.api('DELETE', '/vhosts/careful');
}

export async function severalAtOnceWithAPreview(b) {
  await b.vhost('several');
  for (const q of ['one', 'two', 'three']) {
    await b.api('PUT', `/queues/several/${q}`, {});
    await b.api('POST', '/exchanges/several/amq.default/publish', { properties: {}, routing_key: q, payload: 'x', payload_encoding: 'string' });
  }
  const page = await b.page({ hash: '#/queues?vhost=several' });
  await page.getByLabel('Select all rows of this page').check();
  await page.getByRole('toolbar').getByRole('button', { name: 'Purge' }).click();
  await dialog(page).getByText('3\u00a0ready messages in 3\u00a0queues').waitFor();
  await dialog(page).locator('.preview').getByText('three').waitFor();
  await confirm(page);
  for (const q of ['one', 'two', 'three']) equal(await depth(b, 'several', q), 0, q);
  await page.getByLabel('Select one').check();
  await page.getByLabel('Select two').check();
  await page.getByRole('toolbar').getByRole('button', { name: 'Delete' }).click();
  await confirm(page);
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
  equal((await b.api('GET', '/queues/several')).map((q) => q.name), ['three'], 'queues left');
  await b.api('DELETE', '/vhosts/several');
}

export async function whatCannotBeIsExplained(b) {
  const page = await b.page({ hash: '#/queues' });
  await page.getByRole('button', { name: 'New queue' }).click();
  await dialog(page).locator('input[name=name]').fill('billing');
  await dialog(page).locator('footer button[type=submit]').click();
  await dialog(page).getByText('Something of this name exists with other settings').waitFor();
  await dialog(page).getByRole('button', { name: 'Cancel' }).click();
}

export async function messagesMoveToAnotherQueue(b) {
  await b.vhost('moves');
  await b.api('PUT', '/queues/moves/from', {});
  await b.api('PUT', '/queues/moves/to', {});
  for (let i = 0; i < 5; i++) await b.api('POST', '/exchanges/moves/amq.default/publish', { properties: {}, routing_key: 'from', payload: i < 3 ? `red ${i}` : `blue ${i}`, payload_encoding: 'string' });
  const page = await b.page({ hash: '#/queues/moves/from?tab=messages' });
  await page.getByRole('button', { name: 'Move…' }).click();
  await dialog(page).getByLabel('To queue').fill('to');
  await dialog(page).getByLabel('Only those that contain').fill('red');
  await dialog(page).getByRole('button', { name: 'Move 3\u00a0messages' }).click();
  await dialog(page).getByRole('heading', { name: 'Moved' }).waitFor();
  await confirm(page);
  equal([await depth(b, 'moves', 'from'), await depth(b, 'moves', 'to')], [2, 3], 'messages in both');
  await page.evaluate(() => { location.hash = '#/moves'; });
  await page.locator('tbody tr', { hasText: 'from' }).filter({ hasText: 'done' }).first().waitFor();
  await b.api('DELETE', '/vhosts/moves');
}
