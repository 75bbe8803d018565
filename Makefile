# Leveret's chores. "make list" explains the targets.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-print-directory

FUZZTIME    ?= 10s
BENCHTIME   ?= 1s
HOSTILETIME ?= 10s
CRASHTIME   ?= 10m

.PHONY: list
list: ## Explain the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | sort | awk -F '\t' '{ printf "make %-16s %s\n", $$1, $$2 }'

.PHONY: build
build: ## Build bin/leveret, one static binary
	CGO_ENABLED=0 go build -trimpath -o bin/leveret ./cmd/leveret

.PHONY: console
console: ## Build the web console anew from its source, after a change to it
	cd adapters/mgmt/console && npm ci --no-audit --no-fund --loglevel=error && npm run --silent check && npm run --silent build

.PHONY: release
release: ## Build dist/ for linux and darwin, amd64 and arm64, with checksums, and try the image's layout
	@packaging/release.sh
	@native=$$(ls dist/leveret-*-$$(go env GOOS)-$$(go env GOARCH)); packaging/try.sh $$native

.PHONY: test
test: tools check test-race test-allocs test-invariants ## Everything a change must pass: checks, all tests, client programs

.PHONY: tools
tools: ## Say what is missing on this machine for the tests
	@missing=0; need() { command -v "$$1" >/dev/null 2>&1 || { echo "make test needs $$1: $$2" >&2; missing=1; }; }; \
	need go "the toolchain go.mod names"; \
	need gcc "the race detector links with it"; \
	need python3 "pika, aio-pika, Celery, stomp.py and paho are tested"; \
	need node "amqplib and stompjs are tested"; \
	need npm "it installs them"; \
	exit $$missing

.PHONY: prepare
prepare: tools ## Install the pinned Python and Node clients into .venv and node_modules
	@tests/clients/prepare.sh

.PHONY: check
check: ## Formatting, vet and staticcheck, under every build tag
	@unformatted=$$(git ls-files -z -- '*.go' | xargs -0r gofmt -l); \
	if [ -n "$$unformatted" ]; then echo "not gofmt-clean:" >&2; echo "$$unformatted" >&2; exit 1; fi
	go vet ./...
	go vet -tags clients,invariants ./...
	go tool staticcheck ./...
	go tool staticcheck -tags clients,invariants ./...

.PHONY: test-race
test-race: prepare ## All tests and the client programs, with the race detector
	go test -race -timeout 15m -tags clients ./...

# The race detector changes what allocates, so the tests that count allocations
# are built without it. They are the ones in files that say so.
.PHONY: test-allocs
test-allocs: ## The tests that count allocations, without the race detector
	@files=$$(git grep -lE '^//go:build .*!race' -- '*_test.go' ':!tests/' || true); \
	[ -n "$$files" ] || { echo "test-allocs: no test file has the build tag !race" >&2; exit 1; }; \
	names=$$(sed -n 's/^func \(Test[A-Za-z0-9_]*\)(.*/\1/p' $$files | paste -sd'|'); \
	dirs=$$(for f in $$files; do echo "./$${f%/*}"; done | sort -u); \
	echo go test -run "'^($$names)$$'" $$dirs; \
	go test -run "^($$names)$$" $$dirs

.PHONY: test-invariants
test-invariants: ## The core's tests with its self-checks on
	go test -tags invariants ./core/...

.PHONY: test-clients
test-clients: prepare ## Only the client programs, without the race detector
	go test -count 1 -timeout 10m -tags clients ./tests/clients/...

.PHONY: crash
crash: ## Kill brokers for CRASHTIME (10m) and cut the power at every point
	LEVERET_CRASH=$(CRASHTIME) go test -count 1 -v -timeout 0 ./tests/crash/
	go test -count 1 -timeout 0 ./persist/ -long
	go test -count 10 -timeout 0 -run 'Kill|PowerCut' ./persist/meta/

.PHONY: bench
bench: ## Run every benchmark for BENCHTIME (1s)
	go test -run '^$$' -bench . -benchtime $(BENCHTIME) -benchmem ./...

.PHONY: hostile
hostile: ## Attack real brokers, each attack for HOSTILETIME (10s), then with the race detector in them
	LEVERET_HOSTILE=$(HOSTILETIME) go test -count 1 -timeout 30m ./tests/hostile/
	LEVERET_HOSTILE_RACE=1 go test -count 1 -timeout 30m ./tests/hostile/

.PHONY: fuzz
fuzz: ## Fuzz every decoder for FUZZTIME (10s) each
	@git grep -nE '^func Fuzz[A-Za-z0-9_]+\(' -- '*_test.go' | \
	sed -nE 's/^([^:]*)\/[^/:]*:[0-9]+:func (Fuzz[A-Za-z0-9_]+)\(.*/\1 \2/p' | \
	while read -r dir name; do \
		echo "== $$dir $$name"; \
		go test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) "./$$dir"; \
	done

.PHONY: clean
clean: ## Remove what make built and installed
	rm -rf bin build .venv tests/clients/java/target
	find examples tests adapters -name node_modules -type d -prune -exec rm -rf {} +
	find examples tests -name __pycache__ -type d -prune -exec rm -rf {} +
