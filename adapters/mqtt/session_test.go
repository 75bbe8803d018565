package mqtt

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// lasting makes a CONNECT ask for a session that outlives its connection.
func lasting(p *wire.ConnectPacket) {
	p.Clean = false
	if p.Version == wire.V5 {
		p.SessionExpiry, p.HasSessionExpiry = 3600, true
	}
}

// drop ends the connection without DISCONNECT and waits until the broker has
// noticed.
func (c *rawClient) drop(s *testServer) {
	c.t.Helper()
	n := s.broker.Registry().Count(RowConnection)
	c.nc.Close()
	waitFor(c.t, "the end of the connection", func() bool { return s.broker.Registry().Count(RowConnection) < n })
}

// waitFor polls for something that has no event.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s", what)
		}
		<-tick.C
	}
}

func TestSessionPresent(t *testing.T) { // 3.2.2-1 to 3.2.2-4
	each(t, func(t *testing.T, v byte) {
		s := newTestServer(t, nil)
		c, ack := s.open(t, v, "c", lasting)
		if ack.SessionPresent {
			t.Error("present before there was one")
		}
		c.subscribe(1, "t")
		c.drop(s)
		c, ack = s.open(t, v, "c", lasting)
		if v != wire.V31 && !ack.SessionPresent {
			t.Error("not present")
		}
		if v == wire.V5 && ack.SessionExpiry != 3600 {
			t.Errorf("%+v", ack)
		}
		c.drop(s)
		c, ack = s.open(t, v, "c", nil) // Clean.
		if ack.SessionPresent {
			t.Error("present after a clean start")
		}
		c.drop(s)
		if _, ack = s.open(t, v, "c", lasting); ack.SessionPresent {
			t.Error("present after a clean session")
		}
	})
}

// TestOfflineMessages are kept for a lasting session and come in order.
func TestOfflineMessages(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		s := newTestServer(t, nil)
		c, _ := s.open(t, v, "c", lasting)
		c.subscribe(2, "t/#")
		c.drop(s)
		b, _ := s.open(t, v, "b", nil)
		for i := range 50 {
			b.publish(pub{topic: fmt.Sprintf("t/%d", i), payload: "x", qos: 1 + byte(i)%2, id: uint16(i + 1)})
		}
		b.settle()
		c, _ = s.open(t, v, "c", lasting)
		for i := range 50 {
			if m := c.expectPublish(); m.topic != fmt.Sprintf("t/%d", i) || m.qos != 1+byte(i)%2 || m.dup {
				t.Fatalf("%d: %+v", i, m)
			}
		}
	})
}

// TestSameIDsAgain sends what was not acknowledged with DUP, the same packet
// identifiers and in the same order, then PUBRELs in their places, then what is
// new (4.4.0-1, 4.6.0-1 and following).
func TestSameIDsAgain(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		s := newTestServer(t, nil)
		c, _ := s.open(t, v, "c", lasting)
		c.subscribe(2, "t")
		b, _ := s.open(t, v, "b", nil)
		for i := range 6 {
			b.publish(pub{topic: "t", payload: fmt.Sprint(i), qos: 1 + byte(i)%2, id: uint16(i + 1)})
		}
		var first []pub
		for range 6 {
			first = append(first, c.expectPublish())
		}
		c.ack(wire.Puback, first[2].id) // QoS 1: done.
		c.ack(wire.Pubrec, first[3].id) // QoS 2: released.
		c.expectAck(wire.Pubrel, first[3].id)
		c.ping()
		c.drop(s)
		b.publish(pub{topic: "t", payload: "new", qos: 1, id: 9})
		b.settle()

		c, _ = s.open(t, v, "c", lasting)
		for i, want := range first {
			switch i {
			case 2:
			case 3:
				c.expectAck(wire.Pubrel, want.id)
			default:
				m := c.expectPublish()
				if !m.dup || m.id != want.id || m.payload != want.payload || m.qos != want.qos {
					t.Errorf("%d: %+v, want %+v", i, m, want)
				}
			}
		}
		m := c.expectPublish()
		if m.dup || m.payload != "new" {
			t.Errorf("%+v", m)
		}
		for _, used := range first {
			if m.id == used.id && used.payload != "2" {
				t.Errorf("identifier %d is in use", m.id)
			}
		}
		c.ack(wire.Pubcomp, first[3].id)
		for _, m := range []pub{first[0], first[4]} {
			c.ack(wire.Puback, m.id)
		}
		for _, m := range []pub{first[1], first[5]} {
			c.ack(wire.Pubrec, m.id)
			c.expectAck(wire.Pubrel, m.id)
			c.ack(wire.Pubcomp, m.id)
		}
		c.ack(wire.Puback, m.id)
		c.ping()
		c.drop(s)
		c, _ = s.open(t, v, "c", lasting)
		c.ping() // Nothing is left.
	})
}

