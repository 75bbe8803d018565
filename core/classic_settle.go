package core

// settle ends or returns entries that h holds, and uses the credit that frees.
func (q *classic) settle(h *Holder, op Settlement, seqs []Seq, t *Touched) {
	q.settleIn(nil, h, op, seqs, t)
}

// settleIn is settle. What p acks in a transaction ends with its change set; p is
// nil for what stands alone.
func (q *classic) settleIn(p *Publisher, h *Holder, op Settlement, seqs []Seq, t *Touched) {
	q.mu.Lock()
	if q.gone.Load() {
		q.mu.Unlock()
		q.releaseShared(h, len(seqs), t)
		return
	}
	n := 0
	var now int64
	var leaving []Seq
	var watched *watch
	if h.consumer != nil {
		watched = h.consumer.in.watch
	}
	for _, s := range seqs {
		c, i := q.mu.entries.find(s), s.slot()
		if watched != nil && watched.lost(s) || c == nil || c.state[i]&stateMask != stateOut {
			continue
		}
		if watched != nil && op != Ack {
			watched.givesBack(s)
		}
		n++
		m := c.msg[i]
		q.mu.unackedBytes -= int64(len(m.Body))
		switch op {
		case Requeue, Fail:
			if now == 0 {
				now = q.broker.now()
			}
			q.giveBackLocked(c, i, m, op == Fail, now)
		case Discard:
			q.dieLocked(c, i, deathRejected)
		default:
			if p != nil && c.state[i]&(flagLogged|flagPaged) == flagLogged {
				q.mu.entries.set(c, i, stateLeaving)
				leaving = append(leaving, s)
				continue
			}
			q.endLocked(c, i)
			q.free(m)
		}
	}
	if leaving != nil {
		q.ackInLocked(p, leaving)
	}
	switch op {
	case Ack:
		q.mu.counters.Acked += uint64(n)
		h.tally.addKind(countAcked, q.kind, n)
	case Requeue, Fail:
		q.mu.counters.Returned += uint64(n)
	case Discard:
		q.mu.counters.Rejected += uint64(n)
	}
	if c := h.consumer; c != nil && n != 0 {
		c.in.unacked -= n
		if watched != nil {
			q.clearWatchLocked(c)
		}
		if q.mu.single != nil {
			q.electLocked()
		}
		q.relinkLocked(c)
	}
	q.deliverLocked(t)
	if op != Ack && q.mu.rules.limited() {
		q.dropHeadLocked()
	}
	q.unlock()
	q.releaseShared(h, n, t)
}

// releaseShared gives back the credit of n deliveries that other consumers share.
func (q *classic) releaseShared(h *Holder, n int, t *Touched) {
	if h.consumer != nil && h.consumer.opts.Shared != nil && n != 0 {
		h.consumer.opts.Shared.release(n, t)
	}
}

// putBackLocked puts an entry that is out back to its place.
func (q *classic) putBackLocked(c *chunk, i int32, m *Message) {
	q.mu.entries.putBack(c, i)
	q.mu.readyBytes += int64(len(m.Body))
	if q.isTimed(m) {
		c.state[i] |= flagTimed
		q.addTimedLocked(m.ExpiresMS, c.base+Seq(i))
	}
	q.setExpiryTimerLocked()
}

// purge removes what is ready and returns how many that were.
func (q *classic) purge(*Touched) int {
	q.mu.Lock()
	defer q.unlock()
	e := &q.mu.entries
	n := e.ready
	q.mu.counters.Purged += uint64(n)
	if q.log != nil {
		for l := range e.levels() {
			q.log.Purge(l.prio, l.next, l.survivors())
		}
	}
	if e.out+e.leaving == 0 {
		q.discardAllLocked()
		return n
	}
	for l := range e.levels() {
		q.removeLocked(l, 1<<stateReady|1<<stateDelayed)
	}
	return n
}

// survivors returns the stored entries that a purge leaves, ascending.
func (l *level) survivors() (seqs []Seq) {
	for c := l.head; c != nil; c = c.next {
		for i, s := range c.state {
			if s&flagLogged == 0 {
				continue
			}
			if state := s & stateMask; state == stateOut || state == stateLeaving {
				seqs = append(seqs, c.base+Seq(i))
			}
		}
	}
	return seqs
}

// removeLocked removes what is in one of states in l, of which the log knows
// already.
func (q *classic) removeLocked(l *level, states uint8) {
	for c := l.head; c != nil; {
		next := c.next
		for i := int32(0); i < chunkLen; i++ {
			state := c.state[i] & stateMask
			if state == stateGone || states>>state&1 == 0 {
				continue
			}
			switch state {
			case stateReady:
				q.leaveReadyLocked(c, i)
			case stateDelayed:
				q.leaveDelayedLocked(c, i)
			}
			q.forgetAttemptsLocked(c.base + Seq(i))
			if c.state[i]&(flagLogged|flagPaged) == flagLogged {
				q.mu.persistent--
			}
			last := c.live == 1
			if m := q.mu.entries.remove(c, i); m != nil {
				q.free(m)
			}
			if last {
				break // c is recycled.
			}
		}
		c = next
	}
}
