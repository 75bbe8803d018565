package core

import (
	"slices"
)

// A consumer of a lasting client holds what it was handed beyond its
// connection: entries that are out stay out when it is detached, and are handed
// to the client's next consumer of that queue again, in their order and before
// anything else, each with what the adapter noted of it.
//
//	Deliver --> Hold(slot) ... Hold(slot, released) --> Settle
//	   |           |
//	   |        Detach(slots) -----> held by the client, out
//	   |                                   |
//	   +---- Resumed deliveries <---- Client.Consume, Start
//
// While the consumer is there, the adapter knows what is in flight; the queue
// learns it when the consumer goes.

// Slot is what a client remembers of an entry that it holds.
type Slot struct {
	Seq  Seq
	Data uint32 // The adapter's own.
	// Released says that the message itself will not be asked for again.
	Released bool
}

// Hold notes slots, new ones or changed ones, where they survive a crash. done
// is called by a goroutine that holds no lock when they and their messages are
// durable, or with the error that poisoned the log. A nil done says that nobody
// waits: then they are written when something is. The consumer of a client that
// does not last has nothing to note.
//
// It must not be called from Outlet.Deliver.
func (c *Consumer) Hold(slots []Slot, done func(error)) {
	if done != nil {
		done(nil)
	}
}

// Detach is Cancel for the consumer of a lasting client: what slots name stays
// out and comes back, in that order, to the client's next consumer of this
// queue. The rest of what the consumer was handed is settled before.
func (c *Consumer) Detach(slots []Slot, t *Touched) {
	if q, ok := c.queue.(*classic); ok && c.opts.holder != 0 {
		q.mu.Lock()
		if !c.in.gone {
			c.in.kept = slices.Clone(slots)
		}
		q.mu.Unlock()
	}
	c.Cancel(t)
}

// takeHeldLocked gives c what its client holds of q.
func (q *classic) takeHeldLocked(c *Consumer) {
	if c.opts.holder == 0 || len(q.mu.held) == 0 {
		return
	}
	c.in.resume = q.mu.held[c.opts.holder]
	c.in.unacked = len(c.in.resume)
	delete(q.mu.held, c.opts.holder)
}

// keepHeldLocked takes back what c, which goes, holds for its client.
func (q *classic) keepHeldLocked(c *Consumer) {
	if kept := append(c.in.kept, c.in.resume...); len(kept) > 0 {
		q.keepLocked(c.opts.holder, kept)
	}
	c.in.kept, c.in.resume = nil, nil
}

func (q *classic) keepLocked(holder QueueID, slots []Slot) {
	if q.mu.held == nil {
		q.mu.held = make(map[QueueID][]Slot)
	}
	q.mu.held[holder] = append(q.mu.held[holder], slots...)
}

// resumeLocked hands c what its client held before, as far as there is room.
// Nothing else is handed to it before that is done.
func (q *classic) resumeLocked(c *Consumer, t *Touched) {
	for len(c.in.resume) > 0 && c.in.started && !c.in.gone {
		if !c.opts.Outlet.Room(&c.waiter) {
			c.in.waiting = true
			return
		}
		n, bytes := 0, 0
		for n < len(c.in.resume) && n < deliverAtOnce && bytes < deliverBytesAtOnce {
			s := &c.in.resume[n]
			n++
			d := Delivery{Seq: s.Seq, Redelivered: true, Resumed: true, Slot: s.Data}
			at, i := q.mu.entries.find(s.Seq), s.Seq.slot()
			if at == nil || at.state[i]&stateMask != stateOut {
				c.in.unacked-- // It was settled after all.
				continue
			}
			if !s.Released {
				d.Message = at.msg[i]
				bytes += len(d.Message.Body)
				q.mu.counters.Redelivered++
			}
			c.in.pending = append(c.in.pending, d)
		}
		c.in.resume = c.in.resume[n:]
		if len(c.in.pending) > 0 && c.opts.Outlet.Deliver(c, c.in.pending) {
			t.add(c.opts.Outlet)
		}
		c.in.pending = c.in.pending[:0]
	}
	if len(c.in.resume) == 0 {
		c.in.resume = nil
	}
}

// endHolder requeues what a client that has ended holds of q.
func (q *classic) endHolder(holder QueueID, t *Touched) {
	q.mu.Lock()
	held := q.mu.held[holder]
	delete(q.mu.held, holder)
	q.mu.Unlock()
	if len(held) == 0 {
		return
	}
	seqs := make([]Seq, len(held))
	for i, s := range held {
		seqs[i] = s.Seq
	}
	q.settle(&q.getter, Requeue, seqs, t)
}

// SetClient says whose connection p publishes for: that remembers what comes
// with Publication.Once.
func (p *Publisher) SetClient(c *Client) { p.client = c }

// Remember stores a lasting client that is not yet stored. It must have
// succeeded before something is published with Publication.Once.
func (c *Client) Remember() error {
	changes, err := c.store()
	if err == nil && len(changes) > 0 {
		if err = c.vhost.commit(changes...); err != nil {
			c.def.Number = 0
		}
		c.stored = err == nil
	}
	return err
}

// receive notes the ids of ms with the client that they come from.
func (p *Publisher) receive(ms []Publication) {
	for i := range ms {
		if m := &ms[i]; m.Once != 0 {
			p.client.noteReceived(m.Once)
		}
	}
}

func (i *identity) noteReceived(id uint16) {
	if i.received == nil {
		i.received = make(map[uint16]struct{})
	}
	i.received[id] = struct{}{}
}

// Received returns the ids under which the client has published once and that
// were not forgotten, ascending.
func (c *Client) Received() []uint16 {
	ids := make([]uint16, 0, len(c.received))
	for id := range c.received {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// HasReceived reports whether id was published and not forgotten: publishing it
// again would double the message.
func (c *Client) HasReceived(id uint16) bool {
	_, has := c.received[id]
	return has
}

// Forget removes ids, so that they can be used for other messages. done is
// called, by a goroutine that holds no lock, when that is durable, or with the
// error that poisoned the log.
func (c *Client) Forget(ids []uint16, done func(error)) {
	for _, id := range ids {
		delete(c.received, id)
	}
	done(nil)
}
