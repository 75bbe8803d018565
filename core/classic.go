package core

import (
	"slices"
	"sync"
	"sync/atomic"

	"leveret/core/invariant"
	"leveret/core/wheel"
)

// classic is the ordinary queue: entries in memory, stored messages in the log.
//
// Publishers, consumers and the clock meet here, so one mutex orders them all.
// Nothing that may block runs under it. Its methods are spread over
// classic_push.go (in and out, the hot path), classic_settle.go and
// classic_expiry.go.
type classic struct {
	// Fixed by newClassic.
	vhost  *VHost
	broker *Broker
	opts   *QueueOptions
	log    QueueLog // nil unless the queue is durable.
	getter Holder   // Holds what was got and not consumed, by those whom no meter counts.
	kind   QueueKind

	gone atomic.Bool // Written under mu.
	// lastUse is when the queue was last declared, got from or consumed from,
	// ms since 1970; for x-expires.
	lastUse atomic.Int64

	idleTimer   wheel.Timer // x-expires
	expiryTimer wheel.Timer // Message expiry.
	fetchTimer  wheel.Timer // Cold messages that could not be read.
	departTimer wheel.Timer // Leaving messages that were refused.
	retryTimer  wheel.Timer // Delayed messages.

	mu struct {
		sync.Mutex
		rules   queueRules
		entries entries
		resting resting
		// entriesCharged is how much of what entries takes Memory knows of.
		entriesCharged int64
		groups         []*consumerGroup // Descending priority.
		consumers      map[*Consumer]struct{}
		exclusive      *Consumer
		single         *singleActive      // nil unless the queue serves one consumer at a time.
		getters        []*Holder          // The same by those of a meter each.
		timeouts       *timeouts          // nil until a consumer with a timeout was handed something.
		given          []*Consumer        // Consumers with pending deliveries in this pass.
		settled        []Seq              // Stored entries that ended in this pass, for the log.
		held           map[QueueID][]Slot // What clients without a consumer hold, see holder.go.
		found          []RecoveredSlot    // While the broker starts: what they held.

		readyBytes, unackedBytes int64
		persistent               int // Entries that the log holds.
		lastPublishMS            int64
		blockedSinceMS           int64 // No consumer can take what is ready; 0 if that is not so.
		counters                 QueueCounters

		pace pace

		leaving   leaving // See leaving.go.
		cycleTold bool
		retry     retry   // See retry.go.
		tried     []tried // What the log is to be told at the end of this pass.

		// Of messages that are in the log only; see classic_cold.go.
		fetching bool // A fetch is under way.
		paging   bool // What arrives leaves memory again.
		// markAwaited are closed when the next mark is written.
		markAwaited []chan struct{}

		dating bool // The log will be asked when cold heads arrived.

		timed      []timedEntry // Heap of entries that expire before their turn.
		timedLive  int          // Items of timed whose entry is ready.
		mixedTTL   bool         // The TTL changed: entries that come now do not expire in turn.
		expiryAtMS int64        // When expiryTimer is set to fire; 0 for not at all.
	}
}

// newClassic makes a queue that o describes. The caller makes it known.
func newClassic(v *VHost, o *QueueOptions) Queue {
	q := &classic{vhost: v, broker: v.broker, opts: o, kind: kindOf(o.Type)}
	q.getter.queue = q
	q.mu.entries.init(o.DefaultPriority)
	if o.Durable {
		q.log = v.broker.log.OpenQueue(o.ID)
	}
	now := v.broker.now()
	q.lastUse.Store(now)
	q.mu.consumers = make(map[*Consumer]struct{})
	if o.SingleActive {
		q.mu.single = &singleActive{}
	}
	q.expiryTimer.Init(expiryTask{q})
	q.idleTimer.Init(idleTask{q})
	q.fetchTimer.Init(fetchTask{q})
	q.departTimer.Init(departTask{q})
	q.retryTimer.Init(retryTask{q})
	q.mu.rules = rulesOf(o)
	q.deduplicateLocked(q.mu.rules.deduplicate)
	if e := q.mu.rules.expiresMS; e >= 0 {
		v.broker.wheel.Schedule(&q.idleTimer, now+e)
	}
	return q
}

func (q *classic) Options() *QueueOptions { return q.opts }

func (q *classic) closed() bool { return q.gone.Load() }

func (q *classic) touch() { q.lastUse.Store(q.broker.now()) }

