#!/usr/bin/env python3
"""Remote procedure call, the server: answers with Fibonacci numbers.

    python rpc_server.py
"""
import os

import pika


def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


def answer(channel, method, properties, body):
    n = int(body)
    print(f"asked for fibonacci({n})")
    # The reply goes to the queue the caller named, with the caller's own mark
    # on it, so that it can tell its questions apart.
    channel.basic_publish(
        exchange="",
        routing_key=properties.reply_to,
        properties=pika.BasicProperties(correlation_id=properties.correlation_id),
        body=str(fibonacci(n)),
    )
    channel.basic_ack(delivery_tag=method.delivery_tag)


connection = pika.BlockingConnection(
    pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"))
)
channel = connection.channel()
channel.queue_declare(queue="fibonacci")
# Several servers share the load; each takes one question at a time.
channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue="fibonacci", on_message_callback=answer)
print("ready to answer")
try:
    channel.start_consuming()
except KeyboardInterrupt:
    connection.close()
