package persist

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"leveret/persist/segment"
	"leveret/persist/vfs"
)

// Backup makes a copy of the running log in the directory dst, which is made if
// need be and must not hold a log. It pauses nobody: sealed segments, which do
// not change any more, get a second name, or are copied to another file system;
// the active one is copied up to the last group that is written; a checkpoint
// is made for it. OpenLog opens the copy.
func (l *Log) Backup(dst string) error {
	if err := l.fs.MkdirAll(dst, 0o700); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	names, err := l.fs.ReadDir(dst)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	for _, name := range names {
		if _, ok := parseNumber(name, segmentSuffix); ok || slices.Contains(slotNames[:], name) {
			return fmt.Errorf("backup: %s holds a message log already", dst)
		}
	}

	// What the checkpoint needs must not be let go of meanwhile.
	pinned := l.pinAll(nil)
	checkpoint, err := l.janitor.ask()
	if err == nil {
		pinned = l.pinAll(pinned)
		err = l.backup(dst, pinned, checkpoint)
	}
	l.unpin(pinned)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// pinAll pins the segments that are not in pinned, and returns all.
func (l *Log) pinAll(pinned []located) []located {
	x := &l.index
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.mu.segments {
		if !slices.ContainsFunc(pinned, func(p located) bool { return p.file == s }) {
			s.pins++
			pinned = append(pinned, located{file: s})
		}
	}
	return pinned
}

func (l *Log) backup(dst string, pinned []located, checkpoint []byte) error {
	x := &l.index
	x.mu.Lock()
	applied := x.mu.applied
	var sealed, indexed []*segmentFile
	var active *segmentFile
	for _, p := range pinned {
		switch s := p.file; {
		case s.sealed && s.id.Number <= applied.segment:
			s.linked = true
			sealed = append(sealed, s)
			if s.indexed {
				indexed = append(indexed, s)
			}
		case s.id.Number == applied.segment:
			active = s
		}
	}
	x.mu.Unlock()

	for _, s := range sealed {
		if err := l.linkOrCopy(s.name, filepath.Join(dst, segmentName(s.id.Number))); err != nil {
			return err
		}
	}
	for _, s := range indexed {
		name := sidecarName(s.id.Number)
		if err := l.linkOrCopy(l.path(name), filepath.Join(dst, name)); err != nil {
			return err
		}
	}
	if active != nil {
		if err := l.copyFile(active.name, filepath.Join(dst, segmentName(active.id.Number)), applied.offset); err != nil {
			return err
		}
	}
	f, err := l.fs.Create(filepath.Join(dst, slotNames[0]))
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(checkpoint, 0); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return l.fs.SyncDir(dst)
}

func (l *Log) linkOrCopy(from, to string) error {
	if l.fs.Link(from, to) == nil {
		return nil
	}
	return l.copyFile(from, to, -1)
}

// copyFile copies the first n bytes of from, or all of it if n is negative.
func (l *Log) copyFile(from, to string, n int64) error {
	in, err := l.fs.OpenFile(from, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	if n < 0 {
		if n, err = in.Size(); err != nil {
			return err
		}
	}
	out, err := l.fs.Create(to)
	if err != nil {
		return err
	}
	err = copyBytes(out, in, n)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("copy %s to %s: %w", from, to, err)
	}
	return nil
}

func copyBytes(out, in vfs.File, n int64) error {
	w := segment.NewWindow(in, n)
	for at := int64(0); at < n; {
		b := w.Bytes(at, 256<<10)
		if len(b) == 0 {
			return errors.Join(errors.New("file cut short"), w.Err())
		}
		if _, err := out.WriteAt(b, at); err != nil {
			return err
		}
		at += int64(len(b))
	}
	return nil
}
