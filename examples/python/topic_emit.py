#!/usr/bin/env python3
"""Topics: send a line under a dotted key.

    python topic_emit.py [KEY [TEXT]]
"""
import os
import sys

import pika

key = sys.argv[1] if len(sys.argv) > 1 else "kern.critical"
text = " ".join(sys.argv[2:]) or "something happened"

connection = pika.BlockingConnection(
    pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"))
)
channel = connection.channel()
channel.exchange_declare(exchange="logs_by_topic", exchange_type="topic")
channel.basic_publish(exchange="logs_by_topic", routing_key=key, body=text)
print(f"emitted {key}: {text!r}")
connection.close()
