import { confirm, dialog, equal, sees } from './browser.mjs';

export async function theStoryIsToldInWords(b) {
  const page = await b.page({ hash: '#/queues/%2F/failed?tab=messages' });
  await page.getByRole('button', { name: 'Message 0' }).click();
  const story = page.locator('.deaths li').first();
  await story.waitFor();
  const text = await story.innerText();
  for (const want of ['Published to orders with key order.paid.eu', 'it reached billing and was rejected by a consumer']) {
    if (!text.includes(want)) throw new Error(`the story is: ${text}`);
  }
}

export async function theyAreSentBackFiltered(b) {
  // The worker rejects poison again: what is sent back comes again, so it is
  // sent to where nobody works.
  await b.vhost('dead');
  await b.api('PUT', '/exchanges/dead/dlx', { type: 'fanout' });
  await b.api('PUT', '/queues/dead/work', { arguments: { 'x-dead-letter-exchange': 'dlx' } });
  await b.api('PUT', '/queues/dead/caught', {});
  await b.api('POST', '/bindings/dead/e/dlx/q/caught', {});
  for (let i = 0; i < 4; i++) await b.api('POST', '/exchanges/dead/amq.default/publish', { properties: {}, routing_key: 'work', payload: i < 3 ? 'again' : 'never', payload_encoding: 'string' });
  await b.api('POST', '/queues/dead/work/get', { count: 4, ackmode: 'reject_requeue_false', encoding: 'auto' });
  await b.until('dead letters', async () => (await b.api('GET', '/queues/dead/caught')).messages_ready === 4);

  const page = await b.page({ hash: '#/dead-letters?vhost=dead' });
  await sees(page, 'rejected');
  await page.getByRole('button', { name: 'Send back…', exact: true }).click();
  await dialog(page).getByLabel('Only those that contain').fill('again');
  await dialog(page).getByRole('button', { name: 'Move 3\u00a0messages' }).waitFor();
  await sees(page, 'work', 'dialog.dialog');
  await dialog(page).getByRole('button', { name: 'Move 3\u00a0messages' }).click();
  await dialog(page).getByRole('heading', { name: 'Moved' }).waitFor();
  await confirm(page);
  equal([(await b.api('GET', '/queues/dead/work')).messages_ready, (await b.api('GET', '/queues/dead/caught')).messages_ready], [3, 1], 'messages back and left');
  await b.api('DELETE', '/vhosts/dead');
}

export async function whatNothingCatchesIsWarnedOf(b) {
  await b.vhost('lossy');
  await b.api('PUT', '/queues/lossy/short', { arguments: { 'x-max-length': 1 } });
  for (let i = 0; i < 3; i++) await b.api('POST', '/exchanges/lossy/amq.default/publish', { properties: {}, routing_key: 'short', payload: 'x', payload_encoding: 'string' });
  const page = await b.page({ hash: '#/dead-letters?vhost=lossy' });
  await sees(page, 'died where nothing catches them');
  await b.api('DELETE', '/vhosts/lossy');
}
