//go:build !race

package stomp

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3/frame"
)

// pipes are connections of a server whose readers are the test: it calls the
// parser itself, so that what allocates is the path from frame to frame.
type pipes struct {
	publisher, consumer *conn
}

// newPipes logs a subscriber and a publisher in. Their readers are parked for
// good: nothing more is sent to them.
func newPipes(t testing.TB, destination, ack string) *pipes {
	s := newTestServer(t, nil)
	p := &pipes{}
	consumer := s.connect(t, "1.2")
	consumer.frames("SUBSCRIBE\nid:sub-1\ndestination:" + destination + "\nack:" + ack + "\nreceipt:1")
	consumer.expect("RECEIPT")
	p.consumer = s.all(nil)[0]
	s.connect(t, "1.2")
	for _, c := range s.all(nil) {
		if c != p.consumer {
			p.publisher = c
		}
	}
	go io.Copy(io.Discard, consumer.nc.(net.Conn)) // Ends with the connection.
	return p
}

// read does what a connection's reader does with the bytes of one read.
func (p *pipes) read(c *conn, b []byte) {
	n, _, err := c.frames(b)
	if err != nil || n != len(b) {
		panic(fmt.Sprintf("read %d of %d: %v", n, len(b), err))
	}
	c.finishWork()
	c.endOfRead(false)
	for c.out.Pending()+p.consumer.out.Pending() > 0 { // Else messages come to rest.
		runtime.Gosched()
	}
}

func sends(n int, headers func(i int) string) []byte {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "SEND\n%scontent-length:128\n\n%s\x00", headers(i), strings.Repeat("x", 128))
	}
	return []byte(b.String())
}

func TestStraightThroughAllocatesNothing(t *testing.T) {
	for name, headers := range map[string]func(i int) string{
		"the same headers": func(int) string { return "destination:/queue/q\ncontent-type:text/plain\n" },
		"each its own":     func(i int) string { return fmt.Sprintf("destination:/queue/q\nn:%d\nk:a\\cb\n", i) },
		"receipts":         func(i int) string { return fmt.Sprintf("destination:/queue/q\nreceipt:%d\n", i) },
		"two destinations": func(i int) string { return fmt.Sprintf("destination:/amq/queue/q%s\n", strings.Repeat("2", i&1)) },
	} {
		p := newPipes(t, "/queue/q", frame.AckAuto)
		b := sends(100, headers)
		for range 100 {
			p.read(p.publisher, b)
		}
		if n := testing.AllocsPerRun(200, func() { p.read(p.publisher, b) }); n >= 1 {
			t.Errorf("%s: %v allocations for 100 messages, want 0", name, n)
		}
	}
}

// TestAckedAllocatesLittle: with acks a message rests until it is settled;
// what that takes is recycled.
func TestAckedAllocatesLittle(t *testing.T) {
	p := newPipes(t, "/queue/q", frame.AckClientIndividual)
	b := sends(100, func(int) string { return "destination:/queue/q\n" })
	var acks []byte
	number := 0
	round := func() {
		p.read(p.publisher, b)
		acks = acks[:0]
		for range 100 {
			number++
			acks = fmt.Appendf(acks, "ACK\nid:T_sub-1@@%s@@%d\n\n\x00", p.consumer.name, number)
		}
		p.read(p.consumer, acks)
	}
	for range 100 {
		round()
	}
	// Formatting the acks allocates for numbers that fit no byte: two each.
	if n := testing.AllocsPerRun(100, round); n > 210 {
		t.Errorf("%v allocations for 100 messages and acks", n)
	}
}

// TestIdleCost holds the bytes of an idle client, the socket's included.
func TestIdleCost(t *testing.T) {
	s := newTestServer(t, nil)
	const n = 200
	for name, tt := range map[string]struct {
		addr, hello, connect string
		max                  int64
	}{
		"tcp": {s.addr, "", "CONNECT\naccept-version:1.2\n\n\x00", 10 << 10},
		"web": {s.web, "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n",
			"\x81\x9d\x00\x00\x00\x00CONNECT\naccept-version:1.2\n\n\x00", 16 << 10},
	} {
		use := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc + m.StackInuse)
		}
		b := make([]byte, 4096)
		until := func(nc net.Conn, want string) {
			for got := ""; !strings.Contains(got, want); {
				n, err := nc.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				got += string(b[:n])
			}
		}
		connect := func() {
			nc, err := net.Dial("tcp", tt.addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { nc.Close() })
			nc.SetDeadline(time.Now().Add(patience))
			if tt.hello != "" {
				io.WriteString(nc, tt.hello)
				until(nc, "\r\n\r\n")
			}
			io.WriteString(nc, tt.connect)
			until(nc, "\x00\n")
		}
		connect()
		before := use()
		for range n {
			connect()
		}
		each := (use() - before) / n
		t.Logf("%s: %d bytes each", name, each)
		if each > tt.max {
			t.Errorf("%s: an idle client takes %d bytes", name, each)
		}
	}
}
