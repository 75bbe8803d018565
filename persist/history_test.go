package persist_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"leveret/core"
	"leveret/persist"
	"leveret/persist/persisttest"
)

// history is what was asked of a log and when it was promised, in a clock that
// the test chooses (operations of a file system, say), so that it can be held
// against what the log holds after it was cut off at any time.
type history struct {
	now func() int

	mu   sync.Mutex
	sets []*pastSet
	refs map[core.QueueID]map[core.Seq]*pastRef
	mark map[core.QueueID][]pastMark
}

type pastSet struct {
	refs   []*pastRef
	closed int
	done   int // When it was complete, 0 for never.
	failed bool
}

type pastRef struct {
	queue   core.QueueID
	seq     core.Seq
	body    []byte
	set     *pastSet
	settled int // When it was settled, 0 for never.
	// A set that was closed later and is complete carried the settlement.
	after int      // The number of sets closed by then.
	to    *pastRef // It moved there, in one set with that.
	moved int      // When.
}

// struck reports whether r may never have been written.
func (r *pastRef) struck() bool {
	return r.settled != 0 && r.settled <= r.set.done+1 || r.moved != 0 && r.moved <= r.set.done+1
}

// moves checks that what moved is in one place: in two never, and in none only
// if that was settled, or if nobody was told that it was stored.
func (h *history) moves(there map[*pastRef]bool, r *pastRef, complete bool, at int) error {
	n, text := 0, ""
	settled := false
	for p := r; p != nil; p = p.to {
		if there[p] {
			n++
		}
		text += fmt.Sprintf(" queue %d seq %d (%v)", p.queue, p.seq, there[p])
		settled = settled || p.settled != 0 && p.settled <= at+1
	}
	if n > 1 || n == 0 && complete && !settled {
		return fmt.Errorf("the moved message is in %d places:%s", n, text)
	}
	return nil
}

type pastMark struct {
	upTo  core.Seq
	after int
}

func newHistory(now func() int) *history {
	return &history{now: now, refs: make(map[core.QueueID]map[core.Seq]*pastRef), mark: make(map[core.QueueID][]pastMark)}
}

func (h *history) settle(q core.QueueID, seqs ...core.Seq) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range seqs {
		if r := h.refs[q][s]; r.settled == 0 {
			r.settled, r.after = h.now()+1, len(h.sets)
		}
	}
}

// check holds what l recovered at time t against the history. Everything
// promised by then must be there, nothing that was durably settled, and of each
// set all or nothing.
func (h *history) check(t testing.TB, l *persist.Log, at int) error {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := l.Opened(); !r.Sound() {
		return fmt.Errorf("damage where only power was lost: %+v", r)
	}
	got := persisttest.Recover(t, l, nil)
	there := make(map[*pastRef]bool)
	var bad error
	for q, levels := range got {
		for prio, level := range levels {
			for _, e := range level.Entries {
				r := h.refs[q][e.Seq]
				if r == nil {
					return fmt.Errorf("queue %d: message %d was never published", q, e.Seq)
				}
				if int(e.BodyBytes) != len(r.body) {
					return fmt.Errorf("queue %d: message %d has %d bytes, had %d", q, e.Seq, e.BodyBytes, len(r.body))
				}
				there[r] = true
			}
			seqs := got.Seqs(q, prio)
			l.Read(q, seqs, func(i int, m *core.Message, err error) {
				if err != nil {
					bad = fmt.Errorf("queue %d: message %d: %w", q, seqs[i], err)
				} else if !bytes.Equal(m.Body, h.refs[q][seqs[i]].body) {
					bad = fmt.Errorf("queue %d: message %d has the wrong body", q, seqs[i])
				}
			})
			if bad != nil {
				return bad
			}
		}
	}
	// The last set that was complete by then, in the order of closing, and was
	// written: one whose references were all struck is complete without.
	last := 0
	for i, s := range h.sets {
		if s.done != 0 && s.done <= at && !s.failed && slices.ContainsFunc(s.refs, func(r *pastRef) bool { return !r.struck() }) {
			last = i + 1
		}
	}
	for i, s := range h.sets {
		complete := s.done != 0 && s.done <= at && !s.failed
		in, out := 0, 0
		for _, r := range s.refs {
			if r.to != nil {
				if err := h.moves(there, r, complete, at); err != nil {
					return err
				}
				continue
			}
			switch {
			case r.settled != 0 && r.settled <= at+1:
				if r.after < last && there[r] {
					return fmt.Errorf("queue %d: message %d came back, its settlement was on disk", r.queue, r.seq)
				}
			case there[r]:
				in++
			default:
				out++
			}
			if complete {
				if level := got[r.queue][uint8(r.seq>>56)]; (level == nil || level.Next <= r.seq) && !r.struck() {
					return fmt.Errorf("queue %d: number %d would be given again: %+v", r.queue, r.seq, level)
				}
			}
		}
		if complete && out > 0 {
			return fmt.Errorf("set %d was complete at %d, %d of its messages are gone at %d: %s", i, s.done, out, at, s.missing(there))
		}
		if in > 0 && out > 0 && !s.failed {
			return fmt.Errorf("set %d: %d messages are there, %d are not", i, in, out)
		}
	}
	for q, marks := range h.mark {
		for _, m := range marks {
			if m.after < last {
				if level := got[q][uint8(m.upTo>>56)]; level == nil || level.Marked < m.upTo {
					return fmt.Errorf("queue %d: mark %d is lost", q, m.upTo)
				}
			}
		}
	}
	return nil
}

func (s *pastSet) missing(there map[*pastRef]bool) (text string) {
	for _, r := range s.refs {
		if !there[r] {
			text += fmt.Sprintf(" queue %d seq %d settled %d;", r.queue, r.seq, r.settled)
		}
	}
	return text
}

