package core

import (
	"iter"
	"math/bits"
	"slices"
	"sync"
	"unsafe"
)

// chunkLen is how many consecutive entries share a chunk.
const chunkLen = 128

// The state of an entry, in the low bits of its byte.
const (
	stateGone    uint8 = iota // Settled, or never used.
	stateReady                // Waiting for a consumer.
	stateOut                  // Handed out and not settled.
	stateDelayed              // Given back, and ready again when it is due.
	stateLeaving              // On its way to another queue; see leaving.go.
	stateMask    uint8 = 7

	// flagRedelivered: it was handed out before.
	flagRedelivered uint8 = 1 << 3
	// flagLogged: the message log holds a reference to it.
	flagLogged uint8 = 1 << 4
	// flagTimed: it has an item of its own in the queue's expiry heap.
	flagTimed uint8 = 1 << 5
	// flagCold: its message is in the log only. A cold entry is ready. One that
	// is leaving, or delayed since the last start, may have its message there
	// too, without the flag.
	flagCold uint8 = 1 << 6
	// flagPaged: the log's reference serves to save memory, not to survive.
	flagPaged uint8 = 1 << 7
)

// entries is all that a queue holds: a level for each priority. The queue's lock
// guards it.
//
//	             first chunk                     last chunk
//	priority 9   [ready out gone ...] - ... -    [...]           <- top
//	priority 4   (nothing ready)
//	priority 0   [...]                                           inline
//
// Nearly every queue has one level; it stands inline, and nothing looks for
// another. The others come with the first message of their priority and stay.
// An entry is found by its token alone: the chunks of all levels are in one map.
type entries struct {
	ready, out int    // Of all levels.
	delayed    int    // The same.
	leaving    int    // The same.
	top        *level // The highest level with ready entries; any if none has.
	hit        *chunk // What find found last: most look-ups hit it again.
	byBase     map[Seq]*chunk
	cold       int          // The part of ready that is cold.
	bytes      int64        // What chunks and levels beyond the first take.
	several    *levels      // nil while there is one level.
	present    *presentKeys // What the entries' messages are known by; mostly nil.
	plain      level
}

// levels is the part of entries that a queue with several levels has.
type levels struct {
	all   [256]*level // By priority; nil where none is needed yet.
	order []*level    // The same, highest priority first.
	ready [4]uint64   // Bit p is set while level p has ready entries.
}

// level is the entries of one priority, in ascending order of their numbers.
// Chunks are linked in order; a new one always goes to the end.
type level struct {
	prio        uint8
	next        Seq // The next entry's.
	head, tail  *chunk
	cursor      *chunk // No ready entry lies in a chunk before it; nil when none is ready.
	ready, cold int

	// Of messages that are in the log only; see classic_cold.go.
	pageNext Seq // The next entry that may leave memory.
	marked   Seq // Entries below may be handed out, the log was told,
	onDisk   Seq // and of those below this one that is written.
	behind   Seq // Entries from here on were added after their mark.
	handed   Seq // No stored entry from here on was handed out.

	dated datedHead // See classic_head.go.
}

// chunk holds the state of chunkLen consecutive entries of a level, and their
// messages as far as they are in memory.
type chunk struct {
	base        Seq // Of entry 0; its number is a multiple of chunkLen.
	level       *level
	live, ready int32 // Entries not gone; entries ready.
	first       int32 // No ready entry lies before this index.
	cold        int32 // Entries that are cold,
	coldBytes   int64 // and the bodies of those together.
	prev, next  *chunk
	state       [chunkLen]uint8
	msg         *messages // nil while all are cold.
}

type messages [chunkLen]*Message

// What these take, for memory accounting: a chunk without its messages, but with
// its place in the map; the messages of a chunk; what comes with a second level; a
// level.
const (
	chunkBytes    = 224
	messagesBytes = 8 * chunkLen
	levelsBytes   = int64(unsafe.Sizeof(levels{}))
	levelBytes    = int64(unsafe.Sizeof(level{})) + 16
)

