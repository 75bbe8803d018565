import { dialog, equal, row, sees } from './browser.mjs';

// What others choose (names, headers, bodies, descriptions) is text wherever it
// is shown: were it markup, the image would be there and its script had run.
const evil = '<img src=x onerror="document.title=\'owned\'">';
const enc = encodeURIComponent(evil);

export async function whatOthersChooseIsOnlyText(b) {
  await b.api('PUT', `/vhosts/${enc}`, { description: evil, tags: evil });
  await b.api('PUT', `/users/${enc}`, { password: 'x', tags: 'management' });
  await b.api('PUT', `/permissions/${enc}/${enc}`, { configure: evil, write: evil, read: evil });
  await b.api('PUT', `/policies/${enc}/${enc}`, { pattern: evil, definition: { 'dead-letter-exchange': evil, 'message-ttl': 3600000 } });
  await b.api('PUT', `/exchanges/${enc}/${enc}`, { type: 'topic', arguments: { [evil]: evil } });
  await b.api('PUT', `/queues/${enc}/${enc}`, { arguments: { 'x-dead-letter-exchange': evil, 'x-dead-letter-routing-key': evil } });
  await b.api('POST', `/bindings/${enc}/e/${enc}/q/${enc}`, { routing_key: evil, arguments: { [evil]: evil } });
  await b.api('POST', `/exchanges/${enc}/${enc}/publish`, {
    routing_key: evil, payload: evil, payload_encoding: 'string',
    properties: { content_type: evil, app_id: evil, type: evil, correlation_id: evil, headers: { [evil]: evil, list: [evil, { [evil]: evil }] } },
  });
  const page = await b.page();
  await sees(page, 'Messages in queues');
  const clean = async (where) => {
    equal(await page.locator('img, script:not([src])').count(), 0, `${where}: markup of others`);
    if ((await page.title()) === 'owned') throw new Error(`${where}: a script of others ran`);
  };
  const places = [
    'overview', 'map', 'queues', 'exchanges', 'bindings', 'dead-letters', 'policies', 'audit'].map((p) => `${p}?vhost=${enc}`).concat([
    `route?vhost=${enc}&exchange=${enc}&key=${enc}`, `queues/${enc}/${enc}`, ...['consumers', 'bindings', 'settings', 'publish', 'tail'].map((t) => `queues/${enc}/${enc}?tab=${t}`),
    `exchanges/${enc}/${enc}`, `policies/${enc}/${enc}`, 'vhosts', `vhosts/${enc}`, 'users', `users/${enc}`, 'permissions', 'definitions',
  ]);
  for (const hash of places) {
    await page.evaluate((h) => { location.hash = '#/' + h; }, hash);
    await page.waitForFunction(() => document.querySelector('#main h1') && !document.querySelector('#main .loading'));
    await clean(hash);
  }
  // It is there, as text.
  await page.evaluate((h) => { location.hash = '#/' + h; }, `queues?vhost=${enc}`);
  await row(page, evil).waitFor();
  await page.evaluate((h) => { location.hash = '#/' + h; }, `queues/${enc}/${enc}?tab=messages`);
  await page.getByRole('button', { name: 'Message 0' }).click();
  await page.locator('pre', { hasText: evil }).waitFor();
  await clean('an opened message');
  await page.locator('.actions summary', { hasText: 'Actions' }).click();
  await page.getByRole('menuitem', { name: 'Delete…' }).click();
  await dialog(page).getByRole('heading', { name: evil }).waitFor();
  await clean('a dialog');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+k');
  await page.locator('.palette input').fill('<img');
  await page.locator('.palette [role=option]', { hasText: evil }).first().waitFor();
  await clean('the palette');
  await b.api('DELETE', `/vhosts/${enc}`);
  await b.api('DELETE', `/users/${enc}`);
}
