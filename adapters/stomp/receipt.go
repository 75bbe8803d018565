package stomp

import (
	"sync"

	"leveret/adapters/stomp/wire"
	"leveret/core"
)

// receipts turns completions, which come as ranges of publish numbers in any
// order, into RECEIPTs, in the order in which they come.
//
// A publish with a receipt gets a number when it is accepted (expect), and an
// entry with the receipt's text, which lies in one array with the others, in
// order. Entries go when all before them are done.
type receipts struct {
	mu sync.Mutex

	entries []receipt // Of the numbers from base on; those before head are done with.
	head    int
	base    uint64 // The number of entries[0].
	text    []byte

	ready []completed // Not yet told to the client.

	// attended is true while the reader will flush before it parks, so that
	// completions need not wake the writer.
	attended bool
	// drained is closed when nothing is left to wait for; nil if nobody waits.
	drained chan struct{}
}

type receipt struct {
	at, n  uint32      // Of text.
	commit *committing // Whose transaction the message belongs to, or nil.
	silent bool        // Only commit wants to know.
	done   bool
}

// completed is a range of numbers that are done with.
type completed struct {
	first, last uint64
	kind        core.Kind
}

// committing is a COMMIT that waits for its messages.
type committing struct {
	open    int // Messages not yet done with, and one while it is being published.
	receipt []byte
	wanted  bool
	refused core.Kind
}

// textMax bounds what is kept for later when nothing is waiting.
const textMax = 64 << 10

// expect adds the receipt of publish c.number, which is the next one.
func (c *conn) expect(id []byte) { c.expectFor(id, true, nil) }

func (c *conn) expectFor(id []byte, wanted bool, t *committing) {
	r := &c.confirms
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.entries) == 0 {
		r.base, r.head = c.number, 0
	}
	if r.head > 256 && r.head*2 > len(r.entries) && len(r.entries) == cap(r.entries) {
		from := r.entries[r.head].at
		r.text = r.text[:copy(r.text, r.text[from:])]
		n := copy(r.entries, r.entries[r.head:])
		clear(r.entries[n:])
		r.entries = r.entries[:n]
		for i := range r.entries {
			r.entries[i].at -= from
		}
		r.base += uint64(r.head)
		r.head = 0
	}
	r.entries = append(r.entries, receipt{at: uint32(len(r.text)), n: uint32(len(id)), commit: t, silent: !wanted})
	r.text = append(r.text, id...)
}

// Completed is part of core.Completer.
func (c *conn) Completed(first, last uint64, k core.Kind) {
	if c.complete(first, last, k) {
		c.out.Kick()
	}
}

// confirm completes one publish on the reader's own goroutine.
func (c *conn) confirm(number uint64) { c.complete(number, number, core.OK) }

// complete notes a range. It reports whether the writer has to be woken.
func (c *conn) complete(first, last uint64, k core.Kind) bool {
	r := &c.confirms
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.ready); n > 0 && r.ready[n-1].last+1 == first && r.ready[n-1].kind == k {
		r.ready[n-1].last = last
		return false
	}
	r.ready = append(r.ready, completed{first, last, k})
	return !r.attended && len(r.ready) == 1
}

// attended promises that the reader flushes before it waits for anything.
func (c *conn) attended() {
	c.confirms.mu.Lock()
	c.confirms.attended = true
	c.confirms.mu.Unlock()
}

// unattended ends that promise: what has been completed so far goes out with
// the next flush of our own buffer, what comes later wakes the writer.
func (c *conn) unattended() {
	c.confirms.mu.Lock()
	c.confirms.attended = false
	if len(c.confirms.ready) > 0 {
		c.work.flushOwn = true
	}
	c.confirms.mu.Unlock()
}

// writeReceipts tells the client what is complete. The out-buffer calls it,
// locked, before it writes.
func (c *conn) writeReceipts() {
	r := &c.confirms
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ready) == 0 {
		return
	}
	before := len(c.out.B)
	for _, done := range r.ready {
		for n := done.first; n <= done.last; n++ {
			c.writeReceipt(n, done.kind)
		}
	}
	if r.ready = r.ready[:0]; cap(r.ready) > 1024 {
		r.ready = nil
	}
	for r.head < len(r.entries) && r.entries[r.head].done {
		r.head++
	}
	if r.head == len(r.entries) {
		r.entries, r.text, r.head = r.entries[:0], r.text[:0], 0
		if cap(r.text) > textMax {
			r.entries, r.text = nil, nil
		}
		if r.drained != nil {
			close(r.drained)
			r.drained = nil
		}
	}
	if n := len(c.out.B) - before; n > 0 {
		c.out.Asked(n)
	}
}

// writeReceipt appends the answer to publish n. Both locks are held.
func (c *conn) writeReceipt(n uint64, k core.Kind) {
	r := &c.confirms
	i := n - r.base
	if n < r.base || i >= uint64(len(r.entries)) || r.entries[i].done {
		return
	}
	e := &r.entries[i]
	e.done = true
	if !e.silent && !c.underOut.closed {
		c.appendOutcome(r.text[e.at:e.at+e.n], k)
	}
	if t := e.commit; t != nil {
		if k != core.OK {
			t.refused = k
		}
		c.commitDone(t)
		e.commit = nil
	}
}

// appendOutcome appends a RECEIPT, or, if the message was refused, an ERROR.
// Both locks are held.
func (c *conn) appendOutcome(id []byte, k core.Kind) {
	if k == core.OK {
		c.out.Reserve(len(id) + 32)
		c.out.B = wire.AppendReceipt(c.out.B, id)
		return
	}
	text, _ := wire.Unescape(id, c.version)
	e := open(replies[k].message, "%s - a queue refused the message: %s", replies[k].name, k)
	c.out.B = wire.AppendFrame(c.out.B, e.frame(text), c.version)
}

// commitDone counts one message of a transaction as done with, and answers its
// COMMIT after the last. Both locks are held.
func (c *conn) commitDone(t *committing) {
	if t.open--; t.open > 0 || c.underOut.closed {
		return
	}
	if t.wanted || t.refused != core.OK {
		c.appendOutcome(t.receipt, t.refused)
	}
}

// waitReceipts blocks until every SEND has had its answer. It reports false if
// the connection has ended.
func (c *conn) waitReceipts() bool {
	c.flushAll()
	r := &c.confirms
	r.mu.Lock()
	if len(r.entries) == r.head && len(r.ready) == 0 {
		r.mu.Unlock()
		return true
	}
	if r.drained == nil {
		r.drained = make(chan struct{})
	}
	drained := r.drained
	r.mu.Unlock()
	c.out.Kick()
	c.paused.Store(true)
	defer c.paused.Store(false)
	select {
	case <-drained:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// clone copies a receipt id that lies in the read buffer; nil stays nil.
func clone(id []byte) []byte {
	if id == nil {
		return nil
	}
	return append([]byte{}, id...)
}
