package core

import (
	"errors"
	"slices"
)

// A message that a queue is to get rid of otherwise than by an ack (rejected,
// expired, too many, given back too often) and that has somewhere to go becomes
// leaving: it no longer counts as ready, no limit, expiry or purge touches it,
// and it stays what it is until it has arrived. A worker of the queue, which
// runs while something is leaving, routes such messages like a publisher's,
// with no queue's lock held.
//
//	ready, out, delayed                                   other queues
//	     | sendOffLocked                                         ^
//	     v                                                     | push
//	leaving ... -- depart: history, route --> Publisher.Publish
//	     ^                                                     | one change set:
//	     | arrived: entries end                                v references there,
//	     +------------------------------------------- log <-- settled here
//
// A crash finds the message in one of the two queues, never in none. Where the
// target refuses it, at-most-once drops it; at-least-once tries again later,
// and others do not wait for that.

const (
	// leavingMax is how many messages may be leaving before the queue's
	// publishers wait.
	leavingMax = 10_000
	// departAtOnce bounds a pass of the worker, in messages and in bytes.
	departAtOnce      = 512
	departBytesAtOnce = 4 << 20
	// Attempts at-least-once are that far apart, doubling.
	departRetryMinMS = 1000
	departRetryMaxMS = 30_000
)

// leaving is a queue's part of it, guarded by the queue's lock.
type leaving struct {
	waiting  []leavingEntry // For the worker.
	running  bool           // The worker is there.
	refused  []leavingEntry // To be tried again when the timer fires.
	only     map[Seq][]Queue
	retryMS  int64
	expiring bool // Expiry stopped as too many were leaving.
	gate     gate // Closed while publishers should wait.
}

type leavingEntry struct {
	seq    Seq
	reason deathReason
}

// leavesLocked reports whether a message that dies of reason goes elsewhere.
func (q *classic) leavesLocked(reason deathReason) bool {
	return q.mu.rules.deadLetters || reason == deathDeliveryLimit && !q.mu.rules.dropAtLimit
}

// dieLocked ends the live entry at (c, i) for reason: it is gone, or leaving.
// What it counted as is the caller's to correct.
func (q *classic) dieLocked(c *chunk, i int32, reason deathReason) {
	q.countDeathLocked(reason)
	if q.leavesLocked(reason) {
		q.mu.entries.set(c, i, stateLeaving)
		q.sendOffLocked(c.base+Seq(i), reason)
		return
	}
	if m := q.endLocked(c, i); m != nil {
		q.free(m)
	}
}

// sendOffLocked hands the entry s, which is leaving, to the worker.
func (q *classic) sendOffLocked(s Seq, reason deathReason) {
	l := &q.mu.leaving
	l.waiting = append(l.waiting, leavingEntry{s, reason})
	if q.mu.entries.leaving > leavingMax {
		l.gate.set(true)
	}
	q.departLocked()
}

// departLocked sees to it that there is a worker if there is work.
func (q *classic) departLocked() {
	if l := &q.mu.leaving; !l.running && len(l.waiting) > 0 {
		l.running = true
		q.broker.spawn(q.depart)
	}
}

// departure is a pass of the worker: some messages that leave together. It
// lasts until they have arrived.
type departure struct {
	q       *classic
	rules   queueRules
	entries []leavingEntry
	ms      []*Message // Of the entries, nil where there is none.
	only    [][]Queue  // Where each is still to go; nil for wherever it is routed to.
	settle  []Seq      // What ends with this pass.
	stored  []Seq      // The part of it that the log holds.
	lost    int
}

// depart is the worker. It ends when nothing is left to do, or to be done now.
func (q *classic) depart() {
	p := &Publisher{broker: q.broker}
	var t Touched
	var ms []Publication
	for {
		d := q.nextDeparture()
		if d == nil {
			return
		}
		if !d.readCold() {
			d.putBack()
			return
		}
		ms = d.publish(p, ms, &t)
		t.Flush()
		p.ahead = nil // Consumers elsewhere are not to be waited for.
		if p.logAhead {
			p.Pace(q.broker.stopping)
		}
	}
}

