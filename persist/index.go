package persist

import (
	"errors"
	"slices"
	"sync"

	"leveret/core"
	"leveret/core/invariant"
	"leveret/persist/segment"
)

// index knows where the messages of every queue lie and which segments are
// still needed. The writer changes it, group by group, once a group is written;
// readers and the janitor look.
type index struct {
	mu struct {
		sync.RWMutex
		queues map[core.QueueID]*queueLog
		order  []*queueLog // The same, some of them perhaps dropped.

		segments map[uint32]*segmentFile
		last     *segmentFile // The one looked up last.
		applied  position     // What is in it.
		synced   uint64       // Groups up to it are on disk.
		pool     chunkPool
		readers  []*segmentFile // Those with a readFile, in the order of opening.

		received map[uint32]map[uint16]struct{} // Ids that clients have received.
		retries  int64                          // Of all queues.
		holds    int64                          // Slots of all queues,
		ids      int64                          // and ids of all clients.

		live     int64 // References.
		chunks   int64
		levels   int64
		detached []*chunk // Purged, but still in the segments' counts.
		unlogged int      // How often it was changed without a record.
		emptied  bool     // A sealed segment is empty or sparse since this was reset.
	}
}

// position is a place between two groups.
type position struct {
	segment uint32
	offset  int64
	group   uint64 // The last one before it.
}

func (x *index) init() {
	x.mu.queues = make(map[core.QueueID]*queueLog)
	x.mu.segments = make(map[uint32]*segmentFile)
	x.mu.received = make(map[uint32]map[uint16]struct{})
}

// open returns the queue's part, making it at the first call.
func (x *index) open(l *Log, id core.QueueID) *queueLog {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.openLocked(l, id)
}

func (x *index) openLocked(l *Log, id core.QueueID) *queueLog {
	q := x.mu.queues[id]
	if q == nil {
		q = &queueLog{log: l, id: id}
		x.mu.queues[id] = q
		x.mu.order = append(x.mu.order, q)
	}
	return q
}

func (x *index) levelLocked(q *queueLog, seq uint64) *level {
	prio := uint8(seq >> 56)
	for i, l := range q.levels {
		if l.prio == prio {
			return l
		}
		if l.prio > prio {
			return x.newLevelLocked(q, i, prio)
		}
	}
	return x.newLevelLocked(q, len(q.levels), prio)
}

func (x *index) newLevelLocked(q *queueLog, i int, prio uint8) *level {
	l := &level{prio: prio, next: inLevel(prio, 0), mark: inLevel(prio, 0)}
	q.levels = slices.Insert(q.levels, i, l)
	x.mu.levels++
	return l
}

func (x *index) segmentLocked(number uint32) *segmentFile {
	if s := x.mu.last; s != nil && s.id.Number == number {
		return s
	}
	s := x.mu.segments[number]
	if s != nil {
		x.mu.last = s
	}
	return s
}

// leaveLocked counts a reference less in a segment.
func (x *index) leaveLocked(number uint32) {
	s := x.segmentLocked(number)
	s.live--
	if s.sealed && (s.live == 0 || s.live == s.refs/sparseShare) {
		x.mu.emptied = true
	}
}

// putLocked says that seq lies at p. It replaces an older place: what a moved
// record was copied from may be gone. It returns where seq stands and what was
// there before, nil for a queue that is gone.
func (x *index) putLocked(q *queueLog, seq uint64, p place) (c *chunk, i int, old place) {
	if q.dropped {
		return nil, 0, place{}
	}
	l := x.levelLocked(q, seq)
	n := len(l.chunks)
	c = l.chunkFor(seq, &x.mu.pool)
	x.mu.chunks += int64(len(l.chunks) - n)
	i = int(seq - c.base)
	old = c.set(i, p)
	x.segmentLocked(p.segment).live++
	if old.offset != 0 {
		x.leaveLocked(old.segment)
	} else {
		x.mu.live++
	}
	if seq >= l.next {
		l.next = seq + 1
	}
	return c, i, old
}

// settleLocked removes the places of the n numbers from seq on, in one level.
func (x *index) settleLocked(q *queueLog, seq, n uint64) {
	if q.dropped || n == 0 {
		return
	}
	l := x.levelLocked(q, seq)
	end := seq + n
	if end > l.next {
		end = l.next // Nothing lies behind; the numbers may be absurd.
	}
	if len(q.slots)+len(q.retries) > 0 {
		x.unholdRangeLocked(q, seq, end)
	}
	for seq < end {
		i, ok := l.chunkOf(seq)
		if i == len(l.chunks) {
			return
		}
		c := l.chunks[i]
		if !ok {
			seq = c.base
			continue
		}
		stop := min(end, c.end())
		x.settleChunkLocked(l, i, int(seq-c.base), int(stop-c.base))
		seq = stop
	}
}

