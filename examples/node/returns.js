'use strict';
// Mandatory messages: what no queue takes comes back, before it is confirmed.
//
//   node returns.js

const amqp = require('amqplib');

const url = process.env.AMQP_URL || 'amqp://localhost';

async function main() {
  const connection = await amqp.connect(url);
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });

  const events = [];
  channel.on('return', (message) => {
    const { replyCode, replyText, routingKey } = message.fields;
    events.push(`returned ${replyCode} ${replyText} ${routingKey} ${message.content} ${message.properties.headers.n}`);
  });
  const publish = (key, text) =>
    new Promise((resolve, reject) =>
      channel.publish('', key, Buffer.from(text), { mandatory: true, headers: { n: 2 ** 40 } }, (err) => {
        events.push(`confirmed ${text}`);
        if (err) reject(err);
        else resolve();
      }),
    );

  await publish(queue, 'first');
  await publish('nowhere', 'second');
  await publish(queue, 'third');
  console.log(events.join('\n'));
  await connection.close();
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
