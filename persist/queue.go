package persist

import (
	"slices"

	"leveret/core"
	"leveret/persist/segment"
)

// queueLog is a queue's part of the log. Its methods are called under the
// queue's lock.
type queueLog struct {
	log *Log
	id  core.QueueID

	// Guarded by the queue's lock.
	rings   []*ring // One for each priority, ascending.
	written []core.Seq

	// Guarded by the index's lock.
	levels  []*level // Ascending priority.
	slots   map[uint64]slot
	retries map[uint64]segment.Retry
	dropped bool
}

// OpenQueue implements core.MessageLog.
func (l *Log) OpenQueue(id core.QueueID) core.QueueLog { return l.index.open(l, id) }

// Add implements core.QueueLog.
func (q *queueLog) Add(set core.ChangeSet, seq core.Seq, m, origin *core.Message) {
	r, word := set.(*changeSet).add(q, seq, m, origin)
	q.ring(uint8(seq >> 56)).push(ringItem{uint64(seq), word, r})
}

// Written implements core.QueueLog.
func (q *queueLog) Written(prio uint8) core.Seq {
	r := q.ring(prio)
	r.trim()
	// A log that failed lets go of what it never wrote: look in this order.
	if q.log.failure.Load() == nil {
		r.floor = r.end
		if r.len() > 0 {
			r.floor = r.at(0).seq
		}
	}
	return core.Seq(max(r.floor, inLevel(prio, 0)))
}

// Settle implements core.QueueLog.
func (q *queueLog) Settle(seqs []core.Seq) {
	q.written = q.written[:0]
	for _, s := range seqs {
		if !q.ring(uint8(s >> 56)).strike(uint64(s)) {
			q.written = append(q.written, s)
		}
	}
	if len(q.written) > 0 {
		q.log.note(note{kind: noteAck, queue: q}, q.written)
	}
	if cap(q.written) > 1<<10 {
		q.written = nil
	}
}

// SettleIn implements core.QueueLog.
func (q *queueLog) SettleIn(set core.ChangeSet, seqs []core.Seq) { set.(*changeSet).settle(q, seqs) }

// Purge implements core.QueueLog.
func (q *queueLog) Purge(prio uint8, upTo core.Seq, survivors []core.Seq) {
	r := q.ring(prio)
	end := inLevel(prio, uint64(upTo))
	i := 0
	for n := range r.len() {
		item := r.at(n)
		if item.seq >= end {
			break
		}
		for i < len(survivors) && uint64(survivors[i]) < item.seq {
			i++
		}
		if i < len(survivors) && uint64(survivors[i]) == item.seq {
			continue
		}
		item.strike()
	}
	r.trim()
	q.log.note(note{kind: notePurge, queue: q, upTo: end}, survivors)
}

// Mark implements core.QueueLog. The last call counts, so that a clean stop
// may take back a reservation.
func (q *queueLog) Mark(prio uint8, upTo core.Seq, written func()) (done bool) {
	q.log.note(note{kind: noteMark, queue: q, upTo: inLevel(prio, uint64(upTo)), written: written}, nil)
	return false
}

// Drop implements core.QueueLog.
func (q *queueLog) Drop() {
	for _, r := range q.rings {
		for n := range r.len() {
			r.at(n).strike()
		}
	}
	q.rings = nil
	q.log.note(note{kind: noteDrop, queue: q}, nil)
}

// inLevel is number as a Seq of priority prio.
func inLevel(prio uint8, number uint64) uint64 { return uint64(prio)<<56 | number&(1<<56-1) }

func (q *queueLog) ring(prio uint8) *ring {
	for i, r := range q.rings {
		if r.prio == prio {
			return r
		}
		if r.prio > prio {
			q.rings = slices.Insert(q.rings, i, &ring{prio: prio})
			return q.rings[i]
		}
	}
	q.rings = append(q.rings, &ring{prio: prio})
	return q.rings[len(q.rings)-1]
}