// unlock ends a pass under the lock: it tells the log and the memory accounts
// what the pass changed.
func (q *classic) unlock() {
	if len(q.mu.settled) != 0 {
		q.log.Settle(q.mu.settled)
		q.mu.settled = q.mu.settled[:0]
	}
	if len(q.mu.tried) != 0 {
		q.noteTriedLocked()
	}
	if len(q.mu.pace.waiting) != 0 {
		q.releasePaceLocked()
	}
	if n := q.mu.entries.bytes - q.mu.entriesCharged; n != 0 {
		q.mu.entriesCharged += n
		q.mu.resting.pending += n
	}
	if q.mu.resting.pending != 0 {
		q.broker.memory.charge(q.mu.resting.pending)
		q.mu.resting.pending = 0
	}
	if q.blockedLocked() != (q.mu.blockedSinceMS != 0) {
		q.turnBlockedLocked()
	}
	if invariant.Enabled {
		q.checkLocked()
	}
	q.mu.Unlock()
}

// blockedLocked reports whether there are messages, and consumers, none of
// which can take any.
func (q *classic) blockedLocked() bool {
	if q.mu.entries.ready == 0 || len(q.mu.consumers) == 0 {
		return false
	}
	for _, g := range q.mu.groups {
		if g.ring != nil {
			return false
		}
	}
	return true
}

// turnBlockedLocked starts or stops the clock of how long consumers are what
// messages wait for.
func (q *classic) turnBlockedLocked() {
	now := q.broker.now()
	if since := q.mu.blockedSinceMS; since != 0 {
		q.mu.counters.BlockedMS += uint64(max(0, now-since))
		now = 0
	}
	q.mu.blockedSinceMS = now
}

// checkLocked panics if q contradicts itself.
func (q *classic) checkLocked() {
	q.mu.entries.check()
	if q.mu.entries.ready > 0 && !q.gone.Load() && !q.headColdLocked() && !q.headUnmarkedLocked() {
		for _, g := range q.mu.groups {
			if g.ring != nil {
				panic("core: queue " + q.opts.Name + " has ready messages and a consumer with credit")
			}
		}
	}
	if e := &q.mu.entries; e.ready == 0 && q.mu.readyBytes != 0 || e.out == 0 && q.mu.unackedBytes != 0 {
		panic("core: bytes counted wrong")
	}
	if len(q.mu.given) != 0 {
		panic("core: deliveries left pending")
	}
	n := 0
	for _, g := range q.mu.groups {
		n += g.size
	}
	if n != len(q.mu.consumers) {
		panic("core: consumers counted wrong")
	}
}

// headColdLocked reports whether the first ready entry is cold.
func (q *classic) headColdLocked() bool {
	c, i := q.mu.entries.firstReady()
	return c.state[i]&flagCold != 0
}

// headUnmarkedLocked reports whether the first ready entry must not be handed
// out before its mark is written.
func (q *classic) headUnmarkedLocked() bool {
	c, i := q.mu.entries.firstReady()
	return c.level.unmarked(c.base+Seq(i), c.state[i])
}

// free lets go of a message that no entry holds any more.
func (q *classic) free(m *Message) {
	if !m.shared {
		q.mu.resting.release(m)
		return
	}
	if m.refs.Add(-1) == 0 {
		q.broker.memory.charge(-m.sharedBytes())
	}
}

// rest returns a copy of src that may stay: q's own, or one that it shares
// with the other queues src goes to.
//
// A shared copy has one expiry; a queue whose own differs takes its own copy.
func (q *classic) rest(src *Publication) *Message {
	if len(src.Route.queues) <= 1 {
		return q.mu.resting.rest(&src.Message)
	}
	if src.rested == nil {
		src.rested = share(&src.Message)
	}
	if src.rested.ExpiresMS != src.ExpiresMS {
		return q.mu.resting.rest(&src.Message)
	}
	return q.hold(src.rested)
}

func (q *classic) hold(m *Message) *Message {
	if m.refs.Add(1) == 1 {
		q.broker.memory.charge(m.sharedBytes())
	}
	return m
}

// addConsumer registers c, paused.
func (q *classic) addConsumer(c *Consumer) error {
	q.touch()
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.gone.Load():
		return errorf(NotFound, "no queue '%s' in vhost '%s'", q.opts.Name, q.opts.VHost)
	case q.mu.exclusive != nil, c.opts.Exclusive && q.opts.SingleActive,
		c.opts.Exclusive && len(q.mu.consumers) != 0 && q.opts.Type != QueueQuorum:
		return errorf(AccessRefused, "queue '%s' in vhost '%s' in exclusive use", q.opts.Name, q.opts.VHost)
	}
	if c.opts.Exclusive && q.opts.Type != QueueQuorum {
		q.mu.exclusive = c
	}
	q.mu.consumers[c] = struct{}{}
	q.takeHeldLocked(c)
	if e := &q.mu.entries; e.ready > 0 && q.log != nil {
		head, i := e.firstReady()
		q.reserveLocked(head.level, head.base+Seq(i), head.level.next)
	}
	i, found := slices.BinarySearchFunc(q.mu.groups, c.opts.Priority, func(g *consumerGroup, p int) int { return p - g.priority })
	if !found {
		q.mu.groups = slices.Insert(q.mu.groups, i, &consumerGroup{priority: c.opts.Priority})
	}
	c.in.group = q.mu.groups[i]
	c.in.group.size++
	q.watchLocked(c)
	if s := q.mu.single; s != nil {
		s.joinLocked(c)
	}
	return nil
}

