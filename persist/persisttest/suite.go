// Package persisttest holds the conformance suite for every core.MessageLog
// that keeps messages.
package persisttest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"leveret/core"
)

// Deadline is how long the suite waits for what must happen.
const Deadline = 30 * time.Second

// Harness opens logs for the suite.
type Harness struct {
	// Open opens the log that the test's earlier calls opened, with what they
	// stored. The one before has been closed.
	Open func(t testing.TB) core.MessageLog
}

// Run runs the suite. New makes a harness for an empty log.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"stored messages come back in order with all they had", testContent},
		{"numbers go on where they were, even of an empty queue", testNumbers},
		{"a message of several queues is one set", testSeveralQueues},
		{"what is settled does not come back", testSettled},
		{"what is settled before its set is closed needs no write", testStruck},
		{"what moves is in one place", testMove},
		{"what moves before it is written takes its completion along", testMovePending},
		{"a set that only settles", testSettleIn},
		{"what became of a message comes back with it", testRetry},
		{"a purge spares survivors and what comes later", testPurge},
		{"a purge in the middle of a batch", testPurgePending},
		{"a dropped queue leaves nothing", testDrop},
		{"unknown queues are dropped", testUnknown},
		{"the mark comes back", testMark},
		{"transient messages can be read and are gone after a restart", testTransient},
		{"Written says what can be read", testWritten},
		{"priorities are apart", testPriorities},
		{"each reference has its own expiry", testExpiry},
		{"large messages", testLarge},
		{"many queues of one message", testManyRefs},
		{"reading what is not there", testReadMissing},
		{"publishers at once", testConcurrent},
		{"a set after Close is refused", testClosed},
		{"what clients hold lasts as long as its entry", testHold},
		{"what is held before its message is stored waits for it", testHoldEarly},
		{"what clients received is remembered until it is forgotten", testReceive},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, newHarness(t)) })
	}
}

// Store adds one message for each seq to q, as one set, and returns when it is
// complete.
func Store(t testing.TB, l core.MessageLog, q core.QueueLog, body func(core.Seq) []byte, seqs ...core.Seq) {
	t.Helper()
	set := l.Begin()
	for _, s := range seqs {
		m := NewMessage(body(s))
		q.Add(set, s, m, m)
	}
	Finish(t, set)
}

// Finish closes set and waits until it is complete.
func Finish(t testing.TB, set core.ChangeSet) {
	t.Helper()
	if err := CloseSet(t, set); err != nil {
		t.Fatalf("set: %v", err)
	}
}

// CloseSet closes set and returns what it was completed with.
func CloseSet(t testing.TB, set core.ChangeSet) error {
	t.Helper()
	done := make(chan error, 1)
	set.Close(func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-time.After(Deadline):
		t.Fatal("set not completed")
		return nil
	}
}

// NewMessage returns a persistent message.
func NewMessage(body []byte) *core.Message {
	return &core.Message{Exchange: "amq.direct", RoutingKey: "key", Form: core.FormAMQP091, Encoded: []byte{1, 2, 3}, Body: body, Persistent: true, ArrivedMS: 1234}
}

// Recovered is what a log holds: by queue and priority, in order.
type Recovered map[core.QueueID]map[uint8]*core.RecoveredLevel

// Recover collects what l reports of the queues that known knows; nil knows all.
func Recover(t testing.TB, l core.MessageLog, known func(core.QueueID) bool) Recovered {
	t.Helper()
	if known == nil {
		known = func(core.QueueID) bool { return true }
	}
	all := make(Recovered)
	err := l.Recover(known, func(r core.RecoveredLevel) error {
		if all[r.Queue] == nil {
			all[r.Queue] = make(map[uint8]*core.RecoveredLevel)
		}
		level := all[r.Queue][r.Priority]
		if level == nil {
			level = &core.RecoveredLevel{Queue: r.Queue, Priority: r.Priority}
			all[r.Queue][r.Priority] = level
		}
		level.Next, level.Marked = r.Next, r.Marked
		level.Entries = append(level.Entries, r.Entries...)
		level.Held = append(level.Held, r.Held...)
		return nil
	})
	if err != nil {
		t.Fatalf("Recover: %v", err)
	}
	for id, levels := range all {
		for _, level := range levels {
			for i, e := range level.Entries {
				if i > 0 && level.Entries[i-1].Seq >= e.Seq {
					t.Fatalf("queue %d: %d after %d", id, e.Seq, level.Entries[i-1].Seq)
				}
				if e.Seq >= level.Next {
					t.Fatalf("queue %d: next is %d, but there is %d", id, level.Next, e.Seq)
				}
			}
		}
	}
	return all
}

