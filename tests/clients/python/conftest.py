"""What the tests share: connections that are closed at the end, names nobody
else uses, and waiting for something with a deadline.

AMQP_URL is the broker with a virtual host made for one file of tests.
"""
import base64
import itertools
import json
import os
import socket
import time
import urllib.parse
import urllib.request
from collections import namedtuple

import pika
import pytest

URL = os.environ["AMQP_URL"]
VHOST = pika.URLParameters(URL).virtual_host

# A broker under the race detector on a busy machine is slow, never this slow.
PATIENCE_S = float(os.environ.get("PATIENCE_S", 30))
# How long nothing must happen before a test believes that nothing will.
QUIET_S = 0.4

_names = itertools.count(1)

Message = namedtuple("Message", "method properties body")


def parameters(**changes):
    result = pika.URLParameters(URL)
    for key, value in changes.items():
        setattr(result, key, value)
    return result


@pytest.fixture
def connect():
    """Opens connections; those still open are closed when the test ends."""
    opened = []

    def open_one(**changes):
        connection = pika.BlockingConnection(parameters(**changes))
        opened.append(connection)
        return connection

    yield open_one
    for connection in opened:
        try:
            if connection.is_open:
                connection.close()
        except pika.exceptions.AMQPError:
            pass  # The test broke it on purpose.


@pytest.fixture
def connection(connect):
    return connect()


@pytest.fixture
def channel(connection):
    return connection.channel()


@pytest.fixture
def name(request):
    """Makes a name for a queue or exchange of this test."""
    return lambda: f"{request.node.originalname}.{next(_names)}"


@pytest.fixture
def queue(channel):
    """A queue of this test's connection."""
    return channel.queue_declare("", exclusive=True).method.queue


def api(method, path, body=None):
    """Asks the management API, at HTTP_URL."""
    url = urllib.parse.urlsplit(os.environ["HTTP_URL"])
    login = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
    request = urllib.request.Request(
        f"http://{url.hostname}:{url.port}{path}",
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return answer.status


def quoted(text):
    return urllib.parse.quote(text, safe="")


def drop(connection):
    """Ends the connection as a broken cable would: without connection.close."""
    connection._impl._transport._sock.shutdown(socket.SHUT_RDWR)


def publish(channel, queue, *bodies, **properties):
    for body in bodies:
        channel.basic_publish("", queue, body, pika.BasicProperties(**properties))


def get(channel, queue, auto_ack=True):
    """One message, or None where the queue is empty."""
    method, properties, body = channel.basic_get(queue, auto_ack=auto_ack)
    return None if method is None else Message(method, properties, body)


def get_all(channel, queue):
    """The bodies of all ready messages, taken out of the queue."""
    bodies = []
    while (message := get(channel, queue)) is not None:
        bodies.append(message.body.decode())
    return bodies


def ready(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def eventually(condition, what, connection=None):
    """Waits until condition() is true, serving connection meanwhile."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"did not happen: {what}"
        if connection is None:
            time.sleep(0.01)
        else:
            connection.process_data_events(time_limit=0.05)


def exists(connection, queue):
    """Whether a queue exists, asked on a channel of its own."""
    channel = connection.channel()
    try:
        channel.queue_declare(queue, passive=True)
    except pika.exceptions.ChannelClosedByBroker as e:
        assert e.reply_code == 404, e
        return False
    channel.close()
    return True


class Consumer:
    """Collects what is delivered to one consumer."""

    def __init__(self, channel, queue, **kwargs):
        self.channel = channel
        self.messages = []
        self.tag = channel.basic_consume(
            queue,
            lambda _ch, method, properties, body: self.messages.append(
                Message(method, properties, body)
            ),
            **kwargs,
        )

    @property
    def bodies(self):
        return [message.body.decode(errors="replace") for message in self.messages]

    def wait(self, count):
        """Waits for count messages in all and returns their bodies."""
        eventually(
            lambda: len(self.messages) >= count,
            f"{count} deliveries",
            self.channel.connection,
        )
        return self.bodies

    def quiet(self):
        """Lets deliveries come that should not, and returns all bodies."""
        self.channel.connection.process_data_events(time_limit=QUIET_S)
        return self.bodies

    def ack(self, index=-1, **kwargs):
        self.channel.basic_ack(self.messages[index].method.delivery_tag, **kwargs)


def closes(kind, code, text, action):
    """Runs action, which must make the broker close the channel or connection
    with this code and text, cut to what a short string holds."""
    if len(text.encode()) > 255:
        text = text.encode()[:252].decode() + "..."
    with pytest.raises(kind) as raised:
        action()
    assert (raised.value.reply_code, raised.value.reply_text) == (code, text)


def closes_channel(code, text, action):
    closes(pika.exceptions.ChannelClosedByBroker, code, text, action)


def closes_connection(code, text, action):
    closes(pika.exceptions.ConnectionClosedByBroker, code, text, action)
