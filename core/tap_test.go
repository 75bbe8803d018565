package core_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"leveret/core"
	"leveret/core/auth"
)

// tapper publishes, consumes and looks on.
type tapper struct {
	t *testing.T
	b *core.Broker
	s *core.Session
	p *core.Publisher
}

func newTapper(t *testing.T) *tapper {
	b := newBroker(t, core.Options{Now: func() int64 { return 5_000 }})
	s := openSession(t, b, "guest", "/")
	p := s.NewPublisher(ignore{})
	p.SetScope("here (1)")
	for _, q := range []string{"q", "other", "trace"} {
		_, err := s.DeclareQueue(core.QueueDeclare{Name: q})
		check(t, err)
	}
	check(t, s.DeclareExchange(core.ExchangeDeclare{Name: "x", Type: "topic"}))
	check(t, s.Bind(core.Binding{Source: "x", Destination: "q", Key: "a.*"}))
	return &tapper{t, b, s, p}
}

func (e *tapper) publish(exchange, key, body string, more ...string) {
	e.t.Helper()
	target, err := e.p.Target(exchange)
	check(e.t, err)
	ms := make([]core.Publication, 1)
	buf := []byte(key + body)
	m := &ms[0]
	m.Reset()
	m.RoutingKey, m.Body = string(buf[:len(key)]), buf[len(key):]
	m.SetExtraKeys(more)
	if _, err := e.p.Route(target, m); err != nil {
		e.t.Fatal(err)
	}
	var touched core.Touched
	e.p.Publish(ms, &touched)
	touched.Flush()
	for i := range buf {
		buf[i] = '!' // As a read buffer is used again.
	}
}

