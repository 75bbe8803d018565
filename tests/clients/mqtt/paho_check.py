"""paho-mqtt against the broker at MQTT_HOST:MQTT_PORT, run by pytest."""

import os
import queue
import socket
import threading
import time

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

HOST, PORT = os.environ["MQTT_HOST"], int(os.environ["MQTT_PORT"])
WS_PORT = int(os.environ["MQTT_WS_PORT"])
PATIENCE = 100


class Client:
    """A client whose events come through queues."""

    def __init__(self, name, version, clean=True, transport="tcp", will=None, connect_properties=None):
        self.version, self.messages, self.events = version, queue.Queue(), queue.Queue()
        kwargs = {} if version == mqtt.MQTTv5 else {"clean_session": clean}
        self.c = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=version, transport=transport, **kwargs)
        self.c.on_message = lambda c, u, m: self.messages.put(m)
        self.c.on_connect = lambda c, u, flags, code, p: self.events.put(("connect", flags, code, p))
        self.c.on_disconnect = lambda c, u, flags, code, p: self.events.put(("disconnect", code))
        self.c.on_subscribe = lambda c, u, mid, codes, p: self.events.put(("subscribe", codes))
        if will:
            self.c.will_set(*will)
        if transport == "websockets":
            self.c.ws_set_options(path="/ws")
        kwargs = {}
        if version == mqtt.MQTTv5:
            p = connect_properties or Properties(PacketTypes.CONNECT)
            if not clean:
                p.SessionExpiryInterval = 600
            kwargs = {"clean_start": clean, "properties": p}
        self.c.connect(HOST, WS_PORT if transport == "websockets" else PORT, 60, **kwargs)
        self.c.loop_start()
        _, self.flags, self.code, self.connack = self.events.get(timeout=PATIENCE)
        assert not self.code.is_failure, self.code

    def subscribe(self, topic, qos=0, **options):
        if self.version == mqtt.MQTTv5:
            self.c.subscribe(topic, options=SubscribeOptions(qos=qos, **options))
        else:
            self.c.subscribe(topic, qos)
        kind, codes = self.events.get(timeout=PATIENCE)
        assert kind == "subscribe" and codes[0].value == qos, codes

    def publish(self, topic, payload, qos=0, **kwargs):
        info = self.c.publish(topic, payload, qos, **kwargs)
        info.wait_for_publish(PATIENCE)
        assert info.is_published()

    def get(self):
        return self.messages.get(timeout=PATIENCE)

    def close(self):
        self.c.disconnect()
        self.c.loop_stop()

    def vanish(self):
        """End without a word, as a device does whose battery is empty."""
        self.c._sock_close()
        self.c.loop_stop()


@pytest.fixture(params=[mqtt.MQTTv31, mqtt.MQTTv311, mqtt.MQTTv5], ids=["3.1", "3.1.1", "5"])
def version(request):
    return request.param


@pytest.fixture
def name(request, version):
    return f"{request.node.originalname}-{version}"[-20:].replace("[", "").replace("]", "")


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_round_trip(version, name, qos):
    round_trip(version, name, qos, "tcp")


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", [mqtt.MQTTv311, mqtt.MQTTv5], ids=["3.1.1", "5"])
def test_web_socket(version, qos):
    round_trip(version, f"ws-{version}-{qos}", qos, "websockets")


def round_trip(version, name, qos, transport):
    topic = f"paho/{version}/{qos}/{transport}"
    a = Client(name + "a", version, transport=transport)
    b = Client(name + "b", version, transport=transport)
    a.subscribe(topic + "/#", qos)
    infos = [b.c.publish(f"{topic}/{i}", "x" * i, qos) for i in range(200)]
    for i in infos:
        i.wait_for_publish(PATIENCE)
    for i in range(200):
        m = a.get()
        assert (m.topic, len(m.payload), m.qos, m.dup) == (f"{topic}/{i}", i, qos, False)
    a.close()
    b.close()


def test_lasting_session(version, name):
    topic = f"paho-lasting/{version}"
    a = Client(name, version, clean=False)
    a.subscribe(topic, 2)
    a.vanish()
    b = Client(name + "b", version)
    for i in range(50):
        b.publish(topic, str(i), 2)
    a = Client(name, version, clean=False)
    if version != mqtt.MQTTv31:
        assert a.flags.session_present
    assert [a.get().payload for _ in range(50)] == [str(i).encode() for i in range(50)]
    a.close()
    b.close()


def test_will(version, name):
    topic = f"paho-will/{version}"
    a = Client(name, version)
    a.subscribe(topic, 1)
    Client(name + "w", version, will=(topic, "gone", 1, True)).vanish()
    assert a.get().payload == b"gone"
    late = Client(name + "l", version)
    late.subscribe(topic, 1)
    assert late.get().retain
    a.close()
    late.close()


