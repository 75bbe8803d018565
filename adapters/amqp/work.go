package amqp

import (
	"leveret/adapters/amqp/wire"
	"leveret/adapters/internal/settle"
	"leveret/core"
)

// batchLen is how many messages are handed to core at once.
const batchLen = 512

// batch is messages on their way to core. It is taken from a pool for the time
// of one read: idle connections hold none.
type batch struct{ messages [batchLen]core.Publication }

// ackOp is one ack, nack or reject as the client sent it.
type ackOp struct {
	ch       *channel
	tag      uint64
	op       core.Settlement
	multiple bool
}

// acksMax bounds how many acks are gathered.
const acksMax = 4096

// carryMax is how many bytes may wait in an out-buffer while reads come back
// full: batching them saves half the CPU where many connections get a little
// each, and costs nothing at low load, where reads do not come back full.
const carryMax = 64 << 10

// carryReads is how many reads in a row may pass without a flush: what is small
// waits for a few milliseconds at most, confirms among it.
const carryReads = 8

// work is what the reader has gathered from the read under way, and whom it
// owes a flush. What the client sent on one channel takes effect in order:
// publishes are handed over together, then the acks behind them are settled,
// both before another publish or any other method of the channel (finishWork).
type work struct {
	batch *batch
	n     int      // Messages in batch, all of one channel.
	ch    *channel // Their channel.

	acks   []ackOp
	ackCh  *channel // Whose acks they are, nil if of several channels.
	groups settle.Groups

	// ahead is a publisher that should wait for consumers before more is read.
	ahead *core.Publisher

	touched  core.Touched
	flushOwn bool // Our own out-buffer waits for a flush by us.
	carried  int  // Reads since everything was flushed.

	sawPublish bool // Since the connection was last asked whether it may read on.
	refusing   bool // The broker takes no publishes; set when a batch begins.
	askedBytes int  // Roughly what was answered since WaitAsked was last called.

	partial partialBody
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
	p := c.work.ahead
	c.work.ahead = nil
	if !p.AheadOfLog() && c.outstanding() > 0 {
		return
	}
	c.flushAll()
	p.Pace(c.ctx.Done())
}

// endOfRead releases what the read held and flushes, unless there is little to
// flush and more to read.
func (c *conn) endOfRead(full bool) {
	w := &c.work
	if w.batch != nil {
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

// answered notes that n bytes were appended that the client asked for, and
// stops handling its requests while it does not read. It is called with
// nothing of the read buffer in use but the frames behind the current one.
func (c *conn) answered(n int) {
	c.work.askedBytes += n
	if c.work.askedBytes < askedCheck {
		return
	}
	c.finishWork()
	c.waitAsked()
}

// askedCheck is how many answered bytes may pass before it is looked whether
// the client reads them.
const askedCheck = 128 << 10

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

// partialBody is a body frame of which only the beginning has been read.
type partialBody struct {
	ch   *channel // Whose content it belongs to; nil if it is to be forgotten.
	open bool
	left int // Bytes of the payload still to come; the end octet follows.
}

// beginPartialBody looks at the beginning of a frame that is not complete in b.
// If it is a body frame that is expected, its bytes are taken as they come,
// so that no frame needs to fit into the buffer. It reports whether it was; the
// frame's header has been used up then.
func (c *conn) beginPartialBody(b []byte) bool {
	if b[0] != wire.FrameBody || c.state != running {
		return false
	}
	id := uint16(b[1])<<8 | uint16(b[2])
	ch := c.channel(id)
	if ch == nil {
		return false
	}
	size := wire.FrameSize(b) - wire.FrameOverhead
	p := &c.work.partial
	switch {
	case ch.closing:
		p.ch = nil
	case ch.content != nil && ch.content.headed && uint64(size) <= ch.content.left():
		p.ch = ch
	default:
		return false
	}
	p.open, p.left = true, size
	return true
}

// partialBody takes more of the body frame under way.
func (c *conn) partialBody(b []byte) (used int, err error) {
	p := &c.work.partial
	if p.left > 0 {
		used = min(p.left, len(b))
		p.left -= used
		if p.ch != nil && !p.ch.closing {
			if err := c.addBody(p.ch, b[:used]); err != nil {
				return used, err
			}
		}
	}
	if p.left > 0 || used == len(b) {
		return used, nil
	}
	if end := b[used]; end != wire.FrameEnd {
		return used, frameException(&wire.FrameError{Kind: wire.FrameBadEnd, Type: wire.FrameBody, End: end})
	}
	ch := p.ch
	*p = partialBody{}
	if ch != nil && !ch.closing && ch.content != nil && ch.content.left() == 0 {
		err = c.endContent(ch)
	}
	return used + 1, err
}
