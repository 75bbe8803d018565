package core

import (
	"errors"
	"slices"
)

const (
	// streamCopyMax bounds how much is appended at a time.
	streamCopyMax = 4 << 20
	// streamRetryMS is when to try again what failed for now.
	streamRetryMS = 1000
)

// appendLocked commits what is pending at once, in a broker that keeps
// nothing. It returns the readers to be told, without the lock.
func (q *stream) appendLocked() []*streamReader {
	if len(q.mu.pending) == 0 {
		return nil
	}
	if err := q.store.Append(q.mu.pending); err != nil {
		q.failLocked(err)
		return nil
	}
	q.committed.Store(q.mu.next)
	q.mu.pending, q.mu.pendingBytes = nil, 0
	if q.mu.maxBytes > 0 && q.store.Bounds().Bytes > q.mu.maxBytes {
		_ = q.store.Retain(q.mu.maxBytes, 0) // Memory does not fail.
	}
	return q.takeIdleLocked()
}

// overLocked reports whether the stream is longer than it may be and can be
// made shorter.
func (q *stream) overLocked() bool {
	if q.mu.maxBytes == 0 || q.store == nil {
		return false
	}
	b := q.store.Bounds()
	return b.Bytes > q.mu.maxBytes && b.Segments > 1
}

func (q *stream) takeIdleLocked() []*streamReader {
	idle := q.mu.idle
	q.mu.idle = nil
	for _, r := range idle {
		r.idle = false
	}
	return idle
}

// wakeCopier starts the copier if there is something to copy. No lock is held.
func (q *stream) wakeCopier() {
	q.mu.Lock()
	start := !q.mu.copying && !q.mu.holdOff && !q.mu.stopped && q.mu.failed == nil && q.readyToCopyLocked() > 0
	if start {
		q.mu.copying = true
	}
	q.mu.Unlock()
	if start {
		q.broker.spawn(q.copy)
	}
}

// readyToCopyLocked returns how many messages the log has written and the files
// lack: of the backlog, or, if there is none, of pending.
func (q *stream) readyToCopyLocked() int {
	if q.log == nil || q.gone.Load() {
		return 0
	}
	if n := len(q.mu.backlog); n > 0 {
		return n
	}
	written := uint64(q.log.Written(0))
	n, _ := slices.BinarySearchFunc(q.mu.pending, written, func(m StreamMessage, o uint64) int {
		if m.Offset < o {
			return -1
		}
		return 1
	})
	return n
}

// copy is the copier: it appends what the log has written to the stream's own
// files and lets go of it in the log. It ends when there is nothing to do, and
// starts again with the next set that is written.
func (q *stream) copy() {
	for {
		batch, more := q.takeBatch()
		if !more {
			return
		}
		var err error
		if len(batch) != 0 {
			err = q.store.Append(batch)
		}
		if !q.copied(batch, err) {
			return
		}
	}
}

// takeBatch returns the next messages to copy; more is false when the copier
// has ended.
func (q *stream) takeBatch() (batch []StreamMessage, more bool) {
	q.mu.Lock()
	n := q.readyToCopyLocked()
	if n == 0 || q.mu.stopped || q.mu.failed != nil {
		q.endCopierLocked()
		q.mu.Unlock()
		return nil, false
	}
	if len(q.mu.backlog) != 0 {
		seqs := q.mu.backlog[:min(n, fetchAtOnce)]
		q.mu.Unlock()
		return q.readBacklog(seqs)
	}
	bytes := int64(0)
	for i := range q.mu.pending[:n] {
		if bytes += streamMessageBytes(q.mu.pending[i].Message); bytes >= streamCopyMax {
			n = i + 1
			break
		}
	}
	batch = q.mu.pending[:n:n]
	q.mu.Unlock()
	return batch, true
}

func (q *stream) endCopierLocked() {
	q.mu.copying = false
	q.mu.idled.Broadcast()
}

// readBacklog reads recovered messages from the log. Those that are lost are
// passed over.
func (q *stream) readBacklog(seqs []Seq) (batch []StreamMessage, more bool) {
	kept := make([]Message, len(seqs))
	batch = make([]StreamMessage, 0, len(seqs))
	var notNow error
	q.broker.log.Read(q.opts.ID, seqs, func(i int, m *Message, err error) {
		switch {
		case err == nil && notNow == nil:
			kept[i].keepIn(make([]byte, 0, streamCopyBytes(m)), m, uint64(seqs[i]))
			batch = append(batch, streamMessage(&kept[i], uint64(seqs[i])))
		case errors.Is(err, ErrNotNow) || notNow != nil:
			notNow = errors.Join(notNow, err)
		default:
			q.counters.damaged.Add(1)
			q.broker.logger.Error("message lost: it cannot be read back from the log", "queue", q.opts.Name, "vhost", q.opts.VHost, "error", err)
		}
	})
	if notNow != nil {
		q.copied(nil, errors.Join(ErrStreamFull, notNow))
		return nil, false
	}
	q.mu.Lock()
	// What could not be read is let go of with the rest.
	q.mu.settled = append(q.mu.settled[:0], seqs...)
	q.mu.Unlock()
	return batch, true
}