// goesOnExpiringLocked reports whether what expiry left for later can be done
// now.
func (q *classic) goesOnExpiringLocked() bool {
	return q.mu.leaving.expiring && q.mu.entries.leaving <= leavingMax/2 && !q.gone.Load()
}

// nextDeparture takes messages that wait. It returns nil, and the worker is no
// more, if there are none.
func (q *classic) nextDeparture() *departure {
	q.mu.Lock()
	l := &q.mu.leaving
	closing := q.broker.closing.Load()
	for q.goesOnExpiringLocked() && len(l.waiting) == 0 && !closing {
		l.expiring = false
		q.mu.Unlock()
		q.expire(q.broker.now())
		q.mu.Lock()
	}
	defer q.unlock()
	if len(l.waiting) == 0 || closing {
		l.running = false
		return nil
	}
	d := &departure{q: q, rules: q.mu.rules}
	bytes := 0
	for _, e := range l.waiting[:min(len(l.waiting), departAtOnce)] {
		var m *Message
		if c := q.mu.entries.find(e.seq); c.msg != nil {
			m = c.msg[e.seq.slot()]
		}
		if m != nil {
			bytes += len(m.Body)
		}
		d.entries = append(d.entries, e)
		d.ms = append(d.ms, m)
		d.only = append(d.only, l.only[e.seq])
		if bytes > departBytesAtOnce {
			break
		}
	}
	if l.waiting = l.waiting[len(d.entries):]; len(l.waiting) == 0 {
		l.waiting = nil
	}
	return d
}

// putBack gives up for now.
func (d *departure) putBack() {
	q := d.q
	q.mu.Lock()
	defer q.unlock()
	q.mu.leaving.running = false
	q.mu.leaving.refused = append(q.mu.leaving.refused, d.entries...)
	q.retryDeparturesLocked()
}

// retryDeparturesLocked sets the timer for what was refused.
func (q *classic) retryDeparturesLocked() {
	l := &q.mu.leaving
	l.retryMS = min(max(2*l.retryMS, departRetryMinMS), departRetryMaxMS)
	q.broker.wheel.Schedule(&q.departTimer, q.broker.now()+l.retryMS)
}

type departTask struct{ q *classic }

// Fire tries again what was refused.
func (d departTask) Fire(int64) {
	q := d.q
	q.mu.Lock()
	defer q.unlock()
	l := &q.mu.leaving
	l.waiting = append(l.waiting, l.refused...)
	l.refused = nil
	q.departLocked()
}

// readCold reads the messages that are in the log only. It reports false if
// that cannot be done now.
func (d *departure) readCold() bool {
	var cold []int
	for i, m := range d.ms {
		if m == nil {
			cold = append(cold, i)
		}
	}
	if len(cold) == 0 {
		return true
	}
	slices.SortFunc(cold, func(a, b int) int {
		if d.entries[a].seq < d.entries[b].seq {
			return -1
		}
		return 1
	})
	seqs := make([]Seq, len(cold))
	for k, i := range cold {
		seqs[k] = d.entries[i].seq
	}
	ok := true
	d.q.broker.log.Read(d.q.opts.ID, seqs, func(k int, m *Message, err error) {
		switch {
		case err == nil:
			d.ms[cold[k]] = m.Clone()
		case errors.Is(err, ErrNotNow):
			ok = false
		default:
			d.lost++
			d.q.broker.logger.Error("message lost: it cannot be read back from the log", "queue", d.q.opts.Name, "vhost", d.q.opts.VHost, "error", err)
		}
	})
	return ok
}

