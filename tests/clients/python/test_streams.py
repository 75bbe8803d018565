"""Streams over AMQP 0-9-1: replay from each kind of offset, filters, what is
refused."""
import datetime
import time

import pika
import pytest

from conftest import PATIENCE_S, QUIET_S, VHOST


def declare(channel, name, **arguments):
    arguments = {k.replace("_", "-"): v for k, v in arguments.items()}
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": "stream", **arguments})
    return name


@pytest.fixture
def stream(connection, name):
    """A stream with the messages m0 to m9, all confirmed."""
    channel = connection.channel()
    channel.confirm_delivery()
    queue = declare(channel, name())
    for i in range(10):
        channel.basic_publish("", queue, b"m%d" % i, pika.BasicProperties(headers={"i": i}))
    yield queue
    connection.channel().queue_delete(queue)


def read(connection, queue, count, quiet=True, prefetch=100, **arguments):
    """Reads from a stream until count messages are there, and none after."""
    channel = connection.channel()
    channel.basic_qos(prefetch_count=prefetch)
    arguments = {k.replace("_", "-"): v for k, v in arguments.items()}
    got = []

    def on_message(ch, method, properties, body):
        got.append((properties.headers["x-stream-offset"], body, method.redelivered))
        ch.basic_ack(method.delivery_tag)

    channel.basic_consume(queue, on_message, arguments=arguments)
    deadline = time.monotonic() + PATIENCE_S
    while len(got) < count:
        assert time.monotonic() < deadline, f"{len(got)} of {count} messages: {got}"
        connection.process_data_events(time_limit=0.05)
    if quiet:
        connection.process_data_events(time_limit=QUIET_S)
    channel.close()
    assert not any(redelivered for _, _, redelivered in got)
    return [(offset, body) for offset, body, _ in got]


def messages(start, end=10):
    return [(i, b"m%d" % i) for i in range(start, end)]


@pytest.mark.parametrize("offset, start", [
    ("first", 0), (0, 0), (4, 4), (9, 9), ("1h", 0), ("7D", 0),
    (datetime.datetime(2020, 1, 1), 0), (datetime.datetime.now() + datetime.timedelta(days=1), 10),
    ("next", 10), (None, 10), (1000, 10),
])
def test_replay(connection, stream, offset, start):
    arguments = {} if offset is None else {"x_stream_offset": offset}
    assert read(connection, stream, 10 - start, **arguments) == messages(start)


def test_replay_of_the_last(connection, stream):
    assert read(connection, stream, 1, x_stream_offset="last")[-1] == (9, b"m9")


def test_messages_stay(connection, stream):
    for _ in range(2):
        assert read(connection, stream, 10, x_stream_offset="first") == messages(0)
    assert connection.channel().queue_declare(stream, passive=True).method.message_count == 10


def test_prefetch_is_credit(connection, stream):
    assert read(connection, stream, 10, prefetch=1, x_stream_offset="first") == messages(0)
    channel = connection.channel()
    channel.basic_qos(prefetch_count=3)
    got = []
    channel.basic_consume(stream, lambda ch, m, p, b: got.append(m.delivery_tag), arguments={"x-stream-offset": "first"})
    deadline = time.monotonic() + PATIENCE_S
    while len(got) < 3:
        assert time.monotonic() < deadline
        connection.process_data_events(time_limit=0.05)
    connection.process_data_events(time_limit=QUIET_S)
    assert got == [1, 2, 3]
    # Whatever becomes of a message, it grants credit for one more.
    channel.basic_reject(1, requeue=True)
    channel.basic_nack(2, requeue=False)
    channel.basic_ack(3)
    while len(got) < 6:
        assert time.monotonic() < deadline
        connection.process_data_events(time_limit=0.05)
    connection.process_data_events(time_limit=QUIET_S)
    assert got == [1, 2, 3, 4, 5, 6]


def test_new_messages_arrive(connect, connection, stream):
    channel = connection.channel()
    channel.basic_qos(prefetch_count=100)
    got = []
    channel.basic_consume(stream, lambda ch, m, p, body: got.append((p.headers["x-stream-offset"], body)))
    publisher = connect().channel()
    for i in range(10, 20):
        publisher.basic_publish("", stream, b"m%d" % i)
    deadline = time.monotonic() + PATIENCE_S
    while len(got) < 10:
        assert time.monotonic() < deadline
        connection.process_data_events(time_limit=0.05)
    assert got == messages(10, 20)


