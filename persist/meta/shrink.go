package meta

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"leveret/persist/vfs"
)

// shrinkMinFull replaces Options.ShrinkMinBytes on a full disk.
const shrinkMinFull = 64 << 10

// shrinkIfWorthLocked starts a Shrink if enough was written since the last one.
// That is not only about garbage: buntdb loads what Shrink has sorted twice as
// fast (a million bindings in 0.9 s of CPU instead of 1.7 s).
func (s *Store) shrinkIfWorthLocked() {
	w := &s.writing
	least, written := s.options.ShrinkMinBytes, w.size-w.sorted
	if least < 0 || w.swapped != nil || runtime.GOOS == "windows" {
		return
	}
	if s.Full() {
		least = min(least, shrinkMinFull)
	}
	if written < max(least, w.live/2, w.shrinkNext) {
		return
	}
	w.shrinkNext = 2 * written // If it fails, not again soon.
	s.background.Go(func() {
		err := s.Shrink()
		if err != nil && !errors.Is(err, ErrClosed) {
			s.options.Logger.Error("shrinking the definitions failed", "file", s.path, "error", err)
		}
	})
}

// Shrink writes the file anew without garbage. Commits go on meanwhile; those
// that come at its very end wait until the new file is on disk. An error leaves
// the store as it was, or poisoned if it cannot be known which file will be
// read after a crash.
//
// buntdb renames the new file into place without a sync. Therefore the former
// one keeps a second name until the new one is synced, and as long as it has
// that it is the one that Open reads. Not on Windows, where an open file cannot
// be replaced.
func (s *Store) Shrink() error {
	if runtime.GOOS == "windows" {
		return errors.ErrUnsupported
	}
	s.shrinking.Lock()
	defer s.shrinking.Unlock()
	s.mu.Lock()
	err := s.usableLocked()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	prev := filepath.Join(s.dir, prevName)
	if err := s.beginShrink(prev); err != nil {
		return fmt.Errorf("shrink %s: %w", s.path, err)
	}
	err = s.withSpace(s.bunt.shrink)
	if err == nil {
		// Most of the work is done before the writers are held.
		if f, openErr := s.fs.OpenFile(s.path, os.O_RDWR, 0); openErr == nil {
			_ = f.Sync() // Done again, and seen, by endShrink.
			_ = f.Close()
		}
	}
	w := &s.writing
	w.Lock()
	defer w.Unlock()
	defer func() {
		close(w.swapped)
		w.swapped = nil
	}()
	if now, statErr := s.fs.Stat(s.path); err != nil && statErr == nil && os.SameFile(now, w.identity) {
		// Nothing has been replaced.
		return errors.Join(err, s.fs.Remove(prev), s.fs.SyncDir(s.dir))
	}
	if err == nil {
		err = s.endShrinkLocked(prev)
	}
	if err != nil {
		err = fmt.Errorf("shrink %s: %w", s.path, err)
		s.mu.Lock()
		if s.mu.err == nil {
			s.poisonLocked(err)
		}
		s.mu.Unlock()
	}
	return err
}

func (s *Store) beginShrink(prev string) error {
	w := &s.writing
	w.Lock()
	defer w.Unlock()
	if err := s.markLocked(); err != nil {
		return err
	}
	// The mark that is copied into the new file must not promise anything, and
	// no DEL may come between it and the copy.
	w.instance, w.former = w.instance+1, w.instance
	if err := s.writeMarkLocked(0); err != nil {
		return err
	}
	if err := s.fs.Link(s.path, prev); err != nil {
		return err
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return errors.Join(err, s.fs.Remove(prev))
	}
	w.swapped = make(chan struct{})
	return nil
}

// endShrinkLocked makes the new file the one that counts.
func (s *Store) endShrinkLocked(prev string) (err error) {
	w := &s.writing
	f, err := s.fs.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	size, err := f.Size()
	if err != nil {
		return err
	}
	identity, err := s.fs.Stat(s.path)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), s.fs.SyncDir(s.dir)); err != nil {
		return err
	}
	if err := s.writeMarkLocked(size); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := errors.Join(s.fs.Remove(prev), s.fs.SyncDir(s.dir)); err != nil {
		return err
	}
	old := w.file
	w.file, w.identity, w.size, w.synced, w.sorted, w.shrinkNext = f, identity, size, size, size, 0
	_ = old.Close() // Nobody needs it any more.
	return nil
}

// Snapshot writes a copy of the store into the directory dst, from which
// another one can be opened. It holds every commit that has returned, all or
// nothing of each, and what was being committed perhaps. Commits go on meanwhile.
// dst must not hold a store.
func (s *Store) Snapshot(dst string) error {
	s.shrinking.Lock()
	defer s.shrinking.Unlock()
	s.mu.Lock()
	err := s.usableLocked()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	// The file only grows, and between two groups it is consistent.
	w := &s.writing
	w.Lock()
	file := w.file
	size, err := file.Size()
	w.Unlock()
	if err == nil {
		err = s.copyTo(dst, file, size)
	}
	if err != nil {
		return fmt.Errorf("copy definitions to %s: %w", dst, err)
	}
	return nil
}

func (s *Store) copyTo(dst string, file vfs.File, size int64) error {
	if err := s.fs.MkdirAll(dst, 0o700); err != nil {
		return err
	}
	out, err := s.fs.OpenFile(filepath.Join(dst, fileName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, io.NewSectionReader(file, 0, size), make([]byte, windowBytes))
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = s.fs.SyncDir(dst)
	}
	return err
}
