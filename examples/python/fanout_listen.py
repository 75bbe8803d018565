#!/usr/bin/env python3
"""Publish/subscribe: print every line that is emitted from now on.

    python fanout_listen.py
"""
import os

import pika

connection = pika.BlockingConnection(
    pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"))
)
channel = connection.channel()
channel.exchange_declare(exchange="news", exchange_type="fanout")

# A queue of our own: the broker picks its name, and it goes when we go.
mine = channel.queue_declare(queue="", exclusive=True).method.queue
channel.queue_bind(queue=mine, exchange="news")

channel.basic_consume(
    queue=mine,
    on_message_callback=lambda _ch, _method, _props, body: print(f"heard {body.decode()!r}"),
    auto_ack=True,
)
print(f"listening on {mine}")
try:
    channel.start_consuming()
except KeyboardInterrupt:
    connection.close()
