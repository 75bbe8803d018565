package settle

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"leveret/core"
)

// TestUnackedAgainstMap does random things to the list and to a map.
func TestUnackedAgainstMap(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 2))
	holder := new(core.Holder)
	var u Unacked
	model := map[uint64]core.Seq{}
	rolledBack := map[uint64]core.Seq{}
	last := uint64(0)
	for range 100_000 {
		switch rnd.IntN(10) {
		case 0, 1, 2, 3:
			last++
			if tag := u.Add(holder, core.Seq(last*10)); tag != last {
				t.Fatalf("seed %d: tag %d, want %d", seed, tag, last)
			}
			model[last] = core.Seq(last * 10)
		case 4:
			last++
			u.NextTag()
		case 5, 6, 7:
			tag := last - min(last, uint64(rnd.IntN(400)))
			d, ok := u.Take(tag)
			seq, want := model[tag]
			if ok != want || ok && d.Seq != seq {
				t.Fatalf("seed %d: take(%d) = %v %v, want %v %v", seed, tag, d.Seq, ok, seq, want)
			}
			if delete(model, tag); ok && rnd.IntN(2) == 0 {
				rolledBack[tag] = seq
			}
		case 8:
			for tag, seq := range rolledBack {
				u.Put(tag, Delivered{holder, seq})
				model[tag] = seq
			}
			clear(rolledBack)
		default:
			if rnd.IntN(20) != 0 {
				continue
			}
			tag := last - min(last, uint64(rnd.IntN(400)))
			var got []uint64
			ok := u.TakeUpTo(tag, func(tag uint64, d Delivered) {
				if d.Seq != model[tag] {
					t.Fatalf("seed %d: tag %d has %d, want %d", seed, tag, d.Seq, model[tag])
				}
				got = append(got, tag)
			})
			if _, want := model[tag]; ok != want {
				t.Fatalf("seed %d: TakeUpTo(%d) = %v", seed, tag, ok)
			}
			var want []uint64
			for _, k := range slices.Sorted(maps.Keys(model)) {
				if ok && k <= tag {
					want = append(want, k)
					delete(model, k)
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d: took %v, want %v", seed, got, want)
			}
		}
		if u.Count != len(model) {
			t.Fatalf("seed %d: %d outstanding, want %d", seed, u.Count, len(model))
		}
	}
	n := 0
	u.TakeAll(func(uint64, Delivered) { n++ })
	if n != len(model) || u.Count != 0 || u.head != len(u.chunks) {
		t.Errorf("seed %d: TakeAll took %d of %d, left %d", seed, n, len(model), u.Count)
	}
}

// TestUnackedOneHeldForEver: the list does not grow with the deliveries that
// came and went behind one that stays.
func TestUnackedOneHeldForEver(t *testing.T) {
	holder := new(core.Holder)
	var u Unacked
	u.Add(holder, 1)
	for range 1_000_000 {
		if _, ok := u.Take(u.Add(holder, 2)); !ok {
			t.Fatal("tag not found")
		}
	}
	live := 0
	for _, c := range u.chunks {
		if c != nil {
			live++
		}
	}
	if live > 2 {
		t.Errorf("%d chunks kept", live)
	}
}

func TestUnackedAllocatesNothing(t *testing.T) {
	holder := new(core.Holder)
	var u Unacked
	round := func() {
		for range 300 {
			u.Add(holder, 1)
		}
		u.TakeUpTo(u.LastTag, func(uint64, Delivered) {})
	}
	for range 10 {
		round()
	}
	if n := testing.AllocsPerRun(100, round); n > 2 {
		t.Errorf("%v allocations for 300 deliveries", n)
	}
}

func TestSettleGroups(t *testing.T) {
	var g Groups
	holders := make([]core.Holder, 30)
	for i := range 300 {
		g.Add(&holders[i%30], core.Ack, core.Seq(i))
		g.Add(&holders[i%30], core.Requeue, core.Seq(i))
	}
	if g.n != 60 {
		t.Fatalf("%d groups, want 60", g.n)
	}
	for _, e := range g.groups[:g.n] {
		if len(e.seqs) != 10 || !slices.IsSorted(e.seqs) {
			t.Errorf("group has %v", e.seqs)
		}
	}
}

func TestUnackedHas(t *testing.T) {
	holder := new(core.Holder)
	var u Unacked
	u.LastTag = 1000 // As a subscription that takes over a used tag begins.
	for range 300 {
		u.Add(holder, 1)
	}
	u.Take(1100)
	u.TakeUpTo(1050, func(uint64, Delivered) {})
	for tag, want := range map[uint64]bool{0: false, 1: false, 1000: false, 1050: false, 1051: true, 1100: false, 1101: true, 1300: true, 1301: false, 1 << 60: false} {
		if u.Has(tag) != want {
			t.Errorf("has(%d) is %v", tag, !want)
		}
	}
}
