package core

import (
	"crypto/sha256"
	"strings"
	"sync"
	"unsafe"
)

// What deduplication reads of a message.
const (
	headerDeduplicate = "x-deduplication-header"
	headerCacheTTL    = "x-cache-ttl"
)

// seenKeyMax is the longest key that is kept as it is; of longer ones there is
// a digest, so that what a cache takes is known by its number of keys.
const seenKeyMax = 48

// deduplicationKey returns what tells m from others that are not its
// duplicates; ok is false if m has nothing of the kind. The header's name stands
// as it is in every encoded form, so that others need not be decoded.
func deduplicationKey(m *Message) (key string, ok bool) {
	if m.Form != FormNeutral && !strings.Contains(bytesString(m.Encoded), headerDeduplicate) {
		return "", false
	}
	v, ok := m.Properties().Headers.Get(headerDeduplicate)
	if !ok {
		return "", false
	}
	switch v.(type) {
	case Table, []any:
		return "", false // As in the plugin.
	}
	b := appendValueID(append(make([]byte, 0, seenKeyMax), typeClass(v)[0]), v)
	if len(b) > seenKeyMax {
		sum := sha256.Sum256(b)
		b = append(b[:0], sum[:]...)
	}
	return string(b), true
}

// seenKeys remembers the keys of messages that have been there, for a time, and
// only so many: the oldest are forgotten first. It does not survive a restart.
// Its lock is a leaf.
type seenKeys struct {
	broker *Broker

	mu struct {
		sync.Mutex
		most        int64
		ttlMS       int64 // 0 for no end.
		byKey       map[string]*seenKey
		first, last *seenKey // Oldest first.
		forgotten   bool     // Nothing is remembered any more.
	}
}

type seenKey struct {
	key        string
	untilMS    int64 // 0 for no end.
	prev, next *seenKey
}

// seenKeyBytes is what one takes, its place in the map included.
const seenKeyBytes = int64(unsafe.Sizeof(seenKey{})) + seenKeyMax + 32

// newSeenKeys returns one that remembers nothing before it is configured.
func newSeenKeys(b *Broker) *seenKeys { return &seenKeys{broker: b} }

// configure changes the limits. What is remembered keeps its time.
func (s *seenKeys) configure(most, ttlMS int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.most, s.mu.ttlMS = most, ttlMS
	for int64(len(s.mu.byKey)) > most {
		s.dropLocked(s.mu.first)
	}
}

// claim remembers key unless it is remembered already, and reports whether it
// was not. ttlMS is the message's own time, negative for none.
func (s *seenKeys) claim(key string, ttlMS int64) bool {
	now := s.broker.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.mu.byKey[key]; k != nil {
		if k.untilMS == 0 || k.untilMS > now {
			return false
		}
		s.dropLocked(k)
	}
	if ttlMS < 0 {
		ttlMS = s.mu.ttlMS
	}
	for int64(len(s.mu.byKey)) >= s.mu.most && s.mu.first != nil {
		s.dropLocked(s.mu.first)
	}
	if s.mu.forgotten || s.mu.most <= 0 || !s.roomLocked() {
		return true
	}
	k := &seenKey{key: key, prev: s.mu.last}
	if ttlMS > 0 {
		k.untilMS = now + ttlMS
	}
	if s.mu.last != nil {
		s.mu.last.next = k
	} else {
		s.mu.first = k
	}
	s.mu.last = k
	if s.mu.byKey == nil {
		s.mu.byKey = make(map[string]*seenKey)
	}
	s.mu.byKey[key] = k
	s.charge(seenKeyBytes)
	return true
}

// release forgets a key that was claimed for a message that was not published.
func (s *seenKeys) release(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.mu.byKey[key]; k != nil {
		s.dropLocked(k)
	}
}

// roomLocked makes room within what exchanges may remember together: see
// recentHistory.roomLocked.
func (s *seenKeys) roomLocked() bool {
	b := s.broker
	for {
		if limit := b.memory.Limit(); limit == 0 || b.remembered.Load()+seenKeyBytes <= limit/historyMemoryShare {
			return true
		}
		if s.mu.first == nil {
			return false
		}
		s.dropLocked(s.mu.first)
	}
}

func (s *seenKeys) dropLocked(k *seenKey) {
	if k.prev != nil {
		k.prev.next = k.next
	} else {
		s.mu.first = k.next
	}
	if k.next != nil {
		k.next.prev = k.prev
	} else {
		s.mu.last = k.prev
	}
	delete(s.mu.byKey, k.key)
	s.charge(-seenKeyBytes)
}

func (s *seenKeys) charge(n int64) {
	s.broker.remembered.Add(n)
	s.broker.memory.charge(n)
}

// forget drops everything for good.
func (s *seenKeys) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.forgotten = true
	s.charge(-seenKeyBytes * int64(len(s.mu.byKey)))
	s.mu.byKey, s.mu.first, s.mu.last = nil, nil, nil
}