def test_properties():
    a, b = Client("props-a", mqtt.MQTTv5), Client("props-b", mqtt.MQTTv5)
    a.subscribe("paho-props/+", 1)
    p = Properties(PacketTypes.PUBLISH)
    p.ContentType, p.ResponseTopic, p.CorrelationData = "application/json", "re/ply", b"\x00\x01"
    p.UserProperty = [("b", "2"), ("a", "1"), ("b", "3")]
    p.MessageExpiryInterval, p.PayloadFormatIndicator = 60, 1
    b.publish("paho-props/x", "{}", 1, properties=p)
    got = a.get().properties
    assert (got.ContentType, got.ResponseTopic, got.CorrelationData) == ("application/json", "re/ply", b"\x00\x01")
    assert got.UserProperty == [("b", "2"), ("a", "1"), ("b", "3")]
    assert 50 <= got.MessageExpiryInterval <= 60 and got.PayloadFormatIndicator == 1
    a.close()
    b.close()


def test_no_local_and_retain_as_published():
    a, b = Client("nl-a", mqtt.MQTTv5), Client("nl-b", mqtt.MQTTv5)
    a.subscribe("paho-nl", 1, noLocal=True, retainAsPublished=True)
    a.publish("paho-nl", "own", 1)
    b.publish("paho-nl", "other", 1, retain=True)
    m = a.get()
    assert m.payload == b"other" and m.retain
    a.close()
    b.close()


def test_take_over():
    a = Client("taken", mqtt.MQTTv5)
    Client("taken", mqtt.MQTTv5).close()
    kind, code = a.events.get(timeout=PATIENCE)
    assert kind == "disconnect" and code.value == 0x8E, code
    a.c.loop_stop()


def test_assigned_client_id_and_limits():
    a = Client("", mqtt.MQTTv5)
    assert a.connack.AssignedClientIdentifier
    assert a.connack.MaximumPacketSize == 16 << 20 and a.connack.TopicAliasMaximum == 16
    a.close()


def test_shared_subscription():
    members = [Client(f"share-{i}", mqtt.MQTTv5) for i in range(3)]
    for m in members:
        m.subscribe("$share/g/paho-share/+", 1)
    b = Client("share-pub", mqtt.MQTTv5)
    for i in range(60):
        b.publish(f"paho-share/{i}", str(i), 1)
    got, deadline = [], time.monotonic() + PATIENCE
    while len(got) < 60 and time.monotonic() < deadline:
        for m in members:
            try:
                got.append(int(m.messages.get(timeout=0.05).payload))
            except queue.Empty:
                pass
    assert sorted(got) == list(range(60))
    for c in members + [b]:
        c.close()


def test_qos2_exactly_once_with_connections_cut():
    """A proxy cuts the connections of both sides in the middle of QoS 2 flows."""
    cut, port = threading.Event(), proxy_port()
    n, got = 300, []
    sub = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "cut-sub", clean_session=False, protocol=mqtt.MQTTv311)
    pub = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "cut-pub", clean_session=False, protocol=mqtt.MQTTv311)
    subscribed = threading.Event()
    sub.on_connect = lambda c, *_: c.subscribe("cut", 2)
    sub.on_subscribe = lambda *_: subscribed.set()
    sub.on_message = lambda c, u, m: got.append(int(m.payload))
    for c in (sub, pub):
        c.reconnect_delay_set(1, 1)
        c.connect(HOST, port, 60)
        c.loop_start()
    assert subscribed.wait(PATIENCE)
    published = threading.Semaphore(0)
    pub.on_publish = lambda *_: published.release()
    for i in range(n):
        pub.publish("cut", str(i), 2)  # Kept by paho while it is not connected.
        if i % 60 == 30:
            cut_all()
        time.sleep(0.002)
    for i in range(n):
        assert published.acquire(timeout=PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while len(got) < n and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)  # What comes twice comes now.
    assert sorted(got) == list(range(n))
    cut.set()
    for c in (sub, pub):
        c.disconnect()
        c.loop_stop()


PAIRS = []


def proxy_port():
    """Start a proxy to the broker and return its port."""
    ln = socket.create_server((HOST, 0))

    def pump(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def serve():
        while True:
            try:
                a, _ = ln.accept()
            except OSError:
                return
            b = socket.create_connection((HOST, PORT))
            PAIRS.append((a, b))
            for x, y in ((a, b), (b, a)):
                threading.Thread(target=pump, args=(x, y), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return ln.getsockname()[1]


def cut_all():
    while PAIRS:
        for s in PAIRS.pop():
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
