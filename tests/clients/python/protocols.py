"""MQTT and STOMP clients for the tests, as the fixtures mqtt and stomper. What
happens to a client comes through queues, so that a test waits for it."""
import os
import queue
import struct
import threading

import paho.mqtt.client as paho
import pytest
import stomp
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from conftest import PATIENCE_S, QUIET_S, VHOST, api, eventually, quoted

MQTT_HOST, MQTT_PORT = os.environ["MQTT_ADDR"].rsplit(":", 1)
STOMP_HOST, STOMP_PORT = os.environ["STOMP_ADDR"].rsplit(":", 1)

VERSIONS = {3: paho.MQTTv311, 5: paho.MQTTv5}


def properties(packet=PacketTypes.PUBLISH, **values):
    p = Properties(packet)
    for name, value in values.items():
        setattr(p, name, value)
    return p


class MQTT:
    """A device. With a session it says how many seconds that outlives it; with
    manual it acknowledges nothing by itself; connect are properties of CONNECT."""

    def __init__(self, client_id, version=5, session=0, manual=False, user="guest", password="guest", vhost=VHOST, will=None,
                 **connect):
        self.version, self.queue = version, f"mqtt-subscription-{client_id}qos1"
        self.messages, self.events = queue.Queue(), queue.Queue()
        self.gone = threading.Event()
        options = {} if version == 5 else {"clean_session": session == 0}
        self.client = c = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=VERSIONS[version], manual_ack=manual,
            reconnect_on_failure=False, **options)
        c.username_pw_set(f"{vhost}:{user}", password)
        c.on_connect = lambda c, u, flags, code, p: self.events.put(("connect", code, flags))
        c.on_subscribe = lambda c, u, mid, codes, p: self.events.put(("subscribe", codes[0], None))
        c.on_publish = lambda c, u, mid, code, p: self.events.put(("publish", code, mid))
        c.on_message = lambda c, u, message: self.messages.put(message)

        def on_disconnect(c, u, flags, code, p):
            self.events.put(("disconnect", code, None))
            self.gone.set()

        c.on_disconnect = on_disconnect
        if will:
            c.will_set(**will)
        options = {}
        if version == 5:
            p = properties(PacketTypes.CONNECT, SessionExpiryInterval=session, **connect)
            options = {"clean_start": session == 0, "properties": p}
        c.connect(MQTT_HOST, int(MQTT_PORT), 60, **options)
        c.loop_start()
        self.code, self.flags = self.event("connect")

    def event(self, kind):
        """The next thing that happens, which must be of this kind."""
        got, code, more = self.events.get(timeout=PATIENCE_S)
        assert got == kind, (got, code, more)
        return code, more

    def subscribe(self, topic, qos=1):
        """Returns the code that the broker answers."""
        if self.version == 5:
            self.client.subscribe(topic, options=SubscribeOptions(qos=qos))
        else:
            self.client.subscribe(topic, qos)
        return self.event("subscribe")[0].value

    def publish(self, topic, body, qos=1, retain=False, **values):
        """Returns the code that the broker answers, 0 for QoS 0."""
        more = {"properties": properties(**values)} if values else {}
        self.client.publish(topic, body, qos, retain, **more)
        return self.event("publish")[0].value

    def next(self):
        return self.messages.get(timeout=PATIENCE_S)

    def quiet(self):
        """Nothing more comes, as far as one can tell."""
        with pytest.raises(queue.Empty):
            raise AssertionError(self.messages.get(timeout=QUIET_S).payload[:80])

    def ack(self, message):
        self.client.ack(message.mid, message.qos)

    def refuse(self, message, code=0x80):
        """A PUBACK that says no. The library has no call for it."""
        self.client._packet_queue(paho.PUBACK, struct.pack("!BBHBB", paho.PUBACK, 4, message.mid, code, 0), message.mid, 0)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()

    def leave(self, channel):
        """Closes and waits until the broker knows: what comes now waits in the queue
        of the session, of QoS 1."""
        self.close()
        self.away(channel)

    def away(self, channel):
        eventually(lambda: channel.queue_declare(self.queue, passive=True).method.consumer_count == 0, "the device to be away")

    def vanish(self):
        """Ends as a broken cable would: without DISCONNECT."""
        self.client._sock_close()
        self.client.loop_stop()


