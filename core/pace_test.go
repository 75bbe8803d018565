package core_test

import (
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
