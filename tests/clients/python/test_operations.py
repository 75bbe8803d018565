"""The same operation in three protocols: one test for each cell of the table in
README.md, named test_OPERATION_PROTOCOL."""
import pika
import pytest
from conftest import (
    PATIENCE_S, VHOST, Consumer, api, closes_channel, drop, eventually, exists, get, get_all, parameters, publish, quoted, ready,
)
from protocols import limited_user, mqtt, stomper  # noqa: F401

TOPICS = "amq.topic"


@pytest.fixture
def queue(channel, name):
    """A queue that other connections can use too."""
    q = name()
    channel.queue_declare(q, durable=True)
    yield q
    channel.queue_delete(q)


@pytest.fixture
def policy():
    """Sets policies for one queue each and removes them."""
    made = []

    def put(queue, **definition):
        made.append(f"/api/policies/{quoted(VHOST)}/{quoted('for ' + queue)}")
        definition = {k.replace("_", "-"): v for k, v in definition.items()}
        api("PUT", made[-1], {"pattern": f"^{queue}$", "definition": definition})

    yield put
    for path in made:
        api("DELETE", path)


def to_topic(channel, key, *bodies, **more):
    for body in bodies:
        channel.basic_publish(TOPICS, key, body, pika.BasicProperties(delivery_mode=2, **more))


def session_of(client_id, qos=1):
    """The queue of an MQTT session."""
    return f"mqtt-subscription-{client_id}qos{qos}"


def death(message):
    h = message.properties.headers["x-death"][0]
    return h["reason"], h["queue"]


# Publish


def test_publish_amqp(channel, queue):
    """To an exchange, which must exist; what no queue wants is gone, or returned."""
    channel.queue_bind(queue, TOPICS, "publish.amqp")
    channel.basic_publish(TOPICS, "publish.amqp", b"routed")
    channel.basic_publish("", queue, b"direct")
    channel.basic_publish(TOPICS, "publish.nobody", b"gone")
    returned = []
    channel.add_on_return_callback(lambda ch, method, p, body: returned.append((method.reply_code, body)))
    channel.basic_publish(TOPICS, "publish.nobody", b"back", mandatory=True)
    eventually(lambda: returned, "a return", channel.connection)
    assert returned == [(312, b"back")]
    assert get_all(channel, queue) == ["routed", "direct"]
    other = channel.connection.channel()
    other.basic_publish("no-such-exchange", "", b"")
    closes_channel(404, f"NOT_FOUND - no exchange 'no-such-exchange' in vhost '{VHOST}'", lambda: other.queue_declare(queue, passive=True))


def test_publish_mqtt(mqtt, channel, queue):
    """To a topic, which is a routing key of amq.topic; what no queue wants is gone."""
    channel.queue_bind(queue, TOPICS, "publish.mqtt")
    device = mqtt()
    for qos in 0, 1, 2:
        device.publish("publish/mqtt", b"%d" % qos, qos=qos)
        device.publish("publish/nobody", b"gone", qos=qos)
    consumer = Consumer(channel, queue)
    assert consumer.wait(3) == ["0", "1", "2"]
    assert [m.properties.delivery_mode for m in consumer.messages] == [1, 2, 2]


def test_publish_stomp(stomper, channel, queue):
    """To a destination: a queue is made, an exchange must exist."""
    page = stomper()
    page.send("/queue/publish-stomp", b"made")
    assert get(channel, "publish-stomp").body == b"made"
    channel.queue_declare("publish-stomp", durable=True)  # That is how it was.
    channel.queue_bind(queue, TOPICS, "publish.stomp")
    page.send("/topic/publish.stomp", b"topic")
    page.send("/exchange/amq.topic/publish.stomp", b"exchange")
    page.send("/amq/queue/" + queue, b"queue")
    page.send("/topic/publish.nobody", b"gone")
    assert get_all(channel, queue) == ["topic", "exchange", "queue"]
    page.connection.send("/exchange/no-such-exchange/x", b"", headers={"receipt": "r"})
    assert page.next("ERROR").headers["message"] == "not_found"
    assert page.gone.wait(PATIENCE_S)


