package core_test

import (
	"testing"

	"leveret/core"
	"leveret/core/coretest"
)

// TestAttemptsSurvive: how often a message failed, and until when it waits, is
// known after a restart.
func TestAttemptsSurvive(t *testing.T) {
	now := int64(1_000_000)
	log, defs := coretest.NewLog(), core.NewMemoryDefinitions()
	start := func() (*core.Broker, *core.Session) {
		t.Helper()
		b, err := core.New(core.Options{Log: log, Definitions: defs, Now: func() int64 { return now }})
		if err != nil {
			t.Fatal(err)
		}
		user, _ := b.Auth().User("guest")
		s, err := b.OpenSession(core.SessionOptions{VHost: "/", User: user, Loopback: true})
		if err != nil {
			t.Fatal(err)
		}
		return b, s
	}
	b, s := start()
	args := core.Table{
		{Name: "x-delivery-limit", Value: int64(2)}, {Name: "x-delayed-retry-type", Value: "failed"},
		{Name: "x-delayed-retry-min", Value: int64(1000)},
	}
	if _, err := s.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true, Arguments: args}); err != nil {
		t.Fatal(err)
	}
	p := s.NewPublisher(nil)
	x, _ := p.Target("")
	ms := make([]core.Publication, 1)
	ms[0].Reset()
	ms[0].RoutingKey, ms[0].Body, ms[0].Persistent = "q", []byte("poison"), true
	if _, err := p.Route(x, &ms[0]); err != nil {
		t.Fatal(err)
	}
	var touched core.Touched
	p.Publish(ms, &touched)

	state := func(ready, delayed int) {
		t.Helper()
		b.Advance(now)
		q, _ := s.VHost().Queue("q")
		if i := q.Info(); i.Ready != ready || i.Delayed != delayed {
			t.Fatalf("ready %d, delayed %d; want %d and %d", i.Ready, i.Delayed, ready, delayed)
		}
	}
	fail := func() {
		t.Helper()
		var holder *core.Holder
		var seq core.Seq
		found, err := s.Get("q", false, func(h *core.Holder, d *core.Delivery, _ int) {
			holder, seq = h, d.Seq
		})
		if !found || err != nil {
			t.Fatalf("get: %v, %v", found, err)
		}
		holder.Settle(core.Fail, []core.Seq{seq}, &touched)
	}
	for n := int64(1); n <= 2; n++ {
		fail()
		state(0, 1)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b, s = start()
		state(0, 1)
		now += 1000*n - 1
		state(0, 1)
		now++
		state(1, 0)
	}
	fail() // The third time is one too many.
	state(0, 0)
	parked, ok := s.VHost().Queue("parked.q")
	if !ok || parked.Info().Ready != 1 {
		t.Fatal("the message is not parked")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}
