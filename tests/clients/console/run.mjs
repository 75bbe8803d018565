// Drives the console in Chromium over a broker with traffic; see ../console_test.go.
//
//   node run.mjs http://127.0.0.1:15672/
//
// A part is a file that exports steps, functions by name, which get a browser and
// throw what does not hold. Each step that holds prints "ok part/name".
// CONSOLE_ONLY names some parts or steps, SHOTS a directory for screenshots of
// pages on which a step failed.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { start } from './browser.mjs';
import * as signin from './signin.mjs';
import * as pages from './pages.mjs';
import * as lists from './lists.mjs';
import * as queues from './queues.mjs';
import * as deadletters from './deadletters.mjs';
import * as explain from './explain.mjs';
import * as admin from './admin.mjs';
import * as clients from './clients.mjs';
import * as roles from './roles.mjs';
import * as hostile from './hostile.mjs';
import * as many from './many.mjs';
import * as looks from './looks.mjs';

const parts = { signin, pages, lists, queues, deadletters, explain, admin, clients, roles, hostile, many, looks };
const only = (process.env.CONSOLE_ONLY ?? '').split(',').filter(Boolean);
const shots = process.env.SHOTS;

const b = await start(process.argv[2]);
let failed = 0;
for (const [part, steps] of Object.entries(parts)) {
  for (const [name, step] of Object.entries(steps)) {
    const id = `${part}/${name}`;
    if (only.length > 0 && !only.some((o) => id === o || part === o)) continue;
    const began = Date.now();
    try {
      await step(b);
      await b.done();
      console.log(`ok ${id}`);
    } catch (err) {
      failed++;
      console.log(`FAIL ${id} ${String(err?.message ?? err).replaceAll(/\s*\n\s*/g, ' | ').replaceAll(/\u001b\[\d+m/g, '').slice(0, 1500)}`);
      if (shots) {
        mkdirSync(shots, { recursive: true });
        await b.shoot(join(shots, id.replace('/', '-')));
      }
      await b.done().catch(() => {});
    }
    if (process.env.TIMES) console.log(`   ${Date.now() - began} ms`);
  }
}
await b.close();
process.exit(failed > 0 ? 1 : 0);
