package settle

import "leveret/core"

// group is what one holder gets settled in one way.
type group struct {
	holder *core.Holder
	op     core.Settlement
	seqs   []core.Seq
}

type groupKey struct {
	holder *core.Holder
	op     core.Settlement
}

// Groups sorts deliveries by holder and settlement, so that each queue is
// locked once. Its memory is used again.
type Groups struct {
	groups []group
	n      int
	last   int
	index  map[groupKey]int // Only while there are more than a few groups.
}

// indexFrom is the number of groups from which a map finds them.
const indexFrom = 8

// Add notes that h gives seq up, as op says.
func (g *Groups) Add(h *core.Holder, op core.Settlement, seq core.Seq) {
	if g.last < g.n {
		if e := &g.groups[g.last]; e.holder == h && e.op == op {
			e.seqs = append(e.seqs, seq)
			return
		}
	}
	e := &g.groups[g.find(h, op)]
	e.seqs = append(e.seqs, seq)
}

func (g *Groups) find(h *core.Holder, op core.Settlement) int {
	if g.n <= indexFrom {
		for i := range g.groups[:g.n] {
			if e := &g.groups[i]; e.holder == h && e.op == op {
				g.last = i
				return i
			}
		}
	} else if i, ok := g.index[groupKey{h, op}]; ok {
		g.last = i
		return i
	}
	if g.n == len(g.groups) {
		g.groups = append(g.groups, group{})
	}
	g.last = g.n
	e := &g.groups[g.n]
	e.holder, e.op, e.seqs = h, op, e.seqs[:0]
	g.n++
	if g.n == indexFrom+1 {
		if g.index == nil {
			g.index = make(map[groupKey]int)
		}
		for i := range g.groups[:g.n] {
			g.index[groupKey{g.groups[i].holder, g.groups[i].op}] = i
		}
	} else if g.n > indexFrom {
		g.index[groupKey{h, op}] = g.last
	}
	return g.last
}

// TakeAcks removes the acks and returns them, for a change set of their own. They
// are the caller's.
func (g *Groups) TakeAcks() (acks []core.Acked) {
	for i := range g.groups[:g.n] {
		if e := &g.groups[i]; e.op == core.Ack && len(e.seqs) > 0 {
			acks = append(acks, core.Acked{Holder: e.holder, Seqs: e.seqs})
			e.seqs = nil
		}
	}
	return acks
}

// Settle settles all that was added and forgets it.
func (g *Groups) Settle(t *core.Touched) {
	n := g.n
	for i := range g.groups[:n] {
		e := &g.groups[i]
		if len(e.seqs) > 0 {
			e.holder.Settle(e.op, e.seqs, t)
		}
		e.holder = nil
		if cap(e.seqs) > 1<<16 {
			e.seqs = nil
		}
	}
	if n > indexFrom {
		clear(g.index)
	}
	if len(g.groups) > 64 {
		g.groups, g.index = nil, nil
	}
	g.n, g.last = 0, 0
}
