'use strict';
// Consumer cancel notification: the callback gets null when the queue is gone.
//
//   node cancel_notify.js

const amqp = require('amqplib');

const url = process.env.AMQP_URL || 'amqp://localhost';

async function main() {
  const connection = await amqp.connect(url);
  const channel = await connection.createChannel();
  const other = await connection.createChannel();
  const { queue } = await channel.assertQueue('short-lived', { durable: false });

  const cancelled = new Promise((resolve) => {
    channel.consume(queue, (message) => {
      if (message === null) return resolve();
      console.log(`got ${message.content}`);
      channel.ack(message);
      other.deleteQueue(queue);
    });
  });
  channel.sendToQueue(queue, Buffer.from('the last message'));
  await cancelled;
  console.log('cancelled by the broker');

  // The channel is as good as before.
  await channel.assertQueue('short-lived', { durable: false, autoDelete: true });
  await channel.deleteQueue('short-lived');
  await connection.close();
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
