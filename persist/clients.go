package persist

import (
	"cmp"
	"maps"
	"slices"

	"leveret/core"
	"leveret/persist/segment"
)

// Clients that outlive their connections keep two things here: slots, which
// belong to entries of queues and go with them, and the ids of what they have
// sent and must not send twice. Both are changes in sets, stand in the log as
// records, and are in the index, whose lock guards them, as of the last group
// written; checkpoints hold them whole.
//
// A slot must not be durable before its message is. Its set may be closed
// before that of the message, by another goroutine: then the writer defers it,
// and all such sets behind it, until the message is taken for a group.

// hold is a slot in a change set.
type hold struct {
	queue *queueLog
	seq   uint64
	slot  slot

	// While the message was pending when the slot was noted.
	ref  *ref
	word uint64

	// Not a slot, but what became of the entry before.
	attempts *core.Attempts
}

// slot is what a client keeps of an entry; client 0 keeps nothing.
type slot struct {
	client uint32
	value  uint64
}

func valueOf(s *core.Slot) uint64 {
	v := uint64(s.Data) << 1
	if s.Released {
		v |= 1
	}
	return v
}

// Hold implements core.QueueLog.
func (q *queueLog) Hold(set core.ChangeSet, client core.QueueID, slots []core.Slot, sure bool) {
	s := set.(*changeSet)
	for i := range slots {
		s.hold(hold{queue: q, seq: uint64(slots[i].Seq), slot: slot{uint32(client), valueOf(&slots[i])}})
	}
	s.sure = s.sure || sure
}

// Retry implements core.QueueLog.
func (q *queueLog) Retry(set core.ChangeSet, seq core.Seq, a core.Attempts) {
	set.(*changeSet).hold(hold{queue: q, seq: uint64(seq), attempts: &a})
}

func (s *changeSet) hold(h hold) {
	r := h.queue.ring(uint8(h.seq >> 56))
	if n := r.find(h.seq); n >= 0 {
		if item := r.at(n); item.ref != nil && item.ref.word.Load() == item.word {
			h.ref, h.word = item.ref, item.word
		}
	}
	s.holds = append(s.holds, h)
}

// early reports whether the message of h is still to be taken for a group.
func (h *hold) early() bool { return h.ref != nil && h.ref.word.Load() == h.word }

// dead reports whether the message of h was settled before it was written.
func (h *hold) dead() bool {
	if h.ref == nil {
		return false
	}
	word := h.ref.word.Load()
	return word == h.word|refStruck || word == h.word|refMoved
}

func (s *changeSet) early() bool {
	return slices.ContainsFunc(s.holds, func(h hold) bool { return h.early() })
}

// Receive implements core.MessageLog.
func (l *Log) Receive(set core.ChangeSet, client core.QueueID, ids []uint16) {
	set.(*changeSet).receive(client, ids, segment.Remembered)
}

// Forget implements core.MessageLog.
func (l *Log) Forget(set core.ChangeSet, client core.QueueID, ids []uint16) {
	if ids == nil {
		set.(*changeSet).receive(client, []uint16{0}, segment.ForgotAll)
		return
	}
	set.(*changeSet).receive(client, ids, segment.Forgotten)
}

func (s *changeSet) receive(client core.QueueID, ids []uint16, what segment.Received) {
	for _, id := range ids {
		s.receives = append(s.receives, segment.Receive{Client: uint32(client), ID: id, What: what})
	}
	s.sure = true
}

// clientBytes bounds what s's slots and ids take in a group.
func (s *changeSet) clientBytes() int64 {
	n := len(s.holds)*max(segment.HoldBytesMax, segment.RetryBytesMax) + len(s.receives)*segment.ReceiveBytesMax
	if n == 0 {
		return 0
	}
	return int64(n + (n/changeBytes+2)*changeMax)
}

