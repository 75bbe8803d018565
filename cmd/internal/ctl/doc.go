// Package ctl is `leveret ctl`, the operator's tool. It takes rabbitmqctl's
// verbs, prints what rabbitmqctl prints and ends with its exit codes, but talks
// HTTP to the management API, so it needs no cookie and no Erlang.
//
//	arguments -> Main -> grammar (kong) -> verb.Run -> client -> HTTP API
//	                                          |
//	                                          +-> printer -> table | csv | json | boxes
//
// Only `store check` and `store dump` talk to nobody: they read the data
// directory of a broker that does not run.
//
// migrate talks to two brokers: to RabbitMQ, by its API and by AMQP, and to ours,
// which fetches the messages itself; see migrate.go.
//
// A verb is a struct in the file of the objects it is about; grammar.go lists
// them all. A verb's errors carry the exit code. The package starts no
// goroutine and keeps nothing.
//
// Read ctl.go, client.go and output.go, then any verb.
package ctl
