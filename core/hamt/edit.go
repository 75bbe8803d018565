package hamt

import (
	"math/bits"
	"slices"
)

// Edit stands for a run of changes by one goroutine. Nodes made under an Edit
// belong to it and later changes under it write to them in place, so loading a
// large map copies nothing twice. The run ends when its Edit is dropped: what
// was built is then immutable like any other map.
//
// Several maps, also of different types, may be changed under one Edit.
type Edit struct{ _ byte } // Not empty: two Edits must have two addresses.

// WithIn is With under e. If e is not nil, m and every map derived from it
// under e must not be used any more; only the result is valid.
func (m Map[K, V]) WithIn(e *Edit, k K, v V) Map[K, V] {
	return m.with(e, entry[K, V]{hashOf(k), k, v})
}

// WithoutIn is Without under e, with the same restriction as WithIn.
func (m Map[K, V]) WithoutIn(e *Edit, k K) Map[K, V] {
	return m.without(e, hashOf(k), k)
}

func (m Map[K, V]) with(e *Edit, x entry[K, V]) Map[K, V] {
	if m.root == nil {
		m.root = &node[K, V]{owner: e}
	}
	root, added := m.root.with(e, 0, x)
	if added {
		m.n++
	}
	return Map[K, V]{root, m.n}
}

func (m Map[K, V]) without(e *Edit, hash uint64, k K) Map[K, V] {
	if m.root == nil {
		return m
	}
	root, removed := m.root.without(e, 0, hash, k)
	if !removed {
		return m
	}
	if m.n--; m.n == 0 {
		root = nil
	}
	return Map[K, V]{root, m.n}
}

// with returns n, or a copy of it, with x in it, and whether that is a key more.
func (n *node[K, V]) with(e *Edit, shift uint, x entry[K, V]) (_ *node[K, V], added bool) {
	if shift >= 64 {
		for i := range n.entries {
			if n.entries[i].key == x.key {
				return n.withValueAt(e, i, x.value), false
			}
		}
		n = n.editable(e)
		n.entries = insert(e, n.entries, len(n.entries), x)
		return n, true
	}

	bit := uint32(1) << (x.hash >> shift & levelMask)
	kidAt := bits.OnesCount32(n.kidBits & (bit - 1))
	entryAt := bits.OnesCount32(n.entryBits & (bit - 1))
	switch {
	case n.kidBits&bit != 0:
		kid, added := n.kids[kidAt].with(e, shift+levelBits, x)
		return n.withKidAt(e, kidAt, kid), added

	case n.entryBits&bit == 0:
		n = n.editable(e)
		n.entryBits |= bit
		n.entries = insert(e, n.entries, entryAt, x)
		return n, true
	}

	old := n.entries[entryAt]
	if old.hash == x.hash && old.key == x.key {
		return n.withValueAt(e, entryAt, x.value), false
	}
	kid := split(e, shift+levelBits, old, x)
	n = n.editable(e)
	n.entryBits &^= bit
	n.entries = remove(e, n.entries, entryAt)
	n.kidBits |= bit
	n.kids = insert(e, n.kids, kidAt, kid)
	return n, true
}

// split returns a node at shift that holds a and b, which have different keys.
func split[K comparable, V any](e *Edit, shift uint, a, b entry[K, V]) *node[K, V] {
	if shift >= 64 {
		return &node[K, V]{owner: e, entries: []entry[K, V]{a, b}}
	}
	aSlot, bSlot := a.hash>>shift&levelMask, b.hash>>shift&levelMask
	if aSlot == bSlot {
		kid := split(e, shift+levelBits, a, b)
		return &node[K, V]{owner: e, kidBits: 1 << aSlot, kids: []*node[K, V]{kid}}
	}
	if aSlot > bSlot {
		a, b = b, a
	}
	return &node[K, V]{owner: e, entryBits: 1<<aSlot | 1<<bSlot, entries: []entry[K, V]{a, b}}
}

