package core

import "sync"

// chunkLen is how many consecutive entries share a chunk.
const chunkLen = 128

// The state of an entry, in the low bits of its byte.
const (
	stateGone  uint8 = iota // Settled, or never used.
	stateReady              // Waiting for a consumer.
	stateOut                // Handed out and not settled.
	stateMask  uint8 = 7

	// flagRedelivered: it was handed out before.
	flagRedelivered uint8 = 1 << 3
	// flagLogged: the message log holds a reference to it.
	flagLogged uint8 = 1 << 4
	// flagTimed: it has an item of its own in the queue's expiry heap.
	flagTimed uint8 = 1 << 5
	// flagCold: its message is in the log only. A cold entry is ready.
	flagCold uint8 = 1 << 6
	// flagPaged: the log's reference serves to save memory, not to survive.
	flagPaged uint8 = 1 << 7
)

// chunk holds the state of chunkLen consecutive entries of a level, and their
// messages as far as they are in memory.
type chunk struct {
	base        uint64 // Number of entry 0, a multiple of chunkLen.
	live, ready int32  // Entries not gone; entries ready.
	first       int32  // No ready entry lies before this index.
	cold        int32  // Entries that are cold,
	coldBytes   int64  // and the bodies of those together.
	prev, next  *chunk
	state       [chunkLen]uint8
	msg         *messages // nil while all are cold.
}

type messages [chunkLen]*Message

// What a chunk takes, without and with its messages, for memory accounting.
const (
	chunkBytes    = 224
	messagesBytes = 8 * chunkLen
)

var (
	chunkPool    = sync.Pool{New: func() any { return new(chunk) }}
	messagesPool = sync.Pool{New: func() any { return new(messages) }}
)

// level is the entries of one priority in a queue, in ascending order of their
// numbers. The queue's lock guards it.
//
// Chunks are linked in order; a new one always goes to the end. byBase finds
// one from the number of an entry; most look-ups hit the chunk of the last one.
type level struct {
	prio       uint8
	next       uint64 // The next entry's number.
	head, tail *chunk
	hit        *chunk
	byBase     map[uint64]*chunk
	cursor     *chunk // No ready entry lies in a chunk before it; nil when none is ready.
	ready, out int
	cold       int   // The part of ready that is cold.
	bytes      int64 // What chunks take.
}

// seq makes the token of entry n.
func (l *level) seq(n uint64) Seq { return Seq(uint64(l.prio)<<56 | n) }

// number is the part of s that counts entries.
func (s Seq) number() uint64 { return uint64(s) & (1<<56 - 1) }

// add appends an entry and returns its number.
func (l *level) add(m *Message, state uint8) uint64 {
	n := l.next
	l.next++
	c := l.tail
	if base := n &^ (chunkLen - 1); c == nil || c.base != base {
		c = l.grow(base)
	}
	i := n & (chunkLen - 1)
	c.state[i] = state
	l.messages(c)[i] = m
	c.live++
	if state&stateMask == stateReady {
		c.ready++
		l.ready++
		if int32(i) < c.first {
			c.first = int32(i)
		}
		if l.cursor == nil {
			l.cursor = c
		}
	} else {
		l.out++
	}
	return n
}

// addCold appends an entry, numbered n, whose message is in the log only.
func (l *level) addCold(n uint64, state uint8, bodyBytes int64) {
	l.next = n + 1
	c := l.tail
	if base := n &^ (chunkLen - 1); c == nil || c.base != base {
		c = l.grow(base)
	}
	i := n & (chunkLen - 1)
	c.state[i] = state | stateReady | flagCold
	c.live++
	c.ready++
	c.cold++
	c.coldBytes += bodyBytes
	l.ready++
	l.cold++
	c.first = min(c.first, int32(i))
	if l.cursor == nil {
		l.cursor = c
	}
}

// messages returns the messages of c, making room for them.
func (l *level) messages(c *chunk) *messages {
	if c.msg == nil {
		c.msg = messagesPool.Get().(*messages)
		l.bytes += messagesBytes
	}
	return c.msg
}

// freeze makes the ready entry at (c, i), which the log has, cold. It returns
// the message, which nobody holds any more.
func (l *level) freeze(c *chunk, i int32) *Message {
	m := c.msg[i]
	c.msg[i] = nil
	c.state[i] |= flagCold
	c.cold++
	c.coldBytes += int64(len(m.Body))
	l.cold++
	if c.cold == c.live {
		messagesPool.Put(c.msg)
		c.msg = nil
		l.bytes -= messagesBytes
	}
	return m
}

// thaw gives the cold entry at (c, i) its message back. It returns by how much
// the sizes of cold entries that left unread, taken as the average, were off.
func (l *level) thaw(c *chunk, i int32, m *Message) (drift int64) {
	l.messages(c)[i] = m
	l.leaveCold(c, i, int64(len(m.Body)))
	if c.cold == 0 {
		drift, c.coldBytes = c.coldBytes, 0
	}
	return drift
}

func (l *level) leaveCold(c *chunk, i int32, bytes int64) {
	c.state[i] &^= flagCold
	c.cold--
	l.cold--
	c.coldBytes -= bytes
}

