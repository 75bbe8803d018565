package stomp

import (
	"fmt"
	"strings"
	"testing"

	"leveret/core"
)

func TestEveryKindHasReply(t *testing.T) {
	for _, k := range core.Kinds() {
		if replies[k].message == "" {
			t.Errorf("%v has no reply", k)
		}
	}
}

// TestSubscribedBeforeMessages: the RECEIPT of a SUBSCRIBE comes before what
// waits in the queue, however much that is.
func TestSubscribedBeforeMessages(t *testing.T) {
	s := newTestServer(t, nil)
	p := s.connect(t, "1.2")
	for i := range 1000 {
		p.frames(fmt.Sprintf("SEND\ndestination:/queue/q\n\n%d", i))
	}
	p.frames("DISCONNECT\nreceipt:bye")
	p.expect("RECEIPT", "receipt-id", "bye")
	c := s.connect(t, "1.2")
	c.frames("SUBSCRIBE\nid:1\ndestination:/queue/q\nreceipt:s")
	c.expect("RECEIPT", "receipt-id", "s")
	for i := range 1000 {
		if f := c.expect("MESSAGE"); string(f.Body) != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, f.Body)
		}
	}
}

// TestNothingIsLostByClosing: what was received before a plain close is routed,
// as RabbitMQ's own suite wants it.
func TestNothingIsLostByClosing(t *testing.T) {
	s := newTestServer(t, nil)
	p := s.connect(t, "1.0")
	var b strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&b, "SEND\ndestination:/queue/q\nn:%d\n\nbody\x00", i)
	}
	p.send(b.String())
	p.nc.Close()
	c := s.connect(t, "1.2")
	c.frames("SUBSCRIBE\nid:1\ndestination:/queue/q\nack:client")
	for i := range 10_000 {
		c.expect("MESSAGE", "n", fmt.Sprint(i))
	}
}
