package core

import (
	"slices"

	"leveret/core/hamt"
)

// identified is what a set can hold: pointers to things with a number of
// their own.
type identified interface {
	comparable
	identity() uint64
}

// set is an immutable set: a list while it is short, a hash trie when it is
// long, so that the 100,000th queue bound to one key costs no more than the
// first. The zero set is empty.
type set[T identified] struct {
	list []T
	many hamt.Map[uint64, T]
}

const (
	setListMax = 16 // A longer list becomes a trie,
	setTrieMin = 8  // and a shorter trie a list.
)

func (s *set[T]) len() int { return len(s.list) + s.many.Len() }

// with returns s with x, which it lacks.
func (s set[T]) with(x T) set[T] { return s.withIn(nil, x) }

// withIn is with under e: if e is not nil, only the result may be used on.
func (s set[T]) withIn(e *hamt.Edit, x T) set[T] {
	if s.many.Len() > 0 {
		return set[T]{many: s.many.WithIn(e, x.identity(), x)}
	}
	if len(s.list) < setListMax {
		return set[T]{list: append(slices.Clip(s.list), x)}
	}
	for _, old := range s.list {
		s.many = s.many.WithIn(e, old.identity(), old)
	}
	return set[T]{many: s.many.WithIn(e, x.identity(), x)}
}

// without returns s without x.
func (s set[T]) without(x T) set[T] {
	if s.many.Len() == 0 {
		i := slices.Index(s.list, x)
		if i < 0 {
			return s
		}
		list := make([]T, 0, len(s.list)-1)
		return set[T]{list: append(append(list, s.list[:i]...), s.list[i+1:]...)}
	}
	s.many = s.many.Without(x.identity())
	if s.many.Len() >= setTrieMin {
		return s
	}
	return set[T]{list: s.appendTo(nil)}
}

// appendTo appends what is in s, in no particular order.
func (s *set[T]) appendTo(dst []T) []T {
	dst = append(dst, s.list...)
	if s.many.Len() > 0 {
		for _, x := range s.many.All() {
			dst = append(dst, x)
		}
	}
	return dst
}
