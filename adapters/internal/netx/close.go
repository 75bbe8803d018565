package netx

import (
	"crypto/tls"
	"net"
	"time"
)

// ErrClosed is why an Out has stopped that was closed without an error.
var ErrClosed = net.ErrClosed

// Abort stops at once: it drops what is pending, closes the connection, which
// ends its reader and its writer, and wakes everybody who waits. A nil err
// stands for ErrClosed. Later calls do nothing. Call it without a lock held.
func (o *Out) Abort(err error) {
	if err == nil {
		err = ErrClosed
	}
	o.mu.Lock()
	o.stopLocked(err, false)
}

// stopLocked stops the Out for the reason err and unlocks. A batch being
// written stays with the holder of the flag.
func (o *Out) stopLocked(err error, own bool) {
	if o.mu.err != nil {
		o.mu.Unlock()
		return
	}
	o.mu.err, o.mu.promised = err, false
	o.dropPendingLocked()
	o.mu.asked = askedMarks{}
	if o.mu.askedOK != nil {
		close(o.mu.askedOK)
		o.mu.askedOK = nil
	}
	waiting := o.mu.waiting
	o.mu.waiting = waitList{}
	o.mu.Unlock()

	closeNow(o.conn)
	if own && o.onError != nil {
		o.onError(err)
	}
	for waiting.len() > 0 {
		waiting.pop().Wake()
	}
}

// Wait returns when nobody writes. After Abort that is soon, and for ever.
func (o *Out) Wait() {
	for {
		o.mu.Lock()
		if !o.mu.writing {
			o.mu.Unlock()
			return
		}
		idle := o.idleChanLocked()
		o.mu.Unlock()
		<-idle
	}
}

// idleChanLocked is closed when the writer flag is let go the next time.
func (o *Out) idleChanLocked() <-chan struct{} {
	if o.mu.idle == nil {
		o.mu.idle = make(chan struct{})
	}
	return o.mu.idle
}

// CloseAfterFlush ends the connection in an orderly way: it sends what is
// pending now and nothing appended later (the function given to SetBeforeWrite
// is not called again), closes the sending side, reads and forgets what still
// comes, until the peer has closed too, and closes. It takes no longer than
// timeout, and ends in Abort in any case. An error says that not all of it was
// handed to the socket. Its caller is the connection's reader, or has made sure
// that nobody reads.
//
// Reading on matters: a socket closed with unread input sends a reset, and that
// can take our last words (a close-ok, an ERROR) away from the peer.
func (o *Out) CloseAfterFlush(timeout time.Duration) error {
	defer o.Abort(ErrClosed)
	deadline := time.Now().Add(timeout)

	o.mu.Lock()
	if o.mu.err != nil {
		defer o.mu.Unlock()
		return o.mu.err
	}
	if !o.mu.closing {
		o.mu.closing = true
		o.mu.sealed = len(o.B)
		if o.mu.refs != nil {
			o.mu.sealedRefs = len(o.mu.refs.refs)
		}
	}
	o.mu.Unlock()

	if err := o.drainUntil(deadline); err != nil {
		return err
	}
	if !closeWrite(o.conn, deadline) {
		return nil
	}
	o.conn.SetReadDeadline(deadline)
	b := getBuf(size4K)
	defer putBuf(b)
	for {
		if _, err := o.conn.Read(b); err != nil {
			return nil
		}
	}
}

// drainUntil waits until nothing is pending.
func (o *Out) drainUntil(deadline time.Time) error {
	late := time.NewTimer(time.Until(deadline))
	defer late.Stop()
	for {
		o.mu.Lock()
		if err := o.mu.err; err != nil || !o.mu.writing && o.pendingLocked() == 0 {
			o.mu.Unlock()
			return err
		}
		idle := o.idleChanLocked()
		o.mu.Unlock()
		o.Kick()
		select {
		case <-idle:
		case <-late.C:
			return errWriteStalled
		}
	}
}

// closeWrite tells the peer that nothing more comes. It returns false if conn
// has no such thing.
func closeWrite(conn net.Conn, deadline time.Time) bool {
	if tc, ok := conn.(*tls.Conn); ok {
		tc.SetWriteDeadline(deadline)
		if tc.CloseWrite() != nil {
			return false
		}
		conn = tc.NetConn()
	} else if _, ok := conn.(Layered); ok {
		conn.SetWriteDeadline(deadline) // Its last word is a write.
	}
	half, ok := conn.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}

// closeNow closes conn without words. tls.Conn's Close would first send an
// alert and may wait for seconds until the peer takes it.
func closeNow(conn net.Conn) {
	if tc, ok := conn.(*tls.Conn); ok {
		conn = tc.NetConn()
	}
	conn.Close()
}
