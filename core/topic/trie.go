package topic

import (
	"iter"
	"slices"
	"strings"

	"leveret/core/hamt"
)

const (
	// From wideMin children or values on, a node keeps them in a hash trie, and
	// goes back to a list below narrowMax, so that a bind and unbind in turn do
	// not convert each time. A list of eight words is searched faster than one
	// is hashed.
	wideMin   = 9
	narrowMax = 5
)

// Trie is an immutable set of patterns, each with values that are told apart by
// an id. The zero Trie and a nil *Trie are empty. Any goroutine may use it.
type Trie[V any] struct {
	root *node[V]
	n    int
}

// node is reached by the words of a pattern from the root on. Slices and maps
// are never changed once they are in a node; the node itself only by the Edit
// that owns it.
type node[V any] struct {
	owner *hamt.Edit

	// The values of the pattern that ends here: listed, or in manyValues.
	values     []V
	ids        []uint64 // ids[i] belongs to values[i].
	manyValues hamt.Map[uint64, V]

	star *node[V] // Behind '*'.
	hash *node[V] // Behind '#'.

	// Behind any other word: listed, or in wide.
	kids []kid[V]
	wide hamt.Map[string, *node[V]]
}

type kid[V any] struct {
	word string
	node *node[V]
}

// Len returns the number of values, counting each pattern's.
func (t *Trie[V]) Len() int {
	if t == nil {
		return 0
	}
	return t.n
}

// With returns t with v as the value of id on pattern, in place of the one it
// had, if any.
func (t *Trie[V]) With(pattern string, id uint64, v V) *Trie[V] {
	return t.with(nil, pattern, id, v)
}

// Without returns t without the value of id on pattern; that is t itself if
// there is none.
func (t *Trie[V]) Without(pattern string, id uint64) *Trie[V] {
	return t.without(nil, pattern, id)
}

// WithIn is With under e. If e is not nil, t and every trie derived from it
// under e must not be used any more; only the result is valid.
func (t *Trie[V]) WithIn(e *hamt.Edit, pattern string, id uint64, v V) *Trie[V] {
	return t.with(e, pattern, id, v)
}

// WithoutIn is Without under e, with the same restriction as WithIn.
func (t *Trie[V]) WithoutIn(e *hamt.Edit, pattern string, id uint64) *Trie[V] {
	return t.without(e, pattern, id)
}

func (t *Trie[V]) with(e *hamt.Edit, pattern string, id uint64, v V) *Trie[V] {
	var old Trie[V]
	if t != nil {
		old = *t
	}
	root, added := old.root.with(e, pattern, pattern != "", id, v)
	if added {
		old.n++
	}
	return &Trie[V]{root, old.n}
}

func (t *Trie[V]) without(e *hamt.Edit, pattern string, id uint64) *Trie[V] {
	if t == nil {
		return t
	}
	root, removed := t.root.without(e, pattern, pattern != "", id)
	if !removed {
		return t
	}
	return &Trie[V]{root, t.n - 1}
}

// with returns n, or a copy of it, with v added below it. The pattern still to
// go is rest if more is true, and otherwise used up: "" is one empty word or
// none. A nil n is an empty node.
func (n *node[V]) with(e *hamt.Edit, rest string, more bool, id uint64, v V) (_ *node[V], added bool) {
	n = n.editable(e)
	if !more {
		return n, n.setValue(e, id, v)
	}
	word, rest, more := strings.Cut(rest, ".")
	kid, added := n.kid(word).with(e, rest, more, id, v)
	n.setKid(e, word, kid)
	return n, added
}

// without returns n, or a copy of it, without the value, or nil if n is empty
// then.
func (n *node[V]) without(e *hamt.Edit, rest string, more bool, id uint64) (_ *node[V], removed bool) {
	if n == nil {
		return nil, false
	}
	if !more {
		if !n.hasValue(id) {
			return n, false
		}
		n = n.editable(e)
		n.removeValue(e, id)
	} else {
		word, rest, more := strings.Cut(rest, ".")
		kid, removed := n.kid(word).without(e, rest, more, id)
		if !removed {
			return n, false
		}
		n = n.editable(e)
		n.setKid(e, word, kid)
	}
	if n.valueCount() == 0 && n.isLeaf() {
		return nil, true
	}
	return n, true
}

// editable returns n if e owns it, else a copy that e owns.
func (n *node[V]) editable(e *hamt.Edit) *node[V] {
	if n == nil {
		return &node[V]{owner: e}
	}
	if e != nil && n.owner == e {
		return n
	}
	c := *n
	c.owner = e
	return &c
}

// isLeaf reports that no pattern goes on behind n.
func (n *node[V]) isLeaf() bool {
	return n.star == nil && n.hash == nil && len(n.kids) == 0 && n.wide.Len() == 0
}

// kid returns the node behind a word of a pattern, or nil.
func (n *node[V]) kid(word string) *node[V] {
	switch word {
	case "*":
		return n.star
	case "#":
		return n.hash
	}
	return n.literal(word)
}

// literal returns the node behind word, taken as it is, or nil.
func (n *node[V]) literal(word string) *node[V] {
	for i := range n.kids {
		if n.kids[i].word == word {
			return n.kids[i].node
		}
	}
	if n.wide.Len() > 0 {
		found, _ := n.wide.Get(word)
		return found
	}
	return nil
}

