package settle

import "leveret/core"

// Delivered is what settles one delivery.
type Delivered struct {
	Holder *core.Holder
	Seq    core.Seq
}

// unackedChunkLen deliveries share a chunk.
const unackedChunkLen = 128

type unackedChunk struct {
	live    int
	entries [unackedChunkLen]Delivered // A nil holder: settled, or never to be acked.
}

// Unacked maps the numbers that clients know deliveries by, AMQP's delivery
// tags for instance, to what settles them. Tags are contiguous, so it is an
// array of chunks; a chunk goes when all its tags are settled, also from the
// middle, so that one delivery held for ever costs a pointer for each 128 that
// came after it and not the deliveries themselves.
//
// Its user locks it: adapters do with the connection's out-buffer lock. The zero
// value is ready.
type Unacked struct {
	LastTag uint64 // The number given last.
	Count   int    // How many are outstanding.

	chunks []*unackedChunk // chunks[head] has the tags from base*unackedChunkLen on.
	head   int
	base   uint64
	spare  *unackedChunk
}

// NextTag numbers a delivery that needs no ack.
func (u *Unacked) NextTag() uint64 {
	u.LastTag++
	return u.LastTag
}

// Add numbers a delivery that is settled by h and seq.
func (u *Unacked) Add(h *core.Holder, seq core.Seq) uint64 {
	u.LastTag++
	u.Put(u.LastTag, Delivered{h, seq})
	return u.LastTag
}

// Put makes tag, which is not above LastTag, outstanding.
func (u *Unacked) Put(tag uint64, d Delivered) {
	number := tag / unackedChunkLen
	if u.head == len(u.chunks) {
		u.chunks, u.head, u.base = u.chunks[:0], 0, number
	}
	if number < u.base { // Only a rolled back ack can lie before the oldest.
		u.chunks = append(make([]*unackedChunk, u.base-number), u.chunks[u.head:]...)
		u.head, u.base = 0, number
	}
	for u.base+uint64(len(u.chunks)-u.head) <= number {
		if u.head > 0 && len(u.chunks) == cap(u.chunks) && u.head*2 >= len(u.chunks) {
			n := copy(u.chunks, u.chunks[u.head:])
			clear(u.chunks[n:])
			u.chunks, u.head = u.chunks[:n], 0
		}
		u.chunks = append(u.chunks, nil)
	}
	at := &u.chunks[u.head+int(number-u.base)]
	if *at == nil {
		if *at = u.spare; *at == nil {
			*at = new(unackedChunk)
		}
		u.spare = nil
	}
	(*at).entries[tag%unackedChunkLen] = d
	(*at).live++
	u.Count++
}

// Take settles one tag. It reports false if the tag is not outstanding.
func (u *Unacked) Take(tag uint64) (Delivered, bool) {
	i := tag/unackedChunkLen - u.base
	if i >= uint64(len(u.chunks)-u.head) { // Also if the tag lies before base.
		return Delivered{}, false
	}
	chunk := u.chunks[u.head+int(i)]
	if chunk == nil {
		return Delivered{}, false
	}
	entry := &chunk.entries[tag%unackedChunkLen]
	d := *entry
	if d.Holder == nil {
		return Delivered{}, false
	}
	entry.Holder = nil
	u.Count--
	if chunk.live--; chunk.live == 0 {
		u.release(u.head + int(i))
	}
	return d, true
}

// TakeUpTo settles every tag up to and including tag, in order. It reports
// false, and does nothing, if tag itself is not outstanding.
func (u *Unacked) TakeUpTo(tag uint64, fn func(tag uint64, d Delivered)) bool {
	i := tag/unackedChunkLen - u.base
	if i >= uint64(len(u.chunks)-u.head) {
		return false
	}
	chunk := u.chunks[u.head+int(i)]
	if chunk == nil || chunk.entries[tag%unackedChunkLen].Holder == nil {
		return false
	}
	u.TakeThrough(tag, fn)
	return true
}

// TakeAll settles every outstanding tag, in order.
func (u *Unacked) TakeAll(fn func(tag uint64, d Delivered)) { u.TakeThrough(u.LastTag, fn) }

// TakeThrough settles every outstanding tag up to and including tag, in order,
// whether or not tag itself is outstanding.
func (u *Unacked) TakeThrough(tag uint64, fn func(tag uint64, d Delivered)) {
	for number := u.base; ; number++ {
		// Releasing a chunk at the head moves head and base past all that are gone.
		number = max(number, u.base)
		i := u.head + int(number-u.base)
		if i >= len(u.chunks) || number > tag/unackedChunkLen {
			return
		}
		chunk := u.chunks[i]
		if chunk == nil {
			continue
		}
		for j := range chunk.entries {
			d := chunk.entries[j]
			t := number*unackedChunkLen + uint64(j)
			if t > tag {
				return
			}
			if d.Holder == nil {
				continue
			}
			fn(t, d)
			chunk.entries[j].Holder = nil
			u.Count--
			if chunk.live--; chunk.live == 0 {
				u.release(i)
				break
			}
		}
	}
}

// release lets go of chunk i, which has no live entry.
func (u *Unacked) release(i int) {
	u.spare, u.chunks[i] = u.chunks[i], nil
	for u.head < len(u.chunks) && u.chunks[u.head] == nil {
		u.head++
		u.base++
	}
}

// Has reports whether tag is outstanding.
func (u *Unacked) Has(tag uint64) bool {
	i := tag/unackedChunkLen - u.base
	if i >= uint64(len(u.chunks)-u.head) {
		return false
	}
	chunk := u.chunks[u.head+int(i)]
	return chunk != nil && chunk.entries[tag%unackedChunkLen].Holder != nil
}