// Seqs returns the live numbers of a priority of q.
func (r Recovered) Seqs(q core.QueueID, prio uint8) []core.Seq {
	level := r[q][prio]
	if level == nil {
		return nil
	}
	var seqs []core.Seq
	for _, e := range level.Entries {
		seqs = append(seqs, e.Seq)
	}
	return seqs
}

// CheckBodies reads seqs of q and compares the bodies.
func CheckBodies(t testing.TB, l core.MessageLog, q core.QueueID, body func(core.Seq) []byte, seqs []core.Seq) {
	t.Helper()
	n := 0
	l.Read(q, seqs, func(i int, m *core.Message, err error) {
		if i != n {
			t.Fatalf("queue %d: message %d came as %d", q, n, i)
		}
		n++
		if err != nil {
			t.Fatalf("queue %d, message %d: %v", q, seqs[i], err)
		}
		if want := body(seqs[i]); !bytes.Equal(m.Body, want) {
			t.Fatalf("queue %d, message %d: body %.40q, want %.40q", q, seqs[i], m.Body, want)
		}
	})
	if n != len(seqs) {
		t.Fatalf("queue %d: %d of %d messages", q, n, len(seqs))
	}
}

func text(s core.Seq) []byte { return fmt.Appendf(nil, "message %d", s) }

func span(from, to core.Seq) (seqs []core.Seq) {
	for s := from; s < to; s++ {
		seqs = append(seqs, s)
	}
	return seqs
}

func open(t *testing.T, h Harness) core.MessageLog {
	t.Helper()
	l := h.Open(t)
	closed := false
	t.Cleanup(func() {
		if !closed {
			l.Close()
		}
	})
	return &closer{l, &closed}
}

// closer is a log that the suite may have closed already.
type closer struct {
	core.MessageLog
	closed *bool
}

func (c *closer) Close() error {
	*c.closed = true
	return c.MessageLog.Close()
}

func openEmpty(t *testing.T, h Harness) core.MessageLog {
	t.Helper()
	l := open(t, h)
	if r := Recover(t, l, nil); len(r) != 0 {
		t.Fatalf("a new log holds %v", r)
	}
	return l
}

func reopen(t *testing.T, h Harness, l core.MessageLog) core.MessageLog {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return open(t, h)
}

func equal(t testing.TB, what string, got, want []core.Seq) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %d, want %d", what, got, want)
	}
}

func testContent(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q := l.OpenQueue(7)
	set := l.Begin()
	m := &core.Message{
		Exchange: "orders", RoutingKey: "eu.new", Form: core.FormAMQP091, Encoded: []byte("properties"), Body: []byte("the body"),
		ArrivedMS: 1700000000123, ExpiresMS: 1700000005000, Persistent: true, HasPriority: true, Priority: 4, Died: true, Origin: 99, Retained: true,
	}
	q.Add(set, 0, m, m)
	empty := &core.Message{Persistent: true}
	q.Add(set, 1, empty, empty)
	Finish(t, set)
	check := func(l core.MessageLog) {
		t.Helper()
		l.Read(7, []core.Seq{0, 1}, func(i int, got *core.Message, err error) {
			if err != nil {
				t.Fatal(err)
			}
			want := [...]*core.Message{m, empty}[i]
			if got.Exchange != want.Exchange || got.RoutingKey != want.RoutingKey || got.Form != want.Form ||
				!bytes.Equal(got.Encoded, want.Encoded) || !bytes.Equal(got.Body, want.Body) || got.ArrivedMS != want.ArrivedMS ||
				got.ExpiresMS != want.ExpiresMS || !got.Persistent || got.HasPriority != want.HasPriority || got.Died != want.Died || got.Priority != want.Priority ||
				got.Origin != want.Origin || got.Retained != want.Retained {
				t.Fatalf("message %d: %+v, want %+v", i, got, want)
			}
		})
	}
	check(l)
	l = reopen(t, h, l)
	r := Recover(t, l, nil)
	if len(r) != 1 || len(r[7]) != 1 {
		t.Fatalf("recovered %v", r)
	}
	level := r[7][0]
	want := []core.RecoveredEntry{{Seq: 0, BodyBytes: 8, ExpiresMS: m.ExpiresMS}, {Seq: 1}}
	if !slices.Equal(level.Entries, want) || level.Next != 2 {
		t.Fatalf("recovered %+v", level)
	}
	check(l)
}

