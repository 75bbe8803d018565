package perf

import (
	"net"
	"sync"
	"syscall"
)

// spillWriter writes without ever blocking its caller. A consumer acks through
// it: a broker may stop reading from a client that does not read its
// deliveries, so a consumer that blocked while writing acks could wait for ever.
//
// What the socket does not take at once is kept and written by a goroutine,
// which ends when nothing is left or the connection fails. The rest is bounded
// by the acks of what was delivered.
type spillWriter struct {
	nc  net.Conn
	raw syscall.RawConn
	try func(fd uintptr) bool // w.attempt, bound once so that send does not allocate.

	mu struct {
		sync.Mutex
		spilling bool   // The goroutine runs, and only it writes.
		pending  []byte // For it to write next.
		spare    []byte // Written, to be pending again.
		err      error
		now      []byte // Arguments and results of attempt.
		written  int
		tryErr   error
	}
	done sync.WaitGroup
}

func newSpillWriter(nc net.Conn) *spillWriter {
	w := &spillWriter{nc: nc}
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			w.raw = raw
		}
	}
	w.try = w.attempt
	return w
}

// send writes b or keeps a copy of what could not be written now. It returns
// the error of this or an earlier write.
func (w *spillWriter) send(b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.err != nil {
		return w.mu.err
	}
	if !w.mu.spilling && w.raw != nil {
		w.mu.now, w.mu.written, w.mu.tryErr = b, 0, nil
		err := w.raw.Write(w.try)
		if err == nil {
			err = w.mu.tryErr
		}
		if err != nil {
			w.mu.err = err
			return err
		}
		b = b[w.mu.written:]
	}
	if len(b) == 0 {
		return nil
	}
	w.mu.pending = append(w.mu.pending, b...)
	if !w.mu.spilling {
		w.mu.spilling = true
		w.done.Go(w.spill)
	}
	return nil
}

func (w *spillWriter) spill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.mu.pending) > 0 && w.mu.err == nil {
		b := w.mu.pending
		w.mu.pending = w.mu.spare[:0]
		w.mu.Unlock()
		_, err := w.nc.Write(b)
		w.mu.Lock()
		w.mu.spare = b[:0]
		w.mu.err = err
	}
	w.mu.spilling = false
}