// publish routes the messages and hands them over. ms is scratch space.
func (d *departure) publish(p *Publisher, ms []Publication, t *Touched) []Publication {
	q := d.q
	now := q.broker.now()
	ms = slices.Grow(ms[:0], len(d.entries))
	var of []int // Which entry each publication is.
	var retry []leavingEntry
	b := burial{d: d, p: p, nowMS: now}
	unroutable := 0
	for i, e := range d.entries {
		m := d.ms[i]
		if m == nil {
			d.settle = append(d.settle, e.seq)
			continue
		}
		ms = ms[:len(ms)+1]
		pub := &ms[len(ms)-1]
		switch found := b.bury(pub, m, e, d.only[i]); {
		case found:
			of = append(of, i)
		case d.rules.deadKeepTrying || e.reason == deathDeliveryLimit && !d.rules.deadLetters:
			ms = ms[:len(ms)-1]
			retry = append(retry, e)
		default:
			ms = ms[:len(ms)-1]
			d.settle = append(d.settle, e.seq)
			unroutable++
		}
	}
	p.moves = func() {
		for k := range ms {
			i := of[k]
			e := d.entries[i]
			if ms[k].Refused != OK && d.rules.deadKeepTrying {
				retry = append(retry, e)
				q.stillTo(e.seq, ms[k].refusedBy)
				continue
			}
			if ms[k].Refused != OK {
				unroutable++
			}
			d.settle = append(d.settle, e.seq)
		}
		d.settleIn(p, unroutable, retry)
	}
	p.moved = d.arrived
	p.Publish(ms, t)
	if len(ms) == 0 {
		p.complete(nil)
	}
	p.moves, p.moved = nil, nil
	for i := range ms {
		ms[i].Reset()
	}
	return ms
}

// stillTo notes the queues that refused the entry s, when others have it.
func (q *classic) stillTo(s Seq, queues []Queue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.leaving.only == nil {
		q.mu.leaving.only = make(map[Seq][]Queue)
	}
	q.mu.leaving.only[s] = queues
}

// settleIn ends the entries of d in p's change set.
func (d *departure) settleIn(p *Publisher, dropped int, retry []leavingEntry) {
	q := d.q
	q.mu.Lock()
	defer q.unlock()
	for _, s := range d.settle {
		if c := q.mu.entries.find(s); c.state[s.slot()]&flagLogged != 0 {
			d.stored = append(d.stored, s)
		}
	}
	if len(d.stored) > 0 {
		q.log.SettleIn(p.changeSet(), d.stored)
	}
	q.mu.counters.Damaged += uint64(d.lost)
	if dropped > 0 {
		if q.mu.counters.DeadLost == 0 {
			q.broker.logger.Warn("messages dropped: they cannot be dead-lettered, for there is no such exchange, no queue to go to, or that refuses them; this is said once for each queue",
				"queue", q.opts.Name, "vhost", q.opts.VHost, "exchange", d.rules.deadExchange)
		}
		q.mu.counters.DeadLost += uint64(dropped)
	}
	l := &q.mu.leaving
	if len(retry) == 0 {
		if len(d.settle) > 0 && len(l.refused) == 0 {
			l.retryMS = 0
		}
		return
	}
	first := len(l.refused) == 0
	l.refused = append(l.refused, retry...)
	if first {
		q.retryDeparturesLocked()
	}
}

// arrived ends what has arrived. After an error of the log everything stays as
// it is: the next start finds out.
func (d *departure) arrived(err error) {
	if err != nil {
		return
	}
	q := d.q
	q.mu.Lock()
	defer q.unlock()
	l := &q.mu.leaving
	if d.rules.deadKeepTrying {
		q.broker.stats.deadConfirmed[q.kind].Add(uint64(len(d.settle)))
	}
	for _, s := range d.settle {
		q.leftLocked(s)
		if l.only != nil {
			delete(l.only, s)
		}
	}
	q.afterLeavingLocked()
}

// leftLocked ends the entry s, which was leaving, and which the log has let go
// of.
func (q *classic) leftLocked(s Seq) {
	c, i := q.mu.entries.find(s), s.slot()
	if c.state[i]&(flagLogged|flagPaged) == flagLogged {
		q.mu.persistent--
	}
	q.forgetAttemptsLocked(s)
	if m := q.mu.entries.remove(c, i); m != nil {
		q.free(m)
	}
}

// afterLeavingLocked is called when less is leaving than before.
func (q *classic) afterLeavingLocked() {
	l := &q.mu.leaving
	if q.mu.entries.leaving <= leavingMax/2 {
		l.gate.set(false)
	}
	if q.goesOnExpiringLocked() && !l.running && !q.broker.closing.Load() {
		l.running = true
		q.broker.spawn(q.depart)
	}
	if q.gone.Load() && q.mu.entries.leaving == 0 {
		q.endGoneLocked()
	}
}

