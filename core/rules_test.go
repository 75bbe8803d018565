package core

import "testing"

func TestRulesOf(t *testing.T) {
	none := rulesOf(&QueueOptions{})
	if none.ttlMS != -1 || none.expiresMS != -1 || none.maxLength != -1 || none.maxLengthBytes != -1 ||
		none.deliveryLimit != -1 || none.consumerTimeoutMS != -1 || none.deadLetters || none.overflow != overflowDropHead {
		t.Errorf("without arguments: %+v", none)
	}
	all := rulesOf(&QueueOptions{Arguments: Table{
		{"x-message-ttl", int32(5)}, {"x-expires", int64(7)}, {"x-max-length", uint8(3)}, {"x-max-length-bytes", 0},
		{"x-overflow", "reject-publish"}, {"x-dead-letter-exchange", ""}, {"x-dead-letter-routing-key", "k"},
		{"x-dead-letter-strategy", "at-least-once"}, {"x-delivery-limit", 2}, {"x-delayed-retry-type", "failed"},
		{"x-delayed-retry-min", 10}, {"x-delayed-retry-max", 5}, {"x-consumer-timeout", 9},
	}})
	want := queueRules{
		ttlMS: 5, expiresMS: 7, maxLength: 3, maxLengthBytes: 0, overflow: overflowReject,
		deadLetters: true, deadKeySet: true, deadKey: "k", deadKeepTrying: true, deliveryLimit: 2,
		retry: retryFailed, retryMinMS: 10, retryMaxMS: 10, consumerTimeoutMS: 9,
	}
	if all != want {
		t.Errorf("got  %+v\nwant %+v", all, want)
	}
	// At least once makes no sense where messages are dropped to make room, and
	// a routing key none without an exchange.
	r := rulesOf(&QueueOptions{Arguments: Table{
		{"x-dead-letter-routing-key", "k"}, {"x-dead-letter-strategy", "at-least-once"}, {"x-message-ttl", int64(-1)}, {"x-max-length", "3"},
	}})
	if r.deadLetters || r.deadKeySet || r.deadKeepTrying || r.ttlMS != -1 || r.maxLength != -1 {
		t.Errorf("got %+v", r)
	}
}

// TestApplyRulesTTL: a new TTL is for messages that come later, and each still
// expires in time, also behind one that lives longer.
func TestApplyRulesTTL(t *testing.T) {
	now := int64(1_000_000)
	b, err := New(Options{Now: func() int64 { return now }})
	must(t, err)
	defer b.Close()
	user, _ := b.Auth().User("guest")
	s, err := b.OpenSession(SessionOptions{VHost: "/", User: user, Loopback: true})
	must(t, err)
	_, err = s.DeclareQueue(QueueDeclare{Name: "q", Arguments: Table{{"x-message-ttl", int64(1000)}}})
	must(t, err)
	q := s.vhost.queue("q").(*classic)
	publish := func() {
		p := s.NewPublisher(nil)
		x, _ := p.Target("")
		ms := make([]Publication, 1)
		ms[0].Reset()
		ms[0].RoutingKey = "q"
		p.Route(x, &ms[0])
		var touched Touched
		p.Publish(ms, &touched)
	}
	ready := func(want int) {
		t.Helper()
		b.Advance(now)
		if n, _ := q.counts(); n != want {
			t.Errorf("%d ms later: %d ready, want %d", now-1_000_000, n, want)
		}
	}
	publish()
	r := q.mu.rules
	r.ttlMS = 100
	q.applyRules(r)
	publish()
	r.ttlMS = -1
	q.applyRules(r)
	publish()
	ready(3)
	now += 100
	ready(2)
	now += 900
	ready(1)
	r.expiresMS = 50
	q.applyRules(r)
	now += 50
	b.Advance(now)
	if !q.closed() {
		t.Error("the queue does not expire")
	}
}
