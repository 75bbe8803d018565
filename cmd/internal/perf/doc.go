// Package perf is `leveret perf`: load generators that work against any broker
// of their protocol, cheap enough that the broker is the bottleneck, and that
// verify what they measure.
//
//	           control: declares, binds, deletes
//	              |
//	producer i --TCP--> broker --TCP--> consumer j
//	   |  ^                                |
//	   |  +-- confirms                     +-- verifier, ledger of the queue, histogram
//	   +-- pacer, template
//
// A producer holds a buffer full of copies of one encoded publish. For each
// message it exchanges the number and time at the start of the body (verify.go
// draws them) and, with several keys, the address; then it writes the buffer
// with one system call. A consumer reads into a large buffer, takes deliveries
// where they lie and writes its acks once for each read. Neither allocates for
// a message. With 128 bytes, either side costs about 0.07 µs a message, nearly
// all of it in the kernel.
//
// Every connection has one channel, numbered 1. One message goes to one route:
// a queue, or the --fanout queues that get a copy of it (topology.go). Numbers
// count per producer and route, so each queue must see each of them once.
//
// What the figures mean. At full speed a latency counts from just before the
// write that carried the message; with --rate, from when the message was due,
// whatever held it up. Rates are taken over --duration, and what arrives later
// is only verified; with --count they run up to the last delivery. A producer
// without confirms can run ahead of its consumers for all of --duration: then
// the queue's growth is in the figures too, and --count or --confirm says more
// about what flows through. CPU time is user and system time of the process,
// from /proc, in 10 ms steps: runs of some seconds are needed for two digits.
//
// Goroutines: one per consumer, which only reads, verifies and acks, and waits
// nowhere but in a read and, if it shares its queue, for the ledger; one per producer, or two when something else than
// confirms makes it send (no confirms, a large window, --rate). A consumer's
// writes never block it: what the socket does not take is left to a goroutine
// (spill.go). The runner starts them, watches their counters every 2 ms, and
// ends them by closing channels, or at worst connections. No lock is taken
// while another is held, but for a ledger's, under which spills may be locked.
//
// Reading order: options.go, topology.go, run.go for a run as a whole;
// template.go, producer.go, pace.go and consumer.go, verify.go for a message's
// way; conn.go, frames.go, encode.go for the protocol; report.go for the end.
package perf
