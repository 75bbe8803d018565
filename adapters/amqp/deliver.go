package amqp

import (
	"sync/atomic"

	"leveret/adapters/amqp/wire"
	"leveret/adapters/internal/settle"
	"leveret/core"
)

// consumer is one basic.consume: core's outlet for it. Its own copy of the
// tag and the channel's number are all that deliveries need.
type consumer struct {
	ch    *channel
	tag   string
	noAck bool
	core  *core.Consumer

	hasUnsendable atomic.Bool // Whether there is something in unsendable.

	// Guarded by out's lock.
	announced  bool // consume-ok is in the out-buffer.
	ended      bool // The broker has ended it.
	discarding bool // Somebody is in discardUnsendable.
	unsendable []unsendable
}

// unsendable is a delivery whose header frame is too large for the client.
type unsendable struct {
	d     settle.Delivered
	needs int // Bytes of the frame.
}

// Room is part of core.Outlet.
func (k *consumer) Room(w *core.Waiter) bool { return k.ch.conn.out.Room(w) }

// Deliver encodes deliveries into the out-buffer, numbers them and notes those
// that need an ack. It is called under a queue's lock: one copy of each message,
// no allocation but for growing the buffer and the list of the unacked.
func (k *consumer) Deliver(_ *core.Consumer, ds []core.Delivery) (flush bool) {
	ch := k.ch
	c := ch.conn
	size := 0
	for i := range ds {
		m := ds[i].Message
		size += len(m.Encoded) + len(m.Exchange) + len(m.RoutingKey) + deliveryOverhead
		if len(m.Body) < ownBodyMin || !m.OwnBody {
			size += len(m.Body)
		}
	}
	size += len(ds) * len(k.tag)

	o := c.out
	o.Lock()
	o.Reserve(size)
	for i := range ds {
		d := &ds[i]
		m := d.Message
		props := m.Encoded
		if d.Acquired != 0 {
			props = counted(d)
		} else if m.Form != core.FormAMQP091 {
			props = m.EncodedAs(core.FormAMQP091, nil)
		}
		if wire.ContentHeaderSize(props) > int(c.frameMax) {
			k.unsendable = append(k.unsendable, unsendable{settle.Delivered{Holder: &k.core.Holder, Seq: d.Seq}, wire.ContentHeaderSize(props)})
			k.hasUnsendable.Store(true)
			flush = true
			continue
		}
		var tag uint64
		if k.noAck {
			tag = ch.unacked.NextTag()
		} else {
			tag = ch.unacked.Add(&k.core.Holder, d.Seq)
			c.underOut.outs++
		}
		if c.underOut.closed || ch.mute {
			continue // It will be requeued.
		}
		if len(m.Body) < ownBodyMin || !m.OwnBody {
			o.B = wire.AppendDelivery(o.B, ch.id, k.tag, tag, d.Redelivered, m.Exchange, m.RoutingKey, props, m.Body, c.frameMax)
		} else {
			o.B = wire.AppendDeliver(o.B, ch.id, k.tag, tag, d.Redelivered, m.Exchange, m.RoutingKey)
			c.appendContent(ch.id, props, m)
		}
	}
	if c.underOut.unheld && c.underOut.outs > 0 {
		c.underOut.unheld = false
		select {
		case c.control.wake <- struct{}{}:
		default:
		}
	}
	ch.counters.delivered += uint64(len(ds))
	return o.Unlock() || flush
}

// counted returns the properties of d with the headers that tell how often it
// was handed out before, and how often that failed.
func counted(d *core.Delivery) []byte {
	p := *d.Message.Properties()
	p.Headers = p.Headers.With("x-acquired-count", int64(d.Acquired))
	if n := d.Failed(); n > 0 {
		p.Headers = p.Headers.With("x-delivery-count", int64(n))
	}
	p.HeadersSet = true
	var m core.Message
	m.SetProperties(&p)
	return m.EncodedAs(core.FormAMQP091, nil)
}

// deliveryOverhead is what a delivery in one body frame takes beside its
// strings, properties and body.
const deliveryOverhead = 64

// Flush is part of core.Outlet. It also gives up what could not be sent, which
// Deliver must not do: it would call back into core.
func (k *consumer) Flush() {
	o := k.ch.conn.out
	if k.hasUnsendable.Load() {
		k.discardUnsendable()
	}
	o.Flush()
}

// Pending is how many bytes the client's connection has to send.
func (k *consumer) Pending() int { return k.ch.conn.out.Pending() }

// discardUnsendable settles messages whose header is larger than the client's
// frame_max allows: to be dead-lettered or dropped, as the queue says.
func (k *consumer) discardUnsendable() {
	c := k.ch.conn
	for first := true; ; first = false {
		c.out.Lock()
		if first && k.discarding {
			c.out.Unlock()
			return // Whoever it is looks again; it may be our caller's caller.
		}
		list := k.unsendable
		k.unsendable = nil
		k.discarding = len(list) > 0
		k.hasUnsendable.Store(false)
		c.out.Unlock()
		if len(list) == 0 {
			return
		}
		seqs := make([]core.Seq, len(list))
		needs := 0
		for i, u := range list {
			seqs[i] = u.d.Seq
			needs = max(needs, u.needs)
		}
		c.srv.log.Warn("AMQP messages discarded: their properties need a larger frame than the consumer takes",
			append([]any{"conn", c.id, "peer", c.peer}, "channel", k.ch.id, "consumer", k.tag, "queue", k.core.QueueName(),
				"messages", len(list), "frame_max", c.frameMax, "needed", needs)...)
		if k.noAck {
			continue // They are settled already.
		}
		var t core.Touched
		k.core.Settle(core.Discard, seqs, &t)
		t.Flush()
	}
}
