package coretest

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"

	"leveret/core"
)

// Log is a core.MessageLog in memory, with a switch for each thing that a real
// one does in its own time: Hold keeps closed sets unwritten, HoldMarks marks,
// Damage makes messages unreadable, Busy does so for now. What it holds outlives a broker:
// pass it to the next one to see what a restart brings back.
type Log struct {
	mu     sync.Mutex
	queues map[core.QueueID]*queueLog
	ids    map[core.QueueID]map[uint16]bool // Received by clients.
	held   bool
	busy   bool
	closed []*changeSet // Closed and not written, while held.

	marksHeld bool
	marks     []func() // Who waits for marks that are held.
}

type queueLog struct {
	log     *Log
	entries map[core.Seq]*entry
	levels  map[uint8]*levelLog
	gone    bool
}

// levelLog is one priority of a queue.
type levelLog struct{ next, marked core.Seq }

type entry struct {
	m       *core.Message
	expires int64
	retry   core.Attempts
	set     *changeSet
	damaged bool
	slot    core.RecoveredSlot
}

type changeSet struct {
	log     *Log
	written bool
	done    func(error)
	settled []func() // What it settles, with the log's lock held.
	origin  map[*core.Message]*core.Message
}

// NewLog returns an empty log.
func NewLog() *Log {
	return &Log{queues: make(map[core.QueueID]*queueLog), ids: make(map[core.QueueID]map[uint16]bool)}
}

// Hold keeps what is closed from now on unwritten, until Hold(false).
func (l *Log) Hold(held bool) {
	l.mu.Lock()
	l.held = held
	var sets []*changeSet
	if !held {
		sets, l.closed = l.closed, nil
		for _, s := range sets {
			s.write()
		}
	}
	l.mu.Unlock()
	for _, s := range sets {
		s.done(nil)
	}
}

// HoldMarks keeps marks from now on unwritten, until HoldMarks(false).
func (l *Log) HoldMarks(held bool) {
	l.mu.Lock()
	l.marksHeld = held
	var written []func()
	if !held {
		written, l.marks = l.marks, nil
	}
	l.mu.Unlock()
	for _, fn := range written {
		fn()
	}
}

// Damage makes the stored messages of q unreadable.
func (l *Log) Damage(q core.QueueID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.queues[q].entries {
		e.damaged = true
	}
}

// Busy makes reads fail with core.ErrNotNow, until Busy(false).
func (l *Log) Busy(busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = busy
}

// Len is how many references to q the log holds.
func (l *Log) Len(q core.QueueID) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o := l.queues[q]; o != nil {
		return len(o.entries)
	}
	return 0
}

// Recover is core.MessageLog.
func (l *Log) Recover(known func(core.QueueID) bool, fn func(core.RecoveredLevel) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, q := range l.queues {
		if q.gone || !known(id) {
			delete(l.queues, id)
			continue
		}
		for s, e := range q.entries {
			if !e.m.Persistent || !e.set.written {
				delete(q.entries, s)
			}
		}
		for prio := range q.levels {
			if err := fn(q.recovered(id, prio)); err != nil {
				return err
			}
		}
	}
	return nil
}

// recovered is what q holds of priority prio. The log's lock is held.
func (q *queueLog) recovered(id core.QueueID, prio uint8) core.RecoveredLevel {
	l := q.levels[prio]
	r := core.RecoveredLevel{Queue: id, Priority: prio, Next: l.next, Marked: l.marked}
	for s, e := range q.entries {
		if priority(s) == prio {
			r.Entries = append(r.Entries, core.RecoveredEntry{Seq: s, BodyBytes: uint32(len(e.m.Body)), ExpiresMS: e.expires, Attempts: e.retry})
			if e.slot.Client != 0 {
				r.Held = append(r.Held, e.slot)
			}
		}
	}
	slices.SortFunc(r.Entries, func(a, b core.RecoveredEntry) int { return cmp.Compare(a.Seq, b.Seq) })
	slices.SortFunc(r.Held, func(a, b core.RecoveredSlot) int { return cmp.Compare(a.Seq, b.Seq) })
	return r
}

// priority is the level that s belongs to.
func priority(s core.Seq) uint8 { return uint8(s >> 56) }

// level returns priority prio of q. The log's lock is held.
func (q *queueLog) level(prio uint8) *levelLog {
	l := q.levels[prio]
	if l == nil {
		l = &levelLog{next: core.Seq(prio) << 56}
		q.levels[prio] = l
	}
	return l
}

// OpenQueue is core.MessageLog.
func (l *Log) OpenQueue(id core.QueueID) core.QueueLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queues[id]
	if q == nil {
		q = &queueLog{log: l, entries: make(map[core.Seq]*entry), levels: make(map[uint8]*levelLog)}
		l.queues[id] = q
	}
	return q
}

// Begin is core.MessageLog.
func (l *Log) Begin() core.ChangeSet {
	return &changeSet{log: l, origin: make(map[*core.Message]*core.Message)}
}

// Read is core.MessageLog.
func (l *Log) Read(id core.QueueID, seqs []core.Seq, fn func(int, *core.Message, error)) {
	for i, s := range seqs {
		l.mu.Lock()
		e, busy := l.queues[id].entries[s], l.busy
		l.mu.Unlock()
		switch {
		case busy:
			fn(i, nil, core.ErrNotNow)
		case e == nil:
			fn(i, nil, errors.New("no such entry"))
		case e.damaged:
			fn(i, nil, errors.New("damaged"))
		default:
			m := e.m.Clone()
			m.ExpiresMS, m.ArrivedMS = e.expires, e.m.ArrivedMS
			fn(i, m, nil)
		}
	}
}