// addClients adds s's slots, behind its messages, and ids. It reports whether
// there was any.
func (g *group) addClients(s *changeSet) (any bool) {
	from := len(g.buf)
	for i := range s.holds {
		h := &s.holds[i]
		if h.dead() {
			continue
		}
		kind := segment.KindHold
		if h.attempts != nil {
			kind = segment.KindRetry
		}
		g.beginChange(kind)
		n := len(g.buf)
		if h.attempts != nil {
			g.buf = segment.AppendRetry(g.buf, h.retry())
			g.length += int64(len(g.buf) - n)
			continue
		}
		g.buf = segment.AppendHold(g.buf, segment.Hold{Queue: uint32(h.queue.id), Client: h.slot.client, Seq: h.seq, Value: h.slot.value})
		g.length += int64(len(g.buf) - n)
	}
	for _, r := range s.receives {
		g.beginChange(segment.KindReceive)
		n := len(g.buf)
		g.buf = segment.AppendReceive(g.buf, r)
		g.length += int64(len(g.buf) - n)
	}
	any = len(g.buf) > from
	g.synced = g.synced || any && s.sure
	return any
}

// applyClientsLocked tells the index of the slots and ids of a set.
func (x *index) applyClientsLocked(s *changeSet) {
	for i := range s.holds {
		switch h := &s.holds[i]; {
		case h.dead():
		case h.attempts != nil:
			x.retryLocked(h.queue, h.retry())
		default:
			x.holdLocked(h.queue, h.seq, h.slot)
		}
	}
	for _, r := range s.receives {
		x.receiveLocked(r)
	}
}

// holdLocked notes what a client keeps of seq, if that is there.
func (x *index) holdLocked(q *queueLog, seq uint64, s slot) {
	if s.client == 0 || q.dropped || q.placeLocked(seq).offset == 0 {
		x.unholdLocked(q, seq)
		return
	}
	if q.slots == nil {
		q.slots = make(map[uint64]slot)
	}
	if _, had := q.slots[seq]; !had {
		x.mu.holds++
	}
	q.slots[seq] = s
}

func (x *index) unholdLocked(q *queueLog, seq uint64) {
	if _, had := q.slots[seq]; had {
		x.mu.holds--
		if delete(q.slots, seq); len(q.slots) == 0 {
			q.slots = nil
		}
	}
}

// retry is h as it stands in the log.
func (h *hold) retry() segment.Retry {
	return segment.Retry{Queue: uint32(h.queue.id), Seq: h.seq, Acquired: h.attempts.Acquired, Failed: h.attempts.Failed, DueMS: h.attempts.DueMS}
}

// retryLocked notes what became of a message before, if that is there.
func (x *index) retryLocked(q *queueLog, r segment.Retry) {
	if q.dropped || q.placeLocked(r.Seq).offset == 0 {
		return
	}
	x.putRetryLocked(q, r)
}

func (x *index) putRetryLocked(q *queueLog, r segment.Retry) {
	if q.retries == nil {
		q.retries = make(map[uint64]segment.Retry)
	}
	if _, had := q.retries[r.Seq]; !had {
		x.mu.retries++
	}
	q.retries[r.Seq] = r
}

func (x *index) forgetRetryLocked(q *queueLog, seq uint64) {
	if _, had := q.retries[seq]; had {
		x.mu.retries--
		if delete(q.retries, seq); len(q.retries) == 0 {
			q.retries = nil
		}
	}
}

// attemptsLocked is what Recover says of seq.
func (q *queueLog) attemptsLocked(seq uint64) core.Attempts {
	r := q.retries[seq]
	return core.Attempts{Acquired: r.Acquired, Failed: r.Failed, DueMS: r.DueMS}
}

// unholdRangeLocked forgets the slots in [from, end), and what became of entries
// there before.
func (x *index) unholdRangeLocked(q *queueLog, from, end uint64) {
	if end-from > uint64(len(q.slots)+len(q.retries)) {
		for seq := range q.slots {
			if from <= seq && seq < end {
				x.unholdLocked(q, seq)
			}
		}
		for seq := range q.retries {
			if from <= seq && seq < end {
				x.forgetRetryLocked(q, seq)
			}
		}
		return
	}
	for ; from < end; from++ {
		x.unholdLocked(q, from)
		x.forgetRetryLocked(q, from)
	}
}

// unholdGoneLocked forgets the slots of q whose entries are gone.
func (x *index) unholdGoneLocked(q *queueLog) {
	for seq := range q.slots {
		if q.dropped || q.placeLocked(seq).offset == 0 {
			x.unholdLocked(q, seq)
		}
	}
	for seq := range q.retries {
		if q.dropped || q.placeLocked(seq).offset == 0 {
			x.forgetRetryLocked(q, seq)
		}
	}
}

