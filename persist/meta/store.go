package meta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"leveret/core"
	"leveret/persist/vfs"
)

// The files in the store's directory; see doc.go.
const (
	fileName    = "defs.db"
	prevName    = "defs.prev"
	lockName    = "defs.lock"
	ballastName = "defs.ballast"
)

// Options are for Open. The zero value is good.
type Options struct {
	// RefuseDamage makes Open fail with a *DamagedError where it would set
	// damage aside and go on with the rest.
	RefuseDamage bool

	// OnLock is called by Open once it holds the lock on the directory.
	OnLock func()

	// OnDamage is called by Open, and by Watch, for each damage set aside.
	OnDamage func(Damage)

	// BallastBytes is how much of the disk is kept for deletions and Shrink on
	// a full disk, if the definitions are smaller; 0 is 4 MB, negative none.
	BallastBytes int64

	// ShrinkMinBytes is how much must have been written since the file was last
	// written anew before that is done again, in the background; 0 is 32 MB,
	// negative never. It must be half of what the file holds, too.
	ShrinkMinBytes int64

	// Logger is told of what happens in the background; nil is silent.
	Logger *slog.Logger

	// Now is the clock for the names of side files; nil is time.Now.
	Now func() time.Time
}

// ErrClosed is returned by everything once Close was called.
var ErrClosed = errors.New("the store of definitions is closed")

// ErrDiskFull is returned by Commit for what must be written while the disk has
// no room. Nothing has happened; deletions may still be possible.
var ErrDiskFull = errors.New("no room on disk for definitions")

// Store keeps definitions in a directory. It implements core.Definitions.
//
// Reads are of memory and never wait for the disk. Commits that come while the
// disk is busy form the next group, which is written and synced once; one of
// the committers does it for all (see commit.go).
//
// Lock order: shrinking, writing, ballast, applying, mu. None is held while calling out,
// except applying while the watch is called.
type Store struct {
	// Fixed by Open.
	fs      vfs.FS
	dir     string
	path    string
	options Options
	lock    io.Closer
	bunt    *bunt

	queueIDs atomic.Uint64 // Queue ids up to here are given out or reserved on disk.

	ids struct {
		sync.Mutex // Held over the write of a reservation.
		next, end  uint64
	}

	// shrinking is held while the file is replaced or copied.
	shrinking sync.Mutex

	// writing is the state of the file. Its lock is held by whoever writes to it.
	writing struct {
		sync.Mutex
		file       vfs.File // Our own descriptor, to sync by.
		identity   fs.FileInfo
		size       int64
		synced     int64
		live       int64    // What of size is not garbage.
		sorted     int64    // Up to here it is as Shrink left it.
		shrinkNext int64    // With less than this behind sorted no Shrink is tried again.
		instance   uint64   // See mark.
		former     uint64   // See mark.
		deletes    uint64   // Sum of the DELs since the last mark.
		tombstones []string // To be deleted with the next mark.

		// swapped is not nil while buntdb may replace the file; it is closed
		// when file is the new one.
		swapped chan struct{}
	}

	ballast struct {
		sync.Mutex // Held while the ballast is made or removed.
		size       int64
	}

	// applying orders the calls of the watch.
	applying sync.Mutex

	mu struct {
		sync.Mutex
		err       error // Why nothing can be stored any more.
		closed    bool
		full      bool // The disk has no room; the ballast may be gone.
		refillAt  time.Time
		watch     func([]core.Change)
		revision  uint64
		transient map[string]stored
		pending   map[string]*pendingKey
		queue     []*commit
		leading   bool // A committer is writing for all.
	}
	inFlight   sync.WaitGroup // Commits.
	background sync.WaitGroup // The automatic Shrink.
}

// Open opens the store in dir, which is made if need be. The files of fsys must
// be those of the operating system, because buntdb opens its own.
//
// Errors: a *vfs.LockedError if another process has it open, ErrNewerFormat, a
// *DamagedError if told so, and those of the file system.
func Open(fsys vfs.FS, dir string, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.BallastBytes == 0 {
		o.BallastBytes = 4 << 20
	}
	if o.ShrinkMinBytes == 0 {
		o.ShrinkMinBytes = 32 << 20
	}
	s := &Store{fs: fsys, dir: dir, path: filepath.Join(dir, fileName), options: o}
	s.mu.transient = make(map[string]stored)
	s.mu.pending = make(map[string]*pendingKey)
	if err := s.open(); err != nil {
		if s.bunt != nil {
			_ = s.bunt.close()
		}
		if s.writing.file != nil {
			_ = s.writing.file.Close()
		}
		if s.lock != nil {
			_ = s.lock.Close()
		}
		return nil, fmt.Errorf("definitions: %w", err)
	}
	return s, nil
}

func (s *Store) open() (err error) {
	if err = s.fs.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if s.lock, err = s.fs.Lock(filepath.Join(s.dir, lockName)); err != nil {
		return err
	}
	if s.options.OnLock != nil {
		s.options.OnLock()
	}
	if err = s.settleFiles(); err != nil {
		return err
	}
	w := &s.writing
	if w.file, err = s.fs.OpenFile(s.path, os.O_RDWR, 0); err != nil {
		return err
	}
	x, err := s.repair(w.file)
	if err != nil {
		return err
	}
	if err = w.file.Close(); err != nil { // It may have been replaced.
		return err
	}
	if w.file, err = s.fs.OpenFile(s.path, os.O_RDWR, 0); err != nil {
		return err
	}
	if w.identity, err = s.fs.Stat(s.path); err != nil {
		return err
	}
	if s.bunt, err = openBunt(s.path); err != nil {
		return err
	}
	w.deletes, w.synced, w.sorted = x.deletes, x.synced, x.sorted
	w.instance, w.former = x.instance, x.instance
	s.mu.revision = x.revision
	s.ids.next, s.ids.end = x.queueIDs+1, x.queueIDs
	s.queueIDs.Store(x.queueIDs)
	if err = s.count(); err != nil {
		return err
	}
	s.holdBallast()
	return s.redo(x.intent)
}

