package core

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"leveret/core/auth"
	"leveret/core/topic"
)

// A tap shows messages on their way to somebody who only looks: nothing is
// consumed, nobody waits for it, and what it cannot take is counted as skipped.
//
//	Publisher.Publish --+                         (before the queues get them)
//	                    +--> tapSet of the vhost --> Tap.inbox --> Tap.Take
//	queue -> consumer --+                         (as they are handed out)
//
// While nobody looks, a virtual host has no tapSet, which costs a publisher's
// batch and a queue's pass over its consumers one atomic load each.

// TapOptions says how much a tap takes.
type TapOptions struct {
	// CountMax and BytesMax bound what waits to be taken; 0 for 1,000 messages
	// and 16 MiB.
	CountMax int
	BytesMax int64
	// PerSecond bounds how many messages are taken; 0 for any number.
	PerSecond int
	// BodyMax cuts bodies that are longer; 0 cuts none.
	BodyMax int
}

// Tap shows messages of an exchange, of a queue, or, as the tracer, all of those
// virtual hosts that are traced. One goroutine reads it.
type Tap struct {
	// Fixed when it is made.
	broker   *Broker
	vhost    *VHost    // nil for the tracer.
	exchange *Exchange // One of the three is set,
	queue    Queue     // or none for the tracer.
	keys     *topic.Trie[struct{}]
	opts     TapOptions
	inbox    *inbox[Tapped]

	skipped atomic.Uint64 // But for what the inbox has lost.

	rate struct {
		sync.Mutex // A leaf.
		second     int64
		taken      int
	}
}

// Tapped is a message that a tap has seen.
type Tapped struct {
	Delivered   bool // To a consumer; otherwise it was published.
	AtMS        int64
	VHost       string
	Message     *Message // A copy.
	Size        int      // Of the body, which may be cut.
	Keys        []string // All routing keys that it was published with; nil if Delivered.
	Queues      []string // The queues that it goes to, or the one that it comes from.
	Redelivered bool
	Acquired    uint16 // As in DeliveryHistory.
	User        string // Who published it, or gets it; "" for the broker itself.
	Connection  string // Session.Name of theirs.
	Scope       string // What their publisher or consumer hangs on; "" if that is unknown.
}

// tapSet is all that looks into one virtual host. It is immutable.
type tapSet struct {
	tracer    *Tap // nil while it is not traced, or nobody traces.
	trace     *Exchange
	taps      []*Tap // The others.
	exchanges map[*Exchange][]*Tap
	queues    map[Queue][]*Tap
}

// Trace begins to trace the virtual hosts that are to be traced, as
// VHostDef.Tracing says, and goes on as that changes. What is seen is meant to be
// published to TraceExchange, by an Announcer: messages from there are not
// traced, nor is anything while no queue is bound to it. There is one tracer; a
// later one takes the place of an earlier one. Close it.
func (b *Broker) Trace(o TapOptions) *Tap {
	t := newTap(b, o)
	if old := b.tracer.Swap(t); old != nil {
		old.inbox.close()
	}
	b.retapAll()
	return t
}

func (b *Broker) retapAll() {
	for _, v := range b.vhosts.Load().All() {
		v.retap()
	}
}

func newTap(b *Broker, o TapOptions) *Tap {
	if o.CountMax <= 0 {
		o.CountMax = 1000
	}
	if o.BytesMax <= 0 {
		o.BytesMax = 16 << 20
	}
	return &Tap{broker: b, opts: o, inbox: newInbox[Tapped](o.CountMax, o.BytesMax)}
}

// TapQueue shows what a queue is sent and hands out. It needs what consuming
// needs. The tap ends when the queue does. Close it.
func (s *Session) TapQueue(name string, o TapOptions) (*Tap, error) {
	q, err := s.queueFor(name, auth.Read)
	if err != nil {
		return nil, err
	}
	t := newTap(s.broker, o)
	t.vhost, t.queue = s.vhost, q
	s.vhost.addTap(t)
	if q.closed() {
		t.inbox.close() // It may have ended before the tap was there to be ended.
	}
	return t, nil
}

