package core

import (
	"time"
	"unsafe"

	"leveret/core/auth"
)

// Completer learns when publishes are done with. Completed is called with a
// range of publish numbers [first, last], in any order of ranges, from any
// goroutine that holds no lock, possibly before Publish returns. Kind OK means
// that every queue has the message (on disk where it must be); otherwise it was
// refused, and k says why.
type Completer interface {
	Completed(first, last uint64, k Kind)
}

// Publisher publishes for one session. It belongs to one goroutine.
type Publisher struct {
	session   *Session // nil for the broker's own.
	broker    *Broker
	completer Completer
	tally     *tally // nil counts nothing.
	published bool   // Its meter counts it among its publishers.
	scope     string // See SetScope.
	nowMS     int64  // When the batch under way arrived.

	last    *Target
	targets map[string]*Target
	routes  routeCache
	spare   []*Route // Routes of this batch that are not cached, to be used again.
	spares  int      // How many of spare are in use.
	keys    []string // Scratch space of Route.
	// remembers says that some of spare have memos.
	remembers bool

	gather gatherer
	whole  [1]run    // The runs of a batch that goes one way.
	set    ChangeSet // Of the batch under way, nil while nothing is stored.
	// streams have something to copy when set is durable.
	streams []*stream

	ahead     *classic        // A queue whose consumers the publisher is ahead of; see pace.go.
	crowded   Outlet          // See Crowded.
	leaving   <-chan struct{} // Closed when a queue has less leaving than it had, see leaving.go.
	logAhead  bool            // The log has more than it wants, and this publisher adds to it.
	lag       *gate           // Of a stream whose copier is too far behind.
	paced     chan struct{}
	paceTimer *time.Timer

	paging ChangeSet // The same for transient messages that leave memory.

	late   []lateSettle // Retained messages that the batch under way has replaced.
	ids    []uint16
	client *Client // Who remembers what is published once; or nil.

	// moves, of a queue's worker, is called when the batch is in its queues, and
	// adds to the change set; moved when that is done with. See leaving.go.
	moves func()
	moved func(error)

	commit *commit // The transaction that the batch is part of, or nil.
}

// NewPublisher makes a publisher whose completions go to c.
func (s *Session) NewPublisher(c Completer) *Publisher {
	return &Publisher{session: s, broker: s.broker, completer: c, tally: s.tally}
}

// End says that p publishes no more, which its session's end says as well.
// Ending twice is harmless.
func (p *Publisher) End() {
	if !p.published {
		return
	}
	p.published = false
	p.session.mu.Lock()
	defer p.session.mu.Unlock()
	if p.session.mu.publishers > 0 {
		p.session.mu.publishers--
		p.tally.meter.publishes.Add(-1)
	}
}

// begin counts p among the publishers.
func (p *Publisher) begin() {
	p.published = true
	p.session.mu.Lock()
	defer p.session.mu.Unlock()
	if !p.session.mu.closed {
		p.session.mu.publishers++
		p.tally.meter.publishes.Add(1)
	}
}

// SetScope says what the publisher hangs on in the adapter, for operators, as
// ConsumeOptions.Scope does.
func (p *Publisher) SetScope(scope string) { p.scope = scope }

// Target is an exchange that a publisher may publish to.
type Target struct {
	x     *Exchange
	epoch uint64 // Of the permissions under which it was allowed.
	// topical is true when topic permissions must be asked for each key.
	topical bool
}

// Name is the exchange's name.
func (t *Target) Name() string { return t.x.name }

// Target finds an exchange to publish to: the session must have write
// permission, the exchange must exist and not be internal; refused in that
// order. name may alias a buffer.
func (p *Publisher) Target(name string) (*Target, error) {
	epoch := p.session.authEpoch()
	if t := p.last; t != nil && t.x.name == name && t.epoch == epoch && !t.x.deleted.Load() {
		return t, nil
	}
	if t := p.targets[name]; t != nil && t.epoch == epoch && !t.x.deleted.Load() {
		p.last = t
		return t, nil
	}
	return p.findTarget(name, epoch)
}

// targetsMax bounds how many targets a publisher remembers.
const targetsMax = 256

func (p *Publisher) findTarget(name string, epoch uint64) (*Target, error) {
	s := p.session
	shown := name
	if name == "" {
		shown = "amq.default"
	}
	if !s.allowed(OnExchange, auth.Write, shown, "") {
		return nil, errorf(AccessRefused, "write access to exchange '%s' in vhost '%s' refused for user '%s'", shown, s.vhost.name, s.User().Name)
	}
	x := s.vhost.exchange(name)
	if x == nil {
		return nil, errorf(NotFound, "no exchange '%s' in vhost '%s'", name, s.vhost.name)
	}
	if x.internal {
		return nil, errorf(AccessRefused, "cannot publish to internal exchange '%s' in vhost '%s'", name, s.vhost.name)
	}
	t := &Target{x: x, epoch: epoch, topical: x.typ == "topic"}
	if p.targets == nil || len(p.targets) >= targetsMax {
		p.targets = make(map[string]*Target)
	}
	p.targets[x.name] = t
	p.last = t
	return t, nil
}

