package core

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"leveret/core/wheel"
)

// streamReader is a consumer's way through a stream. Consumers take nothing
// from each other, so each has a lock of its own, and ten of them encode for
// their clients at the same time.
//
// A reader hands over what is in memory on whichever goroutine gives it a
// chance: the one that acks, the copier's. What is not in memory is fetched by a
// goroutine of its own, which goes on until there is no credit or nothing more
// to read. Two readers that want the same part of the stream read it once.
type streamReader struct {
	// Fixed by addConsumer.
	q      *stream
	c      *Consumer
	filter *StreamFilter
	fromMS int64 // What arrived before is passed over.

	// Written under mu, read by operators without it.
	started  atomic.Bool
	unacked  atomic.Int64
	prefetch atomic.Int64

	retry wheel.Timer // What could not be read.
	idle  bool        // It is in stream.mu.idle; guarded by the stream's lock.

	mu struct {
		sync.Mutex
		pos      uint64       // The next offset to look at.
		block    *StreamBlock // Has pos, if not nil.
		at       int          // The next message of block.
		fetching bool         // A goroutine fetches, or the timer will.
		waiting  bool         // A limiter, or the outlet, will wake the consumer.
		gone     bool
		pending  []Delivery
	}
}

// addConsumer registers c, paused, where it wants to begin.
func (q *stream) addConsumer(c *Consumer) error {
	q.touch()
	what := q.text()
	switch {
	case c.opts.NoAck:
		return errorf(NotImplemented, "automatic acknowledgement not supported by stream %s", what)
	case c.opts.Prefetch <= 0:
		return errorf(Invalid, "consumer prefetch count is not set for stream %s", what)
	case q.store == nil:
		return errorf(Unavailable, "%s cannot be read: its files cannot be opened", what)
	}
	r := &streamReader{q: q, c: c, filter: streamFilter(c.opts.Arguments)}
	r.retry.Init(readTask{r})
	r.prefetch.Store(int64(c.opts.Prefetch))
	var start streamStart
	if v, ok := c.opts.Arguments.Get(argStreamOffset); ok {
		var why string
		if start, why = parseStreamStart(v, q.broker.now()); why != "" {
			return errorf(Invalid, "invalid arg '%s' for %s: %s", argStreamOffset, what, why)
		}
	}
	var err error
	if start.kind == startTime {
		if r.mu.pos, err = q.store.Since(start.ms); err != nil {
			return errorf(Unavailable, "%s cannot be read now: %v", what, err)
		}
		r.fromMS = start.ms
	}

	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone.Load() {
		return errorf(NotFound, "no %s", what)
	}
	committed := q.committed.Load()
	switch start.kind {
	case startNext:
		r.mu.pos = q.mu.next
	case startLast:
		r.mu.pos = committed - min(committed, 1)
	case startOffset:
		// What is beyond the end begins at the end.
		r.mu.pos = min(start.offset, q.mu.next)
	}
	q.mu.readers[r] = struct{}{}
	c.reader = r
	return nil
}

func (q *stream) startConsumer(c *Consumer, t *Touched) {
	c.reader.started.Store(true)
	c.reader.deliver(t)
}

func (q *stream) removeConsumer(c *Consumer, _ *Touched) (last bool) {
	q.touch()
	c.reader.end()
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, there := q.mu.readers[c.reader]; !there {
		return false
	}
	delete(q.mu.readers, c.reader)
	if c.reader.idle {
		q.mu.idle = slices.DeleteFunc(q.mu.idle, func(r *streamReader) bool { return r == c.reader })
	}
	return len(q.mu.readers) == 0
}

// end makes r hand over nothing more.
func (r *streamReader) end() {
	r.mu.Lock()
	r.mu.gone, r.mu.block = true, nil
	r.mu.Unlock()
	r.q.broker.wheel.Stop(&r.retry)
}

func (q *stream) credit(c *Consumer, t *Touched) {
	r := c.reader
	r.mu.Lock()
	r.mu.waiting = false
	r.mu.Unlock()
	r.deliver(t)
}

