package core

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"leveret/core/hamt"
	"leveret/core/wheel"
)

// retention keeps the retained messages of one exchange: the last one published
// with Publication.Retain under each routing key.
//
// They live in the message log, as the entries of a queue that nobody sees, so
// that retaining one is part of the change set, and of the one sync, that its
// publish waits for anyway; a definition for each would be a commit of its own
// and would keep every body in memory. In memory is a trie of the keys' words
// and, up to the share of a queue, the messages themselves, those retained last.
//
// Readers walk the trie in short parts, each in the trie of its time and without
// a lock: publishers change in place what nobody has seen yet and replace the
// rest path by path. No reader, however slow, keeps an old trie. What it finds
// gone from the log it looks up again in the trie of now.
//
// A message that replaces another is in the log before that is let go of: a
// crash in between leaves both, and the later one counts. What is cleared is
// let go of in the publisher's own change set.
type retention struct {
	// Fixed when it is made.
	broker *Broker
	id     QueueID
	log    QueueLog
	// loading, unless nil, is closed when what was stored is loaded, or only
	// some of it.
	loading chan struct{}
	partial atomic.Bool

	count atomic.Int64
	bytes atomic.Int64 // Of the messages, in memory or not.
	timer wheel.Timer

	mu struct {
		sync.Mutex
		root     *retainedNode
		edit     *hamt.Edit // Of the nodes that no reader has seen, or nil.
		next     Seq
		charged  int64            // To the broker's memory.
		inMemory int64            // Bytes of what recent holds.
		recent   []*retained      // In the order of their numbers, some gone since.
		stale    int              // Those of recent that are gone.
		timed    retainedTimes    // A heap of those that expire, some gone since.
		late     int              // Those of timed that are gone.
		found    []RecoveredEntry // While the broker starts.
		dropped  bool
	}
}

// retained is one message. It is never changed but for m.
type retained struct {
	seq       Seq
	key       string
	bytes     int64 // What it takes in memory.
	expiresMS int64 // 0 for never.
	m         atomic.Pointer[Message]
	gone      bool // Guarded by the retention's lock.
}

// retainedTimes is a heap.
type retainedTimes []retainedTime

type retainedTime struct {
	atMS int64
	r    *retained
}

// retainedLevelsMax bounds the words of a key: each takes a node.
const retainedLevelsMax = 256

// retainedUpkeep is about what a message takes besides its bytes.
const retainedUpkeep = 256

func newRetention(b *Broker, id QueueID) *retention {
	r := &retention{broker: b, id: id, log: b.log.OpenQueue(id)}
	r.mu.root = &retainedNode{}
	r.timer.Init(r)
	return r
}

// putLocked changes what is under key, nil for nothing, and returns what was.
func (r *retention) putLocked(key string, m *retained) (old *retained) {
	if r.mu.edit == nil {
		r.mu.edit = new(hamt.Edit)
	}
	r.mu.root, old = r.mu.root.put(r.mu.edit, key, m)
	return old
}

// snapshot returns the trie as it is, to be read without the lock.
func (r *retention) snapshot() *retainedNode {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.edit = nil
	return r.mu.root
}

// get returns what is retained under key, or nil.
func (r *retention) get(key string) *retained {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.root.get(key)
}

// retention returns where x's retained messages are kept, making that at the
// first call.
func (x *Exchange) retention() (*retention, error) {
	v := x.vhost
	if r := v.retentionOf(x.name); r != nil {
		return r, nil
	}
	id, err := v.broker.definitions.NextQueueID()
	if err != nil {
		return nil, errorf(Unavailable, "the broker cannot number the retained messages: %v", err)
	}
	unlock := v.lockName(x.name)
	defer unlock()
	if r := v.retentionOf(x.name); r != nil {
		return r, nil
	}
	if x.deleted.Load() {
		return nil, v.noExchange(x.name)
	}
	c := Change{Kind: DefRetained, Key: []string{v.name, x.name}, Value: RetainedDef{VHost: v.name, Exchange: x.name, ID: id}}
	if err := v.commit(c); err != nil {
		return nil, err
	}
	return v.retentionOf(x.name), nil
}

func (v *VHost) retentionOf(exchange string) *retention {
	if r, ok := v.retentions.Load(exchange); ok {
		return r.(*retention)
	}
	return nil
}

