'use strict';
// Reconnecting: a consumer that comes back after the connection was lost.
//
//   node reconnect.js [COUNT]
//
// amqplib's recovery opens a new connection and runs setup again; what it was
// subscribed to has to be said again, so setup says it. The queue is durable and
// not exclusive: it must be there when the consumer is not.

const amqp = require('amqplib');

const url = process.env.AMQP_URL || 'amqp://localhost';
const count = Number(process.argv[2] || 0);

async function main() {
  let seen = 0;
  let connection;

  async function setup(model) {
    const channel = await model.createChannel();
    await channel.assertQueue('steady', { durable: true });
    await channel.prefetch(1);
    await channel.consume('steady', (message) => {
      if (message === null) return;
      seen++;
      console.log(`got ${message.content}${message.fields.redelivered ? ' again' : ''}`);
      channel.ack(message);
      if (seen === count) connection.close();
    });
    console.log('consuming');
  }

  connection = await amqp.connect(url, { recovery: { setup, initialDelay: 50, maxDelay: 500 } });
  connection.on('error', () => {});
  connection.on('reconnect-scheduled', () => console.log('connection lost'));
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
