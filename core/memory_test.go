package core_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"leveret/core"
)

// heap is what is really in use after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC() // The first one only moves pools to their victims.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestAccountMatchesHeap holds the account against the heap in mixes that are
// hard on slabs and chunks: it may be off by a factor of two.
func TestAccountMatchesHeap(t *testing.T) {
	const batch = 100
	for _, c := range []struct {
		name string
		fill func(x *bench)
	}{
		{"backlog", func(x *bench) {
			x.queue("q")
			for range 500 {
				x.publish("", []string{"q"}, 0)
			}
		}},
		{"one in a hundred survives", func(x *bench) {
			x.queue("q")
			k := x.consume("q", false, 0)
			for range 2000 {
				x.publish("", []string{"q"}, 0)
				k.c.Settle(core.Ack, k.seqs[1:], &x.t)
				k.seqs = k.seqs[:0]
			}
		}},
		{"few messages in many queues", func(x *bench) {
			var keys []string
			for i := range 5000 {
				keys = append(keys, fmt.Sprintf("q%d", i))
				x.queue(keys[i])
			}
			before := heap()
			for i := range 100 {
				x.publish("", keys, i*batch)
			}
			x.given = before // The queues themselves are not messages.
		}},
		{"large bodies", func(x *bench) {
			x.queue("q")
			for i := range x.ms {
				x.ms[i].Body = make([]byte, 40000)
			}
			for range 5 {
				x.publish("", []string{"q"}, 0)
			}
		}},
		{"one body in many queues", func(x *bench) {
			for i := range 50 {
				q := fmt.Sprintf("q%d", i)
				x.queue(q)
				x.bind("amq.fanout", q, "")
			}
			for range 100 {
				x.publish("amq.fanout", []string{"k"}, 0)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newBench(t, batch, 200)
			x.given = heap()
			c.fill(x)
			real, live := heap()-x.given, x.b.Memory().Live()
			t.Logf("heap %d, account %d", real, live)
			if real > 2*live || live > 2*real {
				t.Errorf("heap %d and account %d differ by more than a factor of two", real, live)
			}
			runtime.KeepAlive(x)
		})
	}
}

// TestMemoryHoldsAndReleases crosses the limit in both directions.
func TestMemoryHoldsAndReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		b, err := core.New(core.Options{MemoryLimit: 1000, Now: func() int64 { return time.Now().UnixMilli() }})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		go b.Run(ctx) // Ends with ctx.
		m, a := b.Memory(), b.Alarms()
		var seen []bool
		stop := a.Watch(func() { seen = append(seen, a.Held()) })
		m.Charge(999)
		synctest.Wait()
		if a.Held() || len(seen) != 0 {
			t.Fatal("held below the limit")
		}
		m.Charge(1)
		synctest.Wait()
		if !a.Held() || a.Refusing() {
			t.Fatal("not held at the limit, or refusing already")
		}
		m.Charge(101)
		if !a.Refusing() {
			t.Fatal("not refusing past the margin")
		}
		m.Charge(-130)
		synctest.Wait()
		if !a.Held() || a.Refusing() {
			t.Fatal("let go just below the limit")
		}
		m.Charge(-100)
		synctest.Wait()
		if a.Held() {
			t.Fatal("still held far below the limit")
		}
		m.SetLimit(100)
		synctest.Wait()
		m.SetLimit(0)
		synctest.Wait()
		log := errors.New("disk full")
		b.SetDiskForTest(log)
		synctest.Wait()
		if !a.Held() || !a.Refusing() || a.Reason() != "low on disk" || a.LogError() != log {
			t.Errorf("a full disk: held %v, refusing %v, %q", a.Held(), a.Refusing(), a.Reason())
		}
		b.SetDiskForTest(nil)
		synctest.Wait()
		if fmt.Sprint(seen) != "[true false true false true false]" {
			t.Errorf("watchers saw %v", seen)
		}
		stop()
	})
}

// TestDiskAlarm: room below the limit holds publishers, a little more than the
// limit lets them go.
func TestDiskAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		b, err := core.New(core.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		go b.Run(ctx) // Ends with ctx.
		a := b.Alarms()
		a.SetDiskLimit(1000)
		for _, step := range []struct {
			free int64
			held bool
		}{{1000, false}, {999, true}, {1000, true}, {1049, true}, {1050, false}, {1000, false}, {0, true}} {
			a.SetDiskFree(step.free)
			synctest.Wait()
			if a.Held() != step.held || a.Refusing() {
				t.Fatalf("%d bytes free: held %v, refusing %v", step.free, a.Held(), a.Refusing())
			}
		}
		if list := a.List(); len(list) != 1 || list[0].Resource != core.DiskResource || list[0].Limit != 1000 {
			t.Errorf("alarms %+v", list)
		}
		a.SetDiskLimit(0)
		synctest.Wait()
		if a.Set() {
			t.Error("set without a limit")
		}
	})
}

// TestRefuseAfter: who asked for it is refused instead of held, until the alarm
// is over; the next one holds again.
func TestRefuseAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		b, err := core.New(core.Options{MemoryLimit: 1000, RefuseAfter: 3 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		go b.Run(ctx) // Ends with ctx.
		a := b.Alarms()
		want := func(set, held, refusing bool) {
			t.Helper()
			synctest.Wait()
			if a.Set() != set || a.Held() != held || a.RefusingAll() != refusing {
				t.Fatalf("set %v, held %v, refusing %v", a.Set(), a.Held(), a.RefusingAll())
			}
		}
		for range 2 {
			b.Memory().Charge(1000)
			want(true, true, false)
			time.Sleep(2 * time.Second)
			a.SetDiskFree(1) // A look at something else changes nothing.
			want(true, true, false)
			time.Sleep(time.Second)
			want(true, false, true)
			b.Memory().Charge(-1000)
			want(false, false, false)
		}
		time.Sleep(time.Minute)
		want(false, false, false)
	})
}
