package core

import (
	"sync"
	"sync/atomic"

	"leveret/core/wheel"
)

// stream is a queue whose messages stay until retention removes them, and that
// any number of consumers read from wherever they like.
//
//	publishers: push --> pending (in memory) and, by the change set, the log
//	                        |  when the log has written them
//	                     copier: StreamLog.Append, in order of offsets
//	                        |                          \
//	                     committed: readers see it      settled in the log
//	                        |
//	                     cache of blocks <-- fetch: StreamLog.Read
//	                        |
//	                     streamReader, one for each consumer --> Outlet
//
// An offset is the number that the log knows the reference by. A reader sees one
// only when it and all lower ones are in the stream's own files: otherwise a
// crash could give a number that somebody has seen to another message. A number
// whose message never became durable stays unused.
//
// Without a message log, in a broker that keeps nothing, messages are appended
// at once by their publisher.
//
// Its methods are spread over stream_push.go (in), stream_copy.go (to the
// files, retention), stream_read.go (out) and stream_cache.go.
//
// Lock order: a reader's, then the stream's.
type stream struct {
	// Fixed by newStream.
	vhost  *VHost
	broker *Broker
	opts   *QueueOptions
	log    QueueLog  // nil if the broker keeps nothing.
	store  StreamLog // nil if it could not be opened.

	gone    atomic.Bool // Written under mu.
	lastUse atomic.Int64
	// committed is below which readers see everything; written under mu.
	committed atomic.Uint64
	counters  streamCounters
	lag       gate // Closed while the copier is too far behind.

	retainTimer wheel.Timer // x-max-age
	copyTimer   wheel.Timer // What could not be copied.

	mu struct {
		sync.Mutex
		next    uint64          // The next message's offset.
		pending []StreamMessage // Not yet committed, ascending.
		// pendingBytes is what pending takes.
		pendingBytes int64
		backlog      []Seq // Recovered and not yet copied; comes before pending.
		copying      bool  // The copier runs.
		holdOff      bool  // It failed for now: copyTimer will start it.
		retaining    bool  // Retention runs.
		stopped      bool  // The broker closes: no copier is started any more.
		idled        *sync.Cond
		failed       error // Why the stream takes no messages any more.

		readers map[*streamReader]struct{}
		idle    []*streamReader // Have seen all that is committed.
		cache   streamCache
		charged int64 // What Memory knows of.

		lastPublishMS int64
		settled       []Seq // Scratch space of the copier.

		maxBytes int64 // 0 for no limit.
		maxAgeMS int64 // 0 for no limit.
	}
}

type streamCounters struct {
	published, delivered, acked, returned, rejected, damaged atomic.Uint64
}

// newStream makes a stream that o describes. The caller makes it known.
func newStream(v *VHost, o *QueueOptions) Queue {
	b := v.broker
	q := &stream{vhost: v, broker: b, opts: o}
	q.mu.idled = sync.NewCond(&q.mu)
	q.mu.readers = make(map[*streamReader]struct{})
	q.lastUse.Store(b.now())
	q.retainTimer.Init(retainTask{q})
	q.copyTimer.Init(copyTask{q})
	rules := rulesOf(o)
	store, err := b.streams.OpenStream(o.ID, o.stream(&rules))
	if err != nil {
		b.logger.Error("stream cannot be opened: it takes and gives nothing", "queue", o.Name, "vhost", o.VHost, "error", err)
		q.mu.failed = err
		return q
	}
	q.store = store
	if b.keepsStreams {
		q.log = b.log.OpenQueue(o.ID)
	}
	q.mu.next = store.Bounds().Next
	q.committed.Store(q.mu.next)
	q.applyRules(rules)
	return q
}

// applyRules makes r the rules in force, as far as they are about streams.
func (q *stream) applyRules(r queueRules) {
	q.mu.Lock()
	q.mu.maxBytes, q.mu.maxAgeMS = max(r.maxLengthBytes, 0), r.maxAgeMS
	over := q.overLocked()
	q.mu.Unlock()
	q.scheduleRetention()
	if over {
		q.broker.spawn(q.retain)
	}
}

