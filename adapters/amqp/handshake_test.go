package amqp

import (
	"io"
	"strings"
	"testing"
	"time"

	"leveret/adapters/amqp/wire"
	"leveret/core"
)

func TestProtocolHeader(t *testing.T) {
	s := newTestServer(t, nil)
	for _, sent := range []string{"AMQP\x00\x01\x00\x00", "AMQP\x03\x01\x00\x00", "AMQP\x01\x01\x00\x08", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01", "x"} {
		r := s.dialRaw(t)
		r.write([]byte(sent))
		got, err := io.ReadAll(r.nc)
		if err != nil || string(got) != wire.ProtocolHeader {
			t.Errorf("sent %q: got %q, %v", sent, got, err)
		}
	}
	r := s.dialRaw(t)
	r.write([]byte("AMQP\x01\x01\x00\x09")) // 0-9 is served like 0-9-1.
	expect[*wire.ConnectionStart](r, 0)
}

func TestStartFitsBeforeTune(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.dialRaw(t)
	for _, b := range []byte(wire.ProtocolHeader) { // Byte by byte.
		r.write([]byte{b})
	}
	f, err := r.readFrame()
	if err != nil || len(f.Payload)+wire.FrameOverhead >= wire.FrameMinSize {
		t.Fatalf("connection.start of %d bytes, %v", len(f.Payload), err)
	}
	m, err := wire.DecodeMethod(f.Payload)
	if err != nil {
		t.Fatal(err)
	}
	start := m.(*wire.ConnectionStart)
	if start.Mechanisms != "PLAIN AMQPLAIN ANONYMOUS" || start.Locales != "en_US" || start.VersionMajor != 0 || start.VersionMinor != 9 {
		t.Errorf("got %+v", start)
	}
	if v, _ := start.ServerProperties.Get("product"); v != "Leveret" {
		t.Errorf("product %v", v)
	}
	capabilities, _ := start.ServerProperties.Get("capabilities")
	if v, _ := capabilities.(wire.Table).Get("publisher_confirms"); v != true {
		t.Errorf("capabilities %v", capabilities)
	}
}

func TestMechanisms(t *testing.T) {
	s := newTestServer(t, nil)
	plain := wire.AppendTableFields(nil, wire.Table{{Name: "LOGIN", Value: "guest"}, {Name: "PASSWORD", Value: []byte("guest")}})
	tests := []struct {
		name, mechanism string
		response        []byte
		works           bool
	}{
		{"PLAIN", "PLAIN", []byte("\x00guest\x00guest"), true},
		{"PLAIN without password", "PLAIN", []byte("\x00guest"), false},
		{"PLAIN with an authorization id", "PLAIN", []byte("x\x00guest\x00guest"), false},
		{"PLAIN with an empty password", "PLAIN", []byte("\x00guest\x00"), false},
		{"PLAIN wrong", "PLAIN", []byte("\x00guest\x00nope"), false},
		{"PLAIN empty", "PLAIN", nil, false},
		{"AMQPLAIN", "AMQPLAIN", plain, true},
		{"AMQPLAIN broken", "AMQPLAIN", plain[:9], false},
		{"ANONYMOUS", "ANONYMOUS", nil, true},
		{"unknown", "EXTERNAL", nil, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := s.dialRaw(t)
			r.write([]byte(wire.ProtocolHeader))
			expect[*wire.ConnectionStart](r, 0)
			began := time.Now()
			r.method(0, &wire.ConnectionStartOk{Mechanism: test.mechanism, Response: test.response, Locale: "en_US"})
			if test.works {
				expect[*wire.ConnectionTune](r, 0)
				return
			}
			r.expectEnd()
			if d := time.Since(began); d < s.opts.FailedLoginDelay {
				t.Errorf("told after %v, want some delay", d)
			}
		})
	}
}

func TestLoginRefusedIsTold(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.dialRaw(t)
	r.write([]byte(wire.ProtocolHeader))
	expect[*wire.ConnectionStart](r, 0)
	r.method(0, &wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00nope"), Locale: "en_US", ClientProperties: wire.Table{
		{Name: "capabilities", Value: wire.Table{{Name: "authentication_failure_close", Value: true}}},
	}})
	m := expect[*wire.ConnectionClose](r, 0)
	checkException(t, "403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile. 0.0", m.Code, m.Text, m.Class, m.Method)
	r.method(0, &wire.ConnectionCloseOk{})
	r.expectEnd()
	waitFor(t, func() bool { return strings.Contains(s.logs.String(), "login of user 'guest' by PLAIN refused") })
}

