package stream_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"leveret/core"
	"leveret/persist/vfs/faultfs"
)

// careful is a reader with little credit that checks the order of what it gets.
// Sometimes it has no room.
type careful struct {
	t     *testing.T
	c     *core.Consumer
	wants string // What bodies contain.
	all   bool   // Nothing may be missing.

	mu     sync.Mutex
	more   *sync.Cond
	last   uint64 // The offset seen last, + 1.
	seen   int
	asked  int
	waiter *core.Waiter
	acks   []core.Seq
}

// Room is core.Outlet.
func (r *careful) Room(w *core.Waiter) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked++; r.asked%7 == 0 {
		r.waiter = w
		r.more.Broadcast()
		return false
	}
	return true
}

// Deliver is core.Outlet.
func (r *careful) Deliver(_ *core.Consumer, ds []core.Delivery) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range ds {
		offset := uint64(d.Seq)
		if offset < r.last || r.all && offset != r.last {
			r.t.Errorf("offset %d where %d was expected", offset, r.last)
		}
		if !strings.Contains(string(d.Message.Body), r.wants) {
			r.t.Errorf("%q is not for who wants %q", d.Message.Body, r.wants)
		}
		r.last = offset + 1
		r.seen++
		r.acks = append(r.acks, d.Seq)
	}
	r.more.Broadcast()
	return false
}

// Flush is core.Outlet.
func (r *careful) Flush() {}

// run acks, and wakes, until the reader has passed offset end.
func (r *careful) run(end uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.last < end {
		for len(r.acks) == 0 && r.waiter == nil {
			r.more.Wait()
		}
		acks, w := r.acks, r.waiter
		r.acks, r.waiter = nil, nil
		r.mu.Unlock()
		var t core.Touched
		r.c.Settle(core.Ack, acks, &t)
		if w != nil {
			w.WakeInto(&t)
		}
		t.Flush()
		r.mu.Lock()
	}
}

// TestReadersAndPublishers has several of both at once, with little memory, so
// that readers go to the files, and retention at work.
func TestReadersAndPublishers(t *testing.T) {
	const publishers, batches, each = 3, 60, 20
	const total = publishers*batches*each + 1
	b := start(t, faultfs.New(faultfs.Options{}), core.NewMemoryDefinitions())
	stream := core.Field{Name: "x-queue-type", Value: "stream"}
	segment := core.Field{Name: "x-stream-max-segment-size-bytes", Value: int64(16 << 10)}
	b.declare("all", stream, segment)
	b.declare("short", stream, segment, core.Field{Name: "x-max-length-bytes", Value: int64(100 << 10)})
	for _, q := range []string{"all", "short"} {
		if err := b.session.Bind(core.Binding{Source: "amq.fanout", Destination: q}); err != nil {
			t.Fatal(err)
		}
	}
	var running sync.WaitGroup
	read := func(queue string, prefetch int, r *careful, args ...core.Field) {
		r.t, r.more = t, sync.NewCond(&r.mu)
		var err error
		r.c, err = b.session.Consume(core.ConsumeOptions{Queue: queue, Tag: "r", Prefetch: prefetch, Outlet: r, Arguments: args})
		if err != nil {
			t.Fatal(err)
		}
		var touched core.Touched
		r.c.Start(&touched)
		running.Go(func() { r.run(total) })
	}
	readers := []*careful{{all: true}, {all: true}, {wants: "1"}, {}, {}}
	read("all", 50, readers[0], first())
	read("all", 1000, readers[1], first())
	read("all", 10, readers[2], first(), core.Field{Name: "x-stream-filter", Value: []any{"p1", "end"}})
	read("short", 30, readers[3], first())
	read("short", 1000, readers[4])
	var publishing sync.WaitGroup
	for k := range publishers {
		publishing.Go(func() {
			p := b.publisher(func() int { return 1 })
			name := fmt.Sprintf("p%d", k)
			for range batches {
				bodies := make([]string, each)
				for i := range bodies {
					bodies[i] = name + strings.Repeat(" ", 100*i%700)
				}
				p.publishFiltered(t, name, bodies...)
			}
			p.wait()
		})
	}
	// Late readers meet what has long left memory.
	for i := range 3 {
		late := &careful{all: true}
		readers = append(readers, late)
		read("all", 20+i, late, first())
	}
	p := b.publisher(func() int { return 1 })
	publishing.Wait()
	p.publishFiltered(t, "end", "p1, the last one")
	p.wait()
	running.Wait()
	if got := readers[2].seen; got != batches*each+1 {
		t.Errorf("the reader with a filter saw %d of %d messages", got, batches*each+1)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}
