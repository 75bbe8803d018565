package core_test

import (
	"fmt"
	"testing"

	"leveret/core"
	"leveret/core/coretest"
)

// fillPriorities publishes n persistent messages, numbered on from from, whose
// priorities are 0 to levels-1 in turn.
func (x *bench) fillPriorities(queue string, from, n, levels int) {
	x.ms = make([]core.Publication, n)
	for i := range x.ms {
		m := &x.ms[i]
		m.Reset()
		m.Body = fmt.Appendf(nil, "%03d %08d%0100d", (from+i)%levels, from+i, 0)
		m.Persistent = true
		m.Priority, m.HasPriority = uint8((from+i)%levels), true
	}
	x.publish("", []string{queue}, 0)
}

// takeAll gets everything and returns the first 12 bytes of each.
func (x *bench) takeAll(queue string, mark func(d *core.Delivery) string) (got []string) {
	x.tb.Helper()
	for {
		found, err := x.s.Get(queue, true, func(_ *core.Holder, d *core.Delivery, _ int) {
			got = append(got, string(d.Message.Body[:12])+mark(d))
		})
		if err != nil {
			x.tb.Fatal(err)
		}
		if !found {
			return got
		}
	}
}

func redelivered(d *core.Delivery) string {
	if d.Redelivered {
		return " redelivered"
	}
	return ""
}

// checkPriorityOrder checks that got is n messages of fillPriorities in the
// order of their priorities, and within one in their own.
func checkPriorityOrder(t *testing.T, got []string, n int) {
	t.Helper()
	if len(got) != n {
		t.Fatalf("%d messages, want %d", len(got), n)
	}
	for i := 1; i < len(got); i++ {
		if a, b := got[i-1], got[i]; a[:3] < b[:3] || a[:3] == b[:3] && a >= b {
			t.Fatalf("%q before %q", a, b)
		}
	}
}

// TestPrioritiesLeaveMemoryAndComeBack fills a queue beyond its share of memory:
// each priority pages, and consumers get them all in order.
func TestPrioritiesLeaveMemoryAndComeBack(t *testing.T) {
	for _, levels := range []int{2, 10, 256} {
		t.Run(fmt.Sprintf("levels=%d", levels), func(t *testing.T) {
			log := coretest.NewLog()
			x := stored(t, core.NewMemoryDefinitions(), log)
			defer x.b.Close()
			args := core.Table{{Name: "x-max-priority", Value: int64(255)}}
			if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true, Arguments: args}); err != nil {
				t.Fatal(err)
			}
			const n = 10000
			for from := 0; from < n; from += 500 {
				x.fillPriorities("q", from, 500, levels)
			}
			if i := x.info("q"); i.Ready != n || i.InMemory > 2000 || i.ReadyBytes != n*112 || i.Persistent != n {
				t.Fatalf("%+v", i)
			}
			checkPriorityOrder(t, x.takeAll("q", func(*core.Delivery) string { return "" }), n)
			if i := x.info("q"); i.Ready != 0 || i.ReadyBytes != 0 || i.Persistent != 0 || log.Len(i.Options.ID) != 0 {
				t.Errorf("left over: %+v", i)
			}
			if _, err := x.s.DeleteQueue("q", false, false); err != nil {
				t.Fatal(err)
			}
			x.b.Advance(x.b.Now())
			if live := x.b.Memory().Live(); live != 0 {
				t.Errorf("%d bytes on the account", live)
			}
		})
	}
}

// TestPrioritiesSurviveRestart shows that order, numbers and the redelivered
// flag of every priority come back.
func TestPrioritiesSurviveRestart(t *testing.T) {
	defs, log := coretest.NewDefinitions(), coretest.NewLog()
	x := stored(t, defs, log)
	args := core.Table{{Name: "x-max-priority", Value: int64(9)}}
	if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true, Arguments: args}); err != nil {
		t.Fatal(err)
	}
	x.fillPriorities("q", 0, 3000, 10)
	// Three of the highest priority are handed out: all of that priority may have
	// been, for all that the next start can know, and none of the others.
	k := x.consume("q", false, 3)
	if k.n != 3 {
		t.Fatalf("consumer got %d", k.n)
	}

	after, err := defs.Restarted()
	if err != nil {
		t.Fatal(err)
	}
	y := stored(t, after, log)
	defer y.b.Close()
	y.fillPriorities("q", 3000, 1000, 10)
	got := y.takeAll("q", redelivered)
	checkPriorityOrder(t, got, 4000)
	for i, g := range got {
		if marked := len(g) > 12; marked != (i < 300) {
			t.Fatalf("message %d: %q", i, g)
		}
	}
}

func BenchmarkPriorities(b *testing.B) {
	const batch = 256
	for _, c := range []struct{ levels, max int }{{1, 0}, {1, 10}, {10, 10}, {255, 255}} {
		name := fmt.Sprintf("used=%d/max=%d", c.levels, c.max)
		setUp := func(b *testing.B) *bench {
			x := newBench(b, batch, 128)
			args := core.Table{}
			if c.max > 0 {
				args = args.With("x-max-priority", int64(c.max))
			}
			if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: "q", Arguments: args}); err != nil {
				b.Fatal(err)
			}
			for i := range x.ms {
				x.ms[i].Priority, x.ms[i].HasPriority = uint8(i*7%c.levels), true
			}
			b.ReportAllocs()
			return x
		}
		keys := []string{"q"}
		b.Run("straight/ack/"+name, func(b *testing.B) {
			x := setUp(b)
			k := x.consume("q", false, 0)
			for b.Loop() {
				x.publish("", keys, 0)
				k.c.Settle(core.Ack, k.seqs, &x.t)
				k.seqs = k.seqs[:0]
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/msg")
		})
		b.Run("backlog/"+name, func(b *testing.B) {
			x := setUp(b)
			for b.Loop() {
				for range 64 {
					x.publish("", keys, 0)
				}
				k := x.consume("q", true, 0)
				k.c.Cancel(&x.t)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch*64), "ns/msg")
		})
	}
}
