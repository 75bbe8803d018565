"""Who gets a message, how many at a time, and what becomes of it."""
import pika
import pytest
from conftest import PATIENCE_S, Consumer, drop, eventually, exists, get, get_all, publish, ready


def test_prefetch_limits_each_consumer_made_after_it(channel, queue):
    unlimited = Consumer(channel, queue)
    channel.basic_qos(prefetch_count=2)
    limited = Consumer(channel, queue)
    publish(channel, queue, *"abcdefgh")
    # Round robin until the limited one is full, then all to the other.
    eventually(lambda: len(unlimited.messages) + len(limited.messages) == 8, "all", channel.connection)
    assert len(limited.messages) == 2
    assert sorted(unlimited.bodies + limited.bodies) == list("abcdefgh")


def test_prefetch_refills_as_acks_come(channel, queue):
    channel.basic_qos(prefetch_count=3)
    consumer = Consumer(channel, queue)
    publish(channel, queue, *"abcdefg")
    consumer.wait(3)
    assert consumer.quiet() == list("abc")
    consumer.ack(0)
    consumer.wait(4)
    assert consumer.quiet() == list("abcd")
    consumer.ack(3, multiple=True)
    consumer.wait(7)
    consumer.ack(6, multiple=True)
    assert consumer.bodies == list("abcdefg")


def test_prefetch_does_not_bind_auto_ack_or_get(channel, queue):
    channel.basic_qos(prefetch_count=1)
    publish(channel, queue, *"abc")
    eventually(lambda: ready(channel, queue) == 3, "three messages")
    for body in "abc":
        assert get(channel, queue, auto_ack=False).body.decode() == body
    channel.basic_nack(0, multiple=True)
    assert Consumer(channel, queue, auto_ack=True).wait(3) == list("abc")


def test_global_prefetch_is_shared_by_the_channel(channel):
    queues = [channel.queue_declare("", exclusive=True).method.queue for _ in range(2)]
    channel.basic_qos(prefetch_count=3, global_qos=True)
    consumers = [Consumer(channel, q) for q in queues]
    for q in queues:
        publish(channel, q, *"abcd")

    def delivered():
        return sum(len(c.messages) for c in consumers)

    eventually(lambda: delivered() == 3, "three deliveries", channel.connection)
    for c in consumers:
        c.quiet()
    assert delivered() == 3, "both consumers together may have three"

    # Raising the limit wakes consumers that wait.
    channel.basic_qos(prefetch_count=5, global_qos=True)
    eventually(lambda: delivered() == 5, "five deliveries", channel.connection)
    for c in consumers:
        c.quiet()
    assert delivered() == 5
    channel.basic_qos(prefetch_count=0, global_qos=True)
    eventually(lambda: delivered() == 8, "all deliveries", channel.connection)


def test_global_and_own_limit_hold_together(channel, queue):
    channel.basic_qos(prefetch_count=1)
    small = Consumer(channel, queue)
    channel.basic_qos(prefetch_count=10)
    large = Consumer(channel, queue)
    channel.basic_qos(prefetch_count=4, global_qos=True)
    publish(channel, queue, *"abcdefgh")
    eventually(lambda: len(small.messages) + len(large.messages) == 4, "four", channel.connection)
    small.quiet()
    assert (len(small.messages), len(large.messages)) == (1, 3)


def test_round_robin(channel, queue):
    consumers = [Consumer(channel, queue, auto_ack=True) for _ in range(3)]
    publish(channel, queue, *(str(n) for n in range(9)))
    for c in consumers:
        assert len(c.wait(3)) == 3
    for c in consumers:
        assert len(c.quiet()) == 3


def test_higher_priority_consumers_are_served_first(channel, queue):
    channel.basic_qos(prefetch_count=2)
    low = Consumer(channel, queue)
    high = Consumer(channel, queue, arguments={"x-priority": 10})
    below = Consumer(channel, queue, arguments={"x-priority": -5})
    publish(channel, queue, "a", "b")
    assert high.wait(2) == ["a", "b"]
    publish(channel, queue, "c", "d")
    assert low.wait(2) == ["c", "d"]
    publish(channel, queue, "e")
    assert below.wait(1) == ["e"]
    high.ack(0)
    publish(channel, queue, "f")
    consumers = (high, low, below)
    eventually(lambda: sum(len(c.messages) for c in consumers) == 6, "f", channel.connection)
    assert [c.bodies for c in consumers] == [["a", "b", "f"], ["c", "d"], ["e"]]


