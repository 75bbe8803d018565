package persist

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"leveret/core"
	"leveret/persist/segment"
	"leveret/persist/vfs"
)

// recovery builds the index from what is on disk. It changes no file: that is
// left to OpenLog, so that Check can look at a log without touching it.
//
//	checkpoint (live numbers after group G)
//	   |
//	segments up to G:   sidecar, else every group; only what is live counts
//	segments behind G:  every group, applied in order
//	   |
//	what is live and was not found is missing
type recovery struct {
	log      *Log
	fs       vfs.FS
	report   *Report
	slots    slots
	live     *liveSet
	base     segment.CheckpointInfo
	found    int64 // Of live, those that have a place.
	files    []*scannedFile
	empty    []*scannedFile // Behind the last group: prepared, not used.
	aside    []*scannedFile // Their headers cannot be read.
	temps    []string
	free     []string
	last     uint64 // The last group that counts.
	at       position
	torn     bool // What follows the last group is not clean.
	numberUp uint32
	flag     int // To open checkpoints with.
}

// scannedFile is a segment while recovering.
type scannedFile struct {
	*segmentFile
	size   int64
	groups []segment.Found // As far as they were read one by one.
	good   []bool          // Whether every record of the group is.
	gaps   map[int]int64   // Where the damage before group i begins.
	stop   int64           // Where the last one ends.
}

