// Package core is the broker without sockets, files or a word of any protocol:
// virtual hosts, exchanges, bindings, queues, consumers, users and their rights.
// Adapters translate protocols into it; a Go program can embed it.
//
//	Publisher.Publish(batch of one read)
//	    |  Route: cached per key, else Exchange.resolve over immutable tables
//	    v
//	Queue.push  -- consumer with credit? -->  Outlet.Deliver   (straight through, no copy)
//	    |                                         ^
//	    | no: copied to rest                      | ready entries, when credit comes back
//	    v                                         |
//	level of entries  ----------------------------+
//	    |
//	    v  persistent message in a durable queue
//	ChangeSet -> MessageLog -> Completer.Completed (the confirm)
//
// # Goroutines
//
// Core starts few of its own: Broker.Run drives the timer wheel and watches the
// memory account; giving back the memory of a long queue that was deleted is
// done behind the caller's back, and so is reading messages from the log that
// consumers will want, and, after a start, very many retained ones; a queue from which messages are leaving has a worker, which
// ends when they are gone. Everything else happens on the goroutine of
// the adapter that calls.
//
// # Locks
//
// In this order: the topology of a virtual host, a sweep of its policies, a queue
// (of a stream: a reader, then the stream), a limiter, then the
// leaves: an adapter's outgoing buffer, a confirm tracker, the log's filling
// set, the timer wheel. Leaves never call back. Nobody holds two queues' locks.
// Nothing that may block runs under a queue's lock. Routing takes no lock.
//
// Events may be emitted and taps be shown messages under any lock: what they
// wait in is a leaf, and who reads them is never waited for.
//
// Completions, Waiter.Wake and ConsumeOptions.Cancelled are called without any
// lock held.
//
// # Reading order
//
// message.go, queue.go and outlet.go are the contracts. publisher.go and
// route.go take a message in; classic_push.go hands it on; entries.go and
// rest.go keep it meanwhile; classic_settle.go and classic_expiry.go end it;
// limits.go makes room, retry.go delays and counts what is given back, leaving.go
// takes what died to other queues, with what deadletter.go and parked.go say.
// consumer.go and limiter.go are credit. exchange.go with its exchange_*.go
// routes; stream.go with its neighbours is the other kind of queue; vhost.go,
// binding.go and session_*.go declare; arguments.go says what may be asked for,
// policy.go and its neighbours what operators make of it; rules.go has the
// outcome for a queue. client.go, subscription.go and will.go are clients that
// outlive their connections, holder.go is what they hold meanwhile, direct.go
// the queue of those that do not care; retained.go and retained_trie.go keep the
// last message of each key for those who come later. For operators peek.go looks
// into queues, move.go moves what lies there, whereto.go asks where a message would
// go, and definitions_plan.go what an import would do. events.go, tap.go and
// announce.go are for those who look on: what happens, what passes, and what the
// broker says of it; inbox.go is where that waits. meter.go counts for
// operators, classic_head.go knows how long a queue has waited. broker.go holds it all together,
// definitions.go and log.go say what storage must do.
package core
