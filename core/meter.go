package core

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Meter counts what sessions of one kind do, for as long as the broker lives:
// what a session has done stays counted when it ends. An adapter has one for
// each way of speaking that operators tell apart; what it is called means nothing
// to core.
//
// Counting must not make publishers of one kind wait for each other. So a meter
// consists of several tallies on cache lines of their own, a session counts in
// one of them, by the batch and not by the message, and who reads adds them up.
type Meter struct {
	name      string
	tallies   []paddedTally
	next      atomic.Uint32 // Deals out the tallies.
	consumers atomic.Int64
	publishes atomic.Int64 // Publishers that have published and not ended.
}

// messageSizes are the upper bounds, inclusive, of the classes that MeterTotals
// counts bodies in; the last class has none.
var messageSizes = [...]int{100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000}

// MessageSizes returns the upper bounds, inclusive, of all classes of bodies but
// the last.
func MessageSizes() []int { return append([]int(nil), messageSizes[:]...) }

const sizeClasses = len(messageSizes) + 1

// QueueKind says what kind of queue a delivery came from, as an index.
type QueueKind uint8

// The kinds of queues that meters tell apart.
const (
	KindClassic QueueKind = iota
	KindQuorum
	KindStream
	KindDirect
	QueueKinds = 4
)

// kindOf is the kind of a queue type.
func kindOf(t QueueType) QueueKind {
	switch t {
	case QueueQuorum:
		return KindQuorum
	case QueueStream:
		return KindStream
	case QueueDirect:
		return KindDirect
	}
	return KindClassic
}

// MeterTotals are sums of a meter, read one after another: while messages flow
// they are not of the same instant.
type MeterTotals struct {
	Received           uint64 // Messages published.
	ReceivedConfirm    uint64 // The part of them whose publisher waits for a confirm.
	Confirmed          uint64 // Publishes that were accepted for good.
	Routed             uint64 // Copies that queues were given.
	UnroutableReturned uint64 // Went nowhere, and the publisher had asked to be told.
	UnroutableDropped  uint64 // Went nowhere.

	Sizes     [sizeClasses]uint64 // Received, by the length of their bodies.
	SizeBytes uint64              // Those lengths together.

	// By the kind of queue that messages came from.
	ConsumedAck  [QueueKinds]uint64 // Handed to consumers that will ack,
	ConsumedAuto [QueueKinds]uint64 // or will not.
	GotAck       [QueueKinds]uint64 // The same of gets.
	GotAuto      [QueueKinds]uint64
	GetEmpty     [QueueKinds]uint64
	Redelivered  [QueueKinds]uint64
	Acked        [QueueKinds]uint64

	Publishers, Consumers int64 // There are now.
}

// counter names one number of a tally.
type counter uint8

const (
	countReceived counter = iota
	countReceivedConfirm
	countConfirmed
	countRouted
	countReturned
	countDropped
	countSizeBytes
	countSizes
	// Those by kind of queue begin here, QueueKinds of each. What publishers and
	// what consumers count is on different cache lines.
	countConsumedAck  = 16
	countConsumedAuto = countConsumedAck + QueueKinds
	countGotAck       = countConsumedAuto + QueueKinds
	countGotAuto      = countGotAck + QueueKinds
	countGetEmpty     = countGotAuto + QueueKinds
	countRedelivered  = countGetEmpty + QueueKinds
	countAcked        = countRedelivered + QueueKinds
	counters          = countAcked + QueueKinds
)

// tally is one part of a meter. Nil counts nothing.
type tally struct {
	n     [counters]atomic.Uint64
	meter *Meter
}

// tallyBytes is the size of a tally. Asking for that itself would make the types
// depend on each other in a circle.
const tallyBytes = counters*8 + unsafe.Sizeof(uintptr(0))

type paddedTally struct {
	tally
	_ [(64 - tallyBytes%64) % 64]byte
}

// talliesMax bounds how many tallies a meter has.
const talliesMax = 64

func newMeter(name string) *Meter {
	n := 1 << bits.Len(uint(4*runtime.GOMAXPROCS(0)-1))
	m := &Meter{name: name, tallies: make([]paddedTally, min(n, talliesMax))}
	for i := range m.tallies {
		m.tallies[i].meter = m
	}
	return m
}

// Name is what the meter was asked for by.
func (m *Meter) Name() string { return m.name }

