package persist_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"leveret/core"
	"leveret/persist"
	"leveret/persist/persisttest"
	"leveret/persist/segment"
	"leveret/persist/vfs"
	"leveret/persist/vfs/faultfs"
)

// TestFailEachOperation has the n-th operation of each kind fail, for every n
// of a short history. Whatever happens: no panic, every set is completed, what
// was promised is there after a restart, and after a power cut as well.
func TestFailEachOperation(t *testing.T) {
	steps, stride := 60, 4
	if *long {
		steps, stride = 200, 1
	}
	for _, c := range []struct {
		op   faultfs.Op
		err  error
		half bool
	}{
		{faultfs.OpWrite, syscall.EIO, false}, {faultfs.OpWrite, syscall.ENOSPC, true}, {faultfs.OpSync, syscall.EIO, false},
		{faultfs.OpPreallocate, syscall.ENOSPC, false}, {faultfs.OpRename, syscall.EIO, false}, {faultfs.OpRemove, syscall.EIO, false},
		{faultfs.OpSyncDir, syscall.EIO, false}, {faultfs.OpOpen, syscall.ENOSPC, false}, {faultfs.OpRead, syscall.EIO, false},
		{faultfs.OpTruncate, syscall.EIO, false}, {faultfs.OpClose, syscall.EIO, false},
	} {
		t.Run(fmt.Sprint(c.op, " ", c.err), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(4, uint64(len(c.op))))
			for nth := 1; ; nth += 1 + rng.IntN(stride) {
				if !failOne(t, steps, faultfs.Fault{Op: c.op, Nth: nth, Err: c.err, Half: c.half}) {
					return
				}
			}
		})
	}
}

