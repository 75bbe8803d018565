package persist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"leveret/core"
	"leveret/persist/segment"
	"leveret/persist/vfs"
)

// OpenLog opens the log in dir, making the directory if need be, and brings
// back what it holds. It starts two goroutines, the writer and the janitor,
// which Close ends.
//
// A directory that another process has open is a *vfs.LockedError; one that a
// newer version wrote, a segment.ErrVersion. Damage is no error: what is damaged
// is set aside, logged and listed in Opened, everything else is served. Nor is
// a full disk: then OnState reports ErrNoSpace.
func OpenLog(fsys vfs.FS, dir string, o LogOptions) (*Log, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open message log: %w", err)
	}
	l := newLog(fsys, dir, o)
	lock, err := fsys.Lock(l.path(lockName))
	if err != nil {
		return nil, fmt.Errorf("open message log: %w", err)
	}
	l.lock = lock
	if err := l.open(); err != nil {
		l.closeFiles()
		return nil, errors.Join(err, lock.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.running.Go(l.writer.run)
	l.keeping.Go(func() { l.janitor.run(ctx) })
	return l, nil
}

// newLog returns a Log that is not open yet.
func newLog(fsys vfs.FS, dir string, o LogOptions) *Log {
	l := &Log{fs: fsys, dir: dir, o: o, wake: make(chan struct{}, 1)}
	l.index.init()
	l.writer.log = l
	l.janitor.log = l
	l.janitor.wake = make(chan struct{}, 1)
	l.timer = time.AfterFunc(time.Hour, l.wakeWriter)
	l.timer.Stop()
	return l
}

// Opened says what opening the log found.
func (l *Log) Opened() Report { return l.report }

// open recovers the index and makes the files ready to be written.
func (l *Log) open() error {
	r := &recovery{log: l, fs: l.fs, report: &l.report, flag: os.O_RDWR}
	err := r.run()
	l.janitor.slots = r.slots
	if err != nil {
		return err
	}
	for _, d := range l.report.Damage {
		l.o.Logger.Error("message log: damage set aside", "file", d.File, "offset", d.Offset, "bytes", d.Length, "error", d.Err)
	}
	for _, m := range l.report.Missing {
		l.o.Logger.Error("message log: messages are missing", "queue", m.Queue, "count", m.Count, "first", m.First)
	}
	if err := r.clear(); err != nil {
		return err
	}
	j, w := &l.janitor, &l.writer
	j.free = r.free
	j.checkpoint, j.rolled = true, r.at.segment
	j.mu.number = max(r.numberUp, r.at.segment) + 1
	w.number, w.synced = r.last, r.last
	l.index.mu.applied, l.index.mu.synced = r.at, r.last
	for _, s := range r.empty {
		j.mu.prepared = append(j.mu.prepared, s.segmentFile)
	}
	return l.openActive(r)
}

// openActive chooses the segment to write to. What a torn group may have left
// behind is never written behind: it is a fresh segment, or, where the disk has
// no room for one, the last one with its rest made zero.
func (l *Log) openActive(r *recovery) error {
	j := &l.janitor
	err := j.prepare()
	active := j.next(0)
	if active == nil {
		l.o.Logger.Warn("message log: no room for a segment, going on in the last one", "error", err)
		if active, err = r.reuse(); err != nil {
			return err
		}
	} else {
		l.index.mu.segments[active.id.Number] = active
		r.trim()
	}
	active.sealed = false
	l.writer.active = active
	j.again()
	return nil
}

// clear removes and renames what recovery found out about. What was read only
// because the operating system still had it is put on disk before it counts.
func (r *recovery) clear() error {
	l := r.log
	var errs error
	for _, name := range r.temps {
		errs = errors.Join(errs, l.fs.Remove(name))
	}
	for _, s := range r.aside {
		to := filepath.Join(l.path(damagedDir), filepath.Base(s.name))
		if err := l.fs.MkdirAll(l.path(damagedDir), 0o700); err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		errs = errors.Join(errs, l.fs.Rename(s.name, to), l.fs.SyncDir(l.path(damagedDir)))
	}
	for _, s := range r.files {
		if s.linked {
			errs = errors.Join(errs, l.keepDamaged(s.segmentFile))
		}
		if s.last > r.base.Group {
			if err := l.syncFile(s.name); err != nil {
				return fmt.Errorf("open message log: %w", err)
			}
		}
	}
	if errs != nil {
		l.o.Logger.Warn("message log: cannot clear up", "error", errs)
	}
	var err error
	r.empty = slices.DeleteFunc(r.empty, func(s *scannedFile) bool {
		delete(l.index.mu.segments, s.id.Number)
		if l.index.mu.last == s.segmentFile {
			l.index.mu.last = nil
		}
		if s.size < l.o.SegmentBytes {
			err = errors.Join(err, l.fs.Remove(s.name))
			return true
		}
		return false
	})
	// Those that were prepared before get a new salt: whatever a torn group
	// left in them is not there any more.
	for _, s := range r.empty {
		f, e := l.fs.OpenFile(s.name, os.O_RDWR, 0)
		if e != nil {
			return fmt.Errorf("open message log: %w", e)
		}
		s.file, s.sealed, s.end, s.recyclable = f, false, segment.HeaderBytes, s.size == l.o.SegmentBytes
		s.id.Salt = newSalt()
		if _, e := f.WriteAt(segment.AppendHeader(nil, s.id), 0); e != nil {
			return fmt.Errorf("open message log: %w", e)
		}
		if e := f.Sync(); e != nil {
			return fmt.Errorf("open message log: %w", e)
		}
	}
	if err != nil {
		return fmt.Errorf("open message log: %w", err)
	}
	return nil
}

// trim gives back what was allocated for the segments of an earlier run and not
// used: they are not written any more, nor recycled. A broker that is started
// over and over again would else leave a whole segment behind each time.
func (r *recovery) trim() {
	for _, s := range r.files {
		if s.linked || s.first == 0 || s.size-s.end < r.log.o.SegmentBytes/trimShare {
			continue
		}
		f, err := r.fs.OpenFile(s.name, os.O_RDWR, 0)
		if err == nil {
			err = errors.Join(f.Truncate(s.end), f.Close())
		}
		if err != nil {
			r.log.o.Logger.Warn("message log: cannot trim a segment", "file", s.name, "error", err)
			continue
		}
		s.segmentFile.size = s.end
	}
}

// trimShare: what is a smaller share of a segment is not worth an operation.
const trimShare = 16

func (l *Log) syncFile(name string) error {
	f, err := l.fs.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// reuse makes the last segment with groups writable again. Its blocks are
// there, so that this works on a full disk.
func (r *recovery) reuse() (*segmentFile, error) {
	l := r.log
	i := slices.IndexFunc(r.files, func(s *scannedFile) bool { return s.id.Number == r.at.segment })
	if i < 0 {
		return nil, fmt.Errorf("open message log: %w", ErrNoSpace)
	}
	s := r.files[i]
	// A sidecar that does not know what will be written must not be found.
	if err := l.fs.Remove(l.path(sidecarName(s.id.Number))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open message log: %w", err)
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return nil, fmt.Errorf("open message log: %w", err)
	}
	f, err := l.fs.OpenFile(s.name, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open message log: %w", err)
	}
	zeros := make([]byte, 1<<20)
	for at := s.end; at < s.size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), s.size-at)], at); err != nil {
			return nil, errors.Join(fmt.Errorf("open message log: clear %s: %w", s.name, err), f.Close())
		}
	}
	if err := f.Sync(); err != nil {
		return nil, errors.Join(fmt.Errorf("open message log: clear %s: %w", s.name, err), f.Close())
	}
	if s.indexed {
		// Only its sidecar was read: the next one needs all of its entries.
		if err := s.rebuildSidecar(f); err != nil {
			return nil, errors.Join(fmt.Errorf("open message log: %w", err), f.Close())
		}
	}
	s.file, s.indexed = f, false
	return s.segmentFile, nil
}

