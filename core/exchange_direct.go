package core

import (
	"sync/atomic"

	"leveret/core/hamt"
)

// directType routes to the destinations bound with exactly the routing key.
type directType struct{ plainType }

func (directType) newTable(Table) routingTable { return new(directTable) }

type directTable struct {
	byKey   atomic.Pointer[hamt.Map[string, destinations]]
	loading *hamt.Edit // Of add and remove.
}

func (t *directTable) edit(e *hamt.Edit) { t.loading = e }

func (t *directTable) load() hamt.Map[string, destinations] {
	if m := t.byKey.Load(); m != nil {
		return *m
	}
	return hamt.Map[string, destinations]{}
}

func (t *directTable) add(b *binding, first bool) {
	if !first {
		return
	}
	m := t.load()
	set, _ := m.Get(b.key)
	m = m.WithIn(t.loading, b.key, set.withIn(t.loading, b.dest))
	t.byKey.Store(&m)
}

func (t *directTable) remove(b *binding, last bool) {
	if !last {
		return
	}
	m := t.load()
	set, _ := m.Get(b.key)
	if set = set.without(b.dest); set.len() == 0 {
		m = m.WithoutIn(t.loading, b.key)
	} else {
		m = m.WithIn(t.loading, b.key, set)
	}
	t.byKey.Store(&m)
}

func (t *directTable) match(dst []*destination, keys []string, _ *Message) ([]*destination, bool) {
	m := t.load()
	for _, key := range keys {
		if set, ok := m.Get(key); ok {
			dst = set.appendTo(dst)
		}
	}
	return dst, len(keys) == 1
}
