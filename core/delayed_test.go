package core_test

import (
	"fmt"
	"slices"
	"testing"

	"leveret/core"
	"leveret/core/coretest"
)

// delaying is a broker in virtual time over a log that outlives it.
func delaying(tb testing.TB, defs core.Definitions, log core.MessageLog, now *int64) *bench {
	tb.Helper()
	b, err := core.New(core.Options{Definitions: defs, Log: log, QueueMemory: 64 << 10, Now: func() int64 { return *now }})
	if err != nil {
		tb.Fatal(err)
	}
	user, _ := b.Auth().User("guest")
	s, err := b.OpenSession(core.SessionOptions{VHost: "/", User: user, Loopback: true})
	if err != nil {
		tb.Fatal(err)
	}
	return &bench{tb: tb, b: b, s: s, p: s.NewPublisher(ignore{})}
}

// delay publishes to the exchange "later", message i with its body and delay.
func (x *bench) delay(n int, persistent bool, of func(i int) (body string, delayMS int64)) {
	x.ms = make([]core.Publication, 0, 100)
	target, err := x.p.Target("later")
	if err != nil {
		x.tb.Fatal(err)
	}
	for i := range n {
		body, ms := of(i)
		x.ms = append(x.ms, core.Publication{})
		m := &x.ms[len(x.ms)-1]
		m.Reset()
		m.RoutingKey, m.Body, m.Persistent = "k", []byte(body), persistent
		m.SetProperties(&core.Properties{Headers: core.Table{{Name: "x-delay", Value: ms}}, HeadersSet: true})
		if _, err := x.p.Route(target, m); err != nil {
			x.tb.Fatal(err)
		}
		if len(x.ms) == cap(x.ms) || i == n-1 {
			x.p.Publish(x.ms, &x.t)
			x.ms = x.ms[:0]
		}
	}
}

func (x *bench) declareLater(durable bool) {
	x.tb.Helper()
	if err := x.s.DeclareExchange(core.ExchangeDeclare{Name: "later", Type: "x-delayed-message", Durable: durable,
		Arguments: core.Table{{Name: "x-delayed-type", Value: "direct"}}}); err != nil {
		x.tb.Fatal(err)
	}
	if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true}); err != nil {
		x.tb.Fatal(err)
	}
	if err := x.s.Bind(core.Binding{Source: "later", Destination: "q", Key: "k"}); err != nil {
		x.tb.Fatal(err)
	}
}

func (x *bench) later() *core.Exchange {
	e, ok := x.s.VHost().Exchange("later")
	if !ok {
		x.tb.Fatal("no exchange")
	}
	return e
}

