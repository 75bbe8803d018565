import { equal, sees } from './browser.mjs';

// Every page with its heading and something that it shows of the traffic.
const all = [
  ['overview', 'Overview', 'Messages a second'],
  ['map', 'Map', ''],
  ['route', 'Where would this go?', 'A message'],
  ['queues', 'Queues & streams', 'billing'],
  ['queues/%2F/billing', 'billing', 'Facts'],
  ['queues/%2F/billing?tab=consumers', 'billing', 'billing-1'],
  ['queues/%2F/billing?tab=bindings', 'billing', 'order.paid.*'],
  ['queues/%2F/billing?tab=settings', 'billing', 'argument, when declared'],
  ['queues/%2F/history', 'history', 'Offsets'],
  ['queues/%2F/history?tab=messages', 'history', 'order.paid.asia'],
  ['exchanges', 'Exchanges', 'orders'],
  ['exchanges/%2F/orders', 'orders', 'order.paid.eu'],
  ['exchanges/%2F/orders?tab=rates', 'orders', 'Messages a second'],
  ['exchanges/%2F/amq.default', '(default)', 'It leads to every queue by its name'],
  ['bindings', 'Bindings', 'order.paid.*'],
  ['dead-letters', 'Dead letters', 'billing'],
  ['tail', 'Live tail', 'Choose what to follow'],
  ['moves', 'Moves', ''],
  ['connections', 'Connections', 'shop-frontend'],
  ['channels', 'Channels', '(1)'],
  ['consumers', 'Consumers', 'billing-1'],
  ['clients', 'MQTT clients', ''],
  ['retained', 'Retained topics', ''],
  ['subscriptions', 'STOMP subscriptions', ''],
  ['node', /leveret@/, 'Where memory went'],
  ['vhosts', 'Virtual hosts', '/'],
  ['vhosts/%2F', '/', 'Who may use it'],
  ['users', 'Users', 'guest'],
  ['users/guest', 'guest', 'Topic permissions'],
  ['permissions', 'Permissions', 'guest'],
  ['permissions?tab=topics', 'Permissions', ''],
  ['policies', 'Policies', ''],
  ['operator-policies', 'Policies', 'operator policies'],
  ['limits', 'Limits', 'Of virtual hosts'],
  ['definitions', 'Definitions', 'Download definitions'],
  ['shovels', 'Shovels', ''],
  ['audit', 'Audit log', ''],
  ['features', 'Feature flags', 'Going away'],
];

export async function eachShowsWhatItIsAbout(b) {
  const page = await b.page();
  await sees(page, 'Messages in queues');
  for (const [hash, heading, text] of all) {
    await page.evaluate((h) => { location.hash = '#/' + h; }, hash);
    await page.locator('h1', { hasText: heading }).waitFor();
    if (text) await sees(page, text);
    await page.waitForFunction(() => !document.querySelector('#main .loading'));
    const bad = await page.locator('#main .note-box.bad').allInnerTexts();
    if (bad.length > 0) throw new Error(`${hash}: ${bad.join(' ')}`);
  }
}

export async function linksOfTheNavigationLeadToPages(b) {
  const page = await b.page();
  await sees(page, 'Messages in queues');
  const links = await page.locator('.side .group a').evaluateAll((all) => all.map((a) => a.getAttribute('href')));
  if (links.length < 20) throw new Error(`only ${links.length} links`);
  const known = new Set(all.map(([h]) => '#/' + h));
  equal(links.filter((l) => !known.has(l)), [], 'links to pages that are not tested');
}

export async function anUnknownPageSaysSo(b) {
  const page = await b.page({ hash: '#/nowhere' });
  await page.getByRole('heading', { name: 'No such page' }).waitFor();
}

export async function whatIsGoneSaysSo(b) {
  const page = await b.page({ hash: '#/queues/%2F/never-was' });
  await page.getByText('This queue is not there').waitFor();
  await page.evaluate(() => { location.hash = '#/connections/never-was'; });
  await page.getByText('This connection has ended').waitFor();
}
