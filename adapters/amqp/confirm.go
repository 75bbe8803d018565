package amqp

import (
	"leveret/adapters/amqp/wire"
	"leveret/core"
)

// The state of a publish above tracker.done.
const (
	publishOpen uint8 = iota
	publishAccepted
	publishRefused
	publishAckSent  // Its ack is in the out-buffer although a lower number is open.
	publishNackSent // The same with a nack.
)

// tracker turns completions, which come as ranges of publish numbers in any
// order, into the confirms of one channel: one multiple ack for all that is
// accepted below the lowest open or refused number, single acks and nacks
// above it. A multiple ack never covers a number that was nacked: clients that
// put confirms in order (amqp091-go) would take it for accepted.
//
// While completions come in order, which they do unless a message is stored,
// it is two numbers and holds no memory. Guarded by the connection's
// confirms.mu.
type tracker struct {
	sent uint64 // Each number up to it has its confirm in the out-buffer.
	done uint64 // Each number in (sent, done] is accepted.

	above []uint8 // States of the numbers from done+1 on; what lies before head is used up.
	head  int

	// Numbers in [unsentLow, unsentHigh] may be complete and not confirmed.
	unsentLow, unsentHigh uint64

	dirty bool // On the connection's list of channels with something to emit.
}

// complete notes that the numbers first to last are done with.
func (t *tracker) complete(first, last uint64, accepted bool) {
	if first <= t.done {
		first = t.done + 1
	}
	if first > last {
		return
	}
	if accepted && first == t.done+1 && t.head == len(t.above) {
		t.done = last
		return
	}
	if t.head > 0 && t.head*2 >= len(t.above) {
		t.above = t.above[:copy(t.above, t.above[t.head:])]
		t.head = 0
	}
	need := t.head + int(last-t.done)
	for len(t.above) < need {
		t.above = append(t.above, publishOpen)
	}
	state := publishAccepted
	if !accepted {
		state = publishRefused
	}
	states := t.above[t.head+int(first-t.done)-1 : need]
	for i := range states {
		if states[i] == publishOpen {
			states[i] = state
		}
	}
	if t.unsentHigh == 0 || first < t.unsentLow {
		t.unsentLow = first
	}
	t.unsentHigh = max(t.unsentHigh, last)
}

// emit calls confirm for each ack and nack that is due, in an order a client
// can take.
func (t *tracker) emit(confirm func(number uint64, multiple, ack bool)) {
	for {
		fresh := t.done > t.sent
		for t.head < len(t.above) {
			state := t.above[t.head]
			if state != publishAccepted && state != publishAckSent {
				break
			}
			fresh = fresh || state == publishAccepted
			t.head++
			t.done++
		}
		if fresh {
			confirm(t.done, t.done > t.sent+1, true)
		}
		t.sent = t.done
		if t.head == len(t.above) {
			t.above, t.head = t.above[:0], 0
			if cap(t.above) > 1<<16 {
				t.above = nil
			}
			break
		}
		state := t.above[t.head]
		if state == publishOpen {
			break
		}
		if state == publishRefused {
			confirm(t.done+1, false, false)
		}
		t.head++
		t.done++
		t.sent = t.done
	}
	if t.unsentHigh <= t.done {
		t.unsentLow, t.unsentHigh = 0, 0
		return
	}
	for n := max(t.unsentLow, t.done+1); n <= t.unsentHigh; n++ {
		switch state := &t.above[t.head+int(n-t.done)-1]; *state {
		case publishAccepted:
			confirm(n, false, true)
			*state = publishAckSent
		case publishRefused:
			confirm(n, false, false)
			*state = publishNackSent
		}
	}
	t.unsentLow, t.unsentHigh = 0, 0
}

// Completed is part of core.Completer.
func (ch *channel) Completed(first, last uint64, k core.Kind) {
	c := ch.conn
	c.confirms.mu.Lock()
	ch.tracker.complete(first, last, k == core.OK)
	wake := c.noteConfirmsLocked(ch)
	c.confirms.mu.Unlock()
	if wake {
		c.out.Kick()
	}
}

// confirm completes one publish on the reader's own goroutine.
func (c *conn) confirm(ch *channel, number uint64, accepted bool) {
	c.confirms.mu.Lock()
	ch.tracker.complete(number, number, accepted)
	c.noteConfirmsLocked(ch)
	c.confirms.mu.Unlock()
}

// noteConfirmsLocked lists ch among those with confirms to write. It reports
// whether the caller has to wake the writer. confirms.mu is held.
func (c *conn) noteConfirmsLocked(ch *channel) bool {
	if ch.tracker.dirty {
		return false
	}
	ch.tracker.dirty = true
	c.confirms.dirty = append(c.confirms.dirty, ch)
	return !c.confirms.attended && len(c.confirms.dirty) == 1
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
	if len(c.confirms.dirty) > 0 {
		c.work.flushOwn = true
	}
	c.confirms.mu.Unlock()
}

// writeConfirms turns completions into acks, one multiple ack for a channel
// where possible. The out-buffer calls it, locked, before it writes.
func (c *conn) writeConfirms() {
	c.confirms.mu.Lock()
	defer c.confirms.mu.Unlock()
	if len(c.confirms.dirty) == 0 {
		return
	}
	before := len(c.out.B)
	for i, ch := range c.confirms.dirty {
		c.confirms.dirty[i] = nil
		ch.tracker.dirty = false
		if c.underOut.closed || ch.mute {
			continue
		}
		ch.tracker.emit(func(number uint64, multiple, ack bool) {
			if ack {
				c.out.B = wire.AppendAck(c.out.B, ch.id, number, multiple)
			} else {
				c.out.B = wire.AppendNack(c.out.B, ch.id, number, multiple, false)
			}
		})
	}
	c.confirms.dirty = c.confirms.dirty[:0]
	if n := len(c.out.B) - before; n > 0 {
		c.out.Asked(n)
	}
}
