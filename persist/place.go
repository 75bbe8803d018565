package persist

import "slices"

// place is where a record lies: the segment, and the offset in units of 8
// bytes. Offset 0 is a segment's header: it stands for nowhere.
type place struct {
	segment uint32
	offset  uint32
}

const (
	narrowOffsetBits = 23
	narrowOffsetMax  = 1<<narrowOffsetBits - 1
	narrowSegments   = 1 << (32 - narrowOffsetBits)
)

// chunkMax is how many numbers a chunk spans at most.
const chunkMax = 4096

// chunk holds the places of consecutive numbers, 4 bytes each: the segment,
// counted from seg0, above 23 bits of offset. A chunk that reaches over more
// segments, or into one that is larger, takes 8 bytes for each.
type chunk struct {
	base   uint64 // The number of entry 0.
	seg0   uint32
	live   int32 // Entries that are not 0.
	narrow []uint32
	wide   []uint64
	sizes  *bodySizes // While recovering.
}

func (c *chunk) len() int { return len(c.narrow) + len(c.wide) }

func (c *chunk) end() uint64 { return c.base + uint64(c.len()) }

func (c *chunk) get(i int) place {
	if c.wide != nil {
		return place{uint32(c.wide[i] >> 32), uint32(c.wide[i])}
	}
	v := c.narrow[i]
	if v == 0 {
		return place{}
	}
	return place{c.seg0 + v>>narrowOffsetBits, v & narrowOffsetMax}
}

// present reports whether entry i is live.
func (c *chunk) present(i int) bool {
	if c.wide != nil {
		return c.wide[i] != 0
	}
	return c.narrow[i] != 0
}

// set puts p, which may be nowhere, and returns what was there.
func (c *chunk) set(i int, p place) (old place) {
	old = c.get(i)
	if old.offset != 0 {
		c.live--
	}
	if p.offset != 0 {
		c.live++
	}
	if c.wide == nil {
		if p.offset == 0 {
			c.narrow[i] = 0
			return old
		}
		if p.segment >= c.seg0 && p.segment-c.seg0 < narrowSegments && p.offset <= narrowOffsetMax {
			c.narrow[i] = (p.segment-c.seg0)<<narrowOffsetBits | p.offset
			return old
		}
		c.widen()
	}
	c.wide[i] = uint64(p.segment)<<32 | uint64(p.offset)
	return old
}

func (c *chunk) widen() {
	c.wide = make([]uint64, len(c.narrow))
	for i, v := range c.narrow {
		if v != 0 {
			c.wide[i] = uint64(c.seg0+v>>narrowOffsetBits)<<32 | uint64(v&narrowOffsetMax)
		}
	}
	c.narrow = nil
}

// level is the places of one priority of a queue. The index's lock guards it.
type level struct {
	prio   uint8
	next   uint64 // Above every number seen. As Seq, like all numbers here.
	mark   uint64
	chunks []*chunk // Ascending, none without a live entry.
	hit    int      // The chunk of the last look-up.

	expires map[uint64]int64 // While recovering.
}

// chunkOf returns the index of the chunk that spans seq, or where it would be
// inserted.
func (l *level) chunkOf(seq uint64) (int, bool) {
	if n := len(l.chunks); n == 0 || seq >= l.chunks[n-1].end() {
		return n, false
	}
	if l.hit < len(l.chunks) {
		if c := l.chunks[l.hit]; c.base <= seq && seq < c.end() {
			return l.hit, true
		}
	}
	i, ok := l.chunkAt(seq)
	l.hit = i
	return i, ok
}

// chunkAt is chunkOf for those who do not hold the lock for writing.
func (l *level) chunkAt(seq uint64) (int, bool) {
	i, _ := slices.BinarySearchFunc(l.chunks, seq, func(c *chunk, s uint64) int {
		if c.end() <= s {
			return -1
		}
		return 1
	})
	return i, i < len(l.chunks) && l.chunks[i].base <= seq
}

func (l *level) get(seq uint64) place {
	if i, ok := l.chunkAt(seq); ok {
		return l.chunks[i].get(int(seq - l.chunks[i].base))
	}
	return place{}
}

// chunkFor returns the chunk that spans seq, making or lengthening one if need
// be.
func (l *level) chunkFor(seq uint64, p *chunkPool) *chunk {
	i, ok := l.chunkOf(seq)
	if ok {
		return l.chunks[i]
	}
	limit := uint64(1<<64 - 1) // Where the next chunk begins.
	if i < len(l.chunks) {
		limit = l.chunks[i].base
	}
	base := seq
	if i > 0 {
		before := l.chunks[i-1]
		if seq-before.base < chunkMax {
			p.lengthen(before, int(seq-before.base)+1, limit)
			return before
		}
	}
	if i < len(l.chunks) {
		// Survivors of an older segment come back out of order: leave room
		// below for those that were before this one.
		base = seq &^ (chunkMax/16 - 1)
		if i > 0 {
			base = max(base, l.chunks[i-1].end())
		}
	}
	c := &chunk{base: base}
	p.lengthen(c, int(seq-base)+1, limit)
	l.chunks = slices.Insert(l.chunks, i, c)
	l.hit = i
	return c
}

// remove takes chunk i, in which nothing is live, out.
func (l *level) remove(i int, p *chunkPool) {
	p.give(l.chunks[i])
	if i == 0 {
		l.chunks[0] = nil
		l.chunks = l.chunks[1:]
		if len(l.chunks) == 0 {
			l.chunks = nil
		}
		return
	}
	l.chunks = slices.Delete(l.chunks, i, i+1)
}

// chunkPool keeps slices of chunks for the next ones. The index's lock guards
// it.
type chunkPool struct {
	free [5][][]uint32 // By length: 16, 64, 256, 1024, 4096.
}

const chunkPoolMax = 32 // Slices kept of each length.

func sizeClass(n int) (class, size int) {
	for size = 16; size < n; size *= 4 {
		class++
	}
	return class, size
}

// lengthen makes c span at least n numbers, but none from limit on.
func (p *chunkPool) lengthen(c *chunk, n int, limit uint64) {
	class, size := sizeClass(n)
	length := int(min(uint64(size), limit-c.base))
	if c.wide != nil {
		c.wide = append(make([]uint64, 0, length), c.wide...)[:length]
		return
	}
	var s []uint32
	if f := p.free[class]; len(f) > 0 {
		s = f[len(f)-1]
		p.free[class] = f[:len(f)-1]
	} else {
		s = make([]uint32, size)
	}
	s = s[:length]
	copy(s, c.narrow)
	p.giveSlice(c.narrow)
	c.narrow = s
}

func (p *chunkPool) give(c *chunk) {
	p.giveSlice(c.narrow)
	c.narrow, c.wide = nil, nil
}

func (p *chunkPool) giveSlice(s []uint32) {
	if cap(s) == 0 {
		return
	}
	s = s[:cap(s)]
	if class, size := sizeClass(len(s)); size == len(s) && len(p.free[class]) < chunkPoolMax {
		clear(s)
		p.free[class] = append(p.free[class], s)
	}
}
