#!/usr/bin/env python3
"""An asynchronous consumer on pika's SelectConnection.

    python select_consumer.py [QUEUE [COUNT]]

Takes COUNT messages (0: until Control-C) with a prefetch of ten, acks each,
and leaves in order: cancel, close the channel, close the connection.
"""
import os
import sys

import pika


class Consumer:
    def __init__(self, url, queue, count):
        self.queue, self.count, self.seen = queue, count, 0
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
        # The broker cancels us when somebody deletes the queue.
        channel.add_on_cancel_callback(lambda _frame: self.leave("cancelled by the broker"))
        channel.queue_declare(self.queue, callback=self.on_queue)

    def on_queue(self, _frame):
        self.channel.basic_qos(prefetch_count=10, callback=self.on_qos)

    def on_qos(self, _frame):
        self.tag = self.channel.basic_consume(
            self.queue, self.on_message, callback=lambda _frame: print("consuming")
        )

    def on_message(self, channel, method, _properties, body):
        # What was prefetched but not counted stays unacked and goes back.
        if self.count and self.seen == self.count:
            return
        self.seen += 1
        print(f"{self.seen}: {body.decode()!r}")
        channel.basic_ack(method.delivery_tag)
        if self.seen == self.count:
            channel.basic_cancel(self.tag, callback=lambda _frame: self.leave("done"))

    def leave(self, why):
        print(why)
        self.connection.close()

    def run(self):
        try:
            self.connection.ioloop.start()
        except KeyboardInterrupt:
            self.connection.close()
            self.connection.ioloop.start()


Consumer(
    os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"),
    sys.argv[1] if len(sys.argv) > 1 else "async",
    int(sys.argv[2]) if len(sys.argv) > 2 else 0,
).run()
