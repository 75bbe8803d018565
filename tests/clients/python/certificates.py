"""TLS and logging in by certificate, with pika, paho and stomp.py.

TLS_DIR has ca.pem, and app.pem and app.key of the user CN=app,O=shop; other.pem
is an authority that the broker's certificate is not of. AMQPS_ADDR, MQTTS_ADDR
and STOMPS_ADDR are host:port. The name keeps pytest from running it with the
others, for which there is no TLS.
"""
import os
import ssl
import threading

import paho.mqtt.client as mqtt
import pika
import pytest
import stomp

PATIENCE_S = 60


def path(name):
    return os.path.join(os.environ["TLS_DIR"], name)


def address(name):
    host, _, port = os.environ[name].rpartition(":")
    return host, int(port)


def context(authority="ca.pem", certificate=True):
    c = ssl.create_default_context(cafile=path(authority))
    if certificate:
        c.load_cert_chain(path("app.pem"), path("app.key"))
    return c


def amqp(credentials, c):
    host, port = address("AMQPS_ADDR")
    options = pika.SSLOptions(c, "localhost")
    return pika.BlockingConnection(pika.ConnectionParameters(host, port, "/", credentials, ssl_options=options))


def test_pika_external():
    connection = amqp(pika.credentials.ExternalCredentials(), context())
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"x", pika.BasicProperties(user_id="CN=app,O=shop"), mandatory=True)
    assert channel.basic_get(queue, auto_ack=True)[2] == b"x"
    connection.close()


def test_pika_password_without_certificate():
    amqp(pika.PlainCredentials("guest", "guest"), context(certificate=False)).close()


def test_pika_external_needs_a_certificate():
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        amqp(pika.credentials.ExternalCredentials(), context(certificate=False))


def test_pika_does_not_trust_another_authority():
    with pytest.raises((pika.exceptions.AMQPConnectionError, ssl.SSLCertVerificationError)):
        amqp(pika.PlainCredentials("guest", "guest"), context("other.pem"))


@pytest.mark.parametrize("version", [mqtt.MQTTv311, mqtt.MQTTv5])
@pytest.mark.parametrize("certificate", [True, False])
def test_paho(version, certificate):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=version)
    client.tls_set_context(context(certificate=certificate))
    answered, codes = threading.Event(), []

    def on_connect(_client, _userdata, _flags, reason, _properties):
        codes.append(reason.is_failure)
        answered.set()

    client.on_connect = on_connect
    host, port = address("MQTTS_ADDR")
    client.connect("localhost" if host == "127.0.0.1" else host, port)
    client.loop_start()
    assert answered.wait(PATIENCE_S)
    client.disconnect()
    client.loop_stop()
    # Without a certificate there is nobody it could be.
    assert codes == [not certificate]


class Listener(stomp.ConnectionListener):
    def __init__(self):
        self.answered, self.command = threading.Event(), None

    def on_connected(self, frame):
        self.command = "CONNECTED"
        self.answered.set()

    def on_error(self, frame):
        self.command = self.command or "ERROR"
        self.answered.set()


@pytest.mark.parametrize("certificate", [True, False])
def test_stomp(certificate):
    where = address("STOMPS_ADDR")
    connection = stomp.Connection12([where], vhost="/", reconnect_attempts_max=1)
    files = {"cert_file": path("app.pem"), "key_file": path("app.key")} if certificate else {}
    connection.set_ssl([where], ca_certs=path("ca.pem"), **files)
    listener = Listener()
    connection.set_listener("test", listener)
    connection.connect(wait=False)
    assert listener.answered.wait(PATIENCE_S)
    assert listener.command == ("CONNECTED" if certificate else "ERROR")
    if certificate:
        connection.disconnect()