func (v *VHost) applyRetained(c *Change) {
	exchange := c.Key[1]
	if c.Value != nil {
		v.retentions.LoadOrStore(exchange, newRetention(v.broker, c.Value.(RetainedDef).ID))
		return
	}
	if r, ok := v.retentions.LoadAndDelete(exchange); ok {
		r.(*retention).drop()
	}
}

// drop forgets everything: the exchange is gone.
func (r *retention) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.dropped = true
	r.log.Drop()
	r.broker.wheel.Stop(&r.timer)
	r.broker.memory.charge(-r.mu.charged)
	r.count.Store(0)
	r.bytes.Store(0)
	r.mu.root, r.mu.recent, r.mu.timed = &retainedNode{}, nil, nil
	r.mu.charged, r.mu.inMemory, r.mu.stale, r.mu.late = 0, 0, 0, 0
}

// retentionChanges appends what removes the retained messages of x.
func (v *VHost) retentionChanges(changes []Change, x *Exchange) []Change {
	if v.retentionOf(x.name) != nil {
		changes = append(changes, Change{Kind: DefRetained, Key: []string{v.name, x.name}, Was: AnyRevision})
	}
	return changes
}

// RetainedCount returns how many messages v retains, and their size in bytes.
// After a start they may become more for a while, as they are read.
func (v *VHost) RetainedCount() (messages int, bytes int64) {
	for _, o := range v.retentions.Range {
		r := o.(*retention)
		messages += int(r.count.Load())
		bytes += r.bytes.Load()
	}
	return messages, bytes
}

// prepareRetain makes sure, before a batch is pushed, that what is to be
// retained of it can be. It may wait for the disk, once for each exchange, and
// until what was retained before a restart is loaded.
func (p *Publisher) prepareRetain(ms []Publication) {
	for i := range ms {
		m := &ms[i]
		if !m.Retain {
			continue
		}
		if r, err := m.Route.x.retention(); err != nil {
			p.broker.logger.Error("message not retained", "exchange", m.Exchange, "error", err)
			m.Refused = Unavailable
		} else if !r.loaded() {
			m.Refused = Unavailable
		} else if strings.Count(m.RoutingKey, ".") >= retainedLevelsMax {
			m.Refused = Limit
		}
	}
}

// retain keeps what is to be retained of a batch that was pushed.
func (p *Publisher) retain(ms []Publication) {
	for i := range ms {
		m := &ms[i]
		if !m.Retain || m.Refused != OK {
			continue
		}
		if r := m.Route.x.vhost.retentionOf(m.Exchange); r == nil {
			continue // The exchange is gone meanwhile.
		} else if len(m.Body) == 0 {
			r.clear(p, m)
		} else {
			r.keep(p, m)
		}
	}
}

// lateSettle is a stored message that is to be let go of when the publisher's
// change set is complete.
type lateSettle struct {
	r   *retention
	seq Seq
}

// keep retains m in place of what has its key.
func (r *retention) keep(p *Publisher, m *Publication) {
	c := m.Message.Clone()
	c.Retained, c.Persistent, c.ExpiresMS = true, true, 0
	if m.TTLMS >= 0 {
		c.ExpiresMS = p.nowMS + m.TTLMS
	}
	// The key must not keep the body in memory, of which it is a part in c.
	n := &retained{key: strings.Clone(c.RoutingKey), expiresMS: c.ExpiresMS, bytes: c.restingBytes()}
	n.m.Store(c)

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.dropped {
		return
	}
	n.seq = r.mu.next
	r.mu.next++
	r.log.Add(p.changeSet(), n.seq, c, c)
	m.logged = true
	old := r.putLocked(n.key, n)
	r.enterLocked(n)
	if old != nil {
		n.key = old.key // Which the trie has in it.
		r.leaveLocked(old)
		p.late = append(p.late, lateSettle{r, old.seq})
	}
	r.pageOutLocked()
}

// clear lets go of what is retained under m's key.
func (r *retention) clear(p *Publisher, m *Publication) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.putLocked(m.RoutingKey, nil)
	if old == nil {
		return
	}
	r.leaveLocked(old)
	set := p.changeSet()
	m.logged = true
	if old.seq < r.log.Written(0) {
		r.log.SettleIn(set, []Seq{old.seq})
		return
	}
	// It is still on its way to the disk, perhaps in a set that may not wait for
	// this one. An empty message behind it says the same: whoever finds it
	// after a crash ends both.
	r.log.Settle([]Seq{old.seq})
	mark := m.Message.Clone()
	mark.Retained, mark.Persistent, mark.ExpiresMS = true, true, 0
	r.log.Add(set, r.mu.next, mark, mark)
	p.late = append(p.late, lateSettle{r, r.mu.next})
	r.mu.next++
}

