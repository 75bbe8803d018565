package core

import (
	"slices"
	"strings"
	"sync/atomic"

	"leveret/core/hamt"
)

// headersType routes by the message's headers, compared with the arguments of
// each binding as its x-match says: all of them or any.
type headersType struct{}

const argMatch = "x-match"

func (headersType) newTable(Table) routingTable { return new(headersTable) }
func (headersType) readsMessage() bool          { return true }

func (headersType) checkBinding(b *Binding) error {
	v, ok := b.Arguments.Get(argMatch)
	if !ok {
		return nil
	}
	s, ok := v.(string)
	if !ok {
		return errorf(Invalid, "Invalid x-match field type %s (value %s); expected longstr", typeName(v), erlangTerm(v))
	}
	switch s {
	case "all", "any", "all-with-x", "any-with-x":
		return nil
	}
	return errorf(Invalid, "Invalid x-match field value %s; expected all, any, all-with-x, or any-with-x", erlangTerm(s))
}

// headersTable holds, for each destination, the bindings that lead to it. A
// publish looks at all of them.
type headersTable struct {
	all atomic.Pointer[hamt.Map[*destination, []headersMatch]]
}

// headersMatch is a binding's arguments made ready for comparison.
type headersMatch struct {
	binding *binding
	any     bool
	wants   []headerWant
}

type headerWant struct {
	name    string
	value   any  // As normalHeader returns it.
	present bool // Any value will do.
}

func newHeadersMatch(b *binding) headersMatch {
	mode := "all"
	if v, ok := b.args.Get(argMatch); ok {
		mode, _ = v.(string)
	}
	m := headersMatch{binding: b, any: strings.HasPrefix(mode, "any")}
	withX := strings.HasSuffix(mode, "-with-x")
	for i, f := range b.args {
		if f.Name == argMatch || !withX && strings.HasPrefix(f.Name, "x-") {
			continue
		}
		if slices.ContainsFunc(b.args[:i], func(e Field) bool { return e.Name == f.Name }) {
			continue // The first of a name wins.
		}
		m.wants = append(m.wants, headerWant{f.Name, normalHeader(f.Value), f.Value == nil})
	}
	return m
}

// matches reports whether headers satisfy m. Without anything to compare, all
// is satisfied and any is not.
func (m *headersMatch) matches(headers Table) bool {
	for i := range m.wants {
		w := &m.wants[i]
		v, ok := headers.Get(w.name)
		if ok = ok && (w.present || sameHeader(w.value, v)); ok == m.any {
			return ok
		}
	}
	return !m.any
}

// normalHeader returns v as the one Go type that stands for all wire types
// with the same values: int64, float64, string, bool, or the identity of a
// table or list.
func normalHeader(v any) any {
	if n, ok := Integer(v); ok {
		return n
	}
	switch v := v.(type) {
	case Timestamp:
		return int64(v)
	case float32:
		return float64(v)
	case []byte:
		return string(v)
	case Decimal, Table, []any:
		return compoundHeader(appendValueID(nil, v))
	}
	return v
}

// compoundHeader identifies a table, list or decimal.
type compoundHeader string

// sameHeader compares a wanted value, made by normalHeader, with a message's.
// The cases are those that come often; they allocate nothing.
func sameHeader(want, v any) bool {
	switch w := want.(type) {
	case string:
		switch v := v.(type) {
		case string:
			return v == w
		case []byte:
			return string(v) == w
		}
		return false
	case int64:
		if t, ok := v.(Timestamp); ok {
			return int64(t) == w
		}
		n, ok := Integer(v)
		return ok && n == w
	case float64:
		switch v := v.(type) {
		case float32:
			return float64(v) == w
		case float64:
			return v == w
		}
		return false
	case bool:
		b, ok := v.(bool)
		return ok && b == w
	}
	return normalHeader(v) == want
}

func (t *headersTable) load() hamt.Map[*destination, []headersMatch] {
	if m := t.all.Load(); m != nil {
		return *m
	}
	return hamt.Map[*destination, []headersMatch]{}
}

func (t *headersTable) add(b *binding, _ bool) {
	m := t.load()
	list, _ := m.Get(b.dest)
	// Readers of the old list do not see behind its end, so it may be
	// appended to in place: the newest list is the only one that ever is.
	m = m.With(b.dest, append(list, newHeadersMatch(b)))
	t.all.Store(&m)
}

func (t *headersTable) remove(b *binding, _ bool) {
	m := t.load()
	list, _ := m.Get(b.dest)
	left := make([]headersMatch, 0, len(list))
	for _, h := range list {
		if h.binding != b {
			left = append(left, h)
		}
	}
	if len(left) == 0 {
		m = m.Without(b.dest)
	} else {
		m = m.With(b.dest, left)
	}
	t.all.Store(&m)
}

// match matches nothing without a message: a publisher that did not yet know
// that it leads here came before the binding.
func (t *headersTable) match(dst []*destination, _ []string, m *Message) ([]*destination, bool) {
	all := t.all.Load()
	if all == nil || m == nil {
		return dst, true
	}
	headers := m.Properties().Headers
	for d, list := range all.All() {
		for i := range list {
			if list[i].matches(headers) {
				dst = append(dst, d)
				break
			}
		}
	}
	return dst, true
}
