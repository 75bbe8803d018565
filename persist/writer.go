package persist

import (
	"fmt"
	"slices"
	"time"

	"leveret/persist/segment"
	"leveret/persist/vfs"
)

// writer is the one goroutine that writes to segments. It takes all that has
// been handed over, makes a group of it, writes and syncs the group, tells the
// index, and completes the sets. Meanwhile the next group fills: that is the
// whole of group commit, without a timer.
//
// All fields are its own but where it says otherwise.
type writer struct {
	log    *Log
	active *segmentFile
	number uint64 // Of the last group written.
	synced uint64 // Groups up to it are on disk.

	group group
	work  batch // What was swapped.
	spare batch // The arrays for the next swap.
	atSet int   // The first set of work that is not written.
	atN   int   // The first note.
	moves []*moveRecord
	held  bool // Not even what frees space can go on.

	// short says that there is no segment for sets with messages: they wait, and
	// with them what must not be written before them. The rest overtakes them.
	short   bool
	waiting setList
	// deferred are sets with slots whose messages are in sets not yet closed, or
	// waiting, and what must not be written before them.
	deferred setList
	from     *setList // What nextSet returned is in there, nil for work,
	fromAt   int      // at this place.
}

// run writes until the log is closed and everything is written.
func (w *writer) run() {
	l := w.log
	var sync <-chan time.Time
	var ticker *time.Ticker
	if l.o.Sync == SyncInterval {
		ticker = time.NewTicker(l.o.SyncEvery)
		defer ticker.Stop()
		sync = ticker.C
	}
	for {
		select {
		case <-l.wake:
		case <-sync:
			if w.synced != w.number {
				w.sync()
			}
			continue
		}
		for {
			closed := w.take()
			w.short = w.short && !w.roomy()
			if w.idle() || w.held && !w.resume() {
				if closed && (w.idle() && w.waiting.empty() || l.janitor.spaceError() != nil) {
					w.end()
					return
				}
				break
			}
			w.round()
		}
	}
}

// take adds what was handed over to the work left.
func (w *writer) take() (closed bool) {
	l := w.log
	if w.atSet == len(w.work.sets) && w.atN == len(w.work.notes) {
		clear(w.work.sets)
		clear(w.work.notes)
		w.work = batch{sets: w.work.sets[:0], notes: w.work.notes[:0], seqs: w.work.seqs[:0]}
		if cap(w.work.seqs) > 1<<16 {
			w.work.seqs = nil
		}
		w.atSet, w.atN = 0, 0
		closed = l.swap(&w.work)
	} else {
		closed = l.swap(&w.spare)
		w.work.sets = append(w.work.sets, w.spare.sets...)
		shift := len(w.work.seqs)
		w.work.seqs = append(w.work.seqs, w.spare.seqs...)
		for _, n := range w.spare.notes {
			n.from += shift
			n.to += shift
			w.work.notes = append(w.work.notes, n)
		}
		clear(w.spare.sets)
		clear(w.spare.notes)
		w.spare = batch{sets: w.spare.sets[:0], notes: w.spare.notes[:0], seqs: w.spare.seqs[:0]}
	}
	if len(w.moves) == 0 {
		w.moves = l.janitor.takeMoves()
	}
	return closed
}

// idle reports whether there is nothing to do.
func (w *writer) idle() bool {
	return w.atSet == len(w.work.sets) && w.atN == len(w.work.notes) && len(w.moves) == 0 &&
		(w.short || w.waiting.empty()) && w.deferred.ripe() < 0
}

// roomy reports whether sets with messages need not wait any more: the janitor
// has prepared a segment for them, or they will never be written.
func (w *writer) roomy() bool {
	return w.log.failed() != nil || w.log.janitor.ready() > reserved
}

// resume reports whether what is held can go on: the janitor has prepared a
// segment, or knows that it cannot.
func (w *writer) resume() bool {
	j := &w.log.janitor
	frees := w.atN < len(w.work.notes) || len(w.moves) > 0
	return w.log.failed() != nil || j.ready() > 0 || frees && j.spaceError() != nil
}

// round writes the work, group by group, or as much of it as there is room for.
func (w *writer) round() {
	w.held = false
	for !w.idle() && !w.held {
		if err := w.log.failed(); err != nil {
			w.fail(err)
			return
		}
		w.gather()
		w.commit()
	}
}

