package core

import (
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

// recentHistoryType is fanout for those who come late: it remembers the last
// messages, and whoever is bound gets them first.
type recentHistoryType struct{ plainType }

const (
	argHistoryLength   = "x-recent-history-length"
	headerHistorySkip  = "x-recent-history-no-store"
	historyLength      = 20 // Messages, unless the argument says otherwise.
	historyMemoryShare = 8  // All histories together get one part in so many of the memory limit.
	historyBatch       = 64
)

func (recentHistoryType) checkArguments(_ string, args Table) error {
	v, ok := args.Get(argHistoryLength)
	if !ok {
		return nil
	}
	if n, ok := Integer(v); !ok || n < 1 {
		return errorf(Invalid, "Invalid argument %s, 'x-recent-history-length' must be a positive integer", erlangTerm(v))
	}
	return nil
}

func (recentHistoryType) readsMessage(Table) bool { return true }

func (recentHistoryType) newTable(args Table) routingTable {
	h := &recentHistory{fanoutTable: newFanoutTable(), length: historyLength}
	if v, ok := args.Get(argHistoryLength); ok {
		if n, ok := Integer(v); ok && n > 0 {
			h.length = n
		}
	}
	return h
}

// recentHistory is the table of such an exchange and what it remembers.
//
// A destination gets each message once, from the history or because it was
// routed to it, and in order: binding a queue and handing it the history are
// one step under the lock, remembering a message is another, and a message
// that was routed before the one and is remembered after it is routed again.
// A history handed through an exchange keeps its order only among itself.
//
// Messages are remembered before they are in any queue, also those that go
// nowhere. They are copies, charged to the account of memory, bounded in
// number by the exchange's argument and in bytes by what one queue may keep in
// memory; the oldest make room. They do not survive a restart.
type recentHistory struct {
	*fanoutTable
	x      *Exchange     // Fixed by newExchange.
	length int64         // Messages.
	binds  atomic.Uint64 // Bindings made so far.

	// mu comes after the tables lock and before those of queues.
	mu struct {
		sync.Mutex
		first, last *remembered
		n, bytes    int64
		forgotten   bool     // The exchange is deleted.
		touched     Touched  // By what add handed to queues.
		replays     []replay // To exchanges bound since bound was called.
	}
}

// remembered is a message in a list, oldest first.
type remembered struct {
	message *Message
	keys    []string // Further routing keys.
	ttlMS   int64
	bytes   int64
	next    *remembered
}

const rememberedBytes = int64(unsafe.Sizeof(remembered{}))

// replay is a history as it was when to was bound: n messages from first on.
type replay struct {
	first *remembered
	n     int64
	to    *Exchange
}

// memo notes in a route that a history will remember the message, and what was
// bound when the route was found.
type memo struct {
	history *recentHistory
	binds   uint64
}

// memo is called before the destinations are looked up.
func (h *recentHistory) memo() memo { return memo{h, h.binds.Load()} }

// remember gives the messages of a batch to the histories they came through.
func (p *Publisher) remember(ms []Publication) {
	for i := range ms {
		m := &ms[i]
		for _, memo := range m.Route.memos {
			memo.history.remember(m, memo.binds, func() { p.routeAgain(m) })
		}
	}
}

// routeAgain changes m's route, which is m's alone, to what is bound now. If it
// went nowhere its publisher has been told already.
func (p *Publisher) routeAgain(m *Publication) {
	r := m.Route
	if r.Unroutable() {
		m.Number = 0
	}
	keys := p.keysOf(m)
	w := walks.Get().(*walk)
	w.mine = r.claims
	w.run(r.x, keys, &m.Message)
	r.queues = w.end(r.queues[:0])
	clear(keys)
}

// remember keeps a copy of m. If something was bound that m's route does not
// know, missed is called.
func (h *recentHistory) remember(m *Publication, binds uint64, missed func()) {
	limit := h.x.vhost.broker.queueMemory
	if rememberedBytes+m.sharedBytes() > limit || skipsHistory(&m.Message) {
		return
	}
	r := &remembered{message: share(&m.Message), ttlMS: m.TTLMS}
	r.bytes = rememberedBytes + r.message.sharedBytes()
	r.message.ExpiresMS = 0
	if r.message.Form != FormNeutral {
		r.message.props.Store(nil) // What was decoded on the way is more than the bytes.
	}
	for _, key := range m.extra {
		r.keys = append(r.keys, strings.Clone(key))
		r.bytes += int64(len(key))
	}

	h.mu.Lock()
	defer h.mu.Unlock()
	if h.binds.Load() != binds {
		missed()
	}
	for h.mu.n > 0 && (h.mu.n >= h.length || h.mu.bytes+r.bytes > limit) {
		h.dropFirstLocked()
	}
	if h.mu.forgotten || !h.roomLocked(r.bytes) {
		return
	}
	if h.mu.n == 0 {
		h.mu.first = r
	} else {
		h.mu.last.next = r
	}
	h.mu.last = r
	h.mu.n++
	h.chargeLocked(r.bytes)
}

// skipsHistory reports whether m asks not to be remembered. The header's name
// stands as it is in every encoded form, so that others need not be decoded.
func skipsHistory(m *Message) bool {
	if m.Form != FormNeutral && !strings.Contains(bytesString(m.Encoded), headerHistorySkip) {
		return false
	}
	v, _ := m.Properties().Headers.Get(headerHistorySkip)
	return v == true
}

// roomLocked drops messages until n bytes more are within what all histories
// together may take: publishers are held while memory is short, and nobody
// would consume a history to end that.
func (h *recentHistory) roomLocked(n int64) bool {
	b := h.x.vhost.broker
	for {
		if limit := b.memory.Limit(); limit == 0 || b.remembered.Load()+n <= limit/historyMemoryShare {
			return true
		}
		if h.mu.n == 0 {
			return false
		}
		h.dropFirstLocked()
	}
}

func (h *recentHistory) dropFirstLocked() {
	r := h.mu.first
	h.mu.first = r.next
	if h.mu.n--; h.mu.n == 0 {
		h.mu.last = nil
	}
	h.chargeLocked(-r.bytes)
}

func (h *recentHistory) chargeLocked(n int64) {
	h.mu.bytes += n
	b := h.x.vhost.broker
	b.remembered.Add(n)
	b.memory.charge(n)
}

// forget drops everything, as the exchange is deleted.
func (h *recentHistory) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.forgotten = true
	h.mu.first, h.mu.last, h.mu.n = nil, nil, 0
	h.chargeLocked(-h.mu.bytes)
}

