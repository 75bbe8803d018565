package hamt

import (
	"fmt"
	"testing"
)

func BenchmarkMap(b *testing.B) {
	for _, size := range []int{10, 1000, 100_000} {
		keys := make([]string, size)
		raw := make([][]byte, size)
		builder := new(Builder[string, int])
		for i := range keys {
			keys[i] = fmt.Sprint("device-", i)
			raw[i] = []byte(keys[i])
			builder.Set(keys[i], i)
		}
		m := builder.Map()
		// A stride that visits all keys in an order the caches do not like.
		const stride = 7919

		b.Run(fmt.Sprint("get/size=", size), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i += stride {
				if _, ok := m.Get(keys[i%size]); !ok {
					b.Fatal("missing")
				}
			}
		})
		b.Run(fmt.Sprint("getbytes/size=", size), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i += stride {
				if _, ok := GetBytes(m, raw[i%size]); !ok {
					b.Fatal("missing")
				}
			}
		})
		b.Run(fmt.Sprint("with/size=", size), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i += stride {
				m.With(keys[i%size], i)
			}
		})
		b.Run(fmt.Sprint("build/size=", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var builder Builder[string, int]
				for i, k := range keys {
					builder.Set(k, i)
				}
				if builder.Map().Len() != size {
					b.Fatal("wrong length")
				}
			}
		})
	}
}
