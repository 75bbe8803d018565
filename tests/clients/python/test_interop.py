"""Messages from each protocol to each other one."""
import pika
import pytest
import stomp
from conftest import (
    PATIENCE_S, VHOST, Consumer, api, drop, eventually, get, parameters, publish, quoted, ready,
)
from paho.mqtt.packettypes import PacketTypes
from protocols import MQTT, STOMP, limited_user, mqtt, properties, stomper, users  # noqa: F401

TOPICS = "amq.topic"


@pytest.fixture
def queue(channel, name):
    """A queue that other connections can use too."""
    q = name()
    channel.queue_declare(q, durable=True)
    yield q
    channel.queue_delete(q)


def bound(channel, queue, key):
    channel.queue_bind(queue, TOPICS, key)
    return queue


# Properties


def test_mqtt_to_amqp(mqtt, channel, queue):
    bound(channel, queue, "plant.*.temperature")
    device = mqtt()
    device.publish("plant/1/temperature", b"21.5", ContentType="text/plain", CorrelationData=b"c-1", ResponseTopic="plant/1/set",
                   MessageExpiryInterval=60, UserProperty=[("unit", "celsius"), ("again", "1"), ("again", "2")])
    device.publish("plant/1/temperature", b"22", qos=0)
    device.publish("plant/1/temperature", b"23", qos=2)
    eventually(lambda: ready(channel, queue) == 3, "three readings")
    m = get(channel, queue)
    assert (m.method.exchange, m.method.routing_key, m.body) == (TOPICS, "plant.1.temperature", b"21.5")
    p = m.properties
    assert (p.content_type, p.correlation_id, p.expiration, p.delivery_mode) == ("text/plain", "c-1", "60000", 2)
    assert p.reply_to is None
    assert p.headers == {"unit": "celsius", "again": "1", "x-reply-to-topic": "plant.1.set"}
    assert [(m.body, m.properties.delivery_mode) for m in (get(channel, queue), get(channel, queue))] == [(b"22", 1), (b"23", 2)]


def test_amqp_to_mqtt(mqtt, channel):
    device = mqtt()
    assert device.subscribe("plant/+/set") == 1
    headers = {"text": "t", "int": 5, "big": 2**40, "yes": True, "none": None, "list": [1], "table": {"a": 1},
               "x-reply-to-topic": "plant.2.state"}
    channel.basic_publish(TOPICS, "plant.2.set", b"19", pika.BasicProperties(
        delivery_mode=2, content_type="text/plain", correlation_id="c-2", expiration="90000", headers=headers))
    channel.basic_publish(TOPICS, "plant.2.set", b"transient")
    channel.basic_publish(TOPICS, "plant.2.*", b"no topic has this name")
    channel.basic_publish(TOPICS, "plant.2.set", b"last", pika.BasicProperties(delivery_mode=2))
    m = device.next()
    assert (m.topic, m.payload, m.qos, m.retain) == ("plant/2/set", b"19", 1, False)
    p = m.properties
    assert (p.ContentType, p.CorrelationData, p.ResponseTopic) == ("text/plain", b"c-2", "plant/2/state")
    assert 0 < p.MessageExpiryInterval <= 90
    assert users(m) == {"text": "t", "int": "5", "big": str(2**40), "yes": "true", "none": ""}
    assert [(m.payload, m.qos) for m in (device.next(), device.next())] == [(b"transient", 0), (b"last", 1)]


def test_mqtt_to_stomp(mqtt, stomper):
    page = stomper()
    page.subscribe("/topic/room.#")
    mqtt().publish("room/a/b", b"x", ContentType="text/plain", CorrelationData=b"c", UserProperty=("k", "v:\n\\"))
    f = page.next()
    assert (f.headers["destination"], f.body) == ("/topic/room.a.b", b"x")
    assert (f.headers["content-type"], f.headers["correlation-id"], f.headers["k"]) == ("text/plain", "c", "v:\n\\")
    assert f.headers["persistent"] == "true"


