"""What is confirmed in any protocol survives a crash of the broker, and any
protocol reads it afterwards. A test runs this twice and kills the broker between.

    python survivors.py fill | read
"""
import sys

import pika
from conftest import Consumer, parameters
from protocols import MQTT, STOMP

COUNT = 100
TOPICS = "amq.topic"
# STOMP's queue for a durable subscription lasts only if it says so.
LASTING = {"durable": "true", "auto_delete": "false", "ack": "client-individual"}


def fill(channel):
    channel.queue_declare("survivors", durable=True)
    channel.queue_bind("survivors", TOPICS, "survivors.#")
    device = MQTT("survivor", session=3600)
    device.subscribe("survivors/#")
    device.leave(channel)
    page = STOMP()
    page.subscribe("/topic/survivors.#", id="survivor", **LASTING)
    page.vanish()

    page, device = STOMP(), MQTT("publisher")
    channel.confirm_delivery()
    for i in range(COUNT):
        channel.basic_publish(TOPICS, "survivors.amqp", b"%d" % i, pika.BasicProperties(delivery_mode=2), mandatory=True)
        assert device.publish("survivors/mqtt", b"%d" % i, qos=1 + i % 2) == 0
        page.send("/topic/survivors.stomp", b"%d" % i, persistent="true")
    assert device.publish("survivors/kept", b"kept", retain=True) == 0
    print("filled", flush=True)


def read(channel):
    want = sorted([(source, i) for source in ("amqp", "mqtt", "stomp") for i in range(COUNT)])

    def check(who, got):
        """got are pairs of a topic's last level and a body, in order of arrival."""
        got = [(source, int(body)) for source, body in got if source != "kept"]
        assert sorted(got) == want, f"{who}: {len(got)} of {len(want)}"
        for source in "amqp", "mqtt", "stomp":
            numbers = [n for s, n in got if s == source]
            assert numbers == sorted(numbers), f"{who}: {source} out of order"
        print(who, "has all", flush=True)

    consumer = Consumer(channel, "survivors")
    consumer.wait(len(want) + 1)
    check("AMQP", [(m.method.routing_key.split(".")[-1], m.body) for m in consumer.messages])

    device = MQTT("survivor", session=3600)
    assert device.flags.session_present
    messages = [device.next() for _ in range(len(want) + 1)]
    check("MQTT", [(m.topic.split("/")[-1], m.payload) for m in messages])

    page = STOMP()
    page.subscribe("/topic/survivors.#", id="survivor", **LASTING)
    frames = [page.next() for _ in range(len(want) + 1)]
    check("STOMP", [(f.headers["destination"].split(".")[-1], f.body) for f in frames])

    late = MQTT("late")
    late.subscribe("survivors/+")
    m = late.next()
    assert (m.topic, m.payload, m.retain) == ("survivors/kept", b"kept", True)
    print("retained is there", flush=True)
    for client in device, page, late:
        client.close()


with pika.BlockingConnection(parameters()) as connection:
    {"fill": fill, "read": read}[sys.argv[1]](connection.channel())
