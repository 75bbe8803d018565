package hamt

import (
	"fmt"
	"maps"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
)

// check fails if m's shape breaks a rule of node's comment or its length is off.
func check[K comparable, V any](t testing.TB, m Map[K, V]) {
	t.Helper()
	if m.root == nil {
		if m.n != 0 {
			t.Fatalf("no root, but length %d", m.n)
		}
		return
	}
	count := 0
	var walk func(n *node[K, V], shift uint, prefix uint64)
	walk = func(n *node[K, V], shift uint, prefix uint64) {
		count += len(n.entries)
		if shift > 0 && len(n.entries) < 2 && len(n.kids) == 0 {
			t.Fatalf("node at shift %d has %d entries and no kids", shift, len(n.entries))
		}
		if shift >= 64 {
			if n.entryBits != 0 || len(n.kids) != 0 {
				t.Fatal("collision node with a bitmap")
			}
			return
		}
		if n.entryBits&n.kidBits != 0 || bits.OnesCount32(n.entryBits) != len(n.entries) || bits.OnesCount32(n.kidBits) != len(n.kids) {
			t.Fatalf("bitmaps %032b %032b for %d entries, %d kids", n.entryBits, n.kidBits, len(n.entries), len(n.kids))
		}
		e, k := 0, 0
		for slot := range uint64(1 << levelBits) {
			switch {
			case n.entryBits>>slot&1 != 0:
				if h := n.entries[e].hash; h&(1<<shift-1) != prefix || h>>shift&levelMask != slot {
					t.Fatalf("entry with hash %x in slot %d at shift %d", h, slot, shift)
				}
				e++
			case n.kidBits>>slot&1 != 0:
				walk(n.kids[k], shift+levelBits, prefix|slot<<shift)
				k++
			}
		}
	}
	walk(m.root, 0, 0)
	if count != m.n {
		t.Fatalf("length %d, %d entries", m.n, count)
	}
}

// same fails unless m and want hold the same.
func same(t testing.TB, m Map[string, int], want map[string]int) {
	t.Helper()
	check(t, m)
	got := make(map[string]int)
	for k, v := range m.All() {
		if _, twice := got[k]; twice {
			t.Fatalf("key %q yielded twice", k)
		}
		got[k] = v
	}
	if !maps.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestZeroMapIsEmpty(t *testing.T) {
	var m Map[string, int]
	if _, ok := m.Get("a"); ok {
		t.Error("found a key in an empty map")
	}
	if _, ok := GetBytes(m, nil); ok {
		t.Error("found bytes in an empty map")
	}
	m = m.Without("a")
	same(t, m, map[string]int{})
}

func TestOldVersionsStay(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	type version struct {
		m    Map[string, int]
		want map[string]int
	}
	var kept []version
	var m Map[string, int]
	want := make(map[string]int)
	for i := range 20_000 {
		k := fmt.Sprint("k", rng.IntN(1500))
		if rng.IntN(5) < 2 {
			m = m.Without(k)
			delete(want, k)
		} else {
			m = m.With(k, i)
			want[k] = i
		}
		if m.Len() != len(want) {
			t.Fatalf("step %d: length %d, want %d", i, m.Len(), len(want))
		}
		if i%2000 == 0 {
			kept = append(kept, version{m, maps.Clone(want)})
		}
	}
	kept = append(kept, version{m, want})
	for _, v := range kept {
		same(t, v.m, v.want)
	}
	for k := range want {
		m = m.Without(k)
	}
	if m.Len() != 0 || m.root != nil {
		t.Errorf("emptied map has length %d, root %v", m.Len(), m.root)
	}
}

func TestBuilderLeavesItsSourceAndResultsAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	var m Map[string, int]
	want := make(map[string]int)
	for round := range 20 {
		source, sourceWant := m, maps.Clone(want)
		b := NewBuilder(m)
		for i := range 500 {
			k := fmt.Sprint("k", rng.IntN(800))
			if rng.IntN(3) == 0 {
				b.Delete(k)
				delete(want, k)
			} else {
				b.Set(k, round*1000+i)
				want[k] = round*1000 + i
			}
		}
		m = b.Map()
		mWant := maps.Clone(want)
		b.Set("only in the builder", 1)
		b.Delete("k1")
		same(t, source, sourceWant)
		same(t, m, mWant)

		// Changes without an Edit must not touch nodes the builder made.
		derived := m.With("x", 1).Without("k2")
		same(t, m, mWant)
		check(t, derived)
	}
	var zero Builder[string, int]
	zero.Set("a", 1)
	same(t, zero.Map(), map[string]int{"a": 1})
}