// size is the length of the body of the live entry at (c, i). Of a cold entry
// only the average in its chunk is known.
func (l *level) size(c *chunk, i int32) int64 {
	if c.state[i]&flagCold != 0 {
		return c.coldBytes / int64(c.cold)
	}
	return int64(len(c.msg[i].Body))
}

func (l *level) grow(base uint64) *chunk {
	c := chunkPool.Get().(*chunk)
	c.base, c.live, c.ready, c.first = base, 0, 0, chunkLen
	c.cold, c.coldBytes = 0, 0
	c.prev, c.next = l.tail, nil
	if l.tail != nil {
		l.tail.next = c
	} else {
		l.head = c
	}
	l.tail = c
	if l.byBase == nil {
		l.byBase = make(map[uint64]*chunk)
	}
	l.byBase[base] = c
	l.bytes += chunkBytes
	return c
}

// find returns the chunk of entry n, or nil if none of its entries is live.
func (l *level) find(n uint64) *chunk {
	base := n &^ (chunkLen - 1)
	if l.hit != nil && l.hit.base == base {
		return l.hit
	}
	c := l.byBase[base]
	if c != nil {
		l.hit = c
	}
	return c
}

// firstReady returns the place of the lowest ready entry. ready must not be 0.
func (l *level) firstReady() (*chunk, int32) {
	c := l.cursor
	for c.ready == 0 {
		c = c.next
	}
	l.cursor = c
	i := c.first
	for c.state[i]&stateMask != stateReady {
		i++
	}
	c.first = i
	return c, i
}

// takeOut turns the ready entry at (c, i) into one that is out.
func (l *level) takeOut(c *chunk, i int32) {
	c.state[i] = c.state[i]&^stateMask | stateOut
	c.ready--
	l.ready--
	l.out++
	l.settleCursor()
}

// putBack turns the entry at (c, i), which is out, into a ready one.
func (l *level) putBack(c *chunk, i int32) {
	c.state[i] = c.state[i]&^stateMask | stateReady | flagRedelivered
	c.ready++
	l.ready++
	l.out--
	if i < c.first {
		c.first = i
	}
	if l.cursor == nil || c.base < l.cursor.base {
		l.cursor = c
	}
}

// remove ends the live entry at (c, i) and returns its message, nil if it was
// cold. c may be recycled by it.
func (l *level) remove(c *chunk, i int32) *Message {
	var m *Message
	if c.state[i]&flagCold != 0 {
		l.leaveCold(c, i, l.size(c, i))
	} else {
		m = c.msg[i]
		c.msg[i] = nil
	}
	if c.state[i]&stateMask == stateReady {
		c.ready--
		l.ready--
	} else {
		l.out--
	}
	c.state[i] = stateGone
	c.live--
	if c.live == 0 {
		l.unlink(c)
	}
	l.settleCursor()
	return m
}

// settleCursor keeps the cursor nil when nothing is ready, so that the next
// entry to become ready sets it.
func (l *level) settleCursor() {
	if l.ready == 0 {
		l.cursor = nil
	}
}

func (l *level) unlink(c *chunk) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.tail = c.prev
	}
	if l.cursor == c {
		l.cursor = c.next // Whatever is ready lies behind c.
	}
	if l.hit == c {
		l.hit = nil
	}
	delete(l.byBase, c.base)
	l.bytes -= chunkBytes
	if c.msg != nil {
		messagesPool.Put(c.msg)
		c.msg = nil
		l.bytes -= messagesBytes
	}
	c.prev, c.next = nil, nil
	chunkPool.Put(c)
}

// check panics if l contradicts itself.
func (l *level) check() {
	ready, out, cold := 0, 0, 0
	var bytes int64
	seen := l.cursor == nil
	var last uint64
	for c := l.head; c != nil; c = c.next {
		bytes += chunkBytes
		if c.msg != nil {
			bytes += messagesBytes
		}
		if c != l.head && c.base <= last {
			panic("core: chunks out of order")
		}
		last = c.base
		r, o, f := c.checkEntries()
		if int(c.ready) != r || int(c.live) != r+o || int(c.cold) != f || c.live == 0 || c.cold == 0 && c.coldBytes != 0 {
			panic("core: chunk counts are wrong")
		}
		if c == l.cursor {
			seen = true
		}
		if r > 0 && !seen {
			panic("core: ready entry before the cursor")
		}
		ready, out, cold = ready+r, out+o, cold+f
	}
	if ready != l.ready || out != l.out || cold != l.cold || bytes != l.bytes {
		panic("core: level counts are wrong")
	}
}

// checkEntries counts c's entries.
func (c *chunk) checkEntries() (ready, out, cold int) {
	for i, s := range c.state {
		switch s & stateMask {
		case stateReady:
			ready++
			if int32(i) < c.first {
				panic("core: ready entry before first")
			}
		case stateOut:
			out++
		}
		if s&flagCold != 0 {
			cold++
		}
		has := c.msg != nil && c.msg[i] != nil
		if want := s&stateMask != stateGone && s&flagCold == 0; has != want {
			panic("core: message without entry or entry without message")
		}
	}
	return ready, out, cold
}