// settle gives credit back: a stream does not care how its messages fared.
func (q *stream) settle(h *Holder, op Settlement, seqs []Seq, t *Touched) {
	r := h.consumer.reader
	n := int64(len(seqs))
	switch op {
	case Ack:
		q.counters.acked.Add(uint64(n))
		h.tally.addKind(countAcked, KindStream, int(n))
	case Requeue:
		q.counters.returned.Add(uint64(n))
	case Discard:
		q.counters.rejected.Add(uint64(n))
	}
	r.mu.Lock()
	r.unacked.Store(max(r.unacked.Load()-n, 0))
	r.mu.Unlock()
	r.deliver(t)
	if s := r.c.opts.Shared; s != nil {
		s.release(int(n), t)
	}
}

// deliver hands over what is in memory, as far as credit goes, and sees to it
// that what follows is fetched.
func (r *streamReader) deliver(t *Touched) {
	r.mu.Lock()
	fetch := r.deliverLocked(t)
	r.mu.Unlock()
	if fetch {
		r.q.broker.spawn(r.fetch)
	}
}

// deliverLocked reports whether the caller has to fetch what comes next, which
// is noted in fetching.
func (r *streamReader) deliverLocked(t *Touched) (fetch bool) {
	for r.started.Load() && !r.mu.gone && !r.mu.waiting && !r.mu.fetching {
		room := int64(deliverAtOnce)
		if p := r.prefetch.Load(); p > 0 {
			room = min(room, p-r.unacked.Load())
		}
		if room <= 0 {
			return false
		}
		if r.mu.block == nil {
			switch r.q.lookUp(r) {
			case streamAtEnd:
				return false
			case streamNotHere:
				r.mu.fetching = true
				return true
			}
		}
		if !r.c.opts.Outlet.Room(&r.c.waiter) {
			r.mu.waiting = true
			return false
		}
		r.gatherLocked(int(room))
		if n := len(r.mu.pending); n > 0 {
			r.q.counters.delivered.Add(uint64(n))
			r.c.tally.addKind(countConsumedAck, KindStream, n)
			if taps := r.q.vhost.taps.Load(); taps != nil {
				taps.delivered(r.q, r.c, r.mu.pending)
			}
			if r.c.opts.Outlet.Deliver(r.c, r.mu.pending) {
				t.add(r.c.opts.Outlet)
			}
			clear(r.mu.pending)
			r.mu.pending = r.mu.pending[:0]
		}
	}
	return false
}

// gatherLocked takes up to n messages for the consumer from the block.
func (r *streamReader) gatherLocked(n int) {
	b := r.mu.block
	bytes := 0
	for r.mu.at < len(b.Messages) && len(r.mu.pending) < n && bytes < deliverBytesAtOnce {
		m := &b.Messages[r.mu.at]
		if r.filter.Wants(m) && m.Message.ArrivedMS >= r.fromMS {
			if r.c.opts.Shared != nil && !r.c.opts.Shared.takeOne(&r.c.waiter) {
				r.mu.waiting = true
				break
			}
			r.fromMS = 0 // Clocks may go back; what follows the first one is wanted.
			r.mu.pending = append(r.mu.pending, Delivery{Message: m.Message, Seq: Seq(m.Offset)})
			bytes += len(m.Message.Body)
		}
		r.mu.at++
	}
	r.unacked.Add(int64(len(r.mu.pending)))
	if r.mu.at == len(b.Messages) {
		r.mu.pos, r.mu.block = b.Next, nil
	}
}

// setBlockLocked makes r go on in b.
func (r *streamReader) setBlockLocked(b *StreamBlock) {
	r.mu.block, r.mu.at = b, b.index(r.mu.pos)
	if r.mu.at == len(b.Messages) {
		r.mu.pos, r.mu.block = b.Next, nil
	}
}

// streamPlace says where the next message is.
type streamPlace uint8

