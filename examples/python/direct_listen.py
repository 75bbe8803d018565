#!/usr/bin/env python3
"""Routing: print the lines of the severities you name.

    python direct_listen.py info warning error
"""
import os
import sys

import pika

keys = sys.argv[1:]
if not keys:
    sys.exit(f"usage: {sys.argv[0]} LEVEL...")

connection = pika.BlockingConnection(
    pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"))
)
channel = connection.channel()
channel.exchange_declare(exchange="logs_by_level", exchange_type="direct")
mine = channel.queue_declare(queue="", exclusive=True).method.queue

# A direct exchange delivers where the binding key equals the routing key, so a
# listener binds once for each severity it wants.
for key in keys:
    channel.queue_bind(queue=mine, exchange="logs_by_level", routing_key=key)


def show(_channel, method, _properties, body):
    print(f"{method.routing_key}: {body.decode()!r}")


channel.basic_consume(queue=mine, on_message_callback=show, auto_ack=True)
print(f"listening for {' '.join(keys)}")
try:
    channel.start_consuming()
except KeyboardInterrupt:
    connection.close()