// gather fills the group with as much as fits into the active segment, rolling
// on to the next one if nothing does.
func (w *writer) gather() {
	w.group.begin(w.active.id, w.active.end)
	w.group.seqs = w.work.seqs
	w.gatherMoves()
	if !w.held {
		w.gatherNotes()
	}
	for len(w.moves) == 0 && w.atN == len(w.work.notes) {
		s := w.nextSet()
		if s == nil {
			return
		}
		if !w.fits(s.size) {
			if w.group.empty() && w.wanted(s) {
				switch {
				case w.roll(s.size, s.refs == 0):
				case s.refs == 0:
					w.held = true
					return
				default:
					w.short = true
					if w.from != &w.waiting {
						w.passSet()
						w.waiting.push(s)
					}
				}
				continue
			} else if w.group.empty() {
				w.passSet()
				w.group.addSet(s) // Nothing; it counts what s waits for.
				w.complete(s, nil)
				continue
			}
			return
		}
		w.passSet()
		if w.group.addSet(s) {
			w.group.sets = append(w.group.sets, s)
		} else {
			w.complete(s, nil)
		}
	}
}

// nextSet returns the set to be written next, or nil. On the way it puts aside
// what is too early, or must wait for space, and what must stay behind that.
func (w *writer) nextSet() *changeSet {
	w.from = nil
	if first := w.waiting.first(); first != nil && (!w.short || !w.wanted(first)) {
		w.from, w.fromAt = &w.waiting, 0
		return first
	}
	for ; w.atSet < len(w.work.sets); w.atSet++ {
		switch s := w.work.sets[w.atSet]; {
		case s.early() || w.deferred.concerns(s):
			w.deferred.push(s)
		case w.waits(s):
			w.waiting.push(s)
		default:
			return s
		}
	}
	for i := w.deferred.ripe(); i >= 0; i = w.deferred.ripe() {
		s := w.deferred.sets[i]
		if !w.waits(s) {
			w.from, w.fromAt = &w.deferred, i
			return s
		}
		w.deferred.remove(i)
		w.waiting.push(s)
	}
	return nil
}

// waits reports whether s must wait for space, or for what does.
func (w *writer) waits(s *changeSet) bool {
	return w.short && (s.refs > 0 || w.waiting.concerns(s))
}

// passSet goes on behind what nextSet returned.
func (w *writer) passSet() {
	if w.from == nil {
		w.atSet++
		return
	}
	w.from.remove(w.fromAt)
}

// wanted reports whether some reference of s is still pending.
func (w *writer) wanted(s *changeSet) bool {
	if len(s.acks) > 0 || len(s.receives) > 0 || slices.ContainsFunc(s.holds, func(h hold) bool { return !h.dead() }) {
		return true
	}
	for i := range s.refs {
		if s.blocks[i/refsPerBlock][i%refsPerBlock].word.Load()&refStates == refPending {
			return true
		}
	}
	return false
}

func (g *group) empty() bool { return g.records == 0 && g.change < 0 }

// fits reports whether n bytes more may go into the group.
func (w *writer) fits(n int64) bool {
	size := w.group.size() + n
	return size <= w.active.room() && (size <= groupBytesMax || w.group.empty())
}

func (w *writer) gatherMoves() {
	for len(w.moves) > 0 {
		m := w.moves[0]
		w.log.stillThere(m)
		if len(m.refs) > 0 {
			if n := segment.Pad(int64(m.bytes())); !w.fits(n) {
				if !w.group.empty() {
					return
				}
				if !w.roll(n, true) {
					// What stays where it is is not lost.
					if w.held = w.log.janitor.spaceError() == nil; !w.held {
						w.moves = nil
					}
					return
				}
			}
			w.group.addMove(m)
		}
		w.moves = w.moves[1:]
	}
}

func (w *writer) gatherNotes() {
	for w.atN < len(w.work.notes) {
		n := &w.work.notes[w.atN]
		seqs := w.work.seqs[n.from:n.to]
		if !n.partial && !slices.IsSorted(seqs) {
			slices.Sort(seqs)
		}
		few := seqs[:min(len(seqs), ackSeqsMax)]
		if w.group.noted += len(few); w.group.noted > notedMax {
			return
		}
		if !w.fits(int64(changeMax + segment.AckBytesMax(len(few)))) {
			if !w.group.empty() {
				return
			}
			if !w.roll(int64(changeMax+segment.AckBytesMax(ackSeqsMax)), true) {
				if w.held = w.log.janitor.spaceError() == nil; !w.held {
					w.applyUnlogged()
				}
				return
			}
			continue
		}
		part := *n
		part.to = n.from + len(few)
		last := part.to == n.to
		switch n.kind {
		case noteAck:
			w.group.addAck(n.queue, few)
		case noteMark:
			w.group.addMark(n.queue, n.upTo)
		case noteDrop:
			w.group.addDrop(n.queue)
		case notePurge:
			// A purge with many survivors is several, each up to its last one.
			from := inLevel(uint8(n.upTo>>56), 0)
			if n.from > 0 && n.partial {
				from = uint64(w.work.seqs[n.from-1]) + 1
			}
			part.upTo, part.after = n.upTo, from
			if !last {
				part.upTo = uint64(few[len(few)-1]) + 1
			}
			w.group.addPurge(n.queue, from, part.upTo, few)
		}
		w.group.notes = append(w.group.notes, part)
		if last {
			w.atN++
		} else {
			n.from, n.partial = part.to, true
		}
	}
}

