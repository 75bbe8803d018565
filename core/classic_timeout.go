package core

import "leveret/core/wheel"

// A consumer that does not settle what it was handed within the consumer timeout
// loses it: what is overdue goes back to its place, and the consumer is ended,
// for it may hang. Where no timeout is configured, which is the default, nothing
// of this costs anything.
//
// Where one is, each consumer has its deliveries in the order in which they were
// made: 16 bytes for each that is unacked, and as many for settled ones that have
// not been cleared away. One timer of the queue's is set for the earliest of all.

// timeouts is the part of a queue that has, or had, a consumer timeout. The
// queue's lock guards it.
type timeouts struct {
	timer     wheel.Timer
	atMS      int64                  // When timer is set to fire; 0 for not at all.
	consumers map[*Consumer]struct{} // Those that were handed something, gone ones too.
}

// watch follows what one consumer was handed. The queue's lock guards it.
type watch struct {
	timeoutMS int64 // 0 for none any more.
	handed    []handedOut
	// returned counts those of handed that the consumer gave back: their entries
	// may be out again, to someone else.
	returned map[Seq]int
	// taken are entries that were taken back: what the consumer says about them
	// later does not count.
	taken map[Seq]struct{}
}

// lookAtAll is how many consumers may be looked at for each that is late. With
// more of them, the timer fires 64 times at most in the time of a timeout.
const lookAtAll = 64

type handedOut struct {
	atMS int64
	seq  Seq
}

type timeoutTask struct{ q *classic }

func (t timeoutTask) Fire(nowMS int64) { t.q.takeOverdue(nowMS) }

// timeoutOf is how long c may take to settle a delivery, 0 for as long as it
// likes.
func (q *classic) timeoutOf(c *Consumer) int64 {
	if c.opts.NoAck || c.opts.holder != 0 || q.opts.hidden {
		return 0
	}
	if v, ok := c.opts.Arguments.Get(argConsumerTimeout); ok && q.opts.Type == QueueQuorum {
		if n, ok := Integer(v); ok && n >= 0 {
			return n
		}
	}
	if q.mu.rules.consumerTimeoutMS >= 0 {
		return q.mu.rules.consumerTimeoutMS
	}
	return q.broker.consumerTimeoutMS.Load()
}

// watchLocked puts the timeout that is in force for c into force.
func (q *classic) watchLocked(c *Consumer) {
	ms := q.timeoutOf(c)
	w := c.in.watch
	switch {
	case w == nil && ms == 0:
		return
	case w == nil:
		w = &watch{returned: make(map[Seq]int), taken: make(map[Seq]struct{})}
		c.in.watch = w
	}
	if w.timeoutMS = ms; ms == 0 {
		w.handed = nil
		clear(w.returned)
		return
	}
	if len(w.handed) > 0 {
		q.setTimeoutTimerLocked(w.handed[0].atMS + ms)
	}
}

// watchAllLocked is watchLocked for all consumers.
func (q *classic) watchAllLocked() {
	for c := range q.mu.consumers {
		q.watchLocked(c)
	}
	if t := q.mu.timeouts; t != nil {
		for c := range t.consumers { // Those that are gone.
			q.watchLocked(c)
		}
	}
}

func (q *classic) setTimeoutTimerLocked(atMS int64) {
	if t := q.mu.timeouts; t.atMS == 0 || atMS < t.atMS {
		t.atMS = atMS
		q.broker.wheel.Schedule(&t.timer, atMS)
	}
}

// watchedLocked notes that c, which has a watch, was handed s.
func (q *classic) watchedLocked(c *Consumer, s Seq) {
	w := c.in.watch
	if w.timeoutMS == 0 {
		return
	}
	if q.mu.timeouts == nil {
		q.mu.timeouts = &timeouts{consumers: make(map[*Consumer]struct{})}
		q.mu.timeouts.timer.Init(timeoutTask{q})
	}
	now := q.broker.now()
	if len(w.handed) == 0 {
		q.mu.timeouts.consumers[c] = struct{}{}
		q.setTimeoutTimerLocked(now + w.timeoutMS)
	}
	w.handed = append(w.handed, handedOut{now, s})
}

// lost reports whether s, which the consumer settles, was taken from it before.
func (w *watch) lost(s Seq) bool {
	_, lost := w.taken[s]
	delete(w.taken, s)
	return lost
}

