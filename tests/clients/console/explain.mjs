import { confirm, dialog, equal, row, sees } from './browser.mjs';

export async function theSimulatorTellsWaysAndNothingIsPublished(b) {
  const before = (await b.api('GET', '/queues/%2F/shipping')).messages;
  const page = await b.page({ hash: '#/route?exchange=orders&vhost=%2F' });
  await page.getByLabel('Routing key').fill('order.paid.eu');
  await page.getByText('It would reach 3\u00a0queues').waitFor();
  equal((await page.locator('.chip').allInnerTexts()).sort(), ['billing', 'history', 'shipping'], 'queues');
  await page.locator('.ways li', { hasText: 'audit' }).waitFor();
  await page.getByLabel('Routing key').fill('nothing.like.it');
  await page.getByText('It would reach no queue').waitFor();
  equal((await b.api('GET', '/queues/%2F/shipping')).messages, before, 'messages in shipping');
  // As an MQTT topic.
  await page.getByRole('radio', { name: 'MQTT' }).click();
  await page.getByLabel('Topic', { exact: true }).fill('greenhouse/east/temperature');
  await page.locator('.chip', { hasText: 'readings' }).waitFor();
}

export async function theMapShowsWhatLeadsWhere(b) {
  const page = await b.page({ hash: '#/map?vhost=%2F' });
  const node = (name) => page.locator('.map-node', { hasText: name }).first();
  for (const n of ['orders', 'audit', 'billing', 'failed', 'history', 'billing-worker']) await node(n).waitFor();
  await page.locator('.map-edge.dead').first().waitFor({ state: 'attached' });
  // Arrows lead from left to right.
  const x = async (name) => (await node(name).boundingBox()).x;
  if (!((await x('orders')) < (await x('billing')) && (await x('billing')) < (await x('billing-worker')))) throw new Error('arrows do not lead from left to right');
  // Narrowed to one queue, what has nothing to do with it is gone.
  await page.getByLabel('Only what leads to and from').fill('history');
  await node('billing').waitFor({ state: 'detached' });
  await node('audit').waitFor();
  await page.getByLabel('Only what leads to and from').fill('');
  await node('billing').click();
  await page.locator('.map-card').getByRole('link', { name: 'Open queue' }).click();
  await page.getByRole('heading', { name: 'billing' }).waitFor();
}

export async function theMapZoomsPansAndFolds(b) {
  const page = await b.page({ hash: '#/map?vhost=%2F&all=1' });
  const group = page.locator('.map-node.group').first();
  await group.waitFor();
  const transform = () => page.locator('.map svg > g').getAttribute('transform');
  const first = await transform();
  await page.getByRole('button', { name: 'Nearer' }).click();
  await page.waitForFunction((t) => document.querySelector('.map svg > g').getAttribute('transform') !== t, first);
  const second = await transform();
  const box = await page.locator('.map').boundingBox();
  await page.mouse.move(box.x + 30, box.y + box.height - 30);
  await page.mouse.down();
  await page.mouse.move(box.x + 130, box.y + box.height - 80, { steps: 4 });
  await page.mouse.up();
  await page.waitForFunction((t) => document.querySelector('.map svg > g').getAttribute('transform') !== t, second);
  await page.getByRole('button', { name: 'All of it' }).click();
  await group.click();
  await page.getByRole('button', { name: 'Show each' }).click();
  await page.locator('.map-node.queue', { hasText: 'tenant-00' }).waitFor({ state: 'attached' });
}

export async function theTailShowsWhatPasses(b) {
  const page = await b.page({ hash: '#/tail?vhost=%2F' });
  await page.getByLabel('Exchange', { exact: true }).last().fill('orders');
  await page.getByRole('button', { name: 'Follow' }).click();
  await row(page, 'order.paid.asia').waitFor();
  // Held, it stands still and shows one message whole.
  await page.getByRole('button', { name: 'Hold' }).click();
  await page.getByRole('button', { name: 'order.paid.asia' }).first().click();
  await page.locator('.body-view pre', { hasText: '"id"' }).waitFor();
  await page.getByRole('button', { name: 'Go on' }).waitFor();
  // A pattern of keys leaves the others out.
  await page.getByLabel('Routing keys, a pattern').fill('order.gift.#');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.getByRole('button', { name: 'Clear' }).click();
  await sees(page, 'Waiting for messages');
  await page.locator('.tail .state', { hasText: 'following' }).waitFor();
  await b.api('POST', '/exchanges/%2F/orders/publish', { properties: {}, routing_key: 'order.gift.red', payload: 'ribbon', payload_encoding: 'string' });
  await row(page, 'order.gift.red').waitFor();
  equal(await page.getByRole('button', { name: 'order.paid.asia' }).count(), 0, 'rows of other keys');
}

export async function theQueuesTailShowsWhatComesAndGoes(b) {
  const page = await b.page({ hash: '#/queues/%2F/billing?tab=tail' });
  await page.locator('.badge', { hasText: /^in$/ }).first().waitFor();
  await page.locator('.badge', { hasText: /^out$/ }).first().waitFor();
}

export async function alarmsAreToldInWordsAndLifted(b) {
  const page = await b.page();
  await sees(page, 'Messages in queues');
  try {
    await b.api('PUT', '/alarms/memory/limit', { absolute: 1 });
    await page.locator('#main').getByText('Memory is at its limit').waitFor();
    await sees(page, 'Publishers wait; consumers go on.');
    await sees(page, 'What to do:');
    await page.getByRole('button', { name: 'Change the limit…' }).click();
    await dialog(page).locator('input[name=limit]').fill('60');
    await confirm(page);
    await page.locator('#main').getByText('Memory is at its limit').waitFor({ state: 'detached' });
  } finally {
    await b.api('PUT', '/alarms/memory/limit', { relative: 0.6 });
  }
}
