package core

// settle ends or returns entries that h holds, and uses the credit that frees.
func (q *classic) settle(h *Holder, op Settlement, seqs []Seq, t *Touched) {
	q.mu.Lock()
	if q.gone.Load() {
		q.mu.Unlock()
		q.releaseShared(h, len(seqs), t)
		return
	}
	n := 0
	var now int64
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
		if op == Requeue {
			if m.ExpiresMS != 0 && now == 0 {
				now = q.broker.now()
			}
			if q.requeueLocked(c, i, m, now) {
				continue
			}
		}
		q.endLocked(c, i)
		q.free(m)
	}
	switch op {
	case Ack:
		q.mu.counters.Acked += uint64(n)
	case Requeue:
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
	q.unlock()
	q.releaseShared(h, n, t)
}

// releaseShared gives back the credit of n deliveries that other consumers share.
func (q *classic) releaseShared(h *Holder, n int, t *Touched) {
	if h.consumer != nil && h.consumer.opts.Shared != nil && n != 0 {
		h.consumer.opts.Shared.release(n, t)
	}
}

// requeueLocked puts an entry back to its place. It reports false if the
// message has expired meanwhile: the caller then ends it.
func (q *classic) requeueLocked(c *chunk, i int32, m *Message, now int64) bool {
	if m.ExpiresMS != 0 && m.ExpiresMS <= now {
		q.mu.counters.Expired++
		return false
	}
	q.mu.entries.putBack(c, i)
	q.mu.readyBytes += int64(len(m.Body))
	if q.isTimed(m) {
		c.state[i] |= flagTimed
		q.addTimedLocked(m.ExpiresMS, c.base+Seq(i))
	}
	q.setExpiryTimerLocked()
	return true
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
	if e.out == 0 {
		q.discardAllLocked()
		return n
	}
	for l := range e.levels() {
		q.purgeLevelLocked(l)
	}
	return n
}

// survivors returns the stored entries that a purge leaves, ascending.
func (l *level) survivors() (seqs []Seq) {
	for c := l.head; c != nil; c = c.next {
		for i, s := range c.state {
			if s&stateMask == stateOut && s&flagLogged != 0 {
				seqs = append(seqs, c.base+Seq(i))
			}
		}
	}
	return seqs
}

// purgeLevelLocked removes what is ready in l, of which the log knows already.
func (q *classic) purgeLevelLocked(l *level) {
	for c := l.head; c != nil; {
		next := c.next
		for i := int32(0); i < chunkLen && c.ready > 0; i++ {
			if c.state[i]&stateMask != stateReady {
				continue
			}
			q.leaveReadyLocked(c, i)
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
