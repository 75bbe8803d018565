#!/usr/bin/env python3
"""Publisher confirms, one by one: each publish returns when the broker has it.

    python confirms_single.py [COUNT]

With confirm_delivery, basic_publish raises UnroutableError for a mandatory
message that no queue took, and NackError for one that the broker refused.
"""
import os
import sys

import pika

count = int(sys.argv[1]) if len(sys.argv) > 1 else 10

connection = pika.BlockingConnection(
    pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"))
)
channel = connection.channel()
queue = channel.queue_declare(queue="", exclusive=True).method.queue
channel.confirm_delivery()

for i in range(count):
    channel.basic_publish(exchange="", routing_key=queue, body=f"message {i}", mandatory=True)
print(f"confirmed {count}")

try:
    channel.basic_publish(
        exchange="", routing_key=f"{queue}-not", body="to nobody", mandatory=True
    )
except pika.exceptions.UnroutableError as e:
    returned = e.messages[0]
    print(f"returned {returned.method.reply_code} {returned.method.reply_text}: {returned.body.decode()!r}")

waiting = channel.queue_declare(queue=queue, passive=True).method.message_count
print(f"in the queue: {waiting}")
connection.close()
