"""Where exchanges send a message."""
import pika
import pytest
from conftest import eventually, exists, get_all, publish, ready


@pytest.fixture
def queues(channel):
    """Makes exclusive queues."""
    return lambda count: [channel.queue_declare("", exclusive=True).method.queue for _ in range(count)]


@pytest.fixture
def exchange(channel, name):
    """Declares exchanges and deletes them at the end."""
    declared = []

    def declare(kind="direct", **kwargs):
        x = name()
        channel.exchange_declare(x, kind, **kwargs)
        declared.append(x)
        return x

    yield declare
    for x in declared:
        channel.exchange_delete(x)


def sent(channel, exchange, key, queues, **properties):
    """Which of queues a message reaches, and how often."""
    if not channel._delivery_confirmation:
        channel.confirm_delivery()
    channel.basic_publish(exchange, key, "x", pika.BasicProperties(**properties))
    return [len(get_all(channel, q)) for q in queues]


def test_predeclared_exchanges(connection):
    for x in ("amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"):
        connection.channel().exchange_declare(x, passive=True)


def test_default_exchange_delivers_by_queue_name(channel, queues):
    qs = queues(2)
    assert sent(channel, "", qs[1], qs) == [0, 1]


def test_direct(channel, exchange, queues):
    x, qs = exchange("direct"), queues(3)
    channel.queue_bind(qs[0], x, "a")
    channel.queue_bind(qs[1], x, "a")
    channel.queue_bind(qs[1], x, "b")
    channel.queue_bind(qs[1], x, "b")
    assert sent(channel, x, "a", qs) == [1, 1, 0]
    assert sent(channel, x, "b", qs) == [0, 1, 0], "the same binding twice is one"
    assert sent(channel, x, "c", qs) == [0, 0, 0]
    channel.queue_unbind(qs[1], x, "a")
    assert sent(channel, x, "a", qs) == [1, 0, 0]


def test_fanout_ignores_the_key(channel, exchange, queues):
    x, qs = exchange("fanout"), queues(3)
    for q in qs:
        channel.queue_bind(q, x, "ignored")
        channel.queue_bind(q, x, "other")
    assert sent(channel, x, "any", qs) == [1, 1, 1]


@pytest.mark.parametrize(
    "pattern,matches,others",
    [
        ("a.b", ["a.b"], ["a", "a.b.c", "b.a"]),
        ("*", ["a", "."[:0] + "word"], ["", "a.b"]),
        ("#", ["", "a", "a.b.c", ".."], []),
        ("*.*", ["a.b", "a.", "."], ["a", "a.b.c"]),
        ("a.#", ["a", "a.b", "a.b.c"], ["b", "ab"]),
        ("#.z", ["z", "a.z", "a.b.z"], ["z.a"]),
        ("a.#.z", ["a.z", "a.b.z", "a.b.c.z"], ["a", "z", "a.z.b"]),
        ("*.#", ["a", "a.b"], [""]),
        ("a.*.c", ["a.b.c", "a..c"], ["a.c", "a.b.b.c"]),
        ("#.*.#", ["a", "a.b.c"], [""]),
        ("", [""], ["a"]),
    ],
)
def test_topic(channel, exchange, queues, pattern, matches, others):
    x, qs = exchange("topic"), queues(1)
    channel.queue_bind(qs[0], x, pattern)
    for key in matches:
        assert sent(channel, x, key, qs) == [1], f"{pattern!r} should match {key!r}"
    for key in others:
        assert sent(channel, x, key, qs) == [0], f"{pattern!r} should not match {key!r}"


@pytest.mark.parametrize(
    "arguments,headers,matches",
    [
        ({"x-match": "all", "a": 1, "b": "two"}, {"a": 1, "b": "two", "c": 3}, True),
        ({"x-match": "all", "a": 1, "b": "two"}, {"a": 1}, False),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, False),
        ({"a": 1}, {"a": 1}, True),
        ({"x-match": "any", "a": 1, "b": 2}, {"b": 2}, True),
        ({"x-match": "any", "a": 1, "b": 2}, {"b": 1, "a": 2}, False),
        ({"x-match": "any"}, {"a": 1}, False),
        ({"x-match": "all"}, {}, True),
        ({"x-match": "all", "x-ignored": 1, "a": 1}, {"a": 1}, True),
        ({"x-match": "all", "a": None}, {"a": "anything"}, True),
        ({"x-match": "all", "a": None}, {"b": 1}, False),
        ({"x-match": "all", "a": True}, {"a": True}, True),
        ({"x-match": "all", "a": True}, {"a": False}, False),
        ({"x-match": "all", "a": 2**40}, {"a": 2**40}, True),
        ({"x-match": "all", "a": "5"}, {"a": 5}, False),
        ({"x-match": "all", "a": 1}, None, False),
    ],
)
def test_headers(channel, exchange, queues, arguments, headers, matches):
    x, qs = exchange("headers"), queues(1)
    channel.queue_bind(qs[0], x, "ignored", arguments=arguments)
    assert sent(channel, x, "any", qs, headers=headers) == [int(matches)]


