package stomp

import (
	"strings"
	"testing"
	"time"
)

// waitFor waits until ok.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waiting for %s", what)
		}
	}
}

// TestAlarmHoldsPublishers: who has published is not read from while memory is
// short, and goes on afterwards; who has not is served.
func TestAlarmHoldsPublishers(t *testing.T) {
	for name, connect := range map[string]func(*testing.T, *testServer) *client{
		"tcp": func(t *testing.T, s *testServer) *client { return s.connect(t, "1.2") },
		"web": func(t *testing.T, s *testServer) *client {
			c := s.dialWeb(t)
			c.frames("CONNECT\naccept-version:1.2")
			c.expect("CONNECTED")
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestServer(t, nil)
			p := connect(t, s)
			p.frames("SEND\ndestination:/queue/q\nreceipt:before\n\nbefore")
			p.expect("RECEIPT", "receipt-id", "before")
			p.frames("BEGIN\ntransaction:t\nreceipt:waits")
			p.expect("RECEIPT", "receipt-id", "waits") // Its reader has looked at the alarm since it published.
			publisher := s.all(nil)[0]

			m := s.broker.Memory()
			m.SetLimit(1 << 20)
			m.Charge(1 << 20) // Within the margin: nothing is refused.
			waitFor(t, "the alarm", s.broker.Alarms().Held)
			// The reader that was waiting takes one more, and notices then.
			p.frames("SEND\ndestination:/queue/q\nreceipt:noticed\n\nnoticed")
			p.expect("RECEIPT", "receipt-id", "noticed")
			waitFor(t, "the publisher to be held", publisher.held.Load)
			p.frames("SEND\ndestination:/queue/q\nreceipt:held\n\nheld")

			c := s.connect(t, "1.2")
			c.frames("SUBSCRIBE\nid:1\ndestination:/queue/q")
			for _, want := range []string{"before", "noticed"} {
				if f := c.expect("MESSAGE"); string(f.Body) != want {
					t.Errorf("got %s, want %s", show(f), want)
				}
			}
			c.frames("UNSUBSCRIBE\nid:1\nreceipt:served")
			c.expect("RECEIPT", "receipt-id", "served") // And nothing before it.
			if !publisher.held.Load() {
				t.Error("the publisher is not held any more")
			}

			m.Charge(-1 << 20)
			p.expect("RECEIPT", "receipt-id", "held")
			c.frames("SUBSCRIBE\nid:2\ndestination:/queue/q")
			if f := c.expect("MESSAGE"); string(f.Body) != "held" {
				t.Errorf("got %s", show(f))
			}
		})
	}
}

// TestAlarmReadsAcks: a publisher that owes an ack is read from. Past the margin
// its messages are refused, its acks are not; without any it is held.
func TestAlarmReadsAcks(t *testing.T) {
	s := newTestServer(t, nil)
	c := s.connect(t, "1.2")
	c.frames("SUBSCRIBE\nid:1\ndestination:/queue/q\nack:client-individual", "SEND\ndestination:/queue/q\n\nx")
	id := c.expect("MESSAGE").Header.Get("ack")
	worker := s.all(nil)[0]

	m := s.broker.Memory()
	m.SetLimit(1 << 20)
	m.Charge(2 << 20)
	waitFor(t, "the alarm", s.broker.Alarms().Held)
	c.frames("SEND\ndestination:/queue/other\nreceipt:refused\n\nx")
	if f := c.expect("ERROR", "receipt-id", "refused"); !strings.Contains(string(f.Body), "low on memory") {
		t.Errorf("got %s", show(f))
	}
	c.frames("ACK\nid:" + id + "\nreceipt:acked")
	c.expect("RECEIPT", "receipt-id", "acked")
	// Owing nothing it is one of those who wait, from its next message on.
	c.frames("SEND\ndestination:/queue/other\nreceipt:1\n\nx")
	waitFor(t, "the publisher to be held", worker.held.Load)
	m.Charge(-2 << 20)
	c.expect("RECEIPT", "receipt-id", "1")
}
