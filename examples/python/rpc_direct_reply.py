#!/usr/bin/env python3
"""Remote procedure call over direct reply-to: no callback queue is declared.

    python rpc_direct_reply.py [N...]

The pseudo queue amq.rabbitmq.reply-to is consumed without acks on the channel
that publishes; the broker hands the replies straight to it.
"""
import os
import sys

import pika

REPLY_TO = "amq.rabbitmq.reply-to"

connection = pika.BlockingConnection(
    pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"))
)
channel = connection.channel()

wanted = [int(arg) for arg in sys.argv[1:]] or [30]
answers = {}


def on_reply(channel, _method, properties, body):
    answers[int(properties.correlation_id)] = int(body)
    if len(answers) == len(set(wanted)):
        channel.stop_consuming()


# Consume first: the broker writes this consumer's address into each request.
channel.basic_consume(queue=REPLY_TO, on_message_callback=on_reply, auto_ack=True)
for n in wanted:
    channel.basic_publish(
        exchange="",
        routing_key="fibonacci",
        properties=pika.BasicProperties(reply_to=REPLY_TO, correlation_id=str(n)),
        body=str(n),
    )
connection.call_later(10, channel.stop_consuming)
channel.start_consuming()

for n in wanted:
    if n not in answers:
        sys.exit(f"no answer for {n}")
    print(f"fibonacci({n}) = {answers[n]}")
connection.close()