def test_stomp_to_mqtt(mqtt, stomper):
    device = mqtt()
    device.subscribe("room/+/set")
    page = stomper()
    page.send("/topic/room.a.set", b"on", content_type="text/plain", correlation_id="c", persistent="true", mine="v:\n\\")
    page.send("/topic/room.a.set", b"off")
    m = device.next()
    assert (m.topic, m.payload, m.qos) == ("room/a/set", b"on", 1)
    assert (m.properties.ContentType, m.properties.CorrelationData) == ("text/plain", b"c")
    assert users(m) == {"mine": "v:\n\\"}, "and neither receipt nor content-length"
    assert device.next().qos == 0


def test_stomp_to_amqp(stomper, channel, name):
    q = name()
    sent = dict(content_type="text/x", content_encoding="gzip", priority="4", correlation_id="c", expiration="60000", type="t",
                amqp_message_id="m", timestamp="1700000000", user_id="guest", app_id="a", persistent="true", mine="x")
    stomper().send("/queue/" + q, b"body", reply_to="/queue/back", **sent)
    p = get(channel, q).properties
    assert p.headers == {"mine": "x"}
    assert (p.delivery_mode, p.message_id, p.reply_to) == (2, "m", "/queue/back")
    for at in "content_type", "content_encoding", "correlation_id", "expiration", "type", "user_id", "app_id":
        assert getattr(p, at) == sent[at]
    assert (p.priority, p.timestamp) == (4, 1700000000)
    channel.queue_delete(q)


def test_amqp_to_stomp(stomper, channel, queue):
    page = stomper()
    page.subscribe("/amq/queue/" + queue)
    sent = dict(content_type="text/x", content_encoding="gzip", correlation_id="c", expiration="60000", type="t",
                user_id="guest", app_id="a")
    headers = {"s": "t", "i": 5, "big": 2**40, "list": [1], "none": None, "message-id": "forged", "subscription": "forged"}
    publish(channel, queue, b"body", priority=4, delivery_mode=2, timestamp=1700000000, message_id="m", reply_to="back",
            headers=headers, **sent)
    f = page.next()
    for at, value in sent.items():
        assert f.headers[at.replace("_", "-")] == value
    h = f.headers
    assert (h["priority"], h["persistent"], h["timestamp"], h["amqp-message-id"]) == ("4", "true", "1700000000", "m")
    assert h["reply-to"] == "/reply-queue/back"
    assert (h["s"], h["i"], h["big"]) == ("t", "5", str(2**40))
    assert "list" not in h and "none" not in h
    assert (h["subscription"], h["message-id"].split("@@")[0]) == ("1", "T_1")


# Bodies

BODIES = {"empty": b"", "with NULs": b"\0a\0\0\n\0", "of 5 MB": bytes(range(256)) * (5 << 12)}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("source", ["amqp", "mqtt", "stomp"])
def test_bodies_are_the_same_everywhere(mqtt, stomper, channel, queue, source, body):
    bound(channel, queue, "bodies.x")
    device, page = mqtt(), stomper()
    device.subscribe("bodies/+")
    page.subscribe("/topic/bodies.x")
    if source == "amqp":
        channel.basic_publish(TOPICS, "bodies.x", body, pika.BasicProperties(delivery_mode=2))
    elif source == "mqtt":
        mqtt().publish("bodies/x", body)
    else:
        stomper().send("/topic/bodies.x", body)
    consumer = Consumer(channel, queue)
    consumer.wait(1)
    assert consumer.messages[0].body == body
    assert device.next().payload == body
    assert page.next().body == body


def test_bodies_reach_a_consumer_whole(mqtt, stomper, channel, queue):
    bound(channel, queue, "whole.x")
    consumer = Consumer(channel, queue)
    device, page = mqtt(), stomper()
    for body in BODIES.values():
        device.publish("whole/x", body)
        page.send("/topic/whole.x", body)
    consumer.wait(2 * len(BODIES))
    assert [m.body for m in consumer.messages] == [b for b in BODIES.values() for _ in range(2)]