// TestUnsubscribedFlowsAreFinished sends what was on its way when the last
// subscription went to the next connection too, and nothing new (3.10.4-2,
// 3.10.4-3, 4.4.0-1).
func TestUnsubscribedFlowsAreFinished(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		s := newTestServer(t, nil)
		c, _ := s.open(t, v, "c", lasting)
		c.subscribe(2, "t")
		b, _ := s.open(t, v, "b", nil)
		var sent [3]pub
		for i := range sent {
			b.publish(pub{topic: "t", payload: fmt.Sprint(i), qos: 2 - byte(i)/2, id: uint16(i + 1)})
			sent[i] = c.expectPublish()
		}
		c.ack(wire.Pubrec, sent[0].id)
		c.expectAck(wire.Pubrel, sent[0].id)
		c.unsubscribe("t")
		c.drop(s)
		b.publish(pub{topic: "t", payload: "new", qos: 1, id: 9})
		b.settle()

		c, ack := s.open(t, v, "c", lasting)
		if v != wire.V31 && !ack.SessionPresent {
			t.Error("no session")
		}
		c.expectAck(wire.Pubrel, sent[0].id)
		for _, want := range sent[1:] {
			if m := c.expectPublish(); !m.dup || m.id != want.id || m.payload != want.payload || m.qos != want.qos {
				t.Errorf("%+v, want %+v", m, want)
			}
		}
		c.ack(wire.Pubcomp, sent[0].id)
		c.ack(wire.Pubrec, sent[1].id)
		c.expectAck(wire.Pubrel, sent[1].id)
		c.ack(wire.Pubcomp, sent[1].id)
		c.ack(wire.Puback, sent[2].id)
		c.ping()
		c.drop(s)
		c, _ = s.open(t, v, "c", lasting)
		c.ping() // Nothing is left.
	})
}

// TestReceiveMaximumCountsWhatComesAgain: what a session's next connection is
// sent again leaves less room for what comes by shared subscriptions (3.3.4-9).
func TestReceiveMaximumCountsWhatComesAgain(t *testing.T) {
	s := newTestServer(t, nil)
	narrow := func(p *wire.ConnectPacket) {
		lasting(p)
		p.ReceiveMaximum = 2
	}
	c, _ := s.open(t, wire.V5, "c", narrow)
	c.subscribe(1, "own", "$share/g/ours")
	b, _ := s.open(t, wire.V5, "b", nil)
	for i, topic := range []string{"own", "own", "ours"} {
		b.publish(pub{topic: topic, qos: 1, id: uint16(i + 1)})
		b.expectAck(wire.Puback, uint16(i+1))
	}
	c.expectPublish()
	c.expectPublish()
	c.ping() // No third.
	c.drop(s)
	c, _ = s.open(t, wire.V5, "c", narrow)
	again := c.expectPublish()
	c.expectPublish()
	c.ping()
	c.ack(wire.Puback, again.id)
	if m := c.expectPublish(); m.topic != "ours" {
		t.Errorf("%+v", m)
	}
}

// TestUnsharedIsGivenBack: a member that has left a shared subscription finishes
// what it was sent; when its connection ends before, the others get that, but
// not what it has received.
func TestUnsharedIsGivenBack(t *testing.T) {
	for _, session := range []struct {
		name   string
		change func(*wire.ConnectPacket)
	}{{"lasting", lasting}, {"short", nil}} {
		t.Run(session.name, func(t *testing.T) {
			s := newTestServer(t, nil)
			a, _ := s.open(t, wire.V5, "a", session.change)
			a.subscribe(2, "$share/g/t")
			p, _ := s.open(t, wire.V5, "p", nil)
			var sent [4]pub
			for i := range sent {
				p.publish(pub{topic: "t", payload: fmt.Sprint(i), qos: 2 - byte(i)/3, id: uint16(i + 1)})
				sent[i] = a.expectPublish()
			}
			b, _ := s.open(t, wire.V5, "b", nil)
			b.subscribe(2, "$share/g/t")
			for _, m := range sent[:2] {
				a.ack(wire.Pubrec, m.id)
				a.expectAck(wire.Pubrel, m.id)
			}
			a.unsubscribe("$share/g/t")
			a.ack(wire.Pubcomp, sent[0].id)
			a.ping()
			b.ping()
			a.drop(s)
			for _, want := range []string{"2", "3"} {
				if m := b.expectPublish(); m.payload != want {
					t.Errorf("%+v, want %s", m, want)
				}
			}
			b.ping()
			v, _ := s.broker.VHost("/")
			for q := range v.Queues() {
				if i := q.Info(); i.Unacked != 2 || i.Ready != 0 {
					t.Errorf("queue %s: %d ready, %d unacked", q.Options().Name, i.Ready, i.Unacked)
				}
			}
		})
	}
}

