package mqtt

import (
	"sync/atomic"
	"time"

	"leveret/adapters/internal/settle"
	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// batchLen is how many messages are handed to core at once.
const batchLen = 512

// batch is messages on their way to core. It is taken from a pool for the time
// of one read: idle connections hold none.
type batch struct {
	messages [batchLen]core.Publication
	inbound  [batchLen]inPacket // Of those that are QoS 1 or 2.
	arena    []byte             // Encoded properties; only ever grown within a batch.
}

// ackOp is one acknowledgement as the client sent it.
type ackOp struct {
	id   uint16
	typ  byte
	code wire.Code
}

// acksMax bounds how many acknowledgements are gathered.
const acksMax = 4096

// carryMax is how many bytes may wait in an out-buffer while reads come back
// full, and carryReads for how many reads: package amqp has measured both.
const (
	carryMax   = 64 << 10
	carryReads = 8
)

// work is what the reader has gathered from the read under way, and whom it
// owes a flush.
type work struct {
	batch   *batch
	n       int // Messages in batch.
	ins     int // Entries of batch.inbound.
	acks    []ackOp
	settles settle.Groups // What was acknowledged.

	starting []*outlet // Consumers to be started behind their SUBACK.
	existed  []bool    // Which of the subscriptions just made replaced another.

	ahead bool // The publisher should wait for consumers before more is read.

	behind *outlet // A QoS 0 subscriber that had no room for what this client sent.
	turn   *outlet // The one that it has the turn of.

	touched  core.Touched
	flushOwn bool // Our own out-buffer waits for a flush by us.
	carried  int  // Reads since everything was flushed.

	sawPublish bool // Since the connection was last asked whether it may read on.
	refusing   bool // The broker takes no publishes; set when a batch begins.
	answers    int  // Given since WaitAsked was last called.
}

// finishWork publishes and settles what was gathered.
func (c *conn) finishWork() {
	w := &c.work
	if w.n > 0 || w.ins > 0 {
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

// directPace has those who publish at QoS 0 to a subscriber that cannot follow
// take turns: else most of what they publish is taken in only to be dropped, and
// takes the processor from those who would deliver the rest. One at a time waits
// for room and publishes a read. Nobody waits for longer than paceMax, and for a
// subscriber that is slow by nature soon nobody waits at all, as in core.
type directPace struct {
	turn chan struct{}
	pass atomic.Int32 // Reads that may pass without waiting.
	skip atomic.Int32 // What pass is set to when waiting was no use.
}

const (
	paceMax     = 5 * time.Millisecond
	paceSkipMax = 4096
	// turnMax is how long one may wait for the turn: that of many others, of
	// whom hardly any waits for paceMax.
	turnMax = 200 * time.Millisecond
)

// paceDirect waits for room at the subscriber that the client is ahead of. A
// client that does not fill its reads does not flood anybody.
func (c *conn) paceDirect(full bool) {
	k := c.work.behind
	c.work.behind = nil
	p := k.pace.Load()
	if !full || p == nil || p.pass.Load() > 0 && p.pass.Add(-1) >= 0 {
		return
	}
	c.flushAll()
	late := time.NewTimer(turnMax)
	defer late.Stop()
	select {
	case p.turn <- struct{}{}:
	case <-late.C:
		return
	case <-c.ctx.Done():
		return
	}
	c.work.turn = k
	if p.pass.Load() > 0 {
		return // Whoever had the turn before has waited in vain.
	}
	late.Reset(paceMax)
	w := roomWaker(make(chan struct{}, 1))
	if k.conn.out.Room(w) {
		return
	}
	select {
	case <-w:
		p.skip.Store(p.skip.Load() / 2)
	case <-late.C:
		p.inVain()
	case <-c.ctx.Done():
	}
}

// inVain notes that waiting was no use.
func (p *directPace) inVain() {
	n := min(2*p.skip.Load()+1, paceSkipMax)
	p.skip.Store(n)
	p.pass.Store(n)
}

// endTurn lets the next one publish.
func (c *conn) endTurn() {
	if k := c.work.turn; k != nil {
		c.work.turn = nil
		<-k.pace.Load().turn
	}
}

// roomWaker is told that there is room.
type roomWaker chan struct{}

// Wake is part of netx.Waker.
func (w roomWaker) Wake() {
	select {
	case w <- struct{}{}:
	default:
	}
}

// endOfRead releases what the read held and flushes, unless there is little to
// flush and more to read.
func (c *conn) endOfRead(full bool) {
	w := &c.work
	c.endTurn()
	if w.batch != nil {
		if cap(w.batch.arena) > 1<<20 {
			w.batch.arena = nil
		}
		w.batch.arena = w.batch.arena[:0]
		c.srv.batches.Put(w.batch)
		w.batch = nil
		c.props.inArena = nil
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
	c.endTurn()
	if c.work.touched.Any() {
		c.work.touched.Flush()
	}
	if c.inbound.unattended() {
		c.work.flushOwn = true
	}
	if c.work.flushOwn {
		c.flushOut()
	}
}

func (c *conn) flushOut() {
	c.work.flushOwn = false
	c.out.Flush()
}

// waitAsked blocks while the client does not read what it asked for. It
// reports false if the connection has ended.
func (c *conn) waitAsked() bool {
	c.work.answers = 0
	c.flushAll()
	c.paused.Store(true)
	err := c.out.WaitAsked(c.ctx)
	c.paused.Store(false)
	return err == nil
}
