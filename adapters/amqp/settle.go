package amqp

import (
	"leveret/adapters/amqp/wire"
	"leveret/core"
)

// settleGroup is what one holder gets settled in one way.
type settleGroup struct {
	holder *core.Holder
	op     core.Settlement
	seqs   []core.Seq
}

type settleKey struct {
	holder *core.Holder
	op     core.Settlement
}

// settleGroups sorts deliveries by holder and settlement, so that each queue is
// locked once. Its memory is used again.
type settleGroups struct {
	groups []settleGroup
	n      int
	last   int
	index  map[settleKey]int // Only while there are more than a few groups.
}

// indexFrom is the number of groups from which a map finds them.
const indexFrom = 8

func (g *settleGroups) add(h *core.Holder, op core.Settlement, seq core.Seq) {
	if g.last < g.n {
		if e := &g.groups[g.last]; e.holder == h && e.op == op {
			e.seqs = append(e.seqs, seq)
			return
		}
	}
	e := &g.groups[g.find(h, op)]
	e.seqs = append(e.seqs, seq)
}

func (g *settleGroups) find(h *core.Holder, op core.Settlement) int {
	if g.n <= indexFrom {
		for i := range g.groups[:g.n] {
			if e := &g.groups[i]; e.holder == h && e.op == op {
				g.last = i
				return i
			}
		}
	} else if i, ok := g.index[settleKey{h, op}]; ok {
		g.last = i
		return i
	}
	if g.n == len(g.groups) {
		g.groups = append(g.groups, settleGroup{})
	}
	g.last = g.n
	e := &g.groups[g.n]
	e.holder, e.op, e.seqs = h, op, e.seqs[:0]
	g.n++
	if g.n == indexFrom+1 {
		if g.index == nil {
			g.index = make(map[settleKey]int)
		}
		for i := range g.groups[:g.n] {
			g.index[settleKey{g.groups[i].holder, g.groups[i].op}] = i
		}
	} else if g.n > indexFrom {
		g.index[settleKey{h, op}] = g.last
	}
	return g.last
}

// settle settles all that was added and forgets it.
func (g *settleGroups) settle(t *core.Touched) {
	n := g.n
	for i := range g.groups[:n] {
		e := &g.groups[i]
		e.holder.Settle(e.op, e.seqs, t)
		e.holder = nil
		if cap(e.seqs) > 1<<16 {
			e.seqs = nil
		}
	}
	if n > indexFrom {
		clear(g.index)
	}
	if len(g.groups) > 64 {
		g.groups, g.index = nil, nil
	}
	g.n, g.last = 0, 0
}

// settlement gathers an ack, nack or reject.
func (c *conn) settlement(ch *channel, id uint32, payload []byte) error {
	a := ackOp{ch: ch}
	requeue := false
	var err error
	switch id {
	case wire.IDBasicAck:
		a.tag, a.multiple, err = wire.ParseAck(payload)
	case wire.IDBasicNack:
		a.tag, a.multiple, requeue, err = wire.ParseNack(payload)
		a.op = core.Discard
	default:
		a.tag, requeue, err = wire.ParseReject(payload)
		a.op = core.Discard
	}
	if err != nil {
		return raise(wire.ReplyFrameError, id, "cannot decode %s", wire.ErlangBinary(payload))
	}
	switch {
	case requeue && id == wire.IDBasicNack:
		a.op = core.Requeue
	case requeue: // A rejection counts as a failure, as in RabbitMQ from 4.3 on.
		a.op = core.Fail
	}
	w := &c.work
	if len(w.acks) == acksMax {
		c.finishWork()
		if ch.closing {
			return nil
		}
	}
	if len(w.acks) == 0 {
		w.ackCh = ch
	} else if w.ackCh != ch {
		w.ackCh = nil
	}
	w.acks = append(w.acks, a)
	return nil
}

// settleAcks settles what the client acked, nacked and rejected. The first tag
// of a channel that is not outstanding closes that channel and ends what it
// asked for; what came before it counts.
func (c *conn) settleAcks() {
	w := &c.work
	var failed []ackOp
	c.out.Lock()
	for i := range w.acks {
		a := &w.acks[i]
		if a.ch.closing || a.ch.ackFailed {
			continue
		}
		if !c.resolveLocked(a) {
			a.ch.ackFailed = true
			failed = append(failed, *a)
		}
	}
	c.out.Unlock()
	w.acks = w.acks[:0]
	w.groups.settle(&w.touched)
	for i := range failed {
		id := wire.IDBasicAck
		if failed[i].op != core.Ack {
			id = wire.IDBasicNack
		}
		c.channelException(failed[i].ch, raise(wire.ReplyPreconditionFailed, id, "unknown delivery tag %d", failed[i].tag))
	}
}

// resolveLocked finds the deliveries that a is about. It reports false if there
// is no such delivery tag. c.out is locked.
func (c *conn) resolveLocked(a *ackOp) bool {
	ch := a.ch
	if !a.multiple {
		d, ok := ch.unacked.take(a.tag)
		if ok {
			c.settleOneLocked(ch, a.op, a.tag, d)
		}
		return ok
	}
	settle := func(tag uint64, d delivered) { c.settleOneLocked(ch, a.op, tag, d) }
	if a.tag == 0 {
		ch.unacked.takeAll(settle)
		return true
	}
	return ch.unacked.takeUpTo(a.tag, settle)
}

func (c *conn) settleOneLocked(ch *channel, op core.Settlement, tag uint64, d delivered) {
	if ch.tx != nil {
		ch.settleInTx(tag, op, d)
		return
	}
	c.underOut.outs--
	ch.counters.acked++
	c.work.groups.add(d.holder, op, d.seq)
}

// requeueAll returns everything that is unacked on ch to its queues: with Fail
// if the client is gone, with Requeue if it asks for that.
func (c *conn) requeueAll(ch *channel, op core.Settlement) {
	c.out.Lock()
	ch.unacked.takeAll(func(_ uint64, d delivered) {
		c.underOut.outs--
		c.work.groups.add(d.holder, op, d.seq)
	})
	c.out.Unlock()
	c.work.groups.settle(&c.work.touched)
}

// outstanding is the number of deliveries on the connection that wait for an
// ack.
func (c *conn) outstanding() int {
	c.out.Lock()
	defer c.out.Unlock()
	return c.underOut.outs
}