# Requests and answers


def test_mqtt_asks_amqp_answers(mqtt, connect, queue, channel):
    bound(channel, queue, "ask.time")
    asker = mqtt()
    asker.subscribe("answers/7")
    asker.publish("ask/time", b"?", ResponseTopic="answers/7", CorrelationData=b"c-7")
    server = Consumer(channel, queue, auto_ack=True)
    server.wait(1)
    p = server.messages[0].properties
    channel.basic_publish(TOPICS, p.headers["x-reply-to-topic"], b"noon", pika.BasicProperties(correlation_id=p.correlation_id))
    m = asker.next()
    assert (m.topic, m.payload, m.properties.CorrelationData) == ("answers/7", b"noon", b"c-7")


def test_amqp_asks_mqtt_answers(mqtt, channel, queue):
    device = mqtt()
    device.subscribe("ask/device")
    bound(channel, queue, "answers.amqp")
    channel.basic_publish(TOPICS, "ask.device", b"?", pika.BasicProperties(
        correlation_id="c-8", headers={"x-reply-to-topic": "answers.amqp"}))
    m = device.next()
    device.publish(m.properties.ResponseTopic, b"21", CorrelationData=m.properties.CorrelationData)
    eventually(lambda: ready(channel, queue) == 1, "the answer")
    answer = get(channel, queue)
    assert (answer.body, answer.properties.correlation_id) == (b"21", "c-8")


def test_stomp_asks_amqp_answers(stomper, channel, queue):
    page = stomper()
    page.send("/amq/queue/" + queue, b"?", reply_to="/temp-queue/answers", correlation_id="c-9")
    server = Consumer(channel, queue, auto_ack=True)
    server.wait(1)
    p = server.messages[0].properties
    channel.basic_publish("", p.reply_to, b"noon", pika.BasicProperties(correlation_id=p.correlation_id))
    f = page.next()
    assert (f.headers["subscription"], f.headers["correlation-id"], f.body) == ("/temp-queue/answers", "c-9", b"noon")


def test_amqp_asks_stomp_answers(stomper, channel, queue):
    page = stomper()
    page.subscribe("/amq/queue/" + queue)
    answers = Consumer(channel, "amq.rabbitmq.reply-to", auto_ack=True)
    publish(channel, queue, b"?", reply_to="amq.rabbitmq.reply-to", correlation_id="c-10")
    question = page.next()
    page.send(question.headers["reply-to"], b"noon", correlation_id=question.headers["correlation-id"])
    answers.wait(1)
    assert (answers.messages[0].body, answers.messages[0].properties.correlation_id) == (b"noon", "c-10")


def test_mqtt_asks_stomp_answers(mqtt, stomper):
    page = stomper()
    page.subscribe("/topic/ask.page")
    asker = mqtt()
    asker.subscribe("answers/11")
    asker.publish("ask/page", b"?", ResponseTopic="answers/11", CorrelationData=b"c-11")
    question = page.next()
    page.send("/topic/" + question.headers["x-reply-to-topic"], b"noon", correlation_id=question.headers["correlation-id"])
    m = asker.next()
    assert (m.payload, m.properties.CorrelationData) == (b"noon", b"c-11")


def test_stomp_asks_mqtt_answers(mqtt, stomper):
    device = mqtt()
    device.subscribe("ask/valve")
    page = stomper()
    page.subscribe("/topic/answers.12")
    page.frame("SEND", b"?", **{"destination": "/topic/ask.valve", "x-reply-to-topic": "answers.12", "correlation-id": "c-12"})
    m = device.next()
    device.publish(m.properties.ResponseTopic, b"open", CorrelationData=m.properties.CorrelationData)
    f = page.next()
    assert (f.body, f.headers["correlation-id"]) == (b"open", "c-12")


# Redelivery after a disconnect