// TapExchange shows what is published to an exchange with a routing key that
// matches a pattern, as in a binding of a topic exchange. It needs what binding
// to the exchange needs, but for the right to write to a queue. The tap ends when
// the exchange does. Close it.
func (s *Session) TapExchange(name, pattern string, o TapOptions) (*Tap, error) {
	if err := s.permitExchange(auth.Read, name); err != nil {
		return nil, err
	}
	x := s.vhost.exchange(name)
	if x == nil {
		return nil, s.vhost.noExchange(name)
	}
	if err := s.permitTopic(x, auth.Read, pattern); err != nil {
		return nil, err
	}
	t := newTap(s.broker, o)
	t.vhost, t.exchange = s.vhost, x
	t.keys = new(topic.Trie[struct{}]).With(strings.Clone(pattern), 1, struct{}{})
	s.vhost.addTap(t)
	if x.deleted.Load() {
		t.inbox.close()
	}
	return t, nil
}

// Ready has a token when there may be something to take.
func (t *Tap) Ready() <-chan struct{} { return t.inbox.ready }

// Take returns the messages that have come, and whether more can.
func (t *Tap) Take() (seen []Tapped, open bool) { return t.inbox.take() }

// Skipped is how many messages were not shown so far.
func (t *Tap) Skipped() uint64 { return t.skipped.Load() + t.inbox.lost.Load() }

// Close ends the tap. Closing twice is harmless.
func (t *Tap) Close() {
	t.inbox.close()
	if t.vhost != nil {
		t.vhost.endTaps(func(o *Tap) bool { return o == t })
	} else if t.broker.tracer.CompareAndSwap(t, nil) {
		t.broker.retapAll()
	}
}

func (v *VHost) addTap(t *Tap) {
	v.tapping.Lock()
	defer v.tapping.Unlock()
	var all []*Tap
	if set := v.taps.Load(); set != nil {
		all = set.taps
	}
	v.tapLocked(append(slices.Clip(all), t))
}

// endTaps ends those taps that which says.
func (v *VHost) endTaps(which func(*Tap) bool) {
	v.tapping.Lock()
	defer v.tapping.Unlock()
	set := v.taps.Load()
	if set == nil || !slices.ContainsFunc(set.taps, which) {
		return
	}
	var kept []*Tap
	for _, t := range set.taps {
		if which(t) {
			t.inbox.close()
		} else {
			kept = append(kept, t)
		}
	}
	v.tapLocked(kept)
}

// retap looks again whether v is traced.
func (v *VHost) retap() {
	v.tapping.Lock()
	defer v.tapping.Unlock()
	var all []*Tap
	if set := v.taps.Load(); set != nil {
		all = set.taps
	}
	v.tapLocked(all)
}

// tapLocked makes the set of all and of the tracer. v.tapping is held.
func (v *VHost) tapLocked(all []*Tap) {
	set := &tapSet{taps: all}
	if v.definition.Load().Tracing {
		set.tracer, set.trace = v.broker.tracer.Load(), v.exchange(TraceExchange)
	}
	if set.tracer == nil && len(all) == 0 {
		v.taps.Store(nil)
		return
	}
	for _, t := range all {
		if t.queue != nil {
			if set.queues == nil {
				set.queues = make(map[Queue][]*Tap)
			}
			set.queues[t.queue] = append(set.queues[t.queue], t)
			continue
		}
		if set.exchanges == nil {
			set.exchanges = make(map[*Exchange][]*Tap)
		}
		set.exchanges[t.exchange] = append(set.exchanges[t.exchange], t)
	}
	v.taps.Store(set)
}

// traces reports whether a message of an exchange is traced.
func (s *tapSet) traces(m *Message) bool {
	return s.tracer != nil && s.trace.bound.Load() && m.Exchange != TraceExchange
}