// tally deals out one of the tallies; nil of a nil meter.
func (m *Meter) tally() *tally {
	if m == nil {
		return nil
	}
	return &m.tallies[m.next.Add(1)%uint32(len(m.tallies))].tally
}

func (m *Meter) sum(c counter) (n uint64) {
	for i := range m.tallies {
		n += m.tallies[i].n[c].Load()
	}
	return n
}

func (m *Meter) sums(c counter) (n [QueueKinds]uint64) {
	for k := range n {
		n[k] = m.sum(c + counter(k))
	}
	return n
}

// Totals adds the tallies up.
func (m *Meter) Totals() MeterTotals {
	t := MeterTotals{
		Received: m.sum(countReceived), ReceivedConfirm: m.sum(countReceivedConfirm), Confirmed: m.sum(countConfirmed),
		Routed: m.sum(countRouted), UnroutableReturned: m.sum(countReturned), UnroutableDropped: m.sum(countDropped),
		SizeBytes:   m.sum(countSizeBytes),
		ConsumedAck: m.sums(countConsumedAck), ConsumedAuto: m.sums(countConsumedAuto),
		GotAck: m.sums(countGotAck), GotAuto: m.sums(countGotAuto), GetEmpty: m.sums(countGetEmpty),
		Redelivered: m.sums(countRedelivered), Acked: m.sums(countAcked),
		Publishers: m.publishes.Load(), Consumers: m.consumers.Load(),
	}
	for i := range t.Sizes {
		t.Sizes[i] = m.sum(countSizes + counter(i))
	}
	return t
}

func (t *tally) add(c counter, n int) {
	if t != nil && n != 0 {
		t.n[c].Add(uint64(n))
	}
}

// addKind adds n to a counter that is kept for each kind of queue.
func (t *tally) addKind(c counter, k QueueKind, n int) {
	if t != nil && n != 0 {
		t.n[c+counter(k)].Add(uint64(n))
	}
}

// sizeClass is the class of a body of n bytes.
func sizeClass(n int) int {
	i := 0
	for i < len(messageSizes) && n > messageSizes[i] {
		i++
	}
	return i
}

// batchCount is what Publish sees of a batch while it goes through it anyway.
type batchCount struct {
	bytes, shortest, longest int // Of bodies.
	numbered                 int // Messages with publish numbers.
	same                     bool
}

// received counts a publisher's batch: an atomic addition for each number that is
// not 0. It looks at the messages one by one only if they differ in what counts.
func (t *tally) received(ms []Publication, b *batchCount, transaction bool) {
	t.n[countReceived].Add(uint64(len(ms)))
	t.add(countSizeBytes, b.bytes)
	if c := sizeClass(b.shortest); c == sizeClass(b.longest) {
		t.add(countSizes+counter(c), len(ms))
	} else {
		var sizes [sizeClasses]int
		for i := range ms {
			sizes[sizeClass(len(ms[i].Body))]++
		}
		for c, n := range sizes {
			t.add(countSizes+counter(c), n)
		}
	}
	routed, nowhere := len(ms)*len(ms[0].Route.queues), len(ms[0].Route.queues) == 0
	if !b.same {
		routed, nowhere = 0, false
		for i := range ms {
			n := len(ms[i].Route.queues)
			routed += n
			nowhere = nowhere || n == 0
		}
	}
	t.add(countRouted, routed)
	if !transaction {
		t.add(countReceivedConfirm, b.numbered)
	}
	if nowhere {
		t.unroutable(ms, transaction)
	}
}

// unroutable counts those of ms that go nowhere. The adapter confirms them, as
// there is nothing to wait for.
func (t *tally) unroutable(ms []Publication, transaction bool) {
	confirmed, returned, dropped := 0, 0, 0
	for i := range ms {
		m := &ms[i]
		switch {
		case len(m.Route.queues) != 0:
			continue
		case m.Mandatory:
			returned++
		default:
			dropped++
		}
		if m.Number != 0 && !transaction {
			confirmed++
		}
	}
	t.add(countReturned, returned)
	t.add(countDropped, dropped)
	t.add(countConfirmed, confirmed)
}

// meters are those of a broker.
type meters struct {
	sync.Mutex
	all []*Meter
}