def test_what_stomp_did_not_ack_is_redelivered_to_amqp(stomper, channel, queue):
    publish(channel, queue, *"abc")
    page = stomper()
    page.subscribe("/amq/queue/" + queue, ack="client-individual")
    frames = [page.next() for _ in range(3)]
    page.ack(frames[1])
    page.vanish()
    eventually(lambda: ready(channel, queue) == 2, "two to be back")
    assert [(m.body, m.method.redelivered) for m in (get(channel, queue), get(channel, queue))] == [(b"a", True), (b"c", True)]


def test_what_amqp_did_not_ack_is_redelivered_to_stomp(stomper, channel, connect, queue):
    publish(channel, queue, *"abc")
    other = connect()
    consumer = Consumer(other.channel(), queue)
    consumer.wait(3)
    consumer.ack(1)
    drop(other)
    page = stomper()
    page.subscribe("/amq/queue/" + queue)
    assert [(f.body, f.headers["redelivered"]) for f in (page.next(), page.next())] == [(b"a", "true"), (b"c", "true")]


def test_what_mqtt_did_not_ack_is_sent_again(mqtt, channel):
    device = mqtt("resumes", session=600, manual=True)
    device.subscribe("again/#")
    for body in "abc":
        channel.basic_publish(TOPICS, "again.x", body, pika.BasicProperties(delivery_mode=2))
    first = [device.next() for _ in range(3)]
    device.ack(first[0])
    device.publish("elsewhere", b"")  # Answered after the PUBACK before it was read.
    device.vanish()
    device.away(channel)  # Else d is sent to the connection that is gone, and is sent again, too.
    channel.basic_publish(TOPICS, "again.x", "d", pika.BasicProperties(delivery_mode=2))
    device = mqtt("resumes", session=600)
    assert device.flags.session_present
    again = [device.next() for _ in range(3)]
    assert [(m.payload, m.dup) for m in again] == [(b"b", True), (b"c", True), (b"d", False)]
    assert [m.mid for m in again[:2]] == [m.mid for m in first[1:]], "with the same packet identifiers"


def test_amqp_and_stomp_read_the_queue_of_a_session(mqtt, stomper, channel):
    device = mqtt("absent", session=600)
    device.subscribe("shared/#")
    device.leave(channel)
    for body in "abc":
        channel.basic_publish(TOPICS, "shared.x", body, pika.BasicProperties(delivery_mode=2))
    q = device.queue
    eventually(lambda: ready(channel, q) == 3, "three to wait")
    assert get(channel, q).body == b"a"
    page = stomper()
    page.subscribe("/amq/queue/" + q, ack="client-individual", prefetch_count="1")
    page.ack(page.next())
    page.vanish()
    eventually(lambda: ready(channel, q) == 1, "one to be left")
    device = mqtt("absent", session=600)
    assert device.next().payload == b"c"
    device.quiet()


# Sessions, wills, retained messages


@pytest.mark.parametrize("version", [3, 5])
def test_offline_session_is_filled_by_amqp_and_stomp(mqtt, stomper, channel, version):
    name = f"offline-{version}"
    device = mqtt(name, version=version, session=600)
    device.subscribe("news/#", qos=2)
    device.leave(channel)
    channel.confirm_delivery()
    for i in range(20):
        # Confirmed, though an MQTT session is the only one to take it.
        channel.basic_publish(TOPICS, "news.amqp", b"%d" % i, pika.BasicProperties(delivery_mode=2), mandatory=True)
    page = stomper()
    for i in range(20, 40):
        page.send("/topic/news.stomp", b"%d" % i, persistent="true")
    device = mqtt(name, version=version, session=600)
    got = [device.next() for _ in range(40)]
    assert [m.payload for m in got] == [b"%d" % i for i in range(40)]
    assert {m.topic for m in got} == {"news/amqp", "news/stomp"} and {m.qos for m in got} == {1}


