package topic

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// binding is what the model of a Trie[string] keeps; the value of each binding
// is its text.
type binding struct {
	pattern string
	id      uint64
}

func (b binding) String() string { return fmt.Sprintf("%q/%d", b.pattern, b.id) }

// slowMatch is the definition of matching, word by word.
func slowMatch(pattern, key []string) bool {
	if len(pattern) == 0 {
		return len(key) == 0
	}
	switch pattern[0] {
	case "#":
		return slowMatch(pattern[1:], key) || len(key) > 0 && slowMatch(pattern, key[1:])
	case "*":
		return len(key) > 0 && slowMatch(pattern[1:], key[1:])
	}
	return len(key) > 0 && key[0] == pattern[0] && slowMatch(pattern[1:], key[1:])
}

func words(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ".")
}

// check holds t against the model: the same bindings, and the same matches for
// each of keys.
func check(t testing.TB, trie *Trie[string], model map[binding]bool, keys ...string) {
	t.Helper()
	if trie.Len() != len(model) {
		t.Fatalf("length %d, want %d", trie.Len(), len(model))
	}
	got := make(map[binding]bool)
	for pattern, id := range trie.Patterns() {
		if b := (binding{pattern, id}); got[b] {
			t.Fatalf("%v yielded twice", b)
		} else {
			got[b] = true
		}
	}
	if !maps.Equal(got, model) {
		t.Fatalf("bindings %v, want %v", got, model)
	}
	for _, key := range keys {
		var want []string
		for b := range model {
			if slowMatch(words(b.pattern), words(key)) {
				want = append(want, b.String())
			}
		}
		got := trie.Match(nil, key)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("key %q matches %v, want %v; bindings %v", key, got, want, slices.Collect(maps.Keys(model)))
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, matches, misses string // Keys between spaces; _ is the empty key.
	}{
		{"", "_", "a . a.b"},
		{"#", "_ a a.b . .. a..b", ""},
		{"*", "a *", "_ a.b ."},
		{"a", "a", "_ b a. .a a.a"},
		{"a.*", "a.b a. a.#", "a a.b.c b.a"},
		{"*.a", "b.a .a", "a b.a.c"},
		{"a.#", "a a.b a.b.c a.", "_ b.a"},
		{"#.a", "a b.a b.c.a .a a.a", "_ a.b"},
		{"a.#.b", "a.b a.x.b a.x.y.b a.b.b a..b", "a b a.b.c"},
		{"a.*.b", "a..b a.x.b", "a.b a.x.y.b"},
		{"a..b", "a..b", "a.b a.x.b"},
		{"#.#", "_ a a.b", ""},
		{"#.*", "a a.b .", "_"},
		{"*.#", "a a.b .", "_"},
		{"#.a.#", "a x.a a.x x.a.y a.a", "_ x x.y"},
		{"#.a.#.a.#", "a.a x.a.y.a.z a.a.a", "a x.a.y"},
		{"*.*.#.*", "a.b.c a.b.c.d", "a.b a"},
		{"a*.b#", "a*.b#", "ab.b a.b"},
		{".", ".", "_ a .."},
		{"ümlaut.*", "ümlaut.ß", "umlaut.x"},
	} {
		trie := new(Trie[int]).With(c.pattern, 1, 7)
		for _, key := range strings.Fields(c.matches) {
			if got := trie.Match(nil, strings.ReplaceAll(key, "_", "")); !slices.Equal(got, []int{7}) {
				t.Errorf("%q, key %q: got %v, want a match", c.pattern, key, got)
			}
		}
		for _, key := range strings.Fields(c.misses) {
			if got := trie.Match(nil, strings.ReplaceAll(key, "_", "")); len(got) != 0 {
				t.Errorf("%q, key %q: got %v, want none", c.pattern, key, got)
			}
		}
	}
}

