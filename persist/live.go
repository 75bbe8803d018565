package persist

import (
	"math/bits"
	"slices"

	"leveret/persist/segment"
)

// liveSet is what a checkpoint says is live, while recovering. Records of
// groups that the checkpoint covers count only if they are in it. What later
// groups settle is taken out, so that what is left must have been found.
type liveSet struct {
	levels map[levelKey]*liveLevel
	key    levelKey // Of last.
	last   *liveLevel
}

type levelKey uint64

func keyOf(queue uint32, seq uint64) levelKey { return levelKey(queue)<<8 | levelKey(seq>>56) }

type liveLevel struct {
	segment.Level
	hit int
}

func newLiveSet(c *segment.Checkpoint) *liveSet {
	s := &liveSet{levels: make(map[levelKey]*liveLevel)}
	if c != nil {
		for _, l := range c.Levels {
			s.levels[levelKey(l.Queue)<<8|levelKey(l.Priority)] = &liveLevel{Level: l}
		}
	}
	return s
}

func (s *liveSet) level(queue uint32, seq uint64) *liveLevel {
	key := keyOf(queue, seq)
	if s.last == nil || s.key != key {
		s.last, s.key = s.levels[key], key
	}
	return s.last
}

// has reports whether seq of queue is live.
func (s *liveSet) has(queue uint32, seq uint64) bool {
	b := s.block(queue, seq)
	return b != nil && b.Has(seq-b.Base)
}

// block returns the block that spans seq of queue, or nil.
func (s *liveSet) block(queue uint32, seq uint64) *segment.Block {
	if l := s.level(queue, seq); l != nil {
		return l.block(seq)
	}
	return nil
}

// block returns the block that spans seq, or nil.
func (l *liveLevel) block(seq uint64) *segment.Block {
	if l.hit < len(l.Live) {
		if b := &l.Live[l.hit]; b.Base <= seq && seq < b.Base+b.Span {
			return b
		}
	}
	i := l.from(seq)
	if i == len(l.Live) || l.Live[i].Base > seq {
		return nil
	}
	l.hit = i
	return &l.Live[i]
}

// from returns the index of the first block that ends behind seq.
func (l *liveLevel) from(seq uint64) int {
	i, _ := slices.BinarySearchFunc(l.Live, seq, func(b segment.Block, s uint64) int {
		if b.Base+b.Span <= s {
			return -1
		}
		return 1
	})
	return i
}

// settle takes [from, end) out, calling fn with what was in it.
func (s *liveSet) settle(queue uint32, from, end uint64, fn func(seq uint64)) {
	l := s.level(queue, from)
	if l == nil {
		return
	}
	for i := l.from(from); i < len(l.Live) && l.Live[i].Base < end; i++ {
		b := &l.Live[i]
		if b.Bits == nil {
			b.Bits = make([]uint64, (b.Span+63)/64)
			for k := range b.Bits {
				b.Bits[k] = 1<<64 - 1
			}
			if rest := b.Span % 64; rest != 0 {
				b.Bits[b.Span/64] = 1<<rest - 1
			}
		}
		for k := max(from, b.Base) - b.Base; k < min(end, b.Base+b.Span)-b.Base; k++ {
			if b.Bits[k/64]&(1<<(k%64)) != 0 {
				fn(b.Base + k)
				b.Bits[k/64] &^= 1 << (k % 64)
			}
		}
	}
}

// count is how many are live.
func (s *liveSet) count() (n int64) {
	for _, l := range s.levels {
		for _, b := range l.Live {
			n += blockCount(&b)
		}
	}
	return n
}

func blockCount(b *segment.Block) int64 {
	if b.Bits == nil {
		return int64(b.Span)
	}
	n := 0
	for _, w := range b.Bits {
		n += bits.OnesCount64(w)
	}
	return int64(n)
}
