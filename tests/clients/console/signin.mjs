import { equal, sees } from './browser.mjs';

export async function wrongPasswordIsSaid(b) {
  const page = await b.page({ user: null, hash: '#/queues?q=bill' });
  await page.getByLabel('User').fill('guest');
  await page.getByLabel('Password').fill('wrong');
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.getByText('Wrong user or password.').waitFor();
  // The right one leads to where the link pointed.
  await page.getByLabel('Password').fill('guest');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Queues & streams' }).waitFor();
  await page.getByRole('link', { name: 'billing', exact: true }).waitFor();
  equal(await page.getByLabel('Filter queues by name').inputValue(), 'bill', 'the filter of the link');
  // A reload stays signed in; nothing is in cookies or in lasting storage.
  await page.reload();
  await page.getByRole('link', { name: 'billing', exact: true }).waitFor();
  equal(await page.context().cookies(), [], 'cookies');
  equal(await page.evaluate(() => Object.values(localStorage).some((v) => v.includes('Basic'))), false, 'credentials in local storage');
  await page.locator('.user summary').click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Password').waitFor();
  equal(await page.evaluate(() => sessionStorage.getItem('leveret.auth')), null, 'credentials after signing out');
}

export async function anotherTabNeedNotSignIn(b) {
  const page = await b.page();
  await sees(page, 'Messages in queues');
  const other = await page.context().newPage();
  await other.addInitScript(() => sessionStorage.clear());
  await other.goto(b.base + '#/exchanges');
  await other.getByRole('heading', { name: 'Exchanges' }).waitFor();
  // Signing out in one signs out in both.
  await other.locator('.user summary').click();
  await other.getByRole('button', { name: 'Sign out' }).click();
  await page.getByText('You signed out in another tab.').waitFor();
}

export async function idleSignsOut(b) {
  const minutes = (await b.api('GET', '/auth')).login_session_timeout;
  const page = await b.page({ user: null });
  await page.clock.install();
  await page.reload();
  await page.getByLabel('User').fill('guest');
  await page.getByLabel('Password').fill('guest');
  await page.keyboard.press('Enter');
  await sees(page, 'Messages in queues');
  await page.clock.fastForward((minutes - 1) * 60_000);
  await sees(page, 'Messages in queues');
  await page.clock.fastForward(2 * 60_000);
  await page.clock.runFor(10_000);
  await page.getByText('without activity').waitFor();
  equal(await page.evaluate(() => sessionStorage.getItem('leveret.auth')), null, 'credentials after the time');
}

export async function filesForbidWhatIsNotTheirs(b) {
  for (const path of ['', 'app.js', 'app.css']) {
    const res = await fetch(b.base + path);
    const csp = res.headers.get('content-security-policy') ?? '';
    for (const want of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"]) {
      if (!csp.includes(want)) throw new Error(`${path}: policy ${csp}`);
    }
    if (/unsafe/.test(csp)) throw new Error(`${path}: policy ${csp}`);
  }
  // An inline script does not run.
  const page = await b.page();
  await sees(page, 'Messages in queues');
  const ran = await page.evaluate(() => {
    const s = document.createElement('script');
    s.textContent = 'window.ran = true';
    document.head.append(s);
    return window.ran === true;
  });
  equal(ran, false, 'an inline script ran');
  b.faults.length = 0; // That it was refused was said, which is what we wanted.
}
