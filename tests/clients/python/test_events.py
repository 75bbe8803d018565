"""What the broker tells of itself: the event exchange and the firehose."""
import pika
import pytest
from conftest import VHOST, api, closes_channel, eventually, get, publish, quoted

HERE = quoted(VHOST)


class Listener:
    """What comes to a queue bound to one of the broker's own exchanges."""

    def __init__(self, connection, exchange, key="#"):
        self.channel = connection.channel()
        self.queue = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.queue_bind(self.queue, exchange, key)
        self.messages = []

    def look(self):
        while (message := get(self.channel, self.queue)) is not None:
            self.messages.append(message)
        return self.messages

    def wait(self, key, **headers):
        """The first message with this key and headers."""
        found = []

        def there():
            for m in self.look():
                h = m.properties.headers
                if m.method.routing_key == key and all(h.get(k) == v for k, v in headers.items()):
                    found.append(m)
            return found

        eventually(there, f"{key} with {headers}")
        return found[0]


@pytest.fixture
def events(connect):
    """The exchange is in the default virtual host, and tells of all of them."""
    return Listener(connect(virtual_host="/"), "amq.rabbitmq.event")


def test_events_of_a_queue(channel, name, events):
    q, x = name(), name()
    channel.exchange_declare(x, "topic")
    channel.queue_declare(q, arguments={"x-max-length": 5})
    channel.queue_bind(q, x, "a.#")
    tag = channel.basic_consume(q, lambda *_: None, consumer_tag=name())
    channel.basic_cancel(tag)
    channel.queue_delete(q)
    channel.exchange_delete(x)

    e = events.wait("queue.created", name=q)
    h = e.properties.headers
    assert e.body == b""
    assert e.properties.delivery_mode == 2
    assert h["vhost"] == VHOST and h["user_who_performed_action"] == "guest"
    assert h["durable"] is False and h["auto_delete"] is False and h["arguments"] == {"x-max-length": 5}
    assert h["timestamp_in_ms"] // 1000 == e.properties.timestamp

    assert events.wait("exchange.created", name=x).properties.headers["type"] == "topic"
    h = events.wait("binding.created", source_name=x).properties.headers
    assert (h["destination_name"], h["destination_kind"], h["routing_key"]) == (q, "queue", "a.#")
    h = events.wait("consumer.created", consumer_tag=tag).properties.headers
    assert h["queue"] == q and h["ack_required"] is True and h["exclusive"] is False
    assert h["channel"].endswith(" (1)") and h["channel"].startswith(h["connection"])
    events.wait("consumer.deleted", consumer_tag=tag)
    events.wait("queue.deleted", name=q, vhost=VHOST)
    events.wait("exchange.deleted", name=x, vhost=VHOST)
    keys = [m.method.routing_key for m in events.messages if m.properties.headers.get("name") == q]
    assert keys == ["queue.created", "queue.deleted"]


def test_events_of_a_connection(connect, events, name):
    connection = connect(client_properties={"connection_name": name()})
    connection.channel()
    connection.close()
    h = events.wait("connection.created", vhost=VHOST, user="guest").properties.headers
    assert h["protocol"] == "AMQP 0-9-1" and h["ssl"] is False
    assert h["client_properties"]["product"] == "Pika Python Client Library"
    channel = events.wait("channel.created", connection=h["name"]).properties.headers
    assert channel["number"] == 1
    events.wait("channel.closed", name=channel["name"])
    events.wait("connection.closed", name=h["name"])


def test_events_of_operators(name, events):
    user = name()
    api("PUT", f"/api/users/{user}", {"password": "one", "tags": "monitoring"})
    api("PUT", f"/api/permissions/{HERE}/{user}", {"configure": "c", "write": "w", "read": "r"})
    api("PUT", f"/api/users/{user}", {"password": "two", "tags": "monitoring"})
    api("DELETE", f"/api/users/{user}")
    by = {"user_who_performed_action": "guest"}
    events.wait("user.created", name=user, **by)
    events.wait("user.tags.set", name=user, tags=["monitoring"], **by)
    events.wait("permission.created", user=user, vhost=VHOST, configure="c", write="w", read="r", **by)
    events.wait("user.password.changed", name=user, **by)
    events.wait("permission.deleted", user=user, vhost=VHOST, **by)
    events.wait("user.deleted", name=user, **by)
    for m in events.messages:
        assert "two" not in m.properties.headers.values()


def test_events_of_logins(connect, events, name):
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        connect(credentials=pika.PlainCredentials(n := name(), "wrong"))
    h = events.wait("user.authentication.failure", name=n).properties.headers
    assert h["error"]


def test_nobody_publishes_to_the_brokers_exchanges(connect):
    for vhost, exchange in (("/", "amq.rabbitmq.event"), (VHOST, "amq.rabbitmq.trace")):
        channel = connect(virtual_host=vhost).channel()
        channel.confirm_delivery()
        closes_channel(
            403, f"ACCESS_REFUSED - cannot publish to internal exchange '{exchange}' in vhost '{vhost}'",
            lambda: channel.basic_publish(exchange, "queue.created", b""))


@pytest.fixture
def traced():
    api("PUT", f"/api/vhosts/{HERE}", {"tracing": True})
    yield
    api("PUT", f"/api/vhosts/{HERE}", {"tracing": False})


def test_firehose(connect, connection, name, traced):
    firehose = Listener(connect(), "amq.rabbitmq.trace")
    q, x = name(), name()
    channel = connection.channel(channel_number=7)
    channel.queue_declare(q)
    channel.exchange_declare(x, "fanout")
    channel.queue_bind(q, x)
    channel.basic_publish(x, "some.key", b"body", pika.BasicProperties(
        content_type="text/plain", delivery_mode=2, priority=3, headers={"h": 1}, message_id="m"))
    m = get(channel, q, auto_ack=False)
    channel.basic_nack(m.method.delivery_tag)
    method, _, _ = next(channel.consume(q))
    assert method.redelivered
    channel.queue_delete(q)
    channel.basic_publish(x, "nobody", b"lost")
    channel.exchange_delete(x)

    published = firehose.wait(f"publish.{x}")
    h = published.properties.headers
    assert published.body == b"body"
    assert h["exchange_name"] == x and h["routing_keys"] == ["some.key"] and h["routed_queues"] == [q]
    assert h["vhost"] == VHOST and h["user"] == "guest" and h["channel"] == 7 and "->" in h["connection"]
    assert h["properties"] == {
        "content_type": "text/plain", "delivery_mode": 2, "priority": 3, "headers": {"h": 1}, "message_id": "m"}
    first = firehose.wait(f"deliver.{q}", redelivered=0)
    second = firehose.wait(f"deliver.{q}", redelivered=1)
    assert first.body == second.body == b"body"
    assert first.properties.headers["channel"] == 7
    assert second.properties.headers["channel"] == 7
    assert "routed_queues" not in second.properties.headers
    lost = firehose.wait(f"publish.{x}", routing_keys=["nobody"])
    assert lost.properties.headers["routed_queues"] == []
    assert not [m for m in firehose.messages if "amq.rabbitmq.trace" in m.method.routing_key]


def test_firehose_is_off_by_default(connect, channel, queue):
    firehose = Listener(connect(), "amq.rabbitmq.trace")
    publish(channel, queue, "one")
    eventually(lambda: get(channel, queue), "the message")
    assert firehose.look() == []
