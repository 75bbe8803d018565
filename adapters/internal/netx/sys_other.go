//go:build !unix

package netx

import (
	"net"
	"syscall"
)

// Where descriptors are not what Unix calls so, everything goes through
// net.Conn: rawConnOf finds nothing, and the rest is never called.

type sysVec struct{}

func rawConnOf(net.Conn) syscall.RawConn { return nil }

func sysRead(uintptr, []byte) (int, syscall.Errno) { return 0, syscall.EINVAL }

func sysWrite(uintptr, []byte) (int, syscall.Errno) { return 0, syscall.EINVAL }

func sysWritev(uintptr, *sysVec, [][]byte, int) (int, syscall.Errno) { return 0, syscall.EINVAL }
