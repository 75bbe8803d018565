package core

import "errors"

// A queue keeps in memory what its share allows, at its head, where consumers
// will want it first. What arrives beyond that leaves memory as soon as the log
// has written it: a cold entry is a byte of state here and a place in the log.
// Transient messages are given to the log for that purpose alone. When
// consumers come near the cold stretch, a fetch reads ahead of them in batches
// outside the lock; publishers meanwhile only append at the tail.
//
//	 head                                                      tail
//	 | in memory | cold ... cold ... cold | not yet written     |
//	             ^ fetch                  ^ pageNext

const (
	// fetchAtOnce bounds how many messages a fetch reads at a time.
	fetchAtOnce = 512
	// fetchBelow is how few ready messages in memory make a fetch begin; it
	// ends with twice as many.
	fetchBelow = 1024
	// fetchRetryMS is when to read again what could not be read.
	fetchRetryMS = 1000
	// shareWhenPressed is a queue's share of memory while that is short.
	shareWhenPressed = 1 << 20
	// markAhead is how many entries are marked as handed out before they are,
	// so that no delivery waits for the log.
	markAhead = 4096
)

// overShareLocked reports whether the queue keeps more in memory than it may.
func (q *classic) overShareLocked() bool {
	if q.log == nil {
		return false
	}
	share := q.broker.queueMemory
	if q.broker.memory.pressed() {
		share = min(share, shareWhenPressed)
	}
	if q.mu.resting.charged <= share && q.mu.level.cold == 0 {
		q.mu.pageNext = q.mu.level.next // What is there now is the head that stays.
		return false
	}
	return q.mu.resting.charged > share/2 || q.mu.level.cold > 0
}

// pageLocked gives a transient message, just made entry n, to the log, so that
// it can leave memory.
func (q *classic) pageLocked(p *Publisher, m, origin *Message, n uint64) {
	c := q.mu.level.find(n)
	c.state[n&(chunkLen-1)] |= flagLogged | flagPaged
	q.log.Add(p.pagingSet(), q.mu.level.seq(n), m, origin)
}

// pageOutLocked makes entries cold that the log has written.
func (q *classic) pageOutLocked() {
	if !q.overShareLocked() {
		return
	}
	l := &q.mu.level
	written := q.log.Written(l.prio).number()
	for n := q.mu.pageNext; n < min(written, l.next); {
		c := l.find(n)
		if c == nil {
			n = n&^(chunkLen-1) + chunkLen
			continue
		}
		for i := int32(n & (chunkLen - 1)); i < chunkLen && n < written; i, n = i+1, n+1 {
			if s := c.state[i]; s&(stateMask|flagLogged|flagCold) != stateReady|flagLogged {
				continue
			}
			if m := c.msg[i]; m.ExpiresMS != 0 && c.state[i]&flagTimed == 0 {
				c.state[i] |= flagTimed
				q.addTimedLocked(m.ExpiresMS, c.base+uint64(i))
			}
			q.free(l.freeze(c, i))
		}
		q.mu.pageNext = n
	}
}

// fetchAheadLocked starts a fetch if consumers will soon want what is cold.
func (q *classic) fetchAheadLocked() {
	l := &q.mu.level
	if q.mu.fetching || len(q.mu.consumers) == 0 || l.ready-l.cold >= fetchBelow {
		return
	}
	q.mu.fetching = true
	q.broker.spawn(func() {
		for more := true; more; {
			more, _ = q.fetch()
		}
	})
}

