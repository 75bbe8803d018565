package persist

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"leveret/core"
	"leveret/persist/segment"
)

// TestIndexAgainstMap puts, settles and purges at random and compares with a map.
func TestIndexAgainstMap(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var x index
		x.init()
		segments := []uint32{1, 2, 3, 600, 5000} // Too far apart for one chunk.
		for _, n := range segments {
			x.mu.segments[n] = &segmentFile{id: segment.Identity{Number: n}}
		}
		q := x.openLocked(nil, 1)
		want := make(map[uint64]place)
		top := uint64(0)
		if seed%2 == 1 {
			top = 7 << 56
		}
		next := uint64(0)
		for range 3000 {
			switch n := rng.IntN(100); {
			case n < 50: // A stretch at the end.
				for range rng.IntN(50) {
					p := place{segments[rng.IntN(1+rng.IntN(len(segments)))], 4 + rng.Uint32N(1<<20)}
					if rng.IntN(1000) == 0 {
						p.offset = 1 << 25 // Of a segment for one large record.
					}
					x.putLocked(q, top|next, p)
					want[top|next] = p
					next += 1 + rng.Uint64N(3)
				}
			case n < 60 && next > 0: // A survivor that comes back, out of order.
				s := top | rng.Uint64N(next)
				p := place{segments[rng.IntN(len(segments))], 4 + rng.Uint32N(1<<20)}
				x.putLocked(q, s, p)
				want[s] = p
			case n < 97 && next > 0:
				from, n := top|rng.Uint64N(next), rng.Uint64N(100)
				if rng.IntN(3) == 0 {
					from = top | next - min(next, rng.Uint64N(2000))
				}
				x.settleLocked(q, from, n)
				for s := from; s < from+n; s++ {
					delete(want, s)
				}
			case n == 97:
				x.correct()
			case next > 0:
				from, upTo := rng.Uint64N(next), rng.Uint64N(next)
				if rng.IntN(2) == 0 {
					from = 0
				}
				from, upTo = min(from, upTo), max(from, upTo)
				var survivors []segment.Range
				for at := from; at < upTo && rng.IntN(4) > 0; {
					r := segment.Range{From: top | at + rng.Uint64N(1+(upTo-at)), Len: 1 + rng.Uint64N(20)}
					survivors = append(survivors, r)
					at = r.From + r.Len - top + 1
				}
				x.purgeLocked(q, top|from, top|upTo, survivors)
				for s := range want {
					kept := s < top|from || s >= top|upTo
					for _, r := range survivors {
						kept = kept || s >= r.From && s < r.From+r.Len
					}
					if !kept {
						delete(want, s)
					}
				}
			}
		}
		if err := x.verify(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if x.mu.live != int64(len(want)) {
			t.Fatalf("seed %d: %d live, want %d", seed, x.mu.live, len(want))
		}
		for s := range next {
			if got := q.placeLocked(top | s); got != want[top|s] {
				t.Fatalf("seed %d: %d lies at %v, want %v", seed, s, got, want[top|s])
			}
		}
		x.dropLocked(q)
		for x.correct() {
		}
		if err := x.verify(); err != nil || x.mu.live != 0 || x.mu.chunks != 0 || x.mu.levels != 0 {
			t.Fatalf("seed %d: %v, %d live after a drop", seed, err, x.mu.live)
		}
		for n, s := range x.mu.segments {
			if s.live != 0 {
				t.Fatalf("seed %d: segment %d counts %d", seed, n, s.live)
			}
		}
	}
}

// The index takes about four bytes for a message.
func TestIndexIsSmall(t *testing.T) {
	var x index
	x.init()
	x.mu.segments[1] = &segmentFile{}
	q := x.openLocked(nil, core.QueueID(1))
	const n = 1_000_000
	for s := range uint64(n) {
		x.putLocked(q, s, place{1, 4 + uint32(s)})
	}
	bytes := 0
	for _, c := range q.levels[0].chunks {
		bytes += 4*cap(c.narrow) + 8*cap(c.wide) + 80
	}
	if bytes > n*43/10 {
		t.Fatalf("%d bytes for %d messages", bytes, n)
	}
}

// BenchmarkPurgeScattered purges a million messages of which some, scattered,
// survive: what it costs is how long the index is locked.
func BenchmarkPurgeScattered(b *testing.B) {
	for _, every := range []uint64{10, 100, 1000} {
		b.Run(fmt.Sprint("every=", every), func(b *testing.B) {
			const n = 1_000_000
			var survivors []segment.Range
			for s := uint64(0); s < n; s += every {
				survivors = append(survivors, segment.Range{From: s, Len: 1})
			}
			for b.Loop() {
				b.StopTimer()
				var x index
				x.init()
				x.mu.segments[1] = &segmentFile{id: segment.Identity{Number: 1}}
				q := x.openLocked(nil, 1)
				for s := range uint64(n) {
					x.putLocked(q, s, place{1, 4 + uint32(s)})
				}
				b.StartTimer()
				x.purgeLocked(q, 0, n, survivors)
			}
			b.ReportMetric(float64(len(survivors)), "survivors")
		})
	}
}
