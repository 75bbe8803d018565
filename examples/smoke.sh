#!/usr/bin/env bash
# Starts a broker and sends a message through it with pika: leveret in a minute.
#
#   examples/smoke.sh            build leveret and start it on free ports
#   AMQP_PORT=5672 examples/smoke.sh    use a broker that is already there
set -euo pipefail
cd "$(dirname "$0")/.."

tests/clients/prepare.sh python
export AMQP_HOST=${AMQP_HOST:-127.0.0.1} PYTHONUNBUFFERED=1

if [ -z "${AMQP_PORT:-}" ]; then
	make --no-print-directory build
	read -r AMQP_PORT HTTP_PORT < <(.venv/bin/python -c '
import socket
ends = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(end.getsockname()[1] for end in ends))')
	export AMQP_PORT
	bin/leveret --data-dir :memory: --amqp-addr "127.0.0.1:$AMQP_PORT" --http-addr "127.0.0.1:$HTTP_PORT" \
		--stomp-addr none --web-stomp-addr none --mqtt-addr none --web-mqtt-addr none --prometheus-addr none &
	broker=$!
	trap 'kill "$broker" 2>/dev/null; wait "$broker" 2>/dev/null || true' EXIT
	.venv/bin/python - <<'PY'
import os, socket, time
deadline = time.monotonic() + 10
while True:
    try:
        socket.create_connection((os.environ["AMQP_HOST"], int(os.environ["AMQP_PORT"]))).close()
        break
    except OSError:
        if time.monotonic() > deadline:
            raise SystemExit("the broker does not listen")
        time.sleep(0.02)
PY
fi

echo "--- a message goes in"
.venv/bin/python examples/python/hello_send.py "Hello from pika"
echo "--- and comes out"
.venv/bin/python - <<'PY'
import signal
import subprocess
import sys

receiver = subprocess.Popen(
    [sys.executable, "examples/python/hello_receive.py"], stdout=subprocess.PIPE, text=True
)
for line in receiver.stdout:
    print(line, end="")
    if line.startswith("received"):
        break
receiver.send_signal(signal.SIGINT)
receiver.wait()
PY