def test_requeued_messages_return_to_their_place(channel, queue):
    publish(channel, queue, *"abcde")
    eventually(lambda: ready(channel, queue) == 5, "five messages")
    taken = [get(channel, queue, auto_ack=False) for _ in range(4)]
    assert [m.method.redelivered for m in taken] == [False] * 4
    channel.basic_ack(taken[1].method.delivery_tag)
    # Given back one by one and out of order.
    for index in (2, 0, 3):
        channel.basic_reject(taken[index].method.delivery_tag, requeue=True)
    eventually(lambda: ready(channel, queue) == 4, "all to be back")
    back = [get(channel, queue) for _ in range(4)]
    assert [(m.body, m.method.redelivered) for m in back] == [
        (b"a", True),
        (b"c", True),
        (b"d", True),
        (b"e", False),
    ]


def test_nack_multiple(channel, queue):
    publish(channel, queue, *"abcdef")
    eventually(lambda: ready(channel, queue) == 6, "six messages")
    taken = [get(channel, queue, auto_ack=False) for _ in range(6)]
    # Drop the first two, give back the next two, keep the rest.
    channel.basic_nack(taken[1].method.delivery_tag, multiple=True, requeue=False)
    channel.basic_nack(taken[3].method.delivery_tag, multiple=True, requeue=True)
    eventually(lambda: ready(channel, queue) == 2, "two to be back")
    assert get_all(channel, queue) == ["c", "d"]
    channel.basic_ack(taken[5].method.delivery_tag, multiple=True)


def test_unacked_messages_come_back_when_the_channel_closes(connection, channel, queue):
    publish(channel, queue, *"abc")
    other = connection.channel()
    consumer = Consumer(other, queue)
    consumer.wait(3)
    consumer.ack(0)
    other.close()
    # The requeue is over before close-ok.
    back = [get(channel, queue) for _ in range(2)]
    assert [(m.body, m.method.redelivered) for m in back] == [(b"b", True), (b"c", True)]


def test_unacked_messages_come_back_when_the_connection_drops(connect, channel, name):
    q = name()
    channel.queue_declare(q)
    publish(channel, q, *"abc")
    other = connect()
    Consumer(other.channel(), q).wait(3)
    drop(other)
    eventually(lambda: ready(channel, q) == 3, "the messages to come back")
    back = [get(channel, q) for _ in range(3)]
    assert [(m.body, m.method.redelivered) for m in back] == [(x, True) for x in (b"a", b"b", b"c")]
    channel.queue_delete(q)


def test_recover_redelivers_to_the_same_channel(channel, queue):
    publish(channel, queue, *"abc")
    consumer = Consumer(channel, queue)
    consumer.wait(3)
    consumer.ack(0)
    channel.basic_recover(requeue=True)
    assert consumer.wait(5) == ["a", "b", "c", "b", "c"]
    assert [m.method.redelivered for m in consumer.messages] == [False] * 3 + [True] * 2


def test_auto_acked_messages_do_not_come_back(connection, channel, queue):
    publish(channel, queue, *"abc")
    other = connection.channel()
    Consumer(other, queue, auto_ack=True).wait(3)
    other.close()
    assert get_all(channel, queue) == []


def test_ack_after_cancel(channel, queue):
    publish(channel, queue, "a", "b")
    consumer = Consumer(channel, queue)
    consumer.wait(2)
    tag = consumer.messages[0].method.delivery_tag
    # pika gives back what it has not shown yet; these two it has shown.
    channel.basic_cancel(consumer.tag)
    assert ready(channel, queue) == 0, "a cancel requeues nothing"
    channel.basic_ack(tag, multiple=False)
    channel.basic_ack(tag + 1)
    channel.basic_qos(prefetch_count=1)


def test_cancel_stops_deliveries(channel, queue):
    consumer = Consumer(channel, queue)
    channel.basic_cancel(consumer.tag)
    publish(channel, queue, "late")
    eventually(lambda: ready(channel, queue) == 1, "the message to wait")
    assert consumer.quiet() == []
    channel.basic_cancel("a tag nobody has")


def test_consumer_is_told_when_its_queue_is_deleted(connection, channel, name):
    q = name()
    channel.queue_declare(q)
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    first, second = Consumer(channel, q), Consumer(channel, q)
    connection.channel().queue_delete(q)
    eventually(lambda: len(cancelled) == 2, "two cancels", connection)
    assert sorted(cancelled) == sorted([first.tag, second.tag])
    assert channel.is_open


