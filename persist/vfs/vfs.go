package vfs

import (
	"errors"
	"io"
	"io/fs"
)

// FS opens files and changes directories. Names are paths as the operating
// system writes them. Errors are those of package os: errors.Is recognises
// fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, syscall.ENOSPC and so on.
// Any goroutine may call it.
type FS interface {
	// OpenFile opens name with the flags of package os. O_APPEND is not
	// supported.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)

	// Create makes an empty file to read and write, or empties the one there.
	// Only the owner may read it.
	Create(name string) (File, error)

	// Rename replaces to if it exists.
	Rename(from, to string) error

	Remove(name string) error

	// Link makes a second name, which must not exist, for the file from.
	Link(from, to string) error

	// ReadDir returns the names in dir, sorted.
	ReadDir(dir string) ([]string, error)

	MkdirAll(dir string, perm fs.FileMode) error

	Stat(name string) (fs.FileInfo, error)

	// SyncDir returns when every change of names in dir is on disk.
	SyncDir(dir string) error

	// Lock makes the file name if need be and locks it until the result is
	// closed or the process ends. If it is locked already, by this process too,
	// the error is a *LockedError.
	Lock(name string) (io.Closer, error)

	// FreeSpace returns the bytes that may still be written below dir.
	FreeSpace(dir string) (uint64, error)
}

// File is an open file. ReadAt and WriteAt may be called from any goroutine.
type File interface {
	io.ReaderAt
	io.WriterAt

	// Write writes behind what Write wrote last, at first at the start.
	io.Writer

	io.Closer

	// Name returns the name it was opened with.
	Name() string

	Size() (int64, error)

	Truncate(size int64) error

	// Sync returns when what was written, and the size needed to read it, is on
	// disk (fdatasync on Linux).
	Sync() error

	// NextData returns the next stretch at or behind offset that may hold other
	// bytes than zeros; twice the size of the file if there is none. It is for
	// files that are only read: it may move where Write goes on.
	NextData(offset int64) (from, to int64, err error)

	// Preallocate sees to it that the length bytes from offset are on disk, as
	// zeros where nothing was written, so that writing there cannot fail for
	// lack of space. It makes the file longer if need be.
	Preallocate(offset, length int64) error
}

// LockedError says that somebody else holds a lock.
type LockedError struct {
	Name   string // The lock's file.
	Holder string // What the holder wrote about itself, or "".
}

func (e *LockedError) Error() string {
	if e.Holder == "" {
		return e.Name + " is locked by another process"
	}
	return e.Name + " is locked by " + e.Holder
}

// ReadFile returns the whole content of name.
func ReadFile(fsys FS, name string) ([]byte, error) {
	f, err := fsys.OpenFile(name, 0, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return data[:n], err
}
