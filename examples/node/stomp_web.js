'use strict';
// STOMP over WebSocket, as in a browser: subscribe, send, receipts, acks, a
// transaction, and a reconnect when the broker breaks the connection.
//
//   node stomp_web.js [COUNT]

const { Client } = require('@stomp/stompjs');
const WebSocket = require('ws');

const url = process.env.WEB_STOMP_URL || 'ws://localhost:15674/ws';
const vhost = process.env.VHOST || '/';
const count = Number(process.argv[2] || 100);

const client = new Client({
  webSocketFactory: () => new WebSocket(url, ['v12.stomp', 'v11.stomp', 'v10.stomp']),
  connectHeaders: { login: 'guest', passcode: 'guest', host: vhost },
  heartbeatIncoming: 1000,
  heartbeatOutgoing: 1000,
  reconnectDelay: 200,
});

client.onStompError = (frame) => console.log(`error: ${frame.headers.message}`);
client.onWebSocketError = (event) => console.log(`WebSocket: ${event.message}`);

// connected resolves at the next CONNECTED.
const connected = () => new Promise((resolve) => { client.onConnect = resolve; });

// receipt sends with a receipt and resolves when it has come.
let receipts = 0;
const receipt = (send) => new Promise((resolve) => {
  const id = `receipt-${++receipts}`;
  client.watchForReceipt(id, resolve);
  send(id);
});

async function main() {
  const up = connected();
  client.activate();
  const frame = await up;
  console.log(`connected, version ${frame.headers.version}`);

  const got = [];
  let arrived;
  const all = new Promise((resolve) => { arrived = resolve; });
  await receipt((id) => {
    client.subscribe('/queue/web', (message) => {
      got.push(message);
      message.ack();
      if (got.length === count + 2) arrived();
    }, { id: 'mine', ack: 'client-individual', 'prefetch-count': '10', receipt: id });
  });
  console.log('subscribed');

  const sent = [];
  for (let i = 0; i < count; i++) {
    sent.push(receipt((id) => client.publish({ destination: '/queue/web', body: `käse ${i}`, headers: { receipt: id, n: String(i) } })));
  }
  await Promise.all(sent);
  console.log(`${count} receipts`);

  const binary = new Uint8Array(1 << 20).map((_, i) => i * 7);
  client.publish({ destination: '/queue/web', binaryBody: binary, headers: { 'content-type': 'application/octet-stream' } });
  const tx = client.begin();
  client.publish({ destination: '/queue/web', body: 'last', headers: { transaction: tx.id } });
  tx.commit();
  await all;
  const inOrder = got.slice(0, count).every((m, i) => m.body === `käse ${i}` && m.headers.n === String(i));
  console.log(`received ${got.length}, ${inOrder ? 'in order' : 'out of order'}`);
  console.log(`binary of ${got[count].binaryBody.length} bytes, ${Buffer.compare(got[count].binaryBody, binary) === 0 ? 'the same' : 'changed'}`);
  console.log(`last: ${got[count + 1].body}`);

  // What the broker refuses for good ends the connection; the library comes back.
  const back = connected();
  client.publish({ destination: '/exchange/nowhere/x', body: '' });
  await back;
  console.log('connected again');
  await client.deactivate();
  console.log('disconnected');
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
