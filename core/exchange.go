package core

import (
	"slices"
	"sync"
	"sync/atomic"

	"leveret/core/hamt"
)

// exchangeType is what one type of exchange does its own way. Each lives in a
// file called exchange_<type>.go and is listed in exchangeTypes.
type exchangeType interface {
	// newTable returns an empty table for an exchange declared with args.
	newTable(args Table) routingTable
	// checkArguments refuses to declare the exchange that error texts call what.
	checkArguments(what string, args Table) error
	// checkBinding refuses a binding to dest that makes no sense with this type.
	checkBinding(b *Binding, dest *destination) error
	// readsMessage reports that routing looks at more than the routing keys, or
	// differs from message to message, so that it must be asked for each.
	readsMessage(args Table) bool
}

// plainType is embedded by the types that take any arguments and any binding
// and route by the keys alone, but for what they define themselves.
type plainType struct{}

func (plainType) checkArguments(string, Table) error        { return nil }
func (plainType) checkBinding(*Binding, *destination) error { return nil }
func (plainType) readsMessage(Table) bool                   { return false }

// routingTable finds the destinations of a message. match is called by any
// goroutine without a lock; add and remove by one at a time, and what they
// change is seen by a match that begins later, or at once.
type routingTable interface {
	// add adds b. first says that no other binding has its source, destination
	// and key; they may differ in arguments.
	add(b *binding, first bool)
	// remove removes b. last says that no such binding is left.
	remove(b *binding, last bool)
	// match appends the destinations of a message with these routing keys; m
	// is nil if the type does not read it. distinct says that none was
	// appended twice.
	match(dst []*destination, keys []string, m *Message) (_ []*destination, distinct bool)
}

// bulkTable is a routingTable that can be loaded without copying for each
// binding.
type bulkTable interface {
	// edit says that bindings are added under e from now on, while nobody
	// routes; with nil, that this is over.
	edit(e *hamt.Edit)
}

// exchangeTypes are the types that can be declared.
var exchangeTypes = map[string]exchangeType{
	"direct":  directType{},
	"fanout":  fanoutType{},
	"topic":   topicType{},
	"headers": headersType{},

	"x-consistent-hash": consistentHashType{},
	exchangeDelayed:     delayedMessageType{},
	"x-local-random":    localRandomType{},
	"x-modulus-hash":    modulusHashType{},
	exchangeDeduplicate: deduplicationType{},
	"x-random":          randomType{},
	"x-recent-history":  recentHistoryType{},
}

