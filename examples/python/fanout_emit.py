#!/usr/bin/env python3
"""Publish/subscribe: send one line to everyone who listens.

    python fanout_emit.py [TEXT]
"""
import os
import sys

import pika

text = " ".join(sys.argv[1:]) or "info: nothing much happened"

connection = pika.BlockingConnection(
    pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"))
)
channel = connection.channel()
channel.exchange_declare(exchange="news", exchange_type="fanout")

# A fanout exchange does not look at the routing key.
channel.basic_publish(exchange="news", routing_key="", body=text)
print(f"emitted {text!r}")
connection.close()
