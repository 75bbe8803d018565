package netx

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Waker is told that there is room again. *core.Waiter is one. Its dynamic
// type must be comparable, which pointers are.
type Waker interface{ Wake() }

// OutOptions are the knobs of an Out. The zero value serves.
type OutOptions struct {
	// Limit is how many unsent bytes take the room for deliveries away.
	// 0: 256 KiB.
	Limit int

	// AskedLimit is how many unsent bytes that the client asked for stop the
	// reading of more from it (WaitAsked). 0: 1 MiB.
	AskedLimit int

	// WriteTimeout ends a connection that takes not a single byte for so long
	// while something is pending. 0: it may take for ever.
	WriteTimeout time.Duration

	// OnError is called once, without a lock, when writing failed, after the
	// connection was closed. It runs on whichever goroutine wrote, which may be
	// the reader of another connection: it must not block. It may be nil.
	OnError func(error)
}

// Out is the outgoing buffer of one connection. Any goroutine may append to
// it, under its lock, and flush it.
//
// Bytes leave in the order they were appended. What is pending is written by
// one goroutine at a time: the holder of the writer flag (flush.go).
type Out struct {
	// Fixed by NewOut.
	conn         net.Conn
	raw          syscall.RawConn // Nil if conn is not plain TCP: then only the writer goroutine writes.
	rawWrite     func(uintptr) bool
	beforeWrite  func() // Set once, before the first use.
	onError      func(error)
	limit        int
	askedLimit   int
	refMin       int // AppendRef copies what is shorter.
	writeTimeout time.Duration

	written atomic.Int64 // Bytes the socket took.

	// B is the pending bytes. Append to it between Lock and Unlock only, and
	// store the result back. It is a pooled buffer: keep no slice of it.
	B []byte

	mu struct {
		sync.Mutex

		// At most one of the two is true. Invariant at each Unlock: if
		// something is pending, one of them is, or the Out has stopped.
		writing  bool // Someone holds the writer flag and will look again before letting go.
		promised bool // Some Unlock returned true; its caller has not flushed yet.

		closing    bool  // CloseAfterFlush was called: nothing is appended any more.
		sealed     int   // Length of B that still goes out while closing.
		sealedRefs int   // The same for refs.
		err        error // Why this Out stopped.

		refs     *refList // References among B, nil if none.
		refBytes int      // Their sum.
		inflight int      // Bytes of the batch that the flag's holder has not written yet.
		sent     int64    // Stream offset of the next byte to leave.
		hint     int      // Size the next buffer should have, from recent ones, up to hintMax.

		waiting waitList      // Who found no room, in order.
		asked   askedMarks    // Where in the stream lies what the client asked for.
		askedOK chan struct{} // Closed when WaitAsked may look again; nil if nobody waits.
		idle    chan struct{} // Closed when the flag is let go; nil if nobody waits.
	}

	// w is the batch being written. It belongs to the holder of the flag.
	w struct {
		buf      []byte   // Pooled, whole.
		left     []byte   // What of it is to be written, if refs is nil.
		refs     *refList // What is to be written, if not nil.
		n        int
		errno    syscall.Errno
		block    bool // Park until the socket takes something.
		deadline bool // A write deadline is set on conn.
	}
}

// ref is a body lying outside of B.
type ref struct {
	at int // It comes before B[at].
	p  []byte
}

// refList is what a batch with references needs. It is pooled.
type refList struct {
	refs []ref
	segs [][]byte // The batch in order, from the first unwritten byte on.
	next int      // First segment of segs that is not written.
	vec  sysVec
}

var refPool = sync.Pool{New: func() any { return new(refList) }}

// release drops all references and gives l back.
func (l *refList) release() {
	if cap(l.refs) > 256 || cap(l.segs) > 512 {
		return
	}
	clear(l.refs)
	clear(l.segs)
	l.refs, l.segs, l.next = l.refs[:0], l.segs[:0], 0
	refPool.Put(l)
}

