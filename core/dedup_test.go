package core

import (
	"fmt"
	"strings"
	"testing"
)

// publishKnown publishes a message with a deduplication header and reports
// whether it was routed. Without go it is only routed, and given up.
func publishKnown(t *testing.T, p *Publisher, exchange, key string, goes bool) bool {
	t.Helper()
	target, err := p.Target(exchange)
	must(t, err)
	var m [1]Publication
	m[0].Reset()
	m[0].RoutingKey, m[0].Body = "q", []byte("m")
	m[0].SetProperties(&Properties{Headers: Table{{headerDeduplicate, key}}, HeadersSet: true})
	r, err := p.Route(target, &m[0])
	must(t, err)
	routed := !r.Unroutable()
	if !goes {
		p.Discard()
		return routed
	}
	var touched Touched
	p.Publish(m[:], &touched)
	touched.Flush()
	return routed
}

func TestGivenUpMessageIsNoDuplicate(t *testing.T) {
	b := testBroker(t)
	s := testSession(t, b, "guest")
	must(t, s.declareQueue("q", QueueDeclare{}))
	exchange(t, s, "once", "x-message-deduplication", "x-cache-size", int32(100))
	exchange(t, s, "front", "fanout")
	bind(t, s, "once", "", "q")
	must(t, s.Bind(toExchange("front", "", "once")))
	p := s.NewPublisher(discardCompletions{})
	for i, step := range []struct {
		exchange string
		goes     bool
		routed   bool
	}{{"once", false, true}, {"once", true, true}, {"once", true, false}, {"front", true, false}} {
		if routed := publishKnown(t, p, step.exchange, "k", step.goes); routed != step.routed {
			t.Errorf("step %d: routed is %v", i, routed)
		}
	}
	if !publishKnown(t, p, "front", "other", true) || publishKnown(t, p, "once", "other", true) {
		t.Error("what came by way of another exchange is not known again")
	}
}

// TestDeduplicationMemory holds the account of memory against what is
// remembered, which no publisher can make endless.
func TestDeduplicationMemory(t *testing.T) {
	b, err := New(Options{Now: func() int64 { return 1_000_000 }, MemoryLimit: 1 << 20})
	must(t, err)
	defer b.Close()
	s := testSession(t, b, "guest")
	before := b.memory.Live()
	exchange(t, s, "once", "x-message-deduplication", "x-cache-size", int64(1)<<40)
	must(t, s.declareQueue("q", QueueDeclare{}, "x-message-deduplication", true))
	p := s.NewPublisher(discardCompletions{})
	for i := range 5000 {
		publishKnown(t, p, "once", fmt.Sprint(strings.Repeat("x", 100), i), true)
	}
	if n := b.remembered.Load(); n == 0 || n > (1<<20)/historyMemoryShare {
		t.Errorf("%d bytes are remembered", n)
	}
	for i := range 1000 {
		publishKnown(t, p, "", fmt.Sprint(i), true)
		publishKnown(t, p, "", fmt.Sprint(i), true)
	}
	q, _ := s.vhost.Queue("q")
	if n := q.Info().Ready; n != 1000 {
		t.Errorf("%d messages, want 1000", n)
	}
	must(t, s.DeleteExchange("once", false))
	if n := b.remembered.Load(); n != 0 {
		t.Errorf("%d bytes of a deleted exchange are remembered", n)
	}
	_, err = s.DeleteQueue("q", false, false)
	must(t, err)
	b.tasks.Wait() // Long queues are let go of behind the caller.
	if n := b.memory.Live(); n != before {
		t.Errorf("%d bytes are in use, %d before", n, before)
	}
}
