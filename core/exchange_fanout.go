package core

import (
	"sync/atomic"

	"leveret/core/hamt"
)

// fanoutType routes to every destination, whatever the routing key.
type fanoutType struct{ plainType }

func (fanoutType) newTable(Table) routingTable { return newFanoutTable() }

func newFanoutTable() *fanoutTable {
	return &fanoutTable{bindings: make(map[*destination]int)}
}

type fanoutTable struct {
	all      atomic.Pointer[destinations]
	bindings map[*destination]int // How many lead to each; used by add and remove.
	loading  *hamt.Edit           // Likewise.
}

func (t *fanoutTable) edit(e *hamt.Edit) { t.loading = e }

func (t *fanoutTable) load() destinations {
	if s := t.all.Load(); s != nil {
		return *s
	}
	return destinations{}
}

func (t *fanoutTable) add(b *binding, _ bool) {
	if t.bindings[b.dest]++; t.bindings[b.dest] == 1 {
		s := t.load().withIn(t.loading, b.dest)
		t.all.Store(&s)
	}
}

func (t *fanoutTable) remove(b *binding, _ bool) {
	if t.bindings[b.dest]--; t.bindings[b.dest] == 0 {
		delete(t.bindings, b.dest)
		s := t.load().without(b.dest)
		t.all.Store(&s)
	}
}

func (t *fanoutTable) match(dst []*destination, _ []string, _ *Message) ([]*destination, bool) {
	if s := t.all.Load(); s != nil {
		dst = s.appendTo(dst)
	}
	return dst, true
}
