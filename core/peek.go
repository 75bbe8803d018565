package core

import (
	"errors"

	"leveret/core/auth"
)

// Looking into a queue changes nothing about it: no message is handed out,
// marked or moved, and no consumer, publisher or clock notices.
//
//	queue's lock held, a slice at a time          free
//	+-----------------------------------+    +-----------------------+
//	| walk chunks from the place; copy  | -> | read cold ones from   | -> Match -> result
//	| what is in memory, note the rest  |    | the log; leave out    |
//	+-----------------------------------+    | what has gone         |
//	                ^                        +-----------------------+
//	                +----------- more wanted -----------+
//
// Large bodies in memory are the garbage collector's and shared, only small ones
// are copied under the lock.

// PeekState is a set of the states that a message in a queue may be in.
type PeekState uint8

// The states that a message may be in.
const (
	PeekReady   PeekState = 1 << stateReady
	PeekUnacked PeekState = 1 << stateOut
	PeekDelayed PeekState = 1 << stateDelayed // Given back, and ready again later.
	PeekLeaving PeekState = 1 << stateLeaving // On its way to another queue.
	PeekAll               = PeekReady | PeekUnacked | PeekDelayed | PeekLeaving
)

// String names a single state as the management API does.
func (s PeekState) String() string {
	switch s {
	case PeekReady:
		return "ready"
	case PeekUnacked:
		return "unacked"
	case PeekDelayed:
		return "delayed"
	case PeekLeaving:
		return "leaving"
	}
	return "several"
}

// PeekPlace is where in a queue to begin, or to go on. Messages that come and
// go in between change nothing about what lies behind it.
type PeekPlace struct {
	// Index counts the messages before it, those that were there when it was
	// reached. Unless Known it is the place: so many messages from the head.
	Index int
	Known bool
	Seq   Seq // If Known, the first message to look at; of a stream, its offset.
}

// PeekOptions are the arguments of Session.Peek.
type PeekOptions struct {
	From   PeekPlace
	States PeekState
	Count  int   // Messages to show at most.
	Bytes  int64 // Stop when the bodies shown have reached that.
	Keep   int   // Bytes of each body to show; negative for all.
	// Scan and ScanBytes bound how many messages are looked at for Match.
	Scan      int
	ScanBytes int64
	// Match, unless nil, says which messages to show. It sees whole bodies.
	Match func(*Peeked) bool
	// Stop, unless nil, says when to end early.
	Stop func() bool

	ends map[uint8]Seq // By priority, the first entry not to look at; nil for none.
}

// Peeked is a message as it lies in its queue, at one moment.
type Peeked struct {
	// Message is the caller's own, read only. Its body may be cut to Keep.
	Message     *Message
	BodyBytes   int // Of the whole body.
	Index       int // How many lie before it, of those in the states asked for.
	Seq         Seq // Names it in its queue as long as it is there; of a stream, its offset.
	State       PeekState
	Redelivered bool
	// Attempts is how often it was handed out in vain, negative where that is
	// not counted.
	Attempts int64
	DueMS    int64 // When a delayed one is ready again; 0 if that is not known.
}

// PeekResult is what Session.Peek found.
type PeekResult struct {
	Messages []Peeked
	// Next is where to go on, nil at the end.
	Next    *PeekPlace
	Total   int // Messages in the states asked for.
	Scanned int // Messages looked at.
}

// Peek shows messages of a queue, in the order in which they would be handed
// out, and leaves everything as it is. It needs read permission. It may wait for
// the disk. A message that goes meanwhile is left out.
func (s *Session) Peek(queue string, o PeekOptions) (PeekResult, error) {
	q, err := s.peekable(queue)
	if err != nil {
		return PeekResult{}, err
	}
	return q.peek(&o)
}

// peekable finds a queue to look into. Other than for using it, it may be
// another session's.
func (s *Session) peekable(name string) (Queue, error) {
	if err := s.permitQueue(auth.Read, name); err != nil {
		return nil, err
	}
	d := s.vhost.declared(name)
	if d == nil {
		return nil, s.vhost.noQueue(name)
	}
	return d.queue, nil
}

const (
	// peekChunks, peekAtOnce and peekBytesAtOnce bound what one hold of the
	// queue's lock goes through, takes and copies.
	peekChunks      = 2048
	peekAtOnce      = 256
	peekBytesAtOnce = 256 << 10
	// peekReadAtOnce bounds the bodies that are read from the log together.
	peekReadAtOnce = 4 << 20
	// peekDueMax bounds how many delayed messages are told apart by when they
	// are due.
	peekDueMax = 100_000
)

// enough reports whether r holds what o asks for, or cost what it may.
func (o *PeekOptions) enough(r *PeekResult, shown, scanned int64) bool {
	return len(r.Messages) >= o.Count || shown >= o.Bytes || r.Scanned >= o.Scan || scanned >= o.ScanBytes ||
		o.Stop != nil && o.Stop()
}

