package core

// deliverAtOnce bounds how many messages one pass gathers before it hands them
// to the outlets and asks again whether they have room.
const (
	deliverAtOnce      = 128
	deliverBytesAtOnce = 64 << 10
)

// push takes a publisher's messages: straight through to consumers with credit
// while nothing is waiting before them, to rest otherwise. One lock for all of
// a read's messages. A message handed to a consumer that will not ack is not
// copied at all; one that will be acked rests until then.
func (q *classic) push(p *Publisher, ms []Publication, runs []run, t *Touched) {
	q.mu.Lock()
	if q.gone.Load() {
		q.mu.Unlock()
		return
	}
	q.mu.lastPublishMS = p.nowMS
	for _, r := range runs {
		q.pushRunLocked(p, ms[r.from:r.to], t)
	}
	if q.mu.level.ready >= paceAbove {
		q.paceLocked(p)
	}
	q.unlock()
}

func (q *classic) pushRunLocked(p *Publisher, ms []Publication, t *Touched) {
	q.mu.counters.Published += uint64(len(ms))
	i, bytes := 0, 0
	for i < len(ms) && q.mu.level.ready == 0 {
		m := &ms[i]
		c := q.nextLocked()
		if c == nil {
			break
		}
		if m.TTLMS >= 0 || q.mu.rules.ttlMS >= 0 {
			m.ExpiresMS = q.expiryOf(m, p.nowMS)
		} else {
			m.ExpiresMS = 0 // Another queue may have set it.
		}
		if c.opts.NoAck {
			c.in.pending = append(c.in.pending, Delivery{Message: &m.Message})
		} else {
			r := q.rest(m)
			state := stateOut
			if q.stores(&m.Message) {
				state |= flagLogged
			}
			n := q.mu.level.add(r, state)
			q.mu.unackedBytes += int64(len(r.Body))
			q.markLocked(n, state)
			q.handLocked(c, r, q.mu.level.seq(n), false)
			if state&flagLogged != 0 {
				q.storeLocked(p, m, r, n)
			}
		}
		i++
		if bytes += len(m.Body); bytes >= deliverBytesAtOnce {
			q.handOverLocked(t)
			bytes = 0
		}
	}
	q.handOverLocked(t)
	if i < len(ms) {
		q.enqueueLocked(p, ms[i:])
		q.deliverLocked(t)
	}
}

// stores reports whether m must be on disk before its publisher is told so.
func (q *classic) stores(m *Message) bool { return m.Persistent && q.log != nil }

// storeLocked refers to entry n in the publisher's change set.
func (q *classic) storeLocked(p *Publisher, m *Publication, resting *Message, n uint64) {
	m.logged = true
	q.mu.persistent++
	if len(q.mu.consumers) != 0 {
		q.reserveLocked(n)
	}
	q.log.Add(p.changeSet(), q.mu.level.seq(n), resting, &m.Message)
}

// enqueueLocked makes ms ready entries.
func (q *classic) enqueueLocked(p *Publisher, ms []Publication) {
	l := &q.mu.level
	page := q.overShareLocked()
	if q.mu.mixedTTL && l.ready+l.out == 0 {
		q.mu.mixedTTL = false
	}
	for i := range ms {
		m := &ms[i]
		if m.TTLMS >= 0 || q.mu.rules.ttlMS >= 0 {
			m.ExpiresMS = q.expiryOf(m, p.nowMS)
		} else {
			m.ExpiresMS = 0
		}
		state := stateReady
		if q.stores(&m.Message) {
			state |= flagLogged
		}
		timed := q.isTimed(&m.Message)
		if timed {
			state |= flagTimed
		}
		r := q.rest(m)
		n := l.add(r, state)
		q.mu.readyBytes += int64(len(r.Body))
		if state&flagLogged != 0 {
			q.storeLocked(p, m, r, n)
		} else if page {
			q.pageLocked(p, r, &m.Message, n)
		}
		if timed {
			q.addTimedLocked(m.ExpiresMS, n)
		}
	}
	q.setExpiryTimerLocked()
	if page {
		q.pageOutLocked()
	}
}

// nextLocked returns the consumer whose turn it is, and whose outlet has room,
// or nil. Its place in the ring moves behind the others.
func (q *classic) nextLocked() *Consumer {
	for _, g := range q.mu.groups {
		for g.ring != nil {
			c := g.ring
			if len(c.in.pending) == 0 {
				if !c.opts.Outlet.Room(&c.waiter) {
					c.in.waiting = true
					g.unlink(c)
					continue
				}
				q.mu.given = append(q.mu.given, c)
			}
			if c.opts.Shared != nil && !c.opts.NoAck && !c.opts.Shared.takeOne(&c.waiter) {
				c.in.waiting = true
				g.unlink(c)
				continue
			}
			g.ring = c.in.next
			return c
		}
	}
	return nil
}

// handLocked gives an entry that is out to c, which will settle it.
func (q *classic) handLocked(c *Consumer, m *Message, seq Seq, redelivered bool) {
	c.in.pending = append(c.in.pending, Delivery{Message: m, Seq: seq, Redelivered: redelivered})
	c.in.unacked++
	if c.in.prefetch > 0 && c.in.unacked >= c.in.prefetch {
		c.in.group.unlink(c)
	}
}

