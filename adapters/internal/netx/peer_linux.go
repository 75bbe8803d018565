package netx

import (
	"net"
	"syscall"
)

// PeerGone reports whether the peer has closed its side of a TCP connection,
// or reset it. It reads nothing, and so is for connections that are not being
// read: their end would else go unnoticed. False where that cannot be told.
func PeerGone(c net.Conn) bool {
	for {
		below, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = below.NetConn()
	}
	raw := rawConnOf(c)
	if raw == nil {
		return false
	}
	gone := false
	err := raw.Control(func(fd uintptr) {
		// The first byte of struct tcp_info is the state.
		info, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
		state := info & 0xff
		gone = err == nil && (state == tcpCloseWait || state == tcpClose)
	})
	return gone || err != nil
}

// States of a TCP connection, as Linux numbers them.
const (
	tcpClose     = 7
	tcpCloseWait = 8
)
