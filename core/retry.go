package core

import (
	"math"
	"math/rand/v2"
)

// A queue with a delivery limit counts how often each message was handed out in
// vain, and does something about it beyond the limit. One with delayed retry
// keeps what is given back out of the way for a while, longer each time. Only
// messages that were given back are in these tables; others cost nothing.

// retry is a queue's part of it, guarded by the queue's lock.
type retry struct {
	attempts map[Seq]attempts
	due      []timedEntry // Heap of delayed entries; some may have left.
	bytes    int64        // Of the bodies of delayed entries.
	timerMS  int64        // When the timer is set to fire; 0 for not at all.
}

// attempts is what became of an entry before.
type attempts struct {
	acquired uint32 // Times it was handed out and came back,
	failed   uint32 // and the part of these in which that was a failure.
	body     int64  // Its length, of a delayed entry whose message is in the log only.
}

// countsLocked reports whether what is given back is counted.
func (q *classic) countsLocked() bool {
	r := &q.mu.rules
	return r.deliveryLimit >= 0 || r.retry != retryDisabled || q.opts.Type == QueueQuorum
}

// forgetAttemptsLocked is called when the entry s ends.
func (q *classic) forgetAttemptsLocked(s Seq) {
	if len(q.mu.retry.attempts) != 0 {
		delete(q.mu.retry.attempts, s)
	}
}

// giveBackLocked returns the entry at (c, i), which is out: to its place, at
// once or later, unless its time is over or it failed too often.
func (q *classic) giveBackLocked(c *chunk, i int32, m *Message, failed bool, now int64) {
	if m.ExpiresMS != 0 && m.ExpiresMS <= now {
		q.mu.counters.Expired++
		q.dieLocked(c, i, deathExpired)
		return
	}
	if !q.countsLocked() {
		q.putBackLocked(c, i, m)
		return
	}
	s, r := c.base+Seq(i), &q.mu.rules
	a := q.mu.retry.attempts[s]
	a.acquired++
	if failed {
		a.failed++
		if r.deliveryLimit >= 0 && int64(a.failed) > r.deliveryLimit {
			q.dieLocked(c, i, deathDeliveryLimit)
			return
		}
	}
	if q.mu.retry.attempts == nil {
		q.mu.retry.attempts = make(map[Seq]attempts)
	}
	q.mu.retry.attempts[s] = a
	var due int64
	if r.retry == retryAll || r.retry == retryFailed && failed || r.retry == retryReturned && !failed {
		n := a.failed
		if r.retry != retryFailed {
			n = a.acquired
		}
		due = now + r.backOff(n)
		q.delayLocked(c, i, m, due)
	}
	if c.state[i]&(flagLogged|flagPaged) == flagLogged {
		q.mu.tried = append(q.mu.tried, tried{s, Attempts{Acquired: a.acquired, Failed: a.failed, DueMS: due}})
	}
	if due == 0 {
		q.putBackLocked(c, i, m)
	}
}

// tried is what the log is to be told of the entry seq.
type tried struct {
	seq Seq
	a   Attempts
}

// noteTriedLocked tells the log what became of messages. Nobody waits for it.
func (q *classic) noteTriedLocked() {
	set := q.broker.log.Begin()
	for _, t := range q.mu.tried {
		q.log.Retry(set, t.seq, t.a)
	}
	q.mu.tried = q.mu.tried[:0]
	set.Close(func(error) {})
}

// recoverAttemptsLocked gives the cold entry s what the log has of its past.
func (q *classic) recoverAttemptsLocked(s Seq, a Attempts, body, now int64) {
	r := &q.mu.retry
	if r.attempts == nil {
		r.attempts = make(map[Seq]attempts)
	}
	r.attempts[s] = attempts{acquired: a.Acquired, failed: a.Failed, body: body}
	if a.DueMS <= now {
		return
	}
	q.mu.readyBytes -= body
	r.bytes += body
	q.mu.entries.set(q.mu.entries.find(s), s.slot(), stateDelayed)
	r.due = pushTimed(r.due, timedEntry{a.DueMS, s})
	q.setRetryTimerLocked()
}

