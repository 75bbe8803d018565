import { equal, row, sees } from './browser.mjs';

async function user(b, name, tags, permissions) {
  await b.api('PUT', `/users/${name}`, { password: name, tags });
  if (permissions) await b.api('PUT', `/permissions/%2F/${name}`, permissions);
}

export async function aUserWithoutTagsIsToldWhy(b) {
  await user(b, 'nobody', '');
  const page = await b.page({ user: null });
  await page.getByLabel('User').fill('nobody');
  await page.getByLabel('Password').fill('nobody');
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.getByText('has none of the tags').waitFor();
}

export async function managementSeesNoAdministration(b) {
  await user(b, 'plain', 'management', { configure: '^mine', write: '^mine', read: '.*' });
  const page = await b.page({ user: 'plain:plain' });
  await sees(page, 'Messages in queues');
  const links = await page.locator('.side .group a').allInnerTexts();
  for (const l of ['Users', 'Permissions', 'Policies', 'Limits', 'Definitions', 'Audit log', 'Node']) {
    if (links.some((x) => x.trim() === l)) throw new Error(`${l} is offered`);
  }
  // What its permissions do not cover is not offered; what they cover is.
  await page.evaluate(() => { location.hash = '#/queues/%2F/shipping'; });
  await page.getByRole('heading', { name: 'shipping' }).waitFor();
  await page.locator('.actions summary', { hasText: 'Actions' }).click();
  await page.getByRole('menuitem', { name: 'Purge…' }).waitFor();
  equal(await page.getByRole('menuitem', { name: 'Delete…' }).count(), 0, 'delete is offered');
  equal(await page.getByRole('tab', { name: 'Publish' }).count(), 0, 'publish is offered');
  // Others' connections are not shown.
  await page.evaluate(() => { location.hash = '#/connections'; });
  await page.getByText('No connections').waitFor();
}

export async function readOnlyHidesActs(b) {
  const page = await b.page({ hash: '#/queues' });
  await row(page, 'billing').waitFor();
  await page.locator('.user summary').click();
  await page.getByLabel('Read-only').check();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'New queue' }).waitFor({ state: 'detached' });
  equal(await page.locator('tbody input[type=checkbox]').count(), 0, 'rows can be selected');
  await page.reload();
  await row(page, 'billing').waitFor();
  equal(await page.getByRole('button', { name: 'New queue' }).count(), 0, 'read-only is forgotten');
}

export async function aRefusalSaysWhatToDo(b) {
  await user(b, 'reader', 'management', { configure: '', write: '', read: '.*' });
  // The console would not offer it; the broker refuses it all the same.
  const page = await b.page({ user: 'reader:reader', hash: '#/queues' });
  await row(page, 'billing').waitFor();
  await page.getByRole('button', { name: 'New queue' }).click();
  await page.locator('dialog input[name=name]').fill('not-mine');
  await page.locator('dialog footer button[type=submit]').click();
  await page.locator('dialog').getByText('Your permissions do not cover this').waitFor();
}