// Outstanding is core.MessageLog.
func (l *Log) Outstanding() int64 { return 0 }

// OnPressure is core.MessageLog; this log never has too much.
func (l *Log) OnPressure(func(bool)) {}

// OnState is core.MessageLog; this log never fails.
func (l *Log) OnState(func(error)) {}

// Close is core.MessageLog.
func (l *Log) Close() error { return nil }

// Close is core.ChangeSet.
func (s *changeSet) Close(done func(error)) {
	s.log.mu.Lock()
	s.done = done
	if s.log.held {
		s.log.closed = append(s.log.closed, s)
		s.log.mu.Unlock()
		return
	}
	s.write()
	s.log.mu.Unlock()
	done(nil)
}

func (s *changeSet) write() {
	s.written = true
	for _, settle := range s.settled {
		settle()
	}
}

// Add is core.QueueLog.
func (q *queueLog) Add(set core.ChangeSet, seq core.Seq, m, origin *core.Message) {
	s := set.(*changeSet)
	q.log.mu.Lock()
	defer q.log.mu.Unlock()
	kept := s.origin[origin]
	if kept == nil {
		kept = m.Clone()
		s.origin[origin] = kept
	}
	q.entries[seq] = &entry{m: kept, expires: m.ExpiresMS, set: s}
	l := q.level(priority(seq))
	l.next = max(l.next, seq+1)
}

// Written is core.QueueLog.
func (q *queueLog) Written(prio uint8) core.Seq {
	q.log.mu.Lock()
	defer q.log.mu.Unlock()
	below := q.level(prio).next
	for s, e := range q.entries {
		if priority(s) == prio && !e.set.written {
			below = min(below, s)
		}
	}
	return below
}

// Settle is core.QueueLog.
func (q *queueLog) Settle(seqs []core.Seq) {
	q.log.mu.Lock()
	defer q.log.mu.Unlock()
	for _, s := range seqs {
		delete(q.entries, s)
	}
}

// SettleIn is core.QueueLog.
func (q *queueLog) SettleIn(set core.ChangeSet, seqs []core.Seq) {
	s := set.(*changeSet)
	seqs = slices.Clone(seqs)
	s.settled = append(s.settled, func() {
		for _, seq := range seqs {
			delete(q.entries, seq)
		}
	})
}

// Retry is core.QueueLog.
func (q *queueLog) Retry(_ core.ChangeSet, seq core.Seq, a core.Attempts) {
	q.log.mu.Lock()
	defer q.log.mu.Unlock()
	if e := q.entries[seq]; e != nil {
		e.retry = a
	}
}

// Purge is core.QueueLog.
func (q *queueLog) Purge(prio uint8, upTo core.Seq, survivors []core.Seq) {
	q.log.mu.Lock()
	defer q.log.mu.Unlock()
	for s := range q.entries {
		if priority(s) == prio && s < upTo && !slices.Contains(survivors, s) {
			delete(q.entries, s)
		}
	}
}

// Mark is core.QueueLog.
func (q *queueLog) Mark(prio uint8, upTo core.Seq, written func()) (done bool) {
	q.log.mu.Lock()
	defer q.log.mu.Unlock()
	q.level(prio).marked = upTo
	if q.log.marksHeld && written != nil {
		q.log.marks = append(q.log.marks, written)
		return false
	}
	return true
}

// Drop is core.QueueLog.
func (q *queueLog) Drop() {
	q.log.mu.Lock()
	defer q.log.mu.Unlock()
	q.gone, q.entries = true, nil
}

// Received is core.MessageLog.
func (l *Log) Received(known func(core.QueueID) bool, fn func(core.QueueID, []uint16)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for client, ids := range l.ids {
		if known(client) {
			fn(client, slices.Sorted(maps.Keys(ids)))
		} else {
			delete(l.ids, client)
		}
	}
}

// Receive is core.MessageLog.
func (l *Log) Receive(set core.ChangeSet, client core.QueueID, ids []uint16) {
	l.later(set, func() {
		if l.ids[client] == nil {
			l.ids[client] = make(map[uint16]bool)
		}
		for _, id := range ids {
			l.ids[client][id] = true
		}
	}, &ids)
}

// Forget is core.MessageLog.
func (l *Log) Forget(set core.ChangeSet, client core.QueueID, ids []uint16) {
	all := ids == nil
	l.later(set, func() {
		for _, id := range ids {
			delete(l.ids[client], id)
		}
		if all {
			delete(l.ids, client)
		}
	}, &ids)
}

// later has fn called when set is written. ids, which fn uses, is copied.
func (l *Log) later(set core.ChangeSet, fn func(), ids *[]uint16) {
	*ids = slices.Clone(*ids)
	s := set.(*changeSet)
	l.mu.Lock()
	defer l.mu.Unlock()
	s.settled = append(s.settled, fn)
}

// Hold is core.QueueLog.
func (q *queueLog) Hold(set core.ChangeSet, client core.QueueID, slots []core.Slot, _ bool) {
	slots = slices.Clone(slots)
	q.log.later(set, func() {
		for _, slot := range slots {
			if e := q.entries[slot.Seq]; e != nil {
				e.slot = core.RecoveredSlot{Client: client, Slot: slot}
			}
		}
	}, new([]uint16))
}
