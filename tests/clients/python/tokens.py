"""Logging in with tokens, and staying with fresh ones: pika, paho-mqtt and
stomp.py, unchanged. TOKENS has them by name."""
import json
import os
import queue
import sys
import urllib.parse

import paho.mqtt.client as paho
import pika
import stomp

from conftest import PATIENCE_S

TOKENS = json.loads(os.environ["TOKENS"])
AMQP = urllib.parse.urlsplit(os.environ["AMQP_URL"])
MQTT_HOST, MQTT_PORT = os.environ["MQTT_ADDR"].rsplit(":", 1)
STOMP_HOST, STOMP_PORT = os.environ["STOMP_ADDR"].rsplit(":", 1)


def say(line):
    print(line, flush=True)


def connect_pika(token):
    return pika.BlockingConnection(pika.ConnectionParameters(
        AMQP.hostname, AMQP.port, "/", pika.PlainCredentials("", token), blocked_connection_timeout=PATIENCE_S))


def amqp():
    short, long = connect_pika(TOKENS["short"]), connect_pika(TOKENS["short"])
    for c in (short, long):
        ch = c.channel()
        ch.confirm_delivery()
        ch.queue_declare("jobs-" + str(id(c)), exclusive=True)
        ch.basic_publish("", "jobs-" + str(id(c)), b"x")
    long.update_secret(TOKENS["narrow"], "the other one ends soon")
    try:
        while True:
            short.process_data_events(PATIENCE_S)
    except pika.exceptions.ConnectionClosed as e:
        say(f"AMQP ended: {e.reply_code} {e.reply_text}")
    long.process_data_events()
    ch = long.channel()
    try:
        ch.queue_declare("other")
    except pika.exceptions.ChannelClosedByBroker as e:
        say(f"AMQP fresh: {e.reply_code}")
    try:
        connect_pika(TOKENS["expired"])
    except (pika.exceptions.ProbableAuthenticationError, pika.exceptions.AMQPConnectionError):
        say("AMQP expired: refused")
    long.close()


def mqtt():
    events = queue.Queue()

    def client(token):
        c = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, reconnect_on_failure=False)
        c.username_pw_set("", token)
        c.on_connect = lambda c, u, flags, code, p: events.put(f"connected: {code}")
        c.on_disconnect = lambda c, u, flags, code, p: events.put(f"ended: {code}")
        c.on_publish = lambda c, u, mid, code, p: events.put(f"published: {code}")
        c.connect(MQTT_HOST, int(MQTT_PORT), 60)
        c.loop_start()
        say("MQTT " + events.get(timeout=PATIENCE_S))
        return c

    c = client(TOKENS["short"])
    c.publish("a/b", b"x", qos=1)
    say("MQTT " + events.get(timeout=PATIENCE_S))
    say("MQTT " + events.get(timeout=PATIENCE_S))
    c.loop_stop()
    client(TOKENS["expired"]).loop_stop()


class Listener(stomp.ConnectionListener):
    def __init__(self):
        self.frames = queue.Queue()

    def on_message(self, frame):
        self.frames.put(frame)

    on_connected = on_receipt = on_error = on_message

    def next(self):
        frame = self.frames.get(timeout=PATIENCE_S)
        return f"{frame.cmd} {str(frame.body).strip()}".strip()


def connect_stomp(token):
    c = stomp.StompConnection12([(STOMP_HOST, int(STOMP_PORT))], vhost="/", reconnect_attempts_max=1)
    listener = Listener()
    c.set_listener("", listener)
    c.connect("", token)
    say("STOMP " + listener.next().split("\n")[0])
    return c, listener


def stomp_():
    c, short = connect_stomp(TOKENS["short"])
    d, long = connect_stomp(TOKENS["short"])
    c.send("/topic/a", "x", receipt="1")
    say("STOMP " + short.next())
    d.send_frame("REFRESH", {"passcode": TOKENS["long"], "receipt": "2"})
    say("STOMP fresh: " + long.next())
    say("STOMP ended: " + short.next())
    d.send("/topic/a", "x", receipt="3")
    say("STOMP fresh: " + long.next())
    connect_stomp(TOKENS["expired"])
    d.disconnect()


{"amqp": amqp, "mqtt": mqtt, "stomp": stomp_}[sys.argv[1]]()