// fetch reads the first cold messages into memory and delivers what it can. It
// reports whether to go on: there is more to read, consumers want it, and not
// enough is in memory yet; or that it will be tried again later. It blocks.
func (q *classic) fetch() (more bool, notNow error) {
	seqs := q.firstCold()
	var arena resting
	found := make([]*Message, len(seqs))
	lost := make([]bool, len(seqs))
	if len(seqs) != 0 {
		q.broker.log.Read(q.opts.ID, seqs, func(i int, m *Message, err error) {
			switch {
			case err == nil:
				found[i] = arena.rest(m)
			case errors.Is(err, ErrNotNow):
				notNow = err
			default:
				lost[i] = true
				q.broker.logger.Error("message lost: it cannot be read back from the log", "queue", q.opts.Name, "vhost", q.opts.VHost, "error", err)
			}
		})
	}

	var t Touched
	q.mu.Lock()
	l := &q.mu.level
	for k, s := range seqs {
		n, m := s.number(), found[k]
		c, i := l.find(n), int32(n&(chunkLen-1))
		switch cold := c != nil && c.state[i]&flagCold != 0; {
		case cold && m != nil:
			// The log knows the message's own expiry only; the queue's heap knows
			// when it expires here, and that item stays.
			q.mu.readyBytes -= l.thaw(c, i, m)
		case cold && lost[k]:
			q.mu.counters.Damaged++
			q.leaveReadyLocked(c, i)
			q.endLocked(c, i)
		case m != nil: // Purged or expired meanwhile.
			arena.release(m)
		}
	}
	q.mu.resting.adopt(&arena)
	q.deliverLocked(&t)
	more = notNow == nil && l.cold > 0 && len(q.mu.consumers) != 0 && l.ready-l.cold < 2*fetchBelow && !q.gone.Load()
	if !more {
		q.mu.fetching = false
	}
	q.unlock()
	t.Flush()
	if notNow != nil {
		q.broker.logger.Warn("messages cannot be read now, trying again", "queue", q.opts.Name, "vhost", q.opts.VHost, "error", notNow)
		q.broker.wheel.Schedule(&q.fetchTimer, q.broker.now()+fetchRetryMS)
	}
	return more, notNow
}

type fetchTask struct{ q *classic }

// Fire tries again to read what could not be read.
func (f fetchTask) Fire(int64) {
	q := f.q
	q.mu.Lock()
	defer q.unlock()
	if !q.gone.Load() && q.mu.level.cold > 0 {
		q.fetchAheadLocked()
	}
}

// firstCold returns the tokens of the first cold entries.
func (q *classic) firstCold() (seqs []Seq) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := &q.mu.level
	if l.cold == 0 {
		return nil
	}
	budget := q.broker.queueMemory / 4
	for c := l.cursor; c != nil && len(seqs) < fetchAtOnce && budget > 0; c = c.next {
		if c.cold == 0 {
			continue
		}
		each := c.coldBytes / int64(c.cold)
		for i := range c.state {
			if c.state[i]&flagCold != 0 {
				seqs = append(seqs, l.seq(c.base+uint64(i)))
				budget -= each
			}
		}
	}
	return seqs
}

// markLocked notes that entry n is handed out.
func (q *classic) markLocked(n uint64, state uint8) {
	if state&flagLogged == 0 {
		return
	}
	q.mu.handed = max(q.mu.handed, n+1)
	q.reserveLocked(n)
}

// reserveLocked tells the log that entries up to n, and some behind it, may be
// handed out. It does so when half of what was reserved is used, when a consumer
// comes, and, while there are consumers, before a message's own set is written:
// so the mark is on disk by the time that it is needed, but for a message that
// was on disk before anyone wanted it and is handed out within the one write
// that the mark takes.
func (q *classic) reserveLocked(n uint64) {
	if n+markAhead/2 < q.mu.marked {
		return
	}
	q.mu.marked = n + markAhead
	q.log.Mark(q.mu.level.prio, q.mu.level.seq(q.mu.marked))
}

// stop tells the log how far the queue has really handed out, so that after a
// clean stop no message is marked that never left.
func (q *classic) stop() {
	q.mu.Lock()
	defer q.unlock()
	if q.log != nil && q.mu.marked != q.mu.handed {
		q.mu.marked = q.mu.handed
		q.log.Mark(q.mu.level.prio, q.mu.level.seq(q.mu.handed))
	}
}

// adopt takes over what rests in o.
func (r *resting) adopt(o *resting) {
	if o.slab != nil && o.slab.live == 0 {
		o.drop(o.slab)
	}
	r.charged += o.charged
	r.pending += o.pending
	*o = resting{}
}

// recover gives the queue what the log holds of it. It is called before anyone
// else knows the queue.
func (q *classic) recover(r RecoveredLevel) {
	q.mu.Lock()
	defer q.unlock()
	l := &q.mu.level
	marked := r.Marked.number()
	for _, e := range r.Entries {
		n := e.Seq.number()
		state := flagLogged
		if n < marked {
			state |= flagRedelivered
		}
		if e.ExpiresMS != 0 {
			state |= flagTimed
		}
		l.addCold(n, state, int64(e.BodyBytes))
		q.mu.readyBytes += int64(e.BodyBytes)
		q.mu.persistent++
		if e.ExpiresMS != 0 {
			q.addTimedLocked(e.ExpiresMS, n)
		}
	}
	l.next = max(l.next, r.Next.number(), marked)
	q.mu.marked, q.mu.handed = marked, marked
	q.mu.pageNext = l.next
	q.setExpiryTimerLocked()
}
