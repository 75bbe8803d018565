package persist

import (
	"errors"
	"fmt"
	"os"

	"leveret/persist/segment"
	"leveret/persist/vfs"
)

// slots are the two files that checkpoints are written to in turn. Their space
// is there beforehand, so that a full disk cannot keep a checkpoint, and the
// space that it would free, from being made. The janitor owns them.
type slots struct {
	files  [2]vfs.File // nil until needed.
	sizes  [2]int64
	newest int // The slot that holds the last good checkpoint, -1 if none does.
	number uint64
	last   []byte // What was written last; good until the next Begin.
	kept   []byte // Sections of kinds that this version does not know.
	writer segment.CheckpointWriter
}

const slotBytesMin = 64 << 10

// bound is at most what a checkpoint takes now.
func (l *Log) checkpointBound(kept int) int64 {
	x := &l.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	return int64(segment.CheckpointBytes+kept) + x.mu.levels*segment.LevelBytesMax + x.mu.chunks*int64(segment.BlockBytesMax(chunkMax)) +
		segment.ClientsBytesMax(x.mu.holds, x.mu.ids) + segment.RetriesBytesMax(x.mu.retries)
}

// reserve makes the slots larger long before a checkpoint might not fit.
func (s *slots) reserve(l *Log) error {
	bound := l.checkpointBound(len(s.kept))
	for i := range s.files {
		// The one with the newest checkpoint is replaced when that is in the
		// other one.
		if i != s.newest && (s.files[i] == nil || s.sizes[i] < bound+bound/2) {
			if err := s.replace(l, i, max(2*bound, slotBytesMin)); err != nil {
				return err
			}
		}
	}
	return nil
}

// replace makes slot i a file of size bytes.
func (s *slots) replace(l *Log, i int, size int64) error {
	name := l.path(slotNames[i])
	temp := name + tempSuffix
	f, err := l.fs.Create(temp)
	if err != nil {
		return fmt.Errorf("checkpoint slot: %w", err)
	}
	fail := func(err error) error {
		return errors.Join(fmt.Errorf("checkpoint slot of %d bytes: %w", size, err), f.Close(), l.fs.Remove(temp))
	}
	if err := f.Preallocate(0, size); err != nil {
		return fail(err)
	}
	if err := f.Sync(); err != nil {
		return fail(err)
	}
	if err := l.fs.Rename(temp, name); err != nil {
		return fail(err)
	}
	temp = name
	if err := l.fs.SyncDir(l.dir); err != nil {
		return fail(err)
	}
	if s.files[i] != nil {
		s.files[i].Close()
	}
	s.files[i], s.sizes[i] = f, size
	return nil
}

// put writes a checkpoint into the slot that does not hold the newest.
func (s *slots) put(l *Log, b []byte) error {
	i := 0
	if s.newest == 0 {
		i = 1
	}
	if s.files[i] == nil || s.sizes[i] < int64(len(b)) {
		if err := s.replace(l, i, max(2*int64(len(b)), slotBytesMin)); err != nil {
			return err
		}
	}
	f := s.files[i]
	if _, err := f.WriteAt(b, 0); err != nil {
		return fmt.Errorf("write checkpoint %s: %w", f.Name(), err)
	}
	if err := f.Sync(); err != nil {
		// Nothing is known of the file now: the next attempt makes a new one.
		f.Close()
		s.files[i] = nil
		return fmt.Errorf("sync checkpoint %s: %w", f.Name(), err)
	}
	s.newest, s.last = i, b
	return nil
}

// open reads the slots and returns the newest good checkpoint, nil if there is
// none. Slots that hold something else are reported to bad.
func (s *slots) open(l *Log, flag int, bad func(name string, err error)) (*segment.Checkpoint, error) {
	s.newest = -1
	var best *segment.Checkpoint
	for i, name := range slotNames {
		f, err := l.fs.OpenFile(l.path(name), flag, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open checkpoint: %w", err)
		}
		s.files[i] = f
		size, err := f.Size()
		if err != nil {
			return nil, fmt.Errorf("open checkpoint %s: %w", name, err)
		}
		s.sizes[i] = size
		c, err := readCheckpoint(f, size)
		if errors.Is(err, segment.ErrVersion) {
			return nil, fmt.Errorf("open checkpoint %s: %w", name, err)
		}
		if err != nil {
			bad(name, err)
			continue
		}
		if c != nil && (best == nil || c.Number > best.Number) {
			best, s.newest = c, i
		}
	}
	if best != nil {
		s.number, s.kept = best.Number, best.Kept
	}
	return best, nil
}

// readCheckpoint returns the checkpoint in a slot, nil if it was never used.
func readCheckpoint(f vfs.File, size int64) (*segment.Checkpoint, error) {
	w := segment.NewWindow(f, size)
	head := w.Bytes(0, segment.CheckpointBytes)
	if w.Err() != nil {
		return nil, w.Err()
	}
	used := false
	for _, b := range head {
		used = used || b != 0
	}
	if !used {
		return nil, nil
	}
	return segment.ParseCheckpoint(w.Bytes(0, segment.CheckpointLength(head)))
}

func (s *slots) close() {
	for _, f := range s.files {
		if f != nil {
			f.Close()
		}
	}
}
