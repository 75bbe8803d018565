package persist

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"leveret/persist/segment"
	"leveret/persist/vfs"
)

// janitor is the goroutine that does what publishers must not wait for:
// prepares segments ahead of the writer, writes sidecars and checkpoints,
// deletes and recycles segments, copies survivors out of sparse ones.
type janitor struct {
	log  *Log
	wake chan struct{} // Holds one.

	// Of the janitor's goroutine.
	free       []string   // Files to recycle.
	limbo      []string   // The same, once their new names are on disk.
	unsynced   []vfs.File // Sidecars that perhaps are not on disk.
	slots      slots
	sparse     *sparse // The segment being copied from.
	rolled     uint32  // The active segment at the last checkpoint.
	told       error   // What OnState was told last.
	ailing     error   // Why housekeeping failed last time.
	checkpoint bool    // One is due whatever else.
	later      bool    // A segment is sparse, but perhaps not for long.

	mu struct {
		sync.Mutex
		prepared []*segmentFile // Ascending; the writer takes the first.
		number   uint32         // Of the segment to be prepared next.
		moves    []*moveRecord  // For the writer.
		ended    bool           // Nobody is answered any more.
		noSpace  error          // Why the next segment could not be prepared.
		asked    []chan<- asked // Who waits for a checkpoint.
	}
}

// asked is the answer to who asked for a checkpoint.
type asked struct {
	checkpoint []byte
	err        error
}

const (
	// preparedMax segments are kept ready: the next, and the reserved one.
	preparedMax = 1 + reserved
	// freeMax files are kept to be recycled.
	freeMax = 4
	// sidecarsMax may be lost with the power: the segments are read instead.
	sidecarsMax = 16
	// emptyMax segments may be empty before a checkpoint is made to free them.
	emptyMax = 4
	// retryEvery is how often what failed is tried again.
	retryEvery = 500 * time.Millisecond
)

// again has the janitor look what there is to do.
func (j *janitor) again() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// run works until ctx ends, then leaves a clean checkpoint.
func (j *janitor) run(ctx context.Context) {
	retry := time.NewTimer(retryEvery)
	retry.Stop()
	defer retry.Stop()
	for {
		j.work()
		j.report()
		if j.ailing != nil || j.spaceError() != nil {
			retry.Reset(retryEvery)
		} else if j.later {
			retry.Reset(j.log.sparseFor())
		}
		select {
		case <-ctx.Done():
			j.end()
			return
		case <-j.wake:
		case <-retry.C:
		}
	}
}

// work does what there is to do. What fails is logged and tried again later;
// only a segment that cannot be synced ends the log.
func (j *janitor) work() {
	l := j.log
	if l.failed() != nil {
		j.answer(l.failed())
		return
	}
	err := j.prepare()
	err = errors.Join(err, j.writeSidecars())
	for l.index.correct() {
	}
	for l.failed() == nil && (j.due() || j.hasAsked()) {
		waiting := j.takeAsked()
		freed, cpErr := j.writeCheckpoint(false)
		for _, c := range waiting {
			c <- asked{slices.Clone(j.slots.last), cpErr}
		}
		err = errors.Join(err, cpErr)
		if cpErr != nil {
			break
		}
		if freed > 0 && j.spaceError() != nil {
			err = errors.Join(err, j.prepare())
		}
	}
	if l.failed() == nil {
		err = errors.Join(err, j.compact())
	}
	l.index.check()
	if err != nil && (j.ailing == nil || j.ailing.Error() != err.Error()) {
		l.o.Logger.Warn("message log: housekeeping will be tried again", "error", err)
	}
	j.ailing = err
}

// due reports whether a checkpoint is worth its while.
func (j *janitor) due() bool {
	x := &j.log.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	if j.checkpoint || x.mu.applied.segment != j.rolled || x.mu.unlogged > 0 {
		return true
	}
	empty := 0
	for _, s := range x.mu.segments {
		if s.sealed && s.live == 0 && !s.unknown && s.pins == 0 {
			empty++
		}
	}
	return empty > emptyMax || empty > 0 && j.spaceError() != nil
}

// report tells OnState what has changed.
func (j *janitor) report() {
	l := j.log
	err := l.failed()
	if err == nil {
		err = j.spaceError()
	}
	l.state.Lock()
	fn := l.state.fn
	l.state.Unlock()
	if fn == nil || (err == nil) == (j.told == nil) && !(errors.Is(err, ErrPoisoned) && !errors.Is(j.told, ErrPoisoned)) {
		return
	}
	j.told = err
	fn(err)
}

func (j *janitor) spaceError() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.mu.noSpace
}