// add also hands the history to a queue. What remains to be done without locks
// waits for bound.
func (h *recentHistory) add(b *binding, first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fanoutTable.add(b, first)
	h.binds.Add(1)
	r := replay{h.mu.first, h.mu.n, b.dest.exchange}
	switch {
	case r.n == 0:
	case b.dest.exchange != nil:
		h.mu.replays = append(h.mu.replays, r)
	default:
		p := &Publisher{broker: h.x.vhost.broker}
		route := &Route{x: h.x, queues: []Queue{b.dest.queue}}
		for ms := range r.batches() {
			for i := range ms {
				ms[i].Route = route
			}
			p.hand(ms, b.dest.queue, &h.mu.touched)
		}
	}
}

// hand gives ms, which want no confirms, to q alone.
func (p *Publisher) hand(ms []Publication, q Queue, t *Touched) {
	p.nowMS = p.broker.now()
	for i := range ms {
		ms[i].ArrivedMS = p.nowMS
	}
	p.whole[0] = run{0, int32(len(ms))}
	q.push(p, ms, p.whole[:], t)
	p.complete(ms)
}

// bound is called by who has made a binding, with no lock held. It publishes
// the history to exchanges that were bound and flushes what queues handed on.
func (h *recentHistory) bound() {
	h.mu.Lock()
	replays, touched := h.mu.replays, h.mu.touched
	h.mu.replays, h.mu.touched = nil, Touched{}
	h.mu.Unlock()
	for _, r := range replays {
		p := &Publisher{broker: h.x.vhost.broker}
		for ms := range r.batches() {
			for i := range ms {
				p.routeAlone(r.to, &ms[i])
			}
			p.Publish(ms, &touched)
		}
	}
	touched.Flush()
}

// batches yields r's messages as publications, which are good until the next.
func (r replay) batches() func(yield func([]Publication) bool) {
	return func(yield func([]Publication) bool) {
		buf := make([]Publication, min(r.n, historyBatch))
		for k := r.first; r.n > 0; {
			ms := buf[:min(r.n, historyBatch)]
			for i := range ms {
				ms[i].Reset()
				ms[i].cloneFields(k.message)
				ms[i].TTLMS, ms[i].extra = k.ttlMS, k.keys
				if r.n--; r.n > 0 {
					k = k.next // That of the last one may be being set.
				}
			}
			if !yield(ms) {
				return
			}
		}
	}
}
