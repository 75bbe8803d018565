package core

// Fits reports whether the queues that refuse what is too much for them would
// take all that ms bring them now, each with its Route. A transaction asks
// before it begins, so that it happens as a whole; what others publish between
// the two can still make a queue refuse, which Publish then says.
func (p *Publisher) Fits(ms []Publication) bool {
	var bodies map[*classic][]int64
	for i := range ms {
		for _, q := range ms[i].Route.queues {
			if q, ok := q.(*classic); ok {
				if bodies == nil {
					bodies = make(map[*classic][]int64)
				}
				bodies[q] = append(bodies[q], int64(len(ms[i].Body)))
			}
		}
	}
	for q, sizes := range bodies {
		if !q.fits(sizes) {
			return false
		}
	}
	return true
}

// fits reports whether the queue would refuse no body of these sizes.
func (q *classic) fits(sizes []int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed() || !q.mu.rules.limited() || q.mu.rules.overflow == overflowDropHead {
		return true
	}
	sizes = sizes[min(q.creditLocked(), len(sizes)):]
	if len(sizes) == 0 {
		return true
	}
	n, bytes := q.heldLocked()
	for _, size := range sizes {
		bytes += size
	}
	return !q.mu.rules.over(n+len(sizes), bytes)
}

// creditLocked is how many messages consumers would take at once, as far as
// their own credit goes.
func (q *classic) creditLocked() (n int) {
	const unlimited = 1 << 30
	if q.mu.entries.ready > 0 {
		return 0
	}
	for _, g := range q.mu.groups {
		c := g.ring
		for c != nil {
			if c.opts.NoAck || c.in.prefetch == 0 {
				return unlimited
			}
			n += c.in.prefetch - c.in.unacked
			if c = c.in.next; c == g.ring {
				break
			}
		}
	}
	return n
}
