package core

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// consistentHashType routes each message to one destination, chosen by a hash
// of its routing key, of a header or of a property. The binding key is the
// destination's weight: its share of the hashed values.
//
// The choice is a weighted rendezvous: each destination draws a number from
// value and name together, and the best draw wins. So it depends on nothing
// but names and weights, neither on the order of declarations nor on the
// process; a destination that comes takes its share of the values from the
// others in proportion, and one that goes leaves its values to them; nothing
// else moves. It takes a nanosecond or two for each destination, and routes by
// routing key are remembered. (A ring of points was the other choice: as
// even as this with a thousand points for each unit of weight, that is with
// millions of them.)
type consistentHashType struct{}

const (
	argHashHeader   = "hash-header"
	argHashProperty = "hash-property"

	hashWeightMax = 10000
)

func (consistentHashType) checkArguments(what string, args Table) error {
	_, byHeader, err := stringArgument(args, argHashHeader, what)
	if err != nil {
		return err
	}
	property, byProperty, err := stringArgument(args, argHashProperty, what)
	switch {
	case err != nil:
		return err
	case byHeader && byProperty:
		return errorf(Invalid, "hash-header and hash-property are mutually exclusive")
	case byProperty && hashProperties[property] == nil:
		return errorf(Invalid, "Unsupported property: %s", property)
	}
	return nil
}

// checkBinding wants an integer as Erlang reads it: a sign is allowed.
func (consistentHashType) checkBinding(b *Binding, _ *destination) error {
	digits := strings.TrimPrefix(strings.TrimPrefix(b.Key, "+"), "-")
	if len(b.Key)-len(digits) > 1 || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return errorf(Invalid, "The binding key must be an integer: %s", erlangTerm(b.Key))
	}
	switch n, err := strconv.ParseInt(b.Key, 10, 64); {
	case n < 1:
		return errorf(Invalid, "The binding key must be greater than 0")
	case err != nil || n > hashWeightMax:
		return errorf(Invalid, "The binding key must be at most %d", hashWeightMax)
	}
	return nil
}

func (consistentHashType) readsMessage(args Table) bool {
	_, byHeader := args.Get(argHashHeader)
	_, byProperty := args.Get(argHashProperty)
	return byHeader || byProperty
}

func (consistentHashType) newTable(args Table) routingTable {
	t := new(consistentHashTable)
	t.header, t.byHeader, _ = stringArgument(args, argHashHeader, "")
	if name, ok, _ := stringArgument(args, argHashProperty, ""); ok {
		t.property = hashProperties[name]
	}
	return t
}

// hashProperties are the properties that can be hashed.
var hashProperties = map[string]func(h stableHash, p *Properties) stableHash{
	"message_id":     func(h stableHash, p *Properties) stableHash { return hashOptional(h, p.MessageID) },
	"correlation_id": func(h stableHash, p *Properties) stableHash { return hashOptional(h, p.CorrelationID) },
	"timestamp": func(h stableHash, p *Properties) stableHash {
		if p.Timestamp == nil {
			return h
		}
		return h.number(uint64(*p.Timestamp))
	},
}

func hashOptional(h stableHash, s *string) stableHash {
	if s == nil {
		return h
	}
	return h.text(*s)
}

type consistentHashTable struct {
	derived[[]hashClass]

	// Fixed by newTable. Without either, routing keys are hashed.
	byHeader bool
	header   string
	property func(stableHash, *Properties) stableHash
}

// hashClass has the destinations of one weight. Among them the greatest number
// drawn wins, so that only the classes' winners must be weighed up.
type hashClass struct {
	weight float64
	dests  []hashed
}

type hashed struct {
	seed uint64
	dest *destination
}

// classes sorts the destinations of bs by weight and name. One with several
// bindings has the greatest of their weights.
func classes(bs []*binding) []hashClass {
	weights := make(map[*destination]int, len(bs))
	for _, b := range bs {
		n, _ := strconv.Atoi(b.key)
		weights[b.dest] = max(weights[b.dest], n)
	}
	byWeight := make(map[int][]hashed)
	for d, w := range weights {
		seed := hashStart.number(uint64(d.kind())).text(d.name).sum()
		byWeight[w] = append(byWeight[w], hashed{seed, d})
	}
	var cs []hashClass
	for w, ds := range byWeight {
		slices.SortFunc(ds, func(a, b hashed) int { return compareDestinations(a.dest, b.dest) })
		cs = append(cs, hashClass{float64(w), ds})
	}
	slices.SortFunc(cs, func(a, b hashClass) int { return cmp.Compare(a.weight, b.weight) })
	return cs
}

func (t *consistentHashTable) match(dst []*destination, keys []string, m *Message) ([]*destination, bool) {
	cs := *t.load(classes)
	if len(cs) == 0 || len(keys) == 0 {
		return dst, true
	}
	value := t.valueOf(keys, m)
	best, winner := math.Inf(1), (*destination)(nil)
	for i := range cs {
		c := &cs[i]
		most, at := uint64(0), 0
		for j := range c.dests {
			if n := mix64(value ^ c.dests[j].seed); n > most {
				most, at = n, j
			}
		}
		if len(cs) == 1 {
			return append(dst, c.dests[at].dest), true
		}
		// -ln(u)/weight is how long a process of that rate takes to its first
		// event: which comes first is in proportion to the weights.
		u := (float64(most>>11) + 0.5) / (1 << 53)
		if after := -math.Log(u) / c.weight; after < best {
			best, winner = after, c.dests[at].dest
		}
	}
	return append(dst, winner), true
}

// valueOf hashes what the exchange looks at. Messages that lack it all have
// the same value. Further routing keys do not count.
func (t *consistentHashTable) valueOf(keys []string, m *Message) uint64 {
	h := hashStart
	switch {
	case !t.byHeader && t.property == nil:
		return h.text(keys[0]).sum()
	case m == nil: // A publisher that came before the binding that leads here.
	case t.property != nil:
		h = t.property(h, m.Properties())
	default:
		if v, ok := m.Properties().Headers.Get(t.header); ok {
			k := keyOfHeader("", v)
			h = h.number(uint64(k.class)).number(k.number).text(k.text)
		}
	}
	return h.sum()
}
