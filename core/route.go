package core

import "hash/maphash"

// Route is where the messages of one exchange and key go. Those in a cache
// are immutable.
type Route struct {
	x       *Exchange
	version uint64
	epoch   uint64
	queues  []Queue
	stores  bool    // One of queues keeps every message, whatever its delivery mode.
	later   bool    // All of queues are hidden ones of exchanges that delay messages.
	memos   []memo  // Exchanges that will remember the message; never of one in a cache.
	claims  []claim // Of exchanges that let the message pass once; likewise.
}

// Unroutable reports whether there is nowhere to go.
func (r *Route) Unroutable() bool { return len(r.queues) == 0 }

// Later reports whether the message goes nowhere yet: it will be routed when its
// delay is over. Its publisher is told as if it were unroutable.
func (r *Route) Later() bool { return r.later }

// allDelay reports whether qs are all queues of exchanges that delay messages.
func allDelay(qs []Queue) bool {
	for _, q := range qs {
		if _, ok := q.(*delayer); !ok {
			return false
		}
	}
	return len(qs) > 0
}

// Queues is the number of queues that get a copy.
func (r *Route) Queues() int { return len(r.queues) }

// anyStores reports whether one of qs keeps every message.
func anyStores(qs []Queue) bool {
	for _, q := range qs {
		if q.Options().storesAll() {
			return true
		}
	}
	return false
}

// storeAll makes messages that go where every message is kept persistent: for
// all their queues, since what the log holds of a message it holds once.
func storeAll(ms []Publication) {
	for i := range ms {
		ms[i].Persistent = true
	}
}

// routeCache remembers the routes of a publisher's keys. A publisher with one
// key pays a string comparison. One with many gets a four-way set-associative
// table with hash and key inline, one cache line a slot, which grows until it
// holds the live keys: too small a table is worse than none, so at its largest
// it steps aside when it keeps missing (-31 % CPU at 100,000 keys).
type routeCache struct {
	last    *Route
	lastKey []byte

	slots    []routeSlot
	mask     uint32
	lookups  uint32 // Since the last look at how well it does.
	evicted  uint32
	bypassed uint32 // Lookups still to let pass by.
	victim   uint32

	// singles has the routes to one queue. Keys share them, so that a batch of
	// many keys for one queue still goes there in one piece.
	singles map[single]*Route
}

type single struct {
	x *Exchange
	q Queue
}

const (
	routeKeyMax   = 43
	routeWays     = 4
	routeSlotsMin = 64
	routeSlotsMax = 1 << 18
	// singlesMax bounds how many routes to one queue are kept to be shared.
	singlesMax = 4096
)

// routeSlot is 64 bytes.
type routeSlot struct {
	route *Route
	hash  uint64
	klen  uint8
	key   [routeKeyMax]byte
}

var routeSeed = maphash.MakeSeed()

// lookup returns the route of key, from the cache or from the tables.
func (c *routeCache) lookup(p *Publisher, t *Target, key string) (*Route, error) {
	version := t.x.version.Load()
	if r := c.last; r != nil && r.x == t.x && r.version == version && r.epoch == t.epoch && string(c.lastKey) == key {
		return r, nil
	}
	r, err := c.find(p, t, key, version)
	if err == nil {
		c.last = r
		c.lastKey = append(c.lastKey[:0], key...)
	}
	return r, err
}

func (c *routeCache) find(p *Publisher, t *Target, key string, version uint64) (*Route, error) {
	if len(key) > routeKeyMax || c.bypassed > 0 {
		if c.bypassed > 0 {
			c.bypassed--
		}
		return p.resolve(t, key, version)
	}
	if c.slots == nil {
		c.slots = make([]routeSlot, routeSlotsMin)
		c.mask = routeSlotsMin/routeWays - 1
	}
	if c.lookups++; c.lookups >= uint32(len(c.slots)) {
		c.review()
	}
	h := maphash.String(routeSeed, key)
	set := c.slots[(uint32(h)&c.mask)*routeWays:][:routeWays:routeWays]
	free := -1
	for i := range set {
		s := &set[i]
		if s.route == nil {
			if free < 0 {
				free = i
			}
			continue
		}
		if s.hash != h || int(s.klen) != len(key) || s.route.x != t.x || string(s.key[:s.klen]) != key {
			continue
		}
		if r := s.route; r.version == version && r.epoch == t.epoch {
			return r, nil
		}
		free = i
		break
	}
	r, err := p.resolve(t, key, version)
	if err != nil {
		return nil, err
	}
	if free < 0 {
		c.evicted++
		c.victim++
		free = int(c.victim % routeWays)
	}
	s := &set[free]
	s.route, s.hash, s.klen = r, h, uint8(len(key))
	copy(s.key[:], key)
	return r, nil
}

// review grows the table if it evicts more than a sixteenth of what it is asked
// for, or lets it rest if it cannot grow.
func (c *routeCache) review() {
	if c.evicted > c.lookups/16 {
		if len(c.slots) < routeSlotsMax {
			n := min(len(c.slots)*4, routeSlotsMax)
			c.slots = make([]routeSlot, n)
			c.mask = uint32(n/routeWays - 1)
		} else {
			c.bypassed = 4 * routeSlotsMax
		}
	}
	c.lookups, c.evicted = 0, 0
}

// resolve asks the exchange's tables.
func (p *Publisher) resolve(t *Target, key string, version uint64) (*Route, error) {
	if t.topical {
		if err := p.checkTopic(t, key); err != nil {
			return nil, err
		}
	}
	keys := [1]string{key}
	var found [8]Queue
	queues := t.x.resolve(found[:0], keys[:], nil)
	if len(queues) == 1 {
		return p.routes.single(t, queues[0], version), nil
	}
	r := &Route{x: t.x, version: version, epoch: t.epoch}
	if len(queues) != 0 {
		r.queues = append(make([]Queue, 0, len(queues)), queues...)
	}
	r.stores = anyStores(r.queues)
	return r, nil
}

// single returns the route to q alone.
func (c *routeCache) single(t *Target, q Queue, version uint64) *Route {
	key := single{t.x, q}
	if r := c.singles[key]; r != nil && r.version == version && r.epoch == t.epoch {
		return r
	}
	if c.singles == nil || len(c.singles) >= singlesMax {
		c.singles = make(map[single]*Route)
	}
	r := &Route{x: t.x, version: version, epoch: t.epoch, queues: []Queue{q}, stores: q.Options().storesAll()}
	c.singles[key] = r
	return r
}