def test_will_to_amqp_and_stomp(mqtt, stomper, channel, queue):
    bound(channel, queue, "wills.device")
    page = stomper()
    page.subscribe("/topic/wills.*")
    will = {"topic": "wills/device", "payload": b"gone", "qos": 1,
            "properties": properties(PacketTypes.WILLMESSAGE, ContentType="text/plain", UserProperty=("k", "v"))}
    device = mqtt(will=will)
    mqtt(will={**will, "payload": b"never"}).close()
    device.vanish()
    f = page.next()
    assert (f.body, f.headers["k"]) == (b"gone", "v")
    eventually(lambda: ready(channel, queue) == 1, "the will")
    m = get(channel, queue)
    assert (m.body, m.method.routing_key, m.properties.delivery_mode) == (b"gone", "wills.device", 2)
    assert (m.properties.content_type, m.properties.headers) == ("text/plain", {"k": "v"})


def test_retained_for_a_later_subscriber(mqtt, stomper, channel, queue):
    bound(channel, queue, "kept.#")
    mqtt().publish("kept/a", b"first", retain=True)
    assert mqtt().publish("kept/b", b"other", retain=True) == 0
    # What others publish to the topic is passed on, not kept.
    channel.basic_publish(TOPICS, "kept.a", b"second")
    stomper().send("/topic/kept.a", b"third")
    later = mqtt()
    later.subscribe("kept/+")
    kept = sorted((m.topic, m.payload, m.retain) for m in (later.next(), later.next()))
    assert kept == [("kept/a", b"first", True), ("kept/b", b"other", True)]
    channel.basic_publish(TOPICS, "kept.a", b"fourth")
    m = later.next()
    assert (m.payload, m.retain) == (b"fourth", False)
    consumer = Consumer(channel, queue)
    assert consumer.wait(5) == ["first", "other", "second", "third", "fourth"]


# Exchanges, dead letters


def test_exchanges_behind_and_before_the_topics(mqtt, stomper, channel, queue, name):
    """AMQP's exchanges take from devices and give to them."""
    before, behind = name(), name()
    channel.exchange_declare(before, "fanout", durable=True)
    channel.exchange_declare(behind, "headers", durable=True)
    channel.exchange_bind(TOPICS, before, "")
    channel.exchange_bind(behind, TOPICS, "chain.#")
    channel.queue_bind(queue, behind, "", {"x-match": "all", "unit": "celsius"})
    device, page = mqtt(), stomper()
    device.subscribe("chain/#")
    page.subscribe("/exchange/" + before)
    page.send(f"/exchange/{before}/chain.x", b"down", persistent="true")
    assert (device.next().payload, page.next().body) == (b"down", b"down")
    mqtt().publish("chain/x", b"up", UserProperty=("unit", "celsius"))
    mqtt().publish("chain/x", b"no", UserProperty=("unit", "kelvin"))
    eventually(lambda: ready(channel, queue) == 1, "one reading")
    assert get(channel, queue).body == b"up"
    assert get(channel, queue) is None
    for x in before, behind:
        channel.exchange_delete(x)


def test_dead_letters_of_each(mqtt, stomper, channel, queue, name):
    """Rejected by STOMP, expired in the queue of an MQTT session: x-death says so."""
    work = name()
    channel.queue_declare(work, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue})
    device = mqtt("mourning", session=600)
    path = f"/api/policies/{quoted(VHOST)}/mourning"
    api("PUT", path, {"pattern": f"^{device.queue}$", "definition": {"dead-letter-exchange": "", "dead-letter-routing-key": queue}})
    page = stomper()
    page.subscribe("/amq/queue/" + work, ack="client-individual")
    publish(channel, work, b"bad", headers={"k": "v"})
    page.nack(page.next(), requeue="false")
    eventually(lambda: ready(channel, queue) == 1, "the rejected")
    h = get(channel, queue).properties.headers
    assert (h["k"], h["x-death"][0]["reason"], h["x-death"][0]["queue"]) == ("v", "rejected", work)

    device.subscribe("mourn/x")
    device.leave(channel)
    channel.basic_publish(TOPICS, "mourn.x", b"late", pika.BasicProperties(delivery_mode=2, expiration="50"))
    eventually(lambda: ready(channel, queue) == 1, "the expired")
    m = get(channel, queue)
    assert m.properties.headers["x-death"][0]["reason"] == "expired"
    assert m.properties.headers["x-death"][0]["queue"] == device.queue
    api("DELETE", path)
    channel.queue_delete(work)


