package mqtt

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/gorilla/websocket"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// wsStream is a client's byte stream over WebSocket, a message for each write.
type wsStream struct {
	net.Conn
	ws   *websocket.Conn
	rest []byte
}

func (s *wsStream) Write(b []byte) (int, error) {
	return len(b), s.ws.WriteMessage(websocket.BinaryMessage, b)
}

func (s *wsStream) Read(b []byte) (int, error) {
	for len(s.rest) == 0 {
		typ, m, err := s.ws.ReadMessage()
		if err != nil {
			return 0, err
		}
		if typ != websocket.BinaryMessage {
			return 0, io.ErrUnexpectedEOF
		}
		s.rest = m
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// serveWeb adds a WebSocket listener to s.
func serveWeb(t *testing.T, s *testServer) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.ServeWebSocket(ctx, ln) }() // Ends with the test.
	t.Cleanup(func() {
		stop()
		<-served
	})
	return ln.Addr().String()
}

// TestWebSocket runs packets through binary messages whose borders are not
// theirs (6.0.0-1 to 6.0.0-4).
func TestWebSocket(t *testing.T) {
	s := newTestServer(t, nil)
	addr := serveWeb(t, s)
	for _, sub := range []string{"mqtt", "mqttv3.1"} {
		d := websocket.Dialer{Subprotocols: []string{"other", sub}, HandshakeTimeout: patience}
		ws, resp, err := d.Dial("ws://"+addr+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		if got := resp.Header.Get("Sec-Websocket-Protocol"); got != sub {
			t.Errorf("subprotocol %q", got)
		}
		stream := &wsStream{Conn: ws.NetConn(), ws: ws}
		c := &rawClient{t: t, nc: stream, r: bufio.NewReader(stream), version: wire.V5}
		b := wire.AppendConnect(nil, &wire.ConnectPacket{Version: wire.V5, Clean: true, ClientID: "web" + sub, ReceiveMaximum: 9, KeepAlive: 60})
		for i := range b { // A message for each byte.
			c.send(b[i : i+1])
		}
		c.expect(wire.Connack)
		b = wire.AppendSubscribe(nil, &wire.SubscribePacket{ID: 1, Filters: []wire.Subscription{{Filter: "t", QoS: 1}}}, wire.V5)
		for range 3 { // Several packets in a message.
			b = append(b, pub{topic: "t", payload: "x"}.bytes(wire.V5)...)
		}
		c.send(b)
		c.expect(wire.Suback)
		for range 3 {
			c.expectPublish()
		}
		for row := range s.broker.Registry().Rows(RowConnection) {
			if row.Attributes()["protocol"] != "Web MQTT 5.0" {
				t.Errorf("%v", row.Attributes())
			}
		}
		if err := ws.WriteMessage(websocket.TextMessage, []byte{wire.Pingreq << 4, 0}); err != nil {
			t.Fatal(err)
		}
		for { // A text message ends the connection.
			if _, err := c.read(); err != nil {
				break
			}
		}
	}
	waitFor(t, "the connections to end", func() bool { return s.broker.Registry().Count(RowConnection) == 0 })

	for path, want := range map[string]int{"/other": http.StatusNotFound, "/ws": http.StatusBadRequest} {
		d := websocket.Dialer{Subprotocols: []string{"stomp"}, HandshakeTimeout: patience}
		if ws, resp, err := d.Dial("ws://"+addr+path, nil); err == nil || resp == nil || resp.StatusCode != want {
			t.Errorf("%s: %v", path, err)
			if ws != nil {
				ws.Close()
			}
		}
	}
}

// TestWebOrigins lets in the pages that it is told, and what is no browser.
func TestWebOrigins(t *testing.T) {
	s := newTestServer(t, func(o *Options, _ *core.Options) { o.WebSocketOrigins = []string{"https://good.example"} })
	addr := serveWeb(t, s)
	for origin, ok := range map[string]bool{"": true, "https://good.example": true, "https://bad.example": false, "http://good.example": false} {
		d := websocket.Dialer{Subprotocols: []string{"mqtt"}, HandshakeTimeout: patience}
		h := http.Header{}
		if origin != "" {
			h.Set("Origin", origin)
		}
		ws, resp, err := d.Dial("ws://"+addr+"/ws", h)
		if ok && err != nil || !ok && (resp == nil || resp.StatusCode != http.StatusForbidden) {
			t.Errorf("%q: %v", origin, err)
		}
		if ws != nil {
			ws.Close()
		}
	}
}

// TestProblemInformation leaves reason strings out where the client does not
// want them (3.1.2-29).
func TestProblemInformation(t *testing.T) {
	s := newTestServer(t, nil)
	for _, quiet := range []bool{true, false} {
		c, _ := s.open(t, wire.V5, "c", func(p *wire.ConnectPacket) { p.NoProblemInfo = quiet })
		c.send([]byte("\x36\x00"))
		p := c.expect(wire.Disconnect)
		code, why, err := wire.ParseDisconnectFromServer(p.body)
		if err != nil || code != wire.MalformedPacket || (why == "") != quiet {
			t.Errorf("%v %q %v", code, why, err)
		}
	}
}

// TestAlarmStopsPublishers holds those who publish while memory is short, and
// nobody else.
func TestAlarmStopsPublishers(t *testing.T) {
	s := newTestServer(t, nil)
	sub, _ := s.open(t, wire.V311, "sub", nil)
	sub.subscribe(1, "t")
	p, _ := s.open(t, wire.V311, "p", nil)
	p.publish(pub{topic: "t", payload: "before", qos: 1, id: 1})
	p.expectAck(wire.Puback, 1)
	p.ping() // Its reader has looked at the alarm since, and waits.
	sub.ack(wire.Puback, sub.expectPublish().id)

	m := s.broker.Memory()
	m.SetLimit(1 << 20)
	m.Charge(2 << 20)
	waitFor(t, "the alarm", s.broker.Alarms().Held)
	// The reader that was waiting takes one more, and notices then.
	p.publish(pub{topic: "t", payload: "noticed", qos: 1, id: 2})
	p.expectAck(wire.Puback, 2)
	sub.ack(wire.Puback, sub.expectPublish().id)
	p.publish(pub{topic: "t", payload: "held", qos: 1, id: 3})
	sub.ping() // Is served, and gets nothing.
	m.Charge(-2 << 20)
	p.expectAck(wire.Puback, 3)
}

// TestNoWillsWithoutMemory: a will is as good as a publish, and stays longer.
func TestNoWillsWithoutMemory(t *testing.T) {
	s := newTestServer(t, nil)
	with := func(p *wire.ConnectPacket) { p.Will = &wire.Will{Topic: "t", Payload: []byte("w")} }
	m := s.broker.Memory()
	m.SetLimit(1 << 20)
	m.Charge(2 << 20)
	for version, want := range map[byte]wire.Code{wire.V311: 3, wire.V5: wire.ServerUnavailable} {
		if ack := s.dial(t).connect(version, "c", with); ack.Code != want {
			t.Errorf("version %d: %v", version, ack.Code)
		}
	}
	s.open(t, wire.V5, "none", nil)
	m.Charge(-2 << 20)
	s.open(t, wire.V5, "c", with)
}
