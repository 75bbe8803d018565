package core

import (
	"sync"
	"sync/atomic"
)

// inbox is a bounded queue between those who must not wait, and may hold any
// lock, and one who reads. What comes when it is full is counted and lost.
type inbox[T any] struct {
	// Fixed by newInbox.
	countMax int
	bytesMax int64
	ready    chan struct{} // Holds one token while there is something to take.

	lost atomic.Uint64

	mu struct {
		sync.Mutex // A leaf.
		waiting    []T
		bytes      int64
		closed     bool
	}
}

func newInbox[T any](countMax int, bytesMax int64) *inbox[T] {
	return &inbox[T]{countMax: countMax, bytesMax: bytesMax, ready: make(chan struct{}, 1)}
}

// full reports whether something of that size would be lost now.
func (b *inbox[T]) full(bytes int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fullLocked(bytes)
}

// fullLocked lets one in that is larger than all of the room, if there is
// nothing else.
func (b *inbox[T]) fullLocked(bytes int64) bool {
	return b.mu.closed || len(b.mu.waiting) >= b.countMax || len(b.mu.waiting) > 0 && b.mu.bytes+bytes > b.bytesMax
}

// put adds v, which takes bytes, or counts it as lost.
func (b *inbox[T]) put(v T, bytes int64) {
	b.mu.Lock()
	full := b.fullLocked(bytes)
	if !full {
		b.mu.waiting = append(b.mu.waiting, v)
		b.mu.bytes += bytes
	}
	b.mu.Unlock()
	if full {
		b.lost.Add(1)
		return
	}
	b.wake()
}

func (b *inbox[T]) wake() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// take returns what has come, and whether more can.
func (b *inbox[T]) take() (vs []T, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	vs = b.mu.waiting
	b.mu.waiting, b.mu.bytes = nil, 0
	return vs, !b.mu.closed
}

// close lets nothing more in; the reader is woken.
func (b *inbox[T]) close() {
	b.mu.Lock()
	b.mu.closed = true
	b.mu.Unlock()
	b.wake()
}
