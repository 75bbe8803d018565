package stomp

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

	"github.com/go-stomp/stomp/v3/frame"
	"github.com/gorilla/websocket"

	_ "leveret/adapters/amqp" // Its form of properties, as the binary has it.
	"leveret/core"
)

// patience is how long a test waits for what must happen. The machine may be
// busy.
const patience = 60 * time.Second

// testServer is a broker with STOMP listeners on free ports.
type testServer struct {
	*Server
	broker    *core.Broker
	addr, web string
}

func newTestServer(t testing.TB, change func(*Options)) *testServer {
	t.Helper()
	quiet := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelError}))
	broker, err := core.New(core.Options{Logger: quiet, LoopbackUsers: []string{"guest"}, DefaultUser: "guest", DefaultPassword: "guest", DefaultVHost: "/"})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Broker: broker, Logger: quiet, ShutdownTimeout: 2 * time.Second, FailedLoginDelay: time.Millisecond}
	if change != nil {
		change(&o)
	}
	s := &testServer{Server: NewServer(o), broker: broker}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	listen := func(serve func(context.Context, net.Listener) error) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			if err := serve(ctx, ln); err != nil {
				t.Error(err)
			}
		})
		return ln.Addr().String()
	}
	s.addr = listen(s.Serve)
	s.web = listen(s.ServeWeb)
	running.Go(func() { broker.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		broker.Close()
	})
	return s
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

// client speaks frames as they are written.
type client struct {
	t  testing.TB
	nc io.ReadWriteCloser
	fr *frame.Reader
}

// dial connects and sends nothing.
func (s *testServer) dial(t testing.TB) *client {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { nc.Close() })
	return &client{t: t, nc: nc, fr: frame.NewReader(nc)}
}

// connect logs in with version v.
func (s *testServer) connect(t testing.TB, v string) *client {
	t.Helper()
	c := s.dial(t)
	c.send("CONNECT\naccept-version:" + v + "\nhost:/\nlogin:guest\npasscode:guest\n\n\x00")
	c.expect("CONNECTED", "version", v)
	return c
}

// webConn makes a stream of a WebSocket.
type webConn struct {
	*websocket.Conn
	kind int // Of what is sent.
	rest []byte
}

func (w *webConn) Write(p []byte) (int, error) { return len(p), w.WriteMessage(w.kind, p) }

func (w *webConn) Read(p []byte) (int, error) {
	for len(w.rest) == 0 {
		_, b, err := w.ReadMessage()
		if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseInvalidFramePayloadData) {
			return 0, io.EOF
		} else if err != nil {
			return 0, err
		}
		w.rest = b
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// dialWeb connects over WebSocket and sends nothing.
func (s *testServer) dialWeb(t testing.TB) *client {
	t.Helper()
	d := websocket.Dialer{HandshakeTimeout: patience, Subprotocols: []string{"v12.stomp"}}
	ws, _, err := d.Dial("ws://"+s.web+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	ws.SetReadDeadline(time.Now().Add(patience))
	nc := &webConn{Conn: ws, kind: websocket.TextMessage}
	return &client{t: t, nc: nc, fr: frame.NewReader(nc)}
}

func (c *client) send(texts ...string) {
	c.t.Helper()
	for _, s := range texts {
		if _, err := io.WriteString(c.nc, s); err != nil {
			c.t.Fatalf("write %.100q: %v", s, err)
		}
	}
}

// frames sends frames that are written without their ends.
func (c *client) frames(texts ...string) {
	c.t.Helper()
	for _, s := range texts {
		if !strings.Contains(s, "\n\n") {
			s += "\n\n"
		}
		c.send(s + "\x00")
	}
}

// next returns the next frame but for heart-beats.
func (c *client) next() (*frame.Frame, error) {
	for {
		f, err := c.fr.Read()
		if err != nil || f != nil {
			return f, err
		}
	}
}

func (c *client) read() *frame.Frame {
	c.t.Helper()
	f, err := c.next()
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return f
}

// expect reads a frame that must have command and these headers.
func (c *client) expect(command string, headers ...string) *frame.Frame {
	c.t.Helper()
	f := c.read()
	if f.Command != command {
		c.t.Fatalf("got %s, want %s", show(f), command)
	}
	for i := 0; i < len(headers); i += 2 {
		if got := f.Header.Get(headers[i]); got != headers[i+1] {
			c.t.Fatalf("%s: %s is %q, want %q", show(f), headers[i], got, headers[i+1])
		}
	}
	return f
}

// expectEnd reads until the server has closed, and fails on another frame.
func (c *client) expectEnd() {
	c.t.Helper()
	f, err := c.next()
	if err == nil {
		c.t.Fatalf("got %s, want the end", show(f))
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatal("the server did not close")
	}
}

func show(f *frame.Frame) string {
	var b bytes.Buffer
	frame.NewWriter(&b).Write(f)
	return fmt.Sprintf("%q", b.String())
}

func TestHelloWorld(t *testing.T) {
	s := newTestServer(t, nil)
	for _, v := range []string{"1.0", "1.1", "1.2"} {
		for name, dial := range map[string]func(testing.TB) *client{"tcp": s.dial, "web": s.dialWeb} {
			t.Run(v+"/"+name, func(t *testing.T) {
				c := dial(t)
				c.frames("CONNECT\naccept-version:" + v + "\nhost:/\nlogin:guest\npasscode:guest")
				c.expect("CONNECTED", "version", v, "heart-beat", "0,0")
				c.frames("SUBSCRIBE\nid:1\ndestination:/queue/hello-"+v+name+"\nreceipt:sub",
					"SEND\ndestination:/queue/hello-"+v+name+"\ncontent-type:text/plain\nx:y\nreceipt:r1\n\nHello, World!")
				c.expect("RECEIPT", "receipt-id", "sub")
				f := c.read()
				if f.Command == "RECEIPT" {
					f = c.read()
				} else {
					c.expect("RECEIPT", "receipt-id", "r1")
				}
				if f.Command != "MESSAGE" || string(f.Body) != "Hello, World!" || f.Header.Get("subscription") != "1" ||
					f.Header.Get("destination") != "/queue/hello-"+v+name || f.Header.Get("x") != "y" || f.Header.Get("content-type") != "text/plain" ||
					f.Header.Get("content-length") != "13" || f.Header.Get("redelivered") != "false" {
					t.Errorf("got %s", show(f))
				}
				c.frames("DISCONNECT\nreceipt:bye")
				c.expect("RECEIPT", "receipt-id", "bye")
				c.expectEnd()
			})
		}
	}
}
