'use strict';
// Publisher confirms: publish a burst, then wait until the broker has all of it.
//
//   node confirms.js [COUNT]

const amqp = require('amqplib');

const url = process.env.AMQP_URL || 'amqp://localhost';
const count = Number(process.argv[2] || 1000);

async function main() {
  const connection = await amqp.connect(url);
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });

  let confirmed = 0;
  for (let i = 0; i < count; i++) {
    const room = channel.sendToQueue(queue, Buffer.from(`message ${i}`), {}, (err) => {
      if (err) console.log(`refused: ${i}`);
      else confirmed++;
    });
    // false says that the socket's buffer is full.
    if (!room) await new Promise((resolve) => channel.once('drain', resolve));
  }
  await channel.waitForConfirms();
  console.log(`confirmed ${confirmed} of ${count}`);

  const { messageCount } = await channel.checkQueue(queue);
  console.log(`in the queue: ${messageCount}`);
  await connection.close();
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