func (q *classic) startConsumer(c *Consumer, t *Touched) {
	q.mu.Lock()
	c.in.started = true
	if q.mu.single != nil {
		q.electLocked()
	}
	q.resumeLocked(c, t)
	q.relinkLocked(c)
	q.deliverLocked(t)
	q.unlock()
}

// relinkLocked puts c into its ring if it may get more and is not there.
func (q *classic) relinkLocked(c *Consumer) {
	if c.in.next != nil || c.in.gone || c.in.waiting || !c.in.started || len(c.in.resume) > 0 {
		return
	}
	if !c.opts.NoAck && c.in.prefetch > 0 && c.in.unacked >= c.in.prefetch {
		return
	}
	if q.mu.single != nil && !q.mayServeLocked(c) {
		return
	}
	c.in.group.link(c)
}

func (q *classic) credit(c *Consumer, t *Touched) {
	q.mu.Lock()
	c.in.waiting = false
	q.resumeLocked(c, t)
	q.relinkLocked(c)
	q.deliverLocked(t)
	q.unlock()
}

func (q *classic) setPrefetch(c *Consumer, n int, t *Touched) {
	q.mu.Lock()
	c.in.prefetch = n
	if n > 0 && c.in.unacked >= n && !c.opts.NoAck {
		c.in.group.unlink(c)
	}
	q.relinkLocked(c)
	q.deliverLocked(t)
	q.unlock()
}

func (q *classic) removeConsumer(c *Consumer, t *Touched) (last bool) {
	q.touch()
	q.mu.Lock()
	defer q.unlock()
	if !q.forgetLocked(c) {
		return false
	}
	if q.mu.single != nil {
		q.deliverLocked(t)
	}
	return q.withoutConsumersLocked()
}

// withoutConsumersLocked starts the clock of x-expires if the queue has no
// consumer any more, and reports whether that is so.
func (q *classic) withoutConsumersLocked() bool {
	if len(q.mu.consumers) != 0 {
		return false
	}
	if e := q.mu.rules.expiresMS; e >= 0 {
		q.broker.wheel.Schedule(&q.idleTimer, q.broker.now()+e)
	}
	return true
}

// forgetLocked takes c off the queue; false if it was off already.
func (q *classic) forgetLocked(c *Consumer) bool {
	if c.in.gone {
		return false
	}
	c.in.gone = true
	q.keepHeldLocked(c)
	g := c.in.group
	g.unlink(c)
	if g.size--; g.size == 0 {
		q.mu.groups = slices.DeleteFunc(q.mu.groups, func(o *consumerGroup) bool { return o == g })
	}
	delete(q.mu.consumers, c)
	if q.mu.exclusive == c {
		q.mu.exclusive = nil
	}
	if q.mu.single != nil {
		q.leaveLocked(c)
	}
	return true
}

func (q *classic) dropConsumers(reason string, _ *Touched) {
	q.mu.Lock()
	gone := make([]*Consumer, 0, len(q.mu.consumers))
	for c := range q.mu.consumers {
		gone = append(gone, c)
	}
	for _, c := range gone {
		q.forgetLocked(c)
	}
	q.unlock()
	for _, c := range gone {
		c.session.removeConsumer(c)
		if c.opts.Cancelled != nil {
			c.opts.Cancelled(c, reason)
		}
	}
}

func (q *classic) closeIf(cond func(QueueInfo) error) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone.Load() {
		return 0, errorf(NotFound, "no queue '%s' in vhost '%s'", q.opts.Name, q.opts.VHost)
	}
	if err := cond(q.infoLocked()); err != nil {
		return 0, err
	}
	ready := q.mu.entries.ready
	q.gone.Store(true)
	q.broker.wheel.Stop(&q.idleTimer)
	q.broker.wheel.Stop(&q.expiryTimer)
	q.broker.wheel.Stop(&q.fetchTimer)
	if q.mu.timeouts != nil {
		q.broker.wheel.Stop(&q.mu.timeouts.timer)
	}
	q.broker.wheel.Stop(&q.retryTimer)
	q.mu.leaving.gate.set(false)
	if q.mu.entries.leaving == 0 {
		q.endGoneLocked()
		return ready, nil
	}
	for l := range q.mu.entries.levels() { // What is leaving goes on.
		q.removeLocked(l, 1<<stateReady|1<<stateOut|1<<stateDelayed)
	}
	q.mu.unackedBytes, q.mu.timed, q.mu.timedLive = 0, nil, 0
	q.mu.retry = retry{}
	return ready, nil
}

