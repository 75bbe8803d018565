package topic

import "strings"

// Match appends to dst the value of each id on each pattern that matches key,
// each once, in no particular order. It allocates nothing but room in dst,
// unless more than a handful of '#' are in play at once.
//
// The cost is bounded by the number of trie nodes times the number of words,
// however many wildcards the patterns have. Above the first '#' of a pattern a
// node can only be reached by one stretch of the key, so a plain walk visits it
// at most once. Below a '#' every stretch counts, and the walk becomes a set of
// nodes that are alive after each word; see walkAny.
func (t *Trie[V]) Match(dst []V, key string) []V {
	if t == nil || t.root == nil {
		return dst
	}
	return t.root.walk(dst, key, key != "")
}

// walk appends what matches below n, where the words of key still to go are
// those of rest, if more is true.
func (n *node[V]) walk(dst []V, rest string, more bool) []V {
	for {
		if n.hash != nil {
			dst = n.hash.walkAny(dst, rest, more)
		}
		if !more {
			return n.appendValues(dst)
		}
		var word string
		word, rest, more = strings.Cut(rest, ".")
		star, next := n.star, n.literal(word)
		switch {
		case next == nil && star == nil:
			return dst
		case next == nil:
			next = star
		case star != nil:
			dst = star.walk(dst, rest, more)
		}
		n = next
	}
}

// appendValues appends the values of the pattern that ends at n.
func (n *node[V]) appendValues(dst []V) []V {
	dst = append(dst, n.values...)
	if n.manyValues.Len() > 0 {
		for _, v := range n.manyValues.All() {
			dst = append(dst, v)
		}
	}
	return dst
}

// list holds nodes. The first few lie in it, so that a list in a variable costs
// no allocation. (A slice of an array in that variable would: storing a slice
// through a pointer moves its array to the heap.)
type list[V any] struct {
	n    int
	few  [8]*node[V]
	many []*node[V]
}

func (l *list[V]) add(n *node[V]) {
	if l.n < len(l.few) {
		l.few[l.n] = n
	} else {
		l.many = append(l.many, n)
	}
	l.n++
}

func (l *list[V]) at(i int) *node[V] {
	if i < len(l.few) {
		return l.few[i]
	}
	return l.many[i-len(l.few)]
}

func (l *list[V]) clear() {
	l.n = 0
	l.many = l.many[:0]
}

// anySet is the state of a walk below a '#'.
//
// After each word it knows which nodes a pattern may have got to. There are two
// sorts. A node behind '#' may swallow any word and stay, so once reached it is
// alive for good: open. Any other is alive for the one word: alive. As a trie
// node has one parent, nodes of the second sort are never reached twice at the
// same word; those of the first are looked up before they are added.
type anySet[V any] struct {
	open  list[V]
	alive [2]list[V] // Alive now, alive with the next word, taking turns.
	turn  int        // alive[turn] is now.

	// What is in open and the leaves behind '#', which need no place there
	// because everything matches them. A list is searched while it is short.
	seen     list[V]
	seenMany map[*node[V]]struct{}
}

// seenListMax is how many nodes anySet searches one by one.
const seenListMax = 16

// walkAny appends what matches below n, a node behind '#'.
func (n *node[V]) walkAny(dst []V, rest string, more bool) []V {
	dst = n.appendValues(dst)
	if n.isLeaf() {
		return dst // Most '#' are the end of their pattern.
	}

	var s anySet[V]
	s.add(n)
	s.open.add(n)
	dst = s.reach(dst, n.hash)
	for more {
		var word string
		word, rest, more = strings.Cut(rest, ".")
		now := &s.alive[s.turn]
		// Nodes that become open at this word wait for the next one.
		for i, open := 0, s.open.n; i < open; i++ {
			dst = s.step(dst, s.open.at(i), word)
		}
		for i := range now.n {
			dst = s.step(dst, now.at(i), word)
		}
		now.clear()
		s.turn ^= 1
	}
	now := &s.alive[s.turn]
	for i := range now.n {
		dst = now.at(i).appendValues(dst)
	}
	return dst
}

// step goes one word on from a node.
func (s *anySet[V]) step(dst []V, from *node[V], word string) []V {
	if to := from.star; to != nil {
		s.alive[s.turn^1].add(to)
		dst = s.reach(dst, to.hash)
	}
	if to := from.literal(word); to != nil {
		s.alive[s.turn^1].add(to)
		dst = s.reach(dst, to.hash)
	}
	return dst
}

// reach adds to, a node behind '#', unless it has been reached before, and
// those behind further '#' that follow at once. What ends at them matches
// whatever is still to come.
func (s *anySet[V]) reach(dst []V, to *node[V]) []V {
	for ; to != nil && s.add(to); to = to.hash {
		dst = to.appendValues(dst)
		if !to.isLeaf() {
			s.open.add(to)
		}
	}
	return dst
}

// add notes n as seen and reports whether it was not.
func (s *anySet[V]) add(n *node[V]) bool {
	if s.seenMany != nil {
		if _, ok := s.seenMany[n]; ok {
			return false
		}
		s.seenMany[n] = struct{}{}
		return true
	}
	for i := range s.seen.n {
		if s.seen.at(i) == n {
			return false
		}
	}
	if s.seen.add(n); s.seen.n > seenListMax {
		s.seenMany = make(map[*node[V]]struct{}, 4*seenListMax)
		for i := range s.seen.n {
			s.seenMany[s.seen.at(i)] = struct{}{}
		}
	}
	return true
}
