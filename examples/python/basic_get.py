#!/usr/bin/env python3
"""Polling: fetch messages one by one with basic.get until the queue is empty.

    python basic_get.py
"""
import os

import pika

connection = pika.BlockingConnection(
    pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"))
)
channel = connection.channel()
queue = channel.queue_declare(queue="", exclusive=True).method.queue
for word in ("one", "two", "three"):
    channel.basic_publish(exchange="", routing_key=queue, body=word)

while True:
    method, _properties, body = channel.basic_get(queue=queue)
    if method is None:
        print("empty")
        break
    print(f"got {body.decode()!r}, {method.message_count} left")
    channel.basic_ack(method.delivery_tag)
connection.close()