func TestEmptyTries(t *testing.T) {
	var none *Trie[string]
	var zero Trie[string]
	var builder Builder[string]
	for _, trie := range []*Trie[string]{none, &zero, builder.Trie(), zero.Without("a", 1)} {
		check(t, trie, map[binding]bool{}, "", "a", "a.b")
	}
	if none.Without("a", 1) != nil {
		t.Error("removing from nil made a trie")
	}
	check(t, none.With("a.*", 1, `"a.*"/1`), map[binding]bool{{"a.*", 1}: true}, "a.b")
}

func TestSameIDIsReplaced(t *testing.T) {
	for _, others := range []uint64{0, 5, 100} {
		trie := new(Trie[uint64])
		for id := range others {
			trie = trie.With("a.#", id+1000, id)
		}
		trie = trie.With("a.#", 1, 500).With("a.#", 1, 501)
		if got := trie.Match(nil, "a.b"); uint64(len(got)) != others+1 || !slices.Contains(got, 501) || slices.Contains(got, 500) {
			t.Errorf("got %v", got)
		}
		if trie.Len() != int(others)+1 {
			t.Errorf("length %d", trie.Len())
		}
	}
}

func TestMatchAppends(t *testing.T) {
	trie := new(Trie[int]).With("a", 1, 2)
	if got := trie.Match([]int{1}, "a"); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("got %v", got)
	}
}

// Random binds and unbinds over a small alphabet, so that patterns overlap;
// every version ever made must go on matching what it matched.
func TestRandomAgainstSlowMatcher(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 7))
		// Few words make deep overlaps, many make wide nodes.
		alphabet := []string{"*", "#", "#", "*", "", "a", "b"}
		for i := range rng.IntN(30) {
			alphabet = append(alphabet, fmt.Sprint("w", i))
		}
		random := func(from []string) string {
			w := make([]string, rng.IntN(6))
			for i := range w {
				w[i] = from[rng.IntN(len(from))]
			}
			return strings.Join(w, ".")
		}

		type version struct {
			trie  *Trie[string]
			model map[binding]bool
		}
		var kept []version
		var bound []binding // All that ever were.
		trie, model := new(Trie[string]), make(map[binding]bool)
		builder := NewBuilder(trie)
		for step := range 600 {
			var b binding
			if len(bound) > 0 && rng.IntN(3) == 0 {
				b = bound[rng.IntN(len(bound))] // Perhaps one that is gone already.
				trie = trie.Without(b.pattern, b.id)
				builder.Delete(b.pattern, b.id)
				delete(model, b)
			} else {
				b = binding{random(alphabet), rng.Uint64N(20)}
				trie = trie.With(b.pattern, b.id, b.String())
				builder.Set(b.pattern, b.id, b.String())
				model[b] = true
				bound = append(bound, b)
			}
			if step%60 == 0 {
				kept = append(kept, version{trie, maps.Clone(model)}, version{builder.Trie(), maps.Clone(model)})
			}
		}
		kept = append(kept, version{trie, maps.Clone(model)})
		keys := []string{""}
		for range 40 {
			keys = append(keys, random(alphabet[2:]))
		}
		for _, v := range kept {
			check(t, v.trie, v.model, keys...)
		}
		for b := range model {
			trie = trie.Without(b.pattern, b.id)
		}
		if trie.root != nil || trie.Len() != 0 {
			t.Fatalf("seed %d: emptied trie keeps %d", seed, trie.Len())
		}
	}
}

func TestWideNodesGoBackToLists(t *testing.T) {
	trie, model := new(Trie[string]), make(map[binding]bool)
	set := func(b binding) {
		trie = trie.With(b.pattern, b.id, b.String())
		model[b] = true
	}
	for i := range uint64(100) {
		set(binding{fmt.Sprint("dev.", i), 1})
		set(binding{"all", i})
	}
	check(t, trie, model, "dev.7", "dev.100", "all")
	for b := range maps.Clone(model) {
		trie = trie.Without(b.pattern, b.id)
		delete(model, b)
		if len(model)%10 == 0 {
			check(t, trie, model, "dev.7", "all")
		}
	}
	if trie.root != nil {
		t.Error("emptied trie has a root")
	}
}

