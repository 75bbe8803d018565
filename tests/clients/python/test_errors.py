"""Every refusal as pika sees it: code, text, and what it closes."""
import pika
import pytest
from conftest import VHOST, Consumer, closes_channel, closes_connection, eventually, publish


def in_vhost(kind, name):
    return f"{kind} '{name}' in vhost '{VHOST}'"


@pytest.mark.parametrize(
    "use",
    [
        lambda ch, q: ch.queue_declare(q, passive=True),
        lambda ch, q: ch.basic_consume(q, lambda *_: None),
        lambda ch, q: ch.basic_get(q),
        lambda ch, q: ch.queue_purge(q),
        lambda ch, q: ch.queue_bind(q, "amq.direct", "key"),
    ],
    ids=["passive", "consume", "get", "purge", "bind"],
)
def test_missing_queue_is_404(connection, channel, name, use):
    q = name()
    closes_channel(404, f"NOT_FOUND - no {in_vhost('queue', q)}", lambda: use(channel, q))
    assert connection.channel().is_open, "the connection and its other channels live on"


def test_missing_exchange_is_404(connection, queue, name):
    x = name()
    text = f"NOT_FOUND - no {in_vhost('exchange', x)}"
    closes_channel(404, text, lambda: connection.channel().exchange_declare(x, passive=True))
    closes_channel(404, text, lambda: connection.channel().queue_bind(queue, x))
    closes_channel(404, text, lambda: connection.channel().exchange_bind("amq.fanout", x))

    # A publish has no answer: the close comes with whatever is asked next.
    channel = connection.channel()
    channel.basic_publish(x, "key", "body")
    closes_channel(404, text, lambda: channel.queue_declare("", exclusive=True))


def test_publish_to_missing_exchange_with_confirms(connection, name):
    x = name()
    channel = connection.channel()
    channel.confirm_delivery()
    closes_channel(
        404,
        f"NOT_FOUND - no {in_vhost('exchange', x)}",
        lambda: channel.basic_publish(x, "key", "body"),
    )


def test_deleting_what_is_not_there_succeeds(channel, name):
    assert channel.queue_delete(name()).method.message_count == 0
    channel.exchange_delete(name())
    channel.queue_unbind(channel.queue_declare("", exclusive=True).method.queue, "amq.direct", "k")


@pytest.mark.parametrize(
    "again,text",
    [
        (dict(durable=False, auto_delete=True), "'durable' for {}: received 'false' but current is 'true'"),
        (dict(durable=True), "'auto_delete' for {}: received 'false' but current is 'true'"),
        (
            dict(durable=True, auto_delete=True, arguments={"x-message-ttl": 1000}),
            "'x-message-ttl' for {}: received '1000' but current is '60000'",
        ),
        (
            dict(durable=True, auto_delete=True),
            "'x-message-ttl' for {}: received none but current is the value '60000' of type 'signedint'",
        ),
    ],
    ids=["durable", "auto_delete", "ttl", "no ttl"],
)
def test_redeclaring_a_queue_differently_is_406(connection, channel, name, again, text):
    q = name()
    ttl = {"x-message-ttl": 60000}
    arguments = ttl if "x-message-ttl" in text else None
    channel.queue_declare(q, durable=True, auto_delete=True, arguments=arguments)
    channel.queue_declare(q, durable=True, auto_delete=True, arguments=arguments)
    closes_channel(
        406,
        f"PRECONDITION_FAILED - inequivalent arg {text.format(in_vhost('queue', q))}",
        lambda: channel.queue_declare(q, **again),
    )
    connection.channel().queue_delete(q)


def test_redeclaring_an_exchange_differently_is_406(connection, channel, name):
    x = name()
    channel.exchange_declare(x, "direct", auto_delete=True)
    channel.exchange_declare(x, "direct", auto_delete=True)
    closes_channel(
        406,
        f"PRECONDITION_FAILED - inequivalent arg 'type' for {in_vhost('exchange', x)}: "
        "received 'topic' but current is 'direct'",
        lambda: channel.exchange_declare(x, "topic", auto_delete=True),
    )
    connection.channel().exchange_delete(x)


