"""Messages that an operator looks at and moves, as clients see them."""
import pika
import pytest
from conftest import VHOST, Consumer, api, eventually, get, publish, quoted, ready


@pytest.fixture
def durable(channel, name):
    """Makes durable queues, which a job of the management API can reach."""
    made = []

    def declare(**arguments):
        q = name()
        channel.queue_declare(q, durable=True, arguments={k.replace("_", "-"): v for k, v in arguments.items()})
        made.append(q)
        return q

    yield declare
    for q in made:
        channel.queue_delete(q)


def move(queue, to, **more):
    assert api("POST", f"/api/queues/{quoted(VHOST)}/{quoted(queue)}/move", {"to": to, **more}) == 202


def test_redriven_messages_are_what_they_were(channel, durable):
    dead = durable()
    work = durable(x_dead_letter_exchange="", x_dead_letter_routing_key=dead)
    channel.queue_bind(work, "amq.direct", "jobs." + work)
    properties = pika.BasicProperties(delivery_mode=2, headers={"tenant": "acme"}, message_id="7", content_type="text/plain")
    for body in ("a", "b"):
        channel.basic_publish("amq.direct", "jobs." + work, body, properties)
    for _ in range(2):
        channel.basic_reject(get(channel, work, auto_ack=False).method.delivery_tag, requeue=False)
    eventually(lambda: ready(channel, dead) == 2, "both are dead")
    consumer = Consumer(channel, work, auto_ack=True)
    move(dead, "origin")
    assert consumer.wait(2) == ["a", "b"]
    for m in consumer.messages:
        assert (m.method.exchange, m.method.routing_key, m.method.redelivered) == ("amq.direct", "jobs." + work, False)
        assert m.properties.headers == {"tenant": "acme"}
        assert (m.properties.message_id, m.properties.content_type, m.properties.delivery_mode) == ("7", "text/plain", 2)
    assert ready(channel, dead) == 0


def test_only_what_matches_moves(channel, durable):
    a, b = durable(), durable()
    publish(channel, a, "red 1", "blue 1", "red 2", "blue 2", delivery_mode=2)
    eventually(lambda: ready(channel, a) == 4, "all are there")
    move(a, {"queue": b}, filter={"search": "RED", "in": "body"})
    eventually(lambda: ready(channel, b) == 2, "two have moved")
    for queue, colour in ((a, b"blue"), (b, b"red")):
        for n in (b"1", b"2"):
            message = get(channel, queue)
            assert message.body == colour + b" " + n
            assert not message.method.redelivered
            assert message.method.routing_key == a


def test_what_a_consumer_holds_stays(channel, durable):
    a, b = durable(), durable()
    publish(channel, a, "held", "free", delivery_mode=2)
    eventually(lambda: ready(channel, a) == 2, "both are there")
    held = get(channel, a, auto_ack=False)
    move(a, {"queue": b})
    eventually(lambda: ready(channel, b) == 1, "the other one has moved")
    channel.basic_nack(held.method.delivery_tag, requeue=True)
    eventually(lambda: ready(channel, a) == 1, "it is back")
    assert get(channel, b).body == b"free"