func testNumbers(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q := l.OpenQueue(1)
	Store(t, l, q, text, 10, 11, 12)
	q.Settle([]core.Seq{12, 10, 11})
	for range 3 {
		l = reopen(t, h, l)
		r := Recover(t, l, nil)
		if level := r[1][0]; level == nil || level.Next != 13 || len(level.Entries) != 0 {
			t.Fatalf("recovered %+v", level)
		}
	}
}

func testSeveralQueues(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	set := l.Begin()
	m := NewMessage([]byte("for all"))
	for id := range core.QueueID(5) {
		l.OpenQueue(id).Add(set, core.Seq(id*10), m, m)
	}
	Finish(t, set)
	l.OpenQueue(2).Settle([]core.Seq{20})
	l = reopen(t, h, l)
	r := Recover(t, l, nil)
	for id := range core.QueueID(5) {
		var want []core.Seq
		if id != 2 {
			want = []core.Seq{core.Seq(id * 10)}
		}
		equal(t, fmt.Sprint("queue ", id), r.Seqs(id, 0), want)
		CheckBodies(t, l, id, func(core.Seq) []byte { return m.Body }, want)
	}
}

func testSettled(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q := l.OpenQueue(1)
	Store(t, l, q, text, span(0, 100)...)
	q.Settle(span(10, 20))
	q.Settle([]core.Seq{50, 3, 99, 51, 0})
	want := slices.DeleteFunc(span(0, 100), func(s core.Seq) bool {
		return s >= 10 && s < 20 || slices.Contains([]core.Seq{50, 3, 99, 51, 0}, s)
	})
	for range 2 {
		l = reopen(t, h, l)
		equal(t, "left", Recover(t, l, nil).Seqs(1, 0), want)
		CheckBodies(t, l, 1, text, want)
	}
	q = l.OpenQueue(1)
	q.Settle(want)
	l = reopen(t, h, l)
	equal(t, "left", Recover(t, l, nil).Seqs(1, 0), nil)
}

func testStruck(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q, other := l.OpenQueue(1), l.OpenQueue(2)
	set := l.Begin()
	var ms []*core.Message
	for s := range core.Seq(10) {
		m := NewMessage(text(s))
		q.Add(set, s, m, m)
		ms = append(ms, m)
	}
	q.Settle(span(0, 10))
	other.Add(set, 5, ms[5], ms[5])
	Finish(t, set)
	set = l.Begin()
	m := NewMessage(text(10))
	q.Add(set, 10, m, m)
	q.Settle([]core.Seq{10})
	Finish(t, set)
	set = l.Begin()
	Finish(t, set) // Nothing at all.
	l = reopen(t, h, l)
	r := Recover(t, l, nil)
	equal(t, "queue 1", r.Seqs(1, 0), nil)
	equal(t, "queue 2", r.Seqs(2, 0), []core.Seq{5})
	CheckBodies(t, l, 2, text, []core.Seq{5})
}

func testMove(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	from, to := l.OpenQueue(1), l.OpenQueue(2)
	Store(t, l, from, text, span(0, 1000)...)
	set := l.Begin()
	for s := range core.Seq(999) {
		m := NewMessage(text(s))
		to.Add(set, s, m, m)
	}
	gone := span(0, 999)
	slices.Reverse(gone)
	from.SettleIn(set, gone)
	from.Purge(0, 999, span(0, 999))
	to.Settle([]core.Seq{7})
	Finish(t, set)
	l = reopen(t, h, l)
	r := Recover(t, l, nil)
	equal(t, "from", r.Seqs(1, 0), []core.Seq{999})
	want := slices.DeleteFunc(span(0, 999), func(s core.Seq) bool { return s == 7 })
	equal(t, "to", r.Seqs(2, 0), want)
	CheckBodies(t, l, 2, text, want)
}