// delayedSizeLocked is the length of the body of the delayed entry s.
func (q *classic) delayedSizeLocked(c *chunk, s Seq) int64 {
	if c.msg != nil && c.msg[s.slot()] != nil {
		return int64(len(c.msg[s.slot()].Body))
	}
	return q.mu.retry.attempts[s].body
}

// tellLocked notes in d what became of the entry s before, where clients expect
// to be told.
func (q *classic) tellLocked(d *Delivery, s Seq) {
	if q.opts.Type == QueueQuorum {
		a := q.mu.retry.attempts[s]
		d.Acquired, d.note = uint16(min(a.acquired, math.MaxUint16)), a.failed
	}
}

// backOff is how long a message waits that came back for the nth time.
func (r *queueRules) backOff(n uint32) int64 {
	wait := r.retryMinMS
	if r.retryExponential {
		for k := uint32(1); k < n && wait < r.retryMaxMS; k++ {
			wait *= 2
		}
	} else if wait > 0 && int64(n) > r.retryMaxMS/wait {
		wait = r.retryMaxMS
	} else {
		wait *= int64(n)
	}
	if spread := wait / 100 * r.retryJitter; spread > 0 {
		wait += rand.Int64N(2*spread+1) - spread
	}
	return min(wait, r.retryMaxMS)
}

// delayLocked makes the entry at (c, i) wait until atMS.
func (q *classic) delayLocked(c *chunk, i int32, m *Message, atMS int64) {
	s, r := c.base+Seq(i), &q.mu.retry
	q.mu.entries.set(c, i, stateDelayed)
	c.state[i] |= flagRedelivered
	r.bytes += int64(len(m.Body))
	if m.ExpiresMS != 0 {
		c.state[i] |= flagTimed
		q.addTimedLocked(m.ExpiresMS, s)
		q.setExpiryTimerLocked()
	}
	if len(r.due) > 64 && len(r.due) > 2*q.mu.entries.delayed {
		live := r.due[:0]
		for _, e := range r.due {
			if q.delayedAtLocked(e.seq) != nil {
				live = append(live, e)
			}
		}
		r.due = heapified(live)
	}
	r.due = pushTimed(r.due, timedEntry{atMS, s})
	q.setRetryTimerLocked()
}

// delayedAtLocked returns the chunk of the entry s if that is delayed.
func (q *classic) delayedAtLocked(s Seq) *chunk {
	if c := q.mu.entries.find(s); c != nil && c.state[s.slot()]&stateMask == stateDelayed {
		return c
	}
	return nil
}

// leaveDelayedLocked accounts for a delayed entry that is about to be something
// else.
func (q *classic) leaveDelayedLocked(c *chunk, i int32) {
	q.mu.retry.bytes -= q.delayedSizeLocked(c, c.base+Seq(i))
	if c.state[i]&flagTimed != 0 {
		c.state[i] &^= flagTimed
		q.mu.timedLive--
	}
}

func (q *classic) setRetryTimerLocked() {
	r := &q.mu.retry
	if len(r.due) != 0 && (r.timerMS == 0 || r.due[0].atMS < r.timerMS) {
		r.timerMS = r.due[0].atMS
		q.broker.wheel.Schedule(&q.retryTimer, r.timerMS)
	}
}

type retryTask struct{ q *classic }

// Fire makes ready again what is due.
func (f retryTask) Fire(nowMS int64) {
	q := f.q
	var t Touched
	q.mu.Lock()
	r := &q.mu.retry
	r.timerMS = 0
	if !q.gone.Load() {
		for len(r.due) != 0 && r.due[0].atMS <= nowMS {
			s := r.due[0].seq
			r.due = popTimed(r.due)
			c, i := q.delayedAtLocked(s), s.slot()
			if c == nil {
				continue
			}
			size := q.delayedSizeLocked(c, s)
			r.bytes -= size
			q.mu.readyBytes += size
			q.mu.entries.revive(c, i, size)
		}
		q.setRetryTimerLocked()
		q.deliverLocked(&t)
	}
	q.unlock()
	t.Flush()
}