// Full collisions do not happen by chance, so the hash is forced here.
func TestCollidingHashes(t *testing.T) {
	hashes := []uint64{0, ^uint64(0), 1 << 63, 1<<63 | 1, 5}
	for _, e := range []*Edit{nil, new(Edit)} {
		rng := rand.New(rand.NewPCG(3, 3))
		var m Map[string, int]
		want := make(map[string]int)
		for i := range 5000 {
			k := fmt.Sprint("k", rng.IntN(60))
			hash := hashes[int(k[len(k)-1])%len(hashes)]
			if rng.IntN(2) == 0 {
				m = m.without(e, hash, k)
				delete(want, k)
			} else {
				m = m.with(e, entry[string, int]{hash, k, i})
				want[k] = i
			}
			same(t, m, want)
			for k, v := range want {
				hash := hashes[int(k[len(k)-1])%len(hashes)]
				if got, ok := m.root.get(hash, k); !ok || got != v {
					t.Fatalf("get %q: %d %v, want %d", k, got, ok, v)
				}
			}
		}
	}
}

func TestKeysOfAnyKind(t *testing.T) {
	type name string
	type pair struct {
		vhost, name string
		n           int
	}
	var pairs Map[pair, int]
	var names Map[name, int]
	var ints Map[uint64, int]
	for i := range 1000 {
		pairs = pairs.With(pair{"/", fmt.Sprint(i), i}, i)
		names = names.With(name(fmt.Sprint(i)), i)
		ints = ints.With(uint64(i)<<40, i)
	}
	check(t, pairs)
	check(t, names)
	check(t, ints)
	for i := range 1000 {
		if v, ok := pairs.Get(pair{"/", fmt.Sprint(i), i}); !ok || v != i {
			t.Fatalf("pair %d: %d %v", i, v, ok)
		}
		if v, ok := names.Get(name(fmt.Sprint(i))); !ok || v != i {
			t.Fatalf("name %d: %d %v", i, v, ok)
		}
		if v, ok := ints.Get(uint64(i) << 40); !ok || v != i {
			t.Fatalf("int %d: %d %v", i, v, ok)
		}
	}
}

// A walk that stops and goes on in another version sees each key once that is
// in both.
func TestFromGoesOnBehindAKey(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 2, 30, 3000} {
		var m Map[string, int]
		for i := range size {
			m = m.With(fmt.Sprint(i), i)
		}
		var order []string
		for k := range m.All() {
			order = append(order, k)
		}
		for range 20 {
			i := r.IntN(size)
			fewer := m
			var want []string
			for n, k := range order {
				if r.IntN(3) == 0 {
					fewer = fewer.Without(k)
				} else if n >= i {
					want = append(want, k)
				}
			}
			var got []string
			for k := range fewer.From(order[i]) {
				got = append(got, k)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("from %s of %d: got %q, want %q", order[i], size, got, want)
			}
		}
		for range m.From(order[0]) {
			break
		}
	}
}

func TestAllStopsWhenAsked(t *testing.T) {
	var m Map[int, int]
	for i := range 500 {
		m = m.With(i, i)
	}
	n := 0
	for range m.All() {
		if n++; n == 100 {
			break
		}
	}
	if n != 100 {
		t.Errorf("%d rounds", n)
	}
}

func TestLookupsDoNotAllocate(t *testing.T) {
	type pair struct{ vhost, name string }
	var m Map[string, int]
	var pairs Map[pair, int]
	for i := range 1000 {
		m = m.With(fmt.Sprint("queue-", i), i)
		pairs = pairs.With(pair{"/", fmt.Sprint("queue-", i)}, i)
	}
	key := []byte("queue-500")
	found := 0
	n := testing.AllocsPerRun(100, func() {
		if v, ok := m.Get("queue-999"); ok && v == 999 {
			found++
		}
		if v, ok := GetBytes(m, key); ok && v == 500 {
			found++
		}
		if v, ok := pairs.Get(pair{"/", "queue-7"}); ok && v == 7 {
			found++
		}
		if _, ok := m.Get("missing"); !ok {
			found++
		}
	})
	if n != 0 || found != 4*101 {
		t.Errorf("%v allocations, %d of %d right", n, found, 4*101)
	}
}

// FuzzMap runs a script of one-byte keys: an odd byte removes, an even one adds.
func FuzzMap(f *testing.F) {
	f.Add([]byte{0, 2, 4, 1, 3, 5})
	f.Add([]byte("with and without, with and without"))
	f.Fuzz(func(t *testing.T, script []byte) {
		var m Map[string, int]
		var b Builder[string, int]
		want := make(map[string]int)
		for i, c := range script {
			k := fmt.Sprint(c / 2)
			if c%2 == 1 {
				m = m.Without(k)
				b.Delete(k)
				delete(want, k)
			} else {
				m = m.With(k, i)
				b.Set(k, i)
				want[k] = i
			}
		}
		same(t, m, want)
		same(t, b.Map(), want)
	})
}
