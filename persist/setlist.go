package persist

// setList is change sets that the writer has put aside, in their order. Another
// set may be written before them unless they concern it: what is noted of the
// same entry, or of the ids of the same client, must stay in its order.
type setList struct {
	sets []*changeSet
	// How many of what the sets note concerns an entry or a client.
	entries map[entryKey]int
	clients map[uint32]int
}

type entryKey struct {
	queue *queueLog
	seq   uint64
}

func (l *setList) empty() bool { return len(l.sets) == 0 }

// first returns the first set, or nil.
func (l *setList) first() *changeSet {
	if len(l.sets) == 0 {
		return nil
	}
	return l.sets[0]
}

func (l *setList) push(s *changeSet) {
	l.sets = append(l.sets, s)
	l.count(s)
}

// count adds what s notes.
func (l *setList) count(s *changeSet) {
	if len(s.holds) > 0 && l.entries == nil {
		l.entries = make(map[entryKey]int)
	}
	for i := range s.holds {
		l.entries[s.holds[i].entry()]++
	}
	if len(s.receives) > 0 && l.clients == nil {
		l.clients = make(map[uint32]int)
	}
	for i := range s.receives {
		l.clients[s.receives[i].Client]++
	}
}

func (l *setList) remove(i int) {
	s := l.sets[i]
	copy(l.sets[1:], l.sets[:i]) // Mostly nothing: it is the first.
	l.sets[0] = nil
	if l.sets = l.sets[1:]; len(l.sets) == 0 {
		*l = setList{}
		return
	}
	for k := range s.holds {
		e := s.holds[k].entry()
		if l.entries[e]--; l.entries[e] == 0 {
			delete(l.entries, e)
		}
	}
	for k := range s.receives {
		c := s.receives[k].Client
		if l.clients[c]--; l.clients[c] == 0 {
			delete(l.clients, c)
		}
	}
}

// concerns reports whether s must stay behind the sets.
func (l *setList) concerns(s *changeSet) bool {
	if len(l.entries) > 0 {
		for i := range s.holds {
			if l.entries[s.holds[i].entry()] > 0 {
				return true
			}
		}
	}
	if len(l.clients) > 0 {
		for i := range s.receives {
			if l.clients[s.receives[i].Client] > 0 {
				return true
			}
		}
	}
	return false
}

// ripe returns the place of the first set that is not too early, and not behind
// one that is and that concerns it; -1 if there is none.
func (l *setList) ripe() int {
	var early setList // It only counts.
	for i, s := range l.sets {
		if !s.early() && !early.concerns(s) {
			return i
		}
		early.count(s)
	}
	return -1
}

func (h *hold) entry() entryKey { return entryKey{h.queue, h.seq} }
