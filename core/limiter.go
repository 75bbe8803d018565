package core

import (
	"sync"
	"sync/atomic"
)

// Limiter is credit that several consumers share, whichever queues they
// consume from: a prefetch limit over a whole session's consumers. It is a
// leaf of the lock order. While there is no limit it only counts.
type Limiter struct {
	limit   atomic.Int64 // 0 for none.
	used    atomic.Int64
	waiters atomic.Int32 // len(mu.waiting)

	mu struct {
		sync.Mutex
		waiting []*Waiter
	}
}

// SetLimit changes the limit, 0 for none, and wakes who may go on.
func (l *Limiter) SetLimit(n int, t *Touched) {
	l.limit.Store(int64(n))
	l.wake(t)
}

// takeOne uses one unit. If there is none, w is woken by a release; it must not
// be registered already.
func (l *Limiter) takeOne(w *Waiter) bool {
	if l.limit.Load() == 0 {
		l.used.Add(1)
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// Register, then look: a release that comes in between sees either the
	// waiter, and waits for the lock, or its unit is seen here.
	l.mu.waiting = append(l.mu.waiting, w)
	l.waiters.Add(1)
	if limit := l.limit.Load(); limit > 0 && l.used.Load() >= limit {
		return false
	}
	l.mu.waiting = l.mu.waiting[:len(l.mu.waiting)-1]
	l.waiters.Add(-1)
	l.used.Add(1)
	return true
}

// release gives n units back. No lock is held.
func (l *Limiter) release(n int, t *Touched) {
	l.used.Add(int64(-n))
	l.wake(t)
}

// wake wakes all who wait, in the order in which they came, if there is room.
// Who finds none registers again, behind the others.
func (l *Limiter) wake(t *Touched) {
	if l.waiters.Load() == 0 {
		return
	}
	l.mu.Lock()
	if limit := l.limit.Load(); limit > 0 && l.used.Load() >= limit {
		l.mu.Unlock()
		return
	}
	waiting := l.mu.waiting
	l.mu.waiting = nil
	l.waiters.Store(0)
	l.mu.Unlock()
	for _, w := range waiting {
		w.WakeInto(t)
	}
}