# Confirm


def test_confirm_amqp(channel, queue):
    channel.confirm_delivery()
    publish(channel, queue, b"persistent", delivery_mode=2)  # Returns at basic.ack.
    channel.basic_publish(TOPICS, "confirm.nobody", b"acked too")
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish(TOPICS, "confirm.nobody", b"returned, then acked", mandatory=True)


def test_confirm_mqtt(mqtt, channel, queue):
    channel.queue_bind(queue, TOPICS, "confirm.mqtt")
    device = mqtt()
    assert device.publish("confirm/mqtt", b"", qos=1) == 0
    assert device.publish("confirm/mqtt", b"", qos=2) == 0
    assert device.publish("confirm/nobody", b"", qos=1) == 0x10, "no matching subscribers"
    old = mqtt(version=3)
    assert old.publish("confirm/nobody", b"", qos=1) == 0
    assert ready(channel, queue) == 2


def test_confirm_stomp(stomper, channel, queue):
    page = stomper()
    page.send("/amq/queue/" + queue, b"", persistent="true")  # Returns at RECEIPT.
    page.send("/topic/confirm.nobody", b"receipt too")
    page.connection.begin("t")
    page.connection.send("/amq/queue/" + queue, b"in a transaction", headers={"transaction": "t", "receipt": "later"})
    page.frame("BEGIN", transaction="other")
    assert ready(channel, queue) == 1
    page.connection.commit("t")
    assert page.next("RECEIPT").headers["receipt-id"] == "later"
    assert ready(channel, queue) == 2


# Subscribe


def test_subscribe_amqp(channel, queue):
    """To a queue, which must exist."""
    publish(channel, queue, b"x")
    assert Consumer(channel, queue).wait(1) == ["x"]
    closes_channel(404, f"NOT_FOUND - no queue 'no-such-queue' in vhost '{VHOST}'",
                   lambda: channel.connection.channel().basic_consume("no-such-queue", print))


def test_subscribe_mqtt(mqtt, channel):
    """To filters, which are bound to the session's queue."""
    device = mqtt("subscriber", session=600)
    assert not exists(channel.connection, session_of("subscriber"))
    assert device.subscribe("subscribe/+/x") == 1
    assert device.subscribe("subscribe/#") == 1
    assert exists(channel.connection, session_of("subscriber"))
    to_topic(channel, "subscribe.a.x", b"once, though two filters match")
    to_topic(channel, "subscribe", b"last")
    assert [device.next().payload for _ in range(2)] == [b"once, though two filters match", b"last"]


def test_subscribe_stomp(stomper, channel):
    """To a destination: /queue is made and shared, /topic is everybody's own."""
    pages = [stomper(), stomper()]
    for page in pages:
        page.subscribe("/topic/subscribe.stomp", id="topic")
        page.subscribe("/queue/subscribe-stomp", id="queue")
    assert exists(channel.connection, "subscribe-stomp")
    pages[0].send("/topic/subscribe.stomp", b"to both")
    assert [page.next().body for page in pages] == [b"to both"] * 2
    pages[0].send("/queue/subscribe-stomp", b"to one")
    pages[0].send("/queue/subscribe-stomp", b"to the other")
    assert {page.next().body for page in pages} == {b"to one", b"to the other"}
    pages[0].connection.subscribe("/amq/queue/no-such-queue", id="2")
    assert pages[0].next("ERROR").headers["message"] == "not_found"
    assert pages[0].gone.wait(PATIENCE_S)


# Ack


def test_ack_amqp(channel, queue):
    publish(channel, queue, *"abcd")
    channel.basic_qos(prefetch_count=2)
    consumer = Consumer(channel, queue)
    assert consumer.wait(2) == ["a", "b"] and consumer.quiet() == ["a", "b"]
    consumer.ack(1, multiple=True)
    assert consumer.wait(4) == ["a", "b", "c", "d"]


def test_ack_mqtt(mqtt, channel):
    device = mqtt("acks", session=600, manual=True, ReceiveMaximum=2)
    device.subscribe("ack/mqtt")
    to_topic(channel, "ack.mqtt", *"abc")
    first, second = device.next(), device.next()
    device.quiet()
    device.ack(second)
    assert [m.payload for m in (first, second, device.next())] == [b"a", b"b", b"c"]


