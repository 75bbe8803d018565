//go:build unix

package main

import "syscall"

// diskFree returns the bytes that a user without privileges may still write to
// the file system of dir.
func diskFree(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
