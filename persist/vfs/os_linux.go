package vfs

import (
	"errors"
	"os"
	"syscall"
)

func fdatasync(f *os.File) error {
	err := onDescriptor(f, func(fd int) error { return syscall.Fdatasync(fd) })
	if err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

// fallocate reports whether the file system can do it.
func fallocate(f *os.File, offset, length int64) (done bool, err error) {
	for {
		err = onDescriptor(f, func(fd int) error { return syscall.Fallocate(fd, 0, offset, length) })
		if err != syscall.EINTR {
			break
		}
	}
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return false, nil
	}
	if err != nil {
		return true, &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	return true, nil
}

// nextData asks the file system, which knows of blocks that were only allocated.
// Those that were read meanwhile count as written, as long as they are cached.
func nextData(f *os.File, offset, size int64) (from, to int64, err error) {
	const seekData, seekHole = 3, 4
	from, err = f.Seek(offset, seekData)
	if err == nil {
		to, err = f.Seek(from, seekHole)
	}
	switch {
	case errors.Is(err, syscall.ENXIO): // Nothing but a hole is left.
		return size, size, nil
	case errors.Is(err, syscall.EINVAL): // It does not know.
		return offset, size, nil
	}
	return from, to, err
}

// onDescriptor keeps f open while fn uses its descriptor.
func onDescriptor(f *os.File, fn func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if raw.Control(func(fd uintptr) { err = fn(int(fd)) }) != nil {
		return os.ErrClosed // The only reason there is.
	}
	return err
}
