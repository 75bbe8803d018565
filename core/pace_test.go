package core_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"leveret/core"
	"leveret/core/coretest"
)

func ahead(t *testing.T) (*bench, *sink) {
	x := newBench(t, 512, 10)
	x.queue("q")
	k := x.consume("q", false, 100)
	for range 3 {
		x.publish("", []string{"q"}, 0)
	}
	return x, k
}

func TestPublisherWaitsForConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, k := ahead(t)
		if !x.p.Ahead() {
			t.Fatal("not ahead with 1,436 messages waiting")
		}
		done := make(chan time.Duration)
		go func() { // Ends when Pace returns.
			from := time.Now()
			x.p.Pace(nil)
			done <- time.Since(from)
		}()
		synctest.Wait()
		for x.info("q").Ready > 200 {
			seqs := k.seqs
			k.seqs = nil
			k.c.Settle(core.Ack, seqs, &x.t)
		}
		if d := <-done; d != 0 {
			t.Errorf("waited %v though the consumer had caught up", d)
		}
		if x.p.Ahead() {
			t.Error("ahead still")
		}
	})
}

func TestSlowConsumerHardlySlowsPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _ := ahead(t)
		from, waits := time.Now(), 0
		for range 10000 {
			if x.p.Ahead() {
				waits++
				x.p.Pace(nil)
			}
			x.ms = x.ms[:1]
			x.publish("", []string{"q"}, 0)
		}
		if d := time.Since(from); waits < 5 || waits > 20 || d > 100*time.Millisecond {
			t.Errorf("waited %d times, %v in all", waits, d)
		}
	})
}

func TestQueueWithoutConsumersDoesNotPace(t *testing.T) {
	x := newBench(t, 512, 10)
	x.queue("q")
	for range 10 {
		x.publish("", []string{"q"}, 0)
	}
	if x.p.Ahead() {
		t.Error("ahead of nobody")
	}
}

func TestPaceEndsWithItsConnectionOrItsConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, k := ahead(t)
		stop := make(chan struct{})
		close(stop)
		from := time.Now()
		x.p.Pace(stop)
		for !x.p.Ahead() {
			x.publish("", []string{"q"}, 0)
		}
		go func() { // Ends at once.
			synctest.Wait()
			k.c.Cancel(&core.Touched{})
		}()
		x.p.Pace(nil)
		if d := time.Since(from); d != 0 {
			t.Errorf("waited %v", d)
		}
	})
}

// pressedLog is a log that says when it has too much.
type pressedLog struct {
	*coretest.Log
	over func(bool)
}

func (l *pressedLog) OnPressure(fn func(bool)) { l.over = fn }

func TestPublisherWaitsForTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &pressedLog{Log: coretest.NewLog()}
		x := stored(t, core.NewMemoryDefinitions(), log)
		defer x.b.Close()
		if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true}); err != nil {
			t.Fatal(err)
		}
		log.over(true)
		x.fill("q", 0, 10, false)
		if x.p.AheadOfLog() {
			t.Fatal("ahead of the log with transient messages")
		}
		x.fill("q", 0, 10, true)
		if !x.p.AheadOfLog() {
			t.Fatal("not ahead of a log under pressure")
		}
		from := time.Now()
		time.AfterFunc(time.Minute, func() { log.over(false) })
		x.p.Pace(nil)
		if d := time.Since(from); d != time.Minute {
			t.Errorf("waited %v", d)
		}
		x.fill("q", 0, 10, true)
		if x.p.AheadOfLog() {
			t.Error("ahead of a log that has room")
		}
	})
}

// narrow is an outlet with room or without.
type narrow struct {
	sink
	full   bool
	waiter *core.Waiter
}

func (n *narrow) Room(w *core.Waiter) bool {
	n.waiter = w
	return !n.full
}

// TestCrowded: who publishes to one direct queue alone hears of it that there
// was no room, each time something was dropped.
func TestCrowded(t *testing.T) {
	x := newBench(t, 3, 10)
	attach := func(id string) *narrow {
		s := openGuest(t, x.b)
		c, _, err := s.Attach(context.Background(), core.ClientOptions{ID: id, Queue: id, DirectQueue: id + "0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Detach(core.Left); s.Close() })
		for _, key := range []string{"both", id} {
			if _, errs := c.Subscribe([]core.Subscription{{Filter: key, Exchange: "amq.topic", Key: key}}); errs[0] != nil {
				t.Fatal(errs[0])
			}
		}
		k := &narrow{}
		if k.c, err = c.Consume(core.ConsumeOptions{Queue: id + "0", NoAck: true, Outlet: k}); err != nil {
			t.Fatal(err)
		}
		k.c.Start(&x.t)
		return k
	}
	a, b := attach("a"), attach("b")
	check := func(key string, want core.Outlet, got int) {
		t.Helper()
		n := a.n
		x.publish("amq.topic", []string{key}, 0)
		if o := x.p.Crowded(); o != want {
			t.Errorf("%s: crowded at %v, want %v", key, o, want)
		}
		if x.p.Crowded() != nil {
			t.Error("it is said twice")
		}
		if a.n-n != got {
			t.Errorf("%s: %d arrived, want %d", key, a.n-n, got)
		}
	}
	check("a", nil, 3)
	a.full = true
	check("a", a, 0)
	check("a", a, 0)
	check("b", nil, 0)
	check("both", nil, 0) // The other one shall not miss anything.
	if b.n != 6 {
		t.Errorf("the other one got %d", b.n)
	}
	a.full = false
	a.waiter.Wake()
	check("a", nil, 3)
}