const (
	// streamSegmentBytes is the size of segments unless the declare says one.
	streamSegmentBytes = 64 << 20
	// streamSegmentMin is the least size that is chosen for a short stream.
	streamSegmentMin = 64 << 10
	// streamFilterBytes is the size of filters unless the declare says one.
	streamFilterBytes = 16
)

// stream is what the store has to know. A stream that is limited to less than
// a few segments of the usual size gets smaller ones, since only whole segments
// are removed.
func (o *QueueOptions) stream(r *queueRules) StreamOptions {
	s := StreamOptions{SegmentBytes: streamSegmentBytes, FilterBytes: streamFilterBytes}
	if r.maxLengthBytes >= 0 {
		s.SegmentBytes = min(s.SegmentBytes, max(streamSegmentMin, r.maxLengthBytes/8))
	}
	if v, ok := o.Arguments.Get(argStreamSegment); ok {
		if n, ok := Integer(v); ok && n > 0 {
			s.SegmentBytes = n
		}
	}
	if v, ok := o.Arguments.Get(argStreamFilterSize); ok {
		if n, ok := Integer(v); ok {
			s.FilterBytes = int(min(max(n, 16), 255))
		}
	}
	return s
}

func (q *stream) Options() *QueueOptions { return q.opts }

func (q *stream) closed() bool { return q.gone.Load() }

func (q *stream) touch() { q.lastUse.Store(q.broker.now()) }

// text is the stream as error texts name it.
func (q *stream) text() string { return q.vhost.queueText(q.opts.Name) }

// chargeLocked lets the memory account know what is kept in memory.
func (q *stream) chargeLocked() {
	now := q.mu.pendingBytes + q.mu.cache.bytes
	if q.log == nil && q.store != nil && !q.gone.Load() {
		now += q.store.Bounds().Bytes
	}
	if now != q.mu.charged {
		q.broker.memory.charge(now - q.mu.charged)
		q.mu.charged = now
	}
}

// recover takes over what the log held: what the files have is settled, the
// rest will be copied.
func (q *stream) recover(r RecoveredLevel) {
	if q.log == nil {
		return // It cannot be opened; its messages stay in the log.
	}
	q.mu.Lock()
	have := q.store.Bounds().Next
	q.mu.next = max(q.mu.next, uint64(r.Next))
	var settled []Seq
	for _, e := range r.Entries {
		if uint64(e.Seq) < have {
			settled = append(settled, e.Seq)
		} else {
			q.mu.backlog = append(q.mu.backlog, e.Seq)
		}
	}
	if len(settled) != 0 {
		q.log.Settle(settled)
	}
	q.mu.Unlock()
	q.wakeCopier()
}

// get is refused before it comes here.
func (q *stream) get(*tally, bool, func(*Holder, *Delivery, int)) (bool, error) {
	return false, errorf(NotImplemented, "basic.get not supported by stream queues %s", q.text())
}

// purge is refused before it comes here.
func (q *stream) purge(*Touched) int { return 0 }

func (q *stream) counts() (ready, consumers int) {
	return q.ready(), 0 // Consumers of a stream take nothing from each other.
}

// ready is how many messages a reader can see.
func (q *stream) ready() int {
	if q.store == nil {
		return 0
	}
	committed := q.committed.Load()
	return int(committed - min(committed, q.store.Bounds().First))
}

func (q *stream) closeIf(cond func(QueueInfo) error) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone.Load() {
		return 0, errorf(NotFound, "no %s", q.text())
	}
	i := q.infoLocked()
	if err := cond(i); err != nil {
		return 0, err
	}
	q.gone.Store(true)
	if q.log != nil {
		q.log.Drop()
	}
	q.broker.wheel.Stop(&q.retainTimer)
	q.broker.wheel.Stop(&q.copyTimer)
	q.mu.pending, q.mu.pendingBytes, q.mu.backlog = nil, 0, nil
	q.mu.cache.clear()
	q.chargeLocked()
	q.lag.set(false)
	return i.Ready, nil
}

