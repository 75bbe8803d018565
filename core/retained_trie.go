package core

import (
	"iter"
	"slices"
	"strings"

	"leveret/core/hamt"
)

// retainedNode is a node of an immutable trie of keys by their words. The zero
// node is an empty trie; only a root is ever empty.
type retainedNode struct {
	m    *retained // Whose key ends here, or nil.
	kids hamt.Map[string, *retainedNode]
}

// put returns the trie with m, nil for nothing, under key, and what was there
// before. A key without a word is the root's. If m is nil and nothing was
// there, the trie is n itself.
func (n *retainedNode) put(key string, m *retained) (_ *retainedNode, old *retained) {
	switch {
	case key == "":
		return &retainedNode{m: m, kids: n.kids}, n.m
	case m == nil:
		return n.without(key)
	}
	return n.with(key, m)
}

// with is put for a message and a key of words.
func (n *retainedNode) with(key string, m *retained) (_ *retainedNode, old *retained) {
	if n == nil {
		n = &retainedNode{}
	}
	word, rest, more := strings.Cut(key, ".")
	kid, _ := n.kids.Get(word)
	if more {
		kid, old = kid.with(rest, m)
	} else {
		c := retainedNode{m: m}
		if kid != nil {
			old, c.kids = kid.m, kid.kids
		}
		kid = &c
	}
	return &retainedNode{m: n.m, kids: n.kids.With(word, kid)}, old
}

// without is put for nothing and a key of words. A node that is
// empty then is nil, but for the root.
func (n *retainedNode) without(key string) (_ *retainedNode, old *retained) {
	word, rest, more := strings.Cut(key, ".")
	kid, ok := n.kids.Get(word)
	if !ok {
		return n, nil
	}
	c := *kid
	if more {
		var sub *retainedNode
		if sub, old = kid.without(rest); old == nil {
			return n, nil
		}
		c = *sub
	} else {
		if old = kid.m; old == nil {
			return n, nil
		}
		c.m = nil
	}
	if c.m == nil && c.kids.Len() == 0 {
		return &retainedNode{m: n.m, kids: n.kids.Without(word)}, old
	}
	return &retainedNode{m: n.m, kids: n.kids.With(word, &c)}, old
}

// get returns what is under key, or nil.
func (n *retainedNode) get(key string) *retained {
	for more := key != ""; more; {
		var word string
		word, key, more = strings.Cut(key, ".")
		kid, ok := n.kids.Get(word)
		if !ok {
			return nil
		}
		n = kid
	}
	return n.m
}

// all yields every message.
func (n *retainedNode) all() iter.Seq[*retained] {
	return func(yield func(*retained) bool) { n.walk([]string{"#"}, []int{0, 1}, yield) }
}

// cursor begins a walk over what matches pattern.
func (r *retention) cursor(pattern string, skip func(key string) bool) *RetainedCursor {
	var words []string
	if pattern != "" {
		words = strings.Split(strings.Clone(pattern), ".")
	}
	root := r.root.Load()
	next, stop := iter.Pull(func(yield func(*retained) bool) {
		root.walk(words, alive(words, []int{0}), func(m *retained) bool {
			return skip != nil && skip(m.key) || yield(m)
		})
	})
	return &RetainedCursor{r: r, next: next, stop: stop}
}

// alive adds to at, places in words that are reached, those reached without a
// word more: behind a '#'. Places ascend and come once.
func alive(words []string, at []int) []int {
	for i := 0; i < len(at); i++ {
		if p := at[i]; p < len(words) && words[p] == "#" && (i+1 == len(at) || at[i+1] != p+1) {
			at = slices.Insert(at, i+1, p+1)
		}
	}
	return at
}

// walk yields what matches below n, where the places at in the pattern's words
// are reached. Each message comes once, however many '#' the pattern has.
func (n *retainedNode) walk(words []string, at []int, yield func(*retained) bool) bool {
	if n.m != nil && at[len(at)-1] == len(words) && !yield(n.m) {
		return false
	}
	wild, live := false, false
	for _, p := range at {
		if p < len(words) {
			live = true
			wild = wild || words[p] == "*" || words[p] == "#"
		}
	}
	if !live {
		return true
	}
	if !wild {
		for i, p := range at {
			if p == len(words) || slices.ContainsFunc(at[:i], func(o int) bool { return words[o] == words[p] }) {
				continue
			}
			if kid, ok := n.kids.Get(words[p]); ok && !kid.walk(words, step(words, at, words[p]), yield) {
				return false
			}
		}
		return true
	}
	for word, kid := range n.kids.All() {
		if next := step(words, at, word); len(next) > 0 && !kid.walk(words, next, yield) {
			return false
		}
	}
	return true
}

// step returns the places reached from at by word.
func step(words []string, at []int, word string) []int {
	next := make([]int, 0, len(at)+1)
	add := func(p int) {
		if n := len(next); n == 0 || next[n-1] != p {
			next = append(next, p)
		}
	}
	for _, p := range at {
		if p == len(words) {
			continue
		}
		switch words[p] {
		case "#":
			add(p)
		case "*", word:
			add(p + 1)
		}
	}
	return alive(words, next)
}