// TestInboundQoS2SurvivesConnection takes a message once although its PUBLISH
// comes again on another connection.
func TestInboundQoS2SurvivesConnection(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		s := newTestServer(t, nil)
		a, _ := s.open(t, v, "a", nil)
		a.subscribe(0, "t")
		b, _ := s.open(t, v, "b", lasting)
		b.subscribe(0, "elsewhere") // A session to come back to.
		b.publish(pub{topic: "t", payload: "once", qos: 2, id: 5})
		b.expectAck(wire.Pubrec, 5)
		b.drop(s)
		b, _ = s.open(t, v, "b", lasting)
		b.publish(pub{topic: "t", payload: "once", qos: 2, id: 5, dup: true})
		b.expectAck(wire.Pubrec, 5)
		b.ack(wire.Pubrel, 5)
		b.expectAck(wire.Pubcomp, 5)
		b.publish(pub{topic: "t", payload: "end"})
		for _, want := range []string{"once", "end"} {
			if m := a.expectPublish(); m.payload != want {
				t.Fatalf("%+v, want %s", m, want)
			}
		}
	})
}

// TestSessionExpiry ends a session when its time is over, and DISCONNECT changes
// that time.
func TestSessionExpiry(t *testing.T) {
	s := newTestServer(t, nil)
	c, _ := s.open(t, wire.V5, "c", func(p *wire.ConnectPacket) { p.SessionExpiry, p.HasSessionExpiry = 1, true })
	c.subscribe(1, "t")
	c.drop(s)
	v, _ := s.broker.VHost("/")
	waitFor(t, "the end of the session", func() bool {
		for range v.Clients() {
			return false
		}
		return true
	})

	c, _ = s.open(t, wire.V5, "d", lasting)
	c.subscribe(1, "t")
	c.send([]byte("\xe0\x07\x00\x05\x11\x00\x00\x00\x00"))
	c.version = wire.V311
	c.expectClosed(0)
	if _, ack := s.open(t, wire.V5, "d", lasting); ack.SessionPresent {
		t.Error("DISCONNECT with session expiry 0 has not ended the session")
	}
	_, ack := s.open(t, wire.V5, "e", func(p *wire.ConnectPacket) { p.SessionExpiry, p.HasSessionExpiry = 0xFFFFFFFF, true })
	if ack.SessionExpiry != 24*3600 {
		t.Errorf("%+v", ack)
	}
}

// TestMixedQoS moves a session from the direct to the stored queue when its
// first subscription above QoS 0 comes.
func TestMixedQoS(t *testing.T) {
	s := newTestServer(t, nil)
	a, _ := s.open(t, wire.V5, "a", nil)
	b, _ := s.open(t, wire.V5, "b", nil)
	a.subscribe(0, "zero", "both")
	a.subscribe(1, "one", "both")
	for _, topic := range []string{"zero", "one", "both"} {
		b.publish(pub{topic: topic, payload: topic, qos: 1, id: 3})
		want := byte(1)
		if topic == "zero" {
			want = 0
		}
		m := a.expectPublish()
		if m.topic != topic || m.qos != want {
			t.Errorf("%+v, want QoS %d", m, want)
		}
		if m.qos == 1 {
			a.ack(wire.Puback, m.id)
		}
		b.expectAck(wire.Puback, 3)
	}
	a.ping()
}