// applyUnlogged lets notes take effect that no segment has room for. They are
// durable with the next checkpoint, whose slots are there already; until then a
// crash takes them back.
func (w *writer) applyUnlogged() {
	x := &w.log.index
	x.mu.Lock()
	w.group.notes = append(w.group.notes[:0], w.work.notes[w.atN:]...)
	for i := range w.group.notes {
		n := &w.group.notes[i]
		if n.kind == notePurge && n.partial {
			n.after = uint64(w.work.seqs[n.from-1]) + 1
		} else {
			n.after = inLevel(uint8(n.upTo>>56), 0)
		}
		slices.Sort(w.work.seqs[n.from:n.to])
	}
	w.applyNotesLocked()
	x.mu.unlogged++
	x.mu.Unlock()
	tellMarked(w.group.notes)
	w.group.notes = w.group.notes[:0]
	w.atN = len(w.work.notes)
	w.log.janitor.again()
}

// commit writes the group, if there is anything in it, and all that follows
// from that.
func (w *writer) commit() {
	g := &w.group
	if g.empty() {
		return
	}
	length := g.finish(w.number+1, w.synced)
	err := w.write()
	if err == nil {
		w.number++
		if w.active.first == 0 {
			w.active.first = w.number
		}
		w.active.last = w.number
		w.active.end += length
		if g.synced && w.log.o.Sync == SyncAlways {
			err = w.sync()
		}
	}
	if err != nil {
		w.log.poison(err) // Unless it has been.
		err = w.log.failed()
	} else {
		w.apply()
	}
	tellMarked(g.notes)
	for _, s := range g.sets {
		w.complete(s, err)
	}
}

// tellMarked tells those who wait for marks that they are written, or that
// nothing will ever be.
func tellMarked(notes []note) {
	for i := range notes {
		if fn := notes[i].written; fn != nil {
			fn()
		}
	}
}

// write puts the group where it belongs: one write, but for large bodies.
func (w *writer) write() error {
	at := w.group.offset
	for _, p := range w.group.pieces {
		b := p.own
		if b == nil {
			b = w.group.buf[p.from:p.to]
		}
		if _, err := w.active.file.WriteAt(b, at); err != nil {
			return fmt.Errorf("write %s at %d: %w", w.active.name, at, err)
		}
		at += int64(len(b))
	}
	return nil
}

// sync puts all groups written on disk. After a failure nothing is known of
// them, and a second attempt would prove nothing.
func (w *writer) sync() error {
	if err := w.log.syncSegment(w.active, w.active.file); err != nil {
		return err
	}
	w.synced = w.number
	return nil
}

// syncSegment puts s on disk. The system reports a failure once, to whoever
// asks first: the lock keeps the writer from believing a sync behind one of the
// janitor's that failed.
func (l *Log) syncSegment(s *segmentFile, f vfs.File) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if err := l.failed(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		l.poison(fmt.Errorf("sync %s: %w", s.name, err))
		return l.failed()
	}
	return nil
}

// apply tells the index what the group changed.
func (w *writer) apply() {
	g := &w.group
	x := &w.log.index
	x.mu.Lock()
	for _, m := range g.moves {
		w.active.refs += int64(len(m.refs))
		for i, r := range m.refs {
			if i == 0 {
				w.active.side.Begin(m.offset, m.flags, m.body, len(m.refs), r)
			}
			w.active.side.Ref(r)
			x.putLocked(m.queues[i], r.Seq, place{g.id.Number, uint32(m.offset / 8)})
		}
	}
	w.applyNotesLocked()
	for _, s := range g.sets {
		for _, a := range s.acks {
			x.settleSeqsLocked(a.queue, s.seqs[a.from:a.to])
		}
		for i := range s.messages {
			w.applyMessageLocked(&s.messages[i])
		}
		x.applyClientsLocked(s)
	}
	x.mu.applied = position{g.id.Number, w.active.end, w.number}
	x.mu.synced = w.synced
	emptied := x.mu.emptied
	x.mu.emptied = false
	x.mu.Unlock()
	if emptied || len(g.moves) > 0 {
		w.log.janitor.again()
	}
}

