package stomp

import "leveret/core"

// settleGroup is what one holder gets settled in one way.
type settleGroup struct {
	holder *core.Holder
	op     core.Settlement
	seqs   []core.Seq
}

type settleKey struct {
	holder *core.Holder
	op     core.Settlement
}

// settleGroups sorts deliveries by holder and settlement, so that each queue is
// locked once. Its memory is used again.
type settleGroups struct {
	groups []settleGroup
	n      int
	last   int
	index  map[settleKey]int // Only while there are more than a few groups.
}

// indexFrom is the number of groups from which a map finds them.
const indexFrom = 8

func (g *settleGroups) add(h *core.Holder, op core.Settlement, seq core.Seq) {
	if g.last < g.n {
		if e := &g.groups[g.last]; e.holder == h && e.op == op {
			e.seqs = append(e.seqs, seq)
			return
		}
	}
	e := &g.groups[g.find(h, op)]
	e.seqs = append(e.seqs, seq)
}

func (g *settleGroups) find(h *core.Holder, op core.Settlement) int {
	if g.n <= indexFrom {
		for i := range g.groups[:g.n] {
			if e := &g.groups[i]; e.holder == h && e.op == op {
				g.last = i
				return i
			}
		}
	} else if i, ok := g.index[settleKey{h, op}]; ok {
		g.last = i
		return i
	}
	if g.n == len(g.groups) {
		g.groups = append(g.groups, settleGroup{})
	}
	g.last = g.n
	e := &g.groups[g.n]
	e.holder, e.op, e.seqs = h, op, e.seqs[:0]
	g.n++
	if g.n == indexFrom+1 {
		if g.index == nil {
			g.index = make(map[settleKey]int)
		}
		for i := range g.groups[:g.n] {
			g.index[settleKey{g.groups[i].holder, g.groups[i].op}] = i
		}
	} else if g.n > indexFrom {
		g.index[settleKey{h, op}] = g.last
	}
	return g.last
}

// takeAcks removes the acks and returns them.
func (g *settleGroups) takeAcks() (acks []core.Acked) {
	for i := range g.groups[:g.n] {
		if e := &g.groups[i]; e.op == core.Ack && len(e.seqs) > 0 {
			acks = append(acks, core.Acked{Holder: e.holder, Seqs: e.seqs})
			e.seqs = nil
		}
	}
	return acks
}

// settle settles all that was added and forgets it.
func (g *settleGroups) settle(t *core.Touched) {
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
