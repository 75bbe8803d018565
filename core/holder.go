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
	sure := done != nil
	if !sure {
		done = func(error) {}
	}
	q, ok := c.queue.(*classic)
	if !ok || c.opts.holder == 0 || q.log == nil {
		done(nil)
		return
	}
	set := q.broker.log.Begin()
	q.mu.Lock()
	if slots = q.storedLocked(slots); len(slots) > 0 {
		q.log.Hold(set, c.opts.holder, slots, sure)
	}
	q.mu.Unlock()
	set.Close(done)
}

// storedLocked returns those of slots whose entries are out and in the log,
// mostly all.
func (q *classic) storedLocked(slots []Slot) []Slot {
	stored := func(s Slot) bool {
		c, i := q.mu.entries.find(s.Seq), s.Seq.slot()
		return c != nil && c.state[i]&(stateMask|flagLogged) == stateOut|flagLogged
	}
	for i := range slots {
		if stored(slots[i]) {
			continue
		}
		some := slices.Clone(slots[:i])
		for _, s := range slots[i+1:] {
			if stored(s) {
				some = append(some, s)
			}
		}
		return some
	}
	return slots
}

// Detach is Cancel for the consumer of a lasting client: what slots name stays
// out and comes back, in that order, to the client's next consumer of this
// queue. The rest of what the consumer was handed is settled before. It notes
// slots like Hold, for a stop that follows.
func (c *Consumer) Detach(slots []Slot, t *Touched) {
	c.Hold(slots, nil)
	if q, ok := c.queue.(*classic); ok && c.opts.holder != 0 {
		q.mu.Lock()
		if !c.in.gone {
			c.in.kept = slices.Clone(slots)
		}
		q.mu.Unlock()
	}
	c.removed(c.queue.removeConsumer(c, t), t)
}

// takeHeldLocked gives c what its client holds of q. It uses credit, also more
// than there is.
func (q *classic) takeHeldLocked(c *Consumer) {
	if c.opts.holder == 0 || len(q.mu.held) == 0 {
		return
	}
	c.in.resume = q.mu.held[c.opts.holder]
	c.in.unacked = len(c.in.resume)
	if c.opts.Shared != nil {
		c.opts.Shared.used.Add(int64(len(c.in.resume)))
	}
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
			d := Delivery{nil, s.Seq, DeliveryHistory{Redelivered: true, Resumed: true, note: s.Data}}
			at, i := q.mu.entries.find(s.Seq), s.Seq.slot()
			if at == nil || at.state[i]&stateMask != stateOut {
				c.in.unacked-- // It was settled after all.
				if c.opts.Shared != nil {
					c.opts.Shared.used.Add(-1)
				}
				continue
			}
			if !s.Released {
				d.Message = at.msg[i]
				bytes += len(d.Message.Body)
				q.mu.counters.Redelivered++
				c.tally.addKind(countRedelivered, q.kind, 1)
			}
			c.in.pending = append(c.in.pending, d)
		}
		c.in.resume = c.in.resume[n:]
		if taps := q.vhost.taps.Load(); taps != nil {
			taps.delivered(q, c, c.in.pending)
		}
		if len(c.in.pending) > 0 && c.opts.Outlet.Deliver(c, c.in.pending) {
			t.add(c.opts.Outlet)
		}
		c.in.pending = c.in.pending[:0]
	}
	if len(c.in.resume) == 0 {
		c.in.resume = nil
	}
}