def test_exchange_to_exchange(channel, exchange, queues):
    source, middle, sink = exchange("topic"), exchange("fanout"), exchange("direct")
    qs = queues(2)
    channel.exchange_bind(middle, source, "to.middle")
    channel.exchange_bind(sink, middle)
    channel.exchange_bind(middle, sink, "to.middle")  # A circle.
    channel.queue_bind(qs[0], middle)
    channel.queue_bind(qs[1], sink, "to.middle")
    channel.queue_bind(qs[1], source, "#")
    assert sent(channel, source, "to.middle", qs) == [1, 1], "once for each queue over all ways"
    assert sent(channel, source, "elsewhere", qs) == [0, 1]
    channel.exchange_unbind(middle, source, "to.middle")
    assert sent(channel, source, "to.middle", qs) == [0, 1]


def test_internal_exchange_routes_what_other_exchanges_send(channel, exchange, queues):
    inside, outside, qs = exchange("fanout", internal=True), exchange("direct"), queues(1)
    channel.exchange_bind(inside, outside, "key")
    channel.queue_bind(qs[0], inside)
    assert sent(channel, outside, "key", qs) == [1]


def test_alternate_exchange(channel, exchange, queues, name):
    last = exchange("fanout")
    spare = exchange("direct", arguments={"alternate-exchange": last})
    main = exchange("direct", arguments={"alternate-exchange": spare})
    qs = queues(3)
    channel.queue_bind(qs[0], main, "main")
    channel.queue_bind(qs[1], spare, "spare")
    channel.queue_bind(qs[2], last)
    assert sent(channel, main, "main", qs) == [1, 0, 0]
    assert sent(channel, main, "spare", qs) == [0, 1, 0]
    assert sent(channel, main, "neither", qs) == [0, 0, 1]
    # What the alternate routed is routed: nothing is returned.
    channel.basic_publish(main, "neither", "x", mandatory=True)
    missing = exchange("direct", arguments={"alternate-exchange": name()})
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish(missing, "key", "x", mandatory=True)


def test_cc_and_bcc(channel, exchange, queues):
    x, qs = exchange("direct"), queues(3)
    for key, q in zip("abc", qs):
        channel.queue_bind(q, x, key)
    channel.confirm_delivery()
    channel.basic_publish(
        x, "a", "x", pika.BasicProperties(headers={"CC": ["b", "a"], "BCC": ["c"], "k": 1})
    )
    for q in qs:
        method, properties, _body = channel.basic_get(q, auto_ack=True)
        assert method.routing_key == "a", "the delivered key is the one published with"
        assert properties.headers == {"CC": ["b", "a"], "k": 1}, "BCC does not show"
        assert channel.basic_get(q)[0] is None, "once for each queue"


def test_auto_delete_exchange_goes_with_its_last_binding(connection, channel, queues, name):
    x, qs = name(), queues(2)
    channel.exchange_declare(x, "fanout", auto_delete=True)
    for q in qs:
        channel.queue_bind(q, x)
    channel.queue_unbind(qs[0], x)
    connection.channel().exchange_declare(x, passive=True)
    channel.queue_delete(qs[1])

    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as e:
        connection.channel().exchange_declare(x, passive=True)
    assert e.value.reply_code == 404


def test_deleting_a_queue_unbinds_it(connection, channel, exchange, name):
    x, q = exchange("fanout"), name()
    channel.queue_declare(q)
    channel.queue_bind(q, x)
    channel.queue_delete(q)
    channel.queue_declare(q)
    publish(channel, q, "direct")
    channel.basic_publish(x, "", "through the exchange")
    eventually(lambda: ready(channel, q) == 1, "the direct message")
    assert get_all(channel, q) == ["direct"]
    channel.queue_delete(q)
    assert not exists(connection, q)


def test_deleting_an_exchange_unbinds_both_ways(channel, exchange, queues, name):
    x, y, qs = exchange("fanout"), name(), queues(1)
    for _ in range(2):
        channel.exchange_declare(y, "fanout")
        assert sent(channel, x, "", qs) == [0], "bindings of the deleted exchange do not come back"
        channel.exchange_bind(y, x)
        channel.queue_bind(qs[0], y)
        assert sent(channel, x, "", qs) == [1]
        channel.exchange_delete(y)
    assert sent(channel, x, "", qs) == [0]