// rebuildSidecar collects the entries of s from its groups.
func (s *segmentFile) rebuildSidecar(f vfs.File) error {
	w := segment.NewWindow(f, s.end)
	s.side.Reset()
	for at := int64(segment.HeaderBytes); at < s.end; {
		g, ok := w.GroupAt(s.id, at)
		if !ok {
			return fmt.Errorf("group in %s at %d: %w", s.name, at, segment.ErrCorrupt)
		}
		w.Records(s.id, &g, func(rec *segment.Record, offset int64) bool {
			if rec.IsMessage() {
				for i := range rec.Refs {
					ref := rec.Ref(i)
					if i == 0 {
						s.side.Begin(offset, rec.Flags, rec.BodyBytes, rec.Refs, ref)
					}
					s.side.Ref(ref)
				}
			}
			return true
		}, nil)
		at = g.End()
	}
	return nil
}

func (l *Log) closeFiles() {
	for _, s := range l.index.mu.segments {
		s.close()
	}
	for _, s := range l.janitor.mu.prepared {
		s.close()
	}
	l.janitor.slots.close()
}

// recoverAtOnce is how many entries Recover reports in one call.
const recoverAtOnce = 1 << 14

// Recover implements core.MessageLog. fn is called at least once for each level,
// and again with its following entries while there are more than fit into a
// call; the slice of entries is good only during the call.
func (l *Log) Recover(known func(core.QueueID) bool, fn func(core.RecoveredLevel) error) error {
	x := &l.index
	x.mu.RLock()
	queues := slices.Clone(x.mu.order)
	x.mu.RUnlock()
	slices.SortFunc(queues, func(a, b *queueLog) int { return int(int64(a.id) - int64(b.id)) })
	entries := make([]core.RecoveredEntry, 0, recoverAtOnce)
	for _, q := range queues {
		if q.isDropped() {
			continue
		}
		if !known(q.id) {
			q.Drop()
			continue
		}
		x.mu.RLock()
		levels := slices.Clone(q.levels)
		x.mu.RUnlock()
		for _, level := range levels {
			if err := l.recoverLevel(q, level, entries, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

func (q *queueLog) isDropped() bool {
	q.log.index.mu.RLock()
	defer q.log.index.mu.RUnlock()
	return q.dropped
}

func (l *Log) recoverLevel(q *queueLog, level *level, entries []core.RecoveredEntry, fn func(core.RecoveredLevel) error) error {
	x := &l.index
	at := uint64(0)
	for more, n := true, 0; more; n++ {
		entries = entries[:0]
		x.mu.Lock()
		r := core.RecoveredLevel{Queue: q.id, Priority: level.prio, Next: core.Seq(level.next), Marked: core.Seq(level.mark)}
		i, _ := level.chunkAt(at)
		for ; i < len(level.chunks) && len(entries)+chunkMax <= recoverAtOnce; i++ {
			c := level.chunks[i]
			for k := range c.len() {
				if c.present(k) {
					seq := c.base + uint64(k)
					entries = append(entries, core.RecoveredEntry{Seq: core.Seq(seq), BodyBytes: c.sizeOf(k), ExpiresMS: level.expires[seq], Attempts: q.attemptsLocked(seq)})
				}
			}
			c.sizes = nil
			at = c.end()
		}
		if more = i < len(level.chunks); !more {
			level.expires = nil
			r.Held = q.heldLocked(level.prio)
		}
		x.mu.Unlock()
		r.Entries = entries
		if len(entries) > 0 || len(r.Held) > 0 || n == 0 {
			if err := fn(r); err != nil {
				return err
			}
		}
	}
	return nil
}