var (
	chunkPool    = sync.Pool{New: func() any { return new(chunk) }}
	messagesPool = sync.Pool{New: func() any { return new(messages) }}
)

// firstSeq is the token of the first entry of priority prio.
func firstSeq(prio uint8) Seq { return Seq(prio) << 56 }

// priority is the part of s that says which level it belongs to.
func (s Seq) priority() uint8 { return uint8(s >> 56) }

// slot is the index in its chunk of the entry that s names.
func (s Seq) slot() int32 { return int32(s & (chunkLen - 1)) }

// chunkBase is the base of the chunk of the entry that s names.
func (s Seq) chunkBase() Seq { return s &^ (chunkLen - 1) }

func (l *level) init(prio uint8) {
	l.prio = prio
	l.next = firstSeq(prio)
	l.pageNext, l.marked, l.onDisk, l.behind, l.handed = l.next, l.next, l.next, l.next, l.next
}

// init makes e ready. Its first level is that of priority prio.
func (e *entries) init(prio uint8) {
	e.plain.init(prio)
	e.top = &e.plain
}

// level returns the level of priority prio, making it if need be.
func (e *entries) level(prio uint8) *level {
	if prio == e.plain.prio {
		return &e.plain
	}
	if e.several != nil && e.several.all[prio] != nil {
		return e.several.all[prio]
	}
	return e.newLevel(prio)
}

func (e *entries) newLevel(prio uint8) *level {
	if e.several == nil {
		e.several = &levels{order: []*level{&e.plain}}
		e.several.all[e.plain.prio] = &e.plain
		if e.plain.ready > 0 {
			e.several.note(&e.plain)
		}
		e.bytes += levelsBytes
	}
	v := e.several
	l := &level{}
	l.init(prio)
	v.all[prio] = l
	i, _ := slices.BinarySearchFunc(v.order, prio, func(o *level, p uint8) int { return int(p) - int(o.prio) })
	v.order = slices.Insert(v.order, i, l)
	e.bytes += levelBytes
	return l
}

// levels goes through the levels there are, highest priority first.
func (e *entries) levels() iter.Seq[*level] {
	return func(yield func(*level) bool) {
		if e.several == nil {
			yield(&e.plain)
			return
		}
		for _, l := range e.several.order {
			if !yield(l) {
				return
			}
		}
	}
}

// note remembers that l has ready entries.
func (v *levels) note(l *level) { v.ready[l.prio>>6] |= 1 << (l.prio & 63) }

// highest returns the highest level with ready entries, or nil.
func (v *levels) highest() *level {
	for i := len(v.ready) - 1; i >= 0; i-- {
		if w := v.ready[i]; w != 0 {
			return v.all[i<<6+bits.Len64(w)-1]
		}
	}
	return nil
}

// becameReady is called when l, which had no ready entry, has one in c.
func (e *entries) becameReady(l *level, c *chunk) {
	l.cursor = c
	if e.several == nil {
		return
	}
	e.several.note(l)
	if l.prio > e.top.prio || e.top.ready == 0 {
		e.top = l
	}
}

// becameEmpty is called when l has no ready entry left. With the cursor at nil,
// the next entry to become ready sets it.
func (e *entries) becameEmpty(l *level) {
	l.cursor = nil
	if e.several == nil {
		return
	}
	e.several.ready[l.prio>>6] &^= 1 << (l.prio & 63)
	if e.top == l {
		if h := e.several.highest(); h != nil {
			e.top = h
		}
	}
}

