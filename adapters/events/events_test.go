package events

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"leveret/core"
)

// world is a broker with a publisher at work and a queue bound to what it
// publishes to.
type world struct {
	*testing.T
	b   *core.Broker
	s   *core.Session
	tee *LogTee
	out *buffer
}

// buffer keeps lines of a log, and passes them on.
type buffer struct {
	lines chan string
	mu    sync.Mutex
	b     bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.lines <- string(p):
	default: // Nobody looks.
	}
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// patience is how long anything may take.
const patience = time.Minute

// outlet passes on what a consumer gets.
type outlet chan string

func (o outlet) Room(*core.Waiter) bool { return true }
func (o outlet) Flush()                 {}
func (o outlet) Deliver(_ *core.Consumer, ds []core.Delivery) bool {
	for _, d := range ds {
		m := d.Message
		headers, _ := m.Properties().Headers.MarshalJSON()
		o <- fmt.Sprintf("%s: %s %s %q", m.RoutingKey, m.Properties().ContentType, headers, m.Body)
	}
	return false
}

func newWorld(t *testing.T) *world {
	out := &buffer{lines: make(chan string, 100)}
	tee := NewLogTee(slog.NewTextHandler(out, nil), slog.LevelDebug)
	b, err := core.New(core.Options{NodeName: "n", SystemExchanges: SystemExchanges("/", "/"), Logger: slog.New(tee)})
	if err != nil {
		t.Fatal(err)
	}
	user, _ := b.Auth().User("guest")
	s, err := b.OpenSession(core.SessionOptions{VHost: "/", User: user, Loopback: true, Name: "conn"})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPublisher(Options{Broker: b, Logger: slog.New(slog.NewTextHandler(out, nil)), EventVHost: "/", Log: tee, LogVHost: "/"})
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { p.Run(ctx) })
	t.Cleanup(func() {
		stop()
		run.Wait()
		s.Close()
		b.Close()
	})
	return &world{t, b, s, tee, out}
}

// bind returns what comes to a queue bound to an exchange.
func (w *world) bind(exchange string) outlet {
	w.Helper()
	if _, err := w.s.DeclareQueue(core.QueueDeclare{Name: exchange[len("amq."):]}); err != nil {
		w.Fatal(err)
	}
	if err := w.s.Bind(core.Binding{Source: exchange, Destination: exchange[len("amq."):], Key: "#"}); err != nil {
		w.Fatal(err)
	}
	o := make(outlet, 100)
	c, err := w.s.Consume(core.ConsumeOptions{Queue: exchange[len("amq."):], NoAck: true, Outlet: o})
	if err != nil {
		w.Fatal(err)
	}
	var t core.Touched
	c.Start(&t)
	return o
}

// wait returns the first message with a key.
func (o outlet) wait(t *testing.T, key string) string {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case m := <-o:
			if rest, ok := strings.CutPrefix(m, key+": "); ok {
				return rest
			}
		case <-late:
			t.Fatalf("no message %s", key)
		}
	}
}

func TestLogIsPublished(t *testing.T) {
	w := newWorld(t)
	lines := w.bind(LogExchange)
	log := slog.New(w.tee).With("a", 1).WithGroup("g")
	log.Debug("too quiet")
	log.Warn("careful", "b", 2)
	got := lines.wait(t, "warning")
	if !strings.HasPrefix(got, `text/plain {"node":"n"} "time=`) || !strings.HasSuffix(got, `level=WARN msg=careful a=1 g.b=2"`) {
		t.Error(got)
	}
	if !strings.Contains(w.out.String(), "level=WARN msg=careful a=1 g.b=2") || strings.Contains(w.out.String(), "too quiet") {
		t.Errorf("the log itself: %s", w.out)
	}
	log.Error("bad")
	lines.wait(t, "error")
	log.Info("good")
	lines.wait(t, "info")
}

