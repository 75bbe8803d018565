package core

// Acked is what a transaction acks of what one holder holds.
type Acked struct {
	Holder *Holder
	Seqs   []Seq
}

// Commit is Publish for a transaction: deliveries are acked with it, after its
// messages are in their queues. As far as one log holds both, the acks become
// durable together with the messages: after a crash all of it is there, or
// nothing and what was acked comes back. The publish number is complete when the
// acks are durable.
func (p *Publisher) Commit(ms []Publication, acks []Acked, number uint64, t *Touched) {
	c := &commit{acks: acks, touched: t}
	p.commit = c
	p.moved = func(err error) {
		k := OK
		if err != nil {
			k = Unavailable
		}
		for _, e := range c.ended {
			if err == nil {
				e.queue.committed(e.seqs)
			}
		}
		p.completer.Completed(number, number, k)
	}
	p.Publish(ms, t)
	if len(ms) == 0 {
		p.complete(nil)
	}
	p.commit, p.moved = nil, nil
}

// commit is a transaction under way.
type commit struct {
	acks    []Acked
	touched *Touched
	ended   []committed
}

// committed are entries of a queue that are leaving with a change set.
type committed struct {
	queue *classic
	seqs  []Seq
}

// ack acks what the transaction does, in p's change set where a log is
// concerned.
func (c *commit) ack(p *Publisher) {
	for _, a := range c.acks {
		if q, ok := a.Holder.queue.(*classic); ok {
			q.settleIn(p, a.Holder, Ack, a.Seqs, c.touched)
		} else {
			a.Holder.Settle(Ack, a.Seqs, c.touched)
		}
	}
}

// ackInLocked ends entries with p's change set. Until that is durable they are
// leaving, so that a purge spares them: they have come back after a crash that
// the rest of the transaction did not survive.
func (q *classic) ackInLocked(p *Publisher, seqs []Seq) {
	q.log.SettleIn(p.changeSet(), seqs)
	p.commit.ended = append(p.commit.ended, committed{q, seqs})
}

// committed ends what was acked in a change set, which is durable now. After an
// error of the log everything stays as it is: the next start finds out.
func (q *classic) committed(seqs []Seq) {
	q.mu.Lock()
	defer q.unlock()
	for _, s := range seqs {
		q.leftLocked(s)
	}
	q.afterLeavingLocked()
}