// With 127 '#' a matcher that tries every way to split the key would not end
// in the lifetime of this planet. The count of nodes looked at must stay below
// pattern nodes times words, which the clock need not tell: the test would hang.
func TestManyHashesDoNotExplode(t *testing.T) {
	pattern := strings.Repeat("#.a.", 127) + "#"
	trie := new(Trie[int]).With(pattern, 1, 1)
	for i := range 100 {
		trie = trie.With(strings.Repeat("#.a.", i)+"#.b", 1, 2)
	}
	if got := trie.Match(nil, strings.Repeat("a.", 126)+"a"); !slices.Equal(got, []int{1}) {
		t.Errorf("127 words match %v", got)
	}
	if got := trie.Match(nil, strings.Repeat("a.", 125)+"a"); len(got) != 0 {
		t.Errorf("126 words match %v", got)
	}
	if got := trie.Match(nil, strings.Repeat("a.", 126)+"b"); len(got) != 100 {
		t.Errorf("with b at the end: %d matches, want 100", len(got))
	}
	bare := new(Trie[int]).With(strings.Repeat("#.", 127)+"#", 1, 1)
	if got := bare.Match(nil, strings.Repeat("a.", 10_000)); !slices.Equal(got, []int{1}) {
		t.Errorf("bare hashes: %v", got)
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	builder := new(Builder[int])
	for i, p := range []string{"stocks.*.nyse", "#", "stocks.#", "#.nyse", "stocks.#.nyse", "stocks.usd.nyse", "*.*.*", ""} {
		builder.Set(p, 1, i)
	}
	for i := range 10_000 {
		builder.Set(fmt.Sprintf("dev.%d.temp", i), 1, i)
	}
	for id := range uint64(100) {
		builder.Set("all", id, 1)
	}
	trie := builder.Trie()
	dst := make([]int, 0, 128)
	n := testing.AllocsPerRun(100, func() {
		if dst = trie.Match(dst[:0], "stocks.usd.nyse"); len(dst) != 7 {
			t.Fatalf("%d matches", len(dst))
		}
		if dst = trie.Match(dst[:0], "dev.77.temp"); len(dst) != 3 {
			t.Fatalf("%d matches", len(dst))
		}
		if dst = trie.Match(dst[:0], "all"); len(dst) != 101 {
			t.Fatalf("%d matches", len(dst))
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzMatch binds the lines of a text and matches a key against them.
func FuzzMatch(f *testing.F) {
	f.Add("a.*\n#\n#.b\na.#.b", "a.x.b")
	f.Add("#.a.#.a\n*.*.#\n\n.\n..", "a..a")
	f.Add("#.#.#\n#.*.#\n*.#.*", "")
	f.Fuzz(func(t *testing.T, patterns, key string) {
		// The slow matcher is exponential in '#'.
		if len(patterns) > 200 || len(key) > 30 || strings.Count(patterns, "#") > 8 {
			return
		}
		trie, model := new(Trie[string]), make(map[binding]bool)
		var builder Builder[string]
		lines := strings.Split(patterns, "\n")
		for i, p := range lines {
			b := binding{p, uint64(i % 3)}
			trie = trie.With(b.pattern, b.id, b.String())
			builder.Set(b.pattern, b.id, b.String())
			model[b] = true
		}
		check(t, trie, model, key)
		check(t, builder.Trie(), model, key)
		for i, p := range lines {
			if i%2 == 0 {
				b := binding{p, uint64(i % 3)}
				trie = trie.Without(b.pattern, b.id)
				delete(model, b)
			}
		}
		check(t, trie, model, key)
	})
}