// Meter returns the meter called name, making it if need be.
func (b *Broker) Meter(name string) *Meter {
	b.meters.Lock()
	defer b.meters.Unlock()
	for _, m := range b.meters.all {
		if m.name == name {
			return m
		}
	}
	m := newMeter(name)
	b.meters.all = append(b.meters.all, m)
	return m
}

// Meters returns all there are, in the order in which they were asked for.
func (b *Broker) Meters() []*Meter {
	b.meters.Lock()
	defer b.meters.Unlock()
	return append([]*Meter(nil), b.meters.all...)
}

// DeadLetterStrategy says what becomes of messages that die.
type DeadLetterStrategy uint8

// The strategies.
const (
	DeadLetterDisabled DeadLetterStrategy = iota // They are dropped.
	DeadLetterAtMostOnce
	DeadLetterAtLeastOnce
	deadLetterStrategies
)

// DeathReasons is how many reasons to die are told apart: rejected, expired,
// maxlen and delivery limit, in this order, as in QueueCounters.Died.
const DeathReasons = 4

// Churn counts what comes and goes, for as long as the broker lives.
type Churn struct {
	QueuesDeclared uint64 // Successful declares, of queues that were there as well.
	QueuesCreated  uint64
	QueuesDeleted  uint64
}

// stats are the broker's own counters.
type stats struct {
	declared, created, deleted atomic.Uint64
	died                       [2][deadLetterStrategies][DeathReasons]atomic.Uint64
	deadConfirmed              [2]atomic.Uint64
}

// Churn returns how many queues came and went. What was stored when the broker
// started counts as created before.
func (b *Broker) Churn() Churn {
	return Churn{b.stats.declared.Load(), b.stats.created.Load(), b.stats.deleted.Load()}
}

// Died returns how many messages have died in queues of a kind, which is classic
// or quorum, under a strategy, for each reason.
func (b *Broker) Died(k QueueKind, s DeadLetterStrategy) (n [DeathReasons]uint64) {
	for i := range n {
		n[i] = b.stats.died[k][s][i].Load()
	}
	return n
}

// DeadLettersConfirmed returns how many messages have arrived that queues of a
// kind, classic or quorum, sent off under the at-least-once strategy.
func (b *Broker) DeadLettersConfirmed(k QueueKind) uint64 { return b.stats.deadConfirmed[k].Load() }

// countDeathLocked counts a message that dies in q.
func (q *classic) countDeathLocked(reason deathReason) {
	q.mu.counters.Died[reason]++
	s := DeadLetterDisabled
	switch {
	case q.leavesLocked(reason) && q.mu.rules.deadKeepTrying:
		s = DeadLetterAtLeastOnce
	case q.leavesLocked(reason):
		s = DeadLetterAtMostOnce
	}
	q.broker.stats.died[q.kind][s][reason].Add(1)
}

// VHostTotals is what the queues and exchanges of a virtual host that are no more
// did while they were there.
type VHostTotals struct {
	Queues      QueueCounters
	PublishedIn uint64 // To exchanges.
}

// Retired returns the totals of what was deleted.
func (v *VHost) Retired() VHostTotals {
	v.retired.Lock()
	defer v.retired.Unlock()
	return v.retired.VHostTotals
}

// retireQueue keeps what q has done. q takes and gives nothing any more.
func (v *VHost) retireQueue(q Queue) {
	c := q.Summary().Counters
	v.retired.Lock()
	defer v.retired.Unlock()
	v.retired.Queues.add(&c)
}

func (v *VHost) retireExchange(x *Exchange) {
	v.retired.Lock()
	defer v.retired.Unlock()
	v.retired.PublishedIn += x.publishedIn.Load()
}

// add adds o to c.
func (c *QueueCounters) add(o *QueueCounters) {
	c.Published += o.Published
	c.DeliveredAck += o.DeliveredAck
	c.DeliveredAuto += o.DeliveredAuto
	c.Redelivered += o.Redelivered
	c.GotAck += o.GotAck
	c.GotAuto += o.GotAuto
	c.GetEmpty += o.GetEmpty
	c.Acked += o.Acked
	c.Expired += o.Expired
	c.Returned += o.Returned
	c.Rejected += o.Rejected
	c.Purged += o.Purged
	c.Damaged += o.Damaged
	c.Refused += o.Refused
	c.DeadLost += o.DeadLost
	c.Dropped += o.Dropped
	c.BlockedMS += o.BlockedMS
	for i := range c.Died {
		c.Died[i] += o.Died[i]
	}
}