// settleSeqsLocked removes the places of seqs, which ascend.
func (x *index) settleSeqsLocked(q *queueLog, seqs []core.Seq) {
	for len(seqs) > 0 {
		run := 1
		for run < len(seqs) && seqs[run] == seqs[run-1]+1 {
			run++
		}
		x.settleLocked(q, uint64(seqs[0]), uint64(run))
		seqs = seqs[run:]
	}
}

// settleChunkLocked removes entries [from, to) of chunk i, and the chunk with
// its last one.
func (x *index) settleChunkLocked(l *level, i, from, to int) {
	c := l.chunks[i]
	for n := from; n < to; n++ {
		if old := c.set(n, place{}); old.offset != 0 {
			x.leaveLocked(old.segment)
			x.mu.live--
		}
	}
	if c.live == 0 {
		l.remove(i, &x.mu.pool)
		x.mu.chunks--
	}
}

// purgeLocked removes what lies in [from, upTo) but for survivors, which ascend.
// What it takes does not depend on how much is removed: whole chunks are only
// detached, and of those with survivors a copy with nothing else stays; the
// janitor corrects the counts of their segments.
func (x *index) purgeLocked(q *queueLog, from, upTo uint64, survivors []segment.Range) {
	if q.dropped || from >= upTo {
		return
	}
	l := x.levelLocked(q, from)
	// A reference that outlives the purge is written behind it, maybe, and all
	// below upTo have been given.
	if upTo > l.next && upTo <= inLevel(l.prio, 1<<56-1) {
		l.next = upTo
	}
	for i, _ := l.chunkOf(from); i < len(l.chunks) && l.chunks[i].base < upTo; {
		c := l.chunks[i]
		for len(survivors) > 0 && survivors[0].From+survivors[0].Len <= max(from, c.base) {
			survivors = survivors[1:]
		}
		n := 0
		for n < len(survivors) && survivors[n].From < min(upTo, c.end()) {
			n++
		}
		switch {
		case c.base < from || c.end() > upTo:
			x.settleBetweenLocked(l, i, from, upTo, survivors[:n])
		case n > 0:
			x.thinLocked(l, i, survivors[:n])
		default:
			k := i + 1
			for k < len(l.chunks) && l.chunks[k].end() <= upTo && (len(survivors) == 0 || l.chunks[k].end() <= survivors[0].From) {
				k++
			}
			x.detachLocked(l, i, k)
		}
		if i < len(l.chunks) && l.chunks[i].base <= c.base {
			i++ // Something of it is left.
		}
	}
	l.hit = 0
	x.unholdGoneLocked(q)
}

// settleBetweenLocked removes what lies in [from, upTo) of chunk i but for
// survivors.
func (x *index) settleBetweenLocked(l *level, i int, from, upTo uint64, survivors []segment.Range) {
	c := l.chunks[i]
	base, at, upTo := c.base, max(from, c.base), min(upTo, c.end())
	settle := func(end uint64) {
		if at < end && i < len(l.chunks) && l.chunks[i] == c {
			x.settleChunkLocked(l, i, int(at-base), int(end-base))
		}
	}
	for _, k := range survivors {
		settle(min(k.From, upTo))
		at = max(at, k.From+k.Len)
	}
	settle(upTo)
}

// thinLocked puts a copy with nothing but survivors in the place of chunk i, or
// nothing if none of them is there.
func (x *index) thinLocked(l *level, i int, survivors []segment.Range) {
	c := l.chunks[i]
	thin := &chunk{base: c.base, seg0: c.seg0, sizes: c.sizes}
	if c.wide != nil {
		thin.wide = make([]uint64, len(c.wide))
	} else {
		x.mu.pool.lengthen(thin, c.len(), c.end())
	}
	for _, k := range survivors {
		for seq := max(k.From, c.base); seq < min(k.From+k.Len, c.end()); seq++ {
			if p := c.get(int(seq - c.base)); p.offset != 0 {
				thin.set(int(seq-c.base), p)
				x.segmentLocked(p.segment).live++ // Also that of c counts, for now.
			}
		}
	}
	if thin.live == 0 {
		x.mu.pool.give(thin)
		x.detachLocked(l, i, i+1)
		return
	}
	x.mu.live -= int64(c.live - thin.live)
	x.mu.detached = append(x.mu.detached, c)
	l.chunks[i] = thin
}

