'use strict';
// The browser's side of the greenhouse: STOMP over WebSocket, no framework.
//
// The address may say where else the broker is:
//   ?broker=ws://host:15674/ws&vhost=/&login=guest&passcode=guest

const at = new URLSearchParams(location.search);
const client = new StompJs.Client({
  brokerURL: at.get('broker') ?? `ws://${location.hostname}:15674/ws`,
  connectHeaders: {
    login: at.get('login') ?? 'guest',
    passcode: at.get('passcode') ?? 'guest',
    host: at.get('vhost') ?? '/',
  },
  heartbeatIncoming: 4000,
  heartbeatOutgoing: 4000,
  reconnectDelay: 500,
});

const $ = (id) => document.getElementById(id);

// The outbox holds what has no receipt yet. It is sent again on every new
// connection, so an order is not lost with the broker; it may arrive twice, and
// to set a limit or a vent twice does no harm.
const outbox = new Map();
let numbers = 0;

function send(destination, body, headers = {}) {
  const receipt = `page-${++numbers}`;
  outbox.set(receipt, { destination, body, headers: { from: 'page', receipt, ...headers } });
  if (client.connected) transmit(receipt);
  showPending();
}

function transmit(receipt) {
  client.watchForReceipt(receipt, () => {
    outbox.delete(receipt);
    showPending();
  });
  client.publish(outbox.get(receipt));
}

function showPending() {
  $('pending').textContent = outbox.size ? `${outbox.size} without a receipt` : numbers ? 'all receipts are here' : '';
  $('pending').dataset.count = outbox.size;
}

// order asks the station; its answer comes to a queue of this connection.
function order(what) {
  send('/queue/greenhouse.orders', JSON.stringify(what), {
    'content-type': 'application/json',
    'reply-to': '/temp-queue/answers',
    persistent: 'true',
  });
}

client.onConnect = () => {
  show('connected', 'connected');
  client.subscribe('/topic/greenhouse.#', onNews, { id: 'news' });
  for (const receipt of outbox.keys()) transmit(receipt);
  order({}); // What is the limit, and how are the houses?
};
client.onWebSocketClose = () => show('lost', 'no broker, trying again');
client.onStompError = (frame) => show('lost', frame.headers.message);

// A reply queue has no SUBSCRIBE, so its messages come here.
client.onUnhandledMessage = (message) => {
  const { limit, houses } = JSON.parse(message.body);
  $('limit').value = limit;
  $('answer').textContent = `the station opens above ${limit} °C`;
  $('answer').dataset.limit = limit;
  for (const [name, { temperature, state }] of Object.entries(houses)) {
    const h = house(name);
    h.limit = limit;
    if (temperature !== undefined) h.reading(temperature);
    if (state !== undefined) h.state(state);
  }
  log(message);
};

function onNews(message) {
  // greenhouse.north.temperature was greenhouse/north/temperature on the device.
  const [, name, what] = message.headers.destination.replace('/topic/', '').split('.');
  if (what === 'temperature') house(name).reading(message.body);
  if (what === 'state') house(name).state(message.body);
  log(message);
}

function log(message) {
  const row = $('log').insertRow(0);
  for (const text of [message.headers.from ?? '', message.headers.destination, message.body]) {
    row.insertCell().textContent = text;
  }
  row.dataset.from = message.headers.from;
  while ($('log').rows.length > 12) $('log').deleteRow(-1);
}

function show(state, text) {
  $('link').dataset.state = state;
  $('link').textContent = text;
}

const houses = new Map();

// house is a device's part of the page, made when it is first heard of.
function house(name) {
  if (houses.has(name)) return houses.get(name);
  const part = document.createElement('section');
  part.dataset.house = name;
  part.innerHTML = `<h2></h2>
    <div class="controls"><span class="reading">–</span>
      <span>vent <b class="vent">?</b></span>
      <button data-vent="open">Open</button><button data-vent="closed">Close</button></div>
    <svg viewBox="0 0 120 100" preserveAspectRatio="none"><line x1="0" x2="120"/><polyline/></svg>`;
  part.querySelector('h2').textContent = name;
  for (const button of part.querySelectorAll('button')) {
    // Straight to the device: its subscription is to greenhouse/NAME/vent.
    button.onclick = () => send(`/topic/greenhouse.${name}.vent`, button.dataset.vent);
  }
  $('houses').append(part);
  const seen = [];
  const y = (degrees) => 100 - (degrees - 15) * 5; // 15 to 35 °C.
  const h = {
    limit: Number($('limit').value),
    reading(text) {
      part.querySelector('.reading').textContent = `${text} °C`;
      seen.push(Number(text));
      if (seen.length > 121) seen.shift();
      part.querySelector('polyline').setAttribute('points', seen.map((v, i) => `${i},${y(v)}`).join(' '));
      for (const end of ['y1', 'y2']) part.querySelector('line').setAttribute(end, y(h.limit));
    },
    state(text) { part.querySelector('.vent').textContent = text; },
  };
  houses.set(name, h);
  return h;
}

$('order').onsubmit = (event) => {
  event.preventDefault();
  order({ limit: Number($('limit').value) });
};

client.activate();
