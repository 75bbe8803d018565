// Command leveret is the broker, its operator's tool and its load generator in
// one binary.
//
//	leveret                serves until SIGTERM or SIGINT
//	leveret ctl VERB …     looks after a running broker (package ctl)
//	leveret perf amqp …    loads any AMQP broker (package perf)
//
// Called rabbitmqctl, by a link of that name, it is `leveret ctl`.
//
// This package knows everybody and decides nothing: flags become other
// packages' Options, signals end contexts.
//
//	config.Serve -> core.Broker <- amqp.Server <- listeners
//	                     ^-------- mgmt.Server <- listeners
//
// Goroutines: one for each listener and one for the broker's clock, all waited
// for; the signal watcher, which ends with the process.
//
// SIGHUP has reload.go read the configuration again; boot.go gives a new broker
// what that says it begins with.
//
// Read main.go, then serve.go.
package main
