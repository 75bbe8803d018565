package netx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines is a slog.Logger's output that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serve runs Serve on a free port until the test ends or stop is called, which
// returns Serve's result.
func serve(t *testing.T, handle Handler, o ServeOptions) (addr string, stop func() error) {
	t.Helper()
	ln, err := Listen("127.0.0.1:0", "AMQP", "--amqp-addr")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, handle, o) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			return errors.New("Serve does not stop")
		}
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String(), stop
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(patience))
	return c
}

// echo greets, logs in at the first byte and echoes until the peer closes or
// ctx ends.
func echo(ctx context.Context, c net.Conn, loggedIn func()) {
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Now()) })()
	io.WriteString(c, "hello\n")
	b := make([]byte, 1)
	for {
		if _, err := io.ReadFull(c, b); err != nil {
			if ctx.Err() != nil {
				io.WriteString(c, "bye\n")
			}
			return
		}
		loggedIn()
		c.Write(b)
	}
}

func TestServeUntilStopped(t *testing.T) {
	addr, stop := serve(t, echo, ServeOptions{})
	c := dial(t, addr)
	expect(t, c, []byte("hello\n"))
	c.Write([]byte("x"))
	expect(t, c, []byte("x"))
	if err := stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
	expect(t, c, []byte("bye\n"))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the stop: %v", err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("accepts after the stop")
	}
}

func TestServeClosesHandlersThatStay(t *testing.T) {
	var log lines
	addr, stop := serve(t, func(_ context.Context, c net.Conn, _ func()) {
		io.WriteString(c, "hello\n")
		io.Copy(io.Discard, c) // Whatever ctx says.
	}, ServeOptions{StopGrace: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	expect(t, dial(t, addr), []byte("hello\n"))
	if err := stop(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "connections=1") {
		t.Errorf("log: %q", log.String())
	}
}

func TestServeReportsADeadListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := Serve(t.Context(), ln, echo, ServeOptions{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v", err)
	}
}

func TestStrangersMakeWayOldestFirst(t *testing.T) {
	var log lines
	addr, _ := serve(t, echo, ServeOptions{MaxUnauthenticated: 2, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	known := dial(t, addr)
	expect(t, known, []byte("hello\n"))
	known.Write([]byte("x"))
	expect(t, known, []byte("x"))

	var strangers []net.Conn
	for range 4 {
		c := dial(t, addr)
		expect(t, c, []byte("hello\n"))
		strangers = append(strangers, c)
	}
	for i, c := range strangers {
		if i < 2 {
			if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
				t.Errorf("stranger %d was not turned out: %v", i, err)
			}
			continue
		}
		fmt.Fprint(c, i)
		expect(t, c, fmt.Append(nil, i))
	}
	known.Write([]byte("y"))
	expect(t, known, []byte("y"))
	if n := strings.Count(log.String(), "not logged in"); n != 1 {
		t.Errorf("%d log lines, want 1 a second:\n%s", n, log.String())
	}
}

func TestListenNamesPortAndFlag(t *testing.T) {
	ln, err := Listen("127.0.0.1:0", "AMQP", "--amqp-addr")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr := ln.Addr().String()
	for _, test := range []struct{ addr, want string }{
		{addr, "cannot listen on " + addr + " for AMQP: address already in use (choose another address with --amqp-addr)"},
		{"nonsense", "cannot listen on nonsense for AMQP: address nonsense: missing port in address (choose another address with --amqp-addr)"},
	} {
		_, err := Listen(test.addr, "AMQP", "--amqp-addr")
		if err == nil || err.Error() != test.want {
			t.Errorf("got  %v\nwant %s", err, test.want)
		}
		var le *ListenError
		if !errors.As(err, &le) || le.Flag != "--amqp-addr" {
			t.Errorf("not a ListenError: %#v", err)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:1": true, "127.8.9.1:1": true, "[::1]:1": true, "[::ffff:127.0.0.1]:1": true,
		"10.0.0.1:1": false, "[fe80::1]:1": false, "0.0.0.0:1": false, "[::ffff:10.0.0.1]:1": false,
	} {
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := IsLoopback(a); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if a, _ := net.Pipe(); IsLoopback(a.LocalAddr()) {
		t.Error("a pipe is loopback")
	}
	if !IsLoopback(&net.UnixAddr{Name: "/run/x", Net: "unix"}) {
		t.Error("a Unix socket is not loopback")
	}
}

func TestConnName(t *testing.T) {
	ours, peer := tcpPair(t)
	want := fmt.Sprintf("%s -> %s", peer.LocalAddr(), ours.LocalAddr())
	if got := ConnName(ours); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