// settleLate lets go of what p's change set, now complete, has replaced.
func settleLate(late []lateSettle) {
	for _, l := range late {
		l.r.mu.Lock()
		if !l.r.mu.dropped {
			l.r.log.Settle([]Seq{l.seq})
		}
		l.r.mu.Unlock()
	}
}

// enterLocked accounts for a message that has come.
func (r *retention) enterLocked(n *retained) {
	r.count.Add(1)
	r.bytes.Add(n.bytes)
	charge := n.upkeep()
	if n.m.Load() != nil {
		r.mu.recent = append(r.mu.recent, n)
		r.mu.inMemory += n.bytes
		charge += n.bytes
	}
	r.chargeLocked(charge)
	if n.expiresMS != 0 {
		r.addTimeLocked(n)
	}
}

// leaveLocked accounts for one that is gone.
func (r *retention) leaveLocked(old *retained) {
	old.gone = true
	r.count.Add(-1)
	r.bytes.Add(-old.bytes)
	charge := old.upkeep()
	if old.m.Load() != nil {
		// Who reads it now may still do so.
		r.mu.inMemory -= old.bytes
		charge += old.bytes
		if r.mu.stale++; r.mu.stale > 64 && 2*r.mu.stale > len(r.mu.recent) {
			r.mu.recent = slices.DeleteFunc(r.mu.recent, func(n *retained) bool { return n.gone })
			r.mu.stale = 0
		}
	}
	r.chargeLocked(-charge)
	if old.expiresMS == 0 {
		return
	}
	if r.mu.late++; r.mu.late > 64 && 2*r.mu.late > len(r.mu.timed) {
		r.mu.timed = slices.DeleteFunc(r.mu.timed, func(t retainedTime) bool { return t.r.gone })
		for i := len(r.mu.timed)/2 - 1; i >= 0; i-- {
			r.mu.timed.down(i)
		}
		r.mu.late = 0
	}
}

// upkeep is what n takes besides its message.
func (n *retained) upkeep() int64 { return retainedUpkeep + int64(len(n.key)) }

func (r *retention) chargeLocked(n int64) {
	r.mu.charged += n
	r.broker.memory.charge(n)
}

// pageOutLocked lets messages that the log has written leave memory, the oldest
// first, until the others fit into a queue's share.
func (r *retention) pageOutLocked() {
	share := r.broker.queueMemory
	if r.broker.memory.pressed() {
		share = min(share, shareWhenPressed)
	}
	if r.mu.inMemory <= share {
		return
	}
	written := r.log.Written(0)
	n := 0
	for n < len(r.mu.recent) && r.mu.inMemory > share {
		o := r.mu.recent[n]
		if o.gone {
			r.mu.stale--
		} else if o.seq >= written {
			break
		} else {
			o.m.Store(nil)
			r.mu.inMemory -= o.bytes
			r.chargeLocked(-o.bytes)
		}
		r.mu.recent[n] = nil
		n++
	}
	r.mu.recent = r.mu.recent[n:]
}

// addTimeLocked has n expire.
func (r *retention) addTimeLocked(n *retained) {
	h := append(r.mu.timed, retainedTime{n.expiresMS, n})
	i := len(h) - 1
	for i > 0 && h[(i-1)/2].atMS > h[i].atMS {
		h[(i-1)/2], h[i] = h[i], h[(i-1)/2]
		i = (i - 1) / 2
	}
	r.mu.timed = h
	if i == 0 {
		r.broker.wheel.Schedule(&r.timer, n.expiresMS)
	}
}

// expiredAtOnce bounds how many messages end under one lock.
const expiredAtOnce = 1024

// Fire ends what has expired. The wheel calls it.
func (r *retention) Fire(nowMS int64) {
	for r.expire(nowMS) {
	}
}