def test_consumer_generator_ends_when_its_queue_is_deleted(connection, channel, name):
    q = name()
    channel.queue_declare(q)
    publish(channel, q, "last")
    seen = []
    for method, _properties, body in channel.consume(q, inactivity_timeout=PATIENCE_S):
        assert method is not None, "the generator did not end"
        seen.append(body)
        channel.basic_ack(method.delivery_tag)
        connection.channel().queue_delete(q)
    assert seen == [b"last"]


def test_generated_consumer_tags(connection):
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    # pika makes its tags itself; an empty one below it asks the broker for one.
    replies = []
    channel._impl._rpc(
        pika.spec.Basic.Consume(queue=queue, consumer_tag=""),
        lambda frame: replies.append(frame.method.consumer_tag),
        [pika.spec.Basic.ConsumeOk],
    )
    eventually(lambda: replies, "consume-ok", connection)
    assert replies[0].startswith("amq.ctag-") and len(replies[0]) == len("amq.ctag-") + 22


def test_delivery_tags_count_get_and_deliver_together(channel, queue):
    publish(channel, queue, *"abc")
    eventually(lambda: ready(channel, queue) == 3, "three messages")
    assert get(channel, queue, auto_ack=True).method.delivery_tag == 1
    assert get(channel, queue, auto_ack=False).method.delivery_tag == 2
    consumer = Consumer(channel, queue)
    consumer.wait(1)
    assert consumer.messages[0].method.delivery_tag == 3
    other = channel.connection.channel()
    publish(other, queue, "d")
    consumer.wait(2)
    assert consumer.messages[1].method.delivery_tag == 4


def test_publisher_and_consumer_on_one_channel(channel, queue):
    consumer = Consumer(channel, queue)
    for n in range(300):
        publish(channel, queue, str(n))
    assert consumer.wait(300) == [str(n) for n in range(300)]
    consumer.ack(multiple=True)
    channel.basic_cancel(consumer.tag)
    assert get(channel, queue) is None


def test_direct_reply_to(connect, connection, queue):
    asker = connection.channel()
    replies = Consumer(asker, "amq.rabbitmq.reply-to", auto_ack=True)
    asker.basic_publish(
        "", queue, "question", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to")
    )
    server = connection.channel()
    eventually(lambda: ready(server, queue) == 1, "the question")
    address = get(server, queue).properties.reply_to
    assert address.startswith("amq.rabbitmq.reply-to.") and address != "amq.rabbitmq.reply-to."

    # Anyone who knows the address may answer, and it looks like a queue.
    other = connect().channel()
    other.confirm_delivery()
    other.basic_publish("", address, "answer")
    assert replies.wait(1) == ["answer"]
    method = replies.messages[0].method
    assert (method.exchange, method.redelivered) == ("", False)
    assert other.queue_declare(address, passive=True).method.consumer_count == 1

    asker.close()
    assert not exists(connection, address)
    # An answer to one who has left is dropped without a word.
    other.basic_publish("", address, "too late")


def test_direct_reply_to_misused(connection, queue):
    channel = connection.channel()
    channel.basic_publish(
        "", queue, "question", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to")
    )
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as e:
        channel.basic_qos(prefetch_count=1)
    assert (e.value.reply_code, e.value.reply_text) == (
        406,
        "PRECONDITION_FAILED - fast reply consumer does not exist",
    )
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as e:
        Consumer(connection.channel(), "amq.rabbitmq.reply-to", auto_ack=False)
    assert (e.value.reply_code, e.value.reply_text) == (
        406,
        "PRECONDITION_FAILED - reply consumer cannot acknowledge",
    )


def test_an_ack_counts_before_the_publish_behind_it(channel, queue):
    # Both frames arrive in one read; a broker that batches must keep the order.
    channel.basic_qos(prefetch_count=1)
    high = Consumer(channel, queue, arguments={"x-priority": 10})
    low = Consumer(channel, queue)
    for n in range(20):
        publish(channel, queue, f"a{n}")
        high.wait(2 * n + 1)
        body = f"b{n}".encode()
        number = channel.channel_number
        channel.connection._impl._output_marshaled_frames(
            [
                b"".join(
                    part.marshal()
                    for part in (
                        pika.frame.Method(
                            number, pika.spec.Basic.Ack(high.messages[-1].method.delivery_tag)
                        ),
                        pika.frame.Method(
                            number, pika.spec.Basic.Publish(exchange="", routing_key=queue)
                        ),
                        pika.frame.Header(number, len(body), pika.BasicProperties()),
                        pika.frame.Body(number, body),
                    )
                )
            ]
        )
        eventually(
            lambda: len(high.messages) + len(low.messages) == 2 * n + 2, "b", channel.connection
        )
        assert low.bodies == [], "the consumer of higher priority had room again"
        high.ack()