// add appends an entry to l and returns its token.
func (e *entries) add(l *level, m *Message, state uint8) Seq {
	s := l.next
	l.next++
	c := l.tail
	if base := s.chunkBase(); c == nil || c.base != base {
		c = e.grow(l, base)
	}
	i := s & (chunkLen - 1)
	c.state[i] = state
	e.messages(c)[i] = m
	c.live++
	if state&stateMask == stateReady {
		c.ready++
		l.ready++
		e.ready++
		if int32(i) < c.first {
			c.first = int32(i)
		}
		if l.cursor == nil {
			e.becameReady(l, c)
		}
	} else if state&stateMask == stateOut {
		e.out++
	} else {
		e.leaving++
	}
	if e.present != nil {
		e.present.added(s)
	}
	return s
}

// addCold appends the entry s to its level; its message is in the log only.
func (e *entries) addCold(s Seq, state uint8, bodyBytes int64) {
	l := e.level(s.priority())
	l.next = s + 1
	c := l.tail
	if base := s.chunkBase(); c == nil || c.base != base {
		c = e.grow(l, base)
	}
	i := s.slot()
	c.state[i] = state | stateReady | flagCold
	c.live++
	c.ready++
	c.cold++
	c.coldBytes += bodyBytes
	l.ready++
	l.cold++
	e.ready++
	e.cold++
	c.first = min(c.first, i)
	if l.cursor == nil {
		e.becameReady(l, c)
	}
}

// messages returns the messages of c, making room for them.
func (e *entries) messages(c *chunk) *messages {
	if c.msg == nil {
		c.msg = messagesPool.Get().(*messages)
		e.bytes += messagesBytes
	}
	return c.msg
}

// freeze makes the ready entry at (c, i), which the log has, cold. It returns
// the message, which nobody holds any more.
func (e *entries) freeze(c *chunk, i int32) *Message {
	m := c.msg[i]
	c.msg[i] = nil
	c.state[i] |= flagCold
	c.cold++
	c.coldBytes += int64(len(m.Body))
	c.level.cold++
	e.cold++
	if c.cold == c.live {
		messagesPool.Put(c.msg)
		c.msg = nil
		e.bytes -= messagesBytes
	}
	return m
}

// thaw gives the cold entry at (c, i) its message back. It returns by how much
// the sizes of cold entries that left unread, taken as the average, were off.
func (e *entries) thaw(c *chunk, i int32, m *Message) (drift int64) {
	e.messages(c)[i] = m
	e.leaveCold(c, i, int64(len(m.Body)))
	if c.cold == 0 {
		drift, c.coldBytes = c.coldBytes, 0
	}
	return drift
}

func (e *entries) leaveCold(c *chunk, i int32, bytes int64) {
	c.state[i] &^= flagCold
	c.cold--
	c.coldBytes -= bytes
	c.level.cold--
	e.cold--
}

// size is the length of the body of the live entry at (c, i). Of a cold entry
// only the average in its chunk is known.
func (c *chunk) size(i int32) int64 {
	if c.state[i]&flagCold != 0 {
		return c.coldBytes / int64(c.cold)
	}
	return int64(len(c.msg[i].Body))
}

func (e *entries) grow(l *level, base Seq) *chunk {
	c := chunkPool.Get().(*chunk)
	c.base, c.level, c.live, c.ready, c.first = base, l, 0, 0, chunkLen
	c.cold, c.coldBytes = 0, 0
	c.prev, c.next = l.tail, nil
	if l.tail != nil {
		l.tail.next = c
	} else {
		l.head = c
	}
	l.tail = c
	if e.byBase == nil {
		e.byBase = make(map[Seq]*chunk)
	}
	e.byBase[base] = c
	e.bytes += chunkBytes
	return c
}

// find returns the chunk of the entry s, or nil if none of its entries is live.
func (e *entries) find(s Seq) *chunk {
	base := s.chunkBase()
	if e.hit != nil && e.hit.base == base {
		return e.hit
	}
	c := e.byBase[base]
	if c != nil {
		e.hit = c
	}
	return c
}

