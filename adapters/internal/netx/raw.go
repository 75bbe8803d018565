//go:build unix

package netx

import (
	"net"
	"syscall"
)

// rawConnOf gives access to the descriptor of a plain TCP connection, also one
// from a proxy whose header has been read; nil for anything else.
func rawConnOf(c net.Conn) syscall.RawConn {
	if p, ok := c.(*proxiedConn); ok {
		if p.header() != nil {
			return nil
		}
		c = p.Conn
	}
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
