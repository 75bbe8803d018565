package perf

import "math/bits"

// subBits sets the resolution of a histogram: each power of two is divided
// into 1<<subBits buckets, so a bucket is at most 0.8 % of its value wide.
const subBits = 7

// Buckets below 2<<subBits hold one value each; then come 1<<subBits for each
// further power of two up to 2^63.
const histogramBuckets = (64 - subBits) << subBits

// Histogram counts durations in nanoseconds in log-linear buckets of at most
// 0.8 % width. Recording costs a shift and an increment and never allocates.
// It belongs to one goroutine until that has ended.
type Histogram struct {
	counts [histogramBuckets]uint64
	total  uint64
	sum    int64
	min    int64
	max    int64
}

// Record counts one duration of ns nanoseconds; a negative one, which only a
// clock step can produce, counts as 0.
func (h *Histogram) Record(ns int64) { h.RecordN(ns, 1) }

// RecordN counts n durations of ns nanoseconds each.
func (h *Histogram) RecordN(ns int64, n uint64) {
	if ns < 0 {
		ns = 0
	}
	h.counts[bucketOf(uint64(ns))] += n
	if h.total == 0 || ns < h.min {
		h.min = ns
	}
	if ns > h.max {
		h.max = ns
	}
	h.total += n
	h.sum += ns * int64(n)
}

// Add counts everything that o has counted.
func (h *Histogram) Add(o *Histogram) {
	if o.total == 0 {
		return
	}
	if h.total == 0 || o.min < h.min {
		h.min = o.min
	}
	h.max = max(h.max, o.max)
	h.total += o.total
	h.sum += o.sum
	for i, n := range o.counts {
		h.counts[i] += n
	}
}

// Quantile returns the duration in nanoseconds that the share q (0..1) of all
// recorded ones does not exceed, to the resolution of a bucket, and 0 when
// nothing was recorded.
func (h *Histogram) Quantile(q float64) int64 {
	if h.total == 0 {
		return 0
	}
	rank := uint64(q * float64(h.total))
	if float64(rank) < q*float64(h.total) {
		rank++
	}
	rank = max(rank, 1)
	var seen uint64
	for i, n := range h.counts {
		seen += n
		if seen >= rank {
			return min(max(bucketMiddle(i), h.min), h.max)
		}
	}
	return h.max
}

// bucketOf maps 0..255 to themselves and every further power of two to the
// next 128 buckets.
func bucketOf(v uint64) int {
	shift := bits.Len64(v>>(subBits+1)) & 63
	return shift<<subBits + int(v>>shift)
}

func bucketMiddle(i int) int64 {
	if i < 2<<subBits {
		return int64(i)
	}
	shift := i>>subBits - 1
	low := uint64(i-shift<<subBits) << shift
	return int64(low + 1<<shift/2)
}
