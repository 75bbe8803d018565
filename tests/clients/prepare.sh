#!/usr/bin/env bash
# Installs what the client tests run: the pinned Python libraries into .venv, the
# pinned Node packages into node_modules beside their package.json, and Debian's
# mosquitto-clients, rabbitmq-server, JDK, Maven and chromium if they are missing,
# and builds the Java programs. Does nothing when all are newer than the files
# that pin them. With an argument, python, node, mosquitto, java, rabbitmq or
# browser, it installs only those.
set -euo pipefail
cd "$(dirname "$0")/../.."

die() {
	echo "prepare: $*" >&2
	exit 1
}

# debian installs a package, if this is Debian and we may.
debian() {
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		apt-get update -q >/dev/null || die "apt-get update failed"
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$1" >/dev/null || die "cannot install $1"
	else
		die "not on this machine, and not ours to install: $1"
	fi
}

prepare_python() {
	venv_stamp=.venv/.installed
	if [ ! -e "$venv_stamp" ] ||
		[ examples/python/requirements.txt -nt "$venv_stamp" ] ||
		[ examples/web/requirements.txt -nt "$venv_stamp" ] ||
		[ tests/clients/python/requirements.txt -nt "$venv_stamp" ]; then
		rm -rf .venv
		if ! python3 -m venv .venv >/dev/null 2>&1; then
			# Debian ships python3 without ensurepip.
			rm -rf .venv
			debian python3-venv
			python3 -m venv .venv
		fi
		.venv/bin/python -m pip install --quiet --disable-pip-version-check \
			-r tests/clients/python/requirements.txt
		touch "$venv_stamp"
	fi
}

prepare_node() {
	for dir in examples/node examples/web tests/clients/mqtt/node tests/clients/browser tests/clients/console adapters/mgmt/console; do
		node_stamp=$dir/node_modules/.package-lock.json
		if [ ! -e "$node_stamp" ] || [ "$dir/package-lock.json" -nt "$node_stamp" ]; then
			(cd "$dir" && npm ci --no-audit --no-fund --loglevel=error)
			touch "$node_stamp"
		fi
	done
}

prepare_mosquitto() {
	command -v mosquitto_pub >/dev/null 2>&1 || debian mosquitto-clients
}

prepare_java() {
	command -v javac >/dev/null 2>&1 || debian default-jdk-headless
	command -v mvn >/dev/null 2>&1 || debian maven
	java_stamp=tests/clients/java/target/.built
	if [ ! -e "$java_stamp" ] || [ -n "$(find tests/clients/java/pom.xml tests/clients/java/src -newer "$java_stamp")" ]; then
		(cd tests/clients/java && mvn -q -B clean package)
		touch "$java_stamp"
	fi
}

# prepare_rabbitmq installs RabbitMQ itself, which is migrated from, and its
# rabbitmqadmin. Debian would start it at once, but for the policy.
prepare_rabbitmq() {
	[ ! -x /usr/sbin/rabbitmq-server ] || [ ! -x /usr/bin/rabbitmqadmin ] || return 0
	policy=/usr/sbin/policy-rc.d
	if [ "$(id -u)" = 0 ] && [ ! -e "$policy" ]; then
		trap 'rm -f "$policy"' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod +x "$policy"
	fi
	debian rabbitmq-server
}

prepare_browser() {
	command -v chromium >/dev/null 2>&1 || debian chromium
}

case "${1:-all}" in
python) prepare_python ;;
node) prepare_node ;;
mosquitto) prepare_mosquitto ;;
java) prepare_java ;;
rabbitmq) prepare_rabbitmq ;;
browser) prepare_browser ;;
all)
	prepare_python
	prepare_node
	prepare_mosquitto
	prepare_java
	prepare_rabbitmq
	prepare_browser
	;;
*) die "usage: $0 [python|node|mosquitto|java|rabbitmq|browser]" ;;
esac