// firstReady returns the place of the ready entry to be delivered first: the
// oldest of the highest priority. ready must not be 0.
func (e *entries) firstReady() (*chunk, int32) { return e.top.firstReady() }

// firstReady returns the place of l's lowest ready entry. l.ready must not be 0.
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
func (e *entries) takeOut(c *chunk, i int32) {
	c.state[i] = c.state[i]&^stateMask | stateOut
	c.ready--
	e.ready--
	e.out++
	l := c.level
	if l.ready--; l.ready == 0 {
		e.becameEmpty(l)
	}
}

// set turns the live entry at (c, i) into one that is delayed or leaving.
func (e *entries) set(c *chunk, i int32, state uint8) {
	l := c.level
	switch c.state[i] & stateMask {
	case stateReady:
		if c.state[i]&flagCold != 0 {
			e.leaveCold(c, i, c.size(i))
		}
		c.ready--
		e.ready--
		if l.ready--; l.ready == 0 {
			e.becameEmpty(l)
		}
	case stateOut:
		e.out--
	case stateDelayed:
		e.delayed--
	}
	c.state[i] = c.state[i]&^stateMask | state
	if state == stateDelayed {
		e.delayed++
	} else {
		e.leaving++
	}
}

// revive turns the delayed entry at (c, i) into a ready one. coldBytes is the
// length of its body if its message is in the log only.
func (e *entries) revive(c *chunk, i int32, coldBytes int64) {
	e.delayed--
	e.out++
	if c.msg == nil || c.msg[i] == nil {
		c.state[i] |= flagCold
		c.cold++
		c.coldBytes += coldBytes
		c.level.cold++
		e.cold++
	}
	e.putBack(c, i)
}

// stay turns the entry at (c, i), which is leaving, into the ready one that it
// was, with flags but for flagTimed. bodyBytes is the length of its body.
func (e *entries) stay(c *chunk, i int32, flags uint8, bodyBytes int64) {
	e.leaving--
	e.out++
	if c.msg == nil || c.msg[i] == nil {
		c.state[i] |= flagCold
		c.cold++
		c.coldBytes += bodyBytes
		c.level.cold++
		e.cold++
	}
	e.putBack(c, i)
	c.state[i] = c.state[i]&^(flagRedelivered|flagTimed) | flags&flagRedelivered
}

// putBack turns the entry at (c, i), which is out, into a ready one.
func (e *entries) putBack(c *chunk, i int32) {
	c.state[i] = c.state[i]&^stateMask | stateReady | flagRedelivered
	c.ready++
	e.ready++
	e.out--
	if i < c.first {
		c.first = i
	}
	l := c.level
	l.ready++
	if l.cursor == nil {
		e.becameReady(l, c)
	} else if c.base < l.cursor.base {
		l.cursor = c
	}
}

// remove ends the live entry at (c, i) and returns its message, nil if it was
// cold. c may be recycled by it.
func (e *entries) remove(c *chunk, i int32) *Message {
	if e.present != nil {
		e.present.removed(c.base + Seq(i))
	}
	var m *Message
	if c.state[i]&flagCold != 0 {
		e.leaveCold(c, i, c.size(i))
	} else if c.msg != nil {
		m = c.msg[i]
		c.msg[i] = nil
	}
	state := c.state[i] & stateMask
	c.state[i] = stateGone
	c.live--
	if state != stateReady {
		switch state {
		case stateOut:
			e.out--
		case stateDelayed:
			e.delayed--
		default:
			e.leaving--
		}
		if c.live == 0 {
			e.unlink(c)
		}
		return m
	}
	l := c.level
	c.ready--
	e.ready--
	l.ready--
	if c.live == 0 {
		e.unlink(c)
	}
	if l.ready == 0 {
		e.becameEmpty(l)
	}
	return m
}

