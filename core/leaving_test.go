package core_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"leveret/core"
	"leveret/core/coretest"
)

// leavingEnv is a broker with a log, its clock kept by the test.
type leavingEnv struct {
	t   *testing.T
	now int64
	b   *core.Broker
	s   *core.Session
	p   *core.Publisher
	x   *core.Target
}

func newLeavingEnv(t *testing.T, log core.MessageLog) *leavingEnv {
	e := &leavingEnv{t: t, now: 1_000_000}
	var err error
	if e.b, err = core.New(core.Options{Log: log, Now: func() int64 { return e.now }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.b.Close() })
	user, _ := e.b.Auth().User("guest")
	if e.s, err = e.b.OpenSession(core.SessionOptions{VHost: "/", User: user, Loopback: true}); err != nil {
		t.Fatal(err)
	}
	e.p = e.s.NewPublisher(nil)
	e.x, _ = e.p.Target("")
	return e
}

func (e *leavingEnv) queue(name string, args ...core.Field) {
	e.t.Helper()
	if _, err := e.s.DeclareQueue(core.QueueDeclare{Name: name, Durable: true, Arguments: args}); err != nil {
		e.t.Fatal(err)
	}
}

func (e *leavingEnv) publish(p *core.Publisher, queue string, from, to int) {
	x, err := p.Target("")
	if err != nil {
		e.t.Error(err)
		return
	}
	ms := make([]core.Publication, to-from)
	for i := range ms {
		ms[i].Reset()
		ms[i].RoutingKey, ms[i].Body, ms[i].Persistent = queue, fmt.Append(nil, from+i), i%2 == 0
		if _, err := p.Route(x, &ms[i]); err != nil {
			e.t.Error(err)
			return
		}
	}
	var touched core.Touched
	p.Publish(ms, &touched)
	touched.Flush()
}

func (e *leavingEnv) info(queue string) core.QueueInfo {
	e.t.Helper()
	q, ok := e.s.VHost().Queue(queue)
	if !ok {
		e.t.Fatalf("no queue %s", queue)
	}
	return q.Info()
}

// TestLeavingHoldsPublishers: when more is leaving than can leave, the queue's
// publishers wait until that is better.
func TestLeavingHoldsPublishers(t *testing.T) {
	const n = 10_500
	e := newLeavingEnv(t, coretest.NewLog())
	e.queue("q", core.Field{Name: "x-queue-type", Value: "quorum"}, core.Field{Name: "x-overflow", Value: "reject-publish"},
		core.Field{Name: "x-dead-letter-strategy", Value: "at-least-once"}, core.Field{Name: "x-dead-letter-exchange", Value: "later"})
	e.queue("end")
	e.publish(e.p, "q", 0, n)
	if e.p.Ahead() {
		t.Fatal("the publisher is to wait before anything is leaving")
	}
	k := &sink{}
	c, err := e.s.Consume(core.ConsumeOptions{Queue: "q", Tag: "t", Outlet: k})
	if err != nil {
		t.Fatal(err)
	}
	var touched core.Touched
	c.Start(&touched)
	e.b.Advance(e.now)
	c.Cancel(&touched)
	if k.n != n {
		t.Fatalf("%d delivered", k.n)
	}
	c.Settle(core.Discard, k.seqs, &touched)
	e.b.Advance(e.now)
	if i := e.info("q"); i.Leaving != n {
		t.Fatalf("%d are leaving", i.Leaving)
	}
	e.publish(e.p, "q", n, n+1)
	if !e.p.Ahead() {
		t.Fatal("the publisher is not to wait")
	}
	waited := make(chan struct{})
	go func() {
		e.p.Pace(nil)
		close(waited)
	}()
	if err := e.s.DeclareExchange(core.ExchangeDeclare{Name: "later", Type: "fanout"}); err != nil {
		t.Fatal(err)
	}
	if err := e.s.Bind(core.Binding{Source: "later", Destination: "end"}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-waited:
		t.Fatal("the publisher did not wait")
	default:
	}
	e.now += 60_000
	e.b.Advance(e.now)
	select {
	case <-waited:
	case <-time.After(time.Minute):
		t.Fatal("the publisher waits for ever")
	}
	if q, end := e.info("q"), e.info("end"); q.Leaving != 0 || q.Ready != 1 || end.Ready != n {
		t.Fatalf("leaving %d, ready %d, at the end %d", q.Leaving, q.Ready, end.Ready)
	}
}