func tapLines(tap *core.Tap) []string {
	var lines []string
	seen, _ := tap.Take()
	for _, m := range seen {
		what := "publish"
		if m.Delivered {
			what = "deliver"
		}
		lines = append(lines, fmt.Sprintf("%s %s:%s %v %q/%d queues=%v user=%s %s|%s redelivered=%v at=%d",
			what, m.Message.Exchange, m.Message.RoutingKey, m.Keys, m.Message.Body, m.Size, m.Queues, m.User, m.Connection, m.Scope, m.Redelivered, m.AtMS))
	}
	return lines
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("seen:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTapExchange(t *testing.T) {
	e := newTapper(t)
	tap, err := e.s.TapExchange("x", "a.#", core.TapOptions{BodyMax: 3})
	check(t, err)
	defer tap.Close()
	e.publish("x", "a.b", "hello")
	e.publish("x", "b.c", "no")
	e.publish("x", "c.d", "by another key", "a.z.z")
	e.publish("", "q", "another exchange")
	wantLines(t, tapLines(tap),
		`publish x:a.b [a.b] "hel"/5 queues=[q] user=guest here -> there|here (1) redelivered=false at=5000`,
		`publish x:c.d [c.d a.z.z] "by "/14 queues=[] user=guest here -> there|here (1) redelivered=false at=5000`,
	)
	check(t, e.s.DeleteExchange("x", false))
	if _, open := tap.Take(); open {
		t.Error("the tap outlives its exchange")
	}
}

func TestTapQueue(t *testing.T) {
	e := newTapper(t)
	tap, err := e.s.TapQueue("q", core.TapOptions{})
	check(t, err)
	defer tap.Close()
	e.publish("x", "a.b", "one")
	e.publish("", "other", "elsewhere")
	e.publish("", "q", "two")
	got, err := e.s.Get("q", true, func(*core.Holder, *core.Delivery, int) {})
	if !got || err != nil {
		t.Fatal(got, err)
	}
	var touched core.Touched
	out := &sink{}
	c, err := e.s.Consume(core.ConsumeOptions{Queue: "q", Tag: "t", Scope: "here (2)", Outlet: out, Prefetch: 1})
	check(t, err)
	c.Start(&touched)
	c.Settle(core.Requeue, out.seqs, &touched)
	want := []string{
		`publish x:a.b [a.b] "one"/3 queues=[q] user=guest here -> there|here (1) redelivered=false at=5000`,
		`publish :q [q] "two"/3 queues=[q] user=guest here -> there|here (1) redelivered=false at=5000`,
		`deliver x:a.b [] "one"/3 queues=[q] user=guest here -> there| redelivered=false at=5000`,
		`deliver :q [] "two"/3 queues=[q] user=guest here -> there|here (2) redelivered=false at=5000`,
		`deliver :q [] "two"/3 queues=[q] user=guest here -> there|here (2) redelivered=true at=5000`,
	}
	wantLines(t, tapLines(tap), want...)
	if _, err := e.s.DeleteQueue("q", false, false); err != nil {
		t.Fatal(err)
	}
	if _, open := tap.Take(); open {
		t.Error("the tap outlives its queue")
	}
}

func TestTapOfEachKindOfQueue(t *testing.T) {
	e := newTapper(t)
	for _, kind := range []string{"classic", "quorum", "stream"} {
		_, err := e.s.DeclareQueue(core.QueueDeclare{Name: kind, Durable: true, Arguments: core.Table{{Name: "x-queue-type", Value: kind}}})
		check(t, err)
		tap, err := e.s.TapQueue(kind, core.TapOptions{})
		check(t, err)
		var touched core.Touched
		c, err := e.s.Consume(core.ConsumeOptions{Queue: kind, Tag: kind, Scope: "s", Outlet: &sink{}, Prefetch: 5})
		check(t, err)
		c.Start(&touched)
		e.publish("", kind, "m")
		e.b.Advance(6_000)
		wantLines(t, tapLines(tap),
			fmt.Sprintf(`publish :%s [%[1]s] "m"/1 queues=[%[1]s] user=guest here -> there|here (1) redelivered=false at=5000`, kind),
			fmt.Sprintf(`deliver :%s [] "m"/1 queues=[%[1]s] user=guest here -> there|s redelivered=false at=5000`, kind),
		)
		tap.Close()
		tap.Close()
	}
}

func TestTapIsBounded(t *testing.T) {
	e := newTapper(t)
	few, err := e.s.TapQueue("q", core.TapOptions{CountMax: 3})
	check(t, err)
	defer few.Close()
	slow, err := e.s.TapExchange("", "#", core.TapOptions{PerSecond: 2})
	check(t, err)
	defer slow.Close()
	large, err := e.s.TapExchange("", "#", core.TapOptions{BytesMax: 1 << 20})
	check(t, err)
	defer large.Close()
	body := strings.Repeat("x", 400<<10)
	for range 10 {
		e.publish("", "q", body)
	}
	for name, tap := range map[string]*core.Tap{"few": few, "slow": slow, "large": large} {
		seen, open := tap.Take()
		if !open || len(seen)+int(tap.Skipped()) != 10 {
			t.Errorf("%s: %d seen, %d skipped of 10", name, len(seen), tap.Skipped())
		}
		if want := map[string]int{"few": 3, "slow": 2, "large": 2}[name]; len(seen) != want {
			t.Errorf("%s: %d seen, want %d", name, len(seen), want)
		}
	}
}

// A tap needs what a consumer or a binding needs.
func TestTapPermissions(t *testing.T) {
	e := newTapper(t)
	check(t, e.b.PutUser(auth.User{Name: "u", Tags: []string{auth.TagAdministrator}}))
	check(t, e.b.SetPermission("u", "/", auth.Permission{Configure: ".*", Write: ".*", Read: "^mine"}))
	_, err := e.s.DeclareQueue(core.QueueDeclare{Name: "mine.exclusive", Exclusive: true})
	check(t, err)
	s := openSession(t, e.b, "u", "/")
	kind := func(_ *core.Tap, err error) core.Kind {
		if ce, ok := err.(*core.Error); ok {
			return ce.Kind
		}
		return core.OK
	}
	if k := kind(s.TapQueue("q", core.TapOptions{})); k != core.AccessRefused {
		t.Errorf("queue: %v", k)
	}
	if k := kind(s.TapQueue("mine.exclusive", core.TapOptions{})); k != core.Locked {
		t.Errorf("another session's queue: %v", k)
	}
	if k := kind(s.TapExchange("x", "#", core.TapOptions{})); k != core.AccessRefused {
		t.Errorf("exchange: %v", k)
	}
	check(t, e.b.SetPermission("u", "/", auth.Permission{Configure: "", Write: "", Read: ".*"}))
	check(t, e.b.SetTopicPermission("u", "/", auth.TopicPermission{Exchange: "x", Write: "", Read: "^a"}))
	if k := kind(s.TapExchange("x", "b.#", core.TapOptions{})); k != core.AccessRefused {
		t.Errorf("topic: %v", k)
	}
	if k := kind(s.TapQueue("absent", core.TapOptions{})); k != core.NotFound {
		t.Errorf("no queue: %v", k)
	}
	tap, err := s.TapExchange("x", "a.b", core.TapOptions{})
	check(t, err)
	tap.Close()
}

func TestTrace(t *testing.T) {
	e := newTapper(t)
	tracer := e.b.Trace(core.TapOptions{})
	e.publish("", "q", "before")
	check(t, e.b.PutVHost(core.VHostDef{Name: "/", Tracing: true}))
	e.publish("", "q", "nobody would see it")
	check(t, e.s.Bind(core.Binding{Source: core.TraceExchange, Destination: "trace", Key: "#"}))
	e.publish("x", "a.b", "traced")

	// What the tracer publishes is not traced, nor its way to a consumer.
	a := e.b.NewAnnouncer()
	if !a.Publish(core.Announcement{VHost: "/", Exchange: core.TraceExchange, Key: "publish.x", Properties: &core.Properties{}}) {
		t.Error("not announced")
	}
	if got, err := e.s.Get("trace", true, func(*core.Holder, *core.Delivery, int) {}); !got || err != nil {
		t.Error("nothing was announced", err)
	}
	if got, err := e.s.Get("q", true, func(*core.Holder, *core.Delivery, int) {}); !got || err != nil {
		t.Error("nothing in q", err)
	}
	wantLines(t, tapLines(tracer),
		`publish x:a.b [a.b] "traced"/6 queues=[q] user=guest here -> there|here (1) redelivered=false at=5000`,
		`deliver :q [] "before"/6 queues=[q] user=guest here -> there| redelivered=false at=5000`,
	)
	check(t, e.b.PutVHost(core.VHostDef{Name: "/"}))
	e.publish("", "q", "after")
	wantLines(t, tapLines(tracer))
	check(t, e.b.PutVHost(core.VHostDef{Name: "/", Tracing: true}))
	tracer.Close()
	e.publish("", "q", "closed")
	wantLines(t, tapLines(tracer))
	if a.Publish(core.Announcement{VHost: "/", Exchange: "absent", Properties: &core.Properties{}}) {
		t.Error("announced to no exchange")
	}
}

func TestTapsComeAndGo(t *testing.T) {
	e := newTapper(t)
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				tap, err := e.s.TapQueue("q", core.TapOptions{CountMax: 4})
				if err != nil {
					t.Error(err)
					return
				}
				tap.Take()
				tap.Close()
				e.b.Trace(core.TapOptions{}).Close()
			}
		})
	}
	for range 300 {
		e.publish("x", "a.b", "m")
	}
	close(stop)
	all.Wait()
}

func TestSystemExchanges(t *testing.T) {
	b := newBroker(t, core.Options{SystemExchanges: []core.SystemExchange{{VHost: "/", Name: "amq.rabbitmq.event"}}})
	check(t, b.PutVHost(core.VHostDef{Name: "v"}))
	for vhost, want := range map[string]bool{"/": true, "v": false} {
		v, _ := b.VHost(vhost)
		x, ok := v.Exchange("amq.rabbitmq.event")
		if ok != want {
			t.Errorf("vhost %s: there is %v", vhost, ok)
		} else if ok {
			if i := x.Info(); !i.Internal || !i.Durable || i.Type != "topic" {
				t.Errorf("%+v", i)
			}
		}
	}
	s := openSession(t, b, "guest", "/")
	if _, err := s.NewPublisher(ignore{}).Target("amq.rabbitmq.event"); err == nil {
		t.Error("a client may publish to it")
	}
}
