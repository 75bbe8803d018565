package persist

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"leveret/core"
	"leveret/persist/segment"
	"leveret/persist/vfs"
)

// A segment that holds few live messages costs as much disk as a full one. Its
// survivors are copied forward, as MOVE records, and the segment goes with the
// next checkpoint.
//
// The janitor reads them, from a segment that cannot change; the writer decides
// when it puts them into a group which references are still there, so that what
// was settled meanwhile does not come back.
const (
	// A segment is sparse when no more than one in sparseShare references is
	// live, or one in crowdedShare when the log is twice what lives in it.
	sparseShare  = 4
	crowdedShare = 2
	// smallMax segments may be small, from starts that little was written
	// after. More are made into one.
	smallMax = 8
	// sparseFor is how long a segment of the usual size must have been as
	// sparse as it is; a smaller one is drained sooner.
	sparseFor = time.Second
	// moveBytesMax bounds what is moved in one group, beside what is published.
	moveBytesMax = 1 << 20
)

// moveRecord is a record to be copied.
type moveRecord struct {
	from    place
	flags   uint8
	body    uint32
	refs    []segment.Ref // Those still there, once the writer has looked.
	queues  []*queueLog   // Of refs.
	content []byte        // With the body.
	offset  int64         // Of the copy.
}

func (m *moveRecord) bytes() int {
	n := segment.RefBytes
	if m.flags&segment.FlagTimed != 0 {
		n = segment.TimedRefBytes
	}
	return segment.RecordBytes + n*len(m.refs) + len(m.content)
}

// sparse is a segment under compaction.
type sparse struct {
	file    *segmentFile
	offsets []int64 // Of the records that still are to be copied, ascending.
}

// stillThere drops the references of m that are no longer where it was read.
func (l *Log) stillThere(m *moveRecord) {
	x := &l.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	refs, queues := m.refs, m.queues
	m.refs, m.queues = m.refs[:0], m.queues[:0]
	for i, r := range refs {
		if x.placeLocked(core.QueueID(r.Queue), r.Seq) == m.from {
			m.refs = append(m.refs, r)
			m.queues = append(m.queues, queues[i])
		}
	}
}

func (x *index) placeLocked(id core.QueueID, seq uint64) place {
	q := x.mu.queues[id]
	if q == nil {
		return place{}
	}
	return q.placeLocked(seq)
}

func (q *queueLog) placeLocked(seq uint64) place {
	for _, l := range q.levels {
		if l.prio == uint8(seq>>56) {
			return l.get(seq)
		}
	}
	return place{}
}

// compact hands the writer the next records of a sparse segment.
func (j *janitor) compact() error {
	j.mu.Lock()
	busy := len(j.mu.moves) > 0
	j.mu.Unlock()
	if busy {
		return nil
	}
	l := j.log
	for {
		if j.sparse != nil && l.index.emptied(j.sparse.file) {
			j.sparse = nil // Nothing is left to be copied; it may be removed already.
		}
		if j.sparse == nil {
			s, later := j.choose()
			if j.later = later; s == nil {
				return nil
			}
			c, err := l.survivors(s)
			if err != nil {
				l.o.Logger.Warn("message log: cannot compact a segment", "file", s.name, "error", err)
				l.index.done(s)
				continue
			}
			j.sparse = c
		}
		moves, err := l.readMoves(j.sparse)
		if err != nil {
			l.o.Logger.Warn("message log: cannot compact a segment", "file", j.sparse.file.name, "error", err)
			j.sparse.offsets = nil
		}
		if len(j.sparse.offsets) == 0 {
			l.index.done(j.sparse.file)
			j.sparse = nil
		}
		if len(moves) > 0 {
			j.mu.Lock()
			j.mu.moves = moves
			j.mu.Unlock()
			l.wakeWriter()
			return nil
		}
	}
}

