#!/usr/bin/env python3
"""Publisher confirms in batches: publish a hundred, then wait for all of them.

    python confirms_batch.py [COUNT [BATCH]]

pika's BlockingChannel waits after each message, so this uses aio-pika, where a
publish is something to await: starting a batch and awaiting it together costs
one round trip for the batch.
"""
import asyncio
import os
import sys

import aio_pika


async def main(url, count, batch):
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        queue = await channel.declare_queue(exclusive=True)
        for start in range(0, count, batch):
            numbers = range(start, min(start + batch, count))
            await asyncio.gather(
                *(
                    channel.default_exchange.publish(
                        aio_pika.Message(f"message {n}".encode()), routing_key=queue.name
                    )
                    for n in numbers
                )
            )
            print(f"confirmed {numbers.stop}")


asyncio.run(
    main(
        os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F"),
        int(sys.argv[1]) if len(sys.argv) > 1 else 1000,
        int(sys.argv[2]) if len(sys.argv) > 2 else 100,
    )
)
