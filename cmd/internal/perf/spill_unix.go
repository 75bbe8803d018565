//go:build unix

package perf

import "syscall"

// attempt makes one write that does not block; w.mu is held by the caller.
// Returning true tells the RawConn not to wait for the socket.
func (w *spillWriter) attempt(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), w.mu.now)
		switch err {
		case nil:
			w.mu.written = n
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
		default:
			w.mu.tryErr = err
		}
		return true
	}
}