// endGoneLocked is the end of a deleted queue from which nothing leaves any
// more.
func (q *classic) endGoneLocked() {
	if q.log != nil {
		q.log.Drop()
	}
	q.broker.wheel.Stop(&q.departTimer)
	q.discardAllLocked()
}

// burial makes publications of dead messages. What most messages of a pass have
// in common is done once.
type burial struct {
	d     *departure
	p     *Publisher
	nowMS int64

	x      *Exchange
	looked bool

	obituary obituary

	last    *Message // The one before, which was buried
	reason  deathReason
	form    Form // with these properties,
	encoded []byte
	history deaths
	extra   []string
	route   *Route // and went there.
}

// bury makes pub of m and routes it. It reports whether there is anywhere to go.
func (b *burial) bury(pub *Publication, m *Message, e leavingEntry, only []Queue) bool {
	q, rules := b.d.q, &b.d.rules
	pub.Reset()
	same := b.last != nil && b.reason == e.reason && b.last.Form == m.Form && m.Form != FormNeutral && b.form != FormNeutral &&
		b.last.Died == m.Died && b.last.Exchange == m.Exchange && b.last.RoutingKey == m.RoutingKey && string(b.last.Encoded) == string(m.Encoded)
	newKey := rules.deadLetters && rules.deadKeySet
	if !same {
		var p *Properties
		if b.reason != e.reason || b.obituary.queue == "" {
			b.obituary = obituary{queue: q.opts.Name, reason: e.reason.String(), nowMS: b.nowMS, newKey: newKey}
		}
		p, b.history = b.obituary.write(m)
		b.extra = nil
		if !newKey {
			b.extra = textsOf(p.Headers, headerCC)
		}
		pub.SetProperties(p)
		if b.form, b.encoded = pub.Stored(nil); b.form != FormNeutral {
			pub.props.Store(nil)
		}
	}
	b.last, b.reason = m, e.reason
	if b.form != FormNeutral {
		pub.Form, pub.Encoded = b.form, b.encoded
	}
	pub.Body, pub.OwnBody = m.Body, m.OwnBody
	pub.Exchange, pub.RoutingKey = m.Exchange, m.RoutingKey
	pub.Origin = m.Origin
	pub.Priority, pub.HasPriority, pub.Persistent, pub.Died = m.Priority, m.HasPriority, m.Persistent, true
	pub.extra = b.extra
	switch {
	case only != nil:
		pub.Route = &Route{x: q.vhost.nobody, queues: only}
		return true
	case !rules.deadLetters && e.reason != deathDeliveryLimit:
		return false // It was to be dead-lettered, and the rules have changed.
	case !rules.deadLetters:
		parked, err := q.vhost.parkingQueue(q.opts.Name)
		if err != nil {
			q.broker.logger.Error("message not parked", "queue", q.opts.Name, "vhost", q.opts.VHost, "error", err)
			return false
		}
		pub.Route = &Route{x: q.vhost.nobody, queues: []Queue{parked}}
		return true
	}
	if !b.looked {
		b.x, b.looked = q.vhost.exchange(rules.deadExchange), true
	}
	if b.x == nil {
		return false
	}
	pub.Exchange = b.x.name
	if newKey {
		pub.RoutingKey = rules.deadKey
	}
	if same && b.route != nil && !b.x.needsMessage() {
		pub.Route = b.route
		return len(pub.Route.queues) > 0
	}
	r := b.p.routeAlone(b.x, pub)
	r.queues = slices.DeleteFunc(r.queues, func(to Queue) bool {
		if !b.history.cycle(to.Options().Name) {
			return false
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		if !q.mu.cycleTold {
			q.mu.cycleTold = true
			q.broker.logger.Warn("messages dropped: dead-lettered they would go round for ever; this is said once for each queue",
				"queue", q.opts.Name, "vhost", q.opts.VHost, "to", to.Options().Name)
		}
		return true
	})
	b.route = r
	return len(r.queues) > 0
}
