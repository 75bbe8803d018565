#!/usr/bin/env python3
"""Headers exchange: route by what a message says of itself, not by its key.

    python headers_exchange.py
"""
import os

import pika

connection = pika.BlockingConnection(
    pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"))
)
channel = connection.channel()
channel.exchange_declare(exchange="documents", exchange_type="headers", auto_delete=True)


def queue_for(**wanted):
    name = channel.queue_declare(queue="", exclusive=True).method.queue
    arguments = {key.replace("_", "-"): value for key, value in wanted.items()}
    channel.queue_bind(queue=name, exchange="documents", arguments=arguments)
    return name


queues = {
    "reports as pdf": queue_for(x_match="all", format="pdf", type="report"),
    "anything for legal or urgent": queue_for(x_match="any", department="legal", urgent=True),
}

documents = [
    ("annual.pdf", {"format": "pdf", "type": "report"}),
    ("contract.doc", {"format": "doc", "type": "contract", "department": "legal"}),
    ("incident.pdf", {"format": "pdf", "type": "report", "urgent": True}),
    ("lunch.txt", {"format": "txt", "urgent": False}),
]
for name, headers in documents:
    channel.basic_publish(
        exchange="documents",
        routing_key="",
        properties=pika.BasicProperties(headers=headers),
        body=name,
    )

for title, queue in queues.items():
    got = []
    while True:
        method, _properties, body = channel.basic_get(queue=queue, auto_ack=True)
        if method is None:
            break
        got.append(body.decode())
    print(f"{title}: {' '.join(got)}")
connection.close()
