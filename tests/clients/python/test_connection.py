"""Connections: heartbeats, logins, limits, and endings from either side."""
import socket
import struct
import time

import pika
import pytest
from conftest import PATIENCE_S, URL, Consumer, eventually, parameters, publish


def test_silent_client_is_dropped_and_a_quiet_one_is_not(connect):
    silent = connect(heartbeat=2)
    quiet = connect(heartbeat=2)
    forgiving = connect(heartbeat=0)
    channel = quiet.channel()
    # pika sends its heartbeats while it processes events, so the silent one
    # sends none. Two to three intervals without a byte end a connection.
    quiet.process_data_events(time_limit=7)
    channel.basic_qos(prefetch_count=1)
    assert quiet.is_open, "a client that sends heartbeats stays"
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        silent.channel()
    forgiving.channel()


def test_broker_sends_heartbeats(connect):
    connection = connect(heartbeat=2)
    checker = connection._impl._heartbeat_checker
    before = checker._heartbeat_frames_received
    connection.process_data_events(time_limit=4.5)
    assert checker._heartbeat_frames_received >= before + 2


def test_blocked_callbacks_can_be_registered(connect):
    connection = connect(blocked_connection_timeout=5)
    blocked = []
    connection.add_on_connection_blocked_callback(lambda *_: blocked.append(True))
    connection.add_on_connection_unblocked_callback(lambda *_: blocked.append(False))
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    publish(channel, queue, "x")
    channel.basic_qos(prefetch_count=1)
    assert blocked == []


def test_what_the_broker_says_it_can_do(connection):
    properties = connection._impl.server_properties
    for capability in (
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ):
        assert properties["capabilities"].get(capability) is True, capability
    for text in ("product", "version", "platform"):
        assert properties[text]


def test_negotiated_limits(connect):
    assert connect()._impl.params.channel_max <= 65535
    tuned = connect(channel_max=10, frame_max=4096, heartbeat=17)
    assert (tuned._impl.params.channel_max, tuned._impl.params.frame_max) == (10, 4096)
    assert tuned._impl.params.heartbeat == 17
    channels = [tuned.channel() for _ in range(10)]
    with pytest.raises(pika.exceptions.NoFreeChannels):
        tuned.channel()
    channels[3].close()
    tuned.channel()


def test_wrong_password_is_403(connect):
    with pytest.raises(pika.exceptions.ProbableAuthenticationError) as e:
        connect(credentials=pika.PlainCredentials("guest", "wrong"))
    assert "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN" in str(e.value)


def test_unknown_user_is_403(connect):
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        connect(credentials=pika.PlainCredentials("nobody-of-that-name", "guest"))


def test_unknown_vhost_is_530(connect):
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError) as e:
        connect(virtual_host="no-such-vhost")
    assert "NOT_ALLOWED - vhost no-such-vhost not found" in str(e.value)


def raw():
    p = pika.URLParameters(URL)
    s = socket.create_connection((p.host, p.port))
    s.settimeout(PATIENCE_S)
    return s


def read_to_end(s):
    got = b""
    try:
        while chunk := s.recv(4096):
            got += chunk
    except ConnectionResetError:
        pass
    return got


@pytest.mark.parametrize(
    "hello", [b"AMQP\x00\x01\x00\x00", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"x" * 8]
)
def test_wrong_protocol_header_is_answered_with_the_right_one(hello):
    s = raw()
    s.sendall(hello)
    assert read_to_end(s)[:4] == b"AMQP"


@pytest.mark.parametrize("header", [b"AMQP\x00\x00\x09\x01", b"AMQP\x01\x01\x00\x09"])
def test_both_spellings_of_the_protocol_header(header):
    s = raw()
    for byte in header:  # Split as badly as a network may.
        s.sendall(bytes([byte]))
    start = s.recv(7)
    assert start[:1] == b"\x01" and struct.unpack(">H", start[1:3]) == (0,)
    s.close()


def test_hundreds_of_channels(connection):
    channels = [connection.channel() for _ in range(300)]
    queue = channels[0].queue_declare("", exclusive=True).method.queue
    for n, channel in enumerate(channels):
        publish(channel, queue, str(n))
    consumer = Consumer(channels[-1], queue, auto_ack=True)
    assert sorted(consumer.wait(300), key=int) == [str(n) for n in range(300)]
    for channel in channels:
        channel.close()


def test_sparse_channel_numbers(connection):
    for number in (2047, 3, 1000):
        channel = connection.channel(channel_number=number)
        queue = channel.queue_declare("", exclusive=True).method.queue
        publish(channel, queue, "x")
        Consumer(channel, queue, auto_ack=True).wait(1)


def test_channels_interleave(connect):
    connection = connect(frame_max=4096)
    channels = [connection.channel() for _ in range(4)]
    queues = [ch.queue_declare("", exclusive=True).method.queue for ch in channels]
    consumers = [Consumer(ch, q, auto_ack=True) for ch, q in zip(channels, queues)]
    for n in range(20):
        for i, channel in enumerate(channels):
            publish(channel, queues[i], bytes([i]) * (n * 1500 + i))
    for i, consumer in enumerate(consumers):
        consumer.wait(20)
        assert [m.body for m in consumer.messages] == [bytes([i]) * (n * 1500 + i) for n in range(20)]


def test_closing_a_connection_leaves_others_alone(connect):
    ones = [connect() for _ in range(20)]
    for connection in ones[::2]:
        connection.close()
    for connection in ones[1::2]:
        connection.channel().basic_qos(prefetch_count=1)


def test_secret_can_be_updated(connection):
    replies = []
    connection._impl._rpc(
        0,
        pika.spec.Connection.UpdateSecret(new_secret="guest", reason="rotation"),
        lambda frame: replies.append(frame.method),
        [pika.spec.Connection.UpdateSecretOk],
    )
    eventually(lambda: replies, "update-secret-ok", connection)
    connection.channel()


def test_unknown_method_is_answered_before_the_end(connection):
    # Class 60 has no method 99. RabbitMQ drops the socket here; a close frame
    # that says why is better, and a client sees the end in both cases.
    connection.channel()
    connection._impl._output_marshaled_frames(
        [struct.pack(">BHIHH", 1, 1, 4, 60, 99) + b"\xce"]
    )
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        connection.process_data_events(time_limit=PATIENCE_S)


def test_frame_without_its_end_marker_is_501(connection):
    connection.channel()
    connection._impl._output_marshaled_frames([struct.pack(">BHI", 8, 0, 0) + b"\x00"])
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as e:
        connection.process_data_events(time_limit=PATIENCE_S)
    assert e.value.reply_code == 501


def test_content_without_a_publish_is_505(connection):
    connection.channel()
    connection._impl._output_marshaled_frames([struct.pack(">BHI", 3, 1, 1) + b"x\xce"])
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as e:
        connection.process_data_events(time_limit=PATIENCE_S)
    assert (e.value.reply_code, e.value.reply_text) == (
        505,
        "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
    )


def test_method_on_a_closed_channel_is_504(connection):
    connection.channel(channel_number=1)
    connection._impl._send_method(9, pika.spec.Basic.Qos(prefetch_count=1))
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as e:
        connection.process_data_events(time_limit=PATIENCE_S)
    assert (e.value.reply_code, e.value.reply_text) == (504, "CHANNEL_ERROR - expected 'channel.open'")


def test_opening_and_closing_fast(connect):
    start = time.monotonic()
    for _ in range(50):
        connection = connect()
        connection.channel()
        connection.close()
    assert time.monotonic() - start < PATIENCE_S
