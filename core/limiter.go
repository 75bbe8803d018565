package core

import "sync"

// Limiter is credit that several consumers share, whichever queues they
// consume from: a prefetch limit over a whole session's consumers. It is a
// leaf of the lock order.
type Limiter struct {
	mu struct {
		sync.Mutex
		limit   int // 0 for none.
		used    int
		waiting []*Waiter
	}
}

// SetLimit changes the limit, 0 for none, and wakes who may go on.
func (l *Limiter) SetLimit(n int, t *Touched) {
	l.mu.Lock()
	l.mu.limit = n
	l.wakeAndUnlock(t)
}

// take uses up to n units and returns how many it got. If none, w is woken by
// a release; it must not be registered already.
func (l *Limiter) take(n int, w *Waiter) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.limit > 0 {
		n = min(n, l.mu.limit-l.mu.used)
	}
	if n <= 0 {
		l.mu.waiting = append(l.mu.waiting, w)
		return 0
	}
	l.mu.used += n
	return n
}

// release gives n units back. No lock is held.
func (l *Limiter) release(n int, t *Touched) {
	l.mu.Lock()
	l.mu.used -= n
	l.wakeAndUnlock(t)
}

// wakeAndUnlock wakes all who wait, in the order in which they came, if there
// is room. Who finds none registers again, behind the others.
func (l *Limiter) wakeAndUnlock(t *Touched) {
	if len(l.mu.waiting) == 0 || (l.mu.limit > 0 && l.mu.used >= l.mu.limit) {
		l.mu.Unlock()
		return
	}
	waiting := l.mu.waiting
	l.mu.waiting = nil
	l.mu.Unlock()
	for _, w := range waiting {
		w.WakeInto(t)
	}
}
