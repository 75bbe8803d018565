#!/usr/bin/env python3
"""Routing: send a line under its severity.

    python direct_emit.py [LEVEL [TEXT]]
"""
import os
import sys

import pika

key = sys.argv[1] if len(sys.argv) > 1 else "error"
text = " ".join(sys.argv[2:]) or "something happened"

connection = pika.BlockingConnection(
    pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"))
)
channel = connection.channel()
channel.exchange_declare(exchange="logs_by_level", exchange_type="direct")
channel.basic_publish(exchange="logs_by_level", routing_key=key, body=text)
print(f"emitted {key}: {text!r}")
connection.close()
