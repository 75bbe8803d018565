"""The AMQP side of the greenhouse: a pika program that takes every reading, tells
vents to open above a limit and to close below it, obeys orders from the page,
and hands out the page.

    python station.py [PORT]        the page is at http://localhost:PORT/ (8080)

AMQP_URL is the broker.
"""
import http.server
import json
import os
import pathlib
import sys
import threading
import time

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F")
PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 8080

limit = 25.0
houses = {}  # What is known of each: temperature and vent, as texts.


def say(channel, exchange, key, body, **properties):
    channel.basic_publish(exchange, key, body, pika.BasicProperties(headers={"from": "station"}, **properties))


def on_news(channel, method, properties, body):
    """From devices, over MQTT: greenhouse/north/temperature is this routing key."""
    _, house, what = method.routing_key.split(".")
    try:
        text = body.decode()
        degrees = float(text) if what == "temperature" else None
    except ValueError:
        print(f"not a reading: {body!r}", flush=True)
        channel.basic_ack(method.delivery_tag)
        return
    known = houses.setdefault(house, {})
    known[what] = text
    if degrees is not None:
        wanted = "open" if degrees > limit else "closed" if degrees < limit - 2 else None
        # Only when a limit is crossed: until then what was ordered by hand stays.
        if wanted and wanted != known.get("wanted"):
            known["wanted"] = wanted
            say(channel, "amq.topic", f"greenhouse.{house}.vent", wanted, delivery_mode=2)
    channel.basic_ack(method.delivery_tag)


def on_order(channel, method, properties, body):
    """From the page, over STOMP: it wants the answer where its reply-to says."""
    global limit
    try:
        order = json.loads(body)
        if "limit" in order:
            limit = float(order["limit"])
            print(f"the limit is {limit:g}", flush=True)
            for known in houses.values():
                known.pop("wanted", None)  # The next reading decides anew.
    except (ValueError, TypeError):
        print(f"not an order: {body!r}", flush=True)
    if properties.reply_to:
        answer = json.dumps({"limit": limit, "houses": houses})
        say(channel, "", properties.reply_to, answer, correlation_id=properties.correlation_id, content_type="application/json")
    channel.basic_ack(method.delivery_tag)


def work():
    with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=50)
        channel.queue_declare("greenhouse.news", durable=True)
        channel.queue_bind("greenhouse.news", "amq.topic", "greenhouse.*.temperature")
        channel.queue_bind("greenhouse.news", "amq.topic", "greenhouse.*.state")
        channel.queue_declare("greenhouse.orders", durable=True)
        channel.basic_consume("greenhouse.news", on_news)
        channel.basic_consume("greenhouse.orders", on_order)
        print("station: connected", flush=True)
        channel.start_consuming()


class Page(http.server.BaseHTTPRequestHandler):
    """The page's three files, and nothing else of this folder."""

    here = pathlib.Path(__file__).parent
    files = {
        "/": (here / "index.html", "text/html"),
        "/app.js": (here / "app.js", "text/javascript"),
        "/stomp.js": (here / "node_modules/@stomp/stompjs/bundles/stomp.umd.min.js", "text/javascript"),
    }

    def do_GET(self):
        path, kind = self.files.get(self.path.partition("?")[0], (None, None))
        if path is None or not path.exists():
            self.send_error(404, explain="Run npm ci in this folder." if path else None)
            return
        body = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", kind + "; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"station: the page is at http://localhost:{server.server_port}/", flush=True)
    while True:
        try:
            work()
        except (pika.exceptions.AMQPError, OSError) as e:
            print(f"station: no broker ({type(e).__name__}), trying again", flush=True)
            time.sleep(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
