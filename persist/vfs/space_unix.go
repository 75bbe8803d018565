//go:build linux || darwin || freebsd

package vfs

import (
	"os"
	"syscall"
)

func freeSpace(dir string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return uint64(max(int64(s.Bavail), 0)) * uint64(s.Bsize), nil // Negative within root's share.
}
