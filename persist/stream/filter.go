package stream

import "leveret/core"

// A filter is a Bloom filter over the filter values of a chunk or, or-ed
// together, of a block: a value whose bits are not all set does not occur.

const filterHashes = 3

// filterHash is FNV-1a with a finish that spreads short values.
func filterHash(value string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(value) {
		h = (h ^ uint64(value[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}

// filterAdd notes value in f, which is not empty.
func filterAdd(f []byte, value string) {
	h := filterHash(value)
	a, b, bits := uint32(h), uint32(h>>32)|1, uint32(len(f)*8)
	for i := range uint32(filterHashes) {
		bit := (a + i*b) % bits
		f[bit/8] |= 1 << (bit % 8)
	}
}

// filterMayHave reports whether value may have been noted in f.
func filterMayHave(f []byte, value string) bool {
	if len(f) == 0 {
		return false
	}
	h := filterHash(value)
	a, b, bits := uint32(h), uint32(h>>32)|1, uint32(len(f)*8)
	for i := range uint32(filterHashes) {
		bit := (a + i*b) % bits
		if f[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
	}
	return true
}

// mayHold reports whether a block may hold what want selects; nil is all.
func (b *block) mayHold(want *core.StreamFilter) bool {
	if want == nil || want.Unfiltered && b.unfiltered {
		return true
	}
	for _, v := range want.Values {
		if filterMayHave(b.filter, v) {
			return true
		}
	}
	return false
}
