#!/usr/bin/env python3
"""Connection settings in a URL: user, password, virtual host, heartbeat.

    python url_parameters.py [amqp://USER:PASSWORD@HOST:PORT/VHOST?heartbeat=30]

The virtual host is percent-encoded: %2F is the one named "/".
"""
import os
import sys

import pika

url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get(
    "AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"
)
parameters = pika.URLParameters(url)
try:
    connection = pika.BlockingConnection(parameters)
except pika.exceptions.ProbableAuthenticationError as e:
    sys.exit(f"login refused: {e}")
except pika.exceptions.ProbableAccessDeniedError as e:
    sys.exit(f"no access to the virtual host: {e}")
channel = connection.channel()
queue = channel.queue_declare(queue="", exclusive=True).method.queue
channel.basic_publish(exchange="", routing_key=queue, body="hello")
_method, _properties, body = channel.basic_get(queue=queue, auto_ack=True)
print(
    f"{parameters.credentials.username} in {parameters.virtual_host!r} got {body.decode()!r}"
)
connection.close()
