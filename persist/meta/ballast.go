package meta

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The ballast is a file that holds as much of the disk as is needed to delete
// everything and to write the definitions anew. On a full disk it is given up
// for that, and nothing new is stored until it is back.

// ballastBytes is how large the ballast should be. writing must be held.
func (s *Store) ballastBytes() int64 {
	if s.options.BallastBytes < 0 {
		return 0
	}
	const grain = 1 << 20
	live := (s.writing.live + grain - 1) / grain * grain
	return max(s.options.BallastBytes, live)
}

func (s *Store) ballastPath() string { return filepath.Join(s.dir, ballastName) }

// holdBallast makes the ballast, or says that the disk is full. Open calls it.
func (s *Store) holdBallast() {
	if info, err := s.fs.Stat(s.ballastPath()); err == nil {
		s.ballast.size = info.Size()
	}
	s.tryBallast(s.ballastBytes())
}

// growBallastLocked keeps the ballast as large as the definitions.
func (s *Store) growBallastLocked() {
	size := s.ballastBytes()
	s.ballast.Lock()
	enough := size <= s.ballast.size
	s.ballast.Unlock()
	if !enough && !s.Full() {
		s.tryBallast(size + size/4)
	}
}

func (s *Store) tryBallast(size int64) {
	switch err := s.makeBallast(size); {
	case err == nil:
	case isFull(err):
		s.setFull()
	default:
		s.options.Logger.Warn("no ballast for a full disk", "file", s.ballastPath(), "error", err)
		s.ballast.Lock()
		s.ballast.size = size // Not again with every commit.
		s.ballast.Unlock()
	}
}

func (s *Store) makeBallast(size int64) error {
	b := &s.ballast
	b.Lock()
	defer b.Unlock()
	if size <= b.size {
		return nil
	}
	name := s.ballastPath()
	f, err := s.fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Preallocate(0, size); err != nil {
		err = errors.Join(err, f.Truncate(b.size), f.Close())
		if b.size == 0 {
			err = errors.Join(err, s.fs.Remove(name))
		}
		return err
	}
	b.size = size
	return errors.Join(f.Sync(), f.Close(), s.fs.SyncDir(s.dir))
}

// releaseBallast gives the space of the ballast back and says whether there was any.
func (s *Store) releaseBallast() bool {
	b := &s.ballast
	b.Lock()
	defer b.Unlock()
	err := s.fs.Remove(s.ballastPath())
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.options.Logger.Warn("the ballast cannot be removed", "file", s.ballastPath(), "error", err)
		}
		return false
	}
	b.size = 0
	s.setFull()
	// The space of what is removed may come back only with this.
	return s.fs.SyncDir(s.dir) == nil
}

const refillEvery = time.Second

func (s *Store) setFull() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mu.full {
		s.options.Logger.Error("the disk is full: no new definitions", "dir", s.dir)
	}
	s.mu.full = true
	s.mu.refillAt = s.options.Now().Add(refillEvery)
}

// Full says whether new definitions are refused because the disk has no room.
func (s *Store) Full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.full
}

// refillBallast tries, now and then, to make the ballast again, and takes new
// definitions again if that works.
func (s *Store) refillBallast() {
	s.mu.Lock()
	due := false
	if s.mu.full && !s.mu.closed {
		now := s.options.Now()
		if due = !now.Before(s.mu.refillAt); due {
			s.mu.refillAt = now.Add(refillEvery)
		}
	}
	s.mu.Unlock()
	if !due {
		return
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.makeBallast(s.ballastBytes()) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.full = false
	s.options.Logger.Info("there is room for new definitions again", "dir", s.dir)
}