def test_filter(connection, name):
    channel = connection.channel()
    channel.confirm_delivery()
    queue = declare(channel, name(), x_stream_filter_size_bytes=32)
    for i in range(30):
        headers = {"x-stream-filter-value": ["fr", "de"][i % 3]} if i % 3 < 2 else None
        channel.basic_publish("", queue, b"%d" % i, pika.BasicProperties(headers=headers))
    fr, de, none = ([(i, b"%d" % i) for i in range(start, 30, 3)] for start in range(3))
    assert read(connection, queue, 10, x_stream_offset="first", x_stream_filter="fr") == fr
    assert read(connection, queue, 20, x_stream_offset="first", x_stream_filter=["fr", "de"]) == sorted(fr + de)
    assert read(connection, queue, 20, x_stream_offset="first", x_stream_filter="de", x_stream_match_unfiltered=True) == sorted(de + none)
    assert read(connection, queue, 0, x_stream_offset="first", x_stream_filter="es") == []
    connection.channel().queue_delete(queue)


def test_properties_and_headers(connection, name):
    channel = connection.channel()
    channel.confirm_delivery()
    queue = declare(channel, name())
    sent = pika.BasicProperties(content_type="text/plain", headers={"a": 1, "b": ["x", {"c": True}]}, correlation_id="c", delivery_mode=1, expiration="1")
    channel.basic_publish("", queue, b"body", sent)
    channel.basic_publish("", queue, b"x" * 100_000)
    channel = connection.channel()
    channel.basic_qos(prefetch_count=10)
    got = []
    channel.basic_consume(queue, lambda ch, m, p, b: got.append((m, p, b)), arguments={"x-stream-offset": "first"})
    deadline = time.monotonic() + PATIENCE_S
    while len(got) < 2:
        assert time.monotonic() < deadline
        connection.process_data_events(time_limit=0.05)
    method, properties, body = got[0]
    assert (method.exchange, method.routing_key, body) == ("", queue, b"body")
    assert properties.headers == {"a": 1, "b": ["x", {"c": True}], "x-stream-offset": 0}
    assert (properties.content_type, properties.correlation_id, properties.delivery_mode) == ("text/plain", "c", 1)
    assert got[1][1].headers == {"x-stream-offset": 1} and got[1][2] == b"x" * 100_000
    channel.queue_delete(queue)


def refused(connect, act):
    """What the server says when act is done on a new channel."""
    with pytest.raises((pika.exceptions.ChannelClosedByBroker, pika.exceptions.ConnectionClosedByBroker)) as e:
        act(connect().channel())
    return e.value.reply_code, e.value.reply_text


def test_refused(connect, stream):
    q = f"queue '{stream}' in vhost '{VHOST}'"

    def consume(**options):
        def act(channel):
            prefetch = options.pop("prefetch", 10)
            channel.basic_qos(prefetch_count=prefetch, global_qos=options.pop("shared", False))
            channel.basic_consume(stream, lambda *_: None, **options)
        return act

    assert refused(connect, consume(prefetch=0)) == (406, f"PRECONDITION_FAILED - consumer prefetch count is not set for stream {q}")
    assert refused(connect, consume(auto_ack=True)) == (540, f"NOT_IMPLEMENTED - automatic acknowledgement not supported by stream {q}")
    assert refused(connect, consume(shared=True)) == (540, f"NOT_IMPLEMENTED - {q} does not support global qos")
    assert refused(connect, consume(arguments={"x-stream-offset": "nonsense"}))[0] == 406
    assert refused(connect, lambda ch: ch.queue_purge(stream)) == (540, f"NOT_IMPLEMENTED - queue.purge not supported by stream queues {q}")
    assert refused(connect, lambda ch: ch.basic_get(stream)) == (540, f"NOT_IMPLEMENTED - basic.get not supported by stream queues {q}")

    arguments = {"x-queue-type": "stream"}
    assert refused(connect, lambda ch: ch.queue_declare("", durable=True, arguments=arguments)) == (
        406, "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_stream_queue")
    for options, what in [({}, "non-durable"), ({"durable": True, "auto_delete": True}, "auto-delete"), ({"durable": True, "exclusive": True}, "exclusive-owner")]:
        assert refused(connect, lambda ch: ch.queue_declare("s", arguments=arguments, **options)) == (
            406, f"PRECONDITION_FAILED - invalid property '{what}' for queue 's' in vhost '{VHOST}'")
    assert refused(connect, lambda ch: ch.queue_declare("s", durable=True, arguments={**arguments, "x-message-ttl": 1})) == (
        406, f"PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 's' in vhost '{VHOST}' of queue type rabbit_stream_queue")
