package mqtt

import (
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
	settles settles

	starting []*outlet // Consumers to be started behind their SUBACK.
	existed  []bool    // Which of the subscriptions just made replaced another.

	ahead bool // The publisher should wait for consumers before more is read.

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

// endOfRead releases what the read held and flushes, unless there is little to
// flush and more to read.
func (c *conn) endOfRead(full bool) {
	w := &c.work
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

// settles is what was acknowledged, by consumer and settlement. Its memory is
// used again.
type settles struct {
	groups []settleGroup
	n      int
}

type settleGroup struct {
	holder *core.Holder
	op     core.Settlement
	seqs   []core.Seq
}

func (s *settles) add(h *core.Holder, op core.Settlement, seq core.Seq) {
	for i := s.n - 1; i >= 0; i-- {
		if g := &s.groups[i]; g.holder == h && g.op == op {
			g.seqs = append(g.seqs, seq)
			return
		}
	}
	if s.n == len(s.groups) {
		s.groups = append(s.groups, settleGroup{})
	}
	g := &s.groups[s.n]
	g.holder, g.op, g.seqs = h, op, append(g.seqs[:0], seq)
	s.n++
}

// settle settles all that was added and forgets it.
func (s *settles) settle(t *core.Touched) {
	n := s.n
	for i := range s.groups[:n] {
		g := &s.groups[i]
		g.holder.Settle(g.op, g.seqs, t)
		g.holder = nil
	}
	s.n = 0
	if len(s.groups) > 16 {
		s.groups = nil
	}
}
