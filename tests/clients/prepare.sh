#!/usr/bin/env bash
# Installs what the client tests run: the pinned Python libraries into .venv and
# the pinned Node package into examples/node/node_modules. Does nothing when both
# are newer than the files that pin them. With an argument, python or node, it
# installs only those.
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
	node_stamp=examples/node/node_modules/.package-lock.json
	if [ ! -e "$node_stamp" ] || [ examples/node/package-lock.json -nt "$node_stamp" ]; then
		(cd examples/node && npm ci --no-audit --no-fund --loglevel=error)
		touch "$node_stamp"
	fi
}

case "${1:-all}" in
python) prepare_python ;;
node) prepare_node ;;
all)
	prepare_python
	prepare_node
	;;
*) die "usage: $0 [python|node]" ;;
esac
