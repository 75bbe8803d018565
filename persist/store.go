package persist

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"leveret/core"
	"leveret/persist/meta"
	"leveret/persist/stream"
	"leveret/persist/vfs"
)

// Options are the settings of a Store. The zero value is good.
type Options struct {
	// Sync is SyncAlways unless set. Definitions are always synced.
	Sync SyncPolicy
	// SyncEvery is for SyncInterval; one second unless set.
	SyncEvery time.Duration
	// Logger gets what operators should see; slog.Default unless set.
	Logger *slog.Logger
}

const (
	logDir     = "log"
	streamsDir = "streams"
)

// Store is a data directory: definitions in it, messages in its folder "log",
// what is in streams in its folder "streams". Whoever is given the three closes
// them.
type Store struct {
	Definitions *meta.Store
	Log         *Log
	Streams     *stream.Store
	lacking     bool       // A definition of a queue may be among what was damaged.
	backups     sync.Mutex // Held by Backup.
}

// MayLackQueues reports, once the definitions have been watched, whether
// definitions of queues may be among what was damaged: messages of unknown
// queues are then to be kept.
func (s *Store) MayLackQueues() bool { return s.lacking }

// Open opens the data directory dir, making it if need be. A second broker on
// it is refused with a *vfs.LockedError, files of a newer version likewise.
// What is damaged is set aside and logged, the rest is served.
func Open(fsys vfs.FS, dir string, o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	s := &Store{}
	var err, logErr error
	var opening sync.WaitGroup
	s.Definitions, err = meta.Open(fsys, dir, meta.Options{
		Logger: o.Logger,
		// The two know nothing of each other, and each may take a second.
		OnLock: func() {
			opening.Go(func() {
				s.Log, logErr = OpenLog(fsys, filepath.Join(dir, logDir), LogOptions{Sync: o.Sync, SyncEvery: o.SyncEvery, Logger: o.Logger})
			})
		},
		OnDamage: func(d meta.Damage) {
			s.lacking = s.lacking || d.Kind == core.DefQueue || d.Kind == 0
			o.Logger.Error("damaged definition set aside", slog.Any("damage", d))
		},
	})
	opening.Wait()
	switch {
	case err != nil && s.Log != nil:
		return nil, errors.Join(err, s.Log.Close())
	case err != nil:
		return nil, errors.Join(err, logErr)
	case logErr != nil:
		return nil, errors.Join(logErr, s.Definitions.Close())
	}
	s.Streams, err = stream.Open(fsys, filepath.Join(dir, streamsDir), o.Logger)
	if err != nil {
		return nil, errors.Join(err, s.Log.Close(), s.Definitions.Close())
	}
	return s, nil
}

// incompleteSuffix is behind the name of a backup until it is whole.
const incompleteSuffix = ".incomplete"

// Backup makes a copy of the running store in the directory dst, which must not
// exist or be empty: definitions first, so that no message of a queue is
// missing that they know, streams last, since they get what the log lets go of.
// A broker starts from it. It has its name only when it is whole and on disk:
// what an interrupted one left in dst.incomplete is replaced by the next.
func (s *Store) Backup(dst string) error {
	s.backups.Lock()
	defer s.backups.Unlock()
	fsys := s.Log.fs
	dst = filepath.Clean(dst)
	names, err := fsys.ReadDir(dst)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("backup: %w", err)
	}
	if len(names) > 0 {
		return fmt.Errorf("backup: %s is not empty", dst)
	}
	making := dst + incompleteSuffix
	if err := removeBackup(fsys, making); err != nil {
		return fmt.Errorf("backup: what an interrupted one left cannot be removed: %w", err)
	}
	if err := s.Definitions.Snapshot(making); err != nil {
		return err
	}
	if err := s.Log.Backup(filepath.Join(making, logDir)); err != nil {
		return err
	}
	if err := s.Streams.Backup(filepath.Join(making, streamsDir)); err != nil {
		return err
	}
	if err := fsys.SyncDir(making); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	// One that is there is empty; not everywhere may a directory replace it.
	if err = fsys.Remove(dst); err == nil || errors.Is(err, fs.ErrNotExist) {
		err = fsys.Rename(making, dst)
	}
	if err == nil {
		err = fsys.SyncDir(filepath.Dir(dst))
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// removeBackup removes what Backup makes. What it does not know it leaves, which
// is an error.
func removeBackup(fsys vfs.FS, dir string) error {
	for _, d := range []string{filepath.Join(dir, logDir), filepath.Join(dir, streamsDir), dir} {
		names, err := fsys.ReadDir(d)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		for _, name := range names {
			switch filepath.Ext(name) {
			case ".db", segmentSuffix, ".idx", ".str", ".stx", filepath.Ext(slotNames[0]):
				err = errors.Join(err, fsys.Remove(filepath.Join(d, name)))
			}
		}
		if err = errors.Join(err, fsys.Remove(d)); err != nil {
			return err
		}
	}
	return nil
}
