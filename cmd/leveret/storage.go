package main

import (
	"context"
	"errors"
	"log/slog"

	"leveret/cmd/internal/config"
	"leveret/core"
	"leveret/persist"
	"leveret/persist/vfs"
)

// storage is where a broker keeps what outlives it; the zero value keeps
// nothing.
type storage struct {
	definitions core.Definitions
	log         core.MessageLog
	streams     core.StreamStore
	store       *persist.Store // nil without a data directory.
}

// openStorage opens the data directory. Should the log fail for good later,
// onFailure is called: nothing durable can be promised any more, and what is
// really on the disk is found out by starting again.
func openStorage(s *config.Serve, log *slog.Logger, onFailure context.CancelCauseFunc) (*storage, error) {
	if s.DataDir == config.InMemory {
		return &storage{}, nil
	}
	store, err := persist.Open(vfs.OS, s.DataDir, persist.Options{
		Sync: persist.SyncPolicy(s.Sync), SyncEvery: s.SyncEvery, Logger: log,
	})
	if err != nil {
		return nil, explainOpen(s.DataDir, err)
	}
	return &storage{store.Definitions, &fatalLog{store.Log, onFailure}, store.Streams, store}, nil
}

// close ends a storage that no broker has taken over.
func (s *storage) close() error {
	if s.store == nil {
		return nil
	}
	return errors.Join(s.store.Log.Close(), s.store.Streams.Close(), s.store.Definitions.Close())
}

// backup returns what copies the data directory, nil if there is none.
func (s *storage) backup() func(dir string) error {
	if s.store == nil {
		return nil
	}
	return s.store.Backup
}

// explainOpen says what to do about a data directory that cannot be opened.
func explainOpen(dir string, err error) error {
	var locked *vfs.LockedError
	if errors.As(err, &locked) {
		return &openError{dir, err, "another broker is using it; stop that one or choose another directory with --data-dir"}
	}
	return &openError{dir, err, "choose another directory with --data-dir, or :memory: to keep nothing"}
}

type openError struct {
	dir  string
	err  error
	hint string
}

func (e *openError) Error() string {
	return "cannot open the data directory " + e.dir + ": " + e.err.Error() + " (" + e.hint + ")"
}

func (e *openError) Unwrap() error { return e.err }

// fatalLog ends the process when the log has failed.
type fatalLog struct {
	*persist.Log
	failed context.CancelCauseFunc
}

// OnState passes on what the log reports, and watches for the end.
func (l *fatalLog) OnState(fn func(error)) {
	l.Log.OnState(func(err error) {
		fn(err)
		if errors.Is(err, persist.ErrPoisoned) {
			l.failed(err)
		}
	})
}
