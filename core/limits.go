package core

// A queue's limits are about what is ready or delayed. What goes straight to a
// consumer, is unacked or leaving does not count.

// limited reports whether the queue may become full.
func (r *queueRules) limited() bool { return r.maxLength >= 0 || r.maxLengthBytes >= 0 }

// over reports whether so many messages, with so many bytes, are too many.
func (r *queueRules) over(n int, bytes int64) bool {
	return r.maxLength >= 0 && int64(n) > r.maxLength || r.maxLengthBytes >= 0 && bytes > r.maxLengthBytes
}

// heldLocked is what counts.
func (q *classic) heldLocked() (n int, bytes int64) {
	return q.mu.entries.ready + q.mu.entries.delayed, q.mu.readyBytes + q.mu.retry.bytes
}

// enqueueBoundedLocked makes ms ready entries, but for those that are too many.
func (q *classic) enqueueBoundedLocked(p *Publisher, ms []Publication) {
	if q.mu.rules.overflow == overflowDropHead {
		q.enqueueLocked(p, ms)
		return
	}
	n, bytes := q.heldLocked()
	from := 0
	for i := range ms {
		size := int64(len(ms[i].Body))
		if !q.mu.rules.over(n+1, bytes+size) {
			n++
			bytes += size
			continue
		}
		q.enqueueLocked(p, ms[from:i])
		q.refuseLocked(p, &ms[i])
		from = i + 1
	}
	q.enqueueLocked(p, ms[from:])
}

// refuseLocked does not take m. With reject-publish-dlx m is dead-lettered all
// the same, which takes an entry that was never ready.
func (q *classic) refuseLocked(p *Publisher, m *Publication) {
	m.Refused = Full
	q.mu.counters.Refused++
	if p.moves != nil {
		m.refusedBy = append(m.refusedBy, q)
	}
	if q.mu.rules.overflow != overflowRejectDead || !q.mu.rules.deadLetters {
		return
	}
	q.countDeathLocked(deathMaxLength)
	m.ExpiresMS = 0
	state := stateLeaving
	if q.stores(&m.Message) {
		state |= flagLogged
	}
	r, l := q.rest(m), q.levelOf(&m.Message)
	s := q.mu.entries.add(l, r, state)
	if state&flagLogged != 0 {
		q.storeLocked(p, m, r, l, s)
	}
	q.sendOffLocked(s, deathMaxLength)
}

// dropHeadLocked makes room: the oldest of the highest priority go, as they
// would have been delivered first.
func (q *classic) dropHeadLocked() {
	if q.mu.rules.overflow != overflowDropHead {
		return
	}
	e, r := &q.mu.entries, &q.mu.retry
	for q.mu.rules.over(q.heldLocked()) {
		switch {
		case e.ready > 0:
			c, i := e.firstReady()
			q.leaveReadyLocked(c, i)
			q.dieLocked(c, i, deathMaxLength)
		case e.delayed > 0:
			s := r.due[0].seq
			r.due = popTimed(r.due)
			if c := q.delayedAtLocked(s); c != nil {
				q.leaveDelayedLocked(c, s.slot())
				q.dieLocked(c, s.slot(), deathMaxLength)
			}
		default:
			return
		}
	}
}