def test_ack_stomp(stomper, channel, queue):
    publish(channel, queue, *"abcdefg")
    page = stomper()
    page.subscribe("/amq/queue/" + queue, ack="client", prefetch_count="2")
    frames = [page.next(), page.next()]
    page.quiet()
    page.ack(frames[1])  # Both.
    frames = [page.next(), page.next()]
    assert [f.body for f in frames] == [b"c", b"d"]
    each = stomper()
    each.subscribe("/amq/queue/" + queue, ack="client-individual", prefetch_count="2")
    frames = [each.next(), each.next()]
    each.ack(frames[1])
    assert [f.body for f in (*frames, each.next())] == [b"e", b"f", b"g"]
    page.vanish()
    each.vanish()
    eventually(lambda: ready(channel, queue) == 4, "those not acked to be back")
    assert get_all(channel, queue) == ["c", "d", "e", "g"]


# Reject


def test_reject_amqp(channel, queue, policy, name):
    work = name()
    channel.queue_declare(work, exclusive=True)
    policy(work, dead_letter_exchange="", dead_letter_routing_key=queue)
    publish(channel, work, b"bad")
    channel.basic_reject(get(channel, work, auto_ack=False).method.delivery_tag, requeue=False)
    eventually(lambda: ready(channel, queue) == 1, "the dead letter")
    assert death(get(channel, queue)) == ("rejected", work)


def test_reject_mqtt(mqtt, channel, queue, policy):
    device = mqtt("rejects", session=600, manual=True)
    policy(session_of("rejects"), dead_letter_exchange="", dead_letter_routing_key=queue)
    device.subscribe("reject/mqtt")
    to_topic(channel, "reject.mqtt", b"bad")
    device.refuse(device.next(), 0x83)
    eventually(lambda: ready(channel, queue) == 1, "the dead letter")
    assert death(get(channel, queue)) == ("rejected", session_of("rejects"))


def test_reject_stomp(stomper, channel, queue):
    page = stomper()
    work = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
    page.subscribe("/queue/reject-stomp", ack="client-individual", **work)
    page.send("/queue/reject-stomp", b"bad", **work)
    page.nack(page.next(), requeue="false")
    eventually(lambda: ready(channel, queue) == 1, "the dead letter")
    assert death(get(channel, queue)) == ("rejected", "reject-stomp")


# Requeue


def test_requeue_amqp(channel, queue):
    publish(channel, queue, *"ab")
    channel.basic_nack(get(channel, queue, auto_ack=False).method.delivery_tag, requeue=True)
    again = get(channel, queue)
    assert (again.body, again.method.redelivered) == (b"a", True), "at its old place"
    assert get(channel, queue).body == b"b"


def test_requeue_mqtt(mqtt, channel):
    """There is no such packet: a device that does not acknowledge comes back."""
    device = mqtt("requeues", session=600, manual=True)
    device.subscribe("requeue/mqtt")
    to_topic(channel, "requeue.mqtt", b"a")
    first = device.next()
    device.quiet()
    device.vanish()
    to_topic(channel, "requeue.mqtt", b"b")
    device = mqtt("requeues", session=600)
    again = device.next()
    assert (again.payload, again.dup, again.mid) == (b"a", True, first.mid)
    assert (device.next().payload, first.dup) == (b"b", False)


def test_requeue_stomp(stomper, channel, queue):
    publish(channel, queue, *"ab")
    page = stomper()
    page.subscribe("/amq/queue/" + queue, ack="client-individual", prefetch_count="1")
    page.nack(page.next())
    again = page.next()
    assert (again.body, again.headers["redelivered"]) == (b"a", "true")
    page.ack(again)
    assert page.next().body == b"b"


# Disconnect


