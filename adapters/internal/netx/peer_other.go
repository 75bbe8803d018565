//go:build !linux

package netx

import "net"

// PeerGone reports whether the peer has closed its side of a connection that
// is not being read. Here that cannot be told.
func PeerGone(net.Conn) bool { return false }
