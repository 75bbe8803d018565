// Package netx is what all protocol adapters share on the socket side: the
// outgoing buffer (Out), the in-place reader (In), the accept loop (Serve) and
// small things around addresses. It knows no protocol and nothing of core.
//
//	                  any goroutine                the connection's reader
//	                       |                                 |
//	        Lock, append to B, Unlock                   In.Read, Bytes,
//	                       |                           parse, Discard
//	                       v                                 ^
//	 B + references (pending)                                |
//	        |  take, by the holder of the writer flag   pooled buffer,
//	        v                                           none while parked
//	 batch (being written)                                   ^
//	   |                      |                              |
//	Flush: one try,        writer goroutine:                 |
//	never blocks           waits for the peer                |
//	   |                      |                              |
//	   +-------> socket <-----+                    socket ---+
//
// # Goroutines
//
// A connection has the goroutine that Serve starts for it, which reads. Out has
// none while it is dry. Whoever appended flushes, without blocking; what the
// socket does not take at once is left to a writer goroutine that is started on
// demand and ends when nothing is pending or the connection is closed.
//
// # Locks
//
// Out's lock is a leaf: under it Out calls nothing but the function given to
// SetBeforeWrite, which may lock the adapter's confirm tracker and nothing
// else. Wakers, OnError and all system calls run without it. Writing is
// serialised by a flag under the lock, not by a lock.
//
// # Reading order
//
// buffers.go, out.go (what callers see), flush.go (who writes, and why no
// wake-up is lost), close.go, in.go, serve.go, listen.go, proxy.go, spoken.go. The system calls are
// in sys_linux.go and its portable twins.
package netx