// failOne runs a history over a disk with fault. It reports false if the fault
// never came.
func failOne(t *testing.T, steps int, fault faultfs.Fault) (hit bool) {
	t.Helper()
	disk := faultfs.New(faultfs.Options{})
	bad := faultfs.Inject(disk)
	bad.Add(fault)
	o := persist.LogOptions{SegmentBytes: 8 << 10, Logger: quiet}
	h := newHistory(disk.Ops)
	l, err := persist.OpenLog(bad, "/log", o)
	if err == nil {
		persisttest.Recover(t, l, nil)
		a := newActor(t, l, h, uint64(fault.Nth))
		for range steps {
			a.step()
		}
		a.wait()
		if err := l.Close(); err != nil && !errors.Is(err, persist.ErrPoisoned) && fault.Op != faultfs.OpClose {
			t.Fatalf("%v %d: Close: %v", fault.Op, fault.Nth, err)
		}
		for i, s := range h.sets {
			if s.done == 0 && len(s.refs) > 0 {
				t.Fatalf("%v %d: set %d was never completed", fault.Op, fault.Nth, i)
			}
		}
	}
	hit = bad.Count(fault.Op) >= fault.Nth
	for name, left := range map[string]vfs.FS{"restart": disk.KillAt(disk.Ops()), "power cut": disk.Crash(uint64(fault.Nth))} {
		l = openLog(t, left, "/log", o)
		if err := h.check(t, l, disk.Ops()); err != nil {
			t.Fatalf("%v %d failed, then %s: %v", fault.Op, fault.Nth, name, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return hit
}

// A sync that failed confirms nothing, then or later, and OnState says so.
func TestFailedSyncPoisons(t *testing.T) {
	disk := faultfs.New(faultfs.Options{})
	bad := faultfs.Inject(disk)
	l := openLog(t, bad, "/log", persist.LogOptions{})
	states := make(chan error, 10)
	l.OnState(func(err error) { states <- err })
	q := l.OpenQueue(1)
	text := func(s core.Seq) []byte { return fmt.Append(nil, s) }
	persisttest.Store(t, l, q, text, 0, 1)
	bad.Add(faultfs.Fault{Op: faultfs.OpSync, For: -1, Match: func(name string) bool { return strings.Contains(name, "0000000001.seg") }})
	for s := core.Seq(2); s < 5; s++ {
		set := l.Begin()
		m := persisttest.NewMessage(text(s))
		q.Add(set, s, m, m)
		if err := persisttest.CloseSet(t, set); !errors.Is(err, persist.ErrPoisoned) || !errors.Is(err, syscall.EIO) {
			t.Fatalf("set %d: %v", s, err)
		}
	}
	if err := receive(t, states); !errors.Is(err, persist.ErrPoisoned) {
		t.Fatalf("state: %v", err)
	}
	if w := q.Written(0); w > 2 {
		t.Fatalf("written below %d", w)
	}
	persisttest.CheckBodies(t, l, 1, text, []core.Seq{0, 1})
	if l.Outstanding() != 0 {
		t.Fatalf("%d bytes outstanding", l.Outstanding())
	}
	if err := l.Close(); !errors.Is(err, persist.ErrPoisoned) {
		t.Fatalf("Close: %v", err)
	}
	l = openLog(t, disk.KillAt(disk.Ops()), "/log", persist.LogOptions{})
	defer l.Close()
	got := persisttest.Recover(t, l, nil).Seqs(1, 0)
	if len(got) < 2 || got[0] != 0 || got[1] != 1 {
		t.Fatalf("recovered %v", got)
	}
}

func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(persisttest.Deadline):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// TestFullDisk fills a disk until the log refuses, restarts it there, consumes,
// and sees publishing resume.
func TestFullDisk(t *testing.T) {
	for _, restarts := range []int{0, 3} {
		t.Run(fmt.Sprint(restarts, " restarts"), func(t *testing.T) {
			disk := faultfs.New(faultfs.Options{SizeBytes: 2 << 20})
			o := persist.LogOptions{SegmentBytes: 128 << 10, Logger: sober(t)}
			l := openLog(t, disk, "/log", o)
			states := make(chan error, 100)
			l.OnState(func(err error) { states <- err })
			body := func(s core.Seq) []byte { return bytes.Repeat([]byte{byte(s)}, 2000) }
			q := l.OpenQueue(1)
			next, complete := core.Seq(0), core.Seq(0)
			var waiting []chan error
			for full := false; !full; {
				set := l.Begin()
				m := persisttest.NewMessage(body(next))
				q.Add(set, next, m, m)
				next++
				done := make(chan error, 1)
				set.Close(func(err error) { done <- err })
				select {
				case err := <-done:
					if err != nil {
						t.Fatal(err)
					}
					complete = next
				case err := <-states:
					if !errors.Is(err, persist.ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
						t.Fatalf("state: %v", err)
					}
					full = true
					waiting = append(waiting, done)
				}
			}
			// What is published all the same fills the last segment, then waits.
			for range 200 {
				set := l.Begin()
				m := persisttest.NewMessage(body(next))
				q.Add(set, next, m, m)
				next++
				done := make(chan error, 1)
				set.Close(func(err error) { done <- err })
				waiting = append(waiting, done)
			}
			if complete < 200 {
				t.Fatalf("full after %d messages", complete)
			}
			if restarts > 0 {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				for _, done := range waiting {
					if err := receive(t, done); err == nil {
						complete++
					} else if !errors.Is(err, persist.ErrNoSpace) {
						t.Fatalf("a set that waited for space: %v", err)
					}
				}
				waiting = nil
				for n := range restarts {
					disk = disk.KillAt(disk.Ops())
					disk.SetSize(disk.Used()) // Not a byte is left.
					l = openLog(t, disk, "/log", o)
					l.OnState(func(err error) { states <- err })
					if err := receive(t, states); !errors.Is(err, persist.ErrNoSpace) {
						t.Fatalf("state after restart: %v", err)
					}
					got := persisttest.Recover(t, l, nil).Seqs(1, 0)
					if len(got) != int(complete)-n || int(got[0]) != n {
						t.Fatalf("restart %d: %d messages from %d on, want %d", n, len(got), got[0], complete)
					}
					persisttest.CheckBodies(t, l, 1, body, got)
					q = l.OpenQueue(1)
					q.Settle([]core.Seq{core.Seq(n)}) // One is consumed, and stays so.
					if n < restarts-1 {
						if err := l.Close(); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			// Consuming frees space, and publishing resumes.
			for s := core.Seq(restarts); s < complete-10; s++ {
				q.Settle([]core.Seq{s})
			}
			if err := receive(t, states); err != nil {
				t.Fatalf("state after consuming: %v", err)
			}
			for i, done := range waiting {
				if err := receive(t, done); err != nil {
					t.Fatalf("set %d: %v", i, err)
				}
			}
			persisttest.Store(t, l, q, body, next)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = openLog(t, disk, "/log", o)
			defer l.Close()
			got := persisttest.Recover(t, l, nil).Seqs(1, 0)
			persisttest.CheckBodies(t, l, 1, body, got)
			if r := l.Opened(); !r.Sound() || got[len(got)-1] != next {
				t.Fatalf("after all: %+v, last is %d of %d", r, got[len(got)-1], next)
			}
		})
	}
}

// TestFullDiskToTheLastByte goes on consuming, and restarting, on a disk that
// never has a byte more than what is on it, until even the reserved segment is
// full of acks. No settlement that a clean stop kept comes back, no message is
// lost, and in the end publishing works again.
func TestFullDiskToTheLastByte(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 5))
		disk := faultfs.New(faultfs.Options{SizeBytes: 300 << 10})
		o := persist.LogOptions{SegmentBytes: 4 << 10, Logger: sober(t)}
		body := func(s core.Seq) []byte { return bytes.Repeat([]byte{byte(s)}, 150+int(s%100)) }
		l := openLog(t, disk, "/log", o)
		states := make(chan error, 100)
		l.OnState(func(err error) { states <- err })
		q := l.OpenQueue(1)
		live := make(map[core.Seq]bool)
		settled := make(map[core.Seq]bool) // Since the last clean stop.
		for s := core.Seq(0); len(states) == 0; s++ {
			set := l.Begin()
			m := persisttest.NewMessage(body(s))
			q.Add(set, s, m, m)
			done := make(chan error, 1)
			set.Close(func(err error) { done <- err })
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				live[s] = true
			case err := <-states: // This one waits, most likely.
				states <- err
				settled[s] = true
				q.Settle([]core.Seq{s})
			}
		}
		var old []*persist.Log
		for len(live) > 0 {
			for range 30 {
				for s := range live {
					delete(live, s)
					settled[s] = true
					q.Settle([]core.Seq{s})
					break
				}
				if rng.IntN(3) == 0 { // Many small groups.
					wakeByMark(q)
				}
			}
			if rng.IntN(2) == 0 {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				clear(settled)
			} else {
				old = append(old, l)
			}
			disk = disk.KillAt(disk.Ops())
			disk.SetSize(disk.Used())
			l = openLog(t, disk, "/log", o)
			if r := l.Opened(); !r.Sound() {
				t.Fatalf("seed %d: %+v", seed, r)
			}
			got := persisttest.Recover(t, l, nil).Seqs(1, 0)
			persisttest.CheckBodies(t, l, 1, body, got)
			there := make(map[core.Seq]bool)
			for _, s := range got {
				there[s] = true
				if !live[s] && !settled[s] {
					t.Fatalf("seed %d: message %d came back after a clean stop", seed, s)
				}
			}
			for s := range live {
				if !there[s] {
					t.Fatalf("seed %d: message %d is gone", seed, s)
				}
			}
			q = l.OpenQueue(1)
			for s := range settled {
				if there[s] {
					live[s] = true
				}
			}
			clear(settled)
		}
		persisttest.Store(t, l, q, body, 1_000_000)
		for _, l := range append(old, l) {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// wakeByMark has the writer write what it has: a mark does not wait.
func wakeByMark(q core.QueueLog) { q.Mark(0, 0, nil) }

// TestBitFlips damages a file at random. Opening succeeds, no message comes
// back with another body, and what is gone is in the report or comes as an
// error.
func TestBitFlips(t *testing.T) {
	disk := faultfs.New(faultfs.Options{})
	o := persist.LogOptions{SegmentBytes: 16 << 10}
	l := openLog(t, disk, "/log", o)
	q := l.OpenQueue(1)
	body := func(s core.Seq) []byte { return bytes.Repeat(fmt.Appendf(nil, "%d.", s), 60) }
	want := 0
	for s := core.Seq(0); s < 300; s += 3 {
		persisttest.Store(t, l, q, body, s, s+1, s+2)
		want += 3
		if s%30 == 0 {
			q.Settle([]core.Seq{s, s + 1})
			want -= 2
		}
	}
	killed := disk.Ops()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	rounds := 300
	if *long {
		rounds = 5000
	}
	for seed := range uint64(rounds) {
		rng := rand.New(rand.NewPCG(seed, 3))
		left := disk.KillAt([]int{killed, disk.Ops()}[seed%2])
		names, err := left.ReadDir("/log")
		if err != nil {
			t.Fatal(err)
		}
		names = slices.DeleteFunc(names, func(n string) bool { return n == "lock" })
		name := filepath.Join("/log", names[rng.IntN(len(names))])
		flip(t, left, name, rng)
		checked, err := persist.Check(left, "/log")
		if err != nil {
			t.Fatalf("seed %d, %s: check: %v, %+v", seed, name, err, checked)
		}
		l, err := persist.OpenLog(left, "/log", persist.LogOptions{SegmentBytes: 16 << 10, Logger: quiet})
		if err != nil {
			t.Fatalf("seed %d, %s: %v", seed, name, err)
		}
		got := persisttest.Recover(t, l, nil).Seqs(1, 0)
		good, errs := 0, 0
		l.Read(1, got, func(i int, m *core.Message, err error) {
			switch {
			case err != nil:
				errs++
			case !bytes.Equal(m.Body, body(got[i])):
				t.Fatalf("seed %d, %s: message %d has the wrong body", seed, name, got[i])
			default:
				good++
			}
		})
		r := l.Opened()
		// Of the last group nothing tells whether it was ever on disk.
		torn := seed%2 == 0 && good == want-3 && got[len(got)-1] == 296
		if good < want && errs == 0 && r.Sound() && !torn {
			t.Fatalf("seed %d, %s: %d messages of %d, and nobody says why", seed, name, good, want)
		}
		if checked.Sound() && (!r.Sound() || errs > 0) {
			t.Fatalf("seed %d, %s: nothing found by Check, but %+v and %d errors", seed, name, r, errs)
		}
		if good < want-40 {
			t.Fatalf("seed %d, %s: only %d messages of %d: %+v", seed, name, good, want, r)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func flip(t *testing.T, fsys vfs.FS, name string, rng *rand.Rand) {
	t.Helper()
	f, err := fsys.OpenFile(name, syscall.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size == 0 {
		return
	}
	// Often in what is used.
	at := rng.Int64N(size)
	if rng.IntN(2) == 0 {
		at = rng.Int64N(min(size, 8<<10))
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << rng.IntN(8)
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// A slow disk slows one publisher down, not many: groups grow.
func TestSlowSync(t *testing.T) {
	disk := faultfs.Inject(faultfs.New(faultfs.Options{}))
	l := openLog(t, disk, "/log", persist.LogOptions{})
	defer l.Close()
	disk.SetSyncDelay(5 * time.Millisecond)
	rate := func(outstanding int) float64 {
		q := l.OpenQueue(core.QueueID(outstanding))
		const sets = 40
		slots := make(chan struct{}, outstanding)
		m := persisttest.NewMessage([]byte("x"))
		n := sets * outstanding / 4
		start := time.Now()
		for s := range n {
			slots <- struct{}{}
			set := l.Begin()
			q.Add(set, core.Seq(s), m, m)
			set.Close(func(error) { <-slots })
		}
		for range outstanding {
			slots <- struct{}{}
		}
		return float64(n) / time.Since(start).Seconds()
	}
	few, many := rate(4), rate(64)
	if many < 6*few {
		t.Fatalf("%.0f/s with 4 outstanding, %.0f/s with 64", few, many)
	}
}

// OnPressure says when more is outstanding than is wanted, and when it is over.
func TestPressure(t *testing.T) {
	disk := faultfs.Inject(faultfs.New(faultfs.Options{}))
	l := openLog(t, disk, "/log", persist.LogOptions{OutstandingMax: 10_000})
	defer l.Close()
	told := make(chan bool, 100)
	l.OnPressure(func(over bool) { told <- over })
	release := make(chan struct{})
	disk.SetBefore(func(op faultfs.Op, name string) {
		if op == faultfs.OpSync && strings.Contains(name, ".seg") {
			<-release
		}
	})
	q := l.OpenQueue(1)
	m := persisttest.NewMessage(make([]byte, 1000))
	for s := range core.Seq(20) {
		set := l.Begin()
		q.Add(set, s, m, m)
		set.Close(func(error) {})
	}
	if !receive(t, told) {
		t.Fatal("told that there is room first")
	}
	if n := l.Outstanding(); n < 20_000 {
		t.Fatalf("%d bytes outstanding", n)
	}
	close(release)
	if receive(t, told) {
		t.Fatal("told twice that there is no room")
	}
}

// TestBackup copies a running log; the copy opens with all that was complete
// when the copy was begun, and the original goes on.
func TestBackup(t *testing.T) {
	dir := t.TempDir()
	o := persist.LogOptions{SegmentBytes: 64 << 10}
	l := openLog(t, vfs.OS, filepath.Join(dir, "log"), o)
	body := func(s core.Seq) []byte { return bytes.Repeat([]byte{byte(s)}, 500) }
	q := l.OpenQueue(1)
	stored := core.Seq(0)
	store := func(n core.Seq) {
		for range n / 10 {
			var seqs []core.Seq
			for range 10 {
				seqs = append(seqs, stored)
				stored++
			}
			persisttest.Store(t, l, q, body, seqs...)
		}
	}
	settled := core.Seq(0)
	settle := func(n core.Seq) {
		for range n {
			q.Settle([]core.Seq{settled})
			settled++
		}
	}
	store(1000)
	for n := range 4 {
		settle(300)
		store(500)
		from, to := settled, stored
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() { // Ends when stop is closed.
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
					store(10)
				}
			}
		}()
		dst := filepath.Join(dir, fmt.Sprint("backup", n))
		if err := l.Backup(dst); err != nil {
			t.Fatal(err)
		}
		close(stop)
		<-done
		if err := l.Backup(dst); err == nil {
			t.Fatal("a backup was overwritten")
		}
		if r, err := persist.Check(vfs.OS, dst); err != nil || !r.Sound() {
			t.Fatalf("backup %d: %+v, %v", n, r, err)
		}
		defer func() { // When segments have been removed and recycled.
			c := openLog(t, vfs.OS, dst, o)
			defer c.Close()
			if r := c.Opened(); !r.Sound() {
				t.Fatalf("backup %d: %+v", n, r)
			}
			got := persisttest.Recover(t, c, nil).Seqs(1, 0)
			if len(got) < int(to-from) || got[0] != from || got[len(got)-1] < to-1 {
				t.Fatalf("backup %d: %d messages from %d on, want %d to %d", n, len(got), got[0], from, to)
			}
			persisttest.CheckBodies(t, c, 1, body, got)
			persisttest.Store(t, c, c.OpenQueue(1), body, got[len(got)-1]+1)
		}()
	}
	settle(stored - settled)
	store(2000)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := persist.Dump(vfs.OS, filepath.Join(dir, "log"), &text); err != nil || !strings.Contains(text.String(), "checkpoint") || !strings.Contains(text.String(), "message 1/0/") {
		t.Fatalf("dump: %v\n%.2000s", err, text.String())
	}
}

// TestOpenRefused lists what is a clear error instead of a log.
func TestOpenRefused(t *testing.T) {
	disk := faultfs.New(faultfs.Options{})
	l := openLog(t, disk, "/log", persist.LogOptions{})
	var locked *vfs.LockedError
	if _, err := persist.OpenLog(disk, "/log", persist.LogOptions{Logger: quiet}); !errors.As(err, &locked) {
		t.Fatalf("a second log in the same directory: %v", err)
	}
	if _, err := persist.Check(disk, "/log"); !errors.As(err, &locked) {
		t.Fatalf("checking a log that is open: %v", err)
	}
	persisttest.Store(t, l, l.OpenQueue(1), func(core.Seq) []byte { return nil }, 1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := persist.Check(disk, "/nowhere"); err == nil {
		t.Fatal("checked a log that is not there")
	}
	if _, err := persist.OpenLog(disk, "/other", persist.LogOptions{Sync: "sometimes"}); err == nil {
		t.Fatal("opened with a policy that does not exist")
	}
	for _, name := range []string{"/log/0000000001.seg", "/log/ckpt.0"} {
		left := disk.KillAt(disk.Ops())
		newer(t, left, name)
		if _, err := persist.OpenLog(left, "/log", persist.LogOptions{Logger: quiet}); !errors.Is(err, segment.ErrVersion) {
			t.Fatalf("%s of a newer version: %v", name, err)
		}
	}
}

// newer makes name a file of a later version, with a good checksum.
func newer(t *testing.T, fsys vfs.FS, name string) {
	t.Helper()
	b, err := vfs.ReadFile(fsys, name)
	if err != nil {
		t.Fatal(err)
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	if strings.HasSuffix(name, ".seg") {
		b[12]++
		binary.LittleEndian.PutUint32(b[28:], crc32.Checksum(b[:28], table))
	} else {
		b[8]++
		sum := crc32.Update(crc32.Checksum(b[:76], table), table, b[80:segment.CheckpointLength(b)])
		binary.LittleEndian.PutUint32(b[76:], sum)
	}
	f, err := fsys.OpenFile(name, syscall.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
}
