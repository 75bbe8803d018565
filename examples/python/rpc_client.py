#!/usr/bin/env python3
"""Remote procedure call, the client with a callback queue of its own.

    python rpc_client.py [N...]
"""
import os
import sys
import time
import uuid

import pika


class Fibonacci:
    """Asks the server; replies come to one exclusive queue, told apart by
    correlation id."""

    def __init__(self, url):
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        self.callback_queue = self.channel.queue_declare(queue="", exclusive=True).method.queue
        self.channel.basic_consume(
            queue=self.callback_queue, on_message_callback=self._on_reply, auto_ack=True
        )
        self.replies = {}

    def _on_reply(self, _channel, _method, properties, body):
        # A reply nobody waits for, say to a question asked before a restart of
        # the server, must not be taken for another.
        if properties.correlation_id in self.replies:
            self.replies[properties.correlation_id] = body

    def __call__(self, n, timeout_s=10):
        question = str(uuid.uuid4())
        self.replies[question] = None
        self.channel.basic_publish(
            exchange="",
            routing_key="fibonacci",
            properties=pika.BasicProperties(
                reply_to=self.callback_queue, correlation_id=question
            ),
            body=str(n),
        )
        deadline = time.monotonic() + timeout_s
        while self.replies[question] is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no answer within {timeout_s} s")
            self.connection.process_data_events(time_limit=left)
        return int(self.replies.pop(question))

    def close(self):
        self.connection.close()


fibonacci = Fibonacci(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"))
for arg in sys.argv[1:] or ["30"]:
    print(f"fibonacci({arg}) = {fibonacci(int(arg))}")
fibonacci.close()
