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
)

// chunk holds the state of chunkLen consecutive entries of a level.
type chunk struct {
	base        uint64 // Number of entry 0, a multiple of chunkLen.
	live, ready int32  // Entries not gone; entries ready.
	first       int32  // No ready entry lies before this index.
	prev, next  *chunk
	state       [chunkLen]uint8
	msg         [chunkLen]*Message
}

const chunkBytes = 1200 // What a chunk takes, for memory accounting.

var chunkPool = sync.Pool{New: func() any { return new(chunk) }}

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
	chunks     int
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
	c.msg[i] = m
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

func (l *level) grow(base uint64) *chunk {
	c := chunkPool.Get().(*chunk)
	c.base, c.live, c.ready, c.first = base, 0, 0, chunkLen
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
	l.chunks++
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

// remove ends the live entry at (c, i) and returns its message. c may be
// recycled by it.
func (l *level) remove(c *chunk, i int32) *Message {
	m := c.msg[i]
	if c.state[i]&stateMask == stateReady {
		c.ready--
		l.ready--
	} else {
		l.out--
	}
	c.msg[i] = nil
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
	l.chunks--
	c.prev, c.next = nil, nil
	chunkPool.Put(c)
}

// check panics if l contradicts itself.
func (l *level) check() {
	ready, out, chunks := 0, 0, 0
	seen := l.cursor == nil
	var last uint64
	for c := l.head; c != nil; c = c.next {
		chunks++
		if c != l.head && c.base <= last {
			panic("core: chunks out of order")
		}
		last = c.base
		r, o := 0, 0
		for i := range c.state {
			switch c.state[i] & stateMask {
			case stateReady:
				r++
				if int32(i) < c.first {
					panic("core: ready entry before first")
				}
			case stateOut:
				o++
			}
			if (c.state[i]&stateMask == stateGone) != (c.msg[i] == nil) {
				panic("core: message without entry or entry without message")
			}
		}
		if int(c.ready) != r || int(c.live) != r+o || c.live == 0 {
			panic("core: chunk counts are wrong")
		}
		if c == l.cursor {
			seen = true
		}
		if r > 0 && !seen {
			panic("core: ready entry before the cursor")
		}
		ready, out = ready+r, out+o
	}
	if ready != l.ready || out != l.out || chunks != l.chunks || len(l.byBase) != chunks {
		panic("core: level counts are wrong")
	}
}