// cut shortens the body of m to what o wants of it.
func (o *PeekOptions) cut(m *Message) {
	if o.Keep >= 0 && len(m.Body) > o.Keep {
		m.Body = append(make([]byte, 0, o.Keep), m.Body[:o.Keep]...)
	}
}

// peeker is a look into a classic queue on its way.
type peeker struct {
	q     *classic
	o     *PeekOptions
	skip  int // Messages still to be passed over.
	at    PeekPlace
	ended bool
	due   map[Seq]int64

	shown, scanned int64
	r              PeekResult
}

func (q *classic) peek(o *PeekOptions) (PeekResult, error) {
	p := peeker{q: q, o: o, at: o.From}
	if !p.at.Known {
		p.skip, p.at.Index = max(0, p.at.Index), 0
	}
	p.begin()
	for !p.ended && !o.enough(&p.r, p.shown, p.scanned) {
		batch := p.gather()
		if err := p.read(batch); err != nil {
			return p.r, err
		}
		p.take(batch)
	}
	if !p.ended {
		next := p.at
		p.r.Next = &next
	}
	return p.r, nil
}

// begin notes what is said of the queue as a whole.
func (p *peeker) begin() {
	q := p.q
	q.mu.Lock()
	defer q.mu.Unlock()
	e := &q.mu.entries
	for state, n := range map[PeekState]int{PeekReady: e.ready, PeekUnacked: e.out, PeekDelayed: e.delayed, PeekLeaving: e.leaving} {
		if p.o.States&state != 0 {
			p.r.Total += n
		}
	}
	if p.o.States&PeekDelayed != 0 && e.delayed > 0 && len(q.mu.retry.due) <= peekDueMax {
		p.due = make(map[Seq]int64, len(q.mu.retry.due))
		for _, d := range q.mu.retry.due {
			p.due[d.seq] = d.atMS
		}
	}
}

// gather takes the next entries, all of one level. The messages of cold ones are
// nil.
func (p *peeker) gather() (batch []Peeked) {
	q := p.q
	q.mu.Lock()
	defer q.mu.Unlock()
	for l := range q.mu.entries.levels() {
		if p.at.Known && l.prio > p.at.Seq.priority() {
			continue
		}
		if !p.at.Known || l.prio < p.at.Seq.priority() {
			p.at.Known, p.at.Seq = true, firstSeq(l.prio)
		}
		more := false
		batch, more = p.gatherFrom(l)
		if more || len(batch) > 0 && q.mu.entries.below(l) {
			return batch
		} else if len(batch) > 0 {
			break
		}
	}
	p.ended = true
	return batch
}

// gatherFrom is gather for one level. more says that it was not gone through.
func (p *peeker) gatherFrom(l *level) (batch []Peeked, more bool) {
	var copied, cold int64
	seen := 0
	now := p.q.broker.now()
	room := min(peekAtOnce, p.o.Scan-p.r.Scanned)
	if p.o.Match == nil {
		room = min(room, p.o.Count-len(p.r.Messages))
	}
	for c := p.q.mu.entries.from(l, p.at.Seq); c != nil; c = c.next {
		if seen++; seen > peekChunks {
			p.at.Seq = c.base
			return batch, true
		}
		first := int32(0)
		if p.at.Seq > c.base {
			first = int32(p.at.Seq - c.base)
		}
		n := c.count(p.o.States)
		if first == 0 && (n == 0 || n <= p.skip) {
			p.skip -= n
			p.at.Index += n
			continue
		}
		for i := first; i < chunkLen; i++ {
			state := PeekState(1) << (c.state[i] & stateMask)
			if c.state[i]&stateMask == stateGone || p.o.States&state == 0 {
				continue
			}
			if p.skip > 0 {
				p.skip--
				p.at.Index++
				continue
			}
			s := c.base + Seq(i)
			if p.o.ends != nil && s >= p.o.ends[l.prio] {
				p.at.Seq = l.next
				return batch, false
			}
			if len(batch) >= room || copied >= peekBytesAtOnce || cold >= peekReadAtOnce {
				p.at.Seq = s
				return batch, true
			}
			var m *Message
			if c.msg != nil {
				m = c.msg[i]
			}
			row := Peeked{Index: p.at.Index, Seq: s, State: state, Redelivered: c.state[i]&flagRedelivered != 0, Attempts: -1, DueMS: p.due[s]}
			p.at.Index++
			if m != nil && m.ExpiresMS != 0 && m.ExpiresMS <= now && state == PeekReady {
				continue // It is as good as gone.
			}
			if m == nil {
				cold++
				if c.cold > 0 {
					cold += c.coldBytes / int64(c.cold)
				}
			} else {
				if m.slab != nil {
					copied += int64(len(m.RoutingKey) + len(m.Encoded) + len(m.Body))
				}
				row.Message, row.BodyBytes = m.peeked(), len(m.Body)
			}
			if p.q.countsLocked() {
				row.Attempts = int64(p.q.mu.retry.attempts[s].acquired)
			}
			batch = append(batch, row)
		}
	}
	p.at.Seq = l.next
	return batch, false
}

