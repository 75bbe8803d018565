package vfs

import (
	"errors"
	"os"
	"syscall"
	"unsafe"
)

// openLocked opens name so that nobody else can write it.
func openLocked(name string) (*os.File, error) {
	path, err := syscall.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	h, err := syscall.CreateFile(path, syscall.GENERIC_READ|syscall.GENERIC_WRITE,
		syscall.FILE_SHARE_READ, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if err == nil {
		return os.NewFile(uintptr(h), name), nil
	}
	const sharingViolation = syscall.Errno(32)
	if !errors.Is(err, sharingViolation) {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f, openErr := os.Open(name)
	if openErr != nil {
		return nil, &LockedError{Name: name}
	}
	defer f.Close()
	return nil, lockedError(name, f)
}

// syncDir does nothing: Windows has no call for it and keeps names in a journal.
func syncDir(*os.File) error { return nil }

var getDiskFreeSpace = syscall.NewLazyDLL("kernel32.dll").NewProc("GetDiskFreeSpaceExW")

func freeSpace(dir string) (uint64, error) {
	path, err := syscall.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	ok, _, err := getDiskFreeSpace.Call(uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&free)), 0, 0)
	if ok == 0 {
		return 0, &os.PathError{Op: "GetDiskFreeSpaceEx", Path: dir, Err: err}
	}
	return free, nil
}
