// Package stomp serves STOMP 1.0, 1.1 and 1.2, over TCP and over WebSocket: it
// translates frames into package core and back, with the destinations and
// headers of RabbitMQ's plugin, and knows no rule about exchanges, queues or
// messages of its own.
//
//	                       one connection
//	socket -> netx.In -> reader: conn.serve
//	                       |  frames in place (conn.go, wire.Scanner)
//	                       |-- SEND      -> batch ----\
//	                       |-- ACK, NACK -> work.acks -+-> finishWork -> core.Publisher.Publish
//	                       |-- any other: after finishWork              core.Holder.Settle
//	                       v                                                |
//	                    core.Session                    queues, any goroutine
//	                                                                        |
//	socket <- netx.Out <- subscription.Deliver (numbers, unacked ring) <----/
//	             ^------- receipts: completions turned into RECEIPTs <- conn.Completed
//
// Over WebSocket the socket is a websocket.Conn; nothing else differs.
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
// in the buffer: the numbers of deliveries and what is unacked.
//
// # Memory
//
// A frame that lies whole in the read buffer is handled there. The body of a
// larger one is gathered as it arrives, and charged to the broker's account;
// so are transactions. Everything else a client can make grow has a limit.
//
// # Reading order
//
// server.go, conn.go, work.go, send.go, deliver.go, ack.go,
// receipt.go: a message's way. destination.go, subscribe.go, transaction.go,
// replyto.go, connect.go: the other frames. properties.go, errors.go,
// clocks.go, rows.go: one thing each.
package stomp