// setKid makes to, which may be nil, the node behind word. n must be editable. A
// new word is copied: as a piece of its pattern it would keep all of that in
// memory for as long as another pattern shares the word.
func (n *node[V]) setKid(e *hamt.Edit, word string, to *node[V]) {
	switch word {
	case "*":
		n.star = to
		return
	case "#":
		n.hash = to
		return
	}

	if n.wide.Len() > 0 {
		switch found, ok := n.wide.Get(word); {
		case found == to:
			return
		case to != nil:
			if !ok {
				word = strings.Clone(word)
			}
			n.wide = n.wide.WithIn(e, word, to)
			return
		}
		n.wide = n.wide.WithoutIn(e, word)
		if n.wide.Len() < narrowMax {
			for w, k := range n.wide.All() {
				n.kids = append(n.kids, kid[V]{w, k})
			}
			n.wide = hamt.Map[string, *node[V]]{}
		}
		return
	}

	i := slices.IndexFunc(n.kids, func(k kid[V]) bool { return k.word == word })
	switch {
	case i >= 0 && n.kids[i].node == to:
	case i >= 0 && to != nil:
		n.kids = slices.Clone(n.kids)
		n.kids[i].node = to
	case i >= 0:
		n.kids = without(n.kids, i)
	case to == nil:
	case len(n.kids)+1 < wideMin:
		n.kids = append(slices.Clip(n.kids), kid[V]{strings.Clone(word), to})
	default:
		for _, k := range n.kids {
			n.wide = n.wide.WithIn(e, k.word, k.node)
		}
		n.wide = n.wide.WithIn(e, strings.Clone(word), to)
		n.kids = nil
	}
}

func (n *node[V]) valueCount() int { return len(n.values) + n.manyValues.Len() }

func (n *node[V]) hasValue(id uint64) bool {
	if _, ok := n.manyValues.Get(id); ok {
		return true
	}
	return slices.Contains(n.ids, id)
}

// setValue makes v the value of id and reports whether it had none. n must be
// editable.
func (n *node[V]) setValue(e *hamt.Edit, id uint64, v V) (added bool) {
	before := n.valueCount()
	if n.manyValues.Len() > 0 {
		n.manyValues = n.manyValues.WithIn(e, id, v)
		return n.valueCount() > before
	}
	if i := slices.Index(n.ids, id); i >= 0 {
		n.values = slices.Clone(n.values)
		n.values[i] = v
		return false
	}
	if before+1 < wideMin {
		n.ids = append(slices.Clip(n.ids), id)
		n.values = append(slices.Clip(n.values), v)
		return true
	}
	for i, old := range n.ids {
		n.manyValues = n.manyValues.WithIn(e, old, n.values[i])
	}
	n.manyValues = n.manyValues.WithIn(e, id, v)
	n.ids, n.values = nil, nil
	return true
}

// removeValue drops the value of id, which n has. n must be editable.
func (n *node[V]) removeValue(e *hamt.Edit, id uint64) {
	if n.manyValues.Len() == 0 {
		i := slices.Index(n.ids, id)
		n.ids, n.values = without(n.ids, i), without(n.values, i)
		return
	}
	n.manyValues = n.manyValues.WithoutIn(e, id)
	if n.manyValues.Len() < narrowMax {
		for id, v := range n.manyValues.All() {
			n.ids = append(n.ids, id)
			n.values = append(n.values, v)
		}
		n.manyValues = hamt.Map[uint64, V]{}
	}
}

// without returns a copy of s without index i.
func without[T any](s []T, i int) []T {
	if len(s) == 1 {
		return nil
	}
	return append(slices.Clone(s[:i]), s[i+1:]...)
}

// Patterns yields each pattern with each of its ids, in no particular order.
func (t *Trie[V]) Patterns() iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		if t != nil && t.root != nil {
			t.root.patterns(nil, yield)
		}
	}
}

func (n *node[V]) patterns(words []string, yield func(string, uint64) bool) bool {
	pattern := strings.Join(words, ".")
	for _, id := range n.ids {
		if !yield(pattern, id) {
			return false
		}
	}
	for id := range n.manyValues.All() {
		if !yield(pattern, id) {
			return false
		}
	}
	below := func(word string, k *node[V]) bool {
		return k == nil || k.patterns(append(slices.Clip(words), word), yield)
	}
	for _, k := range n.kids {
		if !below(k.word, k.node) {
			return false
		}
	}
	for word, k := range n.wide.All() {
		if !below(word, k) {
			return false
		}
	}
	return below("*", n.star) && below("#", n.hash)
}

// Builder loads many patterns without a copy for each. It belongs to one
// goroutine. The zero Builder starts from an empty Trie.
type Builder[V any] struct {
	edit *hamt.Edit
	trie *Trie[V]
}

// NewBuilder returns a Builder that starts from t, which stays as it is.
func NewBuilder[V any](t *Trie[V]) *Builder[V] { return &Builder[V]{trie: t} }

// Set makes v the value of id on pattern.
func (b *Builder[V]) Set(pattern string, id uint64, v V) {
	if b.edit == nil {
		b.edit = new(hamt.Edit)
	}
	b.trie = b.trie.with(b.edit, pattern, id, v)
}

// Delete removes the value of id on pattern.
func (b *Builder[V]) Delete(pattern string, id uint64) {
	if b.edit == nil {
		b.edit = new(hamt.Edit)
	}
	b.trie = b.trie.without(b.edit, pattern, id)
}

// Trie returns what was built so far, never nil. The Builder may be used on;
// the Trie will not change.
func (b *Builder[V]) Trie() *Trie[V] {
	b.edit = nil // What it owned is shared from now on.
	if b.trie == nil {
		return &Trie[V]{}
	}
	return b.trie
}
