package netx

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// # Who writes
//
// The writer flag (mu.writing) makes its holder the only one to write. It is
// held by a flusher, for at most flushTries writes that cannot block, or by the
// writer goroutine, until nothing is pending. A flusher that leaves something
// behind passes the flag to a goroutine that it starts.
//
// # Why no wake-up is lost
//
// Three things wait for a writer: bytes in B, marks that the adapter made for
// its beforeWrite function, and wakers that found no room. The rule that
// carries all three: the holder lets go of the flag in idleLocked only, and
// between the last unlocked moment before that and the letting go it has, in
// one critical section, run beforeWrite and seen that nothing is pending.
//
// Bytes. Appended while the flag is held, they are seen by that last look.
// Appended while it is free, Unlock makes their appender responsible, once
// (mu.promised), and its Flush wins the flag or finds it held by somebody who
// will look again. Taking the flag clears the promise: everything pending is
// the holder's from there. A promise that was overtaken (another Flush or Kick
// came first) ends in a Flush that finds nothing, or flushes for a newer
// promise, whose own Flush then finds nothing.
//
// Marks. The completion makes its mark first and calls Kick or Flush then. If
// that finds the flag free, it takes it, and beforeWrite runs after the mark.
// If it finds the flag held, the holder has yet to go through a last look
// after this moment, under the lock that this call held: beforeWrite runs there
// and sees the mark.
//
// Wakers. One is kept only while limit or more bytes are pending, so the first
// argument promises a writer. That writer calls wakeLocked after each piece
// written, the last of which leaves nothing pending, which is below half the
// limit: so all are popped unless those before them filled the room again, and
// then limit or more bytes are pending once more.
//
// The flag stays held while wakers run. What they append to this connection is
// therefore written by us in the next turn, and their own Flush returns at
// once: no recursion, however fast the client reads. Through several
// connections it is no deeper than connections have flags to hold.

const (
	// flushTries is how many writes a flusher makes before it leaves the rest
	// to the writer goroutine: one for what it came for, one for what was
	// appended meanwhile.
	flushTries = 2

	// writeMax bounds one write. It keeps a flusher from copying a huge body
	// on behalf of another connection, and the scheduler from waiting for it.
	writeMax = 1 << 20

	// connChunk is what a connection that is not plain TCP is given at once.
	connChunk = 64 << 10

	// hintMax bounds what a connection takes from the pools before anything
	// is appended: a fan-out appends to thousands before it flushes the first.
	hintMax = size64K
)

var errWriteStalled = errors.New("netx: the peer takes nothing")

// Flush sends what is pending, without blocking: with one system call on plain
// TCP, and whatever the socket does not take, or all of it on other
// connections, through the writer goroutine. If somebody is writing already he
// writes this too, and Flush returns at once. Call it without any lock held.
func (o *Out) Flush() {
	o.mu.Lock()
	if o.mu.writing || o.mu.err != nil {
		o.mu.Unlock()
		return
	}
	o.mu.writing, o.mu.promised = true, false
	for try := 0; o.nextLocked(); try++ {
		if o.raw == nil || try == flushTries {
			o.handOverLocked()
			return
		}
		o.mu.Unlock()
		n, err := o.writeRaw(false)
		if !o.account(n, err) {
			return
		}
		if o.mu.inflight > 0 {
			o.handOverLocked()
			return
		}
	}
	o.idleLocked()
	o.mu.Unlock()
}

// Kick has the writer goroutine send what is pending, after it ran the function
// given to SetBeforeWrite. Completions call it from goroutines that shall not
// spend time on somebody's socket.
func (o *Out) Kick() {
	o.mu.Lock()
	if o.mu.writing || o.mu.err != nil {
		o.mu.Unlock()
		return
	}
	o.mu.writing, o.mu.promised = true, false
	o.handOverLocked()
}

// handOverLocked passes the flag, and the lock, to a writer goroutine. It ends
// when nothing is pending or the Out stops, which closes the connection.
func (o *Out) handOverLocked() {
	o.mu.Unlock()
	go o.writer()
}

// writer is the writer goroutine. It holds the flag from its start.
func (o *Out) writer() {
	o.mu.Lock()
	for o.mu.inflight > 0 || o.nextLocked() {
		o.mu.Unlock()
		n, err := o.writeBlocking()
		if !o.account(n, err) {
			return
		}
	}
	o.idleLocked()
	o.mu.Unlock()
}

// nextLocked makes a batch of all that is pending. It returns false if there is
// nothing. The caller holds the flag and has written its last batch.
func (o *Out) nextLocked() bool {
	if o.mu.err != nil {
		return false
	}
	if o.beforeWrite != nil && !o.mu.closing {
		if o.B == nil {
			o.B = getBuf(o.mu.hint)[:0]
		}
		o.beforeWrite()
	}
	n := len(o.B) + o.mu.refBytes
	if n == 0 {
		putBuf(o.B)
		o.B = nil
		return false
	}
	o.mu.hint = min(max(len(o.B), o.mu.hint-o.mu.hint/4), hintMax)
	o.mu.inflight = n
	o.w.buf, o.w.left, o.w.refs = o.B, o.B, o.mu.refs
	if o.w.refs != nil {
		o.w.refs.interleave(o.B)
	}
	o.B, o.mu.refs, o.mu.refBytes = nil, nil, 0
	o.mu.sealed, o.mu.sealedRefs = 0, 0
	return true
}