// expire ends some of what has expired, and reports whether there is more.
func (r *retention) expire(nowMS int64) (more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ended []Seq
	for len(r.mu.timed) > 0 && r.mu.timed[0].atMS <= nowMS && len(ended) < expiredAtOnce {
		n := r.mu.timed.pop()
		if n.gone {
			r.mu.late--
			continue
		}
		r.putLocked(n.key, nil)
		r.mu.late-- // It has left timed already.
		r.leaveLocked(n)
		ended = append(ended, n.seq)
	}
	if len(ended) > 0 {
		slices.Sort(ended)
		r.log.Settle(ended)
	}
	if len(r.mu.timed) == 0 {
		return false
	}
	r.broker.wheel.Schedule(&r.timer, r.mu.timed[0].atMS)
	return r.mu.timed[0].atMS <= nowMS
}

func (h *retainedTimes) pop() *retained {
	first, last := (*h)[0].r, len(*h)-1
	(*h)[0] = (*h)[last]
	(*h)[last] = retainedTime{}
	*h = (*h)[:last]
	h.down(0)
	return first
}

func (h retainedTimes) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1].atMS < h[c].atMS {
			c++
		}
		if h[i].atMS <= h[c].atMS {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}

// recover notes what the log holds; load reads it.
func (r *retention) recover(l RecoveredLevel) {
	r.mu.found = append(r.mu.found, l.Entries...)
	r.mu.next = max(r.mu.next, l.Next)
}

// loadAtOnce is how many messages are loaded before the broker serves; more are
// loaded beside that.
const loadAtOnce = 8192

// load begins to build the trie from what the log holds. Whoever wants to read or
// retain something meanwhile waits: see loaded. Nobody else knows r yet.
func (r *retention) load() {
	found := r.mu.found
	r.mu.found = nil
	r.loading = make(chan struct{})
	if len(found) <= loadAtOnce {
		r.loadAll(found)
		return
	}
	r.broker.spawn(func() { r.loadAll(found) }) // Ends with its work, or when the broker stops.
}

// loaded waits until what was stored is there. It reports false if it never
// will be, because the broker stops.
func (r *retention) loaded() bool {
	if r.loading == nil {
		return true // It is new.
	}
	<-r.loading
	return !r.partial.Load()
}

func (r *retention) loadAll(found []RecoveredEntry) {
	defer close(r.loading)
	for len(found) > 0 {
		select {
		case <-r.broker.stopping:
			r.partial.Store(true)
			return
		default:
		}
		batch := found[:min(len(found), fetchAtOnce)]
		found = found[len(batch):]
		if !r.loadSome(batch) {
			return
		}
	}
}

