package perf

import (
	"math/rand/v2"
	"testing"
)

// TestSequenceAgainstMap feeds numbers in and out of order, with repetitions and
// gaps, to a sequence and to a map.
func TestSequenceAgainstMap(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var s sequence
		seen := map[uint64]bool{}
		var head uint64
		for range 50_000 {
			var n uint64
			switch r := rng.IntN(100); {
			case r < 60: // In order.
				n = head
				head++
			case r < 62 && seed%2 == 0: // A gap.
				head += uint64(rng.IntN(100))
				n = head
				head++
			default: // Something recent, seen or not.
				n = head - min(head, uint64(rng.IntN(1+int(seed)*1000)))
				head = max(head, n+1)
			}
			if fresh := s.see(n); fresh == seen[n] {
				t.Fatalf("seed %d: number %d is fresh: %v", seed, n, fresh)
			}
			seen[n] = true
			if s.next > s.top {
				t.Fatalf("seed %d: next %d, top %d", seed, s.next, s.top)
			}
		}
		if s.received != uint64(len(seen)) {
			t.Errorf("seed %d: received %d, want %d", seed, s.received, len(seen))
		}
	}
}

func TestSequenceForgetsFullBlocksBehindALoss(t *testing.T) {
	var s sequence
	for n := range uint64(20 * blockLen) {
		if n != 5 {
			s.see(n)
		}
	}
	held := 0
	for _, b := range s.blocks {
		if b != nil && b != allSeen {
			held++
		}
	}
	if held != 1 {
		t.Errorf("%d blocks are held for one missing number", held)
	}
	if s.see(7) || s.see(19*blockLen) || !s.see(5) || s.see(5) {
		t.Error("numbers around the missing one are not told apart")
	}
	if s.next != s.top || len(s.blocks) != 0 {
		t.Errorf("with all seen, next is %d of %d and %d blocks remain", s.next, s.top, len(s.blocks))
	}
}

func TestVerifier(t *testing.T) {
	const run = 7 << 48
	stamp := func(id, n uint64) uint64 { return id<<seqBits | n }
	type step struct {
		w0, w1      uint64
		redelivered bool
	}
	for name, tc := range map[string]struct {
		steps []step
		want  faults
	}{
		"two producers in order":      {[]step{{stamp(0, 0), run, false}, {stamp(1, 0), run, false}, {stamp(0, 1), run, false}}, faults{}},
		"a duplicate":                 {[]step{{stamp(0, 0), run, false}, {stamp(0, 0), run, false}}, faults{duplicates: 1}},
		"late":                        {[]step{{stamp(0, 1), run, false}, {stamp(0, 0), run, false}}, faults{misordered: 1}},
		"a redelivery is no fault":    {[]step{{stamp(0, 1), run, false}, {stamp(0, 0), run, true}, {stamp(0, 1), run, true}}, faults{redelivered: 2}},
		"another run":                 {[]step{{stamp(0, 0), 8 << 48, false}}, faults{foreign: 1}},
		"a producer that is not ours": {[]step{{stamp(2, 0), run, false}}, faults{foreign: 1}},
		"a number from nowhere":       {[]step{{stamp(0, 1<<40), run, false}}, faults{foreign: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			v := verifier{ledger: new(ledger), run: run, ids: 2}
			for _, s := range tc.steps {
				v.check(s.w0, s.w1, s.redelivered)
			}
			if v.faults != tc.want {
				t.Errorf("found %+v, want %+v", v.faults, tc.want)
			}
		})
	}
}

func TestAgeSurvivesTheEndOf48Bits(t *testing.T) {
	now := int64(5<<48 + 100)
	if d := age(now, uint64(now-250)&timeMask|9<<48); d != 250 {
		t.Errorf("age is %d, want 250", d)
	}
	if d := age(now, uint64(now+10)&timeMask); d != -10 {
		t.Errorf("age is %d, want -10", d)
	}
}