// Route finds the queues that m goes to and notes them in m. m's key,
// properties and further keys are set; its exchange is set from t. It fails
// when topic permissions refuse a key. The route is good until Publish
// returns.
func (p *Publisher) Route(t *Target, m *Publication) (*Route, error) {
	m.Exchange = t.x.name
	if len(m.extra) == 0 && !t.x.needsMessage() {
		r, err := p.routes.lookup(p, t, m.RoutingKey)
		m.Route = r
		return r, err
	}
	if t.topical {
		for _, k := range p.keysOf(m) {
			if err := p.checkTopic(t, k); err != nil {
				return nil, err
			}
		}
	}
	return p.routeAlone(t.x, m), nil
}

// routeAlone finds a route for m alone.
func (p *Publisher) routeAlone(x *Exchange, m *Publication) *Route {
	r := p.spareRoute()
	keys := p.keysOf(m)
	x.resolveMessage(r, keys, &m.Message)
	clear(keys) // They would keep the publisher's read buffer alive.
	p.remembers = p.remembers || len(r.memos) > 0 || len(r.claims) > 0
	m.Route = r
	return r
}

// keysOf returns m's routing keys, good until it is called again.
func (p *Publisher) keysOf(m *Publication) []string {
	p.keys = append(append(p.keys[:0], m.RoutingKey), m.extra...)
	return p.keys
}

// Discard ends a batch that will not be published, but perhaps routed again.
func (p *Publisher) Discard() {
	for _, r := range p.spare[:p.spares] {
		releaseClaims(r.claims)
	}
	p.endBatch()
}

func (p *Publisher) endBatch() {
	p.spares, p.remembers = 0, false
	if len(p.spare) > 1024 {
		p.spare = nil
	}
}

func (p *Publisher) checkTopic(t *Target, key string) error {
	s := p.session
	if s.topicAllowed(t.x, auth.Write, key) {
		return nil
	}
	return errorf(AccessRefused, "write access to topic '%s' in exchange '%s' in vhost '%s' refused for user '%s'", key, t.x.name, s.vhost.name, s.User().Name)
}

func (p *Publisher) spareRoute() *Route {
	if p.spares == len(p.spare) {
		p.spare = append(p.spare, &Route{})
	}
	p.spares++
	return p.spare[p.spares-1]
}

// Publish hands the messages of one read to their queues, in order. Each has
// its Route. A message that is routed nowhere is nobody's business here: its
// publisher is told by the adapter. On return every message is in its queues
// or Refused; completions come when they come. Outlets that got something are
// added to t.
func (p *Publisher) Publish(ms []Publication, t *Touched) {
	if len(ms) == 0 {
		return
	}
	p.nowMS = p.broker.now()
	first := ms[0].Route
	same, once, retain := true, false, false
	count := batchCount{shortest: len(ms[0].Body)}
	for i := range ms {
		n := len(ms[i].Body)
		count.bytes += n
		count.shortest, count.longest = min(count.shortest, n), max(count.longest, n)
		if ms[i].Number != 0 {
			count.numbered++
		}
		ms[i].ArrivedMS = p.nowMS
		once = once || ms[i].Once != 0
		retain = retain || ms[i].Retain
		same = same && ms[i].Route == first
	}
	if p.tally != nil {
		if !p.published {
			p.begin()
		}
		count.same = same
		p.tally.received(ms, &count, p.commit != nil)
	}
	if taps := first.x.vhost.taps.Load(); taps != nil {
		taps.published(p, ms)
	}
	if p.remembers {
		p.remember(ms)
	}
	if retain {
		p.prepareRetain(ms)
	}
	if same {
		p.whole[0] = run{0, int32(len(ms))}
		if first.stores {
			storeAll(ms)
		}
		for _, q := range first.queues {
			q.push(p, ms, p.whole[:], t)
		}
		first.x.publishedIn.Add(uint64(len(ms)))
		first.x.publishedOut.Add(uint64(len(ms) * len(first.queues)))
	} else {
		p.scatter(ms, t)
	}
	if retain {
		p.retain(ms)
	}
	if once {
		p.receive(ms)
	}
	if p.remembers {
		releaseRefused(ms)
	}
	p.complete(ms)
	p.endBatch()
}

// scatter hands messages of different routes to their queues, one lock for
// each queue.
func (p *Publisher) scatter(ms []Publication, t *Touched) {
	g := &p.gather
	g.begin()
	from := 0
	for i := 1; i <= len(ms); i++ {
		if i < len(ms) && ms[i].Route == ms[from].Route {
			continue
		}
		r := ms[from].Route
		if r.stores {
			storeAll(ms[from:i])
		}
		for _, q := range r.queues {
			g.add(q, run{int32(from), int32(i)})
		}
		r.x.publishedIn.Add(uint64(i - from))
		r.x.publishedOut.Add(uint64((i - from) * len(r.queues)))
		from = i
	}
	for i := range g.slots[:g.n] {
		s := &g.slots[i]
		s.queue.push(p, ms, s.runs, t)
		s.queue = nil
	}
}