def test_disconnect_amqp(connect, channel, queue, name):
    publish(channel, queue, *"ab")
    other = connect()
    ch = other.channel()
    own = name()
    ch.queue_declare(own, exclusive=True)
    Consumer(ch, queue).wait(2)
    drop(other)
    eventually(lambda: ready(channel, queue) == 2, "both to be back")
    assert [(m.body, m.method.redelivered) for m in (get(channel, queue), get(channel, queue))] == [(b"a", True), (b"b", True)]
    eventually(lambda: not exists(channel.connection, own), "its exclusive queue to go")


def test_disconnect_mqtt(mqtt, channel, queue):
    channel.queue_bind(queue, TOPICS, "disconnect.will")
    device = mqtt("leaves", session=600, will={"topic": "disconnect/will", "payload": b"gone", "qos": 1})
    device.subscribe("disconnect/mqtt")
    brief = mqtt("brief")
    brief.subscribe("disconnect/mqtt")
    device.vanish()
    brief.vanish()
    eventually(lambda: ready(channel, queue) == 1, "the will")
    eventually(lambda: not exists(channel.connection, session_of("brief")), "a session of 0 s to go")
    to_topic(channel, "disconnect.mqtt", b"kept")
    device = mqtt("leaves", session=600)
    assert device.flags.session_present and device.next().payload == b"kept"


def test_disconnect_stomp(stomper, channel, queue):
    page = stomper()
    page.subscribe("/topic/disconnect.stomp", x_queue_name="disconnect-stomp")
    page.subscribe("/amq/queue/" + queue, id="2", ack="client-individual")
    publish(channel, queue, *[str(i) for i in range(100)])
    for _ in range(100):
        page.next()
    page.vanish()
    # A connection that nothing comes to, so that no reset eats what it sent.
    sender = stomper()
    for i in range(100, 200):
        sender.connection.send("/amq/queue/" + queue, b"%d" % i)
    sender.vanish()
    eventually(lambda: ready(channel, queue) == 200, "all to be back, or in")
    consumer = Consumer(channel, queue)
    assert consumer.wait(200) == [str(i) for i in range(200)]
    assert all(m.method.redelivered for m in consumer.messages[:100])
    eventually(lambda: not exists(channel.connection, "disconnect-stomp"), "the queue of its topic to go")


# Expiry


def test_expiry_amqp(channel, queue, name):
    work = name()
    channel.queue_declare(work, exclusive=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue})
    publish(channel, work, b"late", expiration="50")
    eventually(lambda: ready(channel, queue) == 1, "the dead letter")
    assert death(get(channel, queue)) == ("expired", work)


def test_expiry_mqtt(mqtt, channel, queue, policy):
    device = mqtt("expires", session=600)
    policy(session_of("expires"), dead_letter_exchange="", dead_letter_routing_key=queue)
    device.subscribe("expiry/mqtt")
    device.leave(channel)
    other = mqtt()
    other.publish("expiry/mqtt", b"in time", MessageExpiryInterval=1000)
    other.publish("expiry/mqtt", b"late", MessageExpiryInterval=1)
    eventually(lambda: ready(channel, queue) == 1, "the dead letter")
    m = get(channel, queue)
    assert (m.body, death(m)) == (b"late", ("expired", session_of("expires")))
    device = mqtt("expires", session=600)
    m = device.next()
    assert m.payload == b"in time" and 0 < m.properties.MessageExpiryInterval < 1000, "less the second it has waited"


def test_expiry_stomp(stomper, channel, queue):
    page = stomper()
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
    page.send("/queue/expiry-stomp", b"late", expiration="50", **dead)
    eventually(lambda: ready(channel, queue) == 1, "the dead letter")
    assert death(get(channel, queue)) == ("expired", "expiry-stomp")
    page.send("/queue/expiry-stomp-all", b"late too", x_message_ttl="50", **dead)
    eventually(lambda: ready(channel, queue) == 1, "the other")
    assert death(get(channel, queue)) == ("expired", "expiry-stomp-all")


# Limit