func (w *writer) applyMessageLocked(m *message) {
	x := &w.log.index
	left := m.refs
	w.active.refs += int64(left)
	n := 0
	for r := m.first; r != nil; r = r.next {
		e := segment.Ref{Queue: uint32(r.queue.id), Seq: r.seq, ExpiresMS: r.expiresMS}
		if n == 0 {
			n = min(left, segment.RefsMax)
			w.active.side.Begin(int64(r.place)*8, m.flags, m.body, n, e)
		}
		w.active.side.Ref(e)
		n--
		left--
		x.putLocked(r.queue, r.seq, place{w.group.id.Number, r.place})
		r.written()
	}
}

func (w *writer) applyNotesLocked() {
	x := &w.log.index
	notes := w.group.notes
	for i := 0; i < len(notes); i++ {
		n := &notes[i]
		seqs := w.work.seqs[n.from:n.to]
		switch n.kind {
		case noteAck:
			x.settleSeqsLocked(n.queue, seqs)
		case noteMark:
			x.markLocked(n.queue, n.upTo)
		case noteDrop:
			x.dropLocked(n.queue)
		case notePurge:
			// All its parts are one again.
			upTo, to := n.upTo, n.to
			for i+1 < len(notes) && notes[i+1].kind == notePurge && notes[i+1].queue == n.queue &&
				notes[i+1].after == upTo && notes[i+1].from == to {
				i++
				upTo, to = notes[i].upTo, notes[i].to
			}
			survivors := make([]segment.Range, to-n.from)
			for k, s := range w.work.seqs[n.from:to] {
				survivors[k] = segment.Range{From: uint64(s), Len: 1}
			}
			x.purgeLocked(n.queue, n.after, upTo, survivors)
		}
	}
}

// complete tells the publisher of s, once the sets are complete that its
// references moved to. Such a set may come first: its writing does not depend on
// s, which its publisher perhaps has not even closed.
func (w *writer) complete(s *changeSet, err error) {
	s.finished = true
	if err != nil {
		s.err = err
	}
	w.completed(s)
}

func (w *writer) completed(s *changeSet) {
	if !s.finished || s.waits > 0 && s.err == nil {
		return
	}
	for _, r := range s.moved {
		o := r.set
		o.waits--
		if s.err != nil && o.err == nil {
			o.err = s.err
		}
		w.completed(o)
	}
	left := w.log.outstanding.Add(-s.size)
	s.done(s.err)
	if s.err == nil {
		s.recycle()
	} else {
		s.finished = false // Told once; other sets may still refer to it.
	}
	if left <= w.log.o.OutstandingMax/2 && w.log.pressure.over.Load() {
		w.log.press()
	}
}

// fail ends all work with err.
func (w *writer) fail(err error) {
	w.failList(&w.waiting, err)
	for ; w.atSet < len(w.work.sets); w.atSet++ {
		w.complete(w.work.sets[w.atSet], err)
	}
	w.failList(&w.deferred, err)
	tellMarked(w.work.notes[w.atN:])
	w.atN, w.moves = len(w.work.notes), nil
}

func (w *writer) failList(l *setList, err error) {
	for _, s := range l.sets {
		w.complete(s, err)
	}
	*l = setList{}
}

// end leaves the log as Close wants it: all on disk.
func (w *writer) end() {
	if w.atSet < len(w.work.sets) || !w.waiting.empty() {
		w.fail(ErrNoSpace)
	}
	if !w.deferred.empty() {
		w.fail(ErrClosed) // Their messages will never come.
	}
	if w.log.failed() == nil {
		w.sync()
	}
}

// reserved is how many prepared segments publishes leave to what frees space.
const reserved = 1

// roll goes on in the next segment, which has room for a group with need bytes
// in it. It reports false if there is none: then the group must wait. Unless
// freeing, the last prepared segment is left alone.
func (w *writer) roll(need int64, freeing bool) bool {
	j := &w.log.janitor
	keep := reserved
	if freeing {
		keep = 0
	}
	next := j.next(keep)
	if next == nil {
		return false
	}
	if need += segment.HeaderBytes + segment.GroupBytes; need > next.size {
		// A record that is larger than a segment gets one of its own.
		if err := next.file.Preallocate(0, need); err != nil {
			j.giveBack(next, err)
			return false
		}
		next.size, next.recyclable = need, false
	}
	// Groups up to the last of a segment are on disk before the next segment
	// is written: recovery tells a torn tail from damage by it.
	if w.synced != w.number && w.sync() != nil {
		j.giveBack(next, nil)
		return false
	}
	sealed := w.active
	x := &w.log.index
	x.mu.Lock()
	sealed.sealed = true
	x.mu.segments[next.id.Number] = next
	x.mu.Unlock()
	w.active = next
	w.group.begin(next.id, next.end)
	w.group.seqs = w.work.seqs
	j.again()
	return true
}