// NewOut makes the outgoing buffer of c. It starts no goroutine and holds no
// memory of size until something is appended.
func NewOut(c net.Conn, o OutOptions) *Out {
	out := &Out{
		conn:         c,
		raw:          rawConnOf(c),
		onError:      o.OnError,
		limit:        o.Limit,
		askedLimit:   o.AskedLimit,
		refMin:       size16K,
		writeTimeout: o.WriteTimeout,
	}
	if out.limit <= 0 {
		out.limit = size256K
	}
	if out.askedLimit <= 0 {
		out.askedLimit = 1 << 20
	}
	if out.raw == nil {
		out.refMin = size64K // A write of its own per reference must be worth it.
	} else {
		out.rawWrite = out.writeFD
	}
	return out
}

// SetBeforeWrite has f called by the holder of the writer flag, under the lock,
// before it takes what is pending and before it lets go. Whatever f appends
// leaves in the same write; so coalesced confirms are made at the last moment.
// With nothing marked f appends nothing, or the writer never comes to an end.
// It may use B, Reserve, AppendRef and Asked.
// Completions that mark something for f and then call Flush or Kick are never
// missed (flush.go). Call it once, before the first Lock.
func (o *Out) SetBeforeWrite(f func()) { o.beforeWrite = f }

// Lock is taken to append to B. Adapters keep what must agree with the order of
// the stream (delivery tags, unacked rings) under the same lock.
func (o *Out) Lock() {
	o.mu.Lock()
	if o.B == nil {
		o.B = getBuf(o.mu.hint)[:0]
	}
}

// Unlock ends Lock. It reports whether the caller has to see to it that Flush
// is called, soon: bytes are pending, and neither a writer nor an earlier
// caller is responsible for them yet.
func (o *Out) Unlock() (flush bool) {
	switch {
	case o.mu.err != nil:
		o.dropPendingLocked()
	case o.mu.closing:
		o.cutLocked()
	case len(o.B)+o.mu.refBytes == 0:
		putBuf(o.B)
		o.B = nil
	case !o.mu.writing && !o.mu.promised:
		o.mu.promised = true
		flush = true
	}
	o.mu.Unlock()
	return flush
}

// Reserve makes room for n bytes in B, under Lock. Appending without it works;
// a B that append has to grow is garbage, one that Reserve grows is not.
func (o *Out) Reserve(n int) {
	if cap(o.B)-len(o.B) >= n {
		return
	}
	b := append(getBuf(max(len(o.B)+n, 2*cap(o.B)))[:0], o.B...)
	putBuf(o.B)
	o.B = b
}

// AppendRef appends p, under Lock. From 16 KiB on (64 KiB if the connection is
// not plain TCP) p is not copied: it must then never change. References keep
// their place among the bytes of B and are dropped as soon as they are written.
func (o *Out) AppendRef(p []byte) {
	if len(p) < o.refMin {
		o.Reserve(len(p))
		o.B = append(o.B, p...)
		return
	}
	if o.mu.refs == nil {
		o.mu.refs = refPool.Get().(*refList)
	}
	o.mu.refs.refs = append(o.mu.refs.refs, ref{len(o.B), p})
	o.mu.refBytes += len(p)
}

// Asked says, under Lock, that the last n bytes appended answer something the
// client asked for: a reply, a return, a confirm, a get-ok.
func (o *Out) Asked(n int) {
	if o.mu.err != nil || o.mu.closing {
		return
	}
	o.mu.asked.add(o.mu.sent+int64(o.pendingLocked()), n)
}

// Room reports whether fewer bytes than the limit are pending. If not, it keeps
// w, at most once, and calls w.Wake when half of the limit has been drained,
// in the order of registration and only while there is room, without a lock,
// on the goroutine that drained. A waker that is not reached keeps its place.
// After the Out has stopped there is no room and nobody is kept.
func (o *Out) Room(w Waker) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.err != nil || o.mu.closing {
		return false
	}
	if o.pendingLocked() < o.limit {
		return true
	}
	o.mu.waiting.push(w)
	return false
}

// Pending is the number of unsent bytes.
func (o *Out) Pending() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pendingLocked()
}

// Written is the number of bytes the socket took so far. Heartbeats sample it:
// a count that has moved since the last tick is activity.
func (o *Out) Written() int64 { return o.written.Load() }

// Err is why the Out has stopped: a failed write, Abort's error, ErrClosed. It
// is nil while it works.
func (o *Out) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.err
}

