package core

import (
	"sync"
	"sync/atomic"
)

// direct is a queue that keeps nothing: what comes is handed straight to its
// one consumer's outlet, or dropped and counted if that has no room or nobody
// is there. It has no entries: nothing rests, nothing is stored, nothing is to
// be settled.
type direct struct {
	// Fixed by newDirect.
	vhost  *VHost
	broker *Broker
	opts   *QueueOptions

	gone    atomic.Bool // Written under mu.
	lastUse atomic.Int64

	mu struct {
		sync.Mutex
		consumer      *Consumer
		pending       []Delivery // Of the push under way.
		lastPublishMS int64
		counters      QueueCounters
	}
}

func newDirect(v *VHost, o *QueueOptions) Queue {
	q := &direct{vhost: v, broker: v.broker, opts: o}
	q.touch()
	return q
}

func (q *direct) Options() *QueueOptions { return q.opts }

func (q *direct) closed() bool { return q.gone.Load() }

func (q *direct) touch() { q.lastUse.Store(q.broker.now()) }

// push hands messages on without copying them.
func (q *direct) push(p *Publisher, ms []Publication, runs []run, t *Touched) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone.Load() {
		return
	}
	q.mu.lastPublishMS = p.nowMS
	for _, r := range runs {
		n := int(r.to - r.from)
		handed := q.handLocked(ms[r.from:r.to], p.nowMS, t)
		q.mu.counters.Published += uint64(n)
		q.mu.counters.DeliveredAuto += uint64(handed)
		q.mu.counters.Dropped += uint64(n - handed)
		if c := q.mu.consumer; handed < n && c != nil && c.in.waiting && ms[r.from].Route.Queues() == 1 {
			p.crowded = c.opts.Outlet
		}
	}
}

// handLocked returns how many of ms the consumer has room for.
func (q *direct) handLocked(ms []Publication, nowMS int64, t *Touched) (handed int) {
	c := q.mu.consumer
	if c == nil || !c.in.started {
		return 0
	}
	for len(ms) > 0 && !c.in.waiting {
		if !c.opts.Outlet.Room(&c.waiter) {
			c.in.waiting = true // Until credit, it is not asked again.
			break
		}
		n, bytes := 0, 0
		for n < len(ms) && n < deliverAtOnce && bytes < deliverBytesAtOnce {
			m := &ms[n]
			if m.ExpiresMS = 0; m.TTLMS >= 0 {
				m.ExpiresMS = nowMS + m.TTLMS
			}
			q.mu.pending = append(q.mu.pending, Delivery{Message: &m.Message})
			bytes += len(m.Body)
			n++
		}
		if taps := q.vhost.taps.Load(); taps != nil {
			taps.delivered(q, c, q.mu.pending)
		}
		if c.opts.Outlet.Deliver(c, q.mu.pending) {
			t.add(c.opts.Outlet)
		}
		clear(q.mu.pending) // They would keep the publisher's buffer alive.
		q.mu.pending = q.mu.pending[:0]
		ms = ms[n:]
		handed += n
		c.tally.addKind(countConsumedAuto, KindDirect, n)
	}
	return handed
}

func (q *direct) addConsumer(c *Consumer) error {
	q.touch()
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.gone.Load():
		return errorf(NotFound, "no queue '%s' in vhost '%s'", q.opts.Name, q.opts.VHost)
	case q.mu.consumer != nil:
		return errorf(AccessRefused, "queue '%s' in vhost '%s' in exclusive use", q.opts.Name, q.opts.VHost)
	}
	q.mu.consumer = c
	return nil
}

func (q *direct) startConsumer(c *Consumer, _ *Touched) {
	q.mu.Lock()
	c.in.started = true
	q.mu.Unlock()
}

func (q *direct) removeConsumer(c *Consumer, _ *Touched) (last bool) {
	q.touch()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.consumer != c {
		return false
	}
	q.mu.consumer, q.mu.pending = nil, nil
	c.in.gone = true
	return true
}

// credit lets the next message try again.
func (q *direct) credit(c *Consumer, _ *Touched) {
	q.mu.Lock()
	c.in.waiting = false
	q.mu.Unlock()
}

func (q *direct) setPrefetch(c *Consumer, n int, _ *Touched) {
	q.mu.Lock()
	c.in.prefetch = n
	q.mu.Unlock()
}

// get never finds anything.
func (q *direct) get(*tally, bool, func(h *Holder, d *Delivery, remaining int)) (bool, error) {
	q.touch()
	q.mu.Lock()
	q.mu.counters.GetEmpty++
	q.mu.Unlock()
	return false, nil
}

// settle has nothing to do: a delivery is over once it is made.
func (q *direct) settle(*Holder, Settlement, []Seq, *Touched) {}

func (q *direct) purge(*Touched) int { return 0 }

// Summary is Info without the list of consumers.
func (q *direct) Summary() QueueInfo {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.infoLocked()
}

func (q *direct) Info() QueueInfo {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.infoLocked()
	if c := q.mu.consumer; c != nil {
		i.ConsumerList = []ConsumerInfo{{
			Tag: c.opts.Tag, Session: c.session, Scope: c.opts.Scope, Destination: c.opts.Destination, NoAck: c.opts.NoAck, Exclusive: c.opts.Exclusive,
			Priority: c.opts.Priority, Prefetch: c.in.prefetch, Active: c.in.started, Arguments: c.opts.Arguments,
		}}
	}
	return i
}

func (q *direct) infoLocked() QueueInfo {
	i := QueueInfo{Options: q.opts, IdleSinceMS: max(q.mu.lastPublishMS, q.lastUse.Load()), Counters: q.mu.counters}
	if q.mu.consumer != nil {
		i.Consumers, i.ExclusiveUse = 1, q.mu.consumer.opts.Exclusive
	}
	return i
}

func (q *direct) counts() (ready, consumers int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.consumer != nil {
		consumers = 1
	}
	return 0, consumers
}

func (q *direct) closeIf(cond func(QueueInfo) error) (ready int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone.Load() {
		return 0, errorf(NotFound, "no queue '%s' in vhost '%s'", q.opts.Name, q.opts.VHost)
	}
	if err := cond(q.infoLocked()); err != nil {
		return 0, err
	}
	q.gone.Store(true)
	return 0, nil
}

func (q *direct) dropConsumers(reason string, _ *Touched) {
	q.mu.Lock()
	c := q.mu.consumer
	q.mu.consumer = nil
	if c != nil {
		c.in.gone = true
	}
	q.mu.Unlock()
	if c == nil {
		return
	}
	c.session.removeConsumer(c)
	if c.opts.Cancelled != nil {
		c.opts.Cancelled(c, reason)
	}
}

func (q *direct) recover(RecoveredLevel) {}

// applyRules has nothing to do: all rules are about what is kept.
func (q *direct) applyRules(queueRules) {}

func (q *direct) stop() {}

// trim gives back what the last push needed.
func (q *direct) trim() {
	q.mu.Lock()
	q.mu.pending = nil
	q.mu.Unlock()
}
