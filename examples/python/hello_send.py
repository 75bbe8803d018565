#!/usr/bin/env python3
"""Hello world, the sending half: put one message into the queue "hello".

    python hello_send.py [TEXT]

AMQP_HOST and AMQP_PORT say where the broker is; the default is this machine.
"""
import os
import sys

import pika

text = " ".join(sys.argv[1:]) or "Hello World!"

connection = pika.BlockingConnection(
    pika.ConnectionParameters(
        host=os.environ.get("AMQP_HOST", "localhost"),
        port=int(os.environ.get("AMQP_PORT", "5672")),
    )
)
channel = connection.channel()

# Declaring a queue that exists does nothing, so both halves declare it and may
# be started in either order.
channel.queue_declare(queue="hello")

# The default exchange delivers to the queue whose name is the routing key.
channel.basic_publish(exchange="", routing_key="hello", body=text)
print(f"sent {text!r}")

# Closing flushes what is still in the client's buffers.
connection.close()
