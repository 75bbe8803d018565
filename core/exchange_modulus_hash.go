package core

import (
	"cmp"
	"slices"
)

// modulusHashType routes each message to one destination: the hash of its
// routing keys modulo their number counts through them in the order of their
// names. Binding keys are ignored. A destination more or less moves nearly all
// keys; x-consistent-hash does not.
type modulusHashType struct{ plainType }

func (modulusHashType) newTable(Table) routingTable { return new(modulusHashTable) }

type modulusHashTable struct{ derived[[]*destination] }

func (t *modulusHashTable) match(dst []*destination, keys []string, _ *Message) ([]*destination, bool) {
	all := *t.load(func(bs []*binding) []*destination {
		ds := make([]*destination, len(bs))
		for i, b := range bs {
			ds[i] = b.dest
		}
		slices.SortFunc(ds, compareDestinations)
		return slices.Compact(ds)
	})
	if len(all) == 0 {
		return dst, true
	}
	h := hashStart
	for _, key := range keys {
		h = h.text(key)
	}
	return append(dst, all[h.sum()%uint64(len(all))]), true
}

// compareDestinations orders destinations by what clients call them, exchanges
// first, so that it is the same after a restart.
func compareDestinations(a, b *destination) int {
	return cmp.Or(cmp.Compare(b.kind(), a.kind()), cmp.Compare(a.name, b.name))
}

// stableHash is FNV-1a with a better end. It is the same in every process and
// every release: where messages go depends on it.
type stableHash uint64

const (
	hashStart stableHash = 14695981039346656037
	hashPrime stableHash = 1099511628211
)

// text adds s and its end.
func (h stableHash) text(s string) stableHash {
	for i := range len(s) {
		h = (h ^ stableHash(s[i])) * hashPrime
	}
	return (h ^ 0xff) * hashPrime
}

// number adds n.
func (h stableHash) number(n uint64) stableHash {
	for range 8 {
		h = (h ^ stableHash(n&0xff)) * hashPrime
		n >>= 8
	}
	return h
}

func (h stableHash) sum() uint64 { return mix64(uint64(h)) }

// mix64 spreads each bit of x over all of the result (the end of splitmix64).
func mix64(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
