package mgmt

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unsafe"
)

// resolution is how finely, and for how long, history is kept.
type resolution struct{ stepS, ageS int64 }

// The resolutions, RabbitMQ's: of what there is one of, and of what there are many.
var (
	globalHistory = []resolution{{5, 605}, {60, 3660}, {600, 29400}, {1800, 86400}}
	basicHistory  = []resolution{{5, 605}, {60, 3600}}
)

// historyOf are the resolutions of each kind of object.
func historyOf(k ratedKind) []resolution {
	switch k {
	case ratedNode, ratedVHost, ratedBroker, ratedChurn:
		return globalHistory
	}
	return basicHistory
}

// track is the history of an object's values at one resolution: what they were
// when it begins, and what has changed since, tick by tick. A tick in which
// nothing changed takes no room, nor does a value that did not change, so that the
// usual sample of a busy queue takes a dozen bytes.
//
//	base, at baseTick --> +-----------+---------+----------+--- ... --> last, at lastTick
//	                      | ticks     | changed | changes, |
//	                      | since     | values, | zig-zag  |
//	                      | (uvarint) | a bit   | varints  |
//	                      |           | each    |          |
//	                      +-----------+---------+----------+---
type track struct {
	resolution
	samples            []byte
	head               int    // What lies before was trimmed.
	base, last         values // Of equal length.
	baseTick, lastTick int64
}

// tickOf is the number of the tick that a time, in ms since 1970, is in.
func (t *track) tickOf(ms int64) int64 { return ms / (t.stepS * 1000) }

// add notes what the values are at a time. Before the first sample they were was.
func (t *track) add(ms int64, was, is values) {
	now := t.tickOf(ms)
	if t.base == nil {
		t.base, t.last = slices.Clone(was), slices.Clone(was)
		t.baseTick, t.lastTick = now-1, now-1
	}
	t.trim(now)
	if now <= t.lastTick {
		return // A coarser track takes the first look of each tick.
	}
	changed := uint64(0)
	for i := range is {
		if is[i] != t.last[i] {
			changed |= 1 << i
		}
	}
	if changed == 0 {
		return
	}
	if t.head > 256 && t.head > len(t.samples)/2 {
		t.samples = t.samples[:copy(t.samples, t.samples[t.head:])]
		t.head = 0
	}
	t.samples = binary.AppendUvarint(t.samples, uint64(now-t.lastTick))
	t.samples = binary.AppendUvarint(t.samples, changed)
	for m := changed; m != 0; m &= m - 1 {
		i := bits.TrailingZeros64(m)
		t.samples = binary.AppendVarint(t.samples, is[i]-t.last[i])
	}
	t.lastTick = now
	copy(t.last, is)
}

// next applies the sample at the beginning of b to v and returns how many ticks it
// is behind the one before, and what follows.
func next(b []byte, v values) (ticks int64, rest []byte) {
	n, k := binary.Uvarint(b)
	b = b[k:]
	changed, k := binary.Uvarint(b)
	b = b[k:]
	for ; changed != 0; changed &= changed - 1 {
		d, k := binary.Varint(b)
		b = b[k:]
		v[bits.TrailingZeros64(changed)] += d
	}
	return int64(n), b
}

// trim forgets what is too old at tick now.
func (t *track) trim(now int64) {
	oldest := now - t.ageS/t.stepS
	for t.head < len(t.samples) {
		b := t.samples[t.head:]
		ticks, _ := binary.Uvarint(b)
		if t.baseTick+int64(ticks) > oldest {
			return
		}
		_, rest := next(b, t.base)
		t.baseTick += int64(ticks)
		t.head = len(t.samples) - len(rest)
	}
	t.samples, t.head = t.samples[:0], 0
}

// bytes is what t takes.
func (t *track) bytes() int64 {
	return int64(unsafe.Sizeof(*t)) + int64(cap(t.samples)) + 8*int64(cap(t.base)+cap(t.last))
}

// column returns what the value called col was at each of n times, stepMS apart,
// the last one at lastMS: the newest first.
func (t *track) column(col int, lastMS, stepMS int64, n int) []int64 {
	out := make([]int64, n)
	v := slices.Clone(t.base)
	tick, b := t.baseTick, t.samples[t.head:]
	for i := n - 1; i >= 0; i-- {
		at := t.tickOf(lastMS - int64(i)*stepMS)
		for len(b) > 0 {
			ticks, _ := binary.Uvarint(b)
			if tick+int64(ticks) > at {
				break
			}
			_, b = next(b, v)
			tick += int64(ticks)
		}
		out[i] = v[col]
	}
	return out
}