// detachLocked removes chunks [i, n).
func (x *index) detachLocked(l *level, i, n int) {
	for _, c := range l.chunks[i:n] {
		x.mu.live -= int64(c.live)
	}
	x.mu.detached = append(x.mu.detached, l.chunks[i:n]...)
	x.mu.chunks -= int64(n - i)
	l.chunks = slices.Delete(l.chunks, i, n)
}

// dropLocked removes everything of q.
func (x *index) dropLocked(q *queueLog) {
	if q.dropped {
		return
	}
	for _, l := range q.levels {
		for _, c := range l.chunks {
			x.mu.live -= int64(c.live)
		}
		x.mu.chunks -= int64(len(l.chunks))
		x.mu.detached = append(x.mu.detached, l.chunks...)
	}
	x.mu.levels -= int64(len(q.levels))
	q.levels, q.dropped = nil, true
	x.unholdGoneLocked(q)
	if x.mu.queues[q.id] == q {
		delete(x.mu.queues, q.id)
	}
	if len(x.mu.order) > 64 && len(x.mu.order) > 2*len(x.mu.queues) {
		x.mu.order = slices.DeleteFunc(slices.Clone(x.mu.order), func(q *queueLog) bool { return q.dropped })
	}
}

// correct takes one detached chunk off the counts of the segments. It reports
// false when there was none.
func (x *index) correct() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := len(x.mu.detached)
	if n == 0 {
		return false
	}
	c := x.mu.detached[n-1]
	x.mu.detached[n-1] = nil
	x.mu.detached = x.mu.detached[:n-1]
	if n == 1 {
		x.mu.detached = nil
	}
	for i := range c.len() {
		if p := c.get(i); p.offset != 0 {
			x.leaveLocked(p.segment)
		}
	}
	x.mu.pool.give(c)
	return true
}

func (x *index) markLocked(q *queueLog, upTo uint64) {
	if q.dropped {
		return
	}
	l := x.levelLocked(q, upTo)
	l.mark = upTo
	l.next = max(l.next, upTo)
}

// check panics if the index contradicts itself.
func (x *index) check() {
	if invariant.Enabled {
		if err := x.verify(); err != nil {
			panic("persist: " + err.Error())
		}
	}
}

// verify counts everything again.
func (x *index) verify() error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	counts := make(map[uint32]int64)
	var live, chunks, levels int64
	var bad error
	count := func(c *chunk) (n int32) {
		for i := range c.len() {
			if p := c.get(i); p.offset != 0 {
				n++
				counts[p.segment]++
			}
		}
		if n != c.live || n == 0 {
			bad = errors.New("chunk counted wrong")
		}
		return n
	}
	for _, q := range x.mu.queues {
		for _, l := range q.levels {
			levels++
			end := uint64(0)
			for _, c := range l.chunks {
				if c.base < end || c.end() <= c.base || c.len() > chunkMax {
					return errors.New("chunks overlap")
				}
				end = c.end()
				chunks++
				live += int64(count(c))
			}
			if n := len(l.chunks); n > 0 && l.next < l.chunks[n-1].base {
				return errors.New("next number too low")
			}
		}
	}
	var holds int64
	for _, q := range x.mu.queues {
		for seq := range q.slots {
			if holds++; q.placeLocked(seq).offset == 0 {
				return errors.New("slot of an entry that is gone")
			}
		}
	}
	var retries int64
	for _, q := range x.mu.queues {
		for seq := range q.retries {
			if retries++; q.placeLocked(seq).offset == 0 {
				return errors.New("a message that is gone was given back")
			}
		}
	}
	if retries != x.mu.retries {
		return errors.New("messages that were given back counted wrong")
	}
	if holds != x.mu.holds {
		return errors.New("slots counted wrong")
	}
	if live != x.mu.live || chunks != x.mu.chunks || levels != x.mu.levels {
		return errors.New("index counted wrong")
	}
	for _, c := range x.mu.detached {
		count(c)
	}
	for number, s := range x.mu.segments {
		if s.live != counts[number] {
			return errors.New("segment counted wrong")
		}
		delete(counts, number)
	}
	if len(counts) != 0 {
		return errors.New("places in segments that are gone")
	}
	return bad
}
