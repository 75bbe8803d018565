//go:build !race

package amqp

import (
	"io"
	"net"
	"runtime"
	"testing"

	"leveret/adapters/amqp/wire"
	"leveret/core"
)

// pipes are connections of a server whose readers are the test: it calls the
// parser itself, so that what allocates is the path from frame to frame.
type pipes struct {
	s          *testServer
	publisher  *conn
	consumer   *conn
	publisherC *rawClient
}

// newPipes logs two clients in and returns their connections, whose readers
// are parked for good: nothing more is sent to them.
func newPipes(t testing.TB, noAck bool) *pipes {
	s := newTestServer(t, nil)
	p := &pipes{s: s}
	consumer := s.openRaw(t)
	consumer.declareAndConsume(noAck)
	s.mu.Lock()
	for c := range s.mu.conns {
		p.consumer = c
	}
	s.mu.Unlock()
	p.publisherC = s.openRaw(t)
	s.mu.Lock()
	for c := range s.mu.conns {
		if c != p.consumer {
			p.publisher = c
		}
	}
	s.mu.Unlock()
	consumer.nc.SetDeadline(noDeadline)
	go io.Copy(io.Discard, consumer.nc.(*net.TCPConn)) // Ends with the connection.
	return p
}

// read does what a connection's reader does with the bytes of one read.
func (p *pipes) read(c *conn, b []byte) {
	n, _, err := c.frames(b)
	if err != nil || n != len(b) {
		panic("not all was read")
	}
	c.finishWork()
	c.endOfRead(false)
	for p.consumer.out.Pending() > 0 { // Else messages come to rest.
		runtime.Gosched()
	}
}

func TestStraightThroughAllocatesNothing(t *testing.T) {
	p := newPipes(t, true)
	body := make([]byte, 128)
	props := wire.AppendProperties(nil, &wire.Properties{DeliveryMode: 1, ContentType: "application/octet-stream"})
	var b []byte
	for range 100 {
		b = wire.AppendPublish(b, 1, "", "q", false, props, body, 131072)
	}
	for range 100 {
		p.read(p.publisher, b)
	}
	if n := testing.AllocsPerRun(200, func() { p.read(p.publisher, b) }); n >= 1 {
		t.Errorf("%v allocations for 100 messages, want 0", n)
	}
}

// TestAckedAllocatesLittle: with acks a message rests until it is settled;
// what that takes is recycled.
func TestAckedAllocatesLittle(t *testing.T) {
	p := newPipes(t, false)
	body := make([]byte, 128)
	props := wire.AppendProperties(nil, &wire.Properties{})
	var b []byte
	for range 100 {
		b = wire.AppendPublish(b, 1, "", "q", false, props, body, 131072)
	}
	tag := uint64(0)
	round := func() {
		p.read(p.publisher, b)
		tag += 100
		var acks [21]byte
		p.read(p.consumer, wire.AppendAck(acks[:0], 1, tag, true))
	}
	for range 100 {
		round()
	}
	if n := testing.AllocsPerRun(200, round); n > 5 {
		t.Errorf("%v allocations for 100 messages, want a few", n)
	}
}

// BenchmarkPublish is the whole path from a read to the consumer's socket, of
// one message of 128 bytes.
func BenchmarkPublish(b *testing.B) {
	for _, noAck := range []bool{true, false} {
		name := "auto-ack"
		if !noAck {
			name = "ack"
		}
		b.Run(name, func(b *testing.B) {
			p := newPipes(b, noAck)
			var read []byte
			const n = 300
			for range n {
				read = wire.AppendPublish(read, 1, "", "q", false, wire.AppendProperties(nil, &wire.Properties{}), make([]byte, 128), 131072)
			}
			b.ReportAllocs()
			tag := uint64(0)
			for b.Loop() {
				p.read(p.publisher, read)
				if !noAck {
					tag += n
					var acks [21]byte
					p.read(p.consumer, wire.AppendAck(acks[:0], 1, tag, true))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/message")
		})
	}
}

var _ core.Completer = (*channel)(nil)
