package persist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"leveret/core"
	"leveret/persist/segment"
	"leveret/persist/vfs"
)

// SyncPolicy says when a publish counts as stored.
type SyncPolicy string

// The policies.
const (
	// SyncAlways completes a publish when it is on disk: it survives the loss
	// of power. The default.
	SyncAlways SyncPolicy = "always"
	// SyncInterval completes it when the operating system has it, and syncs
	// every LogOptions.SyncEvery. A crash of the process loses nothing, one of
	// the machine what came since the last sync.
	SyncInterval SyncPolicy = "interval"
	// SyncNone leaves syncing to the operating system, but for what keeps the
	// files consistent.
	SyncNone SyncPolicy = "none"
)

// LogOptions are the settings of a Log. The zero value is good.
type LogOptions struct {
	// SegmentBytes is the size of the segments, 64 MiB unless set. A log may
	// be opened with another size than it was written with.
	SegmentBytes int64
	// Sync is SyncAlways unless set.
	Sync SyncPolicy
	// SyncEvery is for SyncInterval; one second unless set.
	SyncEvery time.Duration
	// OutstandingMax is how many bytes may be handed over but not yet written
	// before OnPressure reports it; 8 MiB unless set.
	OutstandingMax int64
	// Logger gets what operators should see; slog.Default unless set.
	Logger *slog.Logger
}

const (
	segmentBytesDefault = 64 << 20
	segmentBytesMin     = 4 << 10
	outstandingDefault  = 8 << 20
)

func (o *LogOptions) setDefaults() error {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = segmentBytesDefault
	}
	if o.SegmentBytes < segmentBytesMin {
		return fmt.Errorf("segments of %d bytes: at least %d are needed", o.SegmentBytes, segmentBytesMin)
	}
	o.SegmentBytes = segment.Pad(o.SegmentBytes)
	if o.OutstandingMax == 0 {
		o.OutstandingMax = outstandingDefault
	}
	if o.SyncEvery == 0 {
		o.SyncEvery = time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	switch o.Sync {
	case "":
		o.Sync = SyncAlways
	case SyncAlways, SyncInterval, SyncNone:
	default:
		return fmt.Errorf("no sync policy %q: it is always, interval or none", o.Sync)
	}
	return nil
}

// Errors that a Log returns, wrapped with what happened.
var (
	// ErrClosed is what a set gets that is handed over after Close.
	ErrClosed = errors.New("message log is closed")
	// ErrPoisoned is what every set gets after a write or sync failed.
	ErrPoisoned = errors.New("message log has failed")
	// ErrNoSpace is what OnState reports while the next segment cannot be
	// prepared, and what sets get that still wait for it at Close.
	ErrNoSpace = errors.New("no room for messages")
	// ErrNotStored is what Read returns for a message that the log does not
	// hold, or no longer.
	ErrNotStored = errors.New("message is not in the log")
)

// Log is a core.MessageLog on segment files. See the package comment.
type Log struct {
	// Fixed by OpenLog.
	fs      vfs.FS
	dir     string
	o       LogOptions
	lock    io.Closer
	index   index
	writer  writer
	janitor janitor
	wake    chan struct{} // To the writer; holds one.
	timer   *time.Timer   // Wakes the writer for a few acks.
	stop    context.CancelFunc
	running sync.WaitGroup // The writer.
	keeping sync.WaitGroup // The janitor.

	outstanding atomic.Int64 // Bytes handed over and not complete.
	failure     atomic.Pointer[error]
	corrupt     atomic.Int64 // Records found damaged by Read.
	syncing     sync.Mutex   // Held while a segment is synced.

	report Report // Of opening.

	// What publishers and queues hand over, until the writer swaps it for an
	// empty one. A leaf: nothing else is locked under mu.
	filling struct {
		sync.Mutex
		batch
		armed  bool // The timer runs.
		closed bool
	}

	pressure struct {
		sync.Mutex
		over atomic.Bool // Changed under the lock.
		fn   func(over bool)
	}

	state struct {
		sync.Mutex
		fn func(error)
	}
}

// batch is what a group, or several, are made of.
type batch struct {
	sets  []*changeSet
	notes []note
	seqs  []core.Seq // Of the notes.
}

// note is a change that is not part of a set.
type note struct {
	kind     noteKind
	queue    *queueLog
	upTo     uint64 // As Seq, for marks and purges.
	written  func() // Of a mark: who waits for it, or nil.
	from, to int    // In batch.seqs: what is settled or survives.

	// Of the writer, which does a long purge in parts.
	partial bool
	after   uint64 // Where the part begins.
}

type noteKind uint8

const (
	noteAck noteKind = iota
	noteMark
	notePurge
	noteDrop
)

const (
	// notesAtOnce acks wake the writer, fewer wait for notesDelay or for a set.
	notesAtOnce = 256
	notesDelay  = 10 * time.Millisecond
)

