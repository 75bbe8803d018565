package core

import (
	"sync/atomic"

	"leveret/core/hamt"
	"leveret/core/topic"
)

// topicType routes by patterns of words: '*' stands for one, '#' for any number.
type topicType struct{ plainType }

func (topicType) newTable(Table) routingTable { return new(topicTable) }

type topicTable struct {
	patterns atomic.Pointer[topic.Trie[*destination]]
	loading  *hamt.Edit // Of add and remove.
}

func (t *topicTable) edit(e *hamt.Edit) { t.loading = e }

func (t *topicTable) add(b *binding, first bool) {
	if first {
		t.patterns.Store(t.patterns.Load().WithIn(t.loading, b.key, b.dest.id, b.dest))
	}
}

func (t *topicTable) remove(b *binding, last bool) {
	if last {
		t.patterns.Store(t.patterns.Load().WithoutIn(t.loading, b.key, b.dest.id))
	}
}

func (t *topicTable) match(dst []*destination, keys []string, _ *Message) ([]*destination, bool) {
	before := len(dst)
	trie := t.patterns.Load()
	for _, key := range keys {
		dst = trie.Match(dst, key)
	}
	return dst, len(dst)-before < 2
}