// testMovePending moves messages of sets that are not closed, or not written.
func testMovePending(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	a, b, c := l.OpenQueue(1), l.OpenQueue(2), l.OpenQueue(3)
	add := func(set core.ChangeSet, q core.QueueLog, seqs ...core.Seq) {
		for _, s := range seqs {
			m := NewMessage(text(s))
			q.Add(set, s, m, m)
		}
	}
	first, second, third := l.Begin(), l.Begin(), l.Begin()
	add(first, a, 0, 1, 2)
	add(second, b, 0)
	a.SettleIn(second, []core.Seq{0})
	add(third, c, 0, 1)
	b.SettleIn(third, []core.Seq{0})
	a.SettleIn(third, []core.Seq{1})
	// The first is written, and waits for the others, whichever comes first.
	early := make(chan error, 2)
	first.Close(func(err error) { early <- err })
	probe := l.Begin() // Behind it in the log.
	add(probe, l.OpenQueue(4), 0)
	Finish(t, probe)
	second.Close(func(err error) { early <- err })
	probe = l.Begin()
	add(probe, l.OpenQueue(4), 1)
	Finish(t, probe)
	select {
	case <-early:
		t.Fatal("a set is complete while what it held is on its way")
	default:
	}
	Finish(t, third)
	for range 2 {
		select {
		case err := <-early:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(Deadline):
			t.Fatal("set not completed")
		}
	}
	if n := l.Outstanding(); n != 0 {
		t.Fatalf("%d bytes outstanding when everything is complete", n)
	}
	// And a target that is complete before the source is closed.
	late, target := l.Begin(), l.Begin()
	add(late, a, 3)
	add(target, c, 3)
	a.SettleIn(target, []core.Seq{3})
	Finish(t, target)
	Finish(t, late)
	l = reopen(t, h, l)
	r := Recover(t, l, nil)
	equal(t, "first", r.Seqs(1, 0), []core.Seq{2})
	equal(t, "second", r.Seqs(2, 0), nil)
	equal(t, "third", r.Seqs(3, 0), []core.Seq{0, 1, 3})
}

func testSettleIn(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q, other := l.OpenQueue(1), l.OpenQueue(2)
	Store(t, l, q, text, span(0, 500)...)
	Store(t, l, other, text, 0)
	set := l.Begin()
	q.SettleIn(set, span(0, 499))
	other.SettleIn(set, []core.Seq{0})
	Finish(t, set)
	set = l.Begin()
	q.SettleIn(set, nil)
	Finish(t, set)
	l = reopen(t, h, l)
	r := Recover(t, l, nil)
	equal(t, "left", r.Seqs(1, 0), []core.Seq{499})
	equal(t, "other", r.Seqs(2, 0), nil)
}

func testRetry(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q := l.OpenQueue(1)
	Store(t, l, q, text, span(0, 10)...)
	retry := func(s core.Seq, a core.Attempts) {
		t.Helper()
		set := l.Begin()
		q.Retry(set, s, a)
		Finish(t, set)
	}
	retry(1, core.Attempts{Acquired: 1, Failed: 1, DueMS: 1700000000000})
	retry(2, core.Attempts{Acquired: 4, Failed: 3})
	retry(2, core.Attempts{Acquired: 5, Failed: 3}) // The last one counts.
	retry(3, core.Attempts{Acquired: 1})
	retry(4, core.Attempts{Acquired: 2})
	q.Settle([]core.Seq{3})
	retry(9, core.Attempts{Acquired: 7})
	q.Purge(0, 9, span(0, 4))
	// One that is given back before its message is written.
	early := l.Begin()
	m := NewMessage(text(10))
	q.Add(early, 10, m, m)
	note := l.Begin()
	q.Retry(note, 10, core.Attempts{Acquired: 1, Failed: 1})
	done := make(chan error, 1)
	note.Close(func(err error) { done <- err })
	Finish(t, early)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// And one that never is.
	gone := l.Begin()
	m = NewMessage(text(11))
	q.Add(gone, 11, m, m)
	note = l.Begin()
	q.Retry(note, 11, core.Attempts{Acquired: 1, Failed: 1})
	q.Settle([]core.Seq{11})
	Finish(t, gone)
	Finish(t, note)
	want := map[core.Seq]core.Attempts{
		0: {}, 1: {Acquired: 1, Failed: 1, DueMS: 1700000000000}, 2: {Acquired: 5, Failed: 3}, 9: {Acquired: 7}, 10: {Acquired: 1, Failed: 1},
	}
	for range 3 { // Out of records, then out of a checkpoint.
		l = reopen(t, h, l)
		r := Recover(t, l, nil)
		if n := len(r[1][0].Entries); n != len(want) {
			t.Fatalf("%d entries: %+v", n, r[1][0].Entries)
		}
		for _, e := range r[1][0].Entries {
			if e.Attempts != want[e.Seq] {
				t.Fatalf("message %d: %+v, want %+v", e.Seq, e.Attempts, want[e.Seq])
			}
		}
	}
}

