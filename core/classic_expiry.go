package core

// A message expires where it stands, not only when it reaches the head. With a
// TTL of the queue alone that is the same: entries expire in their order, and
// the timer follows the head. A message whose own TTL is shorter gets an item
// of 16 bytes in a heap. Items whose entry has left are dropped as they come
// up, and the heap is rebuilt when they are the majority.

type timedEntry struct {
	atMS int64
	seq  Seq
}

type expiryTask struct{ q *classic }

func (e expiryTask) Fire(nowMS int64) { e.q.expire(nowMS) }

type idleTask struct{ q *classic }

func (e idleTask) Fire(nowMS int64) { e.q.expireIdle(nowMS) }

// expiryOf is when m, published at nowMS, expires in q; 0 for never.
func (q *classic) expiryOf(m *Publication, nowMS int64) int64 {
	ttl := q.mu.rules.ttlMS
	if m.TTLMS >= 0 && (ttl < 0 || m.TTLMS < ttl) {
		ttl = m.TTLMS
	}
	if ttl < 0 {
		return 0
	}
	return nowMS + ttl
}

// isTimed reports whether m may expire before the entries in front of it.
func (q *classic) isTimed(m *Message) bool {
	return m.ExpiresMS != 0 && (q.mu.mixedTTL || q.mu.rules.ttlMS < 0 || m.ExpiresMS < m.ArrivedMS+q.mu.rules.ttlMS)
}

func (q *classic) addTimedLocked(atMS int64, s Seq) {
	if len(q.mu.timed) > 64 && len(q.mu.timed) > 2*q.mu.timedLive {
		q.rebuildTimedLocked()
	}
	q.mu.timedLive++
	q.mu.timed = pushTimed(q.mu.timed, timedEntry{atMS, s})
}

// pushTimed adds e to a heap.
func pushTimed(h []timedEntry, e timedEntry) []timedEntry {
	h = append(h, e)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if h[up].atMS <= h[i].atMS {
			break
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
	return h
}

// popTimed removes the first of a heap.
func popTimed(h []timedEntry) []timedEntry {
	last := len(h) - 1
	h[0] = h[last]
	siftDown(h[:last], 0)
	return h[:last]
}

// heapified makes h a heap.
func heapified(h []timedEntry) []timedEntry {
	for i := len(h)/2 - 1; i >= 0; i-- {
		siftDown(h, i)
	}
	return h
}

func siftDown(h []timedEntry, i int) {
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1].atMS < h[c].atMS {
			c++
		}
		if h[i].atMS <= h[c].atMS {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}

// rebuildTimedLocked drops the items whose entry is no longer ready.
func (q *classic) rebuildTimedLocked() {
	live := q.mu.timed[:0]
	for _, e := range q.mu.timed {
		if q.timedReadyLocked(e) != nil {
			live = append(live, e)
		}
	}
	q.mu.timed = heapified(live)
}

// timedReadyLocked returns the chunk of e's entry if e still speaks of it: if it
// is ready or delayed, that is.
func (q *classic) timedReadyLocked(e timedEntry) *chunk {
	c := q.mu.entries.find(e.seq)
	if c == nil {
		return nil
	}
	switch c.state[e.seq.slot()] & (stateMask | flagTimed) {
	case stateReady | flagTimed, stateDelayed | flagTimed:
		return c
	}
	return nil
}

// inTurnLocked reports whether there may be entries that expire in their turn.
func (q *classic) inTurnLocked() bool { return q.mu.rules.ttlMS >= 0 || q.mu.mixedTTL }

// headExpiry is when l's first ready entry expires, 0 for never. A cold one has
// an item of its own.
func (l *level) headExpiry() int64 {
	if l.ready == 0 {
		return 0
	}
	c, i := l.firstReady()
	if c.state[i]&flagCold != 0 {
		return 0
	}
	return c.msg[i].ExpiresMS
}

// setExpiryTimerLocked sets the timer to the earliest expiry.
func (q *classic) setExpiryTimerLocked() {
	var at int64
	if len(q.mu.timed) != 0 {
		at = q.mu.timed[0].atMS
	}
	if q.inTurnLocked() && q.mu.entries.ready > 0 {
		for l := range q.mu.entries.levels() {
			if e := l.headExpiry(); e != 0 && (at == 0 || e < at) {
				at = e
			}
		}
	}
	if at != 0 && (q.mu.expiryAtMS == 0 || at < q.mu.expiryAtMS) {
		q.mu.expiryAtMS = at
		q.broker.wheel.Schedule(&q.expiryTimer, at)
	}
}

// expireLocked ends a ready or delayed entry whose time is over.
func (q *classic) expireLocked(c *chunk, i int32) {
	q.mu.counters.Expired++
	if c.state[i]&stateMask == stateDelayed {
		q.leaveDelayedLocked(c, i)
	} else {
		q.leaveReadyLocked(c, i)
	}
	q.dieLocked(c, i, deathExpired)
}

// expireAtOnce bounds how long a mass expiry keeps the lock.
const expireAtOnce = 1000

// expire ends all that is due. The wheel calls it.
func (q *classic) expire(now int64) {
	for more := true; more; {
		more = false
		q.mu.Lock()
		q.mu.expiryAtMS = 0
		if q.gone.Load() {
			q.mu.Unlock()
			return
		}
		if q.mu.entries.leaving >= leavingMax {
			q.mu.leaving.expiring = true // The worker goes on with it.
			q.unlock()
			return
		}
		n := 0
		for len(q.mu.timed) != 0 && q.mu.timed[0].atMS <= now && n < expireAtOnce {
			e := q.mu.timed[0]
			q.mu.timed = popTimed(q.mu.timed)
			if c := q.timedReadyLocked(e); c != nil {
				q.expireLocked(c, e.seq.slot())
			}
			n++
		}
		if q.inTurnLocked() {
			for l := range q.mu.entries.levels() {
				for e := l.headExpiry(); e != 0 && e <= now && n < expireAtOnce; e = l.headExpiry() {
					q.expireLocked(l.firstReady())
					n++
				}
			}
		}
		if more = n == expireAtOnce; !more {
			q.setExpiryTimerLocked()
		}
		q.unlock()
	}
}

// expireIdle deletes the queue if nobody has used it for x-expires.
func (q *classic) expireIdle(now int64) {
	q.mu.Lock()
	used := len(q.mu.consumers) != 0
	gone := q.gone.Load()
	expires := q.mu.rules.expiresMS
	q.mu.Unlock()
	due := q.lastUse.Load() + expires
	switch {
	case gone, used, expires < 0: // removeConsumer or applyRules sets the timer again.
	case due > now:
		q.broker.wheel.Schedule(&q.idleTimer, due)
	default:
		// A definition's delete may wait for a disk, which the wheel must not.
		q.broker.spawn(func() {
			var t Touched
			q.vhost.deleteQueueIf(q, func(i QueueInfo) error {
				expires := q.mu.rules.expiresMS // closeIf holds the lock.
				if i.Consumers != 0 || expires < 0 || q.lastUse.Load()+expires > q.broker.now() {
					if expires >= 0 {
						q.broker.wheel.Schedule(&q.idleTimer, q.broker.now()+expires)
					}
					return errorf(InUse, "queue '%s' in vhost '%s' in use", q.opts.Name, q.opts.VHost)
				}
				return nil
			}, "expired", "", &t)
			t.Flush()
		})
	}
}
