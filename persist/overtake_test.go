package persist_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"leveret/core"
	"leveret/persist"
	"leveret/persist/persisttest"
	"leveret/persist/vfs/faultfs"
)

// Publishes wait for space on a full disk. What clients note meanwhile, which
// takes next to none and is on the way to freeing some, does not; but for what
// would then stand before the message, or the note, that it follows.
func TestNotesOvertakeFullDisk(t *testing.T) {
	disk := faultfs.New(faultfs.Options{SizeBytes: 2 << 20})
	o := persist.LogOptions{SegmentBytes: 128 << 10, Logger: sober(t)}
	l := openLog(t, disk, "/log", o)
	states := make(chan error, 100)
	l.OnState(func(err error) { states <- err })
	body := func(s core.Seq) []byte { return bytes.Repeat([]byte{byte(s)}, 2000) }
	q := l.OpenQueue(1)
	next := core.Seq(0)
	publish := func(also func(core.ChangeSet)) chan error {
		set := l.Begin()
		m := persisttest.NewMessage(body(next))
		q.Add(set, next, m, m)
		next++
		also(set)
		done := make(chan error, 1)
		set.Close(func(err error) { done <- err })
		return done
	}
	nothing := func(core.ChangeSet) {}
	var waiting []chan error
	for full := false; !full; {
		done := publish(nothing)
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case err := <-states:
			if !errors.Is(err, persist.ErrNoSpace) {
				t.Fatalf("state: %v", err)
			}
			full = true
			waiting = append(waiting, done)
		}
	}
	for range 200 { // More than there is room for.
		waiting = append(waiting, publish(nothing))
	}
	waiting = append(waiting, publish(func(set core.ChangeSet) { l.Receive(set, 9, []uint16{1}) }))
	held := next - 1

	note := func(notes ...func(core.ChangeSet)) chan error {
		set := l.Begin()
		for _, n := range notes {
			n(set)
		}
		done := make(chan error, 1)
		set.Close(func(err error) { done <- err })
		return done
	}
	hold := func(client core.QueueID, s core.Slot) func(core.ChangeSet) {
		return func(set core.ChangeSet) { q.Hold(set, client, []core.Slot{s}, true) }
	}
	behind := []chan error{
		note(hold(9, core.Slot{Seq: held, Data: 1})),
		note(hold(9, core.Slot{Seq: held, Data: 2})),
		note(func(set core.ChangeSet) { l.Forget(set, 9, []uint16{1}) }),
		note(func(set core.ChangeSet) { l.Receive(set, 9, []uint16{2}) }),
	}
	for i, done := range []chan error{
		note(hold(9, core.Slot{Seq: 30, Data: 3})),
		note(hold(9, core.Slot{Seq: 30, Data: 3, Released: true}), hold(8, core.Slot{Seq: 31, Data: 4})),
		note(func(set core.ChangeSet) { l.Receive(set, 8, []uint16{5, 6}) }),
		note(func(set core.ChangeSet) { l.Forget(set, 8, []uint16{5}) }),
		note(func(set core.ChangeSet) { q.SettleIn(set, []core.Seq{32}) }),
	} {
		if err := receive(t, done); err != nil {
			t.Fatalf("note %d on a full disk: %v", i, err)
		}
	}
	for i, done := range append(behind, waiting[len(waiting)-1]) {
		if len(done) > 0 {
			t.Errorf("set %d of those that wait is complete: %v", i, <-done)
		}
	}

	// What has overtaken is on disk. What has not is not there in part.
	check := func(disk *faultfs.FS, wantHeld, wantIDs string) {
		t.Helper()
		l := openLog(t, disk, "/log", o)
		defer l.Close()
		level := persisttest.Recover(t, l, nil)[1][0]
		if got := fmt.Sprint(level.Held); got != wantHeld {
			t.Errorf("held %s, want %s", got, wantHeld)
		}
		if slices.ContainsFunc(level.Entries, func(e core.RecoveredEntry) bool { return e.Seq == 32 }) {
			t.Error("a settled entry came back")
		}
		received := make(map[core.QueueID][]uint16) // Which is printed in order.
		l.Received(func(core.QueueID) bool { return true }, func(c core.QueueID, ids []uint16) { received[c] = ids })
		if ids := fmt.Sprint(received); ids != wantIDs {
			t.Errorf("received %s, want %s", ids, wantIDs)
		}
	}
	check(disk.CrashAt(disk.Ops(), 1), "[{9 {30 3 true}} {8 {31 4 false}}]", "map[8:[6]]")

	// Consuming frees space. All that waited goes on, in its order.
	for s := core.Seq(40); s < held-220; s++ {
		q.Settle([]core.Seq{s})
	}
	for i, done := range append(waiting, behind...) {
		if err := receive(t, done); err != nil {
			t.Fatalf("set %d: %v", i, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	check(disk.KillAt(disk.Ops()), fmt.Sprintf("[{9 {30 3 true}} {8 {31 4 false}} {9 {%d 2 false}}]", held), "map[8:[6] 9:[2]]")
}