// settleFiles decides which file is the store and makes one if there is none.
func (s *Store) settleFiles() error {
	if err := s.fs.Remove(s.path + ".tmp"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// A Shrink that did not come to its end acknowledged nothing that is not in
	// the former file.
	prev := filepath.Join(s.dir, prevName)
	if before, err := s.fs.Stat(prev); err == nil {
		now, err := s.fs.Stat(s.path)
		if err == nil && os.SameFile(before, now) {
			err = s.fs.Remove(prev) // Renaming would do nothing.
		} else {
			err = s.fs.Rename(prev, s.path)
		}
		if err := errors.Join(err, s.fs.SyncDir(s.dir)); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	info, err := s.fs.Stat(s.path)
	if err == nil && info.Size() > 0 {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.withSpace(s.create)
}

// create makes the first file. It has a content before it has a name.
func (s *Store) create() error {
	f, err := s.fs.Create(s.path + ".tmp")
	if err != nil {
		return err
	}
	defer f.Close()
	b := appendSet(nil, keyFormat, formatValue())
	m := mark{synced: uint64(len(b)), instance: rand.Uint64()}
	b = appendSet(b, keyMark, seal(keyMark, m.payload()))
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return errors.Join(s.fs.Rename(s.path+".tmp", s.path), s.fs.SyncDir(s.dir))
}

func formatValue() string {
	return seal(keyFormat, binary.AppendUvarint([]byte{tagOwn}, formatVersion))
}

// count finds out how much of the file is garbage, and tombstones left over.
func (s *Store) count() error {
	w := &s.writing
	err := s.bunt.ascend("", func(key, value string) bool {
		if len(value) > envelopeHeader && value[envelopeHeader] == tagTombstone && keyKind(key) != 0 {
			w.tombstones = append(w.tombstones, key)
		} else {
			w.live += setLength(key, value)
		}
		return true
	})
	if err == nil {
		w.size, err = w.file.Size()
	}
	return err
}

// redo makes the changes of an intent that a crash left half done.
func (s *Store) redo(intent string) error {
	w := &s.writing
	w.Lock()
	defer w.Unlock()
	if intent != "" {
		var changes []pair
		if err := eachIntent(intent, func(key, value string) { changes = append(changes, pair{key, value}) }); err != nil {
			return err
		}
		err := s.withSpace(func() error {
			if err := s.bunt.update(changes, nil); err != nil {
				return err
			}
			return s.bunt.update([]pair{{keyIntent, seal(keyIntent, tombstonePayload(0))}}, nil)
		})
		if err != nil {
			return err
		}
		for _, c := range changes {
			if c.value[envelopeHeader] == tagTombstone {
				w.tombstones = append(w.tombstones, c.key)
			}
		}
	}
	// What is there is served from now on, so it must stay.
	if err := s.syncLocked(); err != nil {
		return err
	}
	return s.markLocked()
}

// Get implements core.Definitions.
func (s *Store) Get(kind core.DefinitionKind, key []string) (value any, revision uint64, err error) {
	if kind == 0 || kind > kindMax {
		return nil, 0, fmt.Errorf("there is no kind of definition %d", kind)
	}
	var buf [128]byte
	text := string(appendKey(buf[:0], kind, key))
	s.mu.Lock()
	var st stored
	switch p := s.mu.pending[text]; {
	case s.mu.closed:
		err = ErrClosed
	case p != nil:
		st = p.applied
	default:
		st, err = s.storedLocked(text)
	}
	s.mu.Unlock()
	if err != nil || st.revision == 0 {
		return nil, 0, err
	}
	if st.value == nil {
		if st.value, err = decodeDefinition(kind, key, st.fields); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", keyText(text), err)
		}
	}
	return st.value, st.revision, nil
}

// queueIDBlock is how many queue ids one write reserves.
const queueIDBlock = 1024

// NextQueueID implements core.Definitions. Ids begin at 1; after a restart those
// that were reserved and not given out are left out.
func (s *Store) NextQueueID() (core.QueueID, error) {
	s.ids.Lock()
	defer s.ids.Unlock()
	const max = uint64(^core.QueueID(0))
	if s.ids.next > max {
		return 0, errors.New("queue ids are used up")
	}
	if s.ids.next > s.ids.end {
		end := min(s.ids.next+queueIDBlock-1, max)
		s.queueIDs.Store(end)
		value := seal(keyQueueIDs, binary.AppendUvarint([]byte{tagOwn}, end))
		if err := s.commit(&commit{own: []pair{{keyQueueIDs, value}}}); err != nil {
			return 0, err
		}
		s.ids.end = end
	}
	s.ids.next++
	return core.QueueID(s.ids.next - 1), nil
}

// Close waits for commits under way and releases the store. What is transient
// is gone. It is safe to call twice.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		return nil
	}
	s.mu.closed = true
	poisoned := s.mu.err
	s.mu.Unlock()
	s.inFlight.Wait()
	s.background.Wait()

	s.shrinking.Lock()
	defer s.shrinking.Unlock()
	w := &s.writing
	w.Lock()
	defer w.Unlock()
	var err error
	if poisoned == nil {
		if err = s.markLocked(); err == nil {
			err = w.file.Sync()
		}
	}
	return errors.Join(err, s.bunt.close(), w.file.Close(), s.lock.Close())
}

var _ core.Definitions = (*Store)(nil)
