"""Publishes one message with py-amqp, which writes integers beyond 32 bits as
type L. Many other clients cannot read that type.

    python kombu_publish.py QUEUE
"""
import os
import sys

import kombu

with kombu.Connection(os.environ["AMQP_URL"]) as connection:
    kombu.Producer(connection).publish(
        {"hello": "world"},
        routing_key=sys.argv[1],
        headers={"big": 2**40, "small": 7, "list": [2**41, {"deep": -(2**42)}]},
        retry=False,
    )
