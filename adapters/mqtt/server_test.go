package mqtt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"leveret/adapters/mqtt/wire"
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

func newTestServer(t testing.TB, change func(*Options, *core.Options)) *testServer {
	t.Helper()
	logs := &logBuffer{}
	o := Options{
		Logger:           slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		FailedLoginDelay: time.Millisecond,
		ShutdownTimeout:  200 * time.Millisecond,
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
		if t.Failed() {
			t.Log(logs.String())
		}
	})
	return s
}

// packet is one that a raw client received.
type packet struct {
	h    wire.Header
	body []byte
}

func (p packet) String() string {
	return fmt.Sprintf("%s flags %d body % x", wire.TypeName(p.h.Type()), p.h.First&15, p.body)
}

// rawClient speaks bytes.
type rawClient struct {
	t       testing.TB
	nc      net.Conn
	r       *bufio.Reader
	version byte
	id      uint16
}

func (s *testServer) dial(t testing.TB) *rawClient {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &rawClient{t: t, nc: nc, r: bufio.NewReader(nc), version: wire.V5}
}

// open connects and expects to be let in. change edits the CONNECT.
func (s *testServer) open(t testing.TB, version byte, id string, change func(*wire.ConnectPacket)) (*rawClient, *wire.ConnackPacket) {
	t.Helper()
	c := s.dial(t)
	ack := c.connect(version, id, change)
	if ack.Code != wire.Success {
		t.Fatalf("CONNACK of %s: %v", id, ack.Code)
	}
	return c, ack
}