// Nobody who logs waits, and what goes round in circles ends.
func TestLogIsBounded(t *testing.T) {
	tee := NewLogTee(slog.DiscardHandler, slog.LevelDebug)
	at := time.Now()
	for range 500 {
		if err := tee.Handle(t.Context(), slog.NewRecord(at, slog.LevelInfo, "m", 0)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(tee.inbox.take()); n != linesPerSecond || tee.Lost() != 300 {
		t.Errorf("%d lines kept, %d lost", n, tee.Lost())
	}
	for i := range 3000 {
		tee.Handle(t.Context(), slog.NewRecord(at.Add(time.Duration(i)*time.Second), slog.LevelInfo, "m", 0))
	}
	if n := len(tee.inbox.take()); n != linesMax {
		t.Errorf("%d lines kept", n)
	}
}

func TestLogLevelOfTheExchange(t *testing.T) {
	var out bytes.Buffer
	tee := NewLogTee(slog.DiscardHandler, slog.LevelWarn).Before(slog.NewTextHandler(&out, nil)).WithAttrs(nil)
	log := slog.New(tee)
	log.Info("small")
	log.Warn("great")
	lines := tee.(*LogTee).inbox.take()
	if len(lines) != 1 || lines[0].level != slog.LevelWarn || !strings.Contains(out.String(), "small") {
		t.Errorf("%d lines kept, logged %s", len(lines), out.String())
	}
}

func TestEventsArePublished(t *testing.T) {
	w := newWorld(t)
	events := w.bind(EventExchange)
	w.b.Registry().Add(core.RowOptions{Kind: "channel", Name: "ch", Session: w.s, Attributes: func() map[string]any {
		return map[string]any{"number": 3, "state": "running", "name": "not this one"}
	}})
	got := events.wait(t, "channel.created")
	at := strings.Index(got, `"timestamp_in_ms":`)
	rest := strings.TrimLeft(got[at+len(`"timestamp_in_ms":`):], "0123456789")
	if got = got[:at] + rest; got != ` {"name":"ch","number":3,,"user_who_performed_action":"guest","vhost":"/"} ""` {
		t.Error(got)
	}
	w.b.Emit(core.Event{Kind: core.AlarmSet, AtMS: 7})
	if got := events.wait(t, "alarm.set"); got != ` {"timestamp_in_ms":7,"user_who_performed_action":"rmq-internal"} ""` {
		t.Error(got)
	}
}

func TestPlaceOf(t *testing.T) {
	for _, c := range []struct {
		connection, scope string
		channel           int32
	}{
		{"a -> b", "a -> b (3)", 3}, {"a -> b", "", 0}, {"a -> b", "a -> b", 0}, {"", "", 0}, {"a", "a (x)", 0}, {"a", "a (99999999999)", 0},
	} {
		connection, channel := placeOf(&core.Tapped{Connection: c.connection, Scope: c.scope})
		if connection != c.connection || channel != c.channel {
			t.Errorf("%q %q: %q %d", c.connection, c.scope, connection, channel)
		}
	}
}

// Traces are not to make an alarm worse; the log says that they are lost.
func TestTracesAreLostInAnAlarm(t *testing.T) {
	w := newWorld(t)
	w.bind(core.TraceExchange)
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { w.b.Run(ctx) })
	defer run.Wait()
	defer stop()
	if err := w.b.PutVHost(core.VHostDef{Name: "/", Tracing: true}); err != nil {
		t.Fatal(err)
	}
	alarm := w.b.Events(nil)
	defer alarm.Close()
	w.b.Alarms().SetDiskLimit(2)
	w.b.Alarms().SetDiskFree(1)
	<-alarm.Ready()
	if _, err := w.s.DeclareQueue(core.QueueDeclare{Name: "q"}); err != nil {
		t.Fatal(err)
	}
	p := w.s.NewPublisher(nobodyWaits{})
	target, err := p.Target("")
	if err != nil {
		t.Fatal(err)
	}
	ms := make([]core.Publication, 1)
	ms[0].Reset()
	ms[0].RoutingKey = "q"
	if _, err := p.Route(target, &ms[0]); err != nil {
		t.Fatal(err)
	}
	var touched core.Touched
	p.Publish(ms, &touched)
	late := time.After(patience)
	for {
		select {
		case line := <-w.out.lines:
			if strings.Contains(line, "lost=1") {
				return
			}
		case <-late:
			t.Fatalf("nothing about it in the log: %s", w.out)
		}
	}
}

type nobodyWaits struct{}

func (nobodyWaits) Completed(uint64, uint64, core.Kind) {}
