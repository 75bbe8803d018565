#!/usr/bin/env python3
"""Hello world, the receiving half: print what arrives in the queue "hello".

    python hello_receive.py

AMQP_HOST and AMQP_PORT say where the broker is; the default is this machine.
Control-C ends it.
"""
import os

import pika

connection = pika.BlockingConnection(
    pika.ConnectionParameters(
        host=os.environ.get("AMQP_HOST", "localhost"),
        port=int(os.environ.get("AMQP_PORT", "5672")),
    )
)
channel = connection.channel()
channel.queue_declare(queue="hello")


def show(_channel, _method, _properties, body):
    print(f"received {body.decode()!r}")


channel.basic_consume(queue="hello", on_message_callback=show, auto_ack=True)
print("waiting for messages")
try:
    channel.start_consuming()
except KeyboardInterrupt:
    connection.close()
