package netx

import "net"

// Layered is a connection whose stream is wrapped in another's: WebSocket over
// TCP. In reads what is below and has it decoded where it lies, so that such a
// client too holds no buffer while it is parked.
type Layered interface {
	net.Conn
	// NetConn is the connection below.
	NetConn() net.Conn
	// Decode takes the next bytes read from NetConn and leaves in their
	// beginning what they carry, n bytes, which may be none. An error comes
	// again with every later call. The connection's reader calls it.
	Decode(p []byte) (n int, err error)
}