// hand takes s over from its publisher.
func (l *Log) hand(s *changeSet) {
	if s.refs == 0 && len(s.acks) == 0 && len(s.moved) == 0 && len(s.holds) == 0 && len(s.receives) == 0 {
		s.done(nil)
		s.recycle()
		return
	}
	if s.size > groupMax {
		// Nothing in the broker comes near. The set keeps its references, so
		// that nobody believes them written.
		s.done(fmt.Errorf("%d bytes at once: %w", s.size, errors.ErrUnsupported))
		return
	}
	outstanding := l.outstanding.Add(s.size)
	l.filling.Lock()
	closed := l.filling.closed
	if !closed {
		l.filling.sets = append(l.filling.sets, s)
	}
	l.filling.Unlock()
	if closed {
		l.outstanding.Add(-s.size)
		s.done(ErrClosed) // Another set may wait for it, in vain: it is not used again.
		return
	}
	l.wakeWriter()
	if outstanding > l.o.OutstandingMax && !l.pressure.over.Load() {
		l.press()
	}
}

// groupMax is what the length of a group can say.
const groupMax = 1<<32 - 1<<16

// press tells publishers to pause or to go on, if that is news. Several
// goroutines may find out at once: the lock orders what they tell.
func (l *Log) press() {
	p := &l.pressure
	p.Lock()
	defer p.Unlock()
	for { // A writer that did not see over yet may have made room meanwhile.
		outstanding := l.outstanding.Load()
		switch over := p.over.Load(); {
		case !over && outstanding > l.o.OutstandingMax && l.failure.Load() == nil:
			p.over.Store(true)
		case over && (outstanding <= l.o.OutstandingMax/2 || l.failure.Load() != nil):
			p.over.Store(false)
		default:
			return
		}
		if p.fn != nil {
			p.fn(p.over.Load())
		}
	}
}

// OnPressure implements core.MessageLog. fn must not wait for the log.
func (l *Log) OnPressure(fn func(over bool)) {
	l.pressure.Lock()
	defer l.pressure.Unlock()
	l.pressure.fn = fn
	if l.pressure.over.Load() {
		fn(true)
	}
}

// note takes a change of seqs over, which is copied. The caller holds the
// queue's lock.
func (l *Log) note(c note, seqs []core.Seq) {
	f := &l.filling
	f.Lock()
	if f.closed {
		f.Unlock()
		return
	}
	c.from = len(f.seqs)
	f.seqs = append(f.seqs, seqs...)
	c.to = len(f.seqs)
	if n := len(f.notes); c.kind == noteAck && n > 0 && f.notes[n-1].kind == noteAck && f.notes[n-1].queue == c.queue {
		f.notes[n-1].to = c.to
	} else {
		f.notes = append(f.notes, c)
	}
	now := c.kind != noteAck || len(f.seqs) >= notesAtOnce
	arm := !now && !f.armed
	if arm {
		f.armed = true
		l.timer.Reset(notesDelay)
	}
	f.Unlock()
	if now {
		l.wakeWriter()
	}
}

func (l *Log) wakeWriter() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// swap gives the writer what has been handed over, in exchange for b, which is
// empty.
func (l *Log) swap(b *batch) (closed bool) {
	l.filling.Lock()
	defer l.filling.Unlock()
	*b, l.filling.batch = l.filling.batch, *b
	l.filling.armed = false
	return l.filling.closed
}

// Outstanding implements core.MessageLog.
func (l *Log) Outstanding() int64 { return l.outstanding.Load() }

// OnState implements core.MessageLog. If the log cannot take publishes already,
// fn is called soon.
func (l *Log) OnState(fn func(err error)) {
	l.state.Lock()
	l.state.fn = fn
	l.state.Unlock()
	l.janitor.again()
}

// poison makes err the end of the log: nothing is written any more.
func (l *Log) poison(err error) {
	err = fmt.Errorf("%w: %w", ErrPoisoned, err)
	if l.failure.CompareAndSwap(nil, &err) {
		l.o.Logger.Error("message log failed: no publish is confirmed any more", "error", err)
		l.press()
		l.wakeWriter()
		l.janitor.again()
	}
}

// failed is why the log takes nothing any more, or nil.
func (l *Log) failed() error {
	if e := l.failure.Load(); e != nil {
		return *e
	}
	return nil
}

// Close implements core.MessageLog. It returns the error that poisoned the log,
// if one did. It is safe to call it twice.
func (l *Log) Close() error {
	l.filling.Lock()
	closed := l.filling.closed
	l.filling.closed = true
	l.filling.Unlock()
	if closed {
		return l.failed()
	}
	l.wakeWriter()
	l.running.Wait()
	l.timer.Stop()
	l.stop()
	l.keeping.Wait()
	return errors.Join(l.failed(), l.lock.Close())
}
