package hamt

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
	"unsafe"
)

const (
	levelBits = 5
	levelMask = 1<<levelBits - 1
)

// seed is the same for the whole process, so that maps can share nodes. It is
// random: a client cannot choose names that collide.
var seed = maphash.MakeSeed()

// Map is an immutable map from K to V. The zero Map is empty. It is small and
// meant to be copied; a copy is the same map for ever. Any number of goroutines
// may use it.
type Map[K comparable, V any] struct {
	root *node[K, V]
	n    int
}

// entry is one key with its value. The hash is kept because a slot that gets a
// second entry must be split by both hashes.
type entry[K comparable, V any] struct {
	hash  uint64
	key   K
	value V
}

// node is one level of the trie. A slot is an entry, a kid or empty, never two
// of them. Slices hold the occupied slots in slot order. A node whose level
// lies below the last hash bit has all its entries under no bitmap, in any
// order, and no kids.
type node[K comparable, V any] struct {
	owner     *Edit // Who may change it in place; nil once it is shared for good.
	entryBits uint32
	kidBits   uint32
	entries   []entry[K, V]
	kids      []*node[K, V]
}

// hashOf hashes a key. Plain strings take a route of their own, which GetBytes
// can follow without making a string.
func hashOf[K comparable](k K) uint64 {
	if s, ok := any(k).(string); ok {
		return maphash.String(seed, s)
	}
	return maphash.Comparable(seed, k)
}

// Len returns the number of entries.
func (m Map[K, V]) Len() int { return m.n }

// Get returns the value of k, and whether there is one. It does not allocate.
func (m Map[K, V]) Get(k K) (V, bool) {
	if m.root == nil {
		var none V
		return none, false
	}
	return m.root.get(hashOf(k), k)
}

// GetBytes returns the value of the string in b, and whether there is one. It
// neither allocates nor keeps b.
func GetBytes[V any](m Map[string, V], b []byte) (V, bool) {
	if m.root == nil {
		var none V
		return none, false
	}
	return m.root.get(maphash.Bytes(seed, b), unsafe.String(unsafe.SliceData(b), len(b)))
}

func (n *node[K, V]) get(hash uint64, k K) (v V, ok bool) {
	shift := uint(0)
	for ; shift < 64; shift += levelBits {
		bit := uint32(1) << (hash >> shift & levelMask)
		if n.kidBits&bit != 0 {
			n = n.kids[bits.OnesCount32(n.kidBits&(bit-1))]
			continue
		}
		if n.entryBits&bit != 0 {
			e := &n.entries[bits.OnesCount32(n.entryBits&(bit-1))]
			if e.hash == hash && e.key == k {
				return e.value, true
			}
		}
		return v, false
	}
	for i := range n.entries {
		if n.entries[i].key == k {
			return n.entries[i].value, true
		}
	}
	return v, false
}

// With returns m with the value of k set to v.
func (m Map[K, V]) With(k K, v V) Map[K, V] { return m.WithIn(nil, k, v) }

// Without returns m without k; that is m itself if k is not in it.
func (m Map[K, V]) Without(k K) Map[K, V] { return m.WithoutIn(nil, k) }

// All yields each entry once. Their order is that of From: it depends on the
// keys alone, within one process, and two maps have what they share in the same.
func (m Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if m.root != nil {
			m.root.all(yield)
		}
	}
}

// From yields what All does from k on, where k need not be in the map: a walk
// can go on, behind the key at which it stopped, in a later version.
func (m Map[K, V]) From(k K) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if m.root != nil {
			m.root.from(0, hashOf(k), k, yield)
		}
	}
}

func (n *node[K, V]) all(yield func(K, V) bool) bool {
	return n.slots(n.entryBits|n.kidBits, yield)
}

// slots yields what is in the given slots of n, or the list of a bottom node.
func (n *node[K, V]) slots(slots uint32, yield func(K, V) bool) bool {
	if n.entryBits|n.kidBits == 0 {
		return n.list(0, yield)
	}
	for ; slots != 0; slots &= slots - 1 {
		bit := slots & -slots
		if n.kidBits&bit != 0 {
			if !n.kids[bits.OnesCount32(n.kidBits&(bit-1))].all(yield) {
				return false
			}
			continue
		}
		e := &n.entries[bits.OnesCount32(n.entryBits&(bit-1))]
		if !yield(e.key, e.value) {
			return false
		}
	}
	return true
}

func (n *node[K, V]) list(from int, yield func(K, V) bool) bool {
	for i := range n.entries[from:] {
		if e := &n.entries[from+i]; !yield(e.key, e.value) {
			return false
		}
	}
	return true
}

func (n *node[K, V]) from(shift uint, hash uint64, k K, yield func(K, V) bool) bool {
	if shift >= 64 {
		return n.list(max(0, slices.IndexFunc(n.entries, func(e entry[K, V]) bool { return e.key == k })), yield)
	}
	bit := uint32(1) << (hash >> shift & levelMask)
	if n.kidBits&bit != 0 {
		if !n.kids[bits.OnesCount32(n.kidBits&(bit-1))].from(shift+levelBits, hash, k, yield) {
			return false
		}
	} else if n.entryBits&bit != 0 {
		e := &n.entries[bits.OnesCount32(n.entryBits&(bit-1))]
		if !before(e.hash, hash) && !yield(e.key, e.value) {
			return false
		}
	}
	behind := (n.entryBits | n.kidBits) &^ (bit | (bit - 1))
	return behind == 0 || n.slots(behind, yield)
}

// before reports whether a key with hash a comes before one with hash b: the
// first level at which they differ decides.
func before(a, b uint64) bool {
	if a == b {
		return false
	}
	shift := bits.TrailingZeros64(a^b) / levelBits * levelBits
	return a>>shift&levelMask < b>>shift&levelMask
}
