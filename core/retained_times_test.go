package core

import "testing"

// A message that expires much later and is replaced again and again leaves
// nothing behind for each of its predecessors.
func TestReplacedRetainedLeaveNoTimes(t *testing.T) {
	b, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	user, _ := b.Auth().User("guest")
	s, err := b.OpenSession(SessionOptions{VHost: "/", User: user, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	p := s.NewPublisher(nil)
	target, err := p.Target("amq.topic")
	if err != nil {
		t.Fatal(err)
	}
	var touched Touched
	for range 10_000 {
		ms := make([]Publication, 1)
		m := &ms[0]
		m.Reset()
		m.RoutingKey, m.Body, m.Retain, m.TTLMS = "k", []byte("v"), true, 1e9
		if _, err := p.Route(target, m); err != nil {
			t.Fatal(err)
		}
		p.Publish(ms, &touched)
	}
	r := s.VHost().retentionOf("amq.topic")
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.mu.timed); n < 1 || n > 200 {
		t.Errorf("%d times for one message", n)
	}
	if n := len(r.mu.recent); n < 1 || n > 200 {
		t.Errorf("%d in memory for one message", n)
	}
	if r.mu.root.get("k") == nil {
		t.Error("it is gone")
	}
}
