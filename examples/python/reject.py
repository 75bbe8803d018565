#!/usr/bin/env python3
"""Rejecting: give a message back once, and drop it when it comes a second time.

    python reject.py
"""
import os

import pika

connection = pika.BlockingConnection(
    pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"))
)
channel = connection.channel()
queue = channel.queue_declare(queue="", exclusive=True).method.queue
for word in ("good", "bad", "fine"):
    channel.basic_publish(exchange="", routing_key=queue, body=word)
channel.basic_qos(prefetch_count=1)

# consume() is pika's generator; it ends when nothing came for a second.
for method, _properties, body in channel.consume(queue, inactivity_timeout=1):
    if method is None:
        break
    word = body.decode()
    if word != "bad":
        print(f"{word}: acked")
        channel.basic_ack(method.delivery_tag)
    elif not method.redelivered:
        print(f"{word}: rejected, back to the queue")
        channel.basic_reject(method.delivery_tag, requeue=True)
    else:
        print(f"{word}: redelivered, dropped")
        channel.basic_reject(method.delivery_tag, requeue=False)
channel.cancel()

left = channel.queue_declare(queue=queue, passive=True).method.message_count
print(f"left in the queue: {left}")
connection.close()
