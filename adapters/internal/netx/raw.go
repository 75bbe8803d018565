//go:build unix

package netx

import (
	"net"
	"syscall"
)

// rawConnOf gives access to the descriptor of a plain TCP connection; nil for
// anything else.
func rawConnOf(c net.Conn) syscall.RawConn {
	tc, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	rc, err := tc.SyscallConn()
	if err != nil {
		return nil
	}
	return rc
}
