package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

// OS is the file system of the machine.
var OS FS = osFS{}

type osFS struct{}

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (o osFS) Create(name string) (File, error) {
	return o.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
}

func (osFS) Rename(from, to string) error                { return os.Rename(from, to) }
func (osFS) Remove(name string) error                    { return os.Remove(name) }
func (osFS) Link(from, to string) error                  { return os.Link(from, to) }
func (osFS) MkdirAll(dir string, perm fs.FileMode) error { return os.MkdirAll(dir, perm) }
func (osFS) Stat(name string) (fs.FileInfo, error)       { return os.Stat(name) }
func (osFS) FreeSpace(dir string) (uint64, error)        { return freeSpace(dir) }

func (osFS) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(syncDir(d), d.Close())
}

func (osFS) Lock(name string) (io.Closer, error) {
	f, err := openLocked(name)
	if err != nil {
		return nil, err
	}
	// The holder is named for the one who is refused; that it cannot be
	// written, on a full disk, is no reason to fail.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte("process "+strconv.Itoa(os.Getpid())), 0)
	}
	return f, nil
}

// lockedError reads who holds the lock from its file.
func lockedError(name string, f *os.File) error {
	var holder [64]byte
	n, _ := f.ReadAt(holder[:], 0)
	return &LockedError{Name: name, Holder: string(holder[:n])}
}

type osFile struct{ *os.File }

func (f osFile) Sync() error {
	for {
		if err := fdatasync(f.File); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) NextData(offset int64) (from, to int64, err error) {
	size, err := f.Size()
	if err != nil || offset >= size {
		return size, size, err
	}
	return nextData(f.File, offset, size)
}

func (f osFile) Preallocate(offset, length int64) error {
	if length <= 0 {
		return nil
	}
	done, err := fallocate(f.File, offset, length)
	if done || err != nil {
		return err
	}
	return f.writeZeros(offset, length)
}

// writeZeros is Preallocate where the file system has no call for it. It
// copies what is there over itself, which holds the blocks of a sparse file.
func (f osFile) writeZeros(offset, length int64) error {
	buf := make([]byte, min(length, 1<<20))
	for length > 0 {
		b := buf[:min(length, int64(len(buf)))]
		n, err := f.ReadAt(b, offset)
		if err != nil && err != io.EOF {
			return err
		}
		clear(b[n:])
		if _, err := f.WriteAt(b, offset); err != nil {
			return err
		}
		offset += int64(len(b))
		length -= int64(len(b))
	}
	return nil
}
