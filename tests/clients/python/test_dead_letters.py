"""Dead-lettering, limits, delivery limits and delayed retry, as clients see them."""
import calendar
import time

import pika
import pytest
from conftest import Consumer, drop, eventually, get, publish, ready

DLX = "x-dead-letter-exchange"
KEY = "x-dead-letter-routing-key"


def to(queue, **more):
    return {DLX: "", KEY: queue, **{k.replace("_", "-"): v for k, v in more.items()}}


def arrived(channel, queue, n=1):
    eventually(lambda: ready(channel, queue) >= n, f"{n} messages in {queue}")


@pytest.fixture
def dead(channel, name):
    q = name()
    channel.queue_declare(q, exclusive=True)
    return q


def declare(channel, name, arguments):
    q = name()
    channel.queue_declare(q, exclusive=True, arguments=arguments)
    return q


def test_rejected(channel, name, dead):
    work = declare(channel, name, to(dead))
    publish(channel, work, "m")
    before = time.time()
    channel.basic_reject(get(channel, work, auto_ack=False).method.delivery_tag, requeue=False)
    arrived(channel, dead)
    message = get(channel, dead)
    assert message.method.routing_key == dead and message.method.exchange == ""
    headers = message.properties.headers
    (death,) = headers["x-death"]
    assert list(death) == ["count", "reason", "queue", "time", "exchange", "routing-keys"]
    when = death.pop("time")
    assert abs(calendar.timegm(when.timetuple()) - before) < 60
    assert death == {"count": 1, "reason": "rejected", "queue": work, "exchange": "", "routing-keys": [work]}
    for which in "first", "last":
        assert headers[f"x-{which}-death-reason"] == "rejected"
        assert headers[f"x-{which}-death-queue"] == work
        assert headers[f"x-{which}-death-exchange"] == ""


def test_nacked_by_the_dozen(channel, name, dead):
    work = declare(channel, name, to(dead))
    publish(channel, work, *"abcdefghijkl")
    consumer = Consumer(channel, work)
    consumer.wait(12)
    channel.basic_nack(0, multiple=True, requeue=False)
    arrived(channel, dead, 12)
    assert "".join(get(channel, dead).body.decode() for _ in range(12)) == "abcdefghijkl", "in their order"


def test_expired(channel, name, dead):
    work = declare(channel, name, to(dead))
    properties = pika.BasicProperties(expiration="20", headers={"mine": 1})
    channel.basic_publish("", work, b"m", properties)
    arrived(channel, dead)
    properties = get(channel, dead).properties
    assert properties.expiration is None
    assert properties.headers["mine"] == 1
    (death,) = properties.headers["x-death"]
    assert list(death)[0] == "original-expiration"
    assert death["original-expiration"] == "20" and death["reason"] == "expired"


def test_retry_by_ping_pong(channel, name):
    """The usual way to retry later: rejected into a queue with a TTL, and back."""
    work, wait = name(), name()
    channel.queue_declare(work, exclusive=True, arguments=to(wait))
    channel.queue_declare(wait, exclusive=True, arguments=to(work, x_message_ttl=20))
    publish(channel, work, "m")
    for attempt in range(4):
        arrived(channel, work)
        message = get(channel, work, auto_ack=False)
        deaths = (message.properties.headers or {}).get("x-death", [])
        if attempt == 0:
            assert deaths == []
        else:
            assert [(d["queue"], d["reason"], d["count"]) for d in deaths] == [
                (wait, "expired", attempt),
                (work, "rejected", attempt),
            ]
            assert message.properties.headers["x-first-death-queue"] == work
            assert message.properties.headers["x-last-death-queue"] == wait
        channel.basic_reject(message.method.delivery_tag, requeue=False)


def test_a_forged_history_does_not_count(channel, name, dead):
    work = declare(channel, name, to(dead))
    forged = [{"queue": work, "reason": "rejected", "count": 41}]
    properties = pika.BasicProperties(headers={"x-death": forged, "x-first-death-queue": "elsewhere"})
    channel.basic_publish("", work, b"m", properties)
    message = get(channel, work, auto_ack=False)
    assert message.properties.headers["x-death"] == forged, "it is carried"
    channel.basic_reject(message.method.delivery_tag, requeue=False)
    arrived(channel, dead)
    headers = get(channel, dead).properties.headers
    assert [d["count"] for d in headers["x-death"]] == [1]
    assert headers["x-first-death-queue"] == work