func testPurge(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q := l.OpenQueue(1)
	Store(t, l, q, text, span(0, 20000)...)
	survivors := []core.Seq{0, 1, 77, 4095, 4096, 9000, 19999}
	q.Purge(0, 20000, survivors)
	Store(t, l, q, text, span(20000, 20010)...)
	want := append(slices.Clone(survivors), span(20000, 20010)...)
	CheckBodies(t, l, 1, text, want)
	for range 2 {
		l = reopen(t, h, l)
		equal(t, "left", Recover(t, l, nil).Seqs(1, 0), want)
		CheckBodies(t, l, 1, text, want)
	}
	q = l.OpenQueue(1)
	q.Purge(0, 20010, nil)
	l = reopen(t, h, l)
	r := Recover(t, l, nil)
	equal(t, "left", r.Seqs(1, 0), nil)
	if r[1][0].Next != 20010 {
		t.Fatalf("next is %d", r[1][0].Next)
	}
}

func testPurgePending(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q := l.OpenQueue(1)
	Store(t, l, q, text, 0, 1, 2)
	set := l.Begin()
	for s := core.Seq(3); s < 8; s++ {
		m := NewMessage(text(s))
		q.Add(set, s, m, m)
	}
	q.Purge(0, 6, []core.Seq{1, 4})
	Finish(t, set)
	l = reopen(t, h, l)
	equal(t, "left", Recover(t, l, nil).Seqs(1, 0), []core.Seq{1, 4, 6, 7})
	CheckBodies(t, l, 1, text, []core.Seq{1, 4, 6, 7})
}

func testDrop(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q := l.OpenQueue(1)
	Store(t, l, q, text, span(0, 5000)...)
	Store(t, l, l.OpenQueue(2), text, 1)
	set := l.Begin()
	m := NewMessage(text(5000))
	q.Add(set, 5000, m, m)
	q.Drop()
	Finish(t, set)
	l = reopen(t, h, l)
	r := Recover(t, l, nil)
	equal(t, "queue 1", r.Seqs(1, 0), nil)
	equal(t, "queue 2", r.Seqs(2, 0), []core.Seq{1})
}

func testUnknown(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	Store(t, l, l.OpenQueue(1), text, 1)
	Store(t, l, l.OpenQueue(2), text, 2)
	l = reopen(t, h, l)
	r := Recover(t, l, func(q core.QueueID) bool { return q == 2 })
	if len(r) != 1 {
		t.Fatalf("recovered %v", r)
	}
	l = reopen(t, h, l)
	r = Recover(t, l, nil)
	equal(t, "queue 1", r.Seqs(1, 0), nil)
	equal(t, "queue 2", r.Seqs(2, 0), []core.Seq{2})
}

func testMark(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q := l.OpenQueue(1)
	q.Mark(0, 4096, nil)
	Store(t, l, q, text, 0, 1)
	l = reopen(t, h, l)
	level := Recover(t, l, nil)[1][0]
	if level.Marked != 4096 || level.Next < 4096 {
		t.Fatalf("recovered %+v", level)
	}
	q = l.OpenQueue(1)
	written := make(chan struct{})
	if !q.Mark(0, 5000, func() { close(written) }) {
		select {
		case <-written:
		case <-time.After(Deadline):
			t.Fatal("the mark was never written")
		}
	}
	l = reopen(t, h, l)
	if level := Recover(t, l, nil)[1][0]; level.Marked != 5000 || len(level.Entries) != 2 {
		t.Fatalf("recovered %+v", level)
	}
}

