'use strict';
// Prefetch: at most three jobs are unacked at any time.
//
//   node prefetch.js [COUNT]

const amqp = require('amqplib');

const url = process.env.AMQP_URL || 'amqp://localhost';
const count = Number(process.argv[2] || 20);
const limit = 3;

async function main() {
  const connection = await amqp.connect(url);
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.prefetch(limit);
  for (let i = 0; i < count; i++) channel.sendToQueue(queue, Buffer.from(String(i)));

  let working = 0;
  let most = 0;
  const order = [];
  await new Promise((resolve) => {
    channel.consume(queue, (message) => {
      working++;
      most = Math.max(most, working);
      order.push(Number(message.content));
      setTimeout(() => {
        working--;
        channel.ack(message);
        if (order.length === count && working === 0) resolve();
      }, 10);
    });
  });
  const inOrder = order.every((n, i) => n === i);
  console.log(`did ${order.length} jobs ${inOrder ? 'in order' : 'out of order'}, at most ${most} at once`);
  await connection.close();
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
