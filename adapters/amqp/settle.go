package amqp

import (
	"leveret/adapters/amqp/wire"
	"leveret/adapters/internal/settle"
	"leveret/core"
)

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
	w.groups.Settle(&w.touched)
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
		d, ok := ch.unacked.Take(a.tag)
		if ok {
			c.settleOneLocked(ch, a.op, a.tag, d)
		}
		return ok
	}
	settle := func(tag uint64, d settle.Delivered) { c.settleOneLocked(ch, a.op, tag, d) }
	if a.tag == 0 {
		ch.unacked.TakeAll(settle)
		return true
	}
	return ch.unacked.TakeUpTo(a.tag, settle)
}

func (c *conn) settleOneLocked(ch *channel, op core.Settlement, tag uint64, d settle.Delivered) {
	if ch.tx != nil {
		ch.settleInTx(tag, op, d)
		return
	}
	c.underOut.outs--
	ch.counters.acked++
	c.work.groups.Add(d.Holder, op, d.Seq)
}

// requeueAll returns everything that is unacked on ch to its queues: with Fail
// if the client is gone, with Requeue if it asks for that.
func (c *conn) requeueAll(ch *channel, op core.Settlement) {
	c.out.Lock()
	ch.unacked.TakeAll(func(_ uint64, d settle.Delivered) {
		c.underOut.outs--
		c.work.groups.Add(d.Holder, op, d.Seq)
	})
	c.out.Unlock()
	c.work.groups.Settle(&c.work.touched)
}

// outstanding is the number of deliveries on the connection that wait for an
// ack.
func (c *conn) outstanding() int {
	c.out.Lock()
	defer c.out.Unlock()
	return c.underOut.outs
}
