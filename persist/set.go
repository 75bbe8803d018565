package persist

import (
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"leveret/core"
	"leveret/persist/segment"
)

// A reference in a change set is pending until either the queue strikes it, or
// moves it to another set, or the writer takes it for a group, whoever comes
// first; it is written when the group is and the index knows its place. The
// state lies in the low bits of a word whose upper bits count how often the ref was used, so that
// a queue that remembers a ref which serves another set by now finds out.
const (
	refPending uint64 = 0
	refStruck  uint64 = 1
	refTaken   uint64 = 2
	refWritten uint64 = 3
	refMoved   uint64 = 4 // Settled in another set, for which this one waits.
	refStates  uint64 = 7
	refUse     uint64 = 8
)

type ref struct {
	word      atomic.Uint64
	queue     *queueLog
	set       *changeSet
	seq       uint64
	expiresMS int64
	next      *ref // Of the same message.
	place     uint32
}

// refsPerBlock keeps refs where they are: queues point to them.
const refsPerBlock = 32

type refBlock [refsPerBlock]ref

// strike ends r if it is still pending as word.
func (r *ref) strike(word uint64) bool { return r.word.CompareAndSwap(word, word|refStruck) }

// move ends r as strike does, for a set that says so.
func (r *ref) move(word uint64) bool { return r.word.CompareAndSwap(word, word|refMoved) }

// take keeps queues from striking r. It returns what a queue did before, or
// refTaken.
func (r *ref) take() uint64 {
	word := r.word.Load()
	if word&refStates == refPending && r.word.CompareAndSwap(word, word|refTaken) {
		return refTaken
	}
	return r.word.Load() & refStates
}

// written says that r, which was taken, can be read back.
func (r *ref) written() { r.word.Store(r.word.Load() | refWritten) }

// message is one message of a set. Its content without header and references
// is encoded: buf[from:to], and own behind that.
type message struct {
	origin      *core.Message // nil once the set is closed.
	from, to    int
	own         []byte // The body, if it need not be copied.
	first, last *ref
	refs        int
	body        uint32
	flags       uint8
}

// changeSet implements core.ChangeSet. Until Close it belongs to the publisher's
// goroutine, which adds to it under one queue's lock after the other; then to
// the writer. Only the words of its refs are shared meanwhile.
type changeSet struct {
	log      *Log
	buf      []byte
	messages []message
	blocks   []*refBlock
	refs     int
	hint     int
	table    []int32 // Open addressing from origin to 1 + its place in messages.
	size     int64   // At most what it takes in a group.
	done     func(error)

	// What it settles of others' references: those that were written before it,
	// by queue, and those that it struck.
	acks  []ack
	seqs  []core.Seq
	moved []*ref

	// What it notes of clients; see clients.go.
	holds    []hold
	receives []segment.Receive
	sure     bool // Somebody waits for that.

	// Of the writer: it counts the refs that other sets struck, less those of
	// sets that are complete.
	waits    int
	finished bool // Complete but for them,
	err      error
}

// ack is a settlement: seqs[from:to] of its set.
type ack struct {
	queue    *queueLog
	from, to int
}

var setPool = sync.Pool{New: func() any { return new(changeSet) }}

// ownBytesMin is the least body that is referred to instead of copied.
const ownBytesMin = 32 << 10

// Begin implements core.MessageLog.
func (l *Log) Begin() core.ChangeSet {
	s := setPool.Get().(*changeSet)
	s.log = l
	return s
}

// Close implements core.ChangeSet.
func (s *changeSet) Close(done func(error)) {
	s.done = done
	for i := range s.messages {
		m := &s.messages[i]
		m.origin = nil
		s.size += segment.MessageBytes(m.flags, m.refs, m.to-m.from+len(m.own), 0)
		if m.refs > segment.RefsMax {
			s.size += int64(m.refs/segment.RefsMax) * segment.MessageBytes(m.flags, 0, m.to-m.from+len(m.own), 0)
		}
	}
	for _, a := range s.acks {
		parts := 1 + (a.to-a.from)/ackSeqsMax
		s.size += int64(parts*changeMax + segment.AckBytesMax(a.to-a.from))
	}
	s.size += s.clientBytes()
	s.log.hand(s)
}

