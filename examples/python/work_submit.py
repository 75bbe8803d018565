#!/usr/bin/env python3
"""Work queue: submit one job. Each dot in its text is a second of work.

    python work_submit.py [TEXT]
"""
import os
import sys

import pika

job = " ".join(sys.argv[1:]) or "a short job."

connection = pika.BlockingConnection(
    pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"))
)
channel = connection.channel()

# A durable queue outlives the broker, and so do the persistent messages in it.
channel.queue_declare(queue="jobs", durable=True)
channel.basic_publish(
    exchange="",
    routing_key="jobs",
    body=job,
    properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
)
print(f"submitted {job!r}")
connection.close()
