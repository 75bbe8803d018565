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

// ballastBytes is how large the ballast should be.
func (s *Store) ballastBytes() int64 {
	if s.options.BallastBytes < 0 {
		return 0
	}
	const grain = 1 << 20
	live := (s.writing.live + grain - 1) / grain * grain
	return max(s.options.BallastBytes, live)
}

func (s *Store) ballastPath() string { return filepath.Join(s.dir, ballastName) }

// holdBallast makes the ballast, or says that the disk is full.
func (s *Store) holdBallast() {
	err := s.makeBallast(s.ballastBytes())
	if isFull(err) {
		s.setFull()
	} else if err != nil {
		s.options.Logger.Warn("no ballast for a full disk", "file", s.ballastPath(), "error", err)
	}
}

func (s *Store) makeBallast(size int64) error {
	if size == 0 {
		return nil
	}
	name := s.ballastPath()
	if info, err := s.fs.Stat(name); err == nil && info.Size() >= size {
		return nil
	}
	f, err := s.fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Preallocate(0, size); err != nil {
		// Half a ballast would be taken for a whole one.
		return errors.Join(err, f.Close(), s.fs.Remove(name))
	}
	return errors.Join(f.Sync(), f.Close(), s.fs.SyncDir(s.dir))
}

// releaseBallast gives the space of the ballast back and says whether there was any.
func (s *Store) releaseBallast() bool {
	err := s.fs.Remove(s.ballastPath())
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.options.Logger.Warn("the ballast cannot be removed", "file", s.ballastPath(), "error", err)
		}
		return false
	}
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
	now := s.options.Now()
	due := s.mu.full && !now.Before(s.mu.refillAt) && !s.mu.closed
	if due {
		s.mu.refillAt = now.Add(refillEvery)
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
