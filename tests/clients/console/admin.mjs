import { act, confirm, dialog, equal, row, sees } from './browser.mjs';

export async function usersPermissionsAndVirtualHosts(b) {
  const page = await b.page({ hash: '#/vhosts' });
  await page.getByRole('button', { name: 'New virtual host' }).click();
  await dialog(page).locator('input[name=name]').fill('shop');
  await dialog(page).getByLabel('Description').fill('Where things are sold');
  await confirm(page);
  await page.getByRole('heading', { name: 'shop' }).waitFor();
  await sees(page, 'Where things are sold');

  await page.evaluate(() => { location.hash = '#/users'; });
  await page.getByRole('button', { name: 'New user' }).click();
  await dialog(page).locator('input[name=name]').fill('clerk');
  await dialog(page).locator('input[name=new-password]').fill('secret');
  await dialog(page).getByLabel('monitoring').check();
  await confirm(page);
  await page.getByRole('heading', { name: 'clerk' }).waitFor();
  await sees(page, 'This user can do nothing yet');
  await page.getByRole('button', { name: 'Give permission' }).click();
  await dialog(page).getByLabel('Virtual host').selectOption('shop');
  await dialog(page).locator('input[name=configure]').fill('^shop\\.');
  await confirm(page);
  await row(page, '^shop\\.').waitFor();
  equal(await b.api('GET', '/whoami', undefined, 'clerk:secret').then((w) => [w.name, w.tags, w.permissions]),
    ['clerk', ['monitoring'], [{ configure: '^shop\\.', read: '.*', user: 'clerk', vhost: 'shop', write: '.*' }]], 'who the new user is');

  // A changed tag keeps the password.
  await act(page, 'Change…');
  await dialog(page).getByLabel('policymaker').check();
  await confirm(page);
  await page.locator('.badges', { hasText: 'policymaker' }).waitFor();
  equal((await b.api('GET', '/whoami', undefined, 'clerk:secret')).tags.sort(), ['monitoring', 'policymaker'], 'tags');

  await act(page, 'Delete…');
  await confirm(page);
  await page.getByRole('heading', { name: 'Users' }).waitFor();
  await page.evaluate(() => { location.hash = '#/vhosts/shop'; });
  await page.getByRole('heading', { name: 'shop' }).waitFor();
  await act(page, 'Delete…');
  await confirm(page, 'shop');
  await page.getByRole('heading', { name: 'Virtual hosts' }).waitFor();
  equal((await b.api('GET', '/vhosts')).some((v) => v.name === 'shop'), false, 'the virtual host is still there');
}

export async function policiesSayWhatCounts(b) {
  await b.vhost('ruled');
  await b.api('PUT', '/queues/ruled/a.one', { arguments: { 'x-message-ttl': 1000 } });
  await b.api('PUT', '/queues/ruled/a.two', {});
  const page = await b.page({ hash: '#/policies?vhost=ruled' });
  await page.getByRole('button', { name: 'New policy' }).click();
  await dialog(page).locator('input[name=name]').fill('short');
  await dialog(page).getByLabel('Names that match').fill('^a\\.');
  await dialog(page).getByText('2\u00a0queues now: a.one, a.two').waitFor();
  await dialog(page).getByLabel('Message TTL').fill('5000');
  await dialog(page).getByLabel('Maximum length').fill('10');
  await confirm(page);
  await page.getByRole('heading', { name: 'short' }).waitFor();
  await page.getByText('Applies to 2\u00a0queues').waitFor();
  await page.getByRole('link', { name: 'a.one' }).click();
  await page.getByRole('tab', { name: 'Settings' }).click();
  // The lower of argument and policy counts, and who says so is told.
  const ttl = page.locator('tr', { hasText: 'message-ttl' });
  await ttl.getByText('1000 ms').waitFor();
  await ttl.getByText('policy short: 5000').waitFor();
  await page.locator('tr', { hasText: 'max-length' }).getByText('policy short').waitFor();
  await page.evaluate(() => { location.hash = '#/policies/ruled/short'; });
  await act(page, 'Delete…');
  await dialog(page).getByText('2\u00a0queues').waitFor();
  await confirm(page);
  await page.getByText('No policies').waitFor();
  await b.api('DELETE', '/vhosts/ruled');
}

export async function limitsAreSetAndRemoved(b) {
  await b.vhost('tight');
  const page = await b.page({ hash: '#/limits' });
  await page.getByRole('button', { name: 'Set a limit' }).first().click();
  await dialog(page).getByLabel('Virtual host').selectOption('tight');
  await dialog(page).locator('select[name=limit]').selectOption('max-queues');
  await dialog(page).locator('input[name=value]').fill('3');
  await confirm(page);
  await row(page, 'tight').waitFor();
  equal(await b.api('GET', '/vhost-limits/tight'), [{ value: { 'max-queues': 3 }, vhost: 'tight' }], 'limits');
  await row(page, 'tight').getByRole('button').click();
  await confirm(page);
  await row(page, 'tight').waitFor({ state: 'detached' });
  await b.api('DELETE', '/vhosts/tight');
}

