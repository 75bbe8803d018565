package core

import (
	"encoding/base64"
	"hash/fnv"
	"iter"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// destination is an end of bindings: a queue, or an exchange bound to another.
// Routing tables hold pointers to it, one word each.
type destination struct {
	// Fixed when it is made.
	id       uint64    // Unique in the process, for the tables.
	name     string    //
	queue    Queue     // nil for an exchange.
	exchange *Exchange // nil for a queue.
	durable  bool
	owner    *Session // Whose exclusive queue it is, or nil.

	policy atomic.Pointer[appliedPolicy] // What applies to a queue; nil for nothing.

	// bindings are those that end here, guarded by the vhost's tables lock.
	bindings bindingSet
}

func (d *destination) identity() uint64 { return d.id }

// destinations is a set of them.
type destinations = set[*destination]

func (d *destination) kind() DestinationKind {
	if d.exchange != nil {
		return ToExchange
	}
	return ToQueue
}

// binding is one that exists.
type binding struct {
	source *Exchange
	dest   *destination
	key    string
	args   Table
	argsID string   // Equal for equal arguments.
	next   *binding // In a bindingSet's map: the same route with other arguments.

	before, after *binding // In the source's sourceList.
}

func (b *binding) public() Binding {
	return Binding{
		Source: b.source.name, Destination: b.dest.name, DestinationKind: b.dest.kind(),
		Key: b.key, Arguments: b.args,
	}
}

// How the keys of bindings' definitions tell the kinds of destinations.
const (
	bindingToQueue    = "q"
	bindingToExchange = "x"
)

// bindingKey is the key of a binding's definition. A binding is identified by
// its ends, its key and its arguments in any order.
func bindingKey(vhost string, b *Binding, argsID string) []string {
	kind := bindingToQueue
	if b.DestinationKind == ToExchange {
		kind = bindingToExchange
	}
	return []string{vhost, b.Source, kind, b.Destination, b.Key, argsID}
}

// PropertiesKey names b among the bindings between its two ends, as the HTTP
// API of RabbitMQ does: "~", or the escaped routing key, and a hash of the
// arguments if there are any.
func (b *Binding) PropertiesKey() string {
	if b.Key == "" && len(b.Arguments) == 0 {
		return "~"
	}
	key := strings.ReplaceAll(url.QueryEscape(b.Key), "~", "%7E")
	if len(b.Arguments) == 0 {
		return key
	}
	h := fnv.New32a()
	h.Write([]byte(argumentsID(b.Arguments)))
	return key + "~" + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// bindingSet holds the bindings that end at one destination. Most queues have
// a few, which are listed; more than bindingListMax are found by their route.
type bindingSet struct {
	list    []*binding
	byRoute map[bindingRoute]*binding
	n       int
}

type bindingRoute struct{ source, key string }

// bindingListMax: a map of a few takes ten times the room of a list.
const bindingListMax = 32

// find returns the binding that is identified by its arguments, and whether
// there is any with this source and key.
func (s *bindingSet) find(source, key, argsID string) (found *binding, sameRoute bool) {
	for _, b := range s.list {
		if b.source.name == source && b.key == key {
			if b.argsID == argsID {
				return b, true
			}
			sameRoute = true
		}
	}
	for b := s.byRoute[bindingRoute{source, key}]; b != nil; b = b.next {
		if b.argsID == argsID {
			return b, true
		}
		sameRoute = true
	}
	return nil, sameRoute
}

// add adds b, which is not there, and reports whether it is the first of its route.
func (s *bindingSet) add(b *binding) (first bool) {
	_, sameRoute := s.find(b.source.name, b.key, b.argsID)
	s.n++
	if s.byRoute == nil && len(s.list) < bindingListMax {
		s.list = append(s.list, b)
		return !sameRoute
	}
	if s.byRoute == nil {
		s.byRoute = make(map[bindingRoute]*binding, 2*bindingListMax)
		for _, old := range s.list {
			s.put(old)
		}
		s.list = nil
	}
	s.put(b)
	return !sameRoute
}

func (s *bindingSet) put(b *binding) {
	r := bindingRoute{b.source.name, b.key}
	b.next = s.byRoute[r]
	s.byRoute[r] = b
}

// remove removes b, which is there, and reports whether it was the last of its route.
func (s *bindingSet) remove(b *binding) (last bool) {
	s.n--
	if s.byRoute == nil {
		s.list = slices.DeleteFunc(s.list, func(x *binding) bool { return x == b })
		_, sameRoute := s.find(b.source.name, b.key, b.argsID)
		return !sameRoute
	}
	r := bindingRoute{b.source.name, b.key}
	head := s.byRoute[r]
	if head != b {
		before := head
		for before.next != b {
			before = before.next
		}
		before.next = b.next
		return false
	}
	if b.next != nil {
		s.byRoute[r] = b.next
		return false
	}
	delete(s.byRoute, r)
	return true
}

// all yields each binding. The set must not change meanwhile.
func (s *bindingSet) all() iter.Seq[*binding] {
	return func(yield func(*binding) bool) {
		for _, b := range s.list {
			if !yield(b) {
				return
			}
		}
		for _, b := range s.byRoute {
			for ; b != nil; b = b.next {
				if !yield(b) {
					return
				}
			}
		}
	}
}

// sourceList is the bindings of one source, in no particular order: linked,
// since it is only walked through, and may be very long.
type sourceList struct {
	first *binding
	n     int
}

func (l *sourceList) add(b *binding) {
	b.before, b.after = nil, l.first
	if l.first != nil {
		l.first.before = b
	}
	l.first = b
	l.n++
}

func (l *sourceList) remove(b *binding) {
	if b.before != nil {
		b.before.after = b.after
	} else {
		l.first = b.after
	}
	if b.after != nil {
		b.after.before = b.before
	}
	b.before, b.after = nil, nil
	l.n--
}

// all yields each binding. The list must not change meanwhile.
func (l *sourceList) all() iter.Seq[*binding] {
	return func(yield func(*binding) bool) {
		for b := l.first; b != nil; b = b.after {
			if !yield(b) {
				return
			}
		}
	}
}

// argumentsID returns a string that is equal for tables with the same names
// and values, in any order. Numbers count by value, whatever their type.
func argumentsID(t Table) string {
	if len(t) == 0 {
		return ""
	}
	return string(appendTableID(nil, t))
}

func appendTableID(dst []byte, t Table) []byte {
	sorted := slices.Clone(t)
	slices.SortStableFunc(sorted, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	dst = append(dst, '{')
	for i, f := range sorted {
		if i > 0 && sorted[i-1].Name == f.Name {
			continue // The first of a name wins.
		}
		dst = strconv.AppendQuote(dst, f.Name)
		dst = append(dst, ':')
		dst = appendValueID(dst, f.Value)
	}
	return append(dst, '}')
}

func appendValueID(dst []byte, v any) []byte {
	if n, ok := Integer(v); ok {
		return strconv.AppendInt(dst, n, 10)
	}
	switch v := v.(type) {
	case bool:
		return strconv.AppendBool(dst, v)
	case string:
		return strconv.AppendQuote(dst, v)
	case []byte:
		return strconv.AppendQuote(dst, string(v))
	case float32:
		return strconv.AppendFloat(append(dst, 'f'), float64(v), 'g', -1, 64)
	case float64:
		return strconv.AppendFloat(append(dst, 'f'), v, 'g', -1, 64)
	case Timestamp:
		return strconv.AppendInt(append(dst, 't'), int64(v), 10)
	case Decimal:
		dst = strconv.AppendUint(append(dst, 'd'), uint64(v.Value), 10)
		return strconv.AppendUint(append(dst, '/'), uint64(v.Scale), 10)
	case Table:
		return appendTableID(dst, v)
	case []any:
		dst = append(dst, '[')
		for _, e := range v {
			dst = append(appendValueID(dst, e), ',')
		}
		return append(dst, ']')
	}
	return append(dst, '_') // Void.
}
