"""The MQTT side of the greenhouse: a device with a thermometer and a vent.

    python device.py [HOUSE]        north, unless another is named

MQTT_ADDR is the broker (localhost:1883), MQTT_USER and MQTT_PASSWORD the login,
INTERVAL_S the time between readings.
"""
import os
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

HOUSE = sys.argv[1] if len(sys.argv) > 1 else "north"
HOST, PORT = os.environ.get("MQTT_ADDR", "localhost:1883").rsplit(":", 1)
INTERVAL_S = float(os.environ.get("INTERVAL_S", 1))

vent = "closed"


def properties():
    """What AMQP and STOMP see as a header."""
    p = Properties(PacketTypes.PUBLISH)
    p.UserProperty = ("from", f"device {HOUSE}")
    return p


def publish(client, what, body, retain=False):
    client.publish(f"greenhouse/{HOUSE}/{what}", body, qos=1, retain=retain, properties=properties())


def on_connect(client, userdata, flags, code, _):
    if code.is_failure:
        print(f"device: refused: {code}", flush=True)
        return
    print("device: connected", flush=True)
    client.subscribe(f"greenhouse/{HOUSE}/vent", qos=1)
    publish(client, "state", vent, retain=True)


def on_message(client, userdata, message):
    global vent
    wanted = message.payload.decode()
    if wanted in ("open", "closed"):
        vent = wanted
        print(f"device: vent {vent}", flush=True)
        publish(client, "state", vent, retain=True)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"greenhouse-{HOUSE}", protocol=mqtt.MQTTv5)
client.username_pw_set(os.environ.get("MQTT_USER", "guest"), os.environ.get("MQTT_PASSWORD", "guest"))
client.on_connect, client.on_message = on_connect, on_message
client.on_disconnect = lambda *_: print("device: disconnected", flush=True)
# The broker tells everybody if the device is gone without a word.
client.will_set(f"greenhouse/{HOUSE}/state", "away", qos=1, retain=True)
client.reconnect_delay_set(1, 2)
client.connect_async(HOST, int(PORT), keepalive=10)
client.loop_start()

temperature = 22.0
try:
    while True:
        temperature = min(temperature + 0.4, 34) if vent == "closed" else max(temperature - 0.4, 16)
        if client.is_connected():
            publish(client, "temperature", f"{temperature:.1f}")
        time.sleep(INTERVAL_S)
except KeyboardInterrupt:
    client.disconnect()
    client.loop_stop()