@pytest.mark.parametrize(
    "arguments,why",
    [
        ({"x-message-ttl": -1}, "'x-message-ttl' for {}: {{value_negative,-1}}"),
        ({"x-expires": 0}, "'x-expires' for {}: {{value_zero,0}}"),
    ],
    ids=["negative ttl", "zero expires"],
)
def test_invalid_argument_is_406(channel, name, arguments, why):
    q = name()
    closes_channel(
        406,
        "PRECONDITION_FAILED - invalid arg " + why.format(in_vhost("queue", q)),
        lambda: channel.queue_declare(q, exclusive=True, arguments=arguments),
    )


def test_another_connections_exclusive_queue_is_405(connect, connection, queue):
    text = (
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked {in_vhost('queue', queue)}. "
        "It could be originally declared on another connection or the exclusive property value "
        "does not match that of the original declaration."
    )
    other = connect()
    for use in (
        lambda ch: ch.queue_declare(queue, passive=True),
        lambda ch: ch.basic_get(queue),
        lambda ch: ch.basic_consume(queue, lambda *_: None),
        lambda ch: ch.queue_bind(queue, "amq.fanout"),
        lambda ch: ch.queue_purge(queue),
        lambda ch: ch.queue_delete(queue),
    ):
        closes_channel(405, text, lambda: use(other.channel()))

    # Publishing to it is free to all.
    publish(other.channel(), queue, "hello")
    channel = connection.channel()
    eventually(lambda: channel.basic_get(queue, auto_ack=True)[0], "the message to arrive")


def test_reserved_names_are_403(connection):
    closes_channel(
        403,
        "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
        lambda: connection.channel().queue_declare("amq.mine"),
    )
    closes_channel(
        403,
        "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
        lambda: connection.channel().exchange_declare("amq.mine"),
    )
    closes_channel(
        403,
        "ACCESS_REFUSED - operation not permitted on the default exchange",
        lambda: connection.channel().exchange_delete(""),
    )
    # What is there already may be declared again as it is.
    connection.channel().exchange_declare("amq.topic", "topic", durable=True)


def test_default_exchange_cannot_be_bound(connection, queue):
    closes_channel(
        403,
        "ACCESS_REFUSED - operation not permitted on the default exchange",
        lambda: connection.channel().queue_bind(queue, "", "key"),
    )


def test_internal_exchange_takes_no_publishes(connection, name):
    x = name()
    channel = connection.channel()
    channel.exchange_declare(x, "fanout", internal=True)
    channel.basic_publish(x, "", "body")
    closes_channel(
        403,
        f"ACCESS_REFUSED - cannot publish to internal {in_vhost('exchange', x)}",
        lambda: channel.basic_qos(prefetch_count=1),
    )
    connection.channel().exchange_delete(x)


def test_unknown_delivery_tag_is_406(connection, queue):
    for settle in (
        lambda ch: ch.basic_ack(1),
        lambda ch: ch.basic_nack(7),
        lambda ch: ch.basic_reject(7),
        lambda ch: ch.basic_ack(7, multiple=True),
    ):
        channel = connection.channel()
        settle(channel)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as e:
            channel.basic_qos(prefetch_count=1)
        assert e.value.reply_code == 406
        assert e.value.reply_text in (
            "PRECONDITION_FAILED - unknown delivery tag 1",
            "PRECONDITION_FAILED - unknown delivery tag 7",
        )


def test_acking_twice_is_406(connection, queue):
    channel = connection.channel()
    publish(channel, queue, "one")
    method, _, _ = channel.basic_get(queue)
    channel.basic_ack(method.delivery_tag)
    channel.basic_ack(method.delivery_tag)
    closes_channel(
        406,
        "PRECONDITION_FAILED - unknown delivery tag 1",
        lambda: channel.basic_qos(prefetch_count=1),
    )


def test_ack_of_everything_when_nothing_is_outstanding(channel):
    channel.basic_ack(0, multiple=True)
    channel.basic_nack(0, multiple=True)
    channel.basic_qos(prefetch_count=1)


def test_exclusive_consumer_is_alone(connection, queue):
    channel = connection.channel()
    first = Consumer(channel, queue, exclusive=True)
    text = f"ACCESS_REFUSED - {in_vhost('queue', queue)} in exclusive use"
    closes_channel(403, text, lambda: Consumer(connection.channel(), queue))
    channel.basic_cancel(first.tag)
    Consumer(channel, queue)
    closes_channel(403, text, lambda: Consumer(connection.channel(), queue, exclusive=True))