// below reports whether there is anything in levels lower than l.
func (e *entries) below(l *level) bool {
	for o := range e.levels() {
		if o.prio < l.prio && o.head != nil {
			return true
		}
	}
	return false
}

// from returns the first chunk of l with an entry from s on, or nil.
func (e *entries) from(l *level, s Seq) *chunk {
	base := s.chunkBase()
	switch {
	case l.head == nil || l.head.base >= base:
		return l.head
	case l.tail.base < base:
		return nil
	}
	for b := base; b <= l.tail.base && b < base+peekChunks*chunkLen; b += chunkLen {
		if c := e.byBase[b]; c != nil {
			return c
		}
	}
	c := l.head
	for c != nil && c.base < base {
		c = c.next
	}
	return c
}

// count is how many of c's entries are in one of states.
func (c *chunk) count(states PeekState) (n int) {
	switch {
	case states&PeekAll == PeekAll:
		return int(c.live)
	case states&PeekAll == PeekReady:
		return int(c.ready)
	case states&PeekReady == 0 && c.ready == c.live:
		return 0
	}
	for _, s := range c.state {
		if s &= stateMask; s != stateGone && states>>s&1 != 0 {
			n++
		}
	}
	return n
}

// peeked returns a copy of m, which rests in a queue whose lock is held, that
// stays when m goes.
func (m *Message) peeked() *Message {
	if m.slab != nil {
		return m.Clone()
	}
	c := &Message{}
	c.cloneFields(m)
	return c
}

// read gets the messages of batch that are in the log only. No lock is held.
func (p *peeker) read(batch []Peeked) error {
	var seqs []Seq
	var of []int
	for i := range batch {
		if batch[i].Message == nil {
			seqs, of = append(seqs, batch[i].Seq), append(of, i)
		}
	}
	if len(seqs) == 0 {
		return nil
	}
	var notNow error
	p.q.broker.log.Read(p.q.opts.ID, seqs, func(k int, m *Message, err error) {
		switch row := &batch[of[k]]; {
		case err == nil:
			row.Message, row.BodyBytes = m.Clone(), len(m.Body)
		case errors.Is(err, ErrNotNow):
			notNow = err
		}
	})
	if notNow != nil {
		return errorf(Unavailable, "messages of %s cannot be read now: %v", p.q.vhost.queueText(p.q.opts.Name), notNow)
	}
	return nil
}

// take keeps what is wanted of batch.
func (p *peeker) take(batch []Peeked) {
	for i := range batch {
		row := &batch[i]
		if i > 0 && p.o.enough(&p.r, p.shown, p.scanned) {
			// The rest of the batch is looked at again, from here on.
			p.at, p.ended = PeekPlace{row.Index, true, row.Seq}, false
			return
		}
		p.r.Scanned++
		if row.Message == nil {
			continue // It has gone.
		}
		p.scanned += int64(row.BodyBytes)
		if p.o.Match == nil || p.o.Match(row) {
			p.o.cut(row.Message)
			p.shown += int64(len(row.Message.Body))
			p.r.Messages = append(p.r.Messages, *row)
		}
	}
}

// peek shows what readers can see.
func (q *stream) peek(o *PeekOptions) (PeekResult, error) {
	r := PeekResult{}
	if q.store == nil || o.States&PeekReady == 0 || q.gone.Load() {
		return r, nil
	}
	r.Total = q.ready()
	first := q.store.Bounds().First
	pos := max(uint64(o.From.Seq), first)
	if !o.From.Known {
		pos = max(uint64(max(o.From.Index, 0)), first)
	}
	var shown, scanned int64
	for pos < q.committed.Load() {
		b, next, err := q.read(pos, nil)
		if err != nil {
			return r, errorf(Unavailable, "%s cannot be read now: %v", q.text(), err)
		}
		if b == nil {
			if next <= pos {
				break
			}
			pos = next
			continue
		}
		for i := b.index(pos); i < len(b.Messages); i++ {
			m := &b.Messages[i]
			if o.enough(&r, shown, scanned) {
				r.Next = &PeekPlace{Index: int(m.Offset), Known: true, Seq: Seq(m.Offset)}
				return r, nil
			}
			r.Scanned++
			scanned += int64(len(m.Message.Body))
			row := Peeked{Message: m.Message, BodyBytes: len(m.Message.Body), Index: int(m.Offset), Seq: Seq(m.Offset), State: PeekReady, Attempts: -1}
			if o.Match == nil || o.Match(&row) {
				row.Message = m.Message.peeked()
				o.cut(row.Message)
				shown += int64(len(row.Message.Body))
				r.Messages = append(r.Messages, row)
			}
		}
		pos = b.Next
	}
	return r, nil
}

// peek finds nothing: a direct queue keeps nothing.
func (q *direct) peek(*PeekOptions) (PeekResult, error) { return PeekResult{}, nil }

// peek is never called: nobody can name a delayer.
func (d *delayer) peek(*PeekOptions) (PeekResult, error) { return PeekResult{}, nil }