func (e *entries) unlink(c *chunk) {
	l := c.level
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
	if e.hit == c {
		e.hit = nil
	}
	delete(e.byBase, c.base)
	e.bytes -= chunkBytes
	if c.msg != nil {
		messagesPool.Put(c.msg)
		c.msg = nil
		e.bytes -= messagesBytes
	}
	c.prev, c.next, c.level = nil, nil, nil
	chunkPool.Put(c)
}

// takeAll empties e but for its levels, whose numbers go on, and returns the
// chunks it had, linked by next.
func (e *entries) takeAll() *chunk {
	if e.present != nil {
		e.present.clear()
	}
	var head, tail *chunk
	kept := int64(0)
	for l := range e.levels() {
		if l.head != nil {
			if tail == nil {
				head = l.head
			} else {
				tail.next = l.head
			}
			tail = l.tail
		}
		l.head, l.tail, l.cursor, l.ready, l.cold = nil, nil, nil, 0, 0
	}
	if v := e.several; v != nil {
		v.ready = [4]uint64{}
		kept = levelsBytes + int64(len(v.order)-1)*levelBytes
	}
	e.ready, e.out, e.delayed, e.leaving = 0, 0, 0, 0
	e.cold, e.hit, e.byBase, e.bytes = 0, nil, nil, kept
	return head
}

// forgetLevels lets go of all levels but the first. e must be empty and will
// never be used again.
func (e *entries) forgetLevels() {
	e.several, e.top, e.bytes = nil, &e.plain, 0
}

// check panics if e contradicts itself.
func (e *entries) check() {
	ready, others, cold, chunks := 0, 0, 0, 0
	var bytes int64
	for l := range e.levels() {
		o, n, b := l.check()
		ready, others, cold, chunks, bytes = ready+l.ready, others+o, cold+l.cold, chunks+n, bytes+b
		if v := e.several; v != nil {
			if v.all[l.prio] != l || (v.ready[l.prio>>6]>>(l.prio&63)&1 != 0) != (l.ready > 0) {
				panic("core: levels with ready entries noted wrong")
			}
			if l != &e.plain {
				bytes += levelBytes
			}
		}
		if l.ready > 0 && l.prio > e.top.prio {
			panic("core: ready entries above the top")
		}
	}
	if e.several != nil {
		bytes += levelsBytes
	}
	if ready != e.ready || others != e.out+e.delayed+e.leaving || cold != e.cold || bytes != e.bytes || chunks != len(e.byBase) {
		panic("core: counts of entries are wrong")
	}
	if ready > 0 && e.top.ready == 0 {
		panic("core: the top has no ready entries")
	}
}

// check panics if l contradicts itself. It counts what is live and not ready,
// and chunks.
func (l *level) check() (others, chunks int, bytes int64) {
	ready, cold := 0, 0
	seen := l.cursor == nil
	var last Seq
	for c := l.head; c != nil; c = c.next {
		chunks++
		bytes += chunkBytes
		if c.msg != nil {
			bytes += messagesBytes
		}
		if c != l.head && c.base <= last || c.level != l || c.base.priority() != l.prio {
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
		ready, others, cold = ready+r, others+o, cold+f
	}
	if ready != l.ready || cold != l.cold {
		panic("core: level counts are wrong")
	}
	return others, chunks, bytes
}

// checkEntries counts c's entries.
func (c *chunk) checkEntries() (ready, others, cold int) {
	for i, s := range c.state {
		switch s & stateMask {
		case stateReady:
			ready++
			if int32(i) < c.first {
				panic("core: ready entry before first")
			}
		case stateOut, stateDelayed, stateLeaving:
			others++
		}
		if s&flagCold != 0 {
			cold++
		}
		has := c.msg != nil && c.msg[i] != nil
		want := s&stateMask != stateGone && s&flagCold == 0
		if state := s & stateMask; state == stateDelayed || state == stateLeaving {
			want = has
		}
		if has != want {
			panic("core: message without entry or entry without message")
		}
	}
	return ready, others, cold
}
