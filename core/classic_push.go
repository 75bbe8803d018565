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
		if q.mu.entries.present != nil {
			q.pushNewLocked(p, ms[r.from:r.to], t)
			continue
		}
		q.pushRunLocked(p, ms[r.from:r.to], t)
	}
	if q.mu.entries.ready >= paceAbove {
		q.paceLocked(p)
	}
	if q.mu.entries.leaving > leavingMax && p.moves == nil {
		p.leaving = q.mu.leaving.gate.closed()
	}
	q.unlock()
}

func (q *classic) pushRunLocked(p *Publisher, ms []Publication, t *Touched) {
	q.mu.counters.Published += uint64(len(ms))
	i, bytes := 0, 0
	for i < len(ms) && q.mu.entries.ready == 0 {
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
			l := q.levelOf(&m.Message)
			s := q.mu.entries.add(l, r, state)
			q.mu.unackedBytes += int64(len(r.Body))
			if state&flagLogged != 0 {
				l.handed = s + 1
			}
			q.handLocked(c, r, s, false)
			if state&flagLogged != 0 {
				q.storeLocked(p, m, r, l, s)
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
		if !q.mu.rules.limited() {
			q.enqueueLocked(p, ms[i:])
			q.deliverLocked(t)
			return
		}
		q.enqueueBoundedLocked(p, ms[i:])
		q.deliverLocked(t)
		q.dropHeadLocked()
	}
}

// levelOf returns the level that m belongs to.
func (q *classic) levelOf(m *Message) *level {
	if q.opts.MaxPriority == 0 {
		return &q.mu.entries.plain
	}
	return q.mu.entries.level(q.opts.priorityOf(m))
}

// stores reports whether m must be on disk before its publisher is told so.
func (q *classic) stores(m *Message) bool { return m.Persistent && q.log != nil }

// storeLocked refers to the entry s of l in the publisher's change set.
func (q *classic) storeLocked(p *Publisher, m *Publication, resting *Message, l *level, s Seq) {
	m.logged = true
	q.mu.persistent++
	if len(q.mu.consumers) != 0 && l.ready < markAhead/2 {
		q.reserveLocked(l, s, s)
	}
	q.log.Add(p.changeSet(), s, resting, &m.Message)
}

// enqueueLocked makes ms ready entries.
func (q *classic) enqueueLocked(p *Publisher, ms []Publication) {
	page := q.overShareLocked()
	if e := &q.mu.entries; q.mu.mixedTTL && e.ready+e.out == 0 {
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
		l := q.levelOf(&m.Message)
		s := q.mu.entries.add(l, r, state)
		q.mu.readyBytes += int64(len(r.Body))
		if state&flagLogged != 0 {
			q.storeLocked(p, m, r, l, s)
		} else if page {
			q.pageLocked(p, r, &m.Message, s)
		}
		if timed {
			q.addTimedLocked(m.ExpiresMS, s)
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
	c.in.pending = append(c.in.pending, Delivery{m, seq, DeliveryHistory{Redelivered: redelivered}})
	c.in.unacked++
	if c.in.watch != nil {
		q.watchedLocked(c, seq)
	}
	if c.in.prefetch > 0 && c.in.unacked >= c.in.prefetch {
		c.in.group.unlink(c)
	}
}

// handOverLocked passes what consumers were given to their outlets.
func (q *classic) handOverLocked(t *Touched) {
	taps := q.vhost.taps.Load()
	for i, c := range q.mu.given {
		q.mu.given[i] = nil
		n := len(c.in.pending)
		if n == 0 {
			continue
		}
		if c.opts.NoAck {
			q.mu.counters.DeliveredAuto += uint64(n)
			c.tally.addKind(countConsumedAuto, q.kind, n)
		} else {
			q.mu.counters.DeliveredAck += uint64(n)
			c.tally.addKind(countConsumedAck, q.kind, n)
		}
		if taps != nil {
			taps.delivered(q, c, c.in.pending)
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
	e := &q.mu.entries
	if e.ready == 0 || len(q.mu.consumers) == 0 {
		return
	}
	var done [deliverAtOnce]*Message // Handed to consumers that will not ack.
	var now int64
	for e.ready > 0 {
		n, bytes, freed := 0, 0, 0
		for e.ready > 0 && n < deliverAtOnce && bytes < deliverBytesAtOnce {
			c, i := e.firstReady()
			if c.state[i]&flagCold != 0 || !q.mayHandLocked(c.level, c.base+Seq(i), c.state[i]) {
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
				to.tally.addKind(countRedelivered, q.kind, 1)
			}
			if to.opts.NoAck {
				to.in.pending = append(to.in.pending, Delivery{m, 0, DeliveryHistory{Redelivered: redelivered}})
				if redelivered && len(q.mu.retry.attempts) != 0 {
					q.tellLocked(&to.in.pending[len(to.in.pending)-1], c.base+Seq(i))
				}
				q.markLocked(c.level, c.base+Seq(i), c.state[i])
				q.endLocked(c, i)
				done[freed] = m
				freed++
				continue
			}
			q.mu.unackedBytes += int64(len(m.Body))
			seq := c.base + Seq(i)
			q.markLocked(c.level, seq, c.state[i])
			e.takeOut(c, i)
			q.handLocked(to, m, seq, redelivered)
			if redelivered && len(q.mu.retry.attempts) != 0 {
				q.tellLocked(&to.in.pending[len(to.in.pending)-1], seq)
			}
		}
		q.handOverLocked(t)
		for _, m := range done[:freed] {
			q.free(m)
		}
		if n == 0 {
			break
		}
	}
	if e.cold > 0 {
		q.fetchAheadLocked()
	}
}

// leaveReadyLocked accounts for a ready entry that is about to be something else.
func (q *classic) leaveReadyLocked(c *chunk, i int32) {
	q.mu.readyBytes -= c.size(i)
	if c.state[i]&flagTimed != 0 {
		c.state[i] &^= flagTimed
		q.mu.timedLive--
	}
}

// endLocked removes an entry and lets the log know. The message is the
// caller's to free.
func (q *classic) endLocked(c *chunk, i int32) *Message {
	q.forgetAttemptsLocked(c.base + Seq(i))
	if c.state[i]&flagLogged != 0 {
		if c.state[i]&flagPaged == 0 {
			q.mu.persistent--
		}
		q.mu.settled = append(q.mu.settled, c.base+Seq(i))
	}
	return q.mu.entries.remove(c, i)
}

// getterLocked is who holds what somebody counted by t gets.
func (q *classic) getterLocked(t *tally) *Holder {
	if t == nil {
		return &q.getter
	}
	for _, h := range q.mu.getters {
		if h.tally.meter == t.meter {
			return h
		}
	}
	h := &Holder{queue: q, tally: t}
	q.mu.getters = append(q.mu.getters, h)
	return h
}

// get hands the first ready message to fn.
func (q *classic) get(t *tally, noAck bool, fn func(h *Holder, d *Delivery, remaining int)) (bool, error) {
	if q.opts.SingleActive && q.opts.Type == QueueQuorum {
		return false, errorf(Locked, "cannot obtain access to locked queue '%s' in vhost '%s'. basic.get operations are not supported by quorum queues with single active consumer",
			q.opts.Name, q.opts.VHost)
	}
	q.touch()
	for {
		found, cold, marked := q.getWarm(t, noAck, fn)
		if marked != nil {
			<-marked
			continue
		}
		if !cold {
			return found, nil
		}
		if _, err := q.fetch(); err != nil {
			return false, errorf(Unavailable, "the next message of queue '%s' in vhost '%s' cannot be read now: %v", q.opts.Name, q.opts.VHost, err)
		}
	}
}

// getWarm is get if the first message is in memory, otherwise it says so. If
// the message's mark must be written first, marked is closed when that is worth
// another look.
func (q *classic) getWarm(t *tally, noAck bool, fn func(h *Holder, d *Delivery, remaining int)) (found, cold bool, marked chan struct{}) {
	q.mu.Lock()
	defer q.unlock()
	e := &q.mu.entries
	var now int64
	for e.ready > 0 {
		c, i := e.firstReady()
		if c.state[i]&flagCold != 0 {
			return false, true, nil
		}
		if !q.mayHandLocked(c.level, c.base+Seq(i), c.state[i]) {
			marked = make(chan struct{})
			q.mu.markAwaited = append(q.mu.markAwaited, marked)
			return false, false, marked
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
		d := Delivery{m, 0, DeliveryHistory{Redelivered: c.state[i]&flagRedelivered != 0}}
		if d.Redelivered {
			q.mu.counters.Redelivered++
			t.addKind(countRedelivered, q.kind, 1)
		}
		seq := c.base + Seq(i)
		if d.Redelivered {
			q.tellLocked(&d, seq)
		}
		q.markLocked(c.level, seq, c.state[i])
		if noAck {
			q.mu.counters.GotAuto++
			q.endLocked(c, i)
			fn(q.getterLocked(t), &d, e.ready)
			q.free(m)
			return true, false, nil
		}
		q.mu.counters.GotAck++
		d.Seq = seq
		q.mu.unackedBytes += int64(len(m.Body))
		e.takeOut(c, i)
		fn(q.getterLocked(t), &d, e.ready)
		return true, false, nil
	}
	q.mu.counters.GetEmpty++
	return false, false, nil
}
