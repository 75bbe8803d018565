#!/usr/bin/env python3
"""aio-pika: a topic exchange, a prefetching consumer and an RPC pair in asyncio.

    python aio_pika_app.py
"""
import asyncio
import json
import os

import aio_pika


async def topics(connection):
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=5)
    exchange = await channel.declare_exchange(
        "weather", aio_pika.ExchangeType.TOPIC, auto_delete=True
    )
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind(exchange, "europe.#")

    for key in ("europe.paris", "asia.tokyo", "europe.rome.centre"):
        await exchange.publish(
            aio_pika.Message(b"sunny", headers={"degrees": 21}), routing_key=key
        )

    seen = []
    async with queue.iterator(timeout=10) as messages:
        async for message in messages:
            async with message.process():
                seen.append(f"{message.routing_key} {message.headers['degrees']}")
            if len(seen) == 2:
                break
    print("topics:", ", ".join(seen))


async def unroutable(connection):
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    try:
        await channel.default_exchange.publish(
            aio_pika.Message(b"lost"), routing_key="no-such-queue", mandatory=True
        )
    except aio_pika.exceptions.PublishError as e:
        print("returned:", e)


async def rpc(connection):
    channel = await connection.channel()
    questions = await channel.declare_queue("add", auto_delete=True)

    async def answer(message):
        async with message.process():
            a, b = json.loads(message.body)
            await channel.default_exchange.publish(
                aio_pika.Message(str(a + b).encode(), correlation_id=message.correlation_id),
                routing_key=message.reply_to,
            )

    await questions.consume(answer)

    mine = await channel.declare_queue(exclusive=True)
    replied = asyncio.get_running_loop().create_future()
    await mine.consume(replied.set_result, no_ack=True)
    await channel.default_exchange.publish(
        aio_pika.Message(json.dumps([2, 3]).encode(), correlation_id="1", reply_to=mine.name),
        routing_key=questions.name,
    )
    reply = await asyncio.wait_for(replied, timeout=10)
    print(f"rpc: 2 + 3 = {reply.body.decode()}, answer to {reply.correlation_id}")


async def main():
    connection = await aio_pika.connect_robust(
        os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F")
    )
    async with connection:
        await topics(connection)
        await unroutable(connection)
        await rpc(connection)


asyncio.run(main())