// handOverLocked passes what consumers were given to their outlets.
func (q *classic) handOverLocked(t *Touched) {
	for i, c := range q.mu.given {
		q.mu.given[i] = nil
		n := len(c.in.pending)
		if n == 0 {
			continue
		}
		if c.opts.NoAck {
			q.mu.counters.DeliveredAuto += uint64(n)
		} else {
			q.mu.counters.DeliveredAck += uint64(n)
		}
		if c.opts.Outlet.Deliver(c, c.in.pending) {
			t.add(c.opts.Outlet)
		}
		c.in.pending = c.in.pending[:0]
	}
	q.mu.given = q.mu.given[:0]
}

// deliverLocked hands ready messages to consumers while there are both.
func (q *classic) deliverLocked(t *Touched) {
	l := &q.mu.level
	if l.ready == 0 {
		return
	}
	var done [deliverAtOnce]*Message // Handed to consumers that will not ack.
	var now int64
	for l.ready > 0 {
		n, bytes, freed := 0, 0, 0
		for l.ready > 0 && n < deliverAtOnce && bytes < deliverBytesAtOnce {
			c, i := l.firstReady()
			if c.state[i]&flagCold != 0 {
				break
			}
			m := c.msg[i]
			if m.ExpiresMS != 0 {
				if now == 0 {
					now = q.broker.now()
				}
				if m.ExpiresMS <= now {
					q.expireLocked(c, i)
					continue
				}
			}
			to := q.nextLocked()
			if to == nil {
				break
			}
			n++
			bytes += len(m.Body)
			q.leaveReadyLocked(c, i)
			redelivered := c.state[i]&flagRedelivered != 0
			if redelivered {
				q.mu.counters.Redelivered++
			}
			if to.opts.NoAck {
				to.in.pending = append(to.in.pending, Delivery{Message: m, Redelivered: redelivered})
				q.markLocked(c.base+uint64(i), c.state[i])
				q.endLocked(c, i)
				done[freed] = m
				freed++
				continue
			}
			q.mu.unackedBytes += int64(len(m.Body))
			seq := l.seq(c.base + uint64(i))
			q.markLocked(c.base+uint64(i), c.state[i])
			l.takeOut(c, i)
			q.handLocked(to, m, seq, redelivered)
		}
		q.handOverLocked(t)
		for _, m := range done[:freed] {
			q.free(m)
		}
		if n == 0 {
			break
		}
	}
	if l.cold > 0 {
		q.fetchAheadLocked()
	}
}

// leaveReadyLocked accounts for a ready entry that is about to be something else.
func (q *classic) leaveReadyLocked(c *chunk, i int32) {
	q.mu.readyBytes -= q.mu.level.size(c, i)
	if c.state[i]&flagTimed != 0 {
		c.state[i] &^= flagTimed
		q.mu.timedLive--
	}
}

// endLocked removes an entry and lets the log know. The message is the
// caller's to free.
func (q *classic) endLocked(c *chunk, i int32) *Message {
	if c.state[i]&flagLogged != 0 {
		if c.state[i]&flagPaged == 0 {
			q.mu.persistent--
		}
		q.mu.settled = append(q.mu.settled, q.mu.level.seq(c.base+uint64(i)))
	}
	return q.mu.level.remove(c, i)
}

// get hands the first ready message to fn.
func (q *classic) get(noAck bool, fn func(h *Holder, d *Delivery, remaining int)) (bool, error) {
	q.touch()
	for {
		found, cold := q.getWarm(noAck, fn)
		if !cold {
			return found, nil
		}
		if _, err := q.fetch(); err != nil {
			return false, errorf(Unavailable, "the next message of queue '%s' in vhost '%s' cannot be read now: %v", q.opts.Name, q.opts.VHost, err)
		}
	}
}

// getWarm is get if the first message is in memory, otherwise it says so.
func (q *classic) getWarm(noAck bool, fn func(h *Holder, d *Delivery, remaining int)) (found, cold bool) {
	q.mu.Lock()
	defer q.unlock()
	l := &q.mu.level
	var now int64
	for l.ready > 0 {
		c, i := l.firstReady()
		if c.state[i]&flagCold != 0 {
			return false, true
		}
		m := c.msg[i]
		if m.ExpiresMS != 0 {
			if now == 0 {
				now = q.broker.now()
			}
			if m.ExpiresMS <= now {
				q.expireLocked(c, i)
				continue
			}
		}
		q.leaveReadyLocked(c, i)
		d := Delivery{Message: m, Redelivered: c.state[i]&flagRedelivered != 0}
		if d.Redelivered {
			q.mu.counters.Redelivered++
		}
		n := c.base + uint64(i)
		q.markLocked(n, c.state[i])
		if noAck {
			q.mu.counters.GotAuto++
			q.endLocked(c, i)
			fn(&q.getter, &d, l.ready)
			q.free(m)
			return true, false
		}
		q.mu.counters.GotAck++
		d.Seq = l.seq(n)
		q.mu.unackedBytes += int64(len(m.Body))
		l.takeOut(c, i)
		fn(&q.getter, &d, l.ready)
		return true, false
	}
	q.mu.counters.GetEmpty++
	return false, false
}