func testTransient(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q := l.OpenQueue(1)
	set := l.Begin()
	for s := range core.Seq(10) {
		m := NewMessage(text(s))
		m.Persistent = s%2 == 0
		q.Add(set, s, m, m)
	}
	Finish(t, set)
	CheckBodies(t, l, 1, text, span(0, 10))
	l.Read(1, []core.Seq{3, 4}, func(i int, m *core.Message, err error) {
		if err != nil || m.Persistent != (i == 1) {
			t.Fatalf("message %d: persistent %v, %v", i, m.Persistent, err)
		}
	})
	for range 2 {
		l = reopen(t, h, l)
		equal(t, "left", Recover(t, l, nil).Seqs(1, 0), []core.Seq{0, 2, 4, 6, 8})
	}
	if next := Recover(t, reopen(t, h, l), nil)[1][0].Next; next != 10 {
		t.Fatalf("next is %d", next)
	}
}

func testWritten(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q := l.OpenQueue(1)
	a, b := l.Begin(), l.Begin()
	add := func(set core.ChangeSet, seqs ...core.Seq) {
		for _, s := range seqs {
			m := NewMessage(text(s))
			q.Add(set, s, m, m)
		}
	}
	add(a, 0, 1)
	add(b, 2, 3)
	Finish(t, b)
	if w := q.Written(0); w != 0 {
		t.Fatalf("written below %d while 0 is pending", w)
	}
	q.Settle([]core.Seq{0})
	if w := q.Written(0); w != 1 {
		t.Fatalf("written below %d while 1 is pending", w)
	}
	Finish(t, a)
	if w := q.Written(0); w < 4 {
		t.Fatalf("written below %d when all is", w)
	}
	CheckBodies(t, l, 1, text, span(1, 4))
}

func testPriorities(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q := l.OpenQueue(1)
	const high = core.Seq(9) << 56
	Store(t, l, q, text, 0, 1, 2, high, high|1, 3, high|2)
	q.Settle([]core.Seq{high | 1, 1})
	l = reopen(t, h, l)
	r := Recover(t, l, nil)
	equal(t, "low", r.Seqs(1, 0), []core.Seq{0, 2, 3})
	equal(t, "high", r.Seqs(1, 9), []core.Seq{high, high | 2})
	CheckBodies(t, l, 1, text, []core.Seq{0, 2, 3, high, high | 2})
	q = l.OpenQueue(1)
	q.Purge(9, high|3, []core.Seq{high | 2})
	q.Mark(9, high|100, nil)
	l = reopen(t, h, l)
	r = Recover(t, l, nil)
	equal(t, "low", r.Seqs(1, 0), []core.Seq{0, 2, 3})
	equal(t, "high", r.Seqs(1, 9), []core.Seq{high | 2})
	if m := r[1][9].Marked; m != high|100 {
		t.Fatalf("marked %x", m)
	}
}

func testExpiry(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	set := l.Begin()
	m := NewMessage([]byte("x"))
	m.ExpiresMS = 0
	l.OpenQueue(1).Add(set, 1, m, m)
	m.ExpiresMS = 5000
	l.OpenQueue(2).Add(set, 1, m, m)
	m.ExpiresMS = 7000
	l.OpenQueue(3).Add(set, 1, m, m)
	Finish(t, set)
	l = reopen(t, h, l)
	r := Recover(t, l, nil)
	for q, want := range map[core.QueueID]int64{1: 0, 2: 5000, 3: 7000} {
		if got := r[q][0].Entries[0].ExpiresMS; got != want {
			t.Fatalf("queue %d: expires at %d, want %d", q, got, want)
		}
		l.Read(q, []core.Seq{1}, func(_ int, m *core.Message, err error) {
			if err != nil || m.ExpiresMS != want {
				t.Fatalf("queue %d: %v, %v", q, m, err)
			}
		})
	}
}