func (q *stream) dropConsumers(reason string, _ *Touched) {
	q.mu.Lock()
	gone := q.mu.readers
	q.mu.readers, q.mu.idle = nil, nil
	q.mu.Unlock()
	for r := range gone {
		r.end()
		r.c.session.removeConsumer(r.c)
		if r.c.opts.Cancelled != nil {
			r.c.opts.Cancelled(r.c, reason)
		}
	}
	if q.store != nil {
		q.broker.spawn(func() {
			q.awaitCopier()
			if err := q.store.Delete(); err != nil {
				q.broker.logger.Warn("files of a deleted stream remain until the next start", "queue", q.opts.Name, "vhost", q.opts.VHost, "error", err)
			}
		})
	}
}

// Summary is Info without the list of consumers.
func (q *stream) Summary() QueueInfo {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.infoLocked()
	for r := range q.mu.readers {
		i.Unacked += int(r.unacked.Load())
	}
	return i
}

// Info is a consistent snapshot.
func (q *stream) Info() QueueInfo {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.infoLocked()
	for r := range q.mu.readers {
		row := ConsumerInfo{
			Tag: r.c.opts.Tag, Session: r.c.session, Scope: r.c.opts.Scope, Destination: r.c.opts.Destination, Exclusive: r.c.opts.Exclusive,
			Priority: r.c.opts.Priority, Arguments: r.c.opts.Arguments,
		}
		row.Prefetch, row.Unacked = int(r.prefetch.Load()), int(r.unacked.Load())
		row.Active = r.started.Load()
		i.Unacked += row.Unacked
		i.ConsumerList = append(i.ConsumerList, row)
	}
	return i
}

func (q *stream) infoLocked() QueueInfo {
	i := QueueInfo{
		Options: q.opts, Consumers: len(q.mu.readers),
		IdleSinceMS: max(q.mu.lastPublishMS, q.lastUse.Load()),
		MemoryBytes: q.mu.charged,
		Counters: QueueCounters{
			Published: q.counters.published.Load(), DeliveredAck: q.counters.delivered.Load(), Acked: q.counters.acked.Load(),
			Returned: q.counters.returned.Load(), Rejected: q.counters.rejected.Load(), Damaged: q.counters.damaged.Load(),
		},
	}
	if q.store == nil {
		return i
	}
	b := q.store.Bounds()
	committed := q.committed.Load()
	i.Stream = &StreamInfo{
		First: min(b.First, committed), Next: committed, Segments: b.Segments, Bytes: b.Bytes,
		Uncommitted: len(q.mu.pending) + len(q.mu.backlog), UncommittedBytes: q.mu.pendingBytes,
	}
	i.Ready = int(committed - i.Stream.First)
	i.ReadyBytes = b.Bytes
	i.InMemory = q.mu.cache.messages
	if q.log != nil {
		i.Persistent = i.Ready
	} else {
		i.InMemory = i.Ready
	}
	return i
}

// StreamInfo is what QueueInfo has of a stream besides.
type StreamInfo struct {
	First, Next      uint64 // The offsets in [First, Next) can be read, but for holes.
	Segments         int
	Bytes            int64 // Of storage.
	Uncommitted      int   // Published messages that cannot be read yet,
	UncommittedBytes int64 // and the memory that they take.
}

// trim gives back memory that nobody has asked for lately.
func (q *stream) trim() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.cache.trim(q.cacheBytesLocked())
	q.mu.settled = nil
	q.chargeLocked()
}

// stop waits for the copier: after it nothing uses the stream's files.
func (q *stream) stop() {
	q.mu.Lock()
	q.mu.stopped = true
	q.mu.Unlock()
	q.awaitCopier()
}

func (q *stream) awaitCopier() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.mu.copying || q.mu.retaining {
		q.mu.idled.Wait()
	}
}

func (q *stream) setPrefetch(c *Consumer, n int, t *Touched) {
	c.reader.prefetch.Store(int64(n))
	c.reader.deliver(t)
}