func (j *janitor) ready() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.mu.prepared)
}

// next returns the next prepared segment, unless no more than keep are left.
func (j *janitor) next(keep int) *segmentFile {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.mu.prepared) <= keep {
		j.again()
		return nil
	}
	s := j.mu.prepared[0]
	j.mu.prepared = slices.Delete(j.mu.prepared, 0, 1)
	return s
}

// giveBack returns a segment from next, which err kept from being used.
func (j *janitor) giveBack(s *segmentFile, err error) {
	j.mu.Lock()
	j.mu.prepared = slices.Insert(j.mu.prepared, 0, s)
	if err != nil {
		j.mu.noSpace = fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	j.mu.Unlock()
	j.again()
}

// takeMoves gives the writer what is to be moved.
func (j *janitor) takeMoves() []*moveRecord {
	j.mu.Lock()
	defer j.mu.Unlock()
	m := j.mu.moves
	j.mu.moves = nil
	return m
}

func (j *janitor) hasAsked() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.mu.asked) > 0
}

// ask has a checkpoint made and returns it.
func (j *janitor) ask() ([]byte, error) {
	c := make(chan asked, 1)
	j.mu.Lock()
	if j.mu.ended {
		j.mu.Unlock()
		return nil, ErrClosed
	}
	j.mu.asked = append(j.mu.asked, c)
	j.mu.Unlock()
	j.again()
	a := <-c
	return a.checkpoint, a.err
}

func (j *janitor) takeAsked() []chan<- asked {
	j.mu.Lock()
	defer j.mu.Unlock()
	a := j.mu.asked
	j.mu.asked = nil
	return a
}

func (j *janitor) answer(err error) {
	for _, c := range j.takeAsked() {
		c <- asked{err: err}
	}
}

// prepare keeps segments ready for the writer. The disk is found full here, a
// whole segment ahead, and not inside a publish.
func (j *janitor) prepare() error {
	l := j.log
	for {
		j.mu.Lock()
		n, number := len(j.mu.prepared), j.mu.number
		j.mu.Unlock()
		var err error
		var s *segmentFile
		if n < preparedMax {
			s, err = j.prepareOne(number)
		}
		if err == nil {
			err = j.slots.reserve(l)
		}
		j.mu.Lock()
		if s != nil {
			j.mu.prepared = append(j.mu.prepared, s)
			j.mu.number = number + 1
		}
		n = len(j.mu.prepared)
		recovered := j.mu.noSpace != nil && err == nil
		j.mu.noSpace = nil
		if err != nil {
			j.mu.noSpace = fmt.Errorf("%w: %w", ErrNoSpace, err)
		}
		err = j.mu.noSpace
		j.mu.Unlock()
		if s != nil || err != nil {
			l.wakeWriter() // It may be waiting for either.
		}
		if recovered {
			l.index.choosable() // Moves may have been given up.
		}
		if err != nil || n >= preparedMax {
			return err
		}
	}
}

// prepareOne makes a segment, from a file to be recycled if there is one. It
// gets its name only when its header is on disk.
func (j *janitor) prepareOne(number uint32) (*segmentFile, error) {
	l := j.log
	s := &segmentFile{
		id:   segment.Identity{Number: number, Salt: newSalt()},
		name: l.path(segmentName(number)), size: l.o.SegmentBytes, end: segment.HeaderBytes, recyclable: true,
	}
	temp := l.path(segmentName(number) + tempSuffix)
	flags := os.O_RDWR | os.O_CREATE | os.O_TRUNC
	if len(j.free) == 0 && len(j.limbo) > 0 {
		if err := j.syncNames(); err != nil {
			return nil, fmt.Errorf("prepare segment: %w", err)
		}
	}
	if len(j.free) > 0 {
		temp, flags = j.free[len(j.free)-1], os.O_RDWR
		j.free = j.free[:len(j.free)-1]
	}
	f, err := l.fs.OpenFile(temp, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("prepare segment: %w", err)
	}
	fail := func(err error) (*segmentFile, error) {
		return nil, errors.Join(fmt.Errorf("prepare segment %s: %w", s.name, err), f.Close(), l.fs.Remove(temp))
	}
	if err := f.Preallocate(0, s.size); err != nil {
		return fail(err)
	}
	if _, err := f.WriteAt(segment.AppendHeader(nil, s.id), 0); err != nil {
		return fail(err)
	}
	if err := f.Sync(); err != nil {
		return fail(err)
	}
	if err := l.fs.Rename(temp, s.name); err != nil {
		return fail(err)
	}
	temp = s.name
	if err := j.syncNames(); err != nil {
		return fail(err)
	}
	s.file = f
	return s, nil
}

