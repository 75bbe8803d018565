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
	if q.mu.resting.charged <= share && q.mu.entries.cold == 0 {
		q.mu.paging = false
		return false
	}
	if !q.mu.paging {
		q.mu.paging = true
		for l := range q.mu.entries.levels() {
			l.pageNext = l.next // What is there now is the head that stays.
		}
	}
	return true
}

// pageLocked gives a transient message, just made entry s, to the log, so that
// it can leave memory.
func (q *classic) pageLocked(p *Publisher, m, origin *Message, s Seq) {
	c := q.mu.entries.find(s)
	c.state[s.slot()] |= flagLogged | flagPaged
	q.log.Add(p.pagingSet(), s, m, origin)
}

// pageOutLocked makes entries cold that the log has written.
func (q *classic) pageOutLocked() {
	if !q.overShareLocked() {
		return
	}
	for l := range q.mu.entries.levels() {
		if l.pageNext < l.next {
			q.pageOutLevelLocked(l)
		}
	}
}

func (q *classic) pageOutLevelLocked(l *level) {
	e := &q.mu.entries
	written := q.log.Written(l.prio)
	for s := l.pageNext; s < min(written, l.next); {
		c := e.find(s)
		if c == nil {
			s = s.chunkBase() + chunkLen
			continue
		}
		for i := s.slot(); i < chunkLen && s < written; i, s = i+1, s+1 {
			if c.state[i]&(stateMask|flagLogged|flagCold) != stateReady|flagLogged {
				continue
			}
			if m := c.msg[i]; m.ExpiresMS != 0 && c.state[i]&flagTimed == 0 {
				c.state[i] |= flagTimed
				q.addTimedLocked(m.ExpiresMS, s)
			}
			q.free(e.freeze(c, i))
		}
		l.pageNext = s
	}
}

// wantsColdLocked reports whether cold messages should be read: one is next, or
// fewer than enough are in memory.
func (q *classic) wantsColdLocked(enough int) bool {
	e := &q.mu.entries
	return e.cold > 0 && len(q.mu.consumers) != 0 && (e.ready-e.cold < enough || q.headColdLocked())
}

// fetchAheadLocked starts a fetch if consumers will soon want what is cold.
func (q *classic) fetchAheadLocked() {
	if q.mu.fetching || !q.wantsColdLocked(fetchBelow) {
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
	e := &q.mu.entries
	for k, s := range seqs {
		m := found[k]
		c, i := e.find(s), s.slot()
		switch cold := c != nil && c.state[i]&flagCold != 0; {
		case cold && m != nil:
			// The log knows the message's own expiry only; the queue's heap knows
			// when it expires here, and that item stays.
			q.mu.readyBytes -= e.thaw(c, i, m)
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
	more = notNow == nil && !q.gone.Load() && q.wantsColdLocked(2*fetchBelow)
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
	if !q.gone.Load() {
		q.fetchAheadLocked()
	}
}

// firstCold returns the tokens of the first cold entries, all of one level.
func (q *classic) firstCold() (seqs []Seq) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.entries.cold == 0 {
		return nil
	}
	var l *level
	for l = range q.mu.entries.levels() {
		if l.cold > 0 {
			break
		}
	}
	budget := q.broker.queueMemory / 4
	for c := l.cursor; c != nil && len(seqs) < fetchAtOnce && budget > 0; c = c.next {
		if c.cold == 0 {
			continue
		}
		each := c.coldBytes / int64(c.cold)
		for i := range c.state {
			if c.state[i]&flagCold != 0 {
				seqs = append(seqs, c.base+Seq(i))
				budget -= each
			}
		}
	}
	return seqs
}

// markLocked notes that the entry s of l is handed out.
func (q *classic) markLocked(l *level, s Seq, state uint8) {
	if state&flagLogged == 0 {
		return
	}
	l.handed = max(l.handed, s+1)
	q.reserveLocked(l, s, l.next)
}

// unmarked reports whether the entry s, in state, waits for the write of its
// mark: handed out now it might come back after a crash as if it never was.
func (l *level) unmarked(s Seq, state uint8) bool {
	return s >= l.onDisk && s < l.behind && state&flagLogged != 0
}

// mayHandLocked reports whether the entry s of l, in state, may be handed out.
// If not, consumers get it when its mark is written.
func (q *classic) mayHandLocked(l *level, s Seq, state uint8) bool {
	if s < l.onDisk || state&flagLogged == 0 {
		return true
	}
	q.reserveLocked(l, s, l.next)
	return !l.unmarked(s, state)
}

// markWritten notes that the mark of l below upTo is written.
func (q *classic) markWritten(l *level, upTo Seq) {
	var t Touched
	q.mu.Lock()
	l.onDisk = max(l.onDisk, upTo)
	for _, c := range q.mu.markAwaited {
		close(c)
	}
	q.mu.markAwaited = nil
	if !q.gone.Load() {
		q.deliverLocked(&t)
	}
	q.unlock()
	t.Flush()
}

// reserveLocked tells the log that entries of l up to s, and some behind it, may
// be handed out. It does so when half of what was reserved is used, when a consumer
// comes, and, while there are consumers, before a message's own set is written:
// so the mark is written by the time that it is needed. Only the first of the
// messages that were there before anyone wanted them wait for it. The log has
// been given the entries of l below added.
func (q *classic) reserveLocked(l *level, s, added Seq) {
	if s+markAhead/2 < l.marked {
		return
	}
	if added > l.marked {
		l.behind = added
	}
	upTo := s + markAhead
	l.marked = upTo
	if q.log.Mark(l.prio, upTo, func() { q.broker.spawn(func() { q.markWritten(l, upTo) }) }) {
		l.onDisk = upTo
	}
}

// stop tells the log how far the queue has really handed out, so that after a
// clean stop no message is marked that never left.
func (q *classic) stop() {
	q.mu.Lock()
	defer q.unlock()
	if q.log == nil {
		return
	}
	for l := range q.mu.entries.levels() {
		if l.marked != l.handed {
			l.marked = l.handed
			q.log.Mark(l.prio, l.handed, nil)
		}
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
	l := q.mu.entries.level(r.Priority)
	now := q.broker.now()
	for _, e := range r.Entries {
		state := flagLogged
		if e.Seq < r.Marked {
			state |= flagRedelivered
		}
		if e.ExpiresMS != 0 {
			state |= flagTimed
		}
		q.mu.entries.addCold(e.Seq, state, int64(e.BodyBytes))
		q.mu.readyBytes += int64(e.BodyBytes)
		q.mu.persistent++
		if e.ExpiresMS != 0 {
			q.addTimedLocked(e.ExpiresMS, e.Seq)
		}
		if e.Attempts.Acquired != 0 && q.countsLocked() {
			q.recoverAttemptsLocked(e.Seq, e.Attempts, int64(e.BodyBytes), now)
		}
	}
	l.next = max(l.next, r.Next, r.Marked)
	l.marked = max(r.Marked, firstSeq(l.prio))
	l.onDisk, l.handed, l.pageNext = l.marked, l.marked, l.next
	q.mu.found = append(q.mu.found, r.Held...)
	q.setExpiryTimerLocked()
}
