package core

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
)

// randomType routes each message by one of the bindings, chosen at random. A
// destination that is bound twice gets twice as much.
type randomType struct{ plainType }

func (randomType) newTable(Table) routingTable { return new(randomTable) }

// readsMessage is true although nothing is read: no two messages need go the
// same way, so no route may be remembered.
func (randomType) readsMessage(Table) bool { return true }

// localRandomType is randomType for queues that are served by this node, so
// that a publish never waits for another one.
type localRandomType struct{ randomType }

func (localRandomType) checkBinding(b *Binding, dest *destination) error {
	switch {
	case b.Key != "":
		return errorf(Invalid, "Non empty binding '%s' key not permitted", b.Key)
	case dest == nil:
		return nil // It is about to be made.
	case dest.queue == nil:
		return errorf(Invalid, "Destination not found")
	case dest.queue.Options().Type != QueueClassic:
		return errorf(Invalid, "Queue type rabbit_%s_queue not valid for this exchange type", dest.queue.Options().Type)
	}
	return nil
}

type randomTable struct{ derived[[]*destination] }

func (t *randomTable) match(dst []*destination, _ []string, _ *Message) ([]*destination, bool) {
	all := *t.load(func(bs []*binding) []*destination {
		ds := make([]*destination, len(bs))
		for i, b := range bs {
			ds[i] = b.dest
		}
		return ds
	})
	if len(all) > 0 {
		dst = append(dst, all[rand.IntN(len(all))])
	}
	return dst, true
}

// derived holds what a routing table makes of all its bindings. It is made
// when a message next asks for it, not with every binding: a thousand of them
// may come in a row.
type derived[T any] struct {
	current atomic.Pointer[T] // nil when the bindings have changed.

	mu       sync.Mutex // A leaf.
	bindings map[*binding]struct{}
	changes  uint64
}

func (d *derived[T]) add(b *binding, _ bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bindings == nil {
		d.bindings = make(map[*binding]struct{})
	}
	d.bindings[b] = struct{}{}
	d.changedLocked()
}

func (d *derived[T]) remove(b *binding, _ bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.bindings, b)
	d.changedLocked()
}

func (d *derived[T]) changedLocked() {
	d.changes++
	d.current.Store(nil)
}

// load returns what make made of the bindings, which come in no order. The
// lock is not held meanwhile, so that no change waits for it.
func (d *derived[T]) load(make func([]*binding) T) *T {
	if t := d.current.Load(); t != nil {
		return t
	}
	d.mu.Lock()
	changes, bindings := d.changes, slices.Collect(maps.Keys(d.bindings))
	d.mu.Unlock()
	t := make(bindings)
	d.mu.Lock()
	if d.changes == changes {
		d.current.Store(&t)
	}
	d.mu.Unlock()
	return &t
}