// recycle makes s ready for another publisher. Its refs stay where they are.
func (s *changeSet) recycle() {
	clear(s.messages)
	clear(s.acks)
	clear(s.moved)
	clear(s.holds)
	if cap(s.buf) > 256<<10 || len(s.blocks) > 64 {
		return
	}
	clear(s.table)
	*s = changeSet{buf: s.buf[:0], messages: s.messages[:0], blocks: s.blocks, table: s.table,
		acks: s.acks[:0], seqs: s.seqs[:0], moved: s.moved[:0], holds: s.holds[:0], receives: s.receives[:0]}
	setPool.Put(s)
}

// message returns the set's copy of origin, made from m at the first call. The
// result is good until the next call.
func (s *changeSet) message(origin, m *core.Message) *message {
	if s.hint < len(s.messages) && s.messages[s.hint].origin == origin {
		s.hint++
		return &s.messages[s.hint-1]
	}
	if 2*len(s.messages) >= len(s.table) {
		s.rehash()
	}
	mask := uintptr(len(s.table) - 1)
	at := hashOf(origin) & mask
	for s.table[at] != 0 {
		i := int(s.table[at] - 1)
		if s.messages[i].origin == origin {
			s.hint = i + 1
			return &s.messages[i]
		}
		at = (at + 1) & mask
	}
	s.encode(origin, m)
	s.table[at] = int32(len(s.messages))
	s.hint = len(s.messages)
	return &s.messages[s.hint-1]
}

func hashOf(m *core.Message) uintptr {
	return uintptr(uint64(uintptr(unsafe.Pointer(m))) >> 4 * 0x9E3779B97F4A7C15 >> 32)
}

func (s *changeSet) rehash() {
	s.table = make([]int32, max(16, 2*len(s.table)))
	mask := uintptr(len(s.table) - 1)
	for i := range s.messages {
		at := hashOf(s.messages[i].origin) & mask
		for s.table[at] != 0 {
			at = (at + 1) & mask
		}
		s.table[at] = int32(i + 1)
	}
}

// encode copies m into the set.
func (s *changeSet) encode(origin, m *core.Message) {
	var flags uint8
	if m.Persistent {
		flags |= segment.FlagPersistent
	} else {
		flags |= segment.FlagTransient
	}
	if m.HasPriority {
		flags |= segment.FlagHasPriority
	}
	if m.Origin != 0 {
		flags |= segment.FlagOrigin
	}
	if m.Retained {
		flags |= segment.FlagRetained
	}
	if m.Died {
		flags |= segment.FlagDied
	}
	form, properties := m.Stored(nil)
	e := message{origin: origin, from: len(s.buf), body: uint32(len(m.Body)), flags: flags}
	s.buf = segment.AppendContent(s.buf, m.ArrivedMS, m.Origin, uint8(form), m.Priority, m.Exchange, m.RoutingKey, properties)
	if m.OwnBody && len(m.Body) >= ownBytesMin {
		e.own = m.Body
	} else {
		s.buf = append(s.buf, m.Body...)
	}
	e.to = len(s.buf)
	s.messages = append(s.messages, e)
}

// settle lets go of seqs of q in s. The queue's lock is held.
func (s *changeSet) settle(q *queueLog, seqs []core.Seq) {
	from := len(s.seqs)
	for _, seq := range seqs {
		switch r := q.ring(uint8(seq >> 56)).move(uint64(seq)); {
		case r == nil:
			s.seqs = append(s.seqs, seq)
		case r.set == s: // It must not wait for itself.
			r.word.Store(r.word.Load()&^refStates | refStruck)
		default:
			s.moved = append(s.moved, r)
		}
	}
	if len(s.seqs) > from {
		slices.Sort(s.seqs[from:])
		s.acks = append(s.acks, ack{q, from, len(s.seqs)})
	}
}

// add refers to a message from seq of q and returns the ref with its word.
func (s *changeSet) add(q *queueLog, seq core.Seq, m, origin *core.Message) (*ref, uint64) {
	e := s.message(origin, m)
	if s.refs == len(s.blocks)*refsPerBlock {
		s.blocks = append(s.blocks, new(refBlock))
	}
	r := &s.blocks[s.refs/refsPerBlock][s.refs%refsPerBlock]
	s.refs++
	word := r.word.Load()&^refStates + refUse
	r.queue, r.set, r.seq, r.expiresMS, r.next = q, s, uint64(seq), m.ExpiresMS, nil
	r.word.Store(word)
	if e.last == nil {
		e.first = r
	} else {
		e.last.next = r
	}
	e.last = r
	e.refs++
	if m.ExpiresMS != 0 {
		e.flags |= segment.FlagTimed
	}
	return r, word
}
