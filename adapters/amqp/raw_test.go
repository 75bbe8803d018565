package amqp

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"leveret/adapters/amqp/wire"
)

// rawClient speaks frames.
type rawClient struct {
	t   testing.TB
	nc  net.Conn
	buf []byte
	n   int // Bytes of buf already taken.
}

// dialRaw connects and sends nothing.
func (s *testServer) dialRaw(t testing.TB) *rawClient {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { nc.Close() })
	return &rawClient{t: t, nc: nc}
}

// open connects, logs in and opens channel 1.
func (s *testServer) openRaw(t testing.TB) *rawClient {
	t.Helper()
	return s.openRawAs(t, &wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072}, wire.Table{
		{Name: "capabilities", Value: wire.Table{
			{Name: "consumer_cancel_notify", Value: true}, {Name: "connection.blocked", Value: true},
			{Name: "authentication_failure_close", Value: true},
		}},
	})
}

func (s *testServer) openRawAs(t testing.TB, tune *wire.ConnectionTuneOk, properties wire.Table) *rawClient {
	t.Helper()
	r := s.dialRaw(t)
	r.login(properties)
	r.method(0, tune)
	r.method(0, &wire.ConnectionOpen{VirtualHost: "/"})
	expect[*wire.ConnectionOpenOk](r, 0)
	r.method(1, &wire.ChannelOpen{})
	expect[*wire.ChannelOpenOk](r, 1)
	return r
}

func (r *rawClient) login(properties wire.Table) {
	r.t.Helper()
	r.write([]byte(wire.ProtocolHeader))
	expect[*wire.ConnectionStart](r, 0)
	r.method(0, &wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest"), Locale: "en_US", ClientProperties: properties})
	expect[*wire.ConnectionTune](r, 0)
}

func (r *rawClient) write(b []byte) {
	r.t.Helper()
	if _, err := r.nc.Write(b); err != nil {
		r.t.Fatalf("write: %v", err)
	}
}

func (r *rawClient) method(channel uint16, ms ...wire.Method) {
	r.t.Helper()
	var b []byte
	for _, m := range ms {
		b = wire.AppendMethod(b, channel, m)
	}
	r.write(b)
}

func frame(frameType byte, channel uint16, payload []byte) []byte {
	b := wire.AppendFrameHeader(nil, frameType, channel, uint32(len(payload)))
	return append(append(b, payload...), wire.FrameEnd)
}

// readFrame returns the next frame but for heartbeats.
func (r *rawClient) readFrame() (wire.Frame, error) {
	for {
		f, n, err := wire.ParseFrame(r.buf[r.n:], 1<<20)
		if err != nil {
			return f, err
		}
		if n > 0 {
			r.n += n
			if f.Type == wire.FrameHeartbeat {
				continue
			}
			return f, nil
		}
		b := make([]byte, 64<<10)
		m, err := r.nc.Read(b)
		if err != nil {
			return f, err
		}
		r.buf = append(append([]byte(nil), r.buf[r.n:]...), b[:m]...)
		r.n = 0
	}
}

func (r *rawClient) readMethod() (uint16, wire.Method) {
	r.t.Helper()
	f, err := r.readFrame()
	if err != nil {
		r.t.Fatalf("read: %v", err)
	}
	if f.Type != wire.FrameMethod {
		r.t.Fatalf("got a frame of type %d, want a method", f.Type)
	}
	m, err := wire.DecodeMethod(f.Payload)
	if err != nil {
		r.t.Fatal(err)
	}
	return f.Channel, m
}

// expect reads a method of type M on a channel.
func expect[M wire.Method](r *rawClient, channel uint16) M {
	r.t.Helper()
	got, m := r.readMethod()
	want, ok := m.(M)
	if !ok || got != channel {
		r.t.Fatalf("got %T %+v on channel %d, want %T on %d", m, m, got, want, channel)
	}
	return want
}

// expectContent reads the rest of a message after its method.
func (r *rawClient) expectContent(channel uint16) (props []byte, body string) {
	r.t.Helper()
	f, err := r.readFrame()
	if err != nil || f.Type != wire.FrameHeader || f.Channel != channel {
		r.t.Fatalf("got frame type %d on %d, %v, want a header on %d", f.Type, f.Channel, err, channel)
	}
	_, size, props, err := wire.ParseContentHeader(f.Payload)
	if err != nil {
		r.t.Fatal(err)
	}
	props = append([]byte(nil), props...)
	var b strings.Builder
	for uint64(b.Len()) < size {
		f, err := r.readFrame()
		if err != nil || f.Type != wire.FrameBody || f.Channel != channel {
			r.t.Fatalf("got frame type %d on %d, %v, want a body on %d", f.Type, f.Channel, err, channel)
		}
		b.Write(f.Payload)
	}
	return props, b.String()
}

// expectEnd checks that the server closes the socket and says nothing more.
func (r *rawClient) expectEnd() {
	r.t.Helper()
	f, err := r.readFrame()
	if !errors.Is(err, io.EOF) {
		r.t.Fatalf("got frame %+v, %v, want the end", f, err)
	}
}

func publishFrames(channel uint16, exchange, key, body string, p *wire.Properties) []byte {
	if p == nil {
		p = &wire.Properties{}
	}
	return wire.AppendPublish(nil, channel, exchange, key, false, wire.AppendProperties(nil, p), []byte(body), 131072)
}