// takeResume returns what c's client held and c was not handed yet, and now
// never will be.
func (c *Consumer) takeResume() []Slot {
	q, ok := c.queue.(*classic)
	if !ok || c.opts.holder == 0 {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if c.in.gone {
		return nil
	}
	held := c.in.resume
	c.in.resume = nil
	return held
}

// endHolder gives back what a client that has ended holds of q.
func (q *classic) endHolder(holder QueueID, t *Touched) {
	q.mu.Lock()
	held := q.mu.held[holder]
	delete(q.mu.held, holder)
	q.mu.Unlock()
	q.giveBackHeld(&q.getter, held, t)
}

// giveBackHeld requeues what h's client held, but for what is released: that the
// client has.
func (q *classic) giveBackHeld(h *Holder, held []Slot, t *Touched) {
	var released, rest []Seq
	for _, s := range held {
		if s.Released {
			released = append(released, s.Seq)
		} else {
			rest = append(rest, s.Seq)
		}
	}
	if len(released) > 0 {
		q.settle(h, Ack, released, t)
	}
	if len(rest) > 0 {
		q.settle(h, Requeue, rest, t)
	}
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

// receive notes the ids of ms, which was pushed, with the client that they come
// from. What was refused may come again.
func (p *Publisher) receive(ms []Publication) {
	ids := p.ids[:0]
	for i := range ms {
		if m := &ms[i]; m.Once != 0 && m.Refused == OK {
			p.client.noteReceived(m.Once)
			ids = append(ids, m.Once)
			m.logged = m.logged || p.client.stored
		}
	}
	if p.client.stored && len(ids) > 0 {
		p.broker.log.Receive(p.changeSet(), p.client.def.Number, ids)
	}
	p.ids = ids
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
	if !c.stored || len(ids) == 0 {
		done(nil)
		return
	}
	set := c.broker.log.Begin()
	c.broker.log.Forget(set, c.def.Number, ids)
	set.Close(done)
}

// forgetAll forgets all ids of a client that has ended. A crash may bring them
// back: then nobody knows the client, and they are dropped.
func (c *Client) forgetAll() {
	if len(c.received) > 0 && c.stored {
		set := c.broker.log.Begin()
		c.broker.log.Forget(set, c.def.Number, nil)
		set.Close(func(error) {})
	}
	c.received = nil
}

// recoverHeld has what clients held when the broker stopped be out again, in
// memory, for them to come back to. What clients held that are gone or have left
// q, and what cannot be read, is ready like the rest. Nobody else knows q yet.
func (q *classic) recoverHeld(known func(client QueueID) bool) {
	q.mu.Lock()
	defer q.unlock()
	found := slices.DeleteFunc(q.mu.found, func(s RecoveredSlot) bool { return !known(s.Client) })
	q.mu.found = nil
	for len(found) > 0 {
		batch := found[:min(len(found), fetchAtOnce)]
		found = found[len(batch):]
		seqs := make([]Seq, len(batch))
		for i, s := range batch {
			seqs[i] = s.Seq
		}
		q.broker.log.Read(q.opts.ID, seqs, func(n int, m *Message, err error) {
			if err != nil {
				q.broker.logger.Error("held message cannot be read back from the log", "queue", q.opts.Name, "vhost", q.opts.VHost, "error", err)
				return
			}
			e := &q.mu.entries
			c, i := e.find(seqs[n]), seqs[n].slot()
			if c == nil || c.state[i]&flagCold == 0 {
				return
			}
			m = q.mu.resting.rest(m)
			q.mu.readyBytes -= e.thaw(c, i, m)
			q.leaveReadyLocked(c, i)
			q.mu.unackedBytes += int64(len(m.Body))
			e.takeOut(c, i)
			q.keepLocked(batch[n].Client, []Slot{batch[n].Slot})
		})
	}
}

// consumes reports whether a connection of the client would consume the queue
// called name: nobody else can take what it holds of that.
func (i *identity) consumes(name string) bool {
	return i.def.Queue == name || slices.ContainsFunc(i.subs, func(s Subscription) bool { return s.Shared == name })
}

// recoverClients gives clients, and the queues of v, back what clients kept.
func (b *Broker) recoverClients() {
	clients := make(map[QueueID]*identity)
	for _, v := range b.vhosts.Load().All() {
		for k := range v.clients.shards {
			for _, i := range v.clients.shards[k].byID {
				clients[i.def.Number] = i
			}
		}
	}
	known := func(client QueueID) bool { return clients[client] != nil }
	for _, v := range b.vhosts.Load().All() {
		for q := range v.Queues() {
			if q, ok := q.(*classic); ok && len(q.mu.found) > 0 {
				q.recoverHeld(func(client QueueID) bool { return known(client) && clients[client].consumes(q.opts.Name) })
			}
		}
	}
	b.log.Received(known, func(client QueueID, ids []uint16) {
		for _, id := range ids {
			clients[client].noteReceived(id)
		}
	})
}
