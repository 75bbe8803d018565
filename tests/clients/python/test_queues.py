"""How queues come, keep time, and go."""
import re
import time

import pika
import pytest
from conftest import (
    QUIET_S,
    Consumer,
    drop,
    eventually,
    exists,
    get,
    get_all,
    publish,
    ready,
)


def test_server_named_queue_is_the_channels_last(channel):
    queue = channel.queue_declare("", exclusive=True).method.queue
    assert re.fullmatch(r"amq\.gen-[A-Za-z0-9_-]{22}", queue)
    # The empty name now means this queue.
    channel.queue_bind("", "amq.direct", "key")
    channel.basic_publish("amq.direct", "key", "by key")
    eventually(lambda: ready(channel, queue) == 1, "the message to be ready")
    assert get(channel, "").body == b"by key"


def test_counts(channel, queue):
    publish(channel, queue, "a", "b", "c")
    eventually(lambda: ready(channel, queue) == 3, "three messages")
    assert get(channel, queue, auto_ack=False).method.message_count == 2
    declared = channel.queue_declare(queue, passive=True).method
    assert (declared.message_count, declared.consumer_count) == (2, 0), "unacked ones do not count"
    assert channel.queue_purge(queue).method.message_count == 2
    consumer = Consumer(channel, queue)
    assert channel.queue_declare(queue, passive=True).method.consumer_count == 1
    channel.basic_nack(0, multiple=True)
    consumer.wait(1)
    assert consumer.bodies == ["a"], "the unacked message survived the purge"


def test_delete_says_how_many_were_lost(connection, channel, name):
    q = name()
    channel.queue_declare(q)
    publish(channel, q, "a", "b")
    eventually(lambda: ready(channel, q) == 2, "two messages")
    assert channel.queue_delete(q).method.message_count == 2
    assert not exists(connection, q)


def test_exclusive_queue_goes_with_its_connection(connect, connection, name):
    q = name()
    owner = connect()
    owner.channel().queue_declare(q, exclusive=True, durable=True)
    owner.channel().queue_declare(q, exclusive=True, durable=True)
    owner.close()
    # It is gone before close-ok, so at once.
    assert not exists(connection, q)


def test_exclusive_queue_goes_when_the_socket_drops(connect, connection, name):
    q = name()
    owner = connect()
    owner.channel().queue_declare(q, exclusive=True)
    drop(owner)

    def gone():
        channel = connection.channel()
        try:
            channel.queue_declare(q, passive=True)
        except pika.exceptions.ChannelClosedByBroker as e:
            assert e.reply_code in (404, 405), e
            return e.reply_code == 404
        raise AssertionError("another connection may use an exclusive queue")

    eventually(gone, "the exclusive queue to go")


def test_auto_delete_goes_with_the_last_consumer(connection, channel, name):
    q = name()
    channel.queue_declare(q, auto_delete=True)
    publish(channel, q, "x")
    eventually(lambda: get(channel, q), "the message")
    assert exists(connection, q), "basic.get is no consumer"
    first, second = Consumer(channel, q), Consumer(channel, q)
    channel.basic_cancel(first.tag)
    assert exists(connection, q)
    channel.basic_cancel(second.tag)
    eventually(lambda: not exists(connection, q), "the queue to go with its last consumer")


def test_auto_delete_goes_when_the_consumers_channel_closes(connection, name):
    q = name()
    channel = connection.channel()
    channel.queue_declare(q, auto_delete=True)
    Consumer(channel, q)
    channel.close()
    eventually(lambda: not exists(connection, q), "the queue to go with the channel")


def test_queue_ttl(channel):
    q = channel.queue_declare("", exclusive=True, arguments={"x-message-ttl": 2000}).method.queue
    publish(channel, q, "a", "b")
    eventually(lambda: ready(channel, q) == 2, "two messages")
    eventually(lambda: ready(channel, q) == 0, "the messages to expire")


def test_expired_behind_a_live_one_is_not_delivered(channel, queue):
    publish(channel, queue, "stays")
    publish(channel, queue, "short", expiration="50")
    publish(channel, queue, "long", expiration="60000")
    time.sleep(0.3)
    # RabbitMQ counts it until it comes to the head; Leveret lets it go when due.
    assert ready(channel, queue) in (2, 3)
    assert get_all(channel, queue) == ["stays", "long"]


def test_the_shorter_of_ttl_and_expiration_counts(channel):
    q = channel.queue_declare("", exclusive=True, arguments={"x-message-ttl": 60000}).method.queue
    channel.confirm_delivery()
    publish(channel, q, "short", expiration="100")
    publish(channel, q, "long", expiration="100000000")
    eventually(lambda: ready(channel, q) == 1, "the short one to expire")
    assert get_all(channel, q) == ["long"]


def test_ttl_zero_delivers_at_once_or_never(channel, queue):
    publish(channel, queue, "nobody there", expiration="0")
    assert get_all(channel, queue) == []
    consumer = Consumer(channel, queue)
    publish(channel, queue, "somebody there", expiration="0")
    assert consumer.wait(1) == ["somebody there"]


def test_requeue_does_not_restart_the_clock(channel, queue):
    publish(channel, queue, "a", expiration="2000")
    eventually(lambda: ready(channel, queue) == 1, "the message")
    message = get(channel, queue, auto_ack=False)
    time.sleep(2.1)
    channel.basic_nack(message.method.delivery_tag)
    assert get_all(channel, queue) == []


def test_x_expires_takes_an_idle_queue(connection, channel, name):
    idle, used, declared = name(), name(), name()
    for q in (idle, used, declared):
        channel.queue_declare(q, arguments={"x-expires": 1500})
    consumer = Consumer(channel, used)
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        # A declare, passive too, is use; so is a consumer, idle or not.
        ready(channel, declared)
        time.sleep(0.05)
    assert exists(connection, declared)
    assert not exists(connection, idle)
    publish(channel, used, "still here")
    assert consumer.wait(1) == ["still here"]
    channel.basic_cancel(consumer.tag)
    # Looking would keep it alive, so wait first.
    time.sleep(2)
    assert not exists(connection, used)


def test_durable_and_transient_queues_of_all_kinds(channel, name):
    for durable in (True, False):
        for exclusive in (True, False):
            for auto_delete in (True, False):
                q = name()
                channel.queue_declare(
                    q, durable=durable, exclusive=exclusive, auto_delete=auto_delete
                )
                channel.queue_delete(q)


@pytest.mark.parametrize(
    "arguments",
    [
        {"x-queue-mode": "lazy"},
        {"x-queue-type": "classic"},
        {"x-queue-master-locator": "client-local"},
        {"a-key-of-my-own": [1, "two", {"three": None}]},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_arguments_any_release_accepted(channel, arguments):
    q = channel.queue_declare("", exclusive=True, arguments=arguments).method.queue
    publish(channel, q, "works")
    eventually(lambda: ready(channel, q) == 1, "the message")
    assert get_all(channel, q) == ["works"]


def test_ten_thousand_messages_wait_in_order(channel, queue):
    publish(channel, queue, *(str(n) for n in range(10000)))
    consumer = Consumer(channel, queue, auto_ack=True)
    assert consumer.wait(10000) == [str(n) for n in range(10000)]
    assert channel.connection.process_data_events(time_limit=QUIET_S) is None
    assert len(consumer.messages) == 10000