// interleave lists b and the references in the order of the stream.
func (l *refList) interleave(b []byte) {
	from := 0
	for _, r := range l.refs {
		if r.at > from {
			l.segs = append(l.segs, b[from:r.at])
			from = r.at
		}
		l.segs = append(l.segs, r.p)
	}
	if from < len(b) {
		l.segs = append(l.segs, b[from:])
	}
	clear(l.refs)
}

// account books n written bytes and wakes whom that concerns. It takes the lock
// and returns true with it held, or, if err is not nil or the Out was stopped
// meanwhile, false: the flag and the lock are free then.
func (o *Out) account(n int, err error) bool {
	o.written.Add(int64(n))
	o.advance(n)
	o.mu.Lock()
	o.mu.sent += int64(n)
	o.mu.inflight -= n
	if o.mu.err != nil {
		o.idleLocked()
		o.mu.Unlock()
		return false
	}
	if err != nil {
		o.idleLocked()
		o.stopLocked(err, true)
		return false
	}
	if o.mu.inflight == 0 {
		o.releaseBatch()
	}
	o.mu.asked.sent(o.mu.sent)
	if o.mu.askedOK != nil && o.mu.asked.unsent <= o.askedLimit/2 {
		close(o.mu.askedOK)
		o.mu.askedOK = nil
	}
	o.wakeLocked()
	return true
}

// wakeLocked wakes those who wait for room, once each at most, as long as there
// is room. It holds the flag, and the lock except while it wakes.
func (o *Out) wakeLocked() {
	if o.pendingLocked() > o.limit/2 {
		return
	}
	for n := o.mu.waiting.len(); n > 0 && o.mu.waiting.len() > 0 && o.pendingLocked() < o.limit; n-- {
		w := o.mu.waiting.pop()
		o.mu.Unlock()
		w.Wake()
		o.mu.Lock()
	}
}

// idleLocked lets the flag go.
func (o *Out) idleLocked() {
	o.releaseBatch()
	o.mu.inflight = 0
	if o.w.deadline {
		// Else the next Flush would meet a deadline long past.
		o.w.deadline = false
		o.conn.SetWriteDeadline(time.Time{})
	}
	o.mu.writing = false
	if o.mu.idle != nil {
		close(o.mu.idle)
		o.mu.idle = nil
	}
}

// releaseBatch gives the batch's memory back.
func (o *Out) releaseBatch() {
	if o.w.buf == nil && o.w.refs == nil {
		return
	}
	putBuf(o.w.buf)
	if o.w.refs != nil {
		o.w.refs.release()
	}
	o.w.buf, o.w.left, o.w.refs = nil, nil, nil
}

// advance moves the batch behind n written bytes.
func (o *Out) advance(n int) {
	if o.w.refs == nil {
		o.w.left = o.w.left[n:]
		return
	}
	l := o.w.refs
	for n > 0 {
		s := l.segs[l.next]
		if n < len(s) {
			l.segs[l.next] = s[n:]
			return
		}
		n -= len(s)
		l.segs[l.next] = nil // The reference ends here.
		l.next++
	}
}

// writeRaw writes once on the descriptor. With block it waits until the socket
// takes something; without, n is 0 if it takes nothing.
func (o *Out) writeRaw(block bool) (n int, err error) {
	o.w.n, o.w.errno, o.w.block = 0, 0, block
	if err := o.raw.Write(o.rawWrite); err != nil {
		return 0, err
	}
	if o.w.errno != 0 {
		return 0, fmt.Errorf("write to %s: %w", o.conn.RemoteAddr(), o.w.errno)
	}
	return o.w.n, nil
}

// writeFD is what writeRaw does inside of raw.Write, made once per connection
// so that nothing allocates.
func (o *Out) writeFD(fd uintptr) (done bool) {
	var n int
	var errno syscall.Errno
	if l := o.w.refs; l != nil {
		n, errno = sysWritev(fd, &l.vec, l.segs[l.next:], writeMax)
	} else {
		n, errno = sysWrite(fd, o.w.left[:min(len(o.w.left), writeMax)])
	}
	if errno == syscall.EAGAIN {
		return !o.w.block
	}
	o.w.n, o.w.errno = n, errno
	return true
}

// writeBlocking writes at least one byte of the batch, however long that takes.
func (o *Out) writeBlocking() (n int, err error) {
	if o.writeTimeout > 0 {
		o.w.deadline = true
		if err := o.conn.SetWriteDeadline(time.Now().Add(o.writeTimeout)); err != nil {
			return 0, err
		}
	}
	if o.raw != nil {
		n, err = o.writeRaw(true)
	} else {
		p := o.w.left
		if l := o.w.refs; l != nil {
			p = l.segs[l.next]
		}
		n, err = o.conn.Write(p[:min(len(p), connChunk)])
	}
	if isTimeout(err) {
		err = fmt.Errorf("%w for %v", errWriteStalled, o.writeTimeout)
	}
	return n, err
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
