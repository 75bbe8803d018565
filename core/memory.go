package core

import "sync/atomic"

// Memory keeps the account of live bytes: messages at rest, entries, what
// adapters hold for their clients. What follows from reaching its limit is for
// Alarms.
type Memory struct {
	live   atomic.Int64
	limit  atomic.Int64 // 0 for none.
	alarms *Alarms
}

// Live is the account's balance in bytes.
func (m *Memory) Live() int64 { return m.live.Load() }

// Limit is the limit in bytes, 0 for none.
func (m *Memory) Limit() int64 { return m.limit.Load() }

// SetLimit changes the limit; 0 for none.
func (m *Memory) SetLimit(n int64) {
	m.limit.Store(n)
	m.alarms.wake()
}

// alarmed reports whether the alarm is to be set if it is set now or not.
func (m *Memory) alarmed(set bool) bool {
	live, limit := m.live.Load(), m.limit.Load()
	if set {
		return limit > 0 && live >= int64(float64(limit)*memoryClearedAt)
	}
	return limit > 0 && live >= limit
}

// exceeded reports whether the limit is exceeded by more than a tenth.
func (m *Memory) exceeded() bool {
	limit := m.limit.Load()
	return limit > 0 && m.live.Load() > limit+limit/10
}

// pressed reports whether queues should keep less in memory than they may.
func (m *Memory) pressed() bool {
	limit := m.limit.Load()
	return limit > 0 && m.live.Load() > limit/2
}

// Charge adds n bytes, which may be negative, that an adapter holds.
func (m *Memory) Charge(n int64) { m.charge(n) }

// charge is called under the locks of queues: it only leaves a note for Alarms.
func (m *Memory) charge(n int64) {
	live := m.live.Add(n)
	limit := m.limit.Load()
	if limit == 0 {
		return
	}
	if over := m.alarms.over.Load(); over && live < int64(float64(limit)*memoryClearedAt) || !over && live >= limit {
		m.alarms.wake()
	}
}
