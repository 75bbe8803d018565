package core

import (
	"sync"
	"sync/atomic"
)

// Memory keeps the account of live bytes: messages at rest, entries, what
// adapters hold for their clients. At its limit publishers are held, which
// means that adapters stop reading from them; past a margin of a tenth those
// that must be read on (because they owe acks) have their publishes refused.
// Consumers always go on: they are what frees memory.
//
// A log that can take no more works the same way: publishers are held, those
// that must be read on are refused.
type Memory struct {
	live  atomic.Int64
	limit atomic.Int64 // 0 for none.
	over  atomic.Bool  // The limit was reached and not yet left.
	disk  atomic.Pointer[error]
	held  atomic.Bool
	poke  chan struct{}

	mu struct {
		sync.Mutex
		watchers map[int]func(held bool)
		next     int
	}
}

// heldUntil is the part of the limit below which held publishers go on: a
// little less than where they were held, so that the alarm does not flutter.
const heldUntil = 0.95

func newMemory(limit int64) *Memory {
	m := &Memory{poke: make(chan struct{}, 1)}
	m.limit.Store(limit)
	m.mu.watchers = make(map[int]func(bool))
	return m
}

// Live is the account's balance in bytes.
func (m *Memory) Live() int64 { return m.live.Load() }

// Limit is the limit in bytes, 0 for none.
func (m *Memory) Limit() int64 { return m.limit.Load() }

// SetLimit changes the limit; 0 for none.
func (m *Memory) SetLimit(n int64) {
	m.limit.Store(n)
	m.wake()
}

// Held reports whether publishing connections are to be held.
func (m *Memory) Held() bool { return m.held.Load() }

// Reason says why publishers are held: "low on memory", "low on disk" or "low
// on disk & memory".
func (m *Memory) Reason() string {
	switch over, disk := m.over.Load(), m.disk.Load() != nil; {
	case over && disk:
		return "low on disk & memory"
	case disk:
		return "low on disk"
	}
	return "low on memory"
}

// OverLimit reports whether memory is why publishers are held.
func (m *Memory) OverLimit() bool { return m.over.Load() }

// DiskError is why the log takes no publishes, or nil.
func (m *Memory) DiskError() error {
	if p := m.disk.Load(); p != nil {
		return *p
	}
	return nil
}

// setDisk notes that the log takes no publishes, or nil that it does again.
func (m *Memory) setDisk(err error) {
	if err == nil {
		m.disk.Store(nil)
	} else {
		m.disk.Store(&err)
	}
	m.wake()
}

// Refusing reports whether publishes are to be refused: the limit is exceeded
// by more than a tenth, or the log takes none.
func (m *Memory) Refusing() bool {
	limit := m.limit.Load()
	return limit > 0 && m.live.Load() > limit+limit/10 || m.disk.Load() != nil
}

// pressed reports whether queues should keep less in memory than they may.
func (m *Memory) pressed() bool {
	limit := m.limit.Load()
	return limit > 0 && m.live.Load() > limit/2
}

// Charge adds n bytes, which may be negative, that an adapter holds.
func (m *Memory) Charge(n int64) { m.charge(n) }

// charge is called under the locks of queues: it only leaves a note for Run.
func (m *Memory) charge(n int64) {
	live := m.live.Add(n)
	limit := m.limit.Load()
	if limit == 0 {
		return
	}
	if over := m.over.Load(); over && live < int64(float64(limit)*heldUntil) || !over && live >= limit {
		m.wake()
	}
}

func (m *Memory) wake() {
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

// Watch has fn called, by one goroutine that holds no lock, at each change of
// Held, and at once if it is held now. The result ends that.
func (m *Memory) Watch(fn func(held bool)) (stop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := m.mu.next
	m.mu.next++
	m.mu.watchers[id] = fn
	m.wake()
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.mu.watchers, id)
	}
}

// run turns crossings of the limit into calls of the watchers until stop is
// closed.
func (m *Memory) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-m.poke:
		}
		live, limit := m.live.Load(), m.limit.Load()
		if m.over.Load() {
			m.over.Store(limit > 0 && live >= int64(float64(limit)*heldUntil))
		} else {
			m.over.Store(limit > 0 && live >= limit)
		}
		if held := m.over.Load() || m.disk.Load() != nil; held != m.held.Load() {
			m.held.Store(held)
			m.tell(held)
		}
	}
}

func (m *Memory) tell(held bool) {
	m.mu.Lock()
	fns := make([]func(bool), 0, len(m.mu.watchers))
	for _, fn := range m.mu.watchers {
		fns = append(fns, fn)
	}
	m.mu.Unlock()
	for _, fn := range fns {
		fn(held)
	}
}