def test_queues_declared_by_stomp_are_those_of_amqp(stomper, channel, connection, name):
    q = name()
    stomper().subscribe("/queue/" + q, x_message_ttl="60000", x_max_priority="5")
    channel.queue_declare(q, durable=True, arguments={"x-message-ttl": 60000, "x-max-priority": 5})
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as e:
        connection.channel().queue_declare(q, durable=True, arguments={"x-message-ttl": 60001, "x-max-priority": 5})
    assert e.value.reply_code == 406
    channel.queue_delete(q)


@pytest.mark.parametrize("kind", ["quorum", "stream"])
def test_other_kinds_of_queues(mqtt, stomper, channel, name, kind):
    q = name()
    page = stomper()
    page.send("/queue/" + q, b"from STOMP", x_queue_type=kind, persistent="true")
    channel.queue_bind(q, TOPICS, "kinds." + kind)
    assert mqtt().publish("kinds/" + kind, b"from MQTT") == 0
    channel.confirm_delivery()
    channel.basic_publish(TOPICS, "kinds." + kind, b"from AMQP")
    offset = {"x_stream_offset": "first"} if kind == "stream" else {}
    page.subscribe("/queue/" + q, x_queue_type=kind, ack="client-individual", prefetch_count="10", **offset)
    got = [page.next() for _ in range(3)]
    assert [f.body for f in got] == [b"from STOMP", b"from MQTT", b"from AMQP"]
    for f in got:
        page.ack(f)
    channel.queue_delete(q)


def test_durable_topic_subscription_of_stomp_is_filled_while_away(mqtt, stomper, channel):
    durable = {"durable": "true", "auto_delete": "false"}
    page = stomper()
    page.subscribe("/topic/away.#", id="mine", **durable)
    page.vanish()
    assert mqtt().publish("away/x", b"from MQTT") == 0
    channel.confirm_delivery()
    channel.basic_publish(TOPICS, "away.y", b"from AMQP", mandatory=True)
    page = stomper()
    page.subscribe("/topic/away.#", id="mine", **durable)
    assert [(f.headers["destination"], f.body) for f in (page.next(), page.next())] == [
        ("/topic/away.x", b"from MQTT"), ("/topic/away.y", b"from AMQP")]
    page.frame("UNSUBSCRIBE", id="mine", durable="true")


def test_shared_subscription_of_mqtt_shares_what_others_send(mqtt, stomper, channel):
    group = [mqtt(), mqtt()]
    for device in group:
        assert device.subscribe("$share/workers/jobs/#") == 1
    for i in range(10):
        channel.basic_publish(TOPICS, "jobs.a", b"%d" % i, pika.BasicProperties(delivery_mode=2))
    page = stomper()
    for i in range(10, 20):
        page.send("/topic/jobs.b", b"%d" % i, persistent="true")
    eventually(lambda: sum(device.messages.qsize() for device in group) == 20, "all to be shared")
    shares = [{int(device.next().payload) for _ in range(device.messages.qsize())} for device in group]
    assert shares[0] | shares[1] == set(range(20)) and all(shares)