func TestTune(t *testing.T) {
	s := newTestServer(t, nil)
	for _, test := range []struct {
		tune  wire.ConnectionTuneOk
		works bool
	}{
		{wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60}, true},
		{wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 4096}, true},
		{wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 4095}, false},
		{wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 131073}, false},
		{wire.ConnectionTuneOk{ChannelMax: 0, FrameMax: 131072}, false},
		{wire.ConnectionTuneOk{ChannelMax: 2048, FrameMax: 131072}, false},
	} {
		r := s.dialRaw(t)
		r.login(nil)
		r.method(0, &test.tune, &wire.ConnectionOpen{VirtualHost: "/"})
		if test.works {
			expect[*wire.ConnectionOpenOk](r, 0)
		} else {
			r.expectEnd()
		}
	}
	waitFor(t, func() bool {
		return strings.Contains(s.logs.String(), "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)")
	})
}

func TestOpenRefused(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.dialRaw(t)
	r.login(nil)
	r.method(0, &wire.ConnectionTuneOk{ChannelMax: 10, FrameMax: 8192}, &wire.ConnectionOpen{VirtualHost: "none"})
	m := expect[*wire.ConnectionClose](r, 0)
	checkException(t, "530 NOT_ALLOWED - vhost none not found 10.40", m.Code, m.Text, m.Class, m.Method)
	r.method(0, &wire.ConnectionCloseOk{})
	r.expectEnd()
}

// TestHandshakeGarbage sends what has no place before connection.open-ok.
func TestHandshakeGarbage(t *testing.T) {
	s := newTestServer(t, nil)
	for name, sent := range map[string][]byte{
		"large frame":    wire.AppendFrameHeader(nil, wire.FrameMethod, 0, 8193),
		"wrong method":   methodFrame(0, &wire.ConnectionOpen{VirtualHost: "/"}),
		"channel method": methodFrame(1, &wire.ChannelOpen{}),
		"body":           frame(wire.FrameBody, 0, []byte("x")),
		"unknown":        frame(wire.FrameMethod, 0, []byte{9, 9, 9, 9}),
	} {
		r := s.dialRaw(t)
		r.write([]byte(wire.ProtocolHeader))
		expect[*wire.ConnectionStart](r, 0)
		r.write(sent)
		t.Log(name)
		r.expectEnd()
	}
}

func TestHandshakeTimeout(t *testing.T) {
	s := newTestServer(t, func(o *Options, _ *core.Options) { o.HandshakeTimeout = 300 * time.Millisecond })
	r := s.dialRaw(t)
	r.write([]byte(wire.ProtocolHeader[:5]))
	if b, err := io.ReadAll(r.nc); len(b) != 0 {
		t.Errorf("got %q, %v", b, err)
	}
	waitFor(t, func() bool { return strings.Contains(s.logs.String(), "the handshake took too long") })
}

func TestHeartbeats(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRawAs(t, &wire.ConnectionTuneOk{ChannelMax: 10, FrameMax: 8192, Heartbeat: 1}, nil)
	// Silence: the server beats every half second, and gives up after 2.5.
	began := time.Now()
	var got []byte
	b := make([]byte, 100)
	for {
		n, err := r.nc.Read(b)
		got = append(got, b[:n]...)
		if err != nil {
			break
		}
	}
	beats := strings.Count(string(got), "\x08\x00\x00\x00\x00\x00\x00\xce")
	if beats < 2 || len(got) != 8*beats {
		t.Errorf("got %q, want heartbeats", got)
	}
	if d := time.Since(began); d < 2*time.Second {
		t.Errorf("gave up after %v", d)
	}
	waitFor(t, func() bool { return strings.Contains(s.logs.String(), "missed heartbeats from client, timeout: 1s") })
}

func TestChannelMax(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRawAs(t, &wire.ConnectionTuneOk{ChannelMax: 2, FrameMax: 8192}, nil)
	r.method(60000, &wire.ChannelOpen{})
	expect[*wire.ChannelOpenOk](r, 60000)
	r.method(1, &wire.ChannelClose{})
	expect[*wire.ChannelCloseOk](r, 1)
	r.method(7, &wire.ChannelOpen{})
	expect[*wire.ChannelOpenOk](r, 7)
	r.method(8, &wire.ChannelOpen{})
	m := expect[*wire.ConnectionClose](r, 0)
	checkException(t, "530 NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2) 0.0", m.Code, m.Text, m.Class, m.Method)
}

func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		if time.Now().After(deadline) {
			t.Fatal("did not happen in time")
		}
		<-tick.C
	}
}