def test_keys_of_cc_are_kept(channel, name):
    a, b = name(), name()
    exchange = name()
    channel.exchange_declare(exchange, "direct", auto_delete=True)
    for q in a, b:
        channel.queue_declare(q, exclusive=True)
        channel.queue_bind(q, exchange, q)
    work = declare(channel, name, {DLX: exchange})
    source = name()
    channel.exchange_declare(source, "fanout", auto_delete=True)
    channel.queue_bind(work, source)
    channel.basic_publish(source, a, b"m", pika.BasicProperties(headers={"CC": [b]}))
    channel.basic_reject(get(channel, work, auto_ack=False).method.delivery_tag, requeue=False)
    arrived(channel, a)
    arrived(channel, b)
    (death,) = get(channel, b).properties.headers["x-death"]
    assert death["routing-keys"] == [a, b]


@pytest.mark.parametrize("limit", [{"x-max-length": 2}, {"x-max-length-bytes": 7}])
def test_drop_head(channel, name, dead, limit):
    work = declare(channel, name, {**to(dead), **limit})
    publish(channel, work, "one", "two", "333", "444")
    arrived(channel, dead, 2)
    assert [get(channel, dead).body for _ in range(2)] == [b"one", b"two"]
    assert [get(channel, work).body for _ in range(2)] == [b"333", b"444"]


def test_drop_head_is_confirmed(channel, name):
    work = declare(channel, name, {"x-max-length": 1})
    channel.confirm_delivery()
    for body in "abc":
        channel.basic_publish("", work, body)
    assert get(channel, work).body == b"c"


@pytest.mark.parametrize("overflow", ["reject-publish", "reject-publish-dlx"])
def test_reject_publish(connection, channel, name, dead, overflow):
    work = declare(channel, name, {**to(dead), "x-max-length": 1, "x-overflow": overflow})
    publish(channel, work, "taken")
    arrived(channel, work)
    # Without confirms what is too much is dropped in silence.
    publish(channel, work, "silent")
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.NackError):
        channel.basic_publish("", work, b"nacked")
    assert ready(channel, work) == 1
    if overflow == "reject-publish-dlx":
        arrived(channel, dead, 2)
        assert [get(channel, dead).body for _ in range(2)] == [b"silent", b"nacked"]
    else:
        assert ready(channel, dead) == 0
    assert get(channel, work).body == b"taken"
    channel.basic_publish("", work, b"room again")
    assert get(channel, work).body == b"room again"


def test_delivery_limit(channel, name, dead):
    work = declare(channel, name, to(dead, x_delivery_limit=2))
    publish(channel, work, "m")
    for _ in range(5):  # Given back without blame it may go round.
        channel.basic_nack(get(channel, work, auto_ack=False).method.delivery_tag, requeue=True)
    for _ in range(3):
        channel.basic_reject(get(channel, work, auto_ack=False).method.delivery_tag, requeue=True)
    arrived(channel, dead)
    (death,) = get(channel, dead).properties.headers["x-death"]
    assert death["reason"] == "delivery_limit"


def test_a_dead_consumer_counts(connect, channel, name):
    work = name()
    channel.queue_declare(work, arguments={"x-delivery-limit": 1})
    publish(channel, work, "poison")
    for _ in range(2):
        other = connect()
        arrived(channel, work)
        consumer = Consumer(other.channel(), work)
        consumer.wait(1)
        drop(other)
    parked = "parked." + work
    eventually(lambda: parked_ready(channel, parked) == 1, "the message to be parked")
    assert get(channel, parked).body == b"poison"
    channel.queue_delete(work)
    channel.queue_delete(parked)


def parked_ready(channel, queue):
    try:
        with channel.connection.channel() as other:
            return other.queue_declare(queue, passive=True).method.message_count
    except pika.exceptions.ChannelClosedByBroker:
        return -1


def test_quorum_queues_tell_the_count(channel, name):
    work = name()
    channel.queue_declare(work, durable=True, arguments={"x-queue-type": "quorum"})
    publish(channel, work, "m")
    seen = []
    for settle in channel.basic_nack, channel.basic_reject, channel.basic_reject, None:
        message = get(channel, work, auto_ack=False)
        headers = message.properties.headers or {}
        seen.append((headers.get("x-acquired-count"), headers.get("x-delivery-count")))
        if settle:
            settle(message.method.delivery_tag, requeue=True)
    assert seen == [(None, None), (1, None), (2, 1), (3, 2)]
    channel.queue_delete(work)


def test_delayed_retry(channel, name):
    work = declare(channel, name, {"x-delayed-retry-type": "failed", "x-delayed-retry-min": 200})
    publish(channel, work, "slow", "quick")
    failed = get(channel, work, auto_ack=False)
    assert failed.body == b"slow"
    channel.basic_reject(failed.method.delivery_tag, requeue=True)
    assert get(channel, work).body == b"quick", "it does not hold up those behind it"
    assert get(channel, work) is None
    arrived(channel, work)
    again = get(channel, work)
    assert again.body == b"slow" and again.method.redelivered