def test_delete_if_unused_and_if_empty(connection, queue):
    channel = connection.channel()
    publish(channel, queue, "one")
    eventually(
        lambda: channel.queue_declare(queue, passive=True).method.message_count == 1, "a message"
    )
    closes_channel(
        406,
        f"PRECONDITION_FAILED - {in_vhost('queue', queue)} not empty",
        lambda: connection.channel().queue_delete(queue, if_empty=True),
    )
    Consumer(channel, queue, auto_ack=False)
    closes_channel(
        406,
        f"PRECONDITION_FAILED - {in_vhost('queue', queue)} in use",
        lambda: connection.channel().queue_delete(queue, if_unused=True),
    )


def test_exchange_delete_if_unused(connection, queue, name):
    x = name()
    channel = connection.channel()
    channel.exchange_declare(x, "fanout")
    channel.queue_bind(queue, x)
    closes_channel(
        406,
        f"PRECONDITION_FAILED - {in_vhost('exchange', x)} in use",
        lambda: connection.channel().exchange_delete(x, if_unused=True),
    )
    channel.queue_unbind(queue, x)
    channel.exchange_delete(x, if_unused=True)


def test_expiration_must_be_a_number(connection, queue):
    for expiration, why in (
        ("soon", "no_integer"),
        ("", "no_integer"),
        ("10ms", '{leftover_string,"ms"}'),
        ("-1", "{value_negative,-1}"),
    ):
        channel = connection.channel()
        publish(channel, queue, "body", expiration=expiration)
        closes_channel(
            406,
            f"PRECONDITION_FAILED - invalid expiration '{expiration}': {why}",
            lambda: channel.basic_qos(prefetch_count=1),
        )


def test_user_id_must_be_ones_own(connection, queue):
    channel = connection.channel()
    publish(channel, queue, "mine", user_id="guest")
    publish(channel, queue, "not mine", user_id="somebody")
    closes_channel(
        406,
        "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was 'guest'",
        lambda: channel.basic_qos(prefetch_count=1),
    )


def test_confirm_and_tx_do_not_mix(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    closes_channel(
        406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode", channel.tx_select
    )
    channel = connection.channel()
    channel.tx_select()
    closes_channel(
        406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode", channel.confirm_delivery
    )
    channel = connection.channel()
    closes_channel(406, "PRECONDITION_FAILED - channel is not transactional", channel.tx_commit)


def test_bad_x_match_is_406(channel, queue):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as e:
        channel.queue_bind(queue, "amq.headers", arguments={"x-match": "some"})
    assert e.value.reply_code == 406
    assert e.value.reply_text.startswith(
        'PRECONDITION_FAILED - Invalid x-match field value <<"some">>; expected all'
    )


def test_consumer_tag_used_twice_ends_the_connection(connect, queue):
    # pika refuses a second use itself, so the frame is sent below its check.
    connection = connect()
    channel = connection.channel()
    mine = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_consume(mine, lambda *_: None, consumer_tag="twice")
    channel._impl._send_method(pika.spec.Basic.Consume(queue=mine, consumer_tag="twice"))
    closes_connection(
        530,
        "NOT_ALLOWED - attempt to reuse consumer tag 'twice'",
        lambda: connection.process_data_events(time_limit=10),
    )


def test_immediate_ends_the_connection(connect):
    connection = connect()
    channel = connection.channel()
    channel._impl._send_method(
        pika.spec.Basic.Publish(exchange="", routing_key="x", immediate=True),
        (pika.BasicProperties(), b""),
    )
    closes_connection(
        540,
        "NOT_IMPLEMENTED - immediate=true",
        lambda: connection.process_data_events(time_limit=10),
    )


def test_a_closed_channel_number_can_be_used_again(connection, name):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        connection.channel(channel_number=7).queue_declare(name(), passive=True)
    channel = connection.channel(channel_number=7)
    queue = channel.queue_declare("", exclusive=True).method.queue
    publish(channel, queue, "hello")
    assert channel.basic_get(queue, auto_ack=True)[2] == b"hello"
