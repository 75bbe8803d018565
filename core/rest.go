package core

import (
	"sync"
	"unsafe"
)

// A message that cannot be handed on at once comes to rest: its bytes leave the
// publisher's read buffer.
//
// One that rests in a single queue, nearly all of them, is copied into a slab
// of that queue, beside the messages that arrived around it and will leave
// around the same time. Only its queue's lock guards it, so that slabs and
// Message structs are reused without counting references. One that rests in
// several queues is copied once into memory of the garbage collector's and
// shared by pointer; counting its holders is for the accounts only.

// slabSizes are the sizes slabs come in: a queue that rarely rests anything
// begins small, one that fills slab after slab gets the largest.
var slabSizes = [...]int{1 << 10, 4 << 10, 16 << 10}

type slab struct {
	buf   []byte
	used  int
	live  int // Messages in it that still rest.
	class uint8
}

var slabPools [len(slabSizes)]sync.Pool

func newSlab(class uint8) *slab {
	if s, _ := slabPools[class].Get().(*slab); s != nil {
		return s
	}
	return &slab{buf: make([]byte, slabSizes[class]), class: class}
}

func (s *slab) recycle() {
	s.used, s.live = 0, 0
	slabPools[s.class].Put(s)
}

const messageBytes = int64(unsafe.Sizeof(Message{}))

var messagePool = sync.Pool{New: func() any { return new(Message) }}

// resting is a queue's memory: the slab it fills and what it is charged for.
// The queue's lock guards it.
type resting struct {
	slab    *slab
	filled  int   // Slabs filled since the queue was last empty.
	charged int64 // Bytes this queue's messages take, reported or not.
	pending int64 // The part of charged not yet reported to Memory.
}

func (r *resting) charge(n int64) {
	r.charged += n
	r.pending += n
}

// rest copies src into r and returns the copy, which release gives back.
func (r *resting) rest(src *Message) *Message {
	n := len(src.RoutingKey) + len(src.Encoded)
	if !src.OwnBody {
		n += len(src.Body)
	}
	m := messagePool.Get().(*Message)
	m.cloneFields(src)
	if n > slabSizes[len(slabSizes)-1]/2 {
		m.copyInto(make([]byte, n))
		m.slab = nil
		r.charge(messageBytes + int64(n))
	} else {
		m.slab = r.room(n)
		m.copyInto(m.slab.buf[m.slab.used : m.slab.used+n])
		m.slab.used += n
		m.slab.live++
		r.charge(messageBytes)
	}
	if m.OwnBody {
		r.charge(int64(cap(m.Body)))
	}
	return m
}

// room returns the current slab if n bytes fit into it, else a new one.
func (r *resting) room(n int) *slab {
	s := r.slab
	if s != nil {
		if s.used+n <= len(s.buf) {
			return s
		}
		r.filled++
		if s.live == 0 {
			r.drop(s)
		}
	}
	class := min(r.filled, len(slabSizes)-1)
	for slabSizes[class] < n {
		class++
	}
	r.slab = newSlab(uint8(class))
	r.charge(int64(slabSizes[class]))
	return r.slab
}

func (r *resting) drop(s *slab) {
	r.charge(-int64(len(s.buf)))
	if s == r.slab {
		r.slab = nil
	}
	s.recycle()
}

// release gives back a message that rest returned.
func (r *resting) release(m *Message) {
	n := messageBytes
	if m.OwnBody {
		n += int64(cap(m.Body))
	}
	if s := m.slab; s != nil {
		s.live--
		if s.live == 0 {
			if s == r.slab {
				s.used = 0
			} else {
				r.drop(s)
			}
		}
	} else {
		n += int64(len(m.RoutingKey) + len(m.Encoded))
		if !m.OwnBody {
			n += int64(len(m.Body))
		}
	}
	r.charge(-n)
	m.reset()
	messagePool.Put(m)
}

// trim lets go of an empty slab, for a queue that has gone quiet.
func (r *resting) trim() {
	r.filled = 0
	if r.slab != nil && r.slab.live == 0 {
		r.drop(r.slab)
	}
}

// share returns a copy of src for several queues to hold.
func share(src *Message) *Message {
	m := &Message{}
	m.cloneFields(src)
	n := len(src.RoutingKey) + len(src.Encoded)
	if !src.OwnBody {
		n += len(src.Body)
	}
	m.copyInto(make([]byte, n))
	m.shared = true
	return m
}

// sharedBytes is what a shared message is charged with, once.
func (m *Message) sharedBytes() int64 {
	n := messageBytes + int64(len(m.RoutingKey)+len(m.Encoded))
	if m.OwnBody {
		return n + int64(cap(m.Body))
	}
	return n + int64(len(m.Body))
}