func TestRetained(t *testing.T) { // 3.3.1-5 to 3.3.1-11
	each(t, func(t *testing.T, v byte) {
		for sub := range byte(3) {
			t.Run(fmt.Sprint("qos", sub), func(t *testing.T) {
				s := newTestServer(t, nil)
				b, _ := s.open(t, v, "b", nil)
				b.publish(pub{topic: "r/gone", payload: "x", retain: true})
				b.publish(pub{topic: "r/gone", payload: "", retain: true})
				for i, topic := range []string{"r/1", "r/2", "r/x/3", "other", "$r/4"} {
					b.publish(pub{topic: topic, payload: "old", retain: true, qos: byte(i) % 3, id: uint16(i + 1)})
					b.publish(pub{topic: topic, payload: topic, retain: true, qos: byte(i) % 3, id: uint16(i + 10)})
				}
				b.publish(pub{topic: "$end", payload: "x", retain: true})
				waitFor(t, "everything to be retained", func() bool {
					v, _ := s.broker.VHost("/")
					n, _ := v.RetainedCount()
					return n == 6 // With the last.
				})
				for filter, want := range map[string][]string{
					"r/1": {"r/1"}, "r/+": {"r/1", "r/2"}, "r/#": {"r/1", "r/2", "r/x/3"}, "#": {"other", "r/1", "r/2", "r/x/3"},
					"r/gone": nil, "$r/#": {"$r/4"},
				} {
					a, _ := s.open(t, v, "a", nil)
					a.subscribe(sub, filter)
					var got []string
					for range want {
						m := a.expectPublish()
						if !m.retain || m.payload != m.topic || m.dup {
							t.Errorf("%+v", m)
						}
						got = append(got, m.topic)
						if m.qos == 1 {
							a.ack(wire.Puback, m.id)
						} else if m.qos == 2 {
							a.ack(wire.Pubrec, m.id)
							for {
								p := a.next()
								if p.h.Type() == wire.Pubrel {
									break
								}
								m := a.parse(p)
								got = append(got, m.topic)
								if m.qos == 1 {
									a.ack(wire.Puback, m.id)
								}
							}
							a.ack(wire.Pubcomp, m.id)
						}
						if len(got) == len(want) {
							break
						}
					}
					slices.Sort(got)
					if !slices.Equal(got, want) {
						t.Errorf("%s: %q, want %q", filter, got, want)
					}
					a.ping()
				}
			})
		}
	})
}

func TestRetainHandling(t *testing.T) { // 3.3.1-9 to 3.3.1-11
	s := newTestServer(t, nil)
	b, _ := s.open(t, wire.V5, "b", nil)
	b.publish(pub{topic: "r", payload: "x", retain: true, qos: 1, id: 1})
	b.expectAck(wire.Puback, 1)
	a, _ := s.open(t, wire.V5, "a", nil)
	for i, c := range []struct {
		handling byte
		sent     bool
	}{{2, false}, {1, false}, {0, true}, {0, true}} {
		a.subscribeWith(&wire.SubscribePacket{Filters: []wire.Subscription{{Filter: "r", RetainHandling: c.handling, QoS: byte(i) % 2}}})
		if c.sent {
			m := a.expectPublish()
			if m.qos == 1 {
				a.ack(wire.Puback, m.id)
			}
		}
		a.ping()
	}
	fresh, _ := s.open(t, wire.V5, "fresh", nil)
	fresh.subscribeWith(&wire.SubscribePacket{SubID: 9, Filters: []wire.Subscription{{Filter: "r", RetainHandling: 1}}})
	if m := fresh.expectPublish(); !m.retain || m.properties(t)[wire.PropSubscriptionID][0] != "\x09" {
		t.Errorf("%+v", m)
	}
}

// TestManyRetained does not stall other clients, and does not pile up for a
// subscriber that does not read.
func TestManyRetained(t *testing.T) {
	s := newTestServer(t, nil)
	b, _ := s.open(t, wire.V311, "b", nil)
	const n = 5000
	var all []byte
	for i := range n {
		all = append(all, pub{topic: fmt.Sprintf("many/%d", i), payload: strings.Repeat("x", 1000), retain: true}.bytes(wire.V311)...)
	}
	b.send(all)
	b.ping()
	for _, qos := range []byte{0, 1} {
		lazy, _ := s.open(t, wire.V311, "lazy", nil)
		lazy.subscribe(qos, "#")
		b.ping()
		other, _ := s.open(t, wire.V311, "other", nil)
		other.subscribe(0, "t")
		b.publish(pub{topic: "t", payload: "now"})
		if m := other.expectPublish(); m.payload != "now" {
			t.Fatal(m.topic)
		}
		seen := map[string]bool{}
		for len(seen) < n {
			m := lazy.expectPublish()
			if m.topic == "t" {
				continue
			}
			if seen[m.topic] || !m.retain {
				t.Fatalf("%s twice, or not retained", m.topic)
			}
			seen[m.topic] = true
			if m.qos == 1 {
				lazy.ack(wire.Puback, m.id)
			}
		}
		lazy.ping()
	}
}