// WaitAsked blocks while more unsent bytes than the limit answer what the
// client asked for. The connection's reader calls it before it reads more, with
// everything flushed that it touched. It returns the error of ctx, or why the
// Out has stopped. Unread deliveries never block it.
func (o *Out) WaitAsked(ctx context.Context) error {
	for {
		o.mu.Lock()
		if o.mu.err != nil || o.mu.asked.unsent <= o.askedLimit {
			err := o.mu.err
			o.mu.Unlock()
			return err
		}
		if o.mu.askedOK == nil {
			o.mu.askedOK = make(chan struct{})
		}
		ok := o.mu.askedOK
		o.mu.Unlock()

		o.Flush() // Were it forgotten, we would wait for ever.
		select {
		case <-ok:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// pendingLocked is the number of unsent bytes.
func (o *Out) pendingLocked() int { return len(o.B) + o.mu.refBytes + o.mu.inflight }

// dropPendingLocked forgets what is appended and not yet taken by a writer.
func (o *Out) dropPendingLocked() {
	if o.mu.refs != nil {
		o.mu.refs.release()
		o.mu.refs, o.mu.refBytes = nil, 0
	}
	putBuf(o.B)
	o.B = nil
}

// cutLocked forgets what was appended after CloseAfterFlush.
func (o *Out) cutLocked() {
	o.B = o.B[:o.mu.sealed]
	if o.mu.refs != nil {
		for _, r := range o.mu.refs.refs[o.mu.sealedRefs:] {
			o.mu.refBytes -= len(r.p)
		}
		clear(o.mu.refs.refs[o.mu.sealedRefs:])
		o.mu.refs.refs = o.mu.refs.refs[:o.mu.sealedRefs]
	}
	if len(o.B)+o.mu.refBytes == 0 {
		o.dropPendingLocked()
	}
}

// waitList keeps wakers in order, each at most once. Its memory stays with
// connections that have been full, up to a few entries.
type waitList struct {
	order []Waker
	head  int
	known map[Waker]struct{}
}

func (l *waitList) len() int { return len(l.order) - l.head }

func (l *waitList) push(w Waker) {
	if _, ok := l.known[w]; ok {
		return
	}
	if l.known == nil {
		l.known = make(map[Waker]struct{})
	}
	l.known[w] = struct{}{}
	if l.head > 0 && len(l.order) == cap(l.order) {
		n := copy(l.order, l.order[l.head:])
		clear(l.order[n:])
		l.order, l.head = l.order[:n], 0
	}
	l.order = append(l.order, w)
}

func (l *waitList) pop() Waker {
	w := l.order[l.head]
	l.order[l.head] = nil
	l.head++
	delete(l.known, w)
	if l.head == len(l.order) {
		l.order, l.head = l.order[:0], 0
		if cap(l.order) > 64 {
			*l = waitList{}
		}
	}
	return w
}

// askedMarks knows how many unsent bytes were asked for. Each mark stands for
// up to askedGrain bytes that end, all of them, no later than at its offset, so
// the count is at most that much too high.
type askedMarks struct {
	unsent int
	marks  []askedMark
	head   int
}

type askedMark struct {
	end int64 // Stream offset behind the last of them.
	n   int
}

const askedGrain = 4 << 10

func (a *askedMarks) add(end int64, n int) {
	a.unsent += n
	if last := len(a.marks) - 1; last >= a.head && a.marks[last].n+n <= askedGrain {
		a.marks[last].n += n
		a.marks[last].end = end
		return
	}
	if a.head > 0 && len(a.marks) == cap(a.marks) {
		a.marks = a.marks[:copy(a.marks, a.marks[a.head:])]
		a.head = 0
	}
	a.marks = append(a.marks, askedMark{end, n})
}

// sent forgets what lies before offset.
func (a *askedMarks) sent(offset int64) {
	for a.head < len(a.marks) && a.marks[a.head].end <= offset {
		a.unsent -= a.marks[a.head].n
		a.head++
	}
	if a.head == len(a.marks) && a.head > 0 {
		a.marks, a.head = a.marks[:0], 0
		if cap(a.marks) > 64 {
			a.marks = nil
		}
	}
}