// without returns n, or a copy of it, without k, and whether k was there.
func (n *node[K, V]) without(e *Edit, shift uint, hash uint64, k K) (_ *node[K, V], removed bool) {
	if shift >= 64 {
		for i := range n.entries {
			if n.entries[i].key == k {
				n = n.editable(e)
				n.entries = remove(e, n.entries, i)
				return n, true
			}
		}
		return n, false
	}

	bit := uint32(1) << (hash >> shift & levelMask)
	kidAt := bits.OnesCount32(n.kidBits & (bit - 1))
	entryAt := bits.OnesCount32(n.entryBits & (bit - 1))
	switch {
	case n.kidBits&bit != 0:
		kid, removed := n.kids[kidAt].without(e, shift+levelBits, hash, k)
		if !removed {
			return n, false
		}
		if len(kid.entries) != 1 || len(kid.kids) != 0 {
			return n.withKidAt(e, kidAt, kid), true
		}
		// One entry needs no node of its own.
		n = n.editable(e)
		n.kidBits &^= bit
		n.kids = remove(e, n.kids, kidAt)
		n.entryBits |= bit
		n.entries = insert(e, n.entries, entryAt, kid.entries[0])
		return n, true

	case n.entryBits&bit == 0 || n.entries[entryAt].key != k:
		return n, false
	}
	n = n.editable(e)
	n.entryBits &^= bit
	n.entries = remove(e, n.entries, entryAt)
	return n, true
}

// editable returns n if e owns it, else a copy that e owns. A copy for no Edit
// shares its slices with n, which is why insert, remove and the …At functions
// then make new ones.
func (n *node[K, V]) editable(e *Edit) *node[K, V] {
	if e != nil && n.owner == e {
		return n
	}
	c := *n
	c.owner = e
	if e != nil {
		c.entries = slices.Clone(n.entries)
		c.kids = slices.Clone(n.kids)
	}
	return &c
}

// withValueAt keeps the key that is there: the new one may be a piece of a long
// string that would live on with it.
func (n *node[K, V]) withValueAt(e *Edit, i int, v V) *node[K, V] {
	n = n.editable(e)
	if e == nil {
		n.entries = slices.Clone(n.entries)
	}
	n.entries[i].value = v
	return n
}

func (n *node[K, V]) withKidAt(e *Edit, i int, kid *node[K, V]) *node[K, V] {
	if n.kids[i] == kid {
		return n // Changed in place.
	}
	n = n.editable(e)
	if e == nil {
		n.kids = slices.Clone(n.kids)
	}
	n.kids[i] = kid
	return n
}

// insert returns s with x before index i: in place under an Edit, else a copy
// of exactly the length needed.
func insert[T any](e *Edit, s []T, i int, x T) []T {
	if e != nil {
		return slices.Insert(s, i, x)
	}
	c := make([]T, len(s)+1)
	copy(c, s[:i])
	c[i] = x
	copy(c[i+1:], s[i:])
	return c
}

// remove returns s without index i: in place under an Edit, else a copy.
func remove[T any](e *Edit, s []T, i int) []T {
	if e != nil {
		return slices.Delete(s, i, i+1)
	}
	if len(s) == 1 {
		return nil
	}
	c := make([]T, len(s)-1)
	copy(c, s[:i])
	copy(c[i:], s[i+1:])
	return c
}

// Builder loads many entries without a copy for each. It belongs to one
// goroutine. The zero Builder starts from an empty map.
type Builder[K comparable, V any] struct {
	edit *Edit
	m    Map[K, V]
}

// NewBuilder returns a Builder that starts from m, which stays as it is.
func NewBuilder[K comparable, V any](m Map[K, V]) *Builder[K, V] {
	return &Builder[K, V]{m: m}
}

// Set sets the value of k to v.
func (b *Builder[K, V]) Set(k K, v V) {
	if b.edit == nil {
		b.edit = new(Edit)
	}
	b.m = b.m.WithIn(b.edit, k, v)
}

// Delete removes k.
func (b *Builder[K, V]) Delete(k K) {
	if b.edit == nil {
		b.edit = new(Edit)
	}
	b.m = b.m.WithoutIn(b.edit, k)
}

// Map returns what was built so far. The Builder may be used on; the map will
// not change.
func (b *Builder[K, V]) Map() Map[K, V] {
	b.edit = nil // What it owned is shared from now on.
	return b.m
}