def users(message):
    """The user properties of a message."""
    return dict(getattr(message.properties, "UserProperty", []))


class STOMP(stomp.ConnectionListener):
    """A client. MESSAGE frames come through one queue, all others through another."""

    def __init__(self, user="guest", password="guest", vhost=VHOST, version="1.2"):
        self.messages, self.answers = queue.Queue(), queue.Queue()
        self.gone = threading.Event()
        kind = {"1.1": stomp.StompConnection11, "1.2": stomp.StompConnection12}[version]
        self.connection = kind([(STOMP_HOST, int(STOMP_PORT))], timeout=PATIENCE_S, vhost=vhost, auto_decode=False,
                               reconnect_attempts_max=1)
        self.connection.set_listener("", self)
        self.receipts = 0
        self.connection.connect(user, password, wait=True)

    def on_message(self, frame):
        self.messages.put(frame)

    def on_receipt(self, frame):
        self.answers.put(frame)

    on_error = on_receipt

    def on_disconnected(self):
        self.gone.set()

    def next(self, command="MESSAGE"):
        frame = (self.messages if command == "MESSAGE" else self.answers).get(timeout=PATIENCE_S)
        assert frame.cmd == command, (frame.cmd, frame.headers, frame.body[:80])
        return frame

    def quiet(self):
        with pytest.raises(queue.Empty):
            frame = self.messages.get(timeout=QUIET_S)
            raise AssertionError((frame.cmd, frame.headers))

    def frame(self, command, body="", **headers):
        """Sends a frame with a receipt and waits until it is there."""
        self.receipts += 1
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        self.connection.send_frame(command, {**headers, "receipt": f"r{self.receipts}"}, body)
        assert self.next("RECEIPT").headers["receipt-id"] == f"r{self.receipts}"

    def send(self, destination, body, **headers):
        self.frame("SEND", body, destination=destination, content_length=str(len(body)), **headers)

    def subscribe(self, destination, id="1", **headers):
        self.frame("SUBSCRIBE", destination=destination, id=id, **headers)

    def ack(self, message, **headers):
        self.frame("ACK", id=message.headers["ack"], **headers)

    def nack(self, message, **headers):
        self.frame("NACK", id=message.headers["ack"], **headers)

    def close(self):
        if self.connection.is_connected():
            self.connection.disconnect()

    def vanish(self):
        """Ends as a broken cable would: without DISCONNECT."""
        self.connection.transport.disconnect_socket()
        assert self.gone.wait(PATIENCE_S)


def limited_user(purpose, topics):
    """Makes a user who may use what is MQTT's and STOMP's own, queues and topics
    that begin with topics, and returns its name. The password is pw."""
    user = f"{purpose}-{VHOST}"
    api("PUT", f"/api/users/{quoted(user)}", {"password": "pw", "tags": ""})
    own = f"^({topics}|mqtt-subscription|stomp-subscription"
    api("PUT", f"/api/permissions/{quoted(VHOST)}/{quoted(user)}",
        {"configure": own + ")", "write": own + "|amq.topic$|amq.default$)", "read": own + "|amq.topic$)"})
    api("PUT", f"/api/topic-permissions/{quoted(VHOST)}/{quoted(user)}",
        {"exchange": "amq.topic", "write": f"^{topics}\\.", "read": f"^{topics}\\."})
    return user


@pytest.fixture
def mqtt(name):
    opened = []

    def open_one(client_id=None, **options):
        opened.append(MQTT(client_id or name().replace(".", "-"), **options))
        assert not opened[-1].code.is_failure, opened[-1].code
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def stomper():
    opened = []

    def open_one(**options):
        opened.append(STOMP(**options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()