def test_workers_of_two_protocols_share_a_queue(mqtt, stomper, channel, queue):
    bound(channel, queue, "work.#")
    channel.basic_qos(prefetch_count=1)
    page, device = stomper(), mqtt()
    page.subscribe("/amq/queue/" + queue, ack="client-individual", prefetch_count="1")
    consumer = Consumer(channel, queue)
    for i in range(100):
        device.publish("work/x", b"%d" % i)
    done = {"amqp": [], "stomp": []}

    def all_done():
        while len(consumer.messages) > len(done["amqp"]):
            done["amqp"].append(consumer.messages[len(done["amqp"])].body)
            consumer.ack(len(done["amqp"]) - 1)
        while not page.messages.empty():
            frame = page.next()
            done["stomp"].append(frame.body)
            page.ack(frame)
        return len(done["amqp"]) + len(done["stomp"]) >= 100

    eventually(all_done, "all the work", channel.connection)
    assert sorted(done["amqp"] + done["stomp"], key=int) == [b"%d" % i for i in range(100)]
    assert done["amqp"] and done["stomp"]


def test_transactions_reach_the_others_whole_or_not_at_all(mqtt, stomper, connect):
    """Both ways of undoing, then both ways of doing."""
    device, page = mqtt(), stomper()
    device.subscribe("tx/#")
    ch = connect().channel()
    ch.tx_select()
    for end in ch.tx_rollback, ch.tx_commit:
        for i in range(3):
            ch.basic_publish(TOPICS, "tx.amqp", b"%d" % i)
        end()
    for end in page.connection.abort, page.connection.commit:
        page.connection.begin("t")
        for i in range(3, 6):
            page.connection.send("/topic/tx.stomp", b"%d" % i, headers={"transaction": "t"})
        end("t")
    assert [device.next().payload for _ in range(6)] == [b"%d" % i for i in range(6)]
    page.send("/topic/tx.stomp", b"end")
    assert device.next().payload == b"end"


# Things that go while they are used


def test_deleted_queue(mqtt, stomper, channel, name):
    """Its consumers are told: AMQP by basic.cancel, STOMP by ERROR, MQTT by the end."""
    q = name()
    channel.queue_declare(q)
    page, device = stomper(), mqtt("loses", session=600)
    page.subscribe("/amq/queue/" + q)
    device.subscribe("deleted/x")
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    consumer = Consumer(channel, q)
    api("DELETE", f"/api/queues/{quoted(VHOST)}/{quoted(q)}")
    eventually(lambda: cancelled == [consumer.tag], "basic.cancel", channel.connection)
    assert page.next("ERROR").headers["subscription"] == "1"
    page.send("/topic/nobody", b"the connection goes on")
    api("DELETE", f"/api/queues/{quoted(VHOST)}/{device.queue}")
    device.event("disconnect")


def in_vhost(vhost, **who):
    """A connection of each protocol, and whether it has ended."""
    credentials = pika.PlainCredentials(who.get("user", "guest"), who.get("password", "guest"))
    amqp = pika.BlockingConnection(parameters(virtual_host=vhost, credentials=credentials))
    device, page = MQTT("in-vhost", vhost=vhost, **who), STOMP(vhost=vhost, **who)
    assert not device.code.is_failure, device.code

    def ends():
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as e:
            eventually(lambda: False, "the end of the AMQP connection", amqp)
        assert e.value.reply_code == 320
        assert device.gone.wait(PATIENCE_S) and page.gone.wait(PATIENCE_S)

    return ends