func testLarge(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q := l.OpenQueue(1)
	body := func(s core.Seq) []byte {
		b := bytes.Repeat(fmt.Appendf(nil, "%8d", s), 1<<15)
		return b[:len(b)-int(s%8)]
	}
	for s := range core.Seq(12) {
		set := l.Begin()
		m := NewMessage(body(s))
		m.OwnBody = s%2 == 0
		q.Add(set, s, m, m)
		small := NewMessage([]byte("small"))
		l.OpenQueue(2).Add(set, s, small, small)
		l.OpenQueue(3).Add(set, s, m, m)
		Finish(t, set)
	}
	for range 2 {
		CheckBodies(t, l, 1, body, span(0, 12))
		CheckBodies(t, l, 2, func(core.Seq) []byte { return []byte("small") }, span(0, 12))
		CheckBodies(t, l, 3, body, span(0, 12))
		l = reopen(t, h, l)
		equal(t, "left", Recover(t, l, nil).Seqs(3, 0), span(0, 12))
	}
}

func testManyRefs(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	const n = 70_000 // More than a record's count can say.
	set := l.Begin()
	m := NewMessage([]byte("for everyone"))
	for id := range core.QueueID(n) {
		l.OpenQueue(id).Add(set, 1, m, m)
	}
	Finish(t, set)
	l = reopen(t, h, l)
	r := Recover(t, l, nil)
	if len(r) != n {
		t.Fatalf("%d queues", len(r))
	}
	for _, id := range []core.QueueID{0, 65534, 65535, 65536, n - 1} {
		CheckBodies(t, l, id, func(core.Seq) []byte { return m.Body }, []core.Seq{1})
	}
}

func testReadMissing(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q := l.OpenQueue(1)
	Store(t, l, q, text, 1, 3)
	var got []error
	l.Read(1, []core.Seq{0, 1, 2, 3, 4}, func(_ int, _ *core.Message, err error) { got = append(got, err) })
	l.Read(9, []core.Seq{0}, func(_ int, _ *core.Message, err error) { got = append(got, err) })
	if len(got) != 6 || got[0] == nil || got[1] != nil || got[2] == nil || got[3] != nil || got[4] == nil || got[5] == nil {
		t.Fatalf("errors %v", got)
	}
}

func testConcurrent(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	const publishers, batches, each = 8, 40, 25
	var locks [2]sync.Mutex
	var next [2]core.Seq
	var kept [2][]core.Seq
	queues := [2]core.QueueLog{l.OpenQueue(1), l.OpenQueue(2)}
	var all sync.WaitGroup
	for p := range publishers {
		all.Go(func() {
			var open sync.WaitGroup
			for b := range batches {
				set := l.Begin()
				ms := make([]*core.Message, each)
				for i := range ms {
					ms[i] = NewMessage([]byte("x"))
				}
				for i, q := range queues {
					locks[i].Lock()
					for n, m := range ms {
						s := next[i]
						next[i]++
						q.Add(set, s, m, m)
						if (n+b+p)%3 == 0 {
							q.Settle([]core.Seq{s})
						} else {
							kept[i] = append(kept[i], s)
						}
					}
					locks[i].Unlock()
				}
				open.Add(1)
				set.Close(func(err error) {
					if err != nil {
						t.Error(err)
					}
					open.Done()
				})
			}
			open.Wait()
		})
	}
	all.Wait()
	if n := l.Outstanding(); n != 0 {
		t.Fatalf("%d bytes outstanding when everything is complete", n)
	}
	for i := range queues {
		CheckBodies(t, l, core.QueueID(i+1), func(core.Seq) []byte { return []byte("x") }, kept[i])
	}
	l = reopen(t, h, l)
	r := Recover(t, l, nil)
	for i := range queues {
		equal(t, fmt.Sprint("queue ", i+1), r.Seqs(core.QueueID(i+1), 0), kept[i])
	}
}

func testClosed(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q := l.OpenQueue(1)
	set := l.Begin()
	m := NewMessage([]byte("late"))
	q.Add(set, 1, m, m)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := CloseSet(t, set); err == nil {
		t.Fatal("a set was completed after Close")
	}
	q.Settle([]core.Seq{0})
	if err := errors.Join(l.Close()); err != nil {
		t.Fatalf("second Close: %v", err)
	}
}