// published shows a batch that is about to be handed to its queues. No lock is
// held.
func (s *tapSet) published(p *Publisher, ms []Publication) {
	for i := range ms {
		m := &ms[i]
		// Only what clients publish is traced; taps see also what the broker
		// moves and makes.
		if p.session != nil && s.traces(&m.Message) {
			s.tracer.seePublish(p, m)
		}
		for _, t := range s.exchanges[m.Route.x] {
			if t.matches(m) {
				t.seePublish(p, m)
			}
		}
		if s.queues != nil {
			for _, q := range m.Route.queues {
				for _, t := range s.queues[q] {
					t.seePublish(p, m)
				}
			}
		}
	}
}

func (t *Tap) matches(m *Publication) bool {
	var found [1]struct{}
	if len(t.keys.Match(found[:0], m.RoutingKey)) > 0 {
		return true
	}
	for _, k := range m.extra {
		if len(t.keys.Match(found[:0], k)) > 0 {
			return true
		}
	}
	return false
}

func (t *Tap) seePublish(p *Publisher, m *Publication) {
	if !t.mayTake(&m.Message, p.nowMS) {
		return
	}
	seen := Tapped{AtMS: p.nowMS, VHost: m.Route.x.vhost.name, Scope: p.scope, Keys: []string{strings.Clone(m.RoutingKey)}, Queues: []string{}}
	for _, k := range m.extra {
		seen.Keys = append(seen.Keys, strings.Clone(k))
	}
	for _, q := range m.Route.queues {
		if _, later := q.(*delayer); !later {
			seen.Queues = append(seen.Queues, q.Options().Name)
		}
	}
	t.put(&seen, &m.Message, p.session)
}

// delivered shows what c is handed. The queue's lock is held.
func (s *tapSet) delivered(q Queue, c *Consumer, ds []Delivery) {
	for i := range ds {
		s.deliveredOne(q, c.session, c.opts.Scope, &ds[i])
	}
}

func (s *tapSet) deliveredOne(q Queue, to *Session, scope string, d *Delivery) {
	if d.Message == nil {
		return // A client only learns that it still holds it.
	}
	if s.traces(d.Message) {
		s.tracer.seeDelivery(q, to, scope, d)
	}
	for _, t := range s.queues[q] {
		t.seeDelivery(q, to, scope, d)
	}
}

func (t *Tap) seeDelivery(q Queue, to *Session, scope string, d *Delivery) {
	now := t.broker.now()
	if !t.mayTake(d.Message, now) {
		return
	}
	o := q.Options()
	seen := Tapped{
		Delivered: true, AtMS: now, VHost: o.VHost, Scope: scope, Queues: []string{o.Name},
		Redelivered: d.Redelivered, Acquired: d.Acquired,
	}
	t.put(&seen, d.Message, to)
}

// mayTake counts m as skipped, and spares it being copied, if there is no room.
func (t *Tap) mayTake(m *Message, nowMS int64) bool {
	if t.overRate(nowMS) || t.inbox.full(t.size(m)) {
		t.skipped.Add(1)
		return false
	}
	return true
}

func (t *Tap) overRate(nowMS int64) bool {
	if t.opts.PerSecond <= 0 {
		return false
	}
	t.rate.Lock()
	defer t.rate.Unlock()
	if second := nowMS / 1000; second != t.rate.second {
		t.rate.second, t.rate.taken = second, 0
	}
	t.rate.taken++
	return t.rate.taken > t.opts.PerSecond
}

// size is what m takes while it waits.
func (t *Tap) size(m *Message) int64 {
	n := len(m.Body)
	if t.opts.BodyMax > 0 {
		n = min(n, t.opts.BodyMax)
	}
	return int64(n + len(m.Encoded) + len(m.RoutingKey) + 512)
}

// put adds seen with a copy of m, which who has published or gets.
func (t *Tap) put(seen *Tapped, m *Message, who *Session) {
	if who != nil {
		seen.User, seen.Connection = who.User().Name, who.name
	}
	var cut Message
	cut.cloneFields(m)
	seen.Size = len(m.Body)
	if t.opts.BodyMax > 0 {
		cut.Body = cut.Body[:min(len(cut.Body), t.opts.BodyMax)]
	}
	cut.OwnBody = false // Nothing of it is shared.
	seen.Message = cut.Clone()
	t.inbox.put(*seen, t.size(m))
}
