package persisttest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"leveret/core"
)

// slotsText shows what is held of a queue, by seq: "3:7/42 4:7/43!".
func slotsText(r Recovered, q core.QueueID) (text string) {
	for _, prio := range []uint8{0, 9} {
		if r[q][prio] == nil {
			continue
		}
		for _, s := range r[q][prio].Held {
			text += fmt.Sprintf("%d:%d/%d", s.Seq, s.Client, s.Data)
			if s.Released {
				text += "!"
			}
			text += " "
		}
	}
	return text
}

func wantSlots(t *testing.T, r Recovered, q core.QueueID, want string) {
	t.Helper()
	if got := slotsText(r, q); got != want {
		t.Errorf("queue %d: held %q, want %q", q, got, want)
	}
}

func testHold(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q, other := l.OpenQueue(1), l.OpenQueue(2)
	high := core.Seq(9)<<56 | 5
	Store(t, l, q, text, append(span(0, 8), high)...)
	Store(t, l, other, text, span(0, 3)...)

	set := l.Begin()
	q.Hold(set, 7, []core.Slot{{Seq: 1, Data: 10}, {Seq: 2, Data: 1<<32 - 1}, {Seq: 3, Data: 12}, {Seq: 5, Data: 13}, {Seq: high, Data: 14}}, true)
	q.Hold(set, 8, []core.Slot{{Seq: 6, Data: 1}, {Seq: 7, Data: 2, Released: true}, {Seq: 99, Data: 3}}, true)
	other.Hold(set, 7, []core.Slot{{Seq: 1, Data: 20}}, true)
	Finish(t, set)
	q.Settle([]core.Seq{3})
	set = l.Begin() // Later notes replace earlier ones.
	q.Hold(set, 7, []core.Slot{{Seq: 2, Data: 11, Released: true}}, true)
	q.Hold(set, 0, []core.Slot{{Seq: 6}}, true)
	Finish(t, set)

	for range 2 {
		l = reopen(t, h, l)
		r := Recover(t, l, nil)
		wantSlots(t, r, 1, fmt.Sprintf("1:7/10 2:7/11! 5:7/13 7:8/2! %d:7/14 ", high))
		wantSlots(t, r, 2, "1:7/20 ")
	}
	q, other = l.OpenQueue(1), l.OpenQueue(2)
	q.Purge(0, 6, []core.Seq{2})
	other.Drop()
	set = l.Begin()
	q.SettleIn(set, []core.Seq{7})
	Finish(t, set)
	for range 2 {
		l = reopen(t, h, l)
		r := Recover(t, l, nil)
		wantSlots(t, r, 1, fmt.Sprintf("2:7/11! %d:7/14 ", high))
		wantSlots(t, r, 2, "")
	}
	// Nobody need wait for a note: it comes with what is written later.
	set = l.Begin()
	l.OpenQueue(1).Hold(set, 9, []core.Slot{{Seq: 6, Data: 30}}, false)
	Finish(t, set)
	l = reopen(t, h, l)
	wantSlots(t, Recover(t, l, nil), 1, fmt.Sprintf("2:7/11! 6:9/30 %d:7/14 ", high))
}

func testHoldEarly(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	q := l.OpenQueue(1)
	Store(t, l, q, text, 0)
	publish := l.Begin()
	add := func(s core.Seq) {
		m := NewMessage(text(s))
		q.Add(publish, s, m, m)
	}
	add(1)
	add(2)
	hold := func(slots ...core.Slot) <-chan error {
		done := make(chan error, 1)
		set := l.Begin()
		q.Hold(set, 7, slots, true)
		set.Close(func(err error) { done <- err })
		return done
	}
	early, behind := hold(core.Slot{Seq: 1, Data: 1}, core.Slot{Seq: 2, Data: 2}), hold(core.Slot{Seq: 2, Data: 3})
	// Others do not wait, but for those that might be about the same entries.
	Store(t, l, l.OpenQueue(2), text, 0)
	q.Settle([]core.Seq{1})
	select {
	case err := <-early:
		t.Fatalf("held before the message was stored: %v", err)
	case err := <-behind:
		t.Fatalf("held before the message was stored: %v", err)
	default:
	}
	Finish(t, publish)
	for _, done := range []<-chan error{early, behind} {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(Deadline):
			t.Fatal("never held")
		}
	}
	l = reopen(t, h, l)
	r := Recover(t, l, nil)
	equal(t, "left", r.Seqs(1, 0), []core.Seq{0, 2})
	wantSlots(t, r, 1, "2:7/3 ")

	// A message that never comes leaves nobody waiting for ever.
	q = l.OpenQueue(1)
	publish = l.Begin()
	add(5)
	never := hold(core.Slot{Seq: 5, Data: 5})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-never:
		if err == nil {
			t.Fatal("held a message that was never stored")
		}
	case <-time.After(Deadline):
		t.Fatal("still waiting after Close")
	}
	publish.Close(func(error) {})
	l = open(t, h)
	wantSlots(t, Recover(t, l, nil), 1, "2:7/3 ")
}

func testReceive(t *testing.T, h Harness) {
	l := openEmpty(t, h)
	received := func(known ...core.QueueID) (text string) {
		all := make(map[core.QueueID][]uint16)
		l.Received(func(c core.QueueID) bool { return slices.Contains(known, c) }, func(c core.QueueID, ids []uint16) { all[c] = slices.Clone(ids) })
		for c := range core.QueueID(20) {
			if ids, ok := all[c]; ok {
				text += fmt.Sprint(c, ids)
			}
		}
		return text
	}
	q := l.OpenQueue(1)
	set := l.Begin()
	m := NewMessage(text(0))
	q.Add(set, 0, m, m)
	l.Receive(set, 7, []uint16{65535, 1, 300})
	l.Receive(set, 8, []uint16{1})
	l.Receive(set, 9, []uint16{1})
	l.Receive(set, 10, []uint16{4})
	Finish(t, set)
	set = l.Begin() // Without a message.
	l.Forget(set, 7, []uint16{300, 301})
	l.Forget(set, 8, []uint16{1})
	l.Forget(set, 9, nil)
	l.Receive(set, 9, []uint16{2})
	Finish(t, set)
	set = l.Begin() // Its message is settled: the id counts all the same.
	q.Add(set, 1, m, m)
	l.Receive(set, 7, []uint16{2})
	q.Settle([]core.Seq{1})
	Finish(t, set)
	for range 2 {
		l = reopen(t, h, l)
		Recover(t, l, nil)
		if got := received(7, 8, 9, 10); got != "7 [1 2 65535]9 [2]10 [4]" {
			t.Fatalf("received %q", got)
		}
	}
	if got := received(7); got != "7 [1 2 65535]" {
		t.Fatalf("received %q", got)
	}
	l = reopen(t, h, l)
	Recover(t, l, nil)
	if got := received(7, 8, 9, 10); got != "7 [1 2 65535]" {
		t.Fatalf("of clients that nobody knew there is left %q", got)
	}
}
