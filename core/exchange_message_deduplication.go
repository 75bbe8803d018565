package core

import "strconv"

// deduplicationType is fanout for each message once: one whose header
// x-deduplication-header says the same as an earlier one's goes nowhere. It is
// the exchange of the plugin rabbitmq-message-deduplication.
type deduplicationType struct{ plainType }

const (
	exchangeDeduplicate = "x-message-deduplication"
	argCachePersistence = "x-cache-persistence"
)

func (deduplicationType) checkArguments(_ string, args Table) error {
	v, _ := args.Get(argCacheSize)
	if _, ok := cacheNumber(v); !ok {
		return errorf(Invalid, "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0")
	}
	if v, ok := args.Get(argCacheTTL); ok {
		if _, ok := cacheNumber(v); !ok {
			return errorf(Invalid, "Invalid argument, 'x-cache-ttl' must be an integer greater than 0")
		}
	}
	switch v, ok := args.Get(argCachePersistence); {
	case !ok, v == "memory":
	case v == "disk":
		return errorf(Invalid, "Invalid argument, 'x-cache-persistence' can only be 'memory' in this release")
	default:
		return errorf(Invalid, "Invalid argument, 'x-cache-persistence' must be either 'disk' or 'memory'")
	}
	return nil
}

func (deduplicationType) readsMessage(Table) bool { return true }

func (deduplicationType) newTable(Table) routingTable {
	return &deduplication{fanoutTable: newFanoutTable()}
}

// deduplication is the table of such an exchange and the keys that it has seen.
//
// A key is claimed when its message is routed, so that of two in one batch, or
// of two publishers', one wins. A message that is then refused, or not published
// at all, gives its claim back: who publishes it again means it.
type deduplication struct {
	*fanoutTable
	seen *seenKeys // Fixed by newExchange.
}

// claim is a key that a message on its way has claimed.
type claim struct {
	seen *seenKeys
	key  string
}

// claim reports whether m is no duplicate. mine are claims that it has already;
// a new one is appended to claims.
func (d *deduplication) claim(m *Message, mine, claims []claim) ([]claim, bool) {
	key, ok := deduplicationKey(m)
	if !ok {
		return claims, true
	}
	for _, c := range mine {
		if c.seen == d.seen {
			return append(claims, c), true
		}
	}
	ttl := int64(-1)
	if v, ok := m.Properties().Headers.Get(headerCacheTTL); ok {
		if n, ok := cacheNumber(v); ok {
			ttl = n
		}
	}
	if !d.seen.claim(key, ttl) {
		return claims, false
	}
	return append(claims, claim{d.seen, key}), true
}

// releaseClaims gives back what a message claimed that is not published.
func releaseClaims(claims []claim) {
	for _, c := range claims {
		c.seen.release(c.key)
	}
}

// releaseRefused gives back what those of ms claimed that were refused.
func releaseRefused(ms []Publication) {
	for i := range ms {
		if m := &ms[i]; m.Refused != OK {
			releaseClaims(m.Route.claims)
		}
	}
}

// cacheNumber reads an argument that may be written as a string.
func cacheNumber(v any) (int64, bool) {
	if s, ok := v.(string); ok {
		n, err := strconv.ParseInt(s, 10, 64)
		return n, err == nil && n > 0
	}
	n, ok := Integer(v)
	return n, ok && n > 0
}

// cacheLimits are the size and TTL in force for x where a applies: policies
// come before arguments, as in the plugin.
func (x *Exchange) cacheLimits(a *appliedPolicy) (most, ttlMS int64) {
	get := func(name string) int64 {
		v, ok := a.get(name)
		if !ok {
			v, _ = x.arguments.Get(name)
		}
		n, _ := cacheNumber(v)
		return min(n, timerMaxMS)
	}
	return get(argCacheSize), get(argCacheTTL)
}
