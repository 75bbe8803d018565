#!/usr/bin/env python3
"""Publisher confirms, asynchronously: publish on, and hear of each message later.

    python confirms_async.py [COUNT]

A SelectConnection publishes without waiting and keeps what is not confirmed
yet by its number: the first publish after confirm.select is 1, the next 2, and
an ack with "multiple" covers all up to its number.
"""
import os
import sys

import pika


class Publisher:
    def __init__(self, url, count):
        self.count = count
        self.unconfirmed = {}
        self.acked = self.nacked = 0
        self.queue = None
        self.channel = None
        self.connection = pika.SelectConnection(
            pika.URLParameters(url),
            on_open_callback=lambda c: c.channel(on_open_callback=self.on_channel),
            on_open_error_callback=self.on_open_error,
            on_close_callback=lambda c, _reason: c.ioloop.stop(),
        )

    def on_open_error(self, connection, error):
        print(f"cannot connect: {error!r}", file=sys.stderr)
        connection.ioloop.stop()

    def on_channel(self, channel):
        self.channel = channel
        channel.queue_declare("", exclusive=True, callback=self.on_queue)

    def on_queue(self, frame):
        self.queue = frame.method.queue
        self.channel.confirm_delivery(
            ack_nack_callback=self.on_confirm, callback=lambda _frame: self.publish_all()
        )

    def publish_all(self):
        for number in range(1, self.count + 1):
            body = f"message {number}"
            self.unconfirmed[number] = body
            self.channel.basic_publish("", self.queue, body)
        print(f"published {self.count}")

    def on_confirm(self, frame):
        number, multiple = frame.method.delivery_tag, frame.method.multiple
        done = [n for n in self.unconfirmed if n <= number] if multiple else [number]
        for n in done:
            del self.unconfirmed[n]
        if isinstance(frame.method, pika.spec.Basic.Ack):
            self.acked += len(done)
        else:
            self.nacked += len(done)
        if not self.unconfirmed:
            print(f"acked {self.acked}, nacked {self.nacked}")
            self.connection.close()

    def run(self):
        self.connection.ioloop.start()
        return self.acked == self.count


publisher = Publisher(
    os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"),
    int(sys.argv[1]) if len(sys.argv) > 1 else 1000,
)
sys.exit(0 if publisher.run() else 1)
