'use strict';
// Drives the page of examples/web in a real browser and prints each step it
// saw. The test that runs it takes the broker away after "broker may go" and
// brings it back after "an order is kept".
//
//   node drive.js URL SCREENSHOT.png

const { chromium } = require('playwright-core');

const [url, screenshot] = process.argv.slice(2);
const patience = Number(process.env.PATIENCE_S || 120) * 1000;

async function main() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    timeout: patience,
    // Nothing but the page uses the network.
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
  const page = await browser.newPage({ viewport: { width: 960, height: 880 } });
  page.setDefaultTimeout(patience);
  page.on('pageerror', (err) => console.log(`error in the page: ${err.message}`));

  // Rows leave the page's table again; this remembers all of them.
  await page.addInitScript(() => {
    window.rows = [];
    addEventListener('DOMContentLoaded', () => {
      new MutationObserver((changes) => {
        for (const change of changes) {
          for (const row of change.addedNodes) window.rows.push([...row.cells].map((cell) => cell.textContent).join(' | '));
        }
      }).observe(document.getElementById('log'), { childList: true });
    });
  });
  const passed = (text) => page.waitForFunction((start) => window.rows.some((row) => row.startsWith(start)), text);
  const forget = () => page.evaluate(() => { window.rows = []; });
  const link = (state) => page.waitForSelector(`#link[data-state=${state}]`);
  const limit = async (value) => {
    await page.fill('#limit', value);
    await page.click('#order button');
  };
  const receipts = () => page.waitForSelector('#pending[data-count="0"]');

  await page.goto(url);
  await link('connected');
  console.log('connected');
  await passed('device north | /topic/greenhouse.north.temperature | ');
  console.log('the page hears the device');
  await passed('station | /queue/');
  console.log('the station answers the page');
  await receipts();
  console.log('receipts');

  await forget();
  await page.click('[data-house=north] [data-vent=open]');
  await passed('page | /topic/greenhouse.north.vent | open');
  await passed('device north | /topic/greenhouse.north.state | open');
  console.log('the device hears the page');
  await forget();
  await page.click('[data-house=north] [data-vent=closed]');
  await passed('device north | /topic/greenhouse.north.state | closed');
  // Colder than it is: the station has the device open its vent.
  await forget();
  await limit('5');
  await page.waitForSelector('#answer[data-limit="5"]');
  await passed('station | /topic/greenhouse.north.vent | open');
  console.log('the device hears the station');
  await limit('27');
  await page.waitForSelector('#answer[data-limit="27"]');
  await receipts();
  if (process.env.CURVE) {
    // Enough readings for a curve in the picture.
    await page.click('[data-house=north] [data-vent=closed]');
    await page.waitForFunction(() => window.rows.filter((row) => row.includes('.temperature')).length > 110);
  }
  await page.screenshot({ path: screenshot });
  console.log('screenshot');

  console.log('broker may go');
  await link('lost');
  console.log('lost');
  const before = await page.textContent('[data-house=north] .reading');
  await limit('26');
  await page.waitForSelector('#pending[data-count="1"]');
  console.log('an order is kept');
  await link('connected');
  console.log('connected again');
  await page.waitForSelector('#answer[data-limit="26"]');
  await receipts();
  console.log('the order arrived');
  await page.waitForFunction((old) => document.querySelector('[data-house=north] .reading').textContent !== old, before);
  console.log('readings go on');
  await browser.close();
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
