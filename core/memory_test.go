package core_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"

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
		b, err := core.New(core.Options{MemoryLimit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		go b.Run(ctx) // Ends with ctx.
		m := b.Memory()
		var seen []bool
		stop := m.Watch(func(held bool) { seen = append(seen, held) })
		m.Charge(999)
		synctest.Wait()
		if m.Held() || len(seen) != 0 {
			t.Fatal("held below the limit")
		}
		m.Charge(1)
		synctest.Wait()
		if !m.Held() || m.Refusing() {
			t.Fatal("not held at the limit, or refusing already")
		}
		m.Charge(101)
		if !m.Refusing() {
			t.Fatal("not refusing past the margin")
		}
		m.Charge(-130)
		synctest.Wait()
		if !m.Held() || m.Refusing() {
			t.Fatal("let go just below the limit")
		}
		m.Charge(-100)
		synctest.Wait()
		if m.Held() {
			t.Fatal("still held far below the limit")
		}
		m.SetLimit(100)
		synctest.Wait()
		m.SetLimit(0)
		synctest.Wait()
		log := errors.New("disk full")
		b.SetDiskForTest(log)
		synctest.Wait()
		if !m.Held() || !m.Refusing() || m.Reason() != "low on disk" || m.DiskError() != log {
			t.Errorf("a full disk: held %v, refusing %v, %q", m.Held(), m.Refusing(), m.Reason())
		}
		b.SetDiskForTest(nil)
		synctest.Wait()
		if fmt.Sprint(seen) != "[true false true false true false]" {
			t.Errorf("watchers saw %v", seen)
		}
		stop()
	})
}
