package stomp

import "leveret/core"

// delivered is what settles one delivery.
type delivered struct {
	holder *core.Holder
	seq    core.Seq
}

// unackedChunkLen deliveries share a chunk.
const unackedChunkLen = 128

type unackedChunk struct {
	live    int
	entries [unackedChunkLen]delivered // A nil holder: settled, or never to be acked.
}

// unacked maps the numbers of a subscription's deliveries to what settles them. Tags are
// contiguous, so it is an array of chunks; a chunk goes when all its tags are
// settled, also from the middle, so that one delivery held for ever costs a
// pointer for each 128 that came after it and not the deliveries themselves.
//
// Guarded by the connection's out-buffer lock.
type unacked struct {
	lastTag uint64
	count   int

	chunks []*unackedChunk // chunks[head] has the tags from base*unackedChunkLen on.
	head   int
	base   uint64
	spare  *unackedChunk
}

// nextTag numbers a delivery that needs no ack.
func (u *unacked) nextTag() uint64 {
	u.lastTag++
	return u.lastTag
}

// add numbers a delivery that is settled by h and seq.
func (u *unacked) add(h *core.Holder, seq core.Seq) uint64 {
	u.lastTag++
	u.put(u.lastTag, delivered{h, seq})
	return u.lastTag
}

// put makes tag, which is not above lastTag, outstanding.
func (u *unacked) put(tag uint64, d delivered) {
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
	u.count++
}

// take settles one tag. It reports false if the tag is not outstanding.
func (u *unacked) take(tag uint64) (delivered, bool) {
	i := tag/unackedChunkLen - u.base
	if i >= uint64(len(u.chunks)-u.head) { // Also if the tag lies before base.
		return delivered{}, false
	}
	chunk := u.chunks[u.head+int(i)]
	if chunk == nil {
		return delivered{}, false
	}
	entry := &chunk.entries[tag%unackedChunkLen]
	d := *entry
	if d.holder == nil {
		return delivered{}, false
	}
	entry.holder = nil
	u.count--
	if chunk.live--; chunk.live == 0 {
		u.release(u.head + int(i))
	}
	return d, true
}

// takeUpTo settles every tag up to and including tag, in order. It reports
// false, and does nothing, if tag itself is not outstanding.
func (u *unacked) takeUpTo(tag uint64, fn func(tag uint64, d delivered)) bool {
	i := tag/unackedChunkLen - u.base
	if i >= uint64(len(u.chunks)-u.head) {
		return false
	}
	chunk := u.chunks[u.head+int(i)]
	if chunk == nil || chunk.entries[tag%unackedChunkLen].holder == nil {
		return false
	}
	u.takeThrough(tag, fn)
	return true
}

// takeAll settles every outstanding tag, in order.
func (u *unacked) takeAll(fn func(tag uint64, d delivered)) { u.takeThrough(u.lastTag, fn) }

func (u *unacked) takeThrough(tag uint64, fn func(tag uint64, d delivered)) {
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
			if d.holder == nil {
				continue
			}
			fn(t, d)
			chunk.entries[j].holder = nil
			u.count--
			if chunk.live--; chunk.live == 0 {
				u.release(i)
				break
			}
		}
	}
}

// release lets go of chunk i, which has no live entry.
func (u *unacked) release(i int) {
	u.spare, u.chunks[i] = u.chunks[i], nil
	for u.head < len(u.chunks) && u.chunks[u.head] == nil {
		u.head++
		u.base++
	}
}

// has reports whether tag is outstanding.
func (u *unacked) has(tag uint64) bool {
	i := tag/unackedChunkLen - u.base
	if i >= uint64(len(u.chunks)-u.head) {
		return false
	}
	chunk := u.chunks[u.head+int(i)]
	return chunk != nil && chunk.entries[tag%unackedChunkLen].holder != nil
}
