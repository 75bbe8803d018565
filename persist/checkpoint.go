package persist

import (
	"slices"

	"leveret/persist/segment"
)

// A checkpoint is the state after some group: for every level the next number,
// the mark and the numbers that are live. It is read off the index while the
// writer goes on, a few chunks at a time, and may therefore hold some of what
// later groups did. That does no harm, since applying a record twice is the
// same as once: recovery starts from the checkpoint and applies everything
// behind its group. What counts is that it is written only when all groups it
// might have seen are on disk, and that only segments which were empty when it
// was begun are let go of.

// writeCheckpoint writes one and removes the segments that it makes needless,
// of which it returns the number.
func (j *janitor) writeCheckpoint(clean bool) (freed int, err error) {
	l := j.log
	x := &l.index
	x.mu.RLock()
	at, unlogged := x.mu.applied, x.mu.unlogged
	var empty []*segmentFile
	for _, s := range x.mu.segments {
		if s.sealed && s.live == 0 && !s.unknown && s.id.Number != at.segment {
			empty = append(empty, s)
		}
	}
	queues := x.mu.order
	x.mu.RUnlock()

	w := &j.slots.writer
	w.Begin(j.slots.kept)
	var e levelEncoder
	for _, q := range queues {
		e.queue(x, w, q)
	}
	w.Clients(x.clients(queues))
	w.Retries(x.retriesOf(queues))
	if err := l.syncApplied(); err != nil {
		return 0, err
	}
	b := w.Finish(segment.CheckpointInfo{
		Number: j.slots.number + 1, Group: at.group, Segment: at.segment, Offset: at.offset, Clean: clean,
	})
	if err := j.slots.put(l, b); err != nil {
		return 0, err
	}
	j.slots.number++
	j.rolled, j.checkpoint = at.segment, false
	x.mu.Lock()
	x.mu.unlogged -= unlogged
	x.mu.Unlock()
	return j.remove(empty)
}

// syncApplied puts all groups on disk that the index knows of. Those of earlier
// segments are already.
func (l *Log) syncApplied() error {
	x := &l.index
	x.mu.RLock()
	s, synced := x.mu.segments[x.mu.applied.segment], x.mu.synced == x.mu.applied.group
	x.mu.RUnlock()
	if synced || s == nil || s.file == nil {
		return nil // If there is no file, it was sealed, and synced for that.
	}
	return l.syncSegment(s, s.file)
}

// levelEncoder encodes levels, looking at a few chunks each time it holds the
// index's lock.
type levelEncoder struct {
	bits [chunkMax / 64]uint64
}

const chunksAtOnce = 32

func (e *levelEncoder) queue(x *index, w *segment.CheckpointWriter, q *queueLog) {
	for prio := 0; ; prio++ {
		x.mu.RLock()
		i, _ := slices.BinarySearchFunc(q.levels, prio, func(l *level, p int) int { return int(l.prio) - p })
		if i == len(q.levels) {
			x.mu.RUnlock()
			return
		}
		l := q.levels[i]
		prio = int(l.prio)
		e.level(x, w, q, l)
		x.mu.RUnlock()
	}
}

// level adds l. The lock is held, but for moments.
func (e *levelEncoder) level(x *index, w *segment.CheckpointWriter, q *queueLog, l *level) {
	w.Level(uint32(q.id), l.prio, l.next, l.mark)
	at := uint64(0) // Numbers below are done.
	for {
		i, _ := l.chunkAt(at)
		for k := 0; i < len(l.chunks) && k < chunksAtOnce; i, k = i+1, k+1 {
			e.chunk(w, l.chunks[i], at)
			at = l.chunks[i].end()
		}
		if i >= len(l.chunks) {
			break
		}
		x.mu.RUnlock()
		x.mu.RLock()
	}
	w.EndLevel()
}

// chunk adds the live entries of c that are not below at.
func (e *levelEncoder) chunk(w *segment.CheckpointWriter, c *chunk, at uint64) {
	if int(c.live) == c.len() && at <= c.base {
		w.Block(c.base, uint64(c.live), nil)
		return
	}
	from := 0
	if at > c.base {
		from = int(at - c.base)
	}
	span := 0 // Up to the last live entry.
	live := 0
	for i := from; i < c.len(); i++ {
		if c.present(i) {
			if live == 0 {
				from = i
				clear(e.bits[:])
			}
			live++
			span = i - from + 1
			e.bits[(i-from)/64] |= 1 << ((i - from) % 64)
		}
	}
	switch {
	case live == 0:
	case live == span:
		w.Block(c.base+uint64(from), uint64(span), nil)
	default:
		w.Block(c.base+uint64(from), uint64(span), e.bits[:])
	}
}
