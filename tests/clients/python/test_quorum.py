"""Quorum queues as a client sees them."""
from conftest import (
    VHOST, Consumer, closes_channel, closes_connection, eventually, get, get_all, publish, ready,
)


def declare(channel, queue, durable=True, **more):
    arguments = {"x-queue-type": "quorum", **more.pop("arguments", {})}
    channel.queue_declare(queue, durable=durable, arguments=arguments, **more)
    return queue


def what(queue):
    return f"queue '{queue}' in vhost '{VHOST}'"


def test_properties_that_it_cannot_have(connection, name):
    for properties, word in (
        ({"durable": False}, "non-durable"),
        ({"auto_delete": True}, "auto-delete"),
        ({"exclusive": True}, "exclusive-owner"),
    ):
        q = name()
        closes_channel(
            406,
            f"PRECONDITION_FAILED - invalid property '{word}' for {what(q)}",
            lambda: declare(connection.channel(), q, **properties),
        )


def test_it_needs_a_name(channel):
    closes_channel(
        406,
        "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue",
        lambda: declare(channel, ""),
    )


def test_arguments_of_other_types(connection, name):
    for argument, value in (("x-max-priority", 5), ("x-queue-mode", "lazy"), ("x-max-age", "1D")):
        q = name()
        closes_channel(
            406,
            f"PRECONDITION_FAILED - invalid arg '{argument}' for {what(q)} of queue type rabbit_quorum_queue",
            lambda: declare(connection.channel(), q, arguments={argument: value}),
        )


def test_it_is_no_classic_queue(connection, name):
    q = declare(connection.channel(), name())
    closes_channel(
        406,
        f"PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for {what(q)}: received 'classic' but current is 'quorum'",
        lambda: connection.channel().queue_declare(q, durable=True),
    )
    connection.channel().queue_delete(q)


def test_conditional_deletes_are_not_implemented(connect, name):
    q = declare(connect().channel(), name())
    for flag in ("if_unused", "if_empty"):
        closes_connection(
            540,
            f"NOT_IMPLEMENTED - cannot delete {what(q)}. queue.delete operations with "
            f"{flag.replace('_', '-')} flag set are not supported by quorum queues",
            lambda: connect().channel().queue_delete(q, **{flag: True}),
        )
    connect().channel().queue_delete(q)


def test_shared_prefetch_is_not_implemented(connect, name):
    channel = connect().channel()
    q = declare(channel, name())
    channel.basic_qos(prefetch_count=10, global_qos=True)
    closes_connection(
        540,
        f"NOT_IMPLEMENTED - {what(q)} does not support global qos",
        lambda: channel.basic_consume(q, lambda *_: None),
    )
    connect().channel().queue_delete(q)


def test_transient_messages_are_kept_and_stay_as_they_were(channel, name):
    q = declare(channel, name())
    channel.confirm_delivery()
    publish(channel, q, "m", delivery_mode=1)
    assert get(channel, q).properties.delivery_mode == 1
    channel.queue_delete(q)


def test_messages_leave_in_order_and_come_back(connect, connection, name):
    channel = connection.channel()
    q = declare(channel, name())
    channel.confirm_delivery()
    publish(channel, q, *map(str, range(10)))
    other = connect()
    held = Consumer(other.channel(), q)
    assert held.wait(10) == [str(n) for n in range(10)]
    other.close()
    eventually(lambda: ready(channel, q) == 10, "all to be back")
    assert get_all(channel, q) == [str(n) for n in range(10)]
    channel.queue_delete(q)