export async function exchangesAndBindings(b) {
  await b.vhost('wired');
  await b.api('PUT', '/queues/wired/end', {});
  const page = await b.page({ hash: '#/exchanges?vhost=wired' });
  await page.getByRole('button', { name: 'New exchange' }).click();
  await dialog(page).locator('input[name=name]').fill('plans');
  await dialog(page).locator('select[name=type]').selectOption('headers');
  await confirm(page);
  await page.getByRole('heading', { name: 'plans' }).waitFor();
  await page.getByRole('button', { name: 'Bind a queue or exchange' }).click();
  await dialog(page).getByLabel('Queue', { exact: true }).last().fill('end');
  await dialog(page).getByLabel('Arguments').fill('{"x-match": "all", "kind": "house"}');
  await confirm(page);
  await row(page, 'end').waitFor();
  await page.getByRole('tab', { name: 'Where would this go?' }).click();
  await page.getByText('It would reach no queue').waitFor();
  await page.getByRole('button', { name: 'Add a header' }).click();
  await page.getByLabel('Header name').fill('kind');
  await page.getByLabel('Header value').fill('house');
  await page.getByText('It would reach 1\u00a0queue').waitFor();
  await act(page, 'Delete…');
  await confirm(page);
  await page.getByRole('heading', { name: 'Exchanges' }).waitFor();
  await b.api('DELETE', '/vhosts/wired');
}

export async function definitionsAreComparedBeforeTheyAreImported(b) {
  await b.vhost('defs');
  await b.api('PUT', '/queues/defs/old', {});
  await b.api('PUT', '/policies/defs/p', { pattern: 'x', definition: { 'max-length': 5 } });
  const page = await b.page({ hash: '#/definitions' });
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download definitions' }).click()]);
  if (!/^definitions-.*\.json$/.test(file.suggestedFilename())) throw new Error(`the file is called ${file.suggestedFilename()}`);
  await page.locator('textarea[name=definitions]').fill(JSON.stringify({
    queues: [{ name: 'old', vhost: 'defs', durable: true, auto_delete: false, arguments: {} }, { name: 'new', vhost: 'defs', durable: true, auto_delete: false, arguments: {} }],
    policies: [{ name: 'p', vhost: 'defs', pattern: 'x', definition: { 'max-length': 9 }, 'apply-to': 'all', priority: 0 }],
  }));
  await page.getByRole('button', { name: 'Show the difference' }).click();
  await page.locator('tr', { hasText: 'changed' }).getByText('max-length').waitFor();
  await page.locator('tr', { hasText: 'new' }).first().waitFor();
  equal((await b.api('GET', '/queues/defs')).length, 1, 'queues before the import');
  await page.getByRole('button', { name: 'Import…' }).click();
  await confirm(page);
  await b.until('the import', async () => (await b.api('GET', '/queues/defs')).length === 2);
  equal((await b.api('GET', '/policies/defs/p')).definition, { 'max-length': 9 }, 'the policy');
  await b.api('DELETE', '/vhosts/defs');
}

export async function permissionsAreExplained(b) {
  await b.api('PUT', '/users/asked', { password: 'asked', tags: '' });
  await b.api('PUT', '/permissions/%2F/asked', { configure: '', write: '^orders$', read: '^bill' });
  const page = await b.page({ hash: '#/permissions?tab=explain' });
  await page.locator('input[name=user]').fill('asked');
  await page.locator('input[name=name]').fill('billing');
  await page.getByRole('button', { name: 'Explain' }).click();
  await page.getByText('asked may', { exact: true }).waitFor();
  await page.locator('input[name=name]').fill('shipping');
  await page.getByRole('button', { name: 'Explain' }).click();
  await page.getByText('asked may not').waitFor();
  await page.locator('tr', { hasText: 'refuses' }).getByText('^bill').waitFor();
  await b.api('DELETE', '/users/asked');
}

export async function actsAreWrittenDown(b) {
  await b.vhost('noted');
  await b.api('DELETE', '/vhosts/noted');
  const page = await b.page({ hash: '#/audit' });
  await page.locator('tbody tr', { hasText: 'noted' }).filter({ hasText: 'guest' }).first().waitFor();
  await page.getByRole('tab', { name: 'Sign-ins' }).click();
  await page.locator('tr', { hasText: 'http' }).first().waitFor();
}

export async function aShovelIsMadeAndMoves(b) {
  await b.vhost('dug');
  await b.api('PUT', '/queues/dug/here', {});
  await b.api('PUT', '/queues/dug/there', {});
  for (let i = 0; i < 3; i++) await b.api('POST', '/exchanges/dug/amq.default/publish', { properties: {}, routing_key: 'here', payload: 'x', payload_encoding: 'string' });
  const page = await b.page({ hash: '#/shovels?vhost=dug' });
  await page.getByRole('button', { name: 'New shovel' }).click();
  await dialog(page).locator('input[name=name]').fill('spade');
  await dialog(page).locator('input[name=src-queue]').fill('here');
  await dialog(page).locator('input[name=dest-queue]').fill('there');
  await confirm(page);
  await row(page, 'spade').waitFor();
  await b.until('the messages are there', async () => (await b.api('GET', '/queues/dug/there')).messages_ready === 3);
  await row(page, 'spade').getByRole('link', { name: 'spade' }).click();
  await page.locator('.badges', { hasText: 'running' }).waitFor();
  await page.getByRole('button', { name: 'Delete…' }).click();
  await confirm(page);
  await page.getByText('No shovels').waitFor();
  await b.api('DELETE', '/vhosts/dug');
}
