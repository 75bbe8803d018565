'use strict';
// RPC over direct reply-to: server and client on two connections.
//
//   node rpc.js [N...]

const amqp = require('amqplib');
const { randomUUID } = require('node:crypto');

const url = process.env.AMQP_URL || 'amqp://localhost';
const numbers = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [1, 2, 3];

async function serve(connection) {
  const channel = await connection.createChannel();
  await channel.assertQueue('squares', { durable: false, autoDelete: true });
  await channel.consume('squares', (message) => {
    const n = Number(message.content);
    const { replyTo, correlationId } = message.properties;
    channel.sendToQueue(replyTo, Buffer.from(String(n * n)), { correlationId });
    channel.ack(message);
  });
}

async function client(connection) {
  const channel = await connection.createChannel();
  const waiting = new Map();
  await channel.consume(
    'amq.rabbitmq.reply-to',
    (message) => {
      waiting.get(message.properties.correlationId)?.(Number(message.content));
      waiting.delete(message.properties.correlationId);
    },
    { noAck: true },
  );
  return (n) =>
    new Promise((resolve) => {
      const correlationId = randomUUID();
      waiting.set(correlationId, resolve);
      channel.sendToQueue('squares', Buffer.from(String(n)), { correlationId, replyTo: 'amq.rabbitmq.reply-to' });
    });
}

async function main() {
  const [there, here] = await Promise.all([amqp.connect(url), amqp.connect(url)]);
  await serve(there);
  const square = await client(here);
  const answers = await Promise.all(numbers.map(square));
  numbers.forEach((n, i) => console.log(`square(${n}) = ${answers[i]}`));
  await here.close();
  await there.close();
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