def test_deleted_vhost():
    vhost = VHOST + "-gone"
    api("PUT", f"/api/vhosts/{quoted(vhost)}")
    api("PUT", f"/api/permissions/{quoted(vhost)}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
    ends = in_vhost(vhost)
    api("DELETE", f"/api/vhosts/{quoted(vhost)}")
    ends()


def test_deleted_user():
    user = limited_user("deleted", "any")
    ends = in_vhost(VHOST, user=user, password="pw")
    api("DELETE", f"/api/users/{quoted(user)}")
    ends()


# Permissions


@pytest.fixture(scope="module")
def limited():
    user = limited_user("interop", "allowed")
    yield user
    api("DELETE", f"/api/users/{quoted(user)}")


def test_publishing_without_the_right_is_refused_alike(limited, mqtt, stomper, channel, queue):
    bound(channel, queue, "#")
    who = dict(user=limited, password="pw")
    amqp = pika.BlockingConnection(parameters(credentials=pika.PlainCredentials(limited, "pw")))
    ch = amqp.channel()
    ch.confirm_delivery()
    ch.basic_publish(TOPICS, "allowed.x", b"amqp")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as e:
        ch.basic_publish(TOPICS, "forbidden.x", b"no")
    assert e.value.reply_code == 403 and "forbidden.x" in e.value.reply_text
    amqp.close()

    device = mqtt(**who)
    assert device.publish("allowed/x", b"mqtt") == 0
    device.client.publish("forbidden/x", b"no", 1)
    assert device.event("disconnect")[0].value == 0x87

    page = stomper(**who)
    page.send("/topic/allowed.x", b"stomp")
    page.connection.send("/topic/forbidden.x", b"no", headers={"receipt": "r"})
    error = page.next("ERROR")
    assert (error.headers["message"], error.headers["receipt-id"]) == ("access_refused", "r")
    assert page.gone.wait(PATIENCE_S)

    consumer = Consumer(channel, queue)
    assert consumer.wait(3) == ["amqp", "mqtt", "stomp"]
    assert consumer.quiet() == ["amqp", "mqtt", "stomp"]


def test_subscribing_without_the_right_is_refused_alike(limited, mqtt, stomper):
    who = dict(user=limited, password="pw")
    amqp = pika.BlockingConnection(parameters(credentials=pika.PlainCredentials(limited, "pw")))
    ch = amqp.channel()
    ch.queue_declare("allowed", exclusive=True)
    ch.queue_bind("allowed", TOPICS, "allowed.x")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as e:
        ch.queue_bind("allowed", TOPICS, "forbidden.x")
    assert e.value.reply_code == 403
    amqp.close()

    device = mqtt(**who)
    assert device.subscribe("allowed/x") == 1
    assert device.subscribe("forbidden/x") == 0x87

    page = stomper(**who)
    page.subscribe("/topic/allowed.x")
    page.connection.subscribe("/topic/forbidden.x", id="2", headers={"receipt": "r"})
    assert page.next("ERROR").headers["message"] == "access_refused"
    assert page.gone.wait(PATIENCE_S)


def test_a_right_taken_away_is_missed_by_all(mqtt, stomper, channel, queue):
    """Each has published before: what was found out then does not count for ever."""
    user = limited_user("revoked", "revoked")
    bound(channel, queue, "revoked.#")
    amqp = pika.BlockingConnection(parameters(credentials=pika.PlainCredentials(user, "pw")))
    ch = amqp.channel()
    ch.confirm_delivery()
    device, page = mqtt(user=user, password="pw"), stomper(user=user, password="pw")
    ch.basic_publish(TOPICS, "revoked.x", b"amqp")
    assert device.publish("revoked/x", b"mqtt") == 0
    page.send("/topic/revoked.x", b"stomp")
    api("PUT", f"/api/topic-permissions/{quoted(VHOST)}/{quoted(user)}", {"exchange": TOPICS, "write": "^$", "read": "^$"})
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        ch.basic_publish(TOPICS, "revoked.x", b"no")
    device.client.publish("revoked/x", b"no", 1)
    assert device.event("disconnect")[0].value == 0x87
    page.connection.send("/topic/revoked.x", b"no", headers={"receipt": "r"})
    assert page.next("ERROR").headers["message"] == "access_refused"
    assert Consumer(channel, queue).wait(3) == ["amqp", "mqtt", "stomp"]
    amqp.close()
    api("DELETE", f"/api/users/{quoted(user)}")


def test_logins_are_refused_alike(limited):
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        pika.BlockingConnection(parameters(credentials=pika.PlainCredentials(limited, "wrong")))
    device = MQTT("refused", user=limited, password="wrong")
    assert device.code.value == 0x86
    device.close()
    with pytest.raises(stomp.exception.ConnectFailedException):
        STOMP(user=limited, password="wrong")
