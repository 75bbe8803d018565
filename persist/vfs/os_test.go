package vfs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leveret/persist/vfs"
)

func TestOSFiles(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	f, err := vfs.OS.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte("hello ")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("world")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("W"), 6); err != nil {
		t.Fatal(err)
	}
	if err := f.Preallocate(8, 100_000); err != nil {
		t.Fatal(err)
	}
	if size, err := f.Size(); err != nil || size != 100_008 {
		t.Fatalf("size %d, %v after Preallocate", size, err)
	}
	if err := f.Truncate(11); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if got, err := vfs.ReadFile(vfs.OS, name); err != nil || string(got) != "hello World" {
		t.Fatalf("read %q, %v", got, err)
	}

	if err := vfs.OS.Link(name, filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if err := vfs.OS.Rename(name, filepath.Join(dir, "c")); err != nil {
		t.Fatal(err)
	}
	if err := vfs.OS.SyncDir(dir); err != nil {
		t.Fatal(err)
	}
	names, err := vfs.OS.ReadDir(dir)
	if err != nil || !slices.Equal(names, []string{"b", "c"}) {
		t.Fatalf("names %v, %v", names, err)
	}
	if err := vfs.OS.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("removing what is not there: %v", err)
	}
	if free, err := vfs.OS.FreeSpace(dir); err != nil || free == 0 {
		t.Fatalf("free space %d, %v", free, err)
	}
}

// The blocks of a file are filled without changing what is there.
func TestPreallocateKeepsContent(t *testing.T) {
	f, err := vfs.OS.Create(filepath.Join(t.TempDir(), "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := bytes.Repeat([]byte("leveret "), 1000)
	if _, err := f.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Preallocate(100, 3<<20); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want)+1)
	if _, err := f.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got[:len(want)], want) || got[len(want)] != 0 {
		t.Fatal("content changed")
	}
}

func TestLockNamesItsHolder(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	l, err := vfs.OS.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	var locked *vfs.LockedError
	if _, err := vfs.OS.Lock(name); !errors.As(err, &locked) || !strings.HasPrefix(locked.Holder, "process ") {
		t.Fatalf("second lock: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = vfs.OS.Lock(name)
	if err != nil {
		t.Fatalf("after the first was closed: %v", err)
	}
	l.Close()
}

func TestSyncOfClosedFileFails(t *testing.T) {
	f, err := vfs.OS.Create(filepath.Join(t.TempDir(), "a"))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := f.Sync(); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("Sync of a closed file: %v", err)
	}
}

// Whatever the file system knows, everything written lies in a stretch of data.
func TestNextData(t *testing.T) {
	f, err := vfs.OS.Create(filepath.Join(t.TempDir(), "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 8 << 20
	if err := f.Preallocate(0, size); err != nil {
		t.Fatal(err)
	}
	written := []int64{0, 1<<20 + 7, 5 << 20, size - 1}
	for _, at := range written {
		if _, err := f.WriteAt([]byte{1}, at); err != nil {
			t.Fatal(err)
		}
	}
	found := 0
	for at := int64(0); at < size; {
		from, to, err := f.NextData(at)
		if err != nil || from < at || to <= from && from != size || to > size {
			t.Fatalf("from %d: %d to %d, %v", at, from, to, err)
		}
		for _, w := range written {
			if from <= w && w < to {
				found++
			}
		}
		at = to
	}
	if found != len(written) {
		t.Fatalf("%d of %d places found", found, len(written))
	}
	if from, to, err := f.NextData(size); err != nil || from != size || to != size {
		t.Fatalf("at the end: %d to %d, %v", from, to, err)
	}
}
