"""What is in a message and whether it arrives: properties, sizes, returns,
confirms, transactions."""
import datetime
import decimal
import random
import threading

import pika
import pytest
from conftest import Consumer, eventually, get, get_all, publish, ready


def round_trip(channel, queue, body=b"", **properties):
    channel.basic_publish("", queue, body, pika.BasicProperties(**properties))
    consumer = Consumer(channel, queue, auto_ack=True)
    consumer.wait(1)
    channel.basic_cancel(consumer.tag)
    return consumer.messages[0]


def test_headers_of_every_type(channel, queue):
    headers = {
        "true": True,
        "false": False,
        "zero": 0,
        "int": 42,
        "negative": -42,
        "int32": 2**31 - 1,
        "beyond int32": 2**40,
        "int64": -(2**63),
        "none": None,
        "text": "grüße",
        "empty": "",
        "long": "x" * 5000,
        "bytes": b"\x00\xff\xce",
        "decimal": decimal.Decimal("3.14"),
        "when": datetime.datetime(2026, 1, 2, 3, 4, 5),
        "list": [1, "two", None, True, 2**40, [b"deep"], {"a": [{}]}],
        "table": {"a": {"b": {"c": {"d": [1, 2, 3]}}}, "none": None},
        "no list": [],
        "no table": {},
    }
    got = round_trip(channel, queue, b"body", headers=headers).properties.headers
    when = got["when"]
    if when.tzinfo is not None:
        got["when"] = when.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    assert got == headers
    assert got["true"] is True and got["none"] is None and isinstance(got["bytes"], bytes)


def test_all_properties(channel, queue):
    properties = dict(
        content_type="text/plain",
        content_encoding="utf-8",
        headers={"k": "v"},
        delivery_mode=2,
        priority=7,
        correlation_id="c-1",
        reply_to="somewhere",
        expiration="60000",
        message_id="m-1",
        timestamp=1700000000,
        type="greeting",
        user_id="guest",
        app_id="tests",
        cluster_id="obsolete",
    )
    message = round_trip(channel, queue, b"hello", **properties)
    for key, value in properties.items():
        assert getattr(message.properties, key) == value, key
    assert message.body == b"hello"


def test_absent_properties_stay_absent(channel, queue):
    properties = round_trip(channel, queue, b"bare").properties
    assert {k: v for k, v in vars(properties).items() if v is not None} == {}
    properties = round_trip(channel, queue, b"empty table", headers={}).properties
    assert properties.headers == {}


def test_empty_body(channel, queue):
    assert round_trip(channel, queue, b"").body == b""
    publish(channel, queue, b"", b"x", b"")
    eventually(lambda: ready(channel, queue) == 3, "three messages")
    assert get_all(channel, queue) == ["", "x", ""]


@pytest.mark.parametrize("size", [1, 4087, 4088, 4089, 131063, 131064, 131065, 1 << 20, 5_000_000])
def test_body_sizes(channel, queue, size):
    body = random.Random(size).randbytes(size)
    assert round_trip(channel, queue, body).body == body


def test_large_bodies_with_a_small_frame_size(connect):
    channel = connect(frame_max=8192).channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    body = random.Random(0).randbytes(1_000_003)
    assert round_trip(channel, queue, body, headers={"k": "x" * 3000}).body == body


def test_many_large_bodies_to_a_slow_reader(connect, channel, name):
    q = name()
    channel.queue_declare(q)
    bodies = [bytes([n]) * 2_000_000 for n in range(20)]
    reader = connect()
    slow = reader.channel()
    consumer = Consumer(slow, q, auto_ack=True)
    for body in bodies:
        publish(channel, q, body)
    consumer.wait(20)
    assert [m.body == b for m, b in zip(consumer.messages, bodies)] == [True] * 20
    channel.queue_delete(q)


def test_names_beyond_ascii(channel):
    name = "очередь-" + "ü" * 100
    channel.queue_declare(name, exclusive=True)
    channel.queue_bind(name, "amq.direct", "schlüssel")
    channel.basic_publish("amq.direct", "schlüssel", "hello")
    eventually(lambda: ready(channel, name) == 1, "the message")
    message = get(channel, name)
    assert (message.method.routing_key, message.method.exchange) == ("schlüssel", "amq.direct")


def test_mandatory_is_returned_before_its_ack(channel, queue, name):
    channel.confirm_delivery()
    nowhere = name()
    with pytest.raises(pika.exceptions.UnroutableError) as raised:
        channel.basic_publish(
            "",
            nowhere,
            "lost",
            pika.BasicProperties(headers={"n": 2**40}, message_id="id"),
            mandatory=True,
        )
    (returned,) = raised.value.messages
    assert (returned.method.reply_code, returned.method.reply_text) == (312, "NO_ROUTE")
    assert (returned.method.exchange, returned.method.routing_key) == ("", nowhere)
    assert (returned.properties.headers, returned.properties.message_id) == ({"n": 2**40}, "id")
    assert returned.body == b"lost"
    # The channel goes on, and what is routed is not returned.
    channel.basic_publish("", queue, "found", mandatory=True)
    channel.basic_publish("", nowhere, "dropped and confirmed")
    assert get_all(channel, queue) == ["found"]


