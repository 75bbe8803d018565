#!/usr/bin/env bash
# try.sh BINARY: starts BINARY as the image does, in a root directory that has
# nothing but what packaging/docker/layout.sh puts there, as user 999, and asks
# it what the image's health check asks. Needs root, for chroot.
set -euo pipefail
binary=$1
here=$(dirname "$0")
if [ "$(id -u)" != 0 ]; then
	echo "try: not root, so not tried in a root directory of its own" >&2
	exit 0
fi
chroot=$(command -v chroot)
root=$(mktemp -d)
broker=
finish() {
	[ -z "$broker" ] || kill "$broker" 2>/dev/null || true
	[ -z "$broker" ] || wait "$broker" 2>/dev/null || true
	rm -rf "$root"
}
trap finish EXIT
"$here/docker/layout.sh" "$root"
cp "$binary" "$root/usr/bin/leveret"
chmod 755 "$root" "$root/usr/bin/leveret"
chown -R 999:999 "$root/var/lib/rabbitmq"

# The image's variables, from its Dockerfile; ports that are free; and a user as
# people give one.
mapfile -t variables < <(sed -n '/^ENV/,/[^\\]$/p' "$here/../Dockerfile" | sed 's/^ENV//; s/\\$//' | tr -s ' \t' '\n' | grep =)
inside=(env -i "${variables[@]}" RABBITMQ_DEFAULT_USER=app RABBITMQ_DEFAULT_PASS=secret "$chroot" --userspec=999:999 "$root")
"${inside[@]}" /usr/bin/leveret --amqp-addr 127.0.0.1:0 --http-addr 127.0.0.1:0 --mqtt-addr none --stomp-addr none --web-mqtt-addr none --web-stomp-addr none --prometheus-addr none \
	>"$root/out" 2>&1 &
broker=$!
for _ in $(seq 300); do
	! grep -q msg=started "$root/out" || break
	kill -0 "$broker" 2>/dev/null || { cat "$root/out"; exit 1; }
	sleep 0.1
done
"${inside[@]}" /usr/bin/leveret ctl -q ping >/dev/null || { cat "$root/out"; exit 1; }
"${inside[@]}" /usr/bin/rabbitmq-diagnostics -q check_running >/dev/null
[ "$("${inside[@]}" /usr/bin/rabbitmqctl -q authenticate_user app secret 2>&1 | tail -1)" = Success ] || { echo "try: the user of RABBITMQ_DEFAULT_USER cannot log in" >&2; exit 1; }
[ -e "$root/var/lib/rabbitmq/leveret/defs.db" ] || { echo "try: the data is not below /var/lib/rabbitmq" >&2; exit 1; }
kill "$broker"
wait "$broker" || { echo "try: exit code $?" >&2; cat "$root/out"; exit 1; }
broker=
echo "started in an empty root directory as user 999, answered, stopped"