// syncNames puts all names on disk. Nobody finds a file to be recycled under
// its old name then.
func (j *janitor) syncNames() error {
	if err := j.log.fs.SyncDir(j.log.dir); err != nil {
		return err
	}
	j.free, j.limbo = append(j.free, j.limbo...), nil
	return nil
}

func newSalt() uint64 {
	var b [8]byte
	rand.Read(b[:]) // It never fails.
	return binary.LittleEndian.Uint64(b[:])
}

// writeSidecars writes the sidecars of segments that were sealed.
func (j *janitor) writeSidecars() error {
	x := &j.log.index
	var todo []*segmentFile
	x.mu.RLock()
	for _, s := range x.mu.segments {
		if s.sealed && !s.indexed && s.first != 0 {
			todo = append(todo, s)
		}
	}
	x.mu.RUnlock()
	slices.SortFunc(todo, func(a, b *segmentFile) int { return int(int64(a.id.Number) - int64(b.id.Number)) })
	for _, s := range todo {
		f, err := j.log.writeSidecar(s)
		if err != nil {
			return err
		}
		j.unsynced = append(j.unsynced, f)
		s.side = segment.SidecarWriter{}
		x.mu.Lock()
		s.indexed = true
		if s.file != nil { // The writer is done with it.
			s.readFile, s.file = s.file, nil
			x.mu.readers = append(x.mu.readers, s)
			x.closeSomeLocked()
		}
		x.mu.Unlock()
	}
	if len(j.unsynced) >= sidecarsMax {
		return j.syncSidecars()
	}
	return nil
}

// syncSidecars puts sidecars on disk. One that is lost costs time when the log
// is opened, nothing else; so many are synced at once.
func (j *janitor) syncSidecars() (err error) {
	for _, f := range j.unsynced {
		err = errors.Join(err, f.Sync(), f.Close())
	}
	j.unsynced = nil
	return err
}

// writeSidecar writes the sidecar of s and returns its file, which is not synced.
func (l *Log) writeSidecar(s *segmentFile) (vfs.File, error) {
	b := s.side.Append(nil, segment.SidecarInfo{Identity: s.id, End: s.end, First: s.first, Last: s.last, Unknown: s.unknown})
	name := l.path(sidecarName(s.id.Number))
	f, err := l.fs.Create(name)
	if err != nil {
		return nil, fmt.Errorf("sidecar: %w", err)
	}
	if _, err = f.WriteAt(b, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("write sidecar %s: %w", name, err), f.Close(), l.fs.Remove(name))
	}
	return f, nil
}

// remove lets go of segments that a durable checkpoint says nothing of, and
// returns how many files that freed.
func (j *janitor) remove(empty []*segmentFile) (freed int, err error) {
	l := j.log
	x := &l.index
	for _, s := range empty {
		x.mu.Lock()
		if s.pins > 0 {
			x.mu.Unlock()
			continue // Next time.
		}
		delete(x.mu.segments, s.id.Number)
		if x.mu.last == s {
			x.mu.last = nil
		}
		recycle := s.recyclable && !s.linked && len(j.free)+len(j.limbo) < freeMax
		s.close()
		x.mu.Unlock()
		freed++
		if e := l.fs.Remove(l.path(sidecarName(s.id.Number))); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
		if recycle {
			name := l.path(fmt.Sprintf("%010d%s", s.id.Number, freeSuffix))
			if e := l.fs.Rename(s.name, name); e != nil {
				err = errors.Join(err, e)
			} else {
				j.limbo = append(j.limbo, name)
			}
		} else if e := l.fs.Remove(s.name); e != nil {
			err = errors.Join(err, e)
		}
	}
	return freed, err
}

// end leaves the log to the next one: everything on disk, a checkpoint that
// says so, no file open.
func (j *janitor) end() {
	l := j.log
	j.mu.Lock()
	j.mu.ended = true
	j.mu.Unlock()
	j.answer(ErrClosed)
	x := &l.index
	if l.failed() == nil {
		x.mu.Lock()
		l.writer.active.sealed = true
		x.mu.Unlock()
		err := errors.Join(j.writeSidecars(), j.syncSidecars(), j.syncNames())
		for x.correct() {
		}
		_, cpErr := j.writeCheckpoint(true)
		if err = errors.Join(err, cpErr); err != nil {
			l.o.Logger.Warn("message log: not closed cleanly; opening it will take longer", "error", err)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.mu.segments {
		s.close()
	}
	for _, s := range j.mu.prepared {
		s.close()
	}
	j.slots.close()
}