// choose returns the emptiest segment that is worth copying, or nil. One that
// consumers are draining will be empty soon, and is left alone; later is true if
// there is one to be looked at again.
func (j *janitor) choose() (s *segmentFile, later bool) {
	hurry := j.spaceError() != nil
	x := &j.log.index
	x.mu.Lock()
	defer x.mu.Unlock()
	var size, live float64
	small := 0
	share := func(s *segmentFile) float64 { return float64(s.live) / float64(max(s.refs, 1)) }
	for _, s := range x.mu.segments {
		size += float64(s.size)
		live += float64(s.size) * share(s)
		if j.small(s) {
			small++
		}
	}
	sparse := 1.0 / sparseShare
	if size > 2*live && size > 8*float64(j.log.o.SegmentBytes) {
		sparse = 1.0 / crowdedShare
	}
	var best *segmentFile
	for _, s := range x.mu.segments {
		if !s.sealed || !s.indexed || s.unknown || s.moving || s.live == 0 {
			continue
		}
		if share(s) > sparse && !(small > smallMax && j.small(s)) {
			continue
		}
		if s.sparseLive == 0 || s.live < s.sparseLive-s.sparseLive/16 {
			s.sparseSince, s.sparseLive = time.Now(), s.live
		}
		if !hurry && time.Since(s.sparseSince) < j.log.sparseFor() {
			later = true
		} else if best == nil || share(s) < share(best) {
			best = s
		}
	}
	return best, later
}

// small reports whether s is one of those that a start leaves behind when the
// run before it wrote little.
func (j *janitor) small(s *segmentFile) bool {
	return s.sealed && s.indexed && !s.linked && s.size < j.log.o.SegmentBytes/trimShare
}

func (l *Log) sparseFor() time.Duration {
	return time.Duration(float64(sparseFor) * float64(l.o.SegmentBytes) / segmentBytesDefault)
}

// emptied reports whether nothing in s is live.
func (x *index) emptied(s *segmentFile) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return s.live == 0
}

// done keeps s from being chosen again.
func (x *index) done(s *segmentFile) {
	x.mu.Lock()
	s.moving = true
	x.mu.Unlock()
}

// survivors finds the records of s that hold live references.
func (l *Log) survivors(s *segmentFile) (*sparse, error) {
	b, err := vfs.ReadFile(l.fs, l.path(sidecarName(s.id.Number)))
	if err != nil {
		return nil, err
	}
	if info, err := segment.ParseSidecar(b); err != nil || info.Identity != s.id {
		return nil, fmt.Errorf("sidecar of another segment, or none: %w", cmp.Or(err, segment.ErrCorrupt))
	}
	c := &sparse{file: s}
	x := &l.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := 0
	err = segment.EachEntry(b, func(e *segment.SidecarEntry) {
		if n++; n%1024 == 0 {
			x.mu.RUnlock() // Let the writer in.
			x.mu.RLock()
		}
		at := place{s.id.Number, uint32(e.Offset / 8)}
		if x.placeLocked(core.QueueID(e.Queue), e.Seq) == at {
			if k := len(c.offsets); k == 0 || c.offsets[k-1] != e.Offset {
				c.offsets = append(c.offsets, e.Offset)
			}
		}
	})
	slices.Sort(c.offsets)
	return c, err
}

// readMoves reads the next records of c. What cannot be read stays where it is.
func (l *Log) readMoves(c *sparse) ([]*moveRecord, error) {
	x := &l.index
	x.mu.Lock()
	c.file.pins++
	x.mu.Unlock()
	defer l.unpin([]located{{file: c.file}})
	f, err := l.fileOf(c.file)
	if err != nil {
		return nil, err
	}
	w := segment.NewWindow(f, c.file.end)
	var moves []*moveRecord
	for bytes := 0; len(c.offsets) > 0 && bytes < moveBytesMax; {
		offset := c.offsets[0]
		c.offsets = c.offsets[1:]
		var r segment.Record
		var length int64
		if head := w.Bytes(offset, segment.RecordBytes); len(head) == segment.RecordBytes {
			length = segment.RecordLength(head)
		}
		r, err := segment.ParseRecord(w.Bytes(offset, length), c.file.id, offset)
		if err != nil {
			l.corrupt.Add(1)
			l.setAside(c.file, offset, err)
			continue
		}
		m := &moveRecord{from: place{c.file.id.Number, uint32(offset / 8)}, flags: r.Flags, body: r.BodyBytes}
		for i := range r.Refs {
			ref := r.Ref(i)
			x.mu.RLock()
			q := x.mu.queues[core.QueueID(ref.Queue)]
			x.mu.RUnlock()
			if q != nil {
				m.refs = append(m.refs, ref)
				m.queues = append(m.queues, q)
			}
		}
		m.content = slices.Clone(r.ContentData())
		bytes += m.bytes()
		moves = append(moves, m)
	}
	return moves, w.Err()
}

// choosable lets segments be tried again that done was called for.
func (x *index) choosable() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.mu.segments {
		s.moving = false
	}
}