// ExchangeTypes lists the names of the types that can be declared, sorted.
func ExchangeTypes() []string {
	var names []string
	for name := range exchangeTypes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Exchange routes messages to queues and other exchanges. Any goroutine may
// use it; routing takes no lock.
type Exchange struct {
	// Fixed by newExchange.
	name       string
	vhost      *VHost
	typ        string
	durable    bool
	autoDelete bool
	internal   bool
	arguments  Table
	kind       exchangeType   // The type, or the one that x-delayed-type names.
	table      routingTable   // nil for the default exchange.
	reads      bool           // Its type reads messages.
	history    *recentHistory // What it remembers, nil for most types.
	dedup      *deduplication // The same of exchanges that know their messages again.
	delayer    *delayer       // What it delays, nil for most types.
	self       *destination   // Itself as the end of bindings.

	policy atomic.Pointer[appliedPolicy] // nil for nothing.
	// alternate is where to go when nothing matches; nil for nowhere. It is
	// written under the vhost's tables lock.
	alternate atomic.Pointer[string]
	deleted   atomic.Bool
	// version grows whenever a message published here could be routed
	// differently, also because of what lies behind bindings to exchanges and
	// the alternate exchange. Who remembers a route compares it.
	version       atomic.Uint64
	readsMessages atomic.Bool // It, or an exchange it leads to, reads messages.
	bound         atomic.Bool // It is the source of a binding.

	publishedIn  atomic.Uint64 // Messages published to it.
	publishedOut atomic.Uint64 // Messages it handed to queues, counting each queue.

	// Guarded by the vhost's tables lock.
	sourceOf  sourceList
	next      map[*Exchange]int // Exchanges bound to it, and by how many bindings.
	everBound bool              // It has been the source of a binding.
}

var destinationIDs atomic.Uint64

func newExchange(v *VHost, d ExchangeDef) *Exchange {
	x := &Exchange{
		name: d.Name, vhost: v, typ: d.Type, durable: d.Durable, autoDelete: d.AutoDelete,
		internal: d.Internal, arguments: d.Arguments, kind: exchangeTypes[d.Type],
	}
	if x.name != "" {
		a := v.policies.Load().forExchange(x.name)
		x.policy.Store(a)
		x.alternate.Store(x.alternateUnder(a))
		x.table = x.kind.newTable(d.Arguments)
		if d, ok := x.table.(*deduplication); ok {
			d.seen, x.dedup = newSeenKeys(v.broker), d
			d.seen.configure(x.cacheLimits(a))
		}
	}
	if t, ok := x.table.(bulkTable); ok {
		t.edit(v.broker.loading)
	}
	if h, ok := x.table.(*recentHistory); ok {
		h.x, x.history = x, h
	}
	if t, ok := x.table.(*delayedTable); ok {
		x.delayer = newDelayer(x, d.ID)
		t.to = &destination{id: destinationIDs.Add(1), name: x.name, queue: x.delayer, durable: x.durable}
	}
	x.self = &destination{id: destinationIDs.Add(1), name: x.name, exchange: x, durable: x.durable}
	x.reads = x.kind.readsMessage(d.Arguments)
	x.readsMessages.Store(x.reads)
	if x.delayer != nil {
		x.kind = delayedType(d.Arguments) // Bindings are its business.
	}
	return x
}

// canMake reports whether this release can serve an exchange as d describes it.
func canMake(d *ExchangeDef) bool {
	return exchangeTypes[d.Type] != nil && (d.Type != exchangeDelayed || delayedType(d.Arguments) != nil)
}

// Name returns the exchange's name, "" for the default exchange.
func (x *Exchange) Name() string { return x.name }

// VHost returns the virtual host that x belongs to.
func (x *Exchange) VHost() *VHost { return x.vhost }

// ExchangeInfo is what operators see of an exchange.
type ExchangeInfo struct {
	Name, Type                    string
	Durable, AutoDelete, Internal bool
	Arguments                     Table
	PublishedIn, PublishedOut     uint64
	Policy                        AppliedPolicy
	Delayed                       int   // Messages that wait for their time,
	DelayedBytes                  int64 // and their bodies.
}

// Info returns a snapshot of x.
func (x *Exchange) Info() ExchangeInfo {
	i := ExchangeInfo{
		Name: x.name, Type: x.typ, Durable: x.durable, AutoDelete: x.autoDelete,
		Internal: x.internal, Arguments: x.arguments,
		PublishedIn: x.publishedIn.Load(), PublishedOut: x.publishedOut.Load(),
		Policy: x.policy.Load().public(),
	}
	if x.delayer != nil {
		i.Delayed, i.DelayedBytes = x.delayer.pendingCount()
	}
	return i
}

// needsMessage reports that routing looks at more than the routing keys, here
// or at any exchange behind x, so that routes cannot be remembered by key.
func (x *Exchange) needsMessage() bool { return x.readsMessages.Load() }

// resolve appends each queue that gets a message published to x with these
// routing keys, once. m may be nil unless needsMessage. It takes no lock, and
// nothing is allocated but room in dst. What exchanges would remember of m is
// left out: see resolveMessage.
func (x *Exchange) resolve(dst []Queue, keys []string, m *Message) []Queue {
	if x.table == nil && len(keys) == 1 {
		if d := x.vhost.destination(keys[0]); d != nil {
			dst = append(dst, d.queue)
		}
		return dst
	}
	w := walks.Get().(*walk)
	w.run(x, keys, m)
	return w.end(dst)
}

// resolveMessage is resolve for a message on its way: r gets the queues, and
// the exchanges on the way that will want to remember the message.
func (x *Exchange) resolveMessage(r *Route, keys []string, m *Message) {
	w := walks.Get().(*walk)
	w.run(x, keys, m)
	r.x, r.memos = x, append(r.memos[:0], w.memos...)
	r.claims = append(r.claims[:0], w.claims...)
	r.queues = w.end(r.queues[:0])
	r.stores = anyStores(r.queues)
	r.later = allDelay(r.queues)
}

// walk is the scratch space of one resolve.
type walk struct {
	found     []*destination // Queues.
	exchanges []*Exchange    // Those reached, in order; each is looked at once, which ends cycles.
	seen      map[*Exchange]struct{}
	memos     []memo // If there is a message.
	claims    []claim
	mine      []claim // Of a message that is routed again.
}

// end appends the queues found and gives w back.
func (w *walk) end(dst []Queue) []Queue {
	for i, d := range w.found {
		dst = append(dst, d.queue)
		w.found[i] = nil
	}
	clear(w.exchanges)
	clear(w.seen)
	clear(w.memos)
	clear(w.claims)
	w.mine = nil
	walks.Put(w)
	return dst
}

var walks = sync.Pool{New: func() any { return new(walk) }}

// walkListMax is how many exchanges or queues are compared one by one.
const walkListMax = 16

func (w *walk) run(x *Exchange, keys []string, m *Message) {
	w.found, w.exchanges = w.found[:0], append(w.exchanges[:0], x)
	w.memos, w.claims = w.memos[:0], w.claims[:0]
	distinct := true
	for i := 0; i < len(w.exchanges); i++ {
		x := w.exchanges[i]
		if m != nil && x.history != nil {
			w.memos = append(w.memos, x.history.memo())
		}
		before := len(w.found)
		once, fresh := true, true
		if m != nil && x.dedup != nil {
			w.claims, fresh = x.dedup.claim(m, w.mine, w.claims)
		}
		if fresh {
			w.found, once = x.match(w.found, keys, m)
		}
		if len(w.found) == before {
			if alternate := x.alternate.Load(); alternate != nil {
				if ae := x.vhost.exchange(*alternate); ae != nil {
					w.reach(ae)
				}
			}
			continue
		}
		distinct = distinct && once && before == 0
		queues := w.found[:before]
		for _, d := range w.found[before:] {
			if d.exchange != nil {
				w.reach(d.exchange)
			} else {
				queues = append(queues, d)
			}
		}
		clear(w.found[len(queues):])
		w.found = queues
	}
	if !distinct {
		all := w.found
		w.found = uniqueDestinations(all)
		clear(all[len(w.found):])
	}
}

func (w *walk) reach(x *Exchange) {
	if len(w.exchanges) < walkListMax {
		if !slices.Contains(w.exchanges, x) {
			w.exchanges = append(w.exchanges, x)
		}
		return
	}
	if w.seen == nil {
		w.seen = make(map[*Exchange]struct{}, 4*walkListMax)
	}
	if len(w.seen) == 0 {
		for _, y := range w.exchanges {
			w.seen[y] = struct{}{}
		}
	}
	if _, ok := w.seen[x]; !ok {
		w.seen[x] = struct{}{}
		w.exchanges = append(w.exchanges, x)
	}
}

// uniqueDestinations removes repetitions in place. It sorts long lists, which
// allocates nothing.
func uniqueDestinations(ds []*destination) []*destination {
	if len(ds) <= walkListMax {
		out := ds[:0]
		for _, d := range ds {
			if !slices.Contains(out, d) {
				out = append(out, d)
			}
		}
		return out
	}
	slices.SortFunc(ds, func(a, b *destination) int {
		switch {
		case a.id < b.id:
			return -1
		case a.id > b.id:
			return 1
		}
		return 0
	})
	return slices.Compact(ds)
}

// match appends what x itself sends a message to. The default exchange has no
// table: every queue is bound to it by its name.
func (x *Exchange) match(dst []*destination, keys []string, m *Message) (_ []*destination, distinct bool) {
	if x.table != nil {
		return x.table.match(dst, keys, m)
	}
	for _, key := range keys {
		if d := x.vhost.destination(key); d != nil {
			dst = append(dst, d)
		}
	}
	return dst, len(keys) == 1
}