// copied makes batch visible and settles it, or deals with err. It reports
// whether the copier goes on.
func (q *stream) copied(batch []StreamMessage, err error) bool {
	q.mu.Lock()
	if err != nil || q.gone.Load() {
		again := err != nil && errors.Is(err, ErrStreamFull) && !q.gone.Load()
		if err != nil && !again && !q.gone.Load() {
			q.failLocked(err)
		}
		q.mu.settled = q.mu.settled[:0]
		q.endCopierLocked()
		stopped := q.mu.stopped
		q.mu.holdOff = again
		q.mu.Unlock()
		if again && !stopped {
			q.broker.logger.Warn("stream cannot be written now, trying again", "queue", q.opts.Name, "vhost", q.opts.VHost, "error", err)
			q.retain() // What may go makes room.
			q.broker.wheel.Schedule(&q.copyTimer, q.broker.now()+streamRetryMS)
		}
		return false
	}
	if n := len(q.mu.settled); n != 0 {
		q.mu.backlog = q.mu.backlog[n:]
	} else {
		for i := range batch {
			q.mu.settled = append(q.mu.settled, Seq(batch[i].Offset))
			q.mu.pendingBytes -= streamMessageBytes(batch[i].Message)
		}
		// A block keeps its slice alive, and should not keep what comes behind.
		q.mu.pending = append([]StreamMessage(nil), q.mu.pending[len(batch):]...)
	}
	if len(batch) != 0 {
		q.mu.cache.add(batch, q.cacheBytesLocked())
		q.committed.Store(batch[len(batch)-1].Offset + 1)
	}
	q.log.Settle(q.mu.settled)
	q.mu.settled = q.mu.settled[:0]
	if q.mu.pendingBytes < streamLagMax/2 {
		q.lag.set(false)
	}
	q.chargeLocked()
	idle := q.takeIdleLocked()
	over := q.overLocked()
	q.mu.Unlock()
	if len(idle) != 0 {
		// The next batch is copied while readers get this one.
		q.broker.spawn(func() {
			var t Touched
			for _, r := range idle {
				r.deliver(&t)
			}
			t.Flush()
		})
	}
	if over {
		q.retain()
	}
	return true
}

// failLocked makes err the end of publishing into the stream. What is confirmed
// stays in the log, and is copied after a restart.
func (q *stream) failLocked(err error) {
	q.mu.failed = err
	q.lag.set(false)
	q.broker.logger.Error("stream failed: it takes no messages until the broker is started anew", "queue", q.opts.Name, "vhost", q.opts.VHost, "error", err)
}

type copyTask struct{ q *stream }

// Fire tries again to copy.
func (c copyTask) Fire(int64) {
	c.q.mu.Lock()
	c.q.mu.holdOff = false
	c.q.mu.Unlock()
	c.q.wakeCopier()
}

// retain removes what is too old or too much. It may block; one caller at a
// time does it.
func (q *stream) retain() {
	q.mu.Lock()
	if q.mu.retaining || q.gone.Load() || q.mu.stopped || q.store == nil {
		q.mu.Unlock()
		return
	}
	q.mu.retaining = true
	maxBytes, before := q.mu.maxBytes, int64(0)
	if q.mu.maxAgeMS > 0 {
		before = max(q.broker.now()-q.mu.maxAgeMS, 1)
	}
	q.mu.Unlock()
	err := q.store.Retain(maxBytes, before)
	first := q.store.Bounds().First
	q.mu.Lock()
	q.mu.retaining = false
	q.mu.idled.Broadcast()
	q.mu.cache.dropBelow(first)
	q.chargeLocked()
	gone := q.gone.Load()
	q.mu.Unlock()
	if err != nil && !gone {
		q.broker.logger.Warn("stream: retention failed", "queue", q.opts.Name, "vhost", q.opts.VHost, "error", err)
	}
}

type retainTask struct{ q *stream }

// Fire applies x-max-age.
func (r retainTask) Fire(int64) {
	r.q.broker.spawn(r.q.retain)
	r.q.scheduleRetention()
}

// scheduleRetention has retention look at the age of segments now and then.
func (q *stream) scheduleRetention() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.maxAgeMS > 0 && !q.gone.Load() && !q.mu.stopped {
		every := min(max(q.mu.maxAgeMS/8, 1000), 60_000)
		q.broker.wheel.Schedule(&q.retainTimer, q.broker.now()+every)
	}
}