// TestRetainedOutlastTheConnection: what a new subscription was to get and has
// not got comes to the session's next connection.
func TestRetainedOutlastTheConnection(t *testing.T) {
	s := newTestServer(t, nil)
	b, _ := s.open(t, wire.V5, "b", nil)
	const n = 2000
	var all []byte
	for i := range n {
		all = append(all, pub{topic: fmt.Sprintf("many/%d", i), payload: "x", retain: true, qos: 1, id: uint16(i + 1)}.bytes(wire.V5)...)
	}
	b.send(all)
	for i := range n {
		b.expectAck(wire.Puback, uint16(i+1))
	}
	for qos := byte(1); qos <= 2; qos++ {
		id := fmt.Sprint("a", qos)
		a, _ := s.open(t, wire.V5, id, lasting)
		a.subscribe(qos, "many/#")
		a.expectPublish() // And no acknowledgement: the others stay behind.
		a.drop(s)
		b.publish(pub{topic: "many/0", payload: "later", qos: 1, id: 1})
		b.expectAck(wire.Puback, 1)
		a, ack := s.open(t, wire.V5, id, lasting)
		if !ack.SessionPresent {
			t.Fatal("no session")
		}
		seen := map[string]bool{}
		for len(seen) < n {
			m := a.expectPublish()
			if seen[m.topic] || m.payload != "x" || !m.retain {
				t.Fatalf("%+v after %d", m, len(seen))
			}
			seen[m.topic] = true
			a.ack(wire.Puback, m.id)
		}
		if m := a.expectPublish(); m.payload != "later" || m.retain {
			t.Errorf("%+v", m)
		}
	}
}

func TestWill(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		s := newTestServer(t, nil)
		a, _ := s.open(t, v, "a", nil)
		a.subscribe(2, "w/#")
		will := func(topic string) func(p *wire.ConnectPacket) {
			return func(p *wire.ConnectPacket) {
				p.Will = &wire.Will{Topic: topic, Payload: []byte("gone"), QoS: 1, Retain: true}
				if v == wire.V5 {
					p.Will.Props = wire.AppendUser(wire.AppendString([]byte("\x02\x00\x00\x00\x3c"), wire.PropContentType, "text"), "k", "v")
				}
			}
		}
		lost, _ := s.open(t, v, "lost", will("w/lost"))
		lost.nc.Close()
		m := a.expectPublish()
		if m.topic != "w/lost" || m.payload != "gone" || m.qos != 1 || m.retain {
			t.Errorf("%+v", m)
		}
		if v == wire.V5 {
			p := m.properties(t)
			if p[wire.PropContentType][0] != "text" || len(p[wire.PropUser]) != 1 || len(p[wire.PropMessageExpiry]) != 1 {
				t.Errorf("%q", p)
			}
		}
		a.ack(wire.Puback, m.id)
		// A goodbye takes it back (3.14.4-3), a protocol error does not.
		bye, _ := s.open(t, v, "bye", will("w/bye"))
		bye.send([]byte{wire.Disconnect << 4, 0})
		bye.version = wire.V311
		bye.expectClosed(0)
		bad, _ := s.open(t, v, "bad", will("w/bad"))
		bad.send([]byte("\x36\x00"))
		if m := a.expectPublish(); m.topic != "w/bad" {
			t.Errorf("%+v", m)
		}
		// It was retained.
		late, _ := s.open(t, v, "late", nil)
		late.subscribe(0, "w/lost")
		if m := late.expectPublish(); !m.retain {
			t.Errorf("%+v", m)
		}
	})
}

func TestWillOnDisconnect04(t *testing.T) { // 3.14.4
	s := newTestServer(t, nil)
	a, _ := s.open(t, wire.V5, "a", nil)
	a.subscribe(0, "w")
	c, _ := s.open(t, wire.V5, "c", func(p *wire.ConnectPacket) { p.Will = &wire.Will{Topic: "w"} })
	c.send([]byte("\xe0\x01\x04"))
	if m := a.expectPublish(); m.topic != "w" || m.payload != "" {
		t.Errorf("%+v", m)
	}
}

