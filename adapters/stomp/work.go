package stomp

import (
	"runtime"

	"leveret/adapters/internal/settle"
	"leveret/core"
)

// batchLen is how many messages are handed to core at once.
const batchLen = 512

// batch is messages on their way to core, and the headers they have. It is
// taken from a pool for the time of one read: idle connections hold none.
type batch struct {
	messages [batchLen]core.Publication
	arena    []byte // Canonical headers of the messages.
}

// arenaMax bounds what a batch in the pool keeps of its arena.
const arenaMax = 128 << 10

// acksMax bounds how many acks are gathered.
const acksMax = 4096

// carryMax is how many bytes may wait in an out-buffer while reads come back
// full, carryReads how many reads in a row may pass without a flush: batching
// saves CPU where many connections get a little each, and costs nothing at low
// load, where reads do not come back full.
const (
	carryMax   = 64 << 10
	carryReads = 8
)

// work is what the reader has gathered from the read under way, and whom it
// owes a flush. What the client sent takes effect in order: publishes are
// handed over together, then the acks behind them are settled, both before
// another publish or any other frame (finishWork).
type work struct {
	batch *batch
	n     int // Messages in batch.

	acks   []ackOp
	groups settle.Groups

	// ahead says that the publisher should wait for consumers before more is
	// read.
	ahead bool

	touched  core.Touched
	flushOwn bool // Our own out-buffer waits for a flush by us.
	carried  int  // Reads since everything was flushed.

	sawPublish bool // Since the connection was last asked whether it may read on.
	refusing   bool // The broker takes no publishes; set when a batch begins.
	askedBytes int  // Roughly what was answered since WaitAsked was last called.
}

// finishWork publishes and settles what was gathered.
func (c *conn) finishWork() {
	w := &c.work
	if w.n > 0 {
		c.publishBatch()
	}
	if len(w.acks) > 0 {
		c.settleAcks()
	}
}

// pace gives the log, or the consumers that this client is ahead of, a moment to
// catch up. A client that owes acks does not wait for consumers: they might wait
// for those.
func (c *conn) pace() {
	c.work.ahead = false
	if !c.publisher.AheadOfLog() && c.outstanding() > 0 {
		return
	}
	c.flushAll()
	c.publisher.Pace(c.ctx.Done())
}

// endOfRead releases what the read held and flushes, unless there is little to
// flush and more to read.
func (c *conn) endOfRead(full bool) {
	w := &c.work
	if w.batch != nil {
		if cap(w.batch.arena) > arenaMax {
			w.batch.arena = nil
		}
		c.srv.batches.Put(w.batch)
		w.batch = nil
	}
	if full && w.carried < carryReads {
		w.carried++
		w.touched.FlushFrom(carryMax)
		if w.flushOwn && c.out.Pending() >= carryMax {
			c.flushOut()
		}
		return
	}
	c.flushAll()
}

// flushAll flushes everybody's output. It is called before the reader waits
// for anything.
func (c *conn) flushAll() {
	c.work.carried = 0
	c.flushTouched()
	c.unattended()
	if c.work.flushOwn {
		c.flushOut()
	}
}

func (c *conn) flushTouched() {
	if c.work.touched.Any() {
		c.work.touched.Flush()
	}
}

func (c *conn) flushOut() {
	c.work.flushOwn = false
	c.out.Flush()
}

// askedCheck is how many answered bytes may pass before it is looked whether
// the client reads them.
const askedCheck = 128 << 10

// answered notes that n bytes were appended that the client asked for, and
// stops handling its requests while it does not read.
func (c *conn) answered(n int) {
	c.work.askedBytes += n
	if c.work.askedBytes < askedCheck {
		return
	}
	c.finishWork()
	c.waitAsked()
}

// waitAsked blocks while the client does not read what it asked for. It
// reports false if the connection has ended.
func (c *conn) waitAsked() bool {
	c.work.askedBytes = 0
	c.flushAll()
	c.paused.Store(true)
	err := c.out.WaitAsked(c.ctx)
	c.paused.Store(false)
	return err == nil
}

// yield lets others run if more clients keep their readers busy than there are
// processors: a reader that always finds more would keep its thread until it is
// preempted.
func (c *conn) yield(full bool) {
	if full != c.busy {
		c.busy = full
		if full {
			c.srv.busy.Add(1)
		} else {
			c.srv.busy.Add(-1)
		}
	}
	if full && c.srv.busy.Load() >= c.srv.processors {
		runtime.Gosched()
	}
}