// actor does random things to a log, one at a time, and writes the history.
type actor struct {
	t       testing.TB
	l       *persist.Log
	h       *history
	rng     *rand.Rand
	queues  []core.QueueLog
	next    []core.Seq
	live    [][]core.Seq
	last    chan error // Of the last set.
	bodyMax int
	refused int
}

const actorQueues = 3

func newActor(t testing.TB, l *persist.Log, h *history, seed uint64) *actor {
	a := &actor{t: t, l: l, h: h, rng: rand.New(rand.NewPCG(seed, 1)), bodyMax: 600}
	for q := range core.QueueID(actorQueues) {
		a.queues = append(a.queues, l.OpenQueue(q))
		a.next = append(a.next, 0)
		a.live = append(a.live, nil)
		h.refs[q] = make(map[core.Seq]*pastRef)
	}
	return a
}

func (a *actor) publish() {
	set := a.l.Begin()
	p := &pastSet{}
	for range 1 + a.rng.IntN(6) {
		body := make([]byte, a.rng.IntN(a.bodyMax))
		for i := range body {
			body[i] = byte(a.rng.Uint32())
		}
		m := persisttest.NewMessage(body)
		for q := range a.queues {
			if a.rng.IntN(2) == 0 && q > 0 {
				continue
			}
			s := a.next[q]
			a.next[q]++
			r := &pastRef{queue: core.QueueID(q), seq: s, body: body, set: p}
			a.h.mu.Lock()
			a.h.refs[r.queue][s] = r
			a.h.mu.Unlock()
			p.refs = append(p.refs, r)
			a.queues[q].Add(set, s, m, m)
			a.live[q] = append(a.live[q], s)
		}
	}
	if a.rng.IntN(4) == 0 {
		a.settle()
	}
	a.close(set, p)
}

func (a *actor) close(set core.ChangeSet, p *pastSet) {
	done := make(chan error, 1)
	a.h.mu.Lock()
	p.closed = a.h.now()
	a.h.sets = append(a.h.sets, p)
	a.h.mu.Unlock()
	set.Close(func(err error) {
		a.h.mu.Lock()
		p.done, p.failed = a.h.now(), err != nil
		a.h.mu.Unlock()
		done <- err
	})
	a.last = done
}

func (a *actor) wait() {
	if a.last != nil {
		if err := <-a.last; err != nil {
			a.refused++
		}
		a.last = nil
	}
}

func (a *actor) settle() {
	q := a.rng.IntN(len(a.queues))
	n := len(a.live[q])
	if n == 0 {
		return
	}
	var seqs []core.Seq
	for range 1 + a.rng.IntN(min(n, 20)) {
		i := 0 // Mostly from the head.
		if a.rng.IntN(4) == 0 {
			i = a.rng.IntN(len(a.live[q]))
		}
		seqs = append(seqs, a.live[q][i])
		a.live[q] = slices.Delete(a.live[q], i, i+1)
	}
	a.h.settle(core.QueueID(q), seqs...)
	a.queues[q].Settle(seqs)
}

func (a *actor) purge() {
	q := a.rng.IntN(len(a.queues))
	var survivors, gone []core.Seq
	for _, s := range a.live[q] {
		if a.rng.IntN(5) == 0 {
			survivors = append(survivors, s)
		} else {
			gone = append(gone, s)
		}
	}
	a.live[q] = survivors
	a.h.settle(core.QueueID(q), gone...)
	a.queues[q].Purge(0, a.next[q], survivors)
}

// move moves some messages from one queue to another.
func (a *actor) move() {
	from, to := a.rng.IntN(len(a.queues)), a.rng.IntN(len(a.queues))
	set := a.l.Begin()
	p := &pastSet{}
	var seqs []core.Seq
	for range 1 + a.rng.IntN(4) {
		n := len(a.live[from])
		if n == 0 {
			break
		}
		i := n - 1 // Mostly what was published last, and is not written perhaps.
		if a.rng.IntN(3) == 0 {
			i = a.rng.IntN(n)
		}
		seq := a.live[from][i]
		old := a.h.refs[core.QueueID(from)][seq]
		r := &pastRef{queue: core.QueueID(to), seq: a.next[to], body: old.body, set: p}
		a.live[from] = slices.Delete(a.live[from], i, i+1)
		a.live[to] = append(a.live[to], r.seq)
		a.next[to]++
		a.h.mu.Lock()
		a.h.refs[r.queue][r.seq] = r
		old.to, old.moved = r, a.h.now()+1
		a.h.mu.Unlock()
		p.refs = append(p.refs, r)
		m := persisttest.NewMessage(r.body)
		a.queues[to].Add(set, r.seq, m, m)
		seqs = append(seqs, seq)
	}
	if a.rng.IntN(2) == 0 {
		slices.Sort(seqs)
	}
	a.queues[from].SettleIn(set, seqs)
	a.close(set, p)
}

func (a *actor) mark() {
	q := a.rng.IntN(len(a.queues))
	upTo := a.next[q]
	a.h.mu.Lock()
	a.h.mark[core.QueueID(q)] = append(a.h.mark[core.QueueID(q)], pastMark{upTo, len(a.h.sets)})
	a.h.mu.Unlock()
	a.queues[q].Mark(0, upTo, nil)
}

func (a *actor) step() {
	switch n := a.rng.IntN(100); {
	case n < 45:
		a.publish()
		if a.rng.IntN(3) > 0 {
			a.wait()
		}
	case n < 80:
		a.settle()
	case n < 92:
		a.move()
		if a.rng.IntN(3) == 0 {
			a.wait()
		}
	case n < 94:
		a.purge()
	case n < 97:
		a.mark()
	default:
		a.wait()
	}
}
