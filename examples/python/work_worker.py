#!/usr/bin/env python3
"""Work queue: take jobs one at a time and acknowledge each when it is done.

    python work_worker.py [NAME]

Start as many as you like. If one dies in the middle of a job, the broker gives
that job to another, marked as redelivered.
"""
import os
import sys
import time

import pika

name = sys.argv[1] if len(sys.argv) > 1 else f"worker-{os.getpid()}"

connection = pika.BlockingConnection(
    pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"))
)
channel = connection.channel()
channel.queue_declare(queue="jobs", durable=True)

# Not more than one job at a time: the next goes to whoever is free.
channel.basic_qos(prefetch_count=1)


def work(channel, method, _properties, body):
    job = body.decode()
    again = " again" if method.redelivered else ""
    print(f"{name} starts {job!r}{again}")
    time.sleep(job.count("."))
    print(f"{name} finished {job!r}")
    channel.basic_ack(delivery_tag=method.delivery_tag)


channel.basic_consume(queue="jobs", on_message_callback=work)
print(f"{name} waiting for jobs")
try:
    channel.start_consuming()
except KeyboardInterrupt:
    connection.close()
