// MQTT.js against the broker of the environment: node check.js tcp|ws 4|5
'use strict'
const assert = require('node:assert')
const mqtt = require('mqtt')

const [transport, version] = [process.argv[2], Number(process.argv[3])]
const host = process.env.MQTT_HOST
const url = transport === 'ws' ? `ws://${host}:${process.env.MQTT_WS_PORT}/ws` : `mqtt://${host}:${process.env.MQTT_PORT}`
const base = `js/${transport}/${version}`

function connect (id, options = {}) {
  return mqtt.connectAsync(url, { clientId: `js-${transport}-${version}-${id}`, protocolVersion: version, reconnectPeriod: 0, ...options })
}

function messages (client) {
  const waiting = []
  const ready = []
  client.on('message', (topic, payload, packet) => {
    const m = { topic, payload: payload.toString(), packet }
    waiting.length ? waiting.shift()(m) : ready.push(m)
  })
  return () => new Promise(resolve => ready.length ? resolve(ready.shift()) : waiting.push(resolve))
}

async function main () {
  const a = await connect('a')
  const b = await connect('b')
  const next = messages(a)

  for (const qos of [0, 1, 2]) {
    const granted = await a.subscribeAsync(`${base}/q${qos}/+`, { qos })
    assert.equal(granted[0].qos, qos)
    await Promise.all(Array.from({ length: 100 }, (_, i) => b.publishAsync(`${base}/q${qos}/${i}`, `m${i}`, { qos })))
    for (let i = 0; i < 100; i++) {
      const m = await next()
      assert.equal(m.topic, `${base}/q${qos}/${i}`)
      assert.equal(m.payload, `m${i}`)
      assert.equal(m.packet.qos, qos)
    }
  }

  // A large payload, over many frames and reads.
  await a.subscribeAsync(`${base}/large`, { qos: 1 })
  const large = 'x'.repeat(3 << 20)
  await b.publishAsync(`${base}/large`, large, { qos: 1 })
  assert.equal((await next()).payload, large)

  // Retained, for a later subscriber.
  await b.publishAsync(`${base}/kept`, 'kept', { qos: 1, retain: true })
  await a.subscribeAsync(`${base}/kept`, { qos: 1 })
  assert.equal((await next()).packet.retain, true)

  if (version === 5) {
    await a.subscribeAsync(`${base}/props`, { qos: 1, properties: { subscriptionIdentifier: 7 } })
    await b.publishAsync(`${base}/props`, 'x', {
      qos: 1,
      properties: { contentType: 'text/plain', responseTopic: 're/ply', correlationData: Buffer.from([0, 1]), userProperties: { k: ['v', 'w'] } }
    })
    const p = (await next()).packet.properties
    assert.equal(p.contentType, 'text/plain')
    assert.equal(p.responseTopic, 're/ply')
    assert.deepEqual([...p.correlationData], [0, 1])
    assert.deepEqual([...p.userProperties.k], ['v', 'w'])
    assert.equal(p.subscriptionIdentifier, 7)
  }

  // A lasting session, filled while its client is away.
  const lasting = { clean: false, properties: version === 5 ? { sessionExpiryInterval: 600 } : undefined }
  let c = await connect('c', lasting)
  await c.subscribeAsync(`${base}/away`, { qos: 2 })
  await c.endAsync()
  for (let i = 0; i < 20; i++) await b.publishAsync(`${base}/away`, String(i), { qos: 2 })
  const again = mqtt.connect(url, { clientId: `js-${transport}-${version}-c`, protocolVersion: version, reconnectPeriod: 0, ...lasting })
  const nextOfC = messages(again)
  for (let i = 0; i < 20; i++) assert.equal((await nextOfC()).payload, String(i))
  c = again

  await Promise.all([a, b, c].map(x => x.endAsync()))
}

const late = setTimeout(() => { console.error('too late'); process.exit(1) }, 100000)
main().then(() => clearTimeout(late), err => { console.error(err); process.exit(1) })