// loadSome loads some messages, which ascend: of two with one key the later one
// counts. It reports false if nobody wants them any more.
func (r *retention) loadSome(batch []RecoveredEntry) bool {
	seqs := make([]Seq, len(batch))
	for i, e := range batch {
		seqs[i] = e.Seq
	}
	ms := make([]*retained, 0, len(batch))
	var failed []error
	r.mu.Lock()
	inMemory := r.mu.inMemory
	r.mu.Unlock()
	r.broker.log.Read(r.id, seqs, func(i int, m *Message, err error) {
		if err != nil {
			failed = append(failed, err)
			return
		}
		n := &retained{seq: seqs[i], key: strings.Clone(m.RoutingKey), expiresMS: batch[i].ExpiresMS}
		if len(m.Body) > 0 {
			n.bytes = m.restingBytes()
		}
		if len(m.Body) > 0 && inMemory+n.bytes <= r.broker.queueMemory {
			c := m.Clone()
			c.ExpiresMS = n.expiresMS
			n.m.Store(c)
			inMemory += n.bytes
		}
		ms = append(ms, n)
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.dropped {
		return false
	}
	for _, err := range failed {
		r.broker.logger.Error("retained message lost: it cannot be read back from the log", "error", err)
	}
	var ended []Seq
	for _, n := range ms {
		var old *retained
		if n.bytes == 0 { // It says that what was there is cleared.
			old = r.putLocked(n.key, nil)
			ended = append(ended, n.seq)
		} else {
			old = r.putLocked(n.key, n)
			r.enterLocked(n)
		}
		if old != nil {
			r.leaveLocked(old)
			ended = append(ended, old.seq)
		}
	}
	if len(ended) > 0 {
		slices.Sort(ended)
		r.log.Settle(ended)
	}
	return true
}

// restingBytes is what m takes where it has memory of its own.
func (m *Message) restingBytes() int64 {
	return messageBytes + int64(len(m.RoutingKey)+len(m.Encoded)+len(m.Body))
}

// RetainedCursor walks retained messages. It belongs to one goroutine at a time,
// and holds nothing but its place.
type RetainedCursor struct {
	r     *retention // nil at the end.
	words []string
	skip  func(key string) bool
	begun bool
	path  []string // Where it stopped.
	spare []string
	found []*retained
}

// Retained returns a cursor over the messages retained for exchange whose keys
// match pattern, as a topic exchange would, and are not skipped. skip, which
// may be nil, sees a key before its message is read. No permission is asked.
func (s *Session) Retained(exchange, pattern string, skip func(key string) bool) *RetainedCursor {
	c := &RetainedCursor{r: s.vhost.retentionOf(exchange), skip: skip}
	if pattern != "" {
		c.words = strings.Split(strings.Clone(pattern), ".")
	}
	return c
}

// Next hands up to n messages to fn, each good only during the call, and
// reports whether there may be more, even if it found none. It reads the disk
// where it must, and after a start it waits until all are loaded: no lock is held. What is there from the first call to the last
// comes once, as it is when the cursor comes to it; the order is none in
// particular.
func (c *RetainedCursor) Next(n int, fn func(m *Message)) (more bool) {
	if c.r == nil || n <= 0 {
		return c.r != nil
	}
	if !c.begun && !c.r.loaded() {
		c.Close()
		return false
	}
	w := retainedWalk{words: c.words, skip: c.skip, path: c.spare[:0], found: c.found[:0], want: n, visits: n * visitsPerMessage}
	ended := w.walk(c.r.snapshot(), alive(c.words, []int{0}), c.begun, c.path)
	c.begun = true
	c.path, c.spare = w.path, c.path
	now := c.r.broker.now()
	cold := w.found[:0]
	for _, o := range w.found {
		if o.expiresMS != 0 && o.expiresMS <= now {
			continue
		}
		if m := o.m.Load(); m != nil {
			fn(m)
		} else {
			cold = append(cold, o)
		}
	}
	if len(cold) > 0 {
		c.r.read(cold, fn)
	}
	clear(w.found)
	c.found = w.found
	if ended {
		c.Close()
	}
	return !ended
}

// Close ends the walk; also after its end, and twice is harmless.
func (c *RetainedCursor) Close() { *c = RetainedCursor{} }

// readAttempts is how often a message that was replaced is looked up anew.
const readAttempts = 3

// read hands messages that are in the log to fn. What is no longer there was
// replaced or cleared: the message that has its key now is as good.
func (r *retention) read(cold []*retained, fn func(m *Message)) {
	for range readAttempts {
		slices.SortFunc(cold, func(a, b *retained) int {
			if a.seq < b.seq {
				return -1
			}
			return 1
		})
		seqs := make([]Seq, len(cold))
		for i, o := range cold {
			seqs[i] = o.seq
		}
		var again []*retained
		r.broker.log.Read(r.id, seqs, func(i int, m *Message, err error) {
			if err == nil {
				fn(m)
				return
			}
			now := r.get(cold[i].key)
			switch {
			case now != nil && now != cold[i]:
				if m := now.m.Load(); m != nil {
					fn(m)
				} else {
					again = append(again, now)
				}
			case now != nil && !errors.Is(err, ErrNotNow):
				r.broker.logger.Error("retained message cannot be read back from the log", "error", err)
			case now != nil:
				again = append(again, now)
			}
		})
		if cold = again; len(cold) == 0 {
			return
		}
	}
}

// Feed puts up to n of the messages that c walks into the client's stored queue,
// from where they are delivered like others, Retained. It reports whether there
// may be more: call it again as the queue drains.
func (c *Client) Feed(from *RetainedCursor, p *Publisher, n int, t *Touched) (more bool) {
	name, direct := c.Queue()
	q := c.vhost.queue(name)
	if q == nil || direct {
		from.Close()
		return false
	}
	now := c.broker.now()
	route := &Route{x: c.vhost.nobody, queues: []Queue{q}}
	var ms []Publication
	more = from.Next(n, func(m *Message) {
		ms = append(ms, Publication{})
		o := &ms[len(ms)-1]
		o.Reset()
		m.cloneInto(&o.Message)
		o.Route, o.OwnBody = route, false
		if m.ExpiresMS != 0 {
			o.TTLMS = max(0, m.ExpiresMS-now)
		}
	})
	p.Publish(ms, t)
	return more
}
