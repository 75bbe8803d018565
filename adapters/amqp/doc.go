// Package amqp serves AMQP 0-9-1: it translates frames into package core and
// back, and knows no rule about exchanges, queues or messages of its own.
//
//	                      one connection
//	socket -> netx.In -> reader: conn.serve
//	                       |  frames in place (conn.go)
//	                       |-- publish   -> batch ----\
//	                       |-- ack, nack -> work.acks -+-> finishWork -> core.Publisher.Publish
//	                       |-- any other method: after finishWork      core.Holder.Settle
//	                       v                                                |
//	                    core.Session                    queues, any goroutine
//	                                                                        |
//	socket <- netx.Out <- consumer.Deliver (tags, unacked ring) <-----------/
//	             ^------- tracker: completions turned into confirms <- channel.Completed
//
// # Goroutines
//
// A connection has one, its reader, and what is not said to be guarded belongs
// to it. netx.Out starts a writer when a socket does not take everything at
// once. A Server has one ticker for the clocks of all its connections. Others
// come in through four doors: Deliver, Flush and Room (a queue's publisher or
// consumer), Completed (the log), cancelled (whoever deletes a queue), and
// conn.post, which has the reader run something.
//
// # Locks
//
// queue (core) -> out-buffer (netx.Out) -> conn.confirms. conn.control and
// Server.mu stand alone. Nothing calls into core under any of ours.
//
// The out-buffer's lock also guards what must agree with the order of what is
// in the buffer: delivery tags, the unacked ring, channel.mute.
//
// # Flushing
//
// Whoever gets true from Out.Unlock, or Deliver, flushes soon. The reader
// does at the end of a read, or, while reads come back full and little is
// pending, after some more of them (work.go), always before it waits.
//
// # Reading order
//
// server.go, conn.go, work.go, publish.go, deliver.go, settle.go,
// confirm.go: a message's way. channel.go, declare.go, consume.go:
// the methods. content.go, properties.go, tx.go, replyto.go, handshake.go,
// clocks.go, reply.go, convert.go, rows.go: one thing each.
package amqp
