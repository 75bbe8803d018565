#!/bin/sh
# layout.sh DIR: lays out in DIR what the image has besides the binary. It runs
# where the image is built, and in packaging/try.sh.
set -eu
here=$(dirname "$0")
root=$1
mkdir -p "$root/usr/bin" "$root/etc/rabbitmq/conf.d" "$root/etc/ssl/certs" "$root/var/lib/rabbitmq" "$root/tmp"
chmod 1777 "$root/tmp"
# Others may read what a volume of RabbitMQ's holds as little as there.
chmod 750 "$root/var/lib/rabbitmq"
cp "$here/10-defaults.conf" "$root/etc/rabbitmq/conf.d/"
for name in rabbitmqctl rabbitmq-diagnostics rabbitmq-plugins; do
	ln -sf leveret "$root/usr/bin/$name"
done
printf 'leveret:x:999:999::/var/lib/rabbitmq:/\n' >"$root/etc/passwd"
printf 'leveret:x:999:\n' >"$root/etc/group"
# For definitions and keys behind https:// URLs.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
