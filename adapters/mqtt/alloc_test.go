//go:build !race

package mqtt

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"

	"leveret/adapters/mqtt/wire"
)

// pipes are connections of a server whose readers are the test: it calls the
// parser itself, so that what allocates is the path from packet to packet.
type pipes struct {
	publisher, subscriber *conn
}

// newPipes has a subscriber and a publisher connect. Their readers are parked
// for good: nothing more is sent to them.
func newPipes(t testing.TB, version, qos byte) *pipes {
	s := newTestServer(t, nil)
	c, _ := s.open(t, version, "subscriber", nil)
	c.subscribe(qos, "t/#")
	p := &pipes{subscriber: s.connections()[0]}
	d, _ := s.open(t, version, "publisher", nil)
	for _, c := range s.connections() {
		if c != p.subscriber {
			p.publisher = c
		}
	}
	go io.Copy(io.Discard, c.nc) // Both end with the connection.
	go io.Copy(io.Discard, d.nc)
	return p
}

// read does what a connection's reader does with the bytes of one read.
func (p *pipes) read(c *conn, b []byte) {
	n, _, err := c.packets(b)
	if err != nil || n != len(b) {
		panic(fmt.Sprintf("read %d of %d: %v", n, len(b), err))
	}
	c.finishWork()
	c.endOfRead(false)
	for p.publisher.out.Pending()+p.subscriber.out.Pending() > 0 { // Else messages come to rest.
		runtime.Gosched()
	}
}

// TestPublishAllocatesNothing: QoS 0 and 1, from PUBLISH to PUBLISH and back
// from PUBACK to PUBACK.
func TestPublishAllocatesNothing(t *testing.T) {
	const n = 100
	payload := string(bytes.Repeat([]byte("x"), 128))
	for version := wire.V311; version <= wire.V5; version++ {
		for qos := byte(0); qos <= 1; qos++ {
			for name, c := range map[string]struct {
				topic func(i int) string
				max   float64
			}{
				"one topic": {func(int) string { return "t/a" }, 0},
				// Routes may compete for a place in a cache.
				"many topics": {func(i int) string { return fmt.Sprintf("t/%d/x", i) }, n / 10},
			} {
				p := newPipes(t, version, qos)
				var publishes []byte
				for i := range n {
					publishes = append(publishes, pub{topic: c.topic(i), payload: payload, qos: qos, id: uint16(i + 1)}.bytes(version)...)
				}
				in, acks := make([]byte, len(publishes)), make([]byte, 0, n*4)
				round := func() {
					copy(in, publishes) // Topics are changed in place.
					p.read(p.publisher, in)
					acks = acks[:0]
					p.subscriber.out.Lock()
					for _, s := range p.subscriber.underOut.ring.slots { // In any order.
						if s.id != 0 {
							acks = wire.AppendAck(acks, wire.Puback, s.id, wire.Success, version)
						}
					}
					p.subscriber.out.Unlock()
					p.read(p.subscriber, acks)
				}
				for range 50 {
					round()
				}
				before := p.publisher.srv.counts()
				got := testing.AllocsPerRun(100, round)
				if sent := p.publisher.srv.counts()[1] - before[1]; sent != 101*n {
					t.Errorf("version %d, QoS %d, %s: %d delivered", version, qos, name, sent)
				}
				if got > c.max {
					t.Errorf("version %d, QoS %d, %s: %v allocations for %d messages", version, qos, name, got, n)
				}
			}
		}
	}
}
