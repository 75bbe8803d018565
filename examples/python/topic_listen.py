#!/usr/bin/env python3
"""Topics: print the lines whose key matches a pattern.

    python topic_listen.py 'kern.*' '*.critical'
"""
import os
import sys

import pika

keys = sys.argv[1:]
if not keys:
    sys.exit(f"usage: {sys.argv[0]} KEY...")

connection = pika.BlockingConnection(
    pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"))
)
channel = connection.channel()
channel.exchange_declare(exchange="logs_by_topic", exchange_type="topic")
mine = channel.queue_declare(queue="", exclusive=True).method.queue

# In a pattern, * stands for exactly one word and # for any number of words,
# none included.
for key in keys:
    channel.queue_bind(queue=mine, exchange="logs_by_topic", routing_key=key)


def show(_channel, method, _properties, body):
    print(f"{method.routing_key}: {body.decode()!r}")


channel.basic_consume(queue=mine, on_message_callback=show, auto_ack=True)
print(f"listening for {' '.join(keys)}")
try:
    channel.start_consuming()
except KeyboardInterrupt:
    connection.close()