// TestLeavingUnderLoad rejects, expires and drops at once from several queues
// into each other's dead-letter queues; what goes in is somewhere in the end.
func TestLeavingUnderLoad(t *testing.T) {
	const queues, batches, batch = 4, 60, 50
	e := newLeavingEnv(t, coretest.NewLog())
	for i := range queues {
		e.queue(fmt.Sprint("q", i), core.Field{Name: "x-dead-letter-exchange", Value: ""},
			core.Field{Name: "x-dead-letter-routing-key", Value: fmt.Sprint("mid", i)}, core.Field{Name: "x-max-length", Value: int64(100)})
		e.queue(fmt.Sprint("mid", i), core.Field{Name: "x-dead-letter-exchange", Value: ""},
			core.Field{Name: "x-dead-letter-routing-key", Value: "end"}, core.Field{Name: "x-message-ttl", Value: int64(500)})
	}
	e.queue("end")
	var all sync.WaitGroup
	for i := range queues {
		all.Go(func() {
			p := e.s.NewPublisher(nil)
			for n := range batches {
				e.publish(p, fmt.Sprint("q", i), (i*batches+n)*batch, (i*batches+n+1)*batch)
			}
		})
		all.Go(func() {
			var touched core.Touched
			for range batches * batch / 4 {
				for _, q := range []string{"q", "mid"} {
					var h *core.Holder
					var seqs []core.Seq
					if _, err := e.s.Get(fmt.Sprint(q, i), false, func(holder *core.Holder, d *core.Delivery, _ int) { h, seqs = holder, []core.Seq{d.Seq} }); err != nil {
						t.Error(err)
					}
					if h != nil {
						h.Settle(core.Discard, seqs, &touched)
					}
				}
			}
		})
	}
	all.Wait()
	// What is left expires from the middle, or is rejected from the start.
	for i := range queues {
		for {
			var h *core.Holder
			var seq core.Seq
			if ok, err := e.s.Get(fmt.Sprint("q", i), false, func(holder *core.Holder, d *core.Delivery, _ int) { h, seq = holder, d.Seq }); err != nil {
				t.Fatal(err)
			} else if !ok {
				break
			}
			var touched core.Touched
			h.Settle(core.Discard, []core.Seq{seq}, &touched)
		}
	}
	e.b.Advance(e.now)
	e.now += 1000
	e.b.Advance(e.now)
	seen := make(map[string]bool)
	for {
		ok, err := e.s.Get("end", true, func(_ *core.Holder, d *core.Delivery, _ int) {
			if seen[string(d.Message.Body)] {
				t.Errorf("message %s came twice", d.Message.Body)
			}
			seen[string(d.Message.Body)] = true
		})
		if err != nil {
			t.Fatal(err)
		} else if !ok {
			break
		}
	}
	if len(seen) != queues*batches*batch {
		t.Errorf("%d of %d messages arrived", len(seen), queues*batches*batch)
	}
	for i := range queues {
		for _, q := range []string{"q", "mid"} {
			if n := e.info(fmt.Sprint(q, i)); n.Ready+n.Unacked+n.Leaving != 0 {
				t.Errorf("%s%d: ready %d, unacked %d, leaving %d", q, i, n.Ready, n.Unacked, n.Leaving)
			}
		}
	}
}

// TestMassExpiryBehindTheLog: where more expires than may be leaving at once,
// the rest follows as the log has written what went before.
func TestMassExpiryBehindTheLog(t *testing.T) {
	const n = 35_000
	log := coretest.NewLog()
	e := newLeavingEnv(t, log)
	e.queue("end")
	e.queue("q", core.Field{Name: "x-dead-letter-exchange", Value: ""}, core.Field{Name: "x-dead-letter-routing-key", Value: "end"},
		core.Field{Name: "x-message-ttl", Value: int64(1000)})
	for i := 0; i < n; i += 500 {
		e.publish(e.p, "q", i, i+500)
	}
	log.Hold(true)
	e.now += 1000
	e.b.Advance(e.now)
	if i := e.info("q"); i.Leaving < 10_000 || i.Leaving > 11_000 {
		t.Fatalf("%d are leaving", i.Leaving)
	}
	for range 2 * n / 10_000 { // Each time what is closed is written, and more expires.
		log.Hold(false)
		log.Hold(true)
		e.b.Advance(e.now)
	}
	log.Hold(false)
	e.b.Advance(e.now)
	if q, end := e.info("q"), e.info("end"); q.Leaving != 0 || q.Ready != 0 || end.Ready != n {
		t.Fatalf("leaving %d, ready %d, at the end %d", q.Leaving, q.Ready, end.Ready)
	}
}