// list sorts what is in the directory.
func (r *recovery) list() error {
	l := r.log
	names, err := r.fs.ReadDir(l.dir)
	if err != nil {
		return fmt.Errorf("open message log: %w", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, tempSuffix) {
			r.temps = append(r.temps, l.path(name))
		} else if n, ok := parseNumber(name, freeSuffix); ok {
			r.free = append(r.free, l.path(name))
			r.numberUp = max(r.numberUp, n)
		} else if n, ok := parseNumber(name, segmentSuffix); ok {
			r.numberUp = max(r.numberUp, n)
			if err := r.header(n, l.path(name)); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(r.files, func(a, b *scannedFile) int { return int(int64(a.id.Number) - int64(b.id.Number)) })
	return nil
}

// header reads the header of segment number.
func (r *recovery) header(number uint32, name string) error {
	f, err := r.fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	b := make([]byte, segment.HeaderBytes)
	n, _ := f.ReadAt(b, 0)
	s := &scannedFile{size: size, segmentFile: &segmentFile{name: name, size: size, end: segment.HeaderBytes, sealed: true}}
	s.id, err = segment.ParseHeader(b[:n])
	if errors.Is(err, segment.ErrVersion) {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err == nil && s.id.Number != number {
		err = fmt.Errorf("header of segment %d: %w", s.id.Number, segment.ErrCorrupt)
	}
	if err != nil {
		r.damage(name, 0, segment.HeaderBytes, err)
		// The sidecar knows the salt as well.
		b, sideErr := vfs.ReadFile(r.fs, r.log.path(sidecarName(number)))
		if sideErr == nil {
			var info segment.SidecarInfo
			if info, sideErr = segment.ParseSidecar(b); sideErr == nil && info.Number == number {
				s.id, s.linked = info.Identity, true
			}
		}
		if !s.linked {
			r.aside = append(r.aside, s)
			return nil
		}
	}
	r.files = append(r.files, s)
	r.log.index.mu.segments[number] = s.segmentFile
	return nil
}

func (r *recovery) damage(file string, offset, length int64, err error) {
	r.report.Damage = append(r.report.Damage, Damage{file, offset, length, err})
}

// run reads everything.
func (r *recovery) run() error {
	if err := r.list(); err != nil {
		return err
	}
	c, err := r.slots.open(r.log, r.flag, func(name string, err error) { r.damage(r.log.path(name), 0, 0, err) })
	if err != nil {
		return err
	}
	r.live = newLiveSet(c)
	if c != nil {
		r.base = c.CheckpointInfo
		r.report.Checkpoint = c.Group
	}
	x := &r.log.index
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, l := range r.live.levels {
		level := x.levelLocked(x.openLocked(r.log, core.QueueID(l.Queue)), inLevel(l.Priority, 0))
		level.next, level.mark = l.Next, l.Mark
	}
	if c != nil {
		r.clients(c)
	}
	r.last = r.base.Group
	r.at = position{r.base.Segment, r.base.Offset, r.base.Group}

	var scan []*scannedFile
	for _, s := range r.files {
		ok, err := r.sidecar(s)
		if err != nil {
			return err
		}
		if !ok {
			scan = append(scan, s)
		}
	}
	if err := r.scan(scan); err != nil {
		return err
	}
	if err := r.apply(scan); err != nil {
		return err
	}
	r.findMissing()
	for _, q := range x.mu.queues {
		x.unholdGoneLocked(q)
	}
	r.report.Groups = r.last
	r.report.Segments = len(r.files)
	r.report.Messages = x.mu.live
	return nil
}

// sidecar takes the places of a segment that the checkpoint covers from its
// sidecar. It reports false if the segment must be read itself.
func (r *recovery) sidecar(s *scannedFile) (bool, error) {
	n := s.id.Number
	if n > r.base.Segment || n == r.base.Segment && !r.base.Clean {
		return false, nil
	}
	name := r.log.path(sidecarName(n))
	b, err := vfs.ReadFile(r.fs, name)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	var info segment.SidecarInfo
	if err == nil {
		info, err = segment.ParseSidecar(b)
	}
	if errors.Is(err, segment.ErrVersion) {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	if err != nil || info.Identity != s.id || info.Last > r.base.Group || n == r.base.Segment && info.Last != r.base.Group {
		return false, nil // Perhaps it was never complete. The segment tells as much.
	}
	x := &r.log.index
	var q *queueLog
	var block *segment.Block // That of the entry before.
	var queue uint32         // Of block.
	err = segment.EachEntry(b, func(e *segment.SidecarEntry) {
		if block == nil || queue != e.Queue || e.Seq < block.Base || e.Seq >= block.Base+block.Span {
			block, queue = r.live.block(e.Queue, e.Seq), e.Queue
		}
		if block == nil || !block.Has(e.Seq-block.Base) {
			return
		}
		if e.Flags&segment.FlagTransient != 0 {
			r.live.settle(e.Queue, e.Seq, e.Seq+1, func(uint64) {})
			return
		}
		if q == nil || uint32(q.id) != e.Queue {
			q = x.openLocked(r.log, core.QueueID(e.Queue))
		}
		r.put(q, e.Seq, place{n, uint32(e.Offset / 8)}, e.BodyBytes, e.ExpiresMS, true)
	})
	if err != nil {
		r.damage(name, 0, 0, err)
		return false, nil
	}
	s.end, s.first, s.last, s.unknown, s.refs, s.indexed = info.End, info.First, info.Last, info.Unknown, int64(info.Entries), true
	return true, nil
}

// put says that seq lies at p; live, that the checkpoint has it.
func (r *recovery) put(q *queueLog, seq uint64, p place, body uint32, expiresMS int64, live bool) {
	x := &r.log.index
	c, i, old := x.putLocked(q, seq, p)
	if c == nil {
		return
	}
	if live && old.offset == 0 {
		r.found++
	}
	c.setSize(i, body)
	if expiresMS != 0 {
		l := x.levelLocked(q, seq)
		if l.expires == nil {
			l.expires = make(map[uint64]int64)
		}
		l.expires[seq] = expiresMS
	}
}

// scan finds the groups of segments, and the gaps between them.
func (r *recovery) scan(files []*scannedFile) error {
	for _, s := range files {
		if err := r.scanFile(s, func(w *segment.Window) { r.chain(w, s, segment.HeaderBytes, 0) }); err != nil {
			return err
		}
	}
	// Where numbers go on in the next segment, nothing is missing between. At
	// the end of the log, or before a gap, look for groups behind a bad one:
	// in the last segment with groups, and in the one that would be next.
	before := uint64(0) // The last number up to here.
	for i, s := range files {
		next := uint64(0)
		for _, t := range files[i+1:] {
			if len(t.groups) > 0 {
				next = t.groups[0].Number
				break
			}
		}
		if n := len(s.groups); n > 0 {
			before = s.groups[n-1].Number
		}
		empty := len(s.groups) == 0
		switch {
		case empty && s.id.Number <= r.base.Segment:
			// It had some when the checkpoint was made.
		case next != 0 && next == before+1:
			continue
		case next == 0 && empty && i > 0 && len(files[i-1].groups) == 0 && files[i-1].id.Number > r.base.Segment:
			continue
		case next == 0 && r.base.Clean && max(before, r.base.Group) == r.base.Group:
			continue
		}
		if err := r.scanFile(s, func(w *segment.Window) { r.search(w, s, before) }); err != nil {
			return err
		}
		if n := len(s.groups); n > 0 {
			before = s.groups[n-1].Number
		}
	}
	r.dropStale()
	return nil
}

// dropStale forgets groups whose numbers were given again in a later segment:
// they are behind a torn one, and the log was cut before them already.
func (r *recovery) dropStale() {
	next := uint64(1<<64 - 1)
	for _, s := range slices.Backward(r.files) {
		n := len(s.groups)
		for n > 0 && s.groups[n-1].Number >= next {
			n--
		}
		s.groups, s.good = s.groups[:n], s.good[:n]
		if n > 0 {
			next = s.groups[0].Number
		} else if s.first != 0 {
			next = s.first
		}
	}
}

func (r *recovery) scanFile(s *scannedFile, fn func(w *segment.Window)) error {
	f, err := r.fs.OpenFile(s.name, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	defer f.Close()
	w := segment.NewWindow(f, s.size)
	fn(w)
	if w.Err() != nil {
		// What the disk does not give is damage like any other.
		r.damage(s.name, s.stop, 0, w.Err())
	}
	return nil
}

// chain reads groups from offset on while one follows the other.
func (r *recovery) chain(w *segment.Window, s *scannedFile, offset int64, number uint64) {
	s.stop = offset
	for {
		g, ok := w.GroupAt(s.id, s.stop)
		if !ok || number != 0 && g.Number != number {
			return
		}
		number = g.Number + 1
		s.groups = append(s.groups, g)
		s.good = append(s.good, w.Verify(s.id, &g))
		s.stop = g.End()
	}
}

// search looks for groups behind what ends the chain of s.
func (r *recovery) search(w *segment.Window, s *scannedFile, before uint64) {
	s.stop = max(s.stop, segment.HeaderBytes)
	for {
		if n := len(s.groups); n > 0 {
			before = s.groups[n-1].Number
		}
		g, ok := w.Search(s.id, s.stop, before+1)
		if !ok {
			return
		}
		if s.gaps == nil {
			s.gaps = make(map[int]int64)
		}
		s.gaps[len(s.groups)] = s.stop
		r.chain(w, s, g.Offset, g.Number)
	}
}

// apply applies the groups that were found, up to where the log is torn.
func (r *recovery) apply(files []*scannedFile) error {
	// Groups up to synced were on disk once: where one of them is bad it was
	// damaged. Behind it a bad one was never complete, and nobody was told
	// that it is.
	synced := r.base.Group
	for _, s := range files {
		for _, g := range s.groups {
			synced = max(synced, g.Synced)
		}
	}
	before := r.base.Group
	for _, s := range files {
		if err := r.applyFile(s, synced, &before); err != nil {
			return err
		}
	}
	if before = max(before, r.base.Group); synced > before && !r.torn {
		r.damage(r.log.dir, 0, 0, fmt.Errorf("groups %d to %d are gone: %w", before+1, synced, segment.ErrCorrupt))
	}
	// Segments behind the last group were prepared and never used.
	for _, s := range files {
		if s.first == 0 && s.id.Number > r.at.segment {
			r.empty = append(r.empty, s)
		}
	}
	return nil
}

// applyFile applies the groups of s. before is the last number so far.
//
// Between two segments numbers may be missing whose segments have been let go
// of: all up to the checkpoint's, or any if there is no checkpoint.
func (r *recovery) applyFile(s *scannedFile, synced uint64, before *uint64) error {
	damaged := false
	err := r.scanFile(s, func(w *segment.Window) {
		for i := range s.groups {
			g := &s.groups[i]
			from, gap := s.gaps[i]
			if i == 0 {
				if r.base.Number == 0 || g.Number <= r.base.Group+1 {
					*before = g.Number - 1
				}
				from = segment.HeaderBytes
			}
			gap = gap || g.Number != *before+1
			switch {
			case r.torn || (gap || !s.good[i]) && *before+1 > synced:
				r.torn = true
				r.report.TornBytes += int64(g.Length)
				continue
			case gap:
				damaged = true
				if from == 0 {
					from = g.Offset
				}
				r.damage(s.name, from, g.Offset-from, fmt.Errorf("groups %d to %d: %w", *before+1, g.Number-1, segment.ErrCorrupt))
			}
			*before = g.Number
			r.report.Scanned++
			w.Records(s.id, g, func(rec *segment.Record, offset int64) bool {
				r.record(s, g.Number, rec, offset)
				return true
			}, func(offset, length int64, err error) {
				damaged = true
				r.damage(s.name, offset, length, err)
			})
			if s.first == 0 {
				s.first = g.Number
			}
			s.last, s.end = g.Number, g.End()
			if g.Number >= r.last {
				r.last = g.Number
				r.at = position{s.id.Number, s.end, g.Number}
			}
		}
	})
	if damaged {
		s.linked = true
	}
	return err
}

// record applies one record of group number.
func (r *recovery) record(s *scannedFile, number uint64, rec *segment.Record, offset int64) {
	x := &r.log.index
	covered := number <= r.base.Group
	if rec.IsMessage() {
		for i := range rec.Refs {
			ref := rec.Ref(i)
			if i == 0 {
				s.side.Begin(offset, rec.Flags, rec.BodyBytes, rec.Refs, ref)
			}
			s.side.Ref(ref)
			s.refs++
			if rec.Flags&segment.FlagTransient != 0 {
				r.live.settle(ref.Queue, ref.Seq, ref.Seq+1, func(uint64) {})
			}
			q := x.openLocked(r.log, core.QueueID(ref.Queue))
			live := r.live.has(ref.Queue, ref.Seq)
			if rec.Flags&segment.FlagTransient != 0 || covered && !live {
				// Its number is used up all the same.
				l := x.levelLocked(q, ref.Seq)
				l.next = max(l.next, ref.Seq+1)
				continue
			}
			r.put(q, ref.Seq, place{s.id.Number, uint32(offset / 8)}, rec.BodyBytes, ref.ExpiresMS, live)
		}
		return
	}
	if rec.Kind < segment.KindMessage || rec.Kind > segment.KindLast {
		s.unknown = true
		return
	}
	if covered {
		return
	}
	settle := func(queue uint32, from, end uint64) {
		q := x.openLocked(r.log, core.QueueID(queue))
		r.live.settle(queue, from, end, func(seq uint64) {
			if q.placeLocked(seq).offset != 0 {
				r.found--
			}
		})
	}
	changes := segment.Changes{
		Ack: func(queue uint32, ranges []segment.Range) {
			q := x.openLocked(r.log, core.QueueID(queue))
			for _, a := range ranges {
				settle(queue, a.From, a.From+a.Len)
				x.settleLocked(q, a.From, a.Len)
			}
		},
		Mark: func(queue uint32, upTo uint64) {
			x.markLocked(x.openLocked(r.log, core.QueueID(queue)), upTo)
		},
		Purge: func(queue uint32, from, upTo uint64, survivors []segment.Range) {
			at := from
			for _, k := range survivors {
				if k.From > at {
					settle(queue, at, min(k.From, upTo))
				}
				at = max(at, k.From+k.Len)
			}
			if at < upTo {
				settle(queue, at, upTo)
			}
			if from>>56 == (upTo-1)>>56 {
				x.purgeLocked(x.openLocked(r.log, core.QueueID(queue)), from, upTo, survivors)
			}
		},
		Drop: func(queue uint32) {
			for prio := range uint64(256) {
				settle(queue, prio<<56, prio<<56|(1<<56-1))
			}
			x.dropLocked(x.openLocked(r.log, core.QueueID(queue)))
		},
		Retry: func(retry segment.Retry) {
			x.retryLocked(x.openLocked(r.log, core.QueueID(retry.Queue)), retry)
		},
		Hold: func(h segment.Hold) {
			x.holdLocked(x.openLocked(r.log, core.QueueID(h.Queue)), h.Seq, slot{h.Client, h.Value})
		},
		Receive: x.receiveLocked,
	}
	if err := changes.Apply(rec); err != nil {
		r.damage(s.name, offset, int64(len(rec.Data)+segment.RecordBytes), err)
		s.linked = true
	}
}

// findMissing reports what must be there and is not.
func (r *recovery) findMissing() {
	if r.live.count() == r.found {
		return
	}
	x := &r.log.index
	for _, l := range r.live.levels {
		q := x.openLocked(r.log, core.QueueID(l.Queue))
		m := Missing{Queue: core.QueueID(l.Queue)}
		for _, b := range l.Live {
			for i := range b.Span {
				if b.Has(i) && q.placeLocked(b.Base+i).offset == 0 {
					if m.Count++; m.Count == 1 {
						m.First = core.Seq(b.Base + i)
					}
				}
			}
		}
		if m.Count > 0 {
			r.report.Missing = append(r.report.Missing, m)
		}
	}
}

// bodySizes are the lengths of the bodies in a chunk, until Recover has
// reported them. Most often they are all the same.
type bodySizes struct {
	all  uint32
	each []uint32
}

func (c *chunk) setSize(i int, size uint32) {
	if c.sizes == nil {
		c.sizes = &bodySizes{all: size}
	}
	if c.sizes.each == nil && c.sizes.all != size {
		c.sizes.each = make([]uint32, chunkMax)
		for k := range c.sizes.each {
			c.sizes.each[k] = c.sizes.all
		}
	}
	if c.sizes.each != nil {
		c.sizes.each[i] = size
	}
}

func (c *chunk) sizeOf(i int) uint32 {
	switch {
	case c.sizes == nil:
		return 0
	case c.sizes.each != nil:
		return c.sizes.each[i]
	}
	return c.sizes.all
}