func TestWillDelay(t *testing.T) { // 3.1.3-9
	s := newTestServer(t, nil)
	a, _ := s.open(t, wire.V5, "a", nil)
	a.subscribe(0, "w/#")
	open := func(id string, delay byte) *rawClient {
		c, _ := s.open(t, wire.V5, id, func(p *wire.ConnectPacket) {
			lasting(p)
			p.Will = &wire.Will{Topic: "w/" + id, Props: []byte{wire.PropWillDelay, 0, 0, 0, delay}}
		})
		return c
	}
	open("back", 2).drop(s)
	open("back", 200) // In time: the first will is not sent.
	open("late", 2).drop(s)
	if m := a.expectPublish(); m.topic != "w/late" {
		t.Errorf("%+v", m)
	}
	a.ping()
}

// TestSharedSubscription gives each message to one member, and what a lost
// member held to another (4.8.2).
func TestSharedSubscription(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		s := newTestServer(t, nil)
		a, _ := s.open(t, v, "a", nil)
		b, _ := s.open(t, v, "b", nil)
		plain, _ := s.open(t, v, "plain", nil)
		p, _ := s.open(t, v, "p", nil)
		a.subscribe(1, "$share/g/t/+")
		b.subscribe(1, "$share/g/t/+")
		plain.subscribe(1, "t/+")
		const n = 40
		for i := range n {
			p.publish(pub{topic: fmt.Sprintf("t/%d", i), payload: "x", qos: 1, id: uint16(i + 1)})
		}
		for i := range n {
			p.expectAck(wire.Puback, uint16(i+1))
			m := plain.expectPublish()
			plain.ack(wire.Puback, m.id)
		}
		got := map[string]int{}
		half := func(c *rawClient, ack bool) {
			c.send([]byte{wire.Pingreq << 4, 0})
			for {
				x := c.next()
				if x.h.Type() == wire.Pingresp {
					return
				}
				m := c.parse(x)
				if ack {
					got[m.topic]++
					c.ack(wire.Puback, m.id)
				}
			}
		}
		half(a, false)
		half(b, true)
		if len(got) == 0 || len(got) == n {
			t.Fatalf("one member got %d of %d", len(got), n)
		}
		a.nc.Close() // With everything unacknowledged.
		for len(got) < n {
			m := b.expectPublish()
			got[m.topic]++
			b.ack(wire.Puback, m.id)
		}
		for topic, times := range maps.All(got) {
			if times != 1 {
				t.Errorf("%s came %d times", topic, times)
			}
		}
		b.ping()
		b.unsubscribe("$share/g/t/+")
		p.publish(pub{topic: "t/last", payload: "x"})
		p.ping()
		b.ping()
	})
}

// TestSessionQueueHasRabbitMQsName shows a lasting session to operators under
// RabbitMQ's name.
func TestSessionQueueHasRabbitMQsName(t *testing.T) {
	s := newTestServer(t, nil)
	c, _ := s.open(t, wire.V311, "dev", lasting)
	c.subscribe(1, "t")
	d, _ := s.open(t, wire.V311, "dev0", nil)
	d.subscribe(0, "t")
	v, _ := s.broker.VHost("/")
	for _, name := range []string{"mqtt-subscription-devqos1", "mqtt-subscription-dev0qos0"} {
		if _, ok := v.Queue(name); !ok {
			t.Errorf("no queue %s", name)
		}
	}
}

func TestMessageExpiry(t *testing.T) { // 3.3.2-5, 3.3.2-6
	now := time.Now().UnixMilli()
	var clock atomicClock
	clock.Store(now)
	s := newTestServer(t, func(_ *Options, co *core.Options) { co.Now = clock.Load })
	c, _ := s.open(t, wire.V5, "c", lasting)
	c.subscribe(1, "t")
	c.drop(s)
	b, _ := s.open(t, wire.V5, "b", nil)
	b.publish(pub{topic: "t", payload: "short", qos: 1, id: 1, props: []byte("\x02\x00\x00\x00\x05")})
	b.publish(pub{topic: "t", payload: "long", qos: 1, id: 2, props: []byte("\x02\x00\x00\x00\x64")})
	b.settle()
	clock.Store(now + 10_000)
	s.broker.Advance(now + 10_000)
	c, _ = s.open(t, wire.V5, "c", lasting)
	m := c.expectPublish()
	if left := wire.ReadUint32([]byte(m.properties(t)[wire.PropMessageExpiry][0])); m.payload != "long" || left != 90 {
		t.Errorf("%+v, %d left", m, left)
	}
}

// atomicClock is core's clock in a test.
type atomicClock struct{ atomic.Int64 }
