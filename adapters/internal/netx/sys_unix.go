//go:build unix && !(linux && (amd64 || arm64 || riscv64 || loong64))

package netx

import "syscall"

// The portable twin of sys_linux.go: ordinary calls on descriptors that
// package net keeps non-blocking, and a write per segment.

type sysVec struct{}

// sysRead reads into p, which is not empty. EAGAIN: nothing is there.
func sysRead(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, err := syscall.Read(int(fd), p)
		if err == syscall.EINTR {
			continue
		}
		return max(n, 0), errnoOf(err)
	}
}

// sysWrite writes as much of p, which is not empty, as the socket takes now.
// EAGAIN: nothing.
func sysWrite(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, err := syscall.Write(int(fd), p)
		if err == syscall.EINTR {
			continue
		}
		return max(n, 0), errnoOf(err)
	}
}

// sysWritev writes as much of segs as the socket takes now, but at most limit
// bytes. No segment is empty.
func sysWritev(fd uintptr, _ *sysVec, segs [][]byte, limit int) (int, syscall.Errno) {
	total := 0
	for _, s := range segs {
		s = s[:min(len(s), limit-total)]
		if len(s) == 0 {
			break
		}
		n, errno := sysWrite(fd, s)
		total += n
		if errno != 0 && total == 0 {
			return 0, errno
		} else if errno != 0 || n < len(s) {
			break
		}
	}
	return total, 0
}

func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if errno, ok := err.(syscall.Errno); ok {
		return errno
	}
	return syscall.EIO
}
