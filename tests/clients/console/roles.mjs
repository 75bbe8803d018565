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

// Whatever a tag is offered in the navigation opens without a refusal, and what
// it may not do is not offered.
export async function eachTagIsOfferedWhatItMayDo(b) {
  const offers = {
    management: [],
    policymaker: ['Policies'],
    monitoring: ['Node', 'Shovels'],
    administrator: ['Node', 'Users', 'Permissions', 'Policies', 'Limits', 'Definitions', 'Shovels', 'Audit log'],
  };
  const guarded = offers.administrator;
  for (const [tag, want] of Object.entries(offers)) {
    await user(b, `the-${tag}`, tag, { configure: '.*', write: '.*', read: '.*' });
    const page = await b.page({ user: `the-${tag}:the-${tag}` });
    const refused = [];
    page.on('response', (r) => { if ([401, 403].includes(r.status())) refused.push(`${r.status()} ${decodeURIComponent(r.url())}`); });
    await sees(page, 'Messages in queues');
    const links = await page.locator('.side .group a').evaluateAll((all) => all.map((a) => [a.textContent.trim(), a.getAttribute('href')]));
    equal(guarded.filter((g) => links.some(([name]) => name === g)), want, `guarded pages offered to ${tag}`);
    // All pages with the fewest rights; with more, those that they open.
    const opened = links.filter(([name]) => tag === 'management' || want.includes(name)).map(([, href]) => href);
    for (const hash of [...opened, '#/queues/%2F/billing', '#/queues/%2F/billing?tab=settings', '#/queues/%2F/billing?tab=consumers', '#/exchanges/%2F/orders', '#/vhosts/%2F']) {
      await page.evaluate((h) => { location.hash = h; }, hash);
      await page.waitForFunction(() => document.querySelector('#main h1') && !document.querySelector('#main .loading'));
      const bad = await page.locator('#main .note-box.bad').allInnerTexts();
      if (bad.length > 0) throw new Error(`${tag} at ${hash}: ${bad.join(' ')}`);
    }
    if (tag !== 'administrator') {
      await page.evaluate(() => { location.hash = '#/vhosts'; });
      await row(page, '/').waitFor();
      equal(await page.getByRole('button', { name: 'New virtual host' }).count(), 0, `${tag}: new virtual hosts`);
    }
    equal(refused, [], `what ${tag} was refused`);
    await page.close();
  }
}
