// Package mqtt serves MQTT 3.1, 3.1.1 and 5: it translates packets into package
// core and back, and knows no rule about exchanges, queues or messages of its
// own. Topics are routing keys of one topic exchange with '/' for '.'; a session
// is a queue that its filters are bound to.
//
//	                      one connection
//	socket -> netx.In -> reader: conn.serve
//	                       |  packets in place (conn.go)
//	                       |-- PUBLISH          -> batch -----\
//	                       |-- PUBACK, PUBREC ... -> work.acks -+-> finishWork -> core.Publisher.Publish
//	                       |-- any other: after finishWork               core.Consumer.Settle
//	                       v                                                |
//	                    core.Session, core.Client       queues, any goroutine
//	                                                                        |
//	socket <- netx.Out <- outlet.Deliver (packet ids, ring) <---------------/
//	             ^------- inbound: completions turned into PUBACK, PUBREC <- conn.Completed
//
// # Two spaces of packet identifiers
//
// Those the client chose for what it publishes are in inbound.go, those we chose
// for what we deliver in outbound.go. They have nothing to do with each other.
//
// # Goroutines
//
// A connection has one, its reader, and what is not said to be guarded belongs
// to it. netx.Out starts a writer when a socket does not take everything at
// once. A Server has one timer wheel for the clocks of all its connections.
// Others come in through four doors: Deliver, Flush and Room (a queue's
// publisher or consumer), Completed (the log), and conn.force, which has the
// reader end the connection.
//
// # Locks
//
// queue (core) -> out-buffer (netx.Out) -> conn.inbound.mu. conn.ended.mu and
// Server.mu stand alone. Nothing calls into core under any of ours.
//
// The out-buffer's lock also guards what must agree with the order of what is
// in the buffer: the ring of packet ids, the session's filters, topic aliases.
//
// # Flushing
//
// Whoever gets true from Out.Unlock, or Deliver, flushes soon. The reader
// does at the end of a read, or, while reads come back full and little is
// pending, after some more of them (work.go), always before it waits.
//
// # Reading order
//
// server.go, conn.go, work.go, publish.go, inbound.go, deliver.go, outbound.go:
// a message's way. connect.go, subscribe.go, filters.go, properties.go, will.go,
// retained.go, clocks.go, codes.go, rows.go: one thing each.
package mqtt
