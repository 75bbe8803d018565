package topic

import (
	"fmt"
	"strings"
	"testing"
)

// devices returns a trie of n bindings in which each key dev.<i>.temp matches
// three: its own device, all temperatures, and everything.
func devices(n int) *Trie[int] {
	var b Builder[int]
	for i := range n - 2 {
		b.Set(fmt.Sprintf("dev.%d.#", i), uint64(i), i)
	}
	b.Set("dev.*.temp", 1, -1)
	b.Set("#", 1, -2)
	return b.Trie()
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		trie := devices(n)
		// One string for all keys, so that the keys are in the caches as the
		// one just read from a socket is.
		var all strings.Builder
		var ends []int
		for i := range min(n-2, 10_000) {
			fmt.Fprintf(&all, "dev.%d.temp", i*((n-2)/min(n-2, 10_000)))
			ends = append(ends, all.Len())
		}
		keys := make([]string, len(ends))
		for i, end := range ends {
			start := 0
			if i > 0 {
				start = ends[i-1]
			}
			keys[i] = all.String()[start:end]
		}
		dst := make([]int, 0, 8)
		b.Run(fmt.Sprintf("same key/bindings=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if dst = trie.Match(dst[:0], "dev.5.temp"); len(dst) != 3 {
					b.Fatal(len(dst))
				}
			}
		})
		b.Run(fmt.Sprintf("many keys/bindings=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if dst = trie.Match(dst[:0], keys[i*7919%len(keys)]); len(dst) != 3 {
					b.Fatal(len(dst))
				}
			}
		})
		b.Run(fmt.Sprintf("bind and unbind/bindings=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if trie.With("dev.new.#", 1, 1).Without("dev.new.#", 1).Len() != n {
					b.Fatal("wrong length")
				}
			}
		})
	}
	fan := new(Builder[int])
	for i := range 100_000 {
		fan.Set("all.#", uint64(i), i)
	}
	trie := fan.Trie()
	b.Run("bind and unbind/queues on one pattern=100000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			trie.With("all.#", 1<<40, 1).Without("all.#", 1<<40)
		}
	})
	hashes := new(Trie[int]).With(strings.Repeat("#.a.", 127)+"#", 1, 1)
	key := strings.Repeat("a.", 126) + "a"
	b.Run("127 hashes, 127 words", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if len(hashes.Match(nil, key)) != 1 {
				b.Fatal("no match")
			}
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if devices(100_000).Len() != 100_000 {
			b.Fatal("wrong length")
		}
	}
}