def test_mandatory_without_confirms_comes_to_the_callback(channel, name):
    returned = []
    channel.add_on_return_callback(
        lambda _ch, method, _properties, body: returned.append((method.reply_code, body))
    )
    nowhere = name()
    for n in range(5):
        channel.basic_publish("amq.direct", nowhere, str(n), mandatory=True)
    eventually(lambda: len(returned) == 5, "five returns", channel.connection)
    assert returned == [(312, str(n).encode()) for n in range(5)]


def test_confirmed_publishes_are_in_the_queue(channel, queue):
    channel.confirm_delivery()
    for n in range(100):
        channel.basic_publish("", queue, str(n), pika.BasicProperties(delivery_mode=1 + n % 2))
    assert ready(channel, queue) == 100
    assert get_all(channel, queue) == [str(n) for n in range(100)]


def test_every_publish_is_confirmed_once(connection, name):
    channel = connection.channel()
    q = name()
    channel.queue_declare(q, durable=True)
    outstanding, wrong = set(), []

    def on_confirm(frame):
        tag = frame.method.delivery_tag
        done = {n for n in outstanding if n <= tag} if frame.method.multiple else {tag}
        if not isinstance(frame.method, pika.spec.Basic.Ack) or not done <= outstanding or not done:
            wrong.append(frame.method)
        outstanding.difference_update(done)

    impl = channel._impl
    impl.confirm_delivery(on_confirm, callback=lambda _frame: None)
    for n in range(1, 2001):
        exchange, key = ("amq.direct", "nowhere") if n % 7 == 0 else ("", q)
        outstanding.add(n)
        impl.basic_publish(exchange, key, b"x", pika.BasicProperties(delivery_mode=2))
    eventually(lambda: not outstanding, "all confirms", connection)
    channel.basic_qos(prefetch_count=1)
    assert wrong == []
    channel.queue_delete(q)


def test_commit_publishes_and_acks(connection, queue):
    channel, other = connection.channel(), connection.channel()
    publish(other, queue, "old")
    eventually(lambda: ready(other, queue) == 1, "the old message")
    channel.tx_select()
    old = get(channel, queue, auto_ack=False)
    publish(channel, queue, "a", "b")
    channel.basic_ack(old.method.delivery_tag)
    channel.basic_qos(prefetch_count=0)
    assert ready(other, queue) == 0, "nothing shows before the commit"
    channel.tx_commit()
    assert ready(other, queue) == 2
    assert get_all(other, queue) == ["a", "b"]
    channel.close()
    assert get_all(other, queue) == [], "the committed ack stands"


def test_rollback_drops_publishes_and_takes_acks_back(connection, queue):
    channel, other = connection.channel(), connection.channel()
    publish(other, queue, "old")
    eventually(lambda: ready(other, queue) == 1, "the old message")
    channel.tx_select()
    old = get(channel, queue, auto_ack=False)
    channel.basic_ack(old.method.delivery_tag)
    publish(channel, queue, "never")
    channel.tx_rollback()
    assert ready(other, queue) == 0, "a rollback does not redeliver"
    # The message is unacked as before, so it may be acked again or come back.
    channel.close()
    message = get(other, queue)
    assert (message.body, message.method.redelivered) == (b"old", True)
    assert get(other, queue) is None


def test_transactional_mandatory_is_returned_at_commit(connection, name):
    channel = connection.channel()
    returned = []
    channel.add_on_return_callback(lambda _ch, _method, _props, body: returned.append(body))
    channel.tx_select()
    channel.basic_publish("", name(), "lost", mandatory=True)
    channel.basic_qos(prefetch_count=0)
    assert returned == []
    channel.tx_commit()
    eventually(lambda: returned == [b"lost"], "the return", connection)


def test_closing_a_transactional_channel_rolls_back(connection, queue):
    channel, other = connection.channel(), connection.channel()
    channel.tx_select()
    publish(channel, queue, "never")
    channel.close()
    assert get(other, queue) is None


def test_publishers_on_many_threads(connect, channel, name):
    q = name()
    channel.queue_declare(q)
    errors = []

    def work(thread):
        try:
            own = connect().channel()
            own.confirm_delivery()
            for n in range(50):
                own.basic_publish("", q, f"{thread}.{n}", mandatory=True)
        except Exception as e:  # Shown by the test's own thread.
            errors.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    bodies = get_all(channel, q)
    assert len(bodies) == 400
    for n in range(8):
        mine = [b for b in bodies if b.startswith(f"{n}.")]
        assert mine == [f"{n}.{i}" for i in range(50)], "order is kept for each publisher"
    channel.queue_delete(q)