// Messages that wait for their time survive a restart, leave memory, and come
// in the order of their times.
func TestDelayedMessagesSurvive(t *testing.T) {
	now := int64(1_000_000)
	defs, log := coretest.NewDefinitions(), coretest.NewLog()
	x := delaying(t, defs, log, &now)
	x.declareLater(true)
	const n = 2000
	spread := func(i int) int64 { return 60_000 + int64(i*7919%n)*100 }
	x.delay(n, true, func(i int) (string, int64) { return fmt.Sprintf("%06d%0200d", spread(i), 0), spread(i) })
	x.delay(100, false, func(i int) (string, int64) { return fmt.Sprintf("transient%0200d", 0), 100_000 })
	if live := x.b.Memory().Live(); live > 300<<10 {
		t.Errorf("%d bytes on the account for %d pending messages", live, n)
	}
	if i := x.later().Info(); i.Delayed != n+100 || i.DelayedBytes != (n)*206+100*209 {
		t.Fatalf("%+v", i)
	}
	// The last one is brought forward, the first one called off.
	all := x.later().Delayed(core.DelayedID{}, n+100)
	first, last := all[0].ID, all[n+99].ID
	if _, err := x.later().RetimeDelayed(last, now+10); err != nil {
		t.Fatal(err)
	}
	if err := x.later().CancelDelayed(first); err != nil {
		t.Fatal(err)
	}
	if err := x.later().CancelDelayed(first); err == nil {
		t.Fatal("cancelled twice")
	}

	after, err := defs.Restarted()
	if err != nil {
		t.Fatal(err)
	}
	now += 150_000
	y := delaying(t, after, log, &now)
	defer y.b.Close()
	if i := y.later().Info(); i.Delayed != n-1 {
		t.Fatalf("%d delayed after the restart, want %d", i.Delayed, n-1)
	}
	y.b.Advance(now)
	ready := y.info("q").Ready
	now += 1_000_000
	y.b.Advance(now)
	if i := y.info("q"); ready == 0 || ready >= n-1 || i.Ready != n-1 || y.later().Info().Delayed != 0 {
		t.Fatalf("ready %d, then %d; %d still delayed", ready, i.Ready, y.later().Info().Delayed)
	}
	var bodies []string
	for range n - 1 {
		if _, err := y.s.Get("q", true, func(_ *core.Holder, d *core.Delivery, _ int) {
			bodies = append(bodies, string(d.Message.Body[:6]))
			if v, _ := d.Message.Properties().Headers.Get("x-delay"); v == nil || v.(int64) >= 0 {
				t.Fatalf("x-delay is %v", v)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if want := fmt.Sprintf("%06d", last.DueMS-1_000_000); bodies[0] != want || !slices.IsSorted(bodies[1:]) {
		t.Fatalf("first %s, want %s; sorted: %v", bodies[0], want, slices.IsSorted(bodies[1:]))
	}
	if left := log.Len(y.info("q").Options.ID); left != 0 {
		t.Errorf("%d references left", left)
	}
	if live := y.b.Memory().Live(); live > 100<<10 {
		t.Errorf("%d bytes left on the account", live)
	}
}

// What an exchange that does not survive keeps is in memory, and given back.
func TestDelayedInMemory(t *testing.T) {
	now := int64(1_000_000)
	x := delaying(t, core.NewMemoryDefinitions(), core.MemoryLog{}, &now)
	defer x.b.Close()
	before := x.b.Memory().Live()
	for _, durable := range []bool{false, true} {
		x.declareLater(durable)
		x.delay(500, true, func(i int) (string, int64) { return fmt.Sprint(i), int64(1 + i%50) })
		x.delay(500, true, func(i int) (string, int64) { return fmt.Sprint(i), 1_000_000 })
		now += 1000
		x.b.Advance(now)
		if i := x.info("q"); i.Ready != 500 || x.later().Info().Delayed != 500 {
			t.Fatalf("ready %d, delayed %d", i.Ready, x.later().Info().Delayed)
		}
		if err := x.s.DeleteExchange("later", false); err != nil {
			t.Fatal(err)
		}
		if _, err := x.s.DeleteQueue("q", false, false); err != nil {
			t.Fatal(err)
		}
	}
	x.b.Advance(now)
	if live := x.b.Memory().Live(); live > before+4<<10 {
		t.Errorf("%d bytes left on the account", live-before)
	}
}

// BlockedMS counts the time in which messages waited for consumers to have room.
func TestBlockedTime(t *testing.T) {
	now := int64(1_000_000)
	x := delaying(t, core.NewMemoryDefinitions(), core.MemoryLog{}, &now)
	defer x.b.Close()
	if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true}); err != nil {
		t.Fatal(err)
	}
	blocked := func(want uint64) {
		t.Helper()
		if got := x.info("q").Counters.BlockedMS; got != want {
			t.Errorf("blocked for %d ms, want %d", got, want)
		}
	}
	x.fill("q", 0, 5, false)
	now += 1000 // Nobody is there to be too slow.
	blocked(0)
	k := x.consume("q", false, 2)
	now += 300
	blocked(300)
	k.c.Settle(core.Ack, k.seqs, &x.t) // Takes two more, one is left.
	now += 200
	blocked(500)
	k.c.Settle(core.Ack, k.seqs[2:], &x.t)
	now += 400
	blocked(500)
}

// BenchmarkDelayed publishes messages with a delay and has them fire.
func BenchmarkDelayed(b *testing.B) {
	now := int64(1_000_000)
	x := delaying(b, core.NewMemoryDefinitions(), core.MemoryLog{}, &now)
	defer x.b.Close()
	x.declareLater(true)
	b.ReportAllocs()
	body := string(make([]byte, 128))
	x.delay(b.N, false, func(i int) (string, int64) { return body, int64(1 + i*7919%100_000) })
	now += 200_000
	x.b.Advance(now)
	if i := x.info("q"); i.Ready != b.N {
		b.Fatalf("%d of %d came", i.Ready, b.N)
	}
}