// discardAllLocked drops every entry at once. Giving back the memory of a long
// queue takes a while: it is done behind the lock, by nobody's caller.
func (q *classic) discardAllLocked() {
	e, rest := &q.mu.entries, q.mu.resting
	n := e.ready + e.out + e.delayed
	rest.pending += e.bytes - q.mu.entriesCharged
	chunks := e.takeAll()
	if q.gone.Load() {
		rest.pending -= e.bytes
		e.forgetLevels()
	}
	q.mu.entriesCharged = e.bytes
	q.mu.resting = resting{}
	q.mu.readyBytes, q.mu.unackedBytes, q.mu.persistent = 0, 0, 0
	q.mu.timed, q.mu.timedLive = nil, 0
	q.mu.retry = retry{}
	if chunks == nil {
		rest.trim()
		q.broker.memory.charge(rest.pending)
		return
	}
	if n < 1000 {
		discard(q.broker, chunks, &rest)
		return
	}
	q.broker.spawn(func() { discard(q.broker, chunks, &rest) })
}

// discard releases the messages of chunks that no queue has any more, with the
// slabs they rest in.
func discard(b *Broker, c *chunk, r *resting) {
	for c != nil {
		if c.msg != nil {
			for i, m := range c.msg {
				switch {
				case m == nil:
				case m.shared:
					if m.refs.Add(-1) == 0 {
						b.memory.charge(-m.sharedBytes())
					}
				default:
					r.release(m)
				}
				c.msg[i] = nil
			}
			messagesPool.Put(c.msg)
			c.msg = nil
			r.pending -= messagesBytes
		}
		clear(c.state[:])
		next := c.next
		c.prev, c.next, c.level = nil, nil, nil
		chunkPool.Put(c)
		c = next
		r.pending -= chunkBytes
		b.memory.charge(r.pending)
		r.pending = 0
	}
	r.trim()
	b.memory.charge(r.pending)
}

// Summary is Info without the list of consumers.
func (q *classic) Summary() QueueInfo {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.infoLocked()
	i.HeadTimestamp = q.headTimestampLocked()
	return i
}

// Info is a consistent snapshot.
func (q *classic) Info() QueueInfo {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.infoLocked()
	i.HeadTimestamp = q.headTimestampLocked()
	for c := range q.mu.consumers {
		active := c.in.started && (q.mu.single == nil || q.mu.single.active == c)
		i.ConsumerList = append(i.ConsumerList, ConsumerInfo{
			Tag: c.opts.Tag, Session: c.session, Scope: c.opts.Scope, Destination: c.opts.Destination, NoAck: c.opts.NoAck, Exclusive: c.opts.Exclusive,
			Priority: c.opts.Priority, Prefetch: c.in.prefetch, Unacked: c.in.unacked, Active: active, Arguments: c.opts.Arguments, TimeoutMS: q.timeoutOf(c),
		})
	}
	return i
}

func (q *classic) counts() (ready, consumers int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.mu.entries.ready, len(q.mu.consumers)
}

func (q *classic) infoLocked() QueueInfo {
	return QueueInfo{
		Options: q.opts,
		Ready:   q.mu.entries.ready, Unacked: q.mu.entries.out,
		Delayed: q.mu.entries.delayed, Leaving: q.mu.entries.leaving,
		ReadyBytes: q.mu.readyBytes, UnackedBytes: q.mu.unackedBytes,
		Persistent: q.mu.persistent,
		Consumers:  len(q.mu.consumers), ExclusiveUse: q.mu.exclusive != nil,
		IdleSinceMS: max(q.mu.lastPublishMS, q.lastUse.Load()),
		InMemory:    q.mu.entries.ready + q.mu.entries.out - q.mu.entries.cold,
		MemoryBytes: q.mu.resting.charged + q.mu.entries.bytes,
		Counters:    q.countersLocked(),
	}
}

// countersLocked are the counters, up to this moment.
func (q *classic) countersLocked() QueueCounters {
	c := q.mu.counters
	if since := q.mu.blockedSinceMS; since != 0 {
		c.BlockedMS += uint64(max(0, q.broker.now()-since))
	}
	return c
}

// trim gives back what a quiet queue keeps for its next message.
func (q *classic) trim() {
	q.mu.Lock()
	if q.broker.memory.pressed() {
		q.mu.paging = true
		for l := range q.mu.entries.levels() {
			l.pageNext = firstSeq(l.prio)
		}
	}
	q.pageOutLocked()
	if q.mu.entries.ready+q.mu.entries.out == 0 {
		q.mu.resting.trim()
		q.mu.settled = nil
		if cap(q.mu.timed) > 64 && len(q.mu.timed) == 0 {
			q.mu.timed = nil
		}
	}
	q.unlock()
}