// connect sends CONNECT and returns the CONNACK.
func (c *rawClient) connect(version byte, id string, change func(*wire.ConnectPacket)) *wire.ConnackPacket {
	c.t.Helper()
	c.version = version
	p := &wire.ConnectPacket{Version: version, Clean: true, ClientID: id, ReceiveMaximum: 65535}
	if change != nil {
		change(p)
	}
	c.send(wire.AppendConnect(nil, p))
	ack := c.next()
	if ack.h.Type() != wire.Connack {
		c.t.Fatalf("%v instead of CONNACK", ack)
	}
	out, err := wire.ParseConnack(ack.body, version)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

func (c *rawClient) send(b []byte) {
	c.t.Helper()
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// read returns the next packet.
func (c *rawClient) read() (packet, error) {
	c.nc.SetReadDeadline(time.Now().Add(patience))
	first, err := c.r.ReadByte()
	if err != nil {
		return packet{}, err
	}
	b := []byte{first}
	for {
		x, err := c.r.ReadByte()
		if err != nil {
			return packet{}, err
		}
		b = append(b, x)
		h, err := wire.ParseHeader(b)
		if err != nil {
			return packet{}, err
		}
		if h.Size > 0 {
			body := make([]byte, h.Length)
			_, err := io.ReadFull(c.r, body)
			return packet{h, body}, err
		}
	}
}

func (c *rawClient) next() packet {
	c.t.Helper()
	p, err := c.read()
	if err != nil {
		c.t.Fatalf("waiting for a packet: %v", err)
	}
	return p
}

// expect wants a packet of a type.
func (c *rawClient) expect(typ byte) packet {
	c.t.Helper()
	p := c.next()
	if p.h.Type() != typ {
		c.t.Fatalf("%v instead of %s", p, wire.TypeName(typ))
	}
	return p
}

// expectBytes wants exactly these bytes.
func (c *rawClient) expectBytes(want []byte) {
	c.t.Helper()
	got := make([]byte, len(want))
	c.nc.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.ReadFull(c.r, got); err != nil || !bytes.Equal(got, want) {
		c.t.Fatalf("got % x (%v), want % x", got[:n], err, want)
	}
}

// expectClosed wants the connection to end, with a DISCONNECT of this code
// before it if the client speaks MQTT 5 and code is not 0.
func (c *rawClient) expectClosed(code wire.Code) {
	c.t.Helper()
	for {
		p, err := c.read()
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
				c.t.Fatalf("the connection stays open")
			}
			if code != 0 && c.version == wire.V5 {
				c.t.Fatalf("closed without DISCONNECT %v", code)
			}
			return
		}
		if p.h.Type() == wire.Disconnect {
			got, why, err := wire.ParseDisconnectFromServer(p.body)
			if err != nil || got != code {
				c.t.Fatalf("DISCONNECT %v (%s) %v, want %v", got, why, err, code)
			}
			code = 0
		}
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// ping proves that everything sent before has been handled.
func (c *rawClient) ping() {
	c.t.Helper()
	c.send([]byte{wire.Pingreq << 4, 0})
	c.expect(wire.Pingresp)
}

// settle is ping for a client that expects other answers too, and drops them.
func (c *rawClient) settle() {
	c.t.Helper()
	c.send([]byte{wire.Pingreq << 4, 0})
	for c.next().h.Type() != wire.Pingresp {
	}
}

func (c *rawClient) nextID() uint16 {
	c.id++
	return c.id
}

// subscribe subscribes to filters with a QoS and returns the codes.
func (c *rawClient) subscribe(qos byte, filters ...string) []wire.Code {
	c.t.Helper()
	p := &wire.SubscribePacket{ID: c.nextID()}
	for _, f := range filters {
		p.Filters = append(p.Filters, wire.Subscription{Filter: f, QoS: qos})
	}
	return c.subscribeWith(p)
}

func (c *rawClient) subscribeWith(p *wire.SubscribePacket) []wire.Code {
	c.t.Helper()
	if p.ID == 0 {
		p.ID = c.nextID()
	}
	c.send(wire.AppendSubscribe(nil, p, c.version))
	ack := c.expect(wire.Suback)
	id, codes, err := wire.ParseSuback(wire.Suback, ack.body, c.version)
	if err != nil || id != p.ID || len(codes) != len(p.Filters) {
		c.t.Fatalf("SUBACK %d %v %v", id, codes, err)
	}
	out := make([]wire.Code, len(codes))
	for i := range codes {
		out[i] = wire.Code(codes[i])
	}
	return out
}

// unsubscribe unsubscribes and returns the codes, none before MQTT 5.
func (c *rawClient) unsubscribe(filters ...string) []byte {
	c.t.Helper()
	id := c.nextID()
	c.send(wire.AppendUnsubscribe(nil, &wire.UnsubscribePacket{ID: id, Filters: filters}, c.version))
	ack := c.expect(wire.Unsuback)
	got, codes, err := wire.ParseSuback(wire.Unsuback, ack.body, c.version)
	if err != nil || got != id {
		c.t.Fatalf("UNSUBACK %d %v", got, err)
	}
	return codes
}

// pub is a PUBLISH.
type pub struct {
	topic   string
	payload string
	qos     byte
	id      uint16
	dup     bool
	retain  bool
	props   []byte
}

// bytes encodes p.
func (p pub) bytes(version byte) []byte {
	o := wire.OutPublish{Key: p.topic, Payload: len(p.payload), QoS: p.qos, ID: p.id, Dup: p.dup, Retain: p.retain, Props: p.props}
	return append(wire.AppendPublish(nil, &o, version), p.payload...)
}

func (c *rawClient) publish(p pub) {
	c.t.Helper()
	if p.qos > 0 && p.id == 0 {
		p.id = c.nextID()
	}
	c.send(p.bytes(c.version))
}

// ack sends an acknowledgement.
func (c *rawClient) ack(typ byte, id uint16) {
	c.t.Helper()
	c.send(wire.AppendAck(nil, typ, id, wire.Success, c.version))
}

// expectAck wants an acknowledgement and returns its code.
func (c *rawClient) expectAck(typ byte, id uint16) wire.Code {
	c.t.Helper()
	p := c.expect(typ)
	got, code, err := wire.ParseAck(typ, p.body, c.version)
	if err != nil || got != id {
		c.t.Fatalf("%s %d %v, want %d", wire.TypeName(typ), got, err, id)
	}
	return code
}

// expectPublish wants a PUBLISH and takes it apart.
func (c *rawClient) expectPublish() pub {
	c.t.Helper()
	return c.parse(c.expect(wire.Publish))
}

func (c *rawClient) parse(p packet) pub {
	c.t.Helper()
	got, err := wire.ParsePublish(p.h, p.body, c.version)
	if err != nil {
		c.t.Fatal(err)
	}
	return pub{string(got.Topic), string(got.Payload), p.h.QoS(), got.ID, p.h.Dup(), p.h.Retain(), got.Props}
}

// properties are the properties of a PUBLISH by identifier.
func (p pub) properties(t testing.TB) map[byte][]string {
	t.Helper()
	out := map[byte][]string{}
	if err := wire.WalkProperties(wire.Publish, p.props, func(id byte, v []byte) { out[id] = append(out[id], string(v)) }); err != nil {
		t.Fatal(err)
	}
	return out
}
