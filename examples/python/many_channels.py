#!/usr/bin/env python3
"""Several channels on one connection: each is a conversation of its own.

    python many_channels.py [COUNT]

An error closes the channel it happened on and no other.
"""
import os
import sys

import pika

count = int(sys.argv[1]) if len(sys.argv) > 1 else 10

connection = pika.BlockingConnection(
    pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"))
)
channels = [connection.channel() for _ in range(count)]
queues = [ch.queue_declare(queue="", exclusive=True).method.queue for ch in channels]

# Each channel publishes to the queue of the next one. Order is kept within a
# channel, not between two, so a publish waits until the broker has the message.
for i, channel in enumerate(channels):
    channel.confirm_delivery()
    channel.basic_publish(exchange="", routing_key=queues[(i + 1) % count], body=f"from {i}")

for i, channel in enumerate(channels):
    _method, _properties, body = channel.basic_get(queue=queues[i], auto_ack=True)
    print(f"channel {channel.channel_number} got {body.decode()!r}")

try:
    channels[0].queue_declare(queue="a queue that is not there", passive=True)
except pika.exceptions.ChannelClosedByBroker as e:
    print(f"channel {channels[0].channel_number} closed: {e.reply_code}")
print(f"open: {sum(ch.is_open for ch in channels)} of {count}")
connection.close()