const (
	streamHere    streamPlace = iota
	streamAtEnd               // There is none yet; the reader will be woken.
	streamNotHere             // In the files.
)

// lookUp finds r's next block in memory. r.mu is held.
func (q *stream) lookUp(r *streamReader) streamPlace {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone.Load() {
		return streamAtEnd
	}
	if r.mu.pos >= q.committed.Load() {
		if !r.idle {
			r.idle = true
			q.mu.idle = append(q.mu.idle, r)
		}
		return streamAtEnd
	}
	b := q.mu.cache.find(r.mu.pos)
	if q.log == nil {
		b, _, _ = q.store.Read(r.mu.pos, nil) // It is in memory as well.
	}
	if b != nil {
		r.setBlockLocked(b)
		if r.mu.block != nil {
			return streamHere
		}
	}
	return streamNotHere
}

// fetch reads what comes next from the files, and goes on as long as that is
// what the consumer waits for.
func (r *streamReader) fetch() {
	var t Touched
	for fetch := true; fetch; {
		r.mu.Lock()
		pos := r.mu.pos // Nobody else changes it while fetching is set.
		r.mu.Unlock()
		b, next, err := r.q.load(pos, r.filter)
		if errors.Is(err, errStreamGone) {
			return
		}
		if err != nil {
			// What is there and cannot be read now is worth another try.
			r.q.broker.logger.Warn("stream cannot be read now, trying again", "queue", r.q.opts.Name, "vhost", r.q.opts.VHost, "offset", pos, "error", err)
			r.mu.Lock()
			if !r.mu.gone && !r.q.gone.Load() {
				r.q.broker.wheel.Schedule(&r.retry, r.q.broker.now()+streamRetryMS)
			}
			r.mu.Unlock()
			return
		}
		r.mu.Lock()
		r.mu.fetching = false
		if b != nil {
			r.setBlockLocked(b)
		} else {
			r.mu.pos = max(pos, next)
		}
		fetch = r.deliverLocked(&t)
		r.mu.Unlock()
		t.Flush()
		// Readers that want the same block next should come to it before it is
		// let go of: with ten of them, that is three decodings less out of four.
		runtime.Gosched()
	}
}

type readTask struct{ r *streamReader }

// Fire tries again to read.
func (f readTask) Fire(int64) { f.r.q.broker.spawn(f.r.fetch) }

// load returns the block at offset, from memory if somebody else has fetched
// it meanwhile. It returns nothing that is not committed.
func (q *stream) load(offset uint64, filter *StreamFilter) (*StreamBlock, uint64, error) {
	q.mu.Lock()
	if b := q.mu.cache.find(offset); b != nil && b.index(offset) < len(b.Messages) {
		q.mu.Unlock()
		return b, b.Next, nil
	}
	if q.gone.Load() || q.mu.stopped {
		q.mu.Unlock()
		return nil, offset, errStreamGone
	}
	if filter != nil {
		q.mu.Unlock()
		return q.read(offset, filter)
	}
	l := q.mu.cache.loading(offset)
	q.mu.Unlock()
	l.once.Do(func() {
		l.block, l.next, l.err = q.read(offset, nil)
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.mu.cache.loads, offset)
		if l.block != nil && !q.gone.Load() {
			q.mu.cache.put(l.block, q.cacheBytesLocked())
			q.chargeLocked()
		}
	})
	return l.block, l.next, l.err
}

var errStreamGone = errors.New("the stream is gone")

// read reads from the files. It cuts off what they have and readers may not see
// yet: the copier has appended it and did not come to say so.
func (q *stream) read(offset uint64, filter *StreamFilter) (*StreamBlock, uint64, error) {
	b, next, err := q.store.Read(offset, filter)
	committed := max(q.committed.Load(), offset)
	if b != nil && b.Next > committed {
		if n := b.index(committed); n > 0 {
			b = NewStreamBlock(b.First, b.Messages[:n:n])
		} else {
			b = nil
		}
	}
	return b, min(next, committed), err
}
