package core

import "slices"

// How long the oldest ready message has waited is what autoscalers ask of
// thousands of queues every few seconds. A message in memory knows when it
// arrived; of a cold one, which is the head only where nobody consumes, only the
// log knows. It is read once, by one goroutine for all queues, and the answer
// kept with the level for as long as that entry is its head.

// datedHead is when the cold entry seq arrived; 0 if that cannot be said.
type datedHead struct {
	seq   Seq
	ms    int64
	known bool
}

// headTimestampLocked is when the oldest ready message arrived, ms since 1970; 0
// if there is none, or if that is only being found out.
func (q *classic) headTimestampLocked() (oldest int64) {
	if q.mu.entries.ready == 0 {
		return 0
	}
	ask := false
	for l := range q.mu.entries.levels() {
		if l.ready == 0 {
			continue
		}
		c, i := l.firstReady()
		seq := c.base + Seq(i)
		var at int64
		switch {
		case c.state[i]&flagCold == 0:
			at = c.msg[i].ArrivedMS
		case l.dated.known && l.dated.seq == seq:
			at = l.dated.ms
		default:
			ask = true
		}
		if at != 0 && (oldest == 0 || at < oldest) {
			oldest = at
		}
	}
	if ask {
		q.askDateLocked()
		return 0
	}
	return oldest
}

// askDateLocked has the log asked when cold heads arrived.
func (q *classic) askDateLocked() {
	b := q.broker
	if q.mu.dating || q.log == nil || b.closing.Load() {
		return
	}
	q.mu.dating = true
	b.undated.Lock()
	defer b.undated.Unlock()
	b.undated.queues = append(b.undated.queues, q)
	if !b.undated.running {
		b.undated.running = true
		b.spawn(b.dateHeads)
	}
}

// dateHeads goes through the queues that wait for it, one by one: it shall not
// keep the disk from others.
func (b *Broker) dateHeads() {
	for {
		b.undated.Lock()
		if len(b.undated.queues) == 0 || b.closing.Load() {
			b.undated.queues, b.undated.running = nil, false
			b.undated.Unlock()
			return
		}
		q := b.undated.queues[0]
		b.undated.queues = b.undated.queues[1:]
		b.undated.Unlock()
		q.dateHeads()
	}
}

func (q *classic) dateHeads() {
	var seqs []Seq
	q.mu.Lock()
	for l := range q.mu.entries.levels() {
		if l.ready == 0 {
			continue
		}
		if c, i := l.firstReady(); c.state[i]&flagCold != 0 {
			seqs = append(seqs, c.base+Seq(i))
		}
	}
	q.mu.Unlock()
	slices.Sort(seqs)
	arrived := make([]int64, len(seqs))
	if len(seqs) > 0 {
		q.broker.log.Read(q.opts.ID, seqs, func(i int, m *Message, err error) {
			if err == nil {
				arrived[i] = m.ArrivedMS
			}
		})
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.dating = false
	if q.gone.Load() {
		return
	}
	for i, s := range seqs {
		q.mu.entries.level(s.priority()).dated = datedHead{s, arrived[i], true}
	}
}
