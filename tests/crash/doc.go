// Package crash holds no code, only tests: what is left when a broker is killed,
// stopped, starved of disk space, or given a damaged directory.
//
//	actors --AMQP--> leveret --> data directory
//	   |                ^  kill -9, SIGTERM, full disk, flipped bits
//	   v                |
//	ledger <--verify-- the next leveret on the same directory
//
// The ledger (ledger_test.go) is written by the clients: before they ask for
// something, "maybe"; when the broker has promised it, "yes". What is promised
// must hold after any restart, what was asked for may. Messages carry a number
// that decides about body and properties, so each can be checked wherever it
// turns up.
//
// Read ledger_test.go, load_test.go, kill_test.go; each other file has one kind
// of mishap.
//
// In the environment: LEVERET_CRASH is how long the kill -9 loop goes on (10m);
// without it a short form runs. LEVERET_CRASH_BINARY is a leveret to test
// instead of building one, LEVERET_CRASH_RACE=1 builds it with the race
// detector, LEVERET_CRASH_SEED repeats the choices of a run, though not its
// timing.
package crash
