"""Priorities of messages and of consumers, and consumers that stand by."""
import pika
import pytest
from conftest import Consumer, closes, drop, eventually, get, get_all, publish, ready


@pytest.fixture
def priorities(channel):
    return channel.queue_declare(
        "", exclusive=True, arguments={"x-max-priority": 10}
    ).method.queue


def test_higher_priorities_go_first(channel, priorities):
    for n in range(40):
        publish(channel, priorities, str(n), priority=n % 4)
    publish(channel, priorities, "none")
    eventually(lambda: ready(channel, priorities) == 41, "all to be there")
    want = [str(n) for p in (3, 2, 1, 0) for n in range(40) if n % 4 == p]
    assert get_all(channel, priorities) == want + ["none"]


def test_priorities_above_the_maximum_are_alike(channel, priorities):
    publish(channel, priorities, "a", priority=10)
    publish(channel, priorities, "b", priority=255)
    publish(channel, priorities, "c", priority=11)
    publish(channel, priorities, "d", priority=9)
    eventually(lambda: ready(channel, priorities) == 4, "all to be there")
    assert get_all(channel, priorities) == ["a", "b", "c", "d"]


def test_the_property_reaches_the_consumer(channel, priorities):
    publish(channel, priorities, "m", priority=200)
    eventually(lambda: ready(channel, priorities) == 1, "it to be there")
    assert get(channel, priorities).properties.priority == 200


def test_a_newcomer_overtakes_what_waits(channel, priorities):
    channel.basic_qos(prefetch_count=1)
    consumer = Consumer(channel, priorities)
    publish(channel, priorities, "first", "low")
    assert consumer.wait(1) == ["first"]
    publish(channel, priorities, "high", priority=9)
    consumer.ack()
    assert consumer.wait(2)[1:] == ["high"]
    consumer.ack()
    assert consumer.wait(3)[2:] == ["low"]


def test_requeued_messages_keep_their_priority(channel, priorities):
    for n in range(6):
        publish(channel, priorities, str(n), priority=n % 2)
    eventually(lambda: ready(channel, priorities) == 6, "all to be there")
    taken = [get(channel, priorities, auto_ack=False) for _ in range(5)]
    channel.basic_nack(taken[-1].method.delivery_tag, multiple=True, requeue=True)
    eventually(lambda: ready(channel, priorities) == 6, "all to be back")
    assert get_all(channel, priorities) == ["1", "3", "5", "0", "2", "4"]


def test_quorum_queues_have_priorities_undeclared(channel, name):
    queue = name()
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    try:
        publish(channel, queue, "four")
        publish(channel, queue, "zero", priority=0)
        publish(channel, queue, "five", priority=5)
        publish(channel, queue, "most", priority=31)
        publish(channel, queue, "as most", priority=99)
        eventually(lambda: ready(channel, queue) == 5, "all to be there")
        assert get_all(channel, queue) == ["most", "as most", "five", "four", "zero"]
    finally:
        channel.queue_delete(queue)


def test_refusals(connection, name):
    for value, why in ((256, "{max_value_exceeded,256}"), (-1, "{value_negative,-1}")):
        queue = name()
        closes(
            pika.exceptions.ChannelClosedByBroker,
            406,
            f"PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue '{queue}' in vhost "
            f"'{connection._impl.params.virtual_host}': {why}",
            lambda: connection.channel().queue_declare(
                queue, arguments={"x-max-priority": value}
            ),
        )


@pytest.fixture
def single(channel, name):
    queue = name()
    channel.queue_declare(queue, arguments={"x-single-active-consumer": True})
    yield queue
    channel.queue_delete(queue)


def test_one_consumer_is_active_until_it_is_cancelled(connect, channel, single):
    others = [connect().channel() for _ in range(2)]
    active = Consumer(channel, single)
    waiting = Consumer(others[0], single)
    preferred = Consumer(others[1], single, arguments={"x-priority": 10})
    publish(channel, single, "a", "b")
    assert active.wait(2) == ["a", "b"]
    assert waiting.quiet() == preferred.quiet() == []

    # What it holds it keeps; the next one is the preferred one.
    channel.basic_cancel(active.tag)
    publish(channel, single, "c")
    assert preferred.wait(1) == ["c"]
    active.ack(0)
    channel.basic_reject(active.messages[1].method.delivery_tag, requeue=True)
    assert preferred.wait(2) == ["c", "b"]
    assert waiting.quiet() == []


# pika cancels consumers before it closes their channel: that is hand-over by
# cancelling, which does not wait for what is still held.
@pytest.mark.parametrize("end", ["error", "cable"])
def test_hand_over_keeps_the_order(connect, channel, single, end):
    first = connect()
    dying = first.channel()
    dying.basic_qos(prefetch_count=50)
    active = Consumer(dying, single)
    standby = Consumer(channel, single)
    publish(channel, single, *(f"{n:03}" for n in range(200)))
    active.wait(50)
    active.ack(9, multiple=True)
    active.wait(60)
    assert standby.quiet() == []
    held = len(active.messages) - 10
    if end == "cable":
        drop(first)
    else:
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            dying.queue_declare("no such queue", passive=True)
    # Nothing overtakes what the active one gave back.
    assert standby.wait(190) == [f"{n:03}" for n in range(10, 200)]
    flags = [m.method.redelivered for m in standby.messages]
    assert flags == [True] * held + [False] * (190 - held)


def test_exclusive_consumers_do_not_stand_by(connection, single):
    closes(
        pika.exceptions.ChannelClosedByBroker,
        403,
        f"ACCESS_REFUSED - queue '{single}' in vhost "
        f"'{connection._impl.params.virtual_host}' in exclusive use",
        lambda: Consumer(connection.channel(), single, exclusive=True),
    )


def test_late_consumers_lose_what_they_hold(connection, channel, name):
    queue = name()
    channel.queue_declare(queue, arguments={"x-consumer-timeout": 300})
    late = Consumer(channel, queue)
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    publish(channel, queue, "job")
    assert late.wait(1) == ["job"]
    eventually(lambda: cancelled == [late.tag], "the consumer to be cancelled", connection)
    late.ack()  # Too late, and no error.
    eventually(lambda: ready(channel, queue) == 1, "the message to be back")
    message = get(channel, queue)
    assert (message.body, message.method.redelivered) == (b"job", True)
    channel.queue_delete(queue)
