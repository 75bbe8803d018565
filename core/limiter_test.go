package core_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"leveret/core"
)

// counted is an outlet that settles everything from another goroutine.
type counted struct {
	c    *core.Consumer
	out  *atomic.Int64
	most *atomic.Int64
	acks chan core.Seq
}

func (k *counted) Room(*core.Waiter) bool { return true }
func (k *counted) Flush()                 {}
func (k *counted) Deliver(_ *core.Consumer, ds []core.Delivery) bool {
	n := k.out.Add(int64(len(ds)))
	for m := k.most.Load(); n > m && !k.most.CompareAndSwap(m, n); m = k.most.Load() {
	}
	for i := range ds {
		k.acks <- ds[i].Seq
	}
	return false
}

// TestSharedLimitHoldsAndWakes has consumers of several queues share a small
// limit while they ack from goroutines of their own: it is never exceeded, and
// nothing is left waiting.
func TestSharedLimitHoldsAndWakes(t *testing.T) {
	const queues, each, limit = 4, 3000, 5
	x := newBench(t, 100, 10)
	var shared core.Limiter
	shared.SetLimit(limit, &x.t)
	var out, most atomic.Int64
	var acking sync.WaitGroup
	names := []string{"a", "b", "c", "d"}
	for _, name := range names {
		x.queue(name)
		k := &counted{out: &out, most: &most, acks: make(chan core.Seq, each)}
		c, err := x.s.Consume(core.ConsumeOptions{Queue: name, Tag: name, Shared: &shared, Outlet: k})
		if err != nil {
			t.Fatal(err)
		}
		k.c = c
		c.Start(&x.t)
		acking.Go(func() { // Ends when all its messages have come.
			for range each {
				s := <-k.acks
				out.Add(-1)
				var t core.Touched
				c.Settle(core.Ack, []core.Seq{s}, &t)
			}
		})
	}
	for n := 0; n < queues*each; n += len(x.ms) {
		x.publish("", names, n)
	}
	acking.Wait()
	if m := most.Load(); m > limit {
		t.Errorf("%d deliveries out at once, the limit is %d", m, limit)
	}
}
