// Package websocket carries an adapter's byte stream over WebSocket (RFC 6455):
// what a handler of netx.Serve does with a TCP connection, it does with a Conn.
//
//	netx.In.Read --> socket, straight into In's buffer
//	                    |
//	                    v  Conn.Decode, in place: headers out, payload unmasked and
//	                       joined; pings and closes taken out
//	                 Bytes: the stream, whatever the messages' borders
//
//	netx.Out --> writer goroutine --> Conn.Write: one message per flush
//
// github.com/gorilla/websocket checks and answers the handshake. It does not
// carry the data: its reader blocks with a buffer of its own and cannot be
// called out of a read without breaking the stream, while ours keeps nothing
// between two reads but the header under way, so that an idle client costs
// hardly more than one over TCP.
//
// No extension is negotiated, so there is nothing to inflate. What a client
// announces is never allocated: payload goes where it is read to, and the
// adapter's own limits hold for what it gathers.
//
// # Goroutines
//
// The handler's goroutine reads. Any other may write. A ping is answered by a
// goroutine of its own, one at a time, which ends when the answer is written:
// the reader must not wait for a client that does not read.
//
// # Locks
//
// Conn.writing serialises frames on the socket and is held while the socket
// blocks. Conn.control guards what is to be answered and is a leaf.
//
// # Reading order
//
// serve.go, handshake.go, conn.go, decode.go.
package websocket
