package amqp

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"leveret/core"
)

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

// testServer is a server with a broker in memory.
type testServer struct {
	*Server
	broker *core.Broker
	addr   string
	stop   func() // Ends Serve and waits for it.
	logs   *logBuffer
}

// logBuffer collects log lines.
type logBuffer struct {
	mu    sync.Mutex
	lines []byte
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, p...)
	return len(p), nil
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.lines)
}

var _ io.Writer = (*logBuffer)(nil)

// noDeadline takes a deadline away.
var noDeadline time.Time

func newTestServer(t testing.TB, change func(*Options, *core.Options)) *testServer {
	t.Helper()
	logs := &logBuffer{}
	o := Options{
		Logger:           slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		FailedLoginDelay: 200 * time.Millisecond,
	}
	var co core.Options
	if change != nil {
		change(&o, &co)
	}
	broker, err := core.New(co)
	if err != nil {
		t.Fatal(err)
	}
	o.Broker = broker
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{Server: NewServer(o), broker: broker, addr: ln.Addr().String(), logs: logs}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { broker.Run(ctx) })
	serveCtx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- s.Serve(serveCtx, ln) }() // Ends in stop.
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			stop()
			if err := <-served; err != nil {
				t.Errorf("Serve: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		s.stop()
		cancel()
		wg.Wait()
		broker.Close()
	})
	return s
}

// dial connects amqp091-go.
func (s *testServer) dial(t testing.TB) *amqp091.Connection {
	t.Helper()
	c, err := amqp091.Dial("amqp://guest:guest@" + s.addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (s *testServer) channel(t testing.TB) *amqp091.Channel {
	t.Helper()
	ch, err := s.dial(t).Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// next takes a value that must come soon.
func next[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-ch:
		if !ok {
			t.Fatal("channel closed")
		}
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	panic("unreachable")
}

func mustVHost(t testing.TB, s *testServer) *core.VHost {
	t.Helper()
	v, ok := s.broker.VHost("/")
	if !ok {
		t.Fatal("no vhost /")
	}
	return v
}
