"""STOMP with stomp.py, and what goes from there to AMQP and back."""
import os
import queue
import threading

import pytest
import stomp

from conftest import PATIENCE_S, VHOST

HOST, PORT = os.environ["STOMP_ADDR"].rsplit(":", 1)

CLASSES = {"1.0": stomp.StompConnection10, "1.1": stomp.StompConnection11, "1.2": stomp.StompConnection12}


class Listener(stomp.ConnectionListener):
    def __init__(self):
        self.frames = queue.Queue()
        self.gone = threading.Event()

    def on_message(self, frame):
        self.frames.put(frame)

    def on_error(self, frame):
        self.frames.put(frame)

    def on_receipt(self, frame):
        self.frames.put(frame)

    def on_disconnected(self):
        self.gone.set()

    def next(self, command):
        frame = self.frames.get(timeout=PATIENCE_S)
        assert frame.cmd == command, (frame.cmd, frame.headers, frame.body)
        return frame


class Client:
    def __init__(self, version, **options):
        options.setdefault("auto_decode", False)
        if version != "1.0":
            options.setdefault("vhost", VHOST)
        self.connection = CLASSES[version]([(HOST, int(PORT))], timeout=PATIENCE_S, **options)
        self.listener = Listener()
        self.connection.set_listener("", self.listener)
        headers = {"host": VHOST} if version == "1.0" else {}
        self.connection.connect("guest", "guest", wait=True, headers=headers)
        self.next = self.listener.next

    def __getattr__(self, name):
        return getattr(self.connection, name)