// changeSet returns the batch's change set, opening it at its first use.
func (p *Publisher) changeSet() ChangeSet {
	if p.set == nil {
		p.set = p.broker.log.Begin()
	}
	return p.set
}

// pagingSet returns the set of what is written only to leave memory.
func (p *Publisher) pagingSet() ChangeSet {
	if p.paging == nil {
		p.paging = p.broker.log.Begin()
	}
	return p.paging
}

// confirms is who counts confirms: of a transaction nobody does, its publisher
// waits for the commit.
func (p *Publisher) confirms() *tally {
	if p.commit != nil {
		return nil
	}
	return p.tally
}

// numbers is a range of publish numbers.
type numbers struct{ first, last uint64 }

// complete reports what is done already and leaves the rest to the log.
func (p *Publisher) complete(ms []Publication) {
	if p.moves != nil {
		p.moves()
	}
	if p.commit != nil {
		p.commit.ack(p)
	}
	moved := p.moved
	set := p.set
	p.set = nil
	if set != nil || p.paging != nil {
		p.logAhead = p.broker.logGate.closed() != nil
	}
	if p.paging != nil {
		p.paging.Close(func(error) {}) // If it fails, the messages stay in memory.
		p.paging = nil
	}
	var stored []numbers
	var done numbers // A range not yet reported, empty while first is 0.
	kind, counted := OK, p.confirms()
	report := func() {
		if kind == OK {
			counted.add(countConfirmed, int(done.last-done.first+1))
		}
		p.completer.Completed(done.first, done.last, kind)
	}
	for i := range ms {
		m := &ms[i]
		m.rested = nil
		switch {
		case m.Number == 0 || !m.Tracked():
		case m.logged && m.Refused == OK:
			if n := len(stored); n != 0 && stored[n-1].last+1 == m.Number {
				stored[n-1].last = m.Number
			} else {
				stored = append(stored, numbers{m.Number, m.Number})
			}
		case done.first != 0 && done.last+1 == m.Number && kind == m.Refused:
			done.last = m.Number
		default:
			if done.first != 0 {
				report()
			}
			done, kind = numbers{m.Number, m.Number}, m.Refused
		}
	}
	if done.first != 0 {
		report()
	}
	if set == nil {
		if moved != nil {
			moved(nil)
		}
		return
	}
	c, streams, late := p.completer, p.streams, p.late
	p.streams, p.late = nil, nil
	set.Close(func(err error) {
		if err == nil {
			settleLate(late)
		}
		for _, q := range streams {
			q.wakeCopier()
		}
		k := OK
		if err != nil {
			k = Unavailable
		}
		for _, r := range stored {
			if err == nil {
				counted.add(countConfirmed, int(r.last-r.first+1))
			}
			c.Completed(r.first, r.last, k)
		}
		if moved != nil {
			moved(err)
		}
	})
}

// gatherer sorts a batch by queue without allocating: a small open-addressed
// table, emptied by counting up its epoch.
type gatherer struct {
	slots []gathered
	n     int
	table []gatherSlot
	epoch uint32
}

type gathered struct {
	queue Queue
	runs  []run
}

type gatherSlot struct {
	id    uintptr
	epoch uint32
	slot  int32
}

func (g *gatherer) begin() {
	g.n = 0
	g.epoch++
	if g.epoch == 0 || g.table == nil {
		g.table = make([]gatherSlot, max(256, len(g.table)))
		g.epoch = 1
	}
}

// queueWord is q's address, which identifies it.
func queueWord(q Queue) uintptr { return (*[2]uintptr)(unsafe.Pointer(&q))[1] }

func (g *gatherer) add(q Queue, r run) {
	id := queueWord(q)
	mask := uintptr(len(g.table) - 1)
	h := (id >> 4) * 0x9E3779B97F4A7C15 >> 20
	for ; ; h++ {
		s := &g.table[h&mask]
		if s.epoch != g.epoch {
			*s = gatherSlot{id: id, epoch: g.epoch, slot: int32(g.n)}
			if g.n == len(g.slots) {
				g.slots = append(g.slots, gathered{})
			}
			e := &g.slots[g.n]
			e.queue, e.runs = q, append(e.runs[:0], r)
			if g.n++; g.n > len(g.table)/2 {
				g.rehash()
			}
			return
		}
		if s.id == id {
			e := &g.slots[s.slot]
			if last := &e.runs[len(e.runs)-1]; last.to == r.from {
				last.to = r.to
			} else {
				e.runs = append(e.runs, r)
			}
			return
		}
	}
}

func (g *gatherer) rehash() {
	g.table = make([]gatherSlot, 2*len(g.table))
	g.epoch = 1
	mask := uintptr(len(g.table) - 1)
	for i := range g.slots[:g.n] {
		id := queueWord(g.slots[i].queue)
		h := (id >> 4) * 0x9E3779B97F4A7C15 >> 20
		for g.table[h&mask].epoch != 0 {
			h++
		}
		g.table[h&mask] = gatherSlot{id: id, epoch: 1, slot: int32(i)}
	}
}