// givesBack notes that the consumer no longer holds s, which may be handed out
// again.
func (w *watch) givesBack(s Seq) {
	if w.timeoutMS > 0 {
		w.returned[s]++
	}
}

// stale reports whether h, the next of w.handed to be looked at, was settled.
func (q *classic) stale(w *watch, h handedOut) bool {
	if n := w.returned[h.seq]; n > 0 {
		if n == 1 {
			delete(w.returned, h.seq)
		} else {
			w.returned[h.seq] = n - 1
		}
		return true
	}
	c := q.mu.entries.find(h.seq)
	return c == nil || c.state[h.seq.slot()]&stateMask != stateOut
}

// clearWatchLocked forgets settled deliveries of c when they are the majority.
func (q *classic) clearWatchLocked(c *Consumer) {
	w := c.in.watch
	if len(w.handed) <= 2*c.in.unacked+64 {
		return
	}
	kept := w.handed[:0]
	for _, h := range w.handed {
		if !q.stale(w, h) {
			kept = append(kept, h)
		}
	}
	w.handed = kept
}

// ended is a consumer that was too late.
type ended struct {
	c       *Consumer
	taken   int   // Deliveries taken back,
	afterMS int64 // which were older than this.
	gone    bool  // It was cancelled before.
	last    bool  // There is no other.
}

// takeOverdue takes back all that is overdue and ends the consumers that held
// it. The wheel calls it.
func (q *classic) takeOverdue(now int64) {
	var late []ended
	var t Touched
	q.mu.Lock()
	if q.gone.Load() {
		q.mu.Unlock()
		return
	}
	q.mu.timeouts.atMS = 0
	for c := range q.mu.timeouts.consumers {
		if n := q.takeFromLocked(c, now); n > 0 {
			late = append(late, ended{c: c, taken: n, afterMS: c.in.watch.timeoutMS})
		}
		if len(c.in.watch.handed) == 0 {
			delete(q.mu.timeouts.consumers, c)
			continue
		}
		at := c.in.watch.handed[0].atMS + c.in.watch.timeoutMS
		if len(q.mu.timeouts.consumers) > lookAtAll {
			at = max(at, now+c.in.watch.timeoutMS/64)
		}
		q.setTimeoutTimerLocked(at)
	}
	for i := range late {
		if late[i].gone = !q.forgetLocked(late[i].c); !late[i].gone {
			late[i].last = q.withoutConsumersLocked()
		}
	}
	q.deliverLocked(&t)
	if q.mu.rules.limited() {
		q.dropHeadLocked()
	}
	q.unlock()
	t.Flush()
	if len(late) > 0 {
		// It may delete the queue, which waits for a disk; the wheel must not.
		q.broker.spawn(func() { endLate(late) })
	}
}

// takeFromLocked takes back what c should have settled by now and returns how
// much that is.
func (q *classic) takeFromLocked(c *Consumer, now int64) (n int) {
	w := c.in.watch
	i := 0
	for ; i < len(w.handed); i++ {
		h := w.handed[i]
		if q.stale(w, h) {
			continue
		}
		if h.atMS+w.timeoutMS > now {
			break
		}
		k, slot := q.mu.entries.find(h.seq), h.seq.slot()
		m := k.msg[slot]
		q.mu.unackedBytes -= int64(len(m.Body))
		q.giveBackLocked(k, slot, m, true, now)
		w.taken[h.seq] = struct{}{}
		n++
	}
	w.handed = append(w.handed[:0], w.handed[i:]...)
	c.in.unacked -= n
	q.mu.counters.Returned += uint64(n)
	return n
}

// endLate gives back the credit of late consumers and tells them that they were
// ended.
func endLate(late []ended) {
	var t Touched
	for _, l := range late {
		c := l.c
		o := c.queue.Options()
		c.session.broker.logger.Warn("consumer timed out", "queue", o.Name, "vhost", o.VHost, "consumer", c.opts.Tag,
			"scope", c.opts.Scope, "messages", l.taken, "timeout_ms", l.afterMS)
		if c.opts.Shared != nil {
			c.opts.Shared.release(l.taken, &t)
		}
		if l.gone {
			continue
		}
		c.removed(l.last, &t)
		switch {
		case c.opts.TimedOut != nil:
			c.opts.TimedOut(c, l.afterMS)
		case c.opts.Cancelled != nil:
			c.opts.Cancelled(c, "consumer timeout")
		}
	}
	t.Flush()
}