@pytest.fixture
def client():
    opened = []

    def open_one(version="1.2", **options):
        opened.append(Client(version, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        if one.is_connected():
            one.disconnect()


@pytest.fixture(params=sorted(CLASSES))
def version(request):
    return request.param


def ack(client, version, frame, nack=False, **headers):
    if version == "1.0":  # Its class has no nack.
        command = "NACK" if nack else "ACK"
        client.connection.send_frame(command, {"message-id": frame.headers["message-id"], **headers})
        return
    act = client.nack if nack else client.ack
    if version == "1.1":
        act(frame.headers["message-id"], frame.headers["subscription"], **headers)
    else:
        act(frame.headers["ack"], **headers)


def test_send_and_receive(client, version):
    c = client(version)
    c.subscribe("/queue/py-hello-" + version, id="1", ack="auto", headers={"receipt": "subscribed"})
    assert c.next("RECEIPT").headers["receipt-id"] == "subscribed"
    body = "käse \u65e5\u672c".encode()
    c.send("/queue/py-hello-" + version, body, content_type="text/plain", headers={"n": "1", "receipt": "sent"})
    frames = [c.listener.frames.get(timeout=PATIENCE_S) for _ in range(2)]
    message = next(f for f in frames if f.cmd == "MESSAGE")
    assert message.body == body
    assert message.headers["content-type"] == "text/plain"
    assert message.headers["n"] == "1"
    assert message.headers["destination"] == "/queue/py-hello-" + version
    assert {f.cmd for f in frames} == {"MESSAGE", "RECEIPT"}


def test_bodies(client):
    c = client()
    c.subscribe("/queue/py-bodies", id="1")
    for body in (b"", b"\x00\x00a\n\x00", os.urandom(5 << 20)):
        c.send("/queue/py-bodies", body)
        assert c.next("MESSAGE").body == body


def test_acks_and_redelivery(client, version):
    name = "/queue/py-acks-" + version
    first = client(version)
    first.subscribe(name, id="1", ack="client" if version == "1.0" else "client-individual")
    for i in range(4):
        first.send(name, b"%d" % i)
    got = [first.next("MESSAGE") for _ in range(4)]
    ack(first, version, got[0])
    ack(first, version, got[1], nack=True)
    again = first.next("MESSAGE")
    assert (again.body, again.headers["redelivered"]) == (b"1", "true")
    first.disconnect(receipt="bye")
    assert first.listener.gone.wait(PATIENCE_S)
    second = client("1.1")
    second.subscribe(name, id="1")
    rest = [second.next("MESSAGE") for _ in range(3)]
    assert [f.body for f in rest] == [b"1", b"2", b"3"]
    assert all(f.headers["redelivered"] == "true" for f in rest)


def test_transactions(client, version):
    c = client(version)
    name = "/queue/py-tx-" + version
    c.subscribe(name, id="1")
    for commit in (False, True):
        t = c.begin()
        for i in range(3):
            c.send(name, b"%d" % i, headers={"transaction": t})
        (c.commit if commit else c.abort)(t)
    assert [c.next("MESSAGE").body for _ in range(3)] == [b"0", b"1", b"2"]
    c.send(name, b"end")
    assert c.next("MESSAGE").body == b"end"


def test_errors(client):
    c = client()
    c.send("/nowhere/x", b"", headers={"receipt": "r"})
    error = c.next("ERROR")
    assert error.headers["message"] == "Unknown destination"
    assert error.headers["receipt-id"] == "r"
    c.subscribe("/amq/queue/py-missing", id="1")
    assert c.next("ERROR").headers["message"] == "not_found"
    assert c.listener.gone.wait(PATIENCE_S)


def test_login_refused():
    c = stomp.StompConnection12([(HOST, int(PORT))], vhost=VHOST, reconnect_attempts_max=1)
    listener = Listener()
    c.set_listener("", listener)
    with pytest.raises(stomp.exception.ConnectFailedException):
        c.connect("guest", "wrong", wait=True)
    assert listener.next("ERROR").headers["message"] == "Bad CONNECT"


def test_heartbeats(client):
    c = client("1.2", heartbeats=(1000, 1000))
    c.subscribe("/queue/py-beats", id="1")
    # Neither side says anything for longer than both would bear.
    assert not c.listener.gone.wait(5)
    c.send("/queue/py-beats", b"still here")
    assert c.next("MESSAGE").body == b"still here"


def test_durable_subscription(client, channel):
    headers = {"durable": "true", "auto-delete": "false"}
    c = client("1.1")
    c.subscribe("/topic/py.durable", id="mine", headers=dict(headers, receipt="s"))
    c.next("RECEIPT")
    c.disconnect(receipt="bye")
    assert c.listener.gone.wait(PATIENCE_S)
    channel.basic_publish("amq.topic", "py.durable", b"while away")
    c = client("1.2")
    c.subscribe("/topic/py.durable", id="mine", headers=headers)
    assert c.next("MESSAGE").body == b"while away"
    c.unsubscribe("mine", headers={"durable": "true", "receipt": "u"})
    c.next("RECEIPT")


def test_to_amqp_and_back(client, channel):
    import pika

    c = client()
    channel.queue_declare("py-interop", durable=True)
    c.send("/queue/py-interop", b"from STOMP", content_type="text/x", headers={
        "persistent": "true", "priority": "4", "correlation-id": "c", "reply-to": "/queue/back", "amqp-message-id": "m",
        "mine": "x", "receipt": "r"})
    c.next("RECEIPT")
    _, properties, body = channel.basic_get("py-interop", auto_ack=True)
    assert body == b"from STOMP"
    assert (properties.content_type, properties.delivery_mode, properties.priority) == ("text/x", 2, 4)
    assert (properties.correlation_id, properties.reply_to, properties.message_id) == ("c", "/queue/back", "m")
    assert properties.headers == {"mine": "x"}

    c.subscribe("/queue/py-interop", id="1", ack="client-individual")
    channel.basic_publish("", "py-interop", b"from AMQP", pika.BasicProperties(
        delivery_mode=2, message_id="m2", headers={"s": "t", "i": 5, "big": 2**40, "yes": True, "list": [1], "none": None}))
    message = c.next("MESSAGE")
    assert message.body == b"from AMQP"
    assert message.headers["persistent"] == "true"
    assert message.headers["amqp-message-id"] == "m2"
    assert (message.headers["s"], message.headers["i"], message.headers["big"]) == ("t", "5", str(2**40))
    assert "list" not in message.headers and "none" not in message.headers
    # Put back, it is marked for AMQP too.
    c.unsubscribe("1", headers={"receipt": "u"})
    c.next("RECEIPT")
    ack(c, "1.2", message, nack=True, receipt="n")
    c.next("RECEIPT")
    method, _, body = channel.basic_get("py-interop", auto_ack=True)
    assert method.redelivered and body == b"from AMQP"


def test_rpc(client, channel):
    server = client()
    server.subscribe("/queue/py-rpc", id="server")
    caller = client()
    caller.send("/queue/py-rpc", b"question", headers={"reply-to": "/temp-queue/answers"})
    question = server.next("MESSAGE")
    server.send(question.headers["reply-to"], b"answer")
    answer = caller.next("MESSAGE")
    assert (answer.body, answer.headers["subscription"]) == (b"answer", "/temp-queue/answers")

    # An AMQP program's direct reply-to can be answered from here.
    replies = []
    channel.basic_consume("amq.rabbitmq.reply-to", lambda ch, m, p, body: replies.append(body), auto_ack=True)
    import pika

    channel.basic_publish("", "py-rpc", b"direct", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to"))
    question = server.next("MESSAGE")
    assert question.headers["reply-to"].startswith("/reply-queue/amq.rabbitmq.reply-to")
    server.send(question.headers["reply-to"], b"direct answer")
    while not replies:
        channel.connection.process_data_events(time_limit=PATIENCE_S)
    assert replies == [b"direct answer"]
