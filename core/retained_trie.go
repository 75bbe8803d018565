package core

import (
	"slices"
	"strings"

	"leveret/core/hamt"
)

// retainedNode is a node of a trie of keys by their words. The zero node is an
// empty trie; only a root is ever empty. A node is changed in place under the
// Edit that made it, and immutable afterwards.
type retainedNode struct {
	owner *hamt.Edit
	m     *retained // Whose key ends here, or nil.
	kids  hamt.Map[string, *retainedNode]
}

// put returns the trie with m, nil for nothing, under key, and what was there
// before. A key without a word is the root's. n must not be used any more if e
// owns it.
func (n *retainedNode) put(e *hamt.Edit, key string, m *retained) (_ *retainedNode, old *retained) {
	switch {
	case key == "":
		n = n.editable(e)
		old, n.m = n.m, m
		return n, old
	case m == nil:
		return n.without(e, key)
	}
	return n.with(e, key, m)
}

// editable returns n if e owns it, else a copy that e owns; nil is empty.
func (n *retainedNode) editable(e *hamt.Edit) *retainedNode {
	switch {
	case n == nil:
		return &retainedNode{owner: e}
	case n.owner == e:
		return n
	}
	return &retainedNode{owner: e, m: n.m, kids: n.kids}
}

// with is put for a message and a key of words.
func (n *retainedNode) with(e *hamt.Edit, key string, m *retained) (_ *retainedNode, old *retained) {
	n = n.editable(e)
	word, rest, more := strings.Cut(key, ".")
	was, _ := n.kids.Get(word)
	var kid *retainedNode
	if more {
		kid, old = was.with(e, rest, m)
	} else {
		kid = was.editable(e)
		old, kid.m = kid.m, m
	}
	if kid != was {
		n.kids = n.kids.WithIn(e, word, kid)
	}
	return n, old
}

// without is put for nothing and a key of words. A node that is empty then
// leaves the trie, but for the root.
func (n *retainedNode) without(e *hamt.Edit, key string) (_ *retainedNode, old *retained) {
	word, rest, more := strings.Cut(key, ".")
	was, ok := n.kids.Get(word)
	if !ok {
		return n, nil
	}
	kid := was
	if more {
		kid, old = was.without(e, rest)
	} else if old = was.m; old != nil {
		kid = was.editable(e)
		kid.m = nil
	}
	if old == nil {
		return n, nil
	}
	n = n.editable(e)
	if kid.m == nil && kid.kids.Len() == 0 {
		n.kids = n.kids.WithoutIn(e, word)
	} else if kid != was {
		n.kids = n.kids.WithIn(e, word, kid)
	}
	return n, old
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

// retainedWalk is a part of a walk over what matches a pattern. It goes through
// the trie in an order that does not depend on what else is in it, so that the
// path of the last node is all that the next part needs, in whatever has become
// of the trie.
type retainedWalk struct {
	words  []string // Of the pattern.
	skip   func(key string) bool
	path   []string // The words that lead to the node.
	found  []*retained
	want   int // How many messages more,
	visits int // and nodes, until it stops.
}

// Each node may cost a walk a little of its time: so many for each message.
const visitsPerMessage = 16

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

// walk finds what matches below n, where the places at in the pattern's words
// are reached. Each message comes once, however many '#' the pattern has. If
// resumed, the walk was at n before and goes on behind the path from. It reports
// whether it came to the end; if not, path is where it stopped.
func (w *retainedWalk) walk(n *retainedNode, at []int, resumed bool, from []string) bool {
	if !resumed {
		if n.m != nil && at[len(at)-1] == len(w.words) && (w.skip == nil || !w.skip(n.m.key)) {
			w.found = append(w.found, n.m)
			w.want--
		}
		if w.visits--; w.want <= 0 || w.visits <= 0 {
			return false
		}
	}
	wild, live := false, false
	for _, p := range at {
		if p < len(w.words) {
			live = true
			wild = wild || w.words[p] == "*" || w.words[p] == "#"
		}
	}
	if !live {
		return true
	}
	resumed = resumed && len(from) > 0
	if !wild {
		for i, p := range at {
			if p == len(w.words) || slices.ContainsFunc(at[:i], func(o int) bool { return w.words[o] == w.words[p] }) {
				continue
			}
			word := w.words[p]
			if resumed && word != from[0] {
				continue
			}
			if kid, ok := n.kids.Get(word); ok && !w.kid(kid, at, word, resumed, from) {
				return false
			}
			resumed = false
		}
		return true
	}
	kids := n.kids.All()
	if resumed {
		kids = n.kids.From(from[0])
	}
	for word, kid := range kids {
		if !w.kid(kid, at, word, resumed && word == from[0], from) {
			return false
		}
	}
	return true
}

// kid walks what is below n's kid, which word leads to. If resumed, that is the
// first one of from.
func (w *retainedWalk) kid(kid *retainedNode, at []int, word string, resumed bool, from []string) bool {
	if last := len(w.words) - 1; at[0] != last || w.words[last] != "#" {
		at = step(w.words, at, word)
	}
	if len(at) == 0 {
		return true
	}
	if resumed {
		from = from[1:]
	}
	w.path = append(w.path, word)
	if !w.walk(kid, at, resumed, from) {
		return false
	}
	w.path = w.path[:len(w.path)-1]
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