// retriesOf returns what became of messages before, for a checkpoint.
func (x *index) retriesOf(queues []*queueLog) (retries []segment.Retry) {
	for _, q := range queues {
		x.mu.RLock()
		for _, r := range q.retries {
			retries = append(retries, r)
		}
		x.mu.RUnlock()
	}
	return retries
}

// receiveLocked notes what became of an id.
func (x *index) receiveLocked(r segment.Receive) {
	ids := x.mu.received[r.Client]
	switch r.What {
	case segment.Remembered:
		if ids == nil {
			ids = make(map[uint16]struct{})
			x.mu.received[r.Client] = ids
		}
		x.mu.ids -= int64(len(ids))
		ids[r.ID] = struct{}{}
		x.mu.ids += int64(len(ids))
	case segment.Forgotten:
		x.mu.ids -= int64(len(ids))
		delete(ids, r.ID)
		x.mu.ids += int64(len(ids))
		if len(ids) == 0 {
			delete(x.mu.received, r.Client)
		}
	case segment.ForgotAll:
		x.mu.ids -= int64(len(ids))
		delete(x.mu.received, r.Client)
	}
}

// clients returns what clients keep, for a checkpoint.
func (x *index) clients(queues []*queueLog) (holds []segment.Hold, received []segment.Receive) {
	for _, q := range queues {
		x.mu.RLock()
		for seq, s := range q.slots {
			holds = append(holds, segment.Hold{Queue: uint32(q.id), Client: s.client, Seq: seq, Value: s.value})
		}
		x.mu.RUnlock()
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	for client, ids := range x.mu.received {
		for id := range ids {
			received = append(received, segment.Receive{Client: client, ID: id, What: segment.Remembered})
		}
	}
	return holds, received
}

// clients puts what a checkpoint says of clients into the index. Slots whose
// entries turn out to be gone leave it at the end.
func (r *recovery) clients(c *segment.Checkpoint) {
	x := &r.log.index
	changes := segment.Changes{
		Hold: func(h segment.Hold) {
			q := x.openLocked(r.log, core.QueueID(h.Queue))
			if q.slots == nil {
				q.slots = make(map[uint64]slot)
			}
			q.slots[h.Seq] = slot{h.Client, h.Value}
			x.mu.holds++
		},
		Receive: x.receiveLocked,
		Retry: func(retry segment.Retry) {
			x.putRetryLocked(x.openLocked(r.log, core.QueueID(retry.Queue)), retry)
		},
	}
	for _, rec := range []*segment.Record{&c.Holds, &c.Received, &c.Retries} {
		if err := changes.Apply(rec); err != nil {
			r.damage(r.log.dir, 0, 0, err) // Reading the checkpoint would have failed.
		}
	}
}

// held returns what clients keep of the level's entries, ascending. The index
// is locked.
func (q *queueLog) heldLocked(prio uint8) []core.RecoveredSlot {
	var held []core.RecoveredSlot
	for seq, s := range q.slots {
		if uint8(seq>>56) == prio {
			held = append(held, core.RecoveredSlot{Client: core.QueueID(s.client),
				Slot: core.Slot{Seq: core.Seq(seq), Data: uint32(s.value >> 1), Released: s.value&1 != 0}})
		}
	}
	slices.SortFunc(held, func(a, b core.RecoveredSlot) int { return cmp.Compare(a.Seq, b.Seq) })
	return held
}

// Received implements core.MessageLog.
func (l *Log) Received(known func(core.QueueID) bool, fn func(core.QueueID, []uint16)) {
	x := &l.index
	x.mu.RLock()
	all := make(map[uint32][]uint16, len(x.mu.received))
	for client, ids := range x.mu.received {
		all[client] = slices.Sorted(maps.Keys(ids))
	}
	x.mu.RUnlock()
	set := l.Begin()
	for client, ids := range all {
		if known(core.QueueID(client)) {
			fn(core.QueueID(client), ids)
		} else {
			l.Forget(set, core.QueueID(client), nil)
		}
	}
	set.Close(func(error) {}) // If it fails, the next start tries again.
}