def test_limit_amqp(channel, name):
    short, strict = name(), name()
    channel.queue_declare(short, exclusive=True, arguments={"x-max-length": 2})
    channel.queue_declare(strict, exclusive=True, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    channel.confirm_delivery()
    publish(channel, short, *"abc")
    publish(channel, strict, *"ab")
    with pytest.raises(pika.exceptions.NackError):
        publish(channel, strict, b"c")
    assert (get_all(channel, short), get_all(channel, strict)) == (["b", "c"], ["a", "b"])


def test_limit_mqtt(mqtt, channel, policy):
    for client_id, overflow in ("short", "drop-head"), ("strict", "reject-publish"):
        policy(session_of(client_id), max_length=2, overflow=overflow)
        device = mqtt(client_id, session=600)
        device.subscribe("limit/" + client_id)
        device.leave(channel)
    publisher = mqtt()
    assert [publisher.publish("limit/short", body) for body in "abc"] == [0, 0, 0]
    assert [publisher.publish("limit/strict", body) for body in "abc"] == [0, 0, 0x97]
    for client_id, left in ("short", [b"b", b"c"]), ("strict", [b"a", b"b"]):
        device = mqtt(client_id, session=600)
        assert [device.next().payload for _ in left] == left
        device.quiet()
    # Older clients cannot be told, so they are not kept waiting either.
    device.leave(channel)
    old = mqtt(version=3)
    assert [old.publish("limit/strict", body) for body in "ab"] == [0, 0]
    old.client.publish("limit/strict", b"c", 1)
    old.event("disconnect")


def test_limit_stomp(stomper, channel):
    page = stomper()
    for body in "abc":
        page.send("/queue/limit-short", body, x_max_length="2")
    strict = {"x-max-length": "2", "x-overflow": "reject-publish"}
    for body in "ab":
        page.send("/queue/limit-strict", body, **strict)
    page.connection.send("/queue/limit-strict", b"c", headers={"receipt": "r", **strict})
    assert page.next("ERROR").headers["receipt-id"] == "r"
    page.send("/queue/limit-other", b"the connection is still open")
    assert (get_all(channel, "limit-short"), get_all(channel, "limit-strict")) == (["b", "c"], ["a", "b"])


# Refusal


@pytest.fixture(scope="module")
def limited():
    user = limited_user("operations", "allowed")
    yield dict(user=user, password="pw")
    api("DELETE", f"/api/users/{quoted(user)}")


def test_refusal_amqp(limited):
    connection = pika.BlockingConnection(parameters(credentials=pika.PlainCredentials(limited["user"], "pw")))
    why = f"access to topic 'forbidden.x' in exchange 'amq.topic' in vhost '{VHOST}' refused for user '{limited['user']}'"

    def forbidden_publish():
        ch = connection.channel()
        ch.confirm_delivery()
        ch.basic_publish(TOPICS, "forbidden.x", b"")

    def forbidden_bind():
        ch = connection.channel()
        ch.queue_declare("allowed-q", exclusive=True)
        ch.queue_bind("allowed-q", TOPICS, "forbidden.x")

    closes_channel(403, f"ACCESS_REFUSED - write {why}", forbidden_publish)
    closes_channel(403, f"ACCESS_REFUSED - read {why}", forbidden_bind)
    assert connection.is_open
    connection.close()


def test_refusal_mqtt(limited, mqtt):
    device = mqtt(**limited)
    assert device.publish("allowed/x", b"") == 0x10
    device.client.publish("forbidden/x", b"", 1)
    assert device.event("disconnect")[0].value == 0x87
    device = mqtt(**limited)
    assert device.subscribe("forbidden/x") == 0x87
    assert device.event("disconnect")[0].value == 0x87
    old = mqtt(version=3, **limited)
    assert old.subscribe("forbidden/x") == 0x80
    old.event("disconnect")


def test_refusal_stomp(limited, stomper):
    page = stomper(**limited)
    page.send("/topic/allowed.x", b"")
    page.connection.send("/topic/forbidden.x", b"", headers={"receipt": "r"})
    error = page.next("ERROR")
    assert (error.headers["message"], error.headers["receipt-id"]) == ("access_refused", "r")
    assert page.gone.wait(PATIENCE_S)
    page = stomper(**limited)
    page.connection.subscribe("/topic/forbidden.x", id="1")
    assert page.next("ERROR").headers["message"] == "access_refused"
    assert page.gone.wait(PATIENCE_S)
