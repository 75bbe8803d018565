#!/usr/bin/env bash
# Installs what the client tests run: the pinned Python libraries into .venv, the
# pinned Node packages into node_modules beside their package.json, and Debian's
# mosquitto-clients if they are missing. Does nothing when all are newer than the
# files that pin them. With an argument, python, node or mosquitto, it installs
# only those.
set -euo pipefail
cd "$(dirname "$0")/../.."

die() {
	echo "prepare: $*" >&2
	exit 1
}

prepare_python() {
	venv_stamp=.venv/.installed
	if [ ! -e "$venv_stamp" ] ||
		[ examples/python/requirements.txt -nt "$venv_stamp" ] ||
		[ tests/clients/python/requirements.txt -nt "$venv_stamp" ]; then
		rm -rf .venv
		if ! python3 -m venv .venv >/dev/null 2>&1; then
			# Debian ships python3 without ensurepip.
			rm -rf .venv
			if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
				apt-get update -q >/dev/null || die "apt-get update failed"
				apt-get install -y -q python3-venv >/dev/null || die "cannot install python3-venv"
				python3 -m venv .venv
			else
				die "python3 -m venv does not work here: install python3-venv"
			fi
		fi
		.venv/bin/python -m pip install --quiet --disable-pip-version-check \
			-r tests/clients/python/requirements.txt
		touch "$venv_stamp"
	fi
}

prepare_node() {
	for dir in examples/node tests/clients/mqtt/node; do
		node_stamp=$dir/node_modules/.package-lock.json
		if [ ! -e "$node_stamp" ] || [ "$dir/package-lock.json" -nt "$node_stamp" ]; then
			(cd "$dir" && npm ci --no-audit --no-fund --loglevel=error)
			touch "$node_stamp"
		fi
	done
}

prepare_mosquitto() {
	if ! command -v mosquitto_pub >/dev/null 2>&1; then
		if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
			apt-get update -q >/dev/null || die "apt-get update failed"
			apt-get install -y -q mosquitto-clients >/dev/null || die "cannot install mosquitto-clients"
		else
			die "install mosquitto-clients"
		fi
	fi
}

case "${1:-all}" in
python) prepare_python ;;
node) prepare_node ;;
mosquitto) prepare_mosquitto ;;
all)
	prepare_python
	prepare_node
	prepare_mosquitto
	;;
*) die "usage: $0 [python|node|mosquitto]" ;;
esac
