package mqtt

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// sysInterval is how often figures are published in tests.
const sysInterval = 20 * time.Millisecond

func sysServer(t *testing.T) *testServer {
	return newTestServer(t, func(o *Options, _ *core.Options) { o.SysInterval, o.Version = sysInterval, "1.2.3" })
}

// TestSysTopics has figures retained under mosquitto's names, that come to those
// who ask for them, and follow what happens.
func TestSysTopics(t *testing.T) {
	s := sysServer(t)
	c, _ := s.open(t, wire.V5, "c", nil)
	gone, _ := s.open(t, wire.V5, "gone", lasting)
	gone.subscribe(1, "a", "b")
	gone.drop(s)
	c.publish(pub{topic: "x", payload: "y", qos: 1, id: 1})
	c.expectAck(wire.Puback, 1)

	seen := map[string]string{}
	c.subscribe(0, "$SYS/broker/#")
	until := func(topic string, ok func(v string) bool) {
		t.Helper()
		for !ok(seen[topic]) { // Else no figure comes any more, or never this one.
			m := c.expectPublish()
			seen[m.topic] = m.payload
		}
	}
	is := func(want string) func(string) bool { return func(v string) bool { return v == want } }
	atLeast := func(least float64) func(string) bool {
		return func(v string) bool {
			n, err := strconv.ParseFloat(v, 64)
			return err == nil && n >= least
		}
	}
	until("$SYS/broker/version", is("leveret version 1.2.3"))
	until("$SYS/broker/uptime", func(v string) bool { return strings.HasSuffix(v, " seconds") })
	until("$SYS/broker/clients/connected", is("1"))
	until("$SYS/broker/clients/disconnected", is("1"))
	until("$SYS/broker/clients/total", is("2"))
	until("$SYS/broker/clients/maximum", is("2"))
	until("$SYS/broker/subscriptions/count", is("3"))
	until("$SYS/broker/publish/messages/received", atLeast(1))
	until("$SYS/broker/messages/sent", atLeast(10))
	until("$SYS/broker/bytes/received", atLeast(20))
	until("$SYS/broker/bytes/sent", atLeast(1000))
	until("$SYS/broker/retained messages/count", atLeast(20))
	until("$SYS/broker/heap/current", atLeast(1000))
	until("$SYS/broker/load/bytes/sent/1min", atLeast(0.01))
	until("$SYS/broker/load/messages/sent/15min", atLeast(0.01))

	other, _ := s.open(t, wire.V311, "other", nil)
	until("$SYS/broker/clients/connected", is("2"))
	other.drop(s)
	until("$SYS/broker/clients/connected", is("1"))
}

// TestSysTopicsAreTheBrokers: nobody else publishes there, and who asks for '#'
// does not get them.
func TestSysTopicsAreTheBrokers(t *testing.T) {
	s := sysServer(t)
	c, _ := s.open(t, wire.V5, "c", nil)
	c.subscribe(0, "$SYS/broker/uptime")
	all, _ := s.open(t, wire.V5, "all", nil)
	all.subscribe(0, "#", "+/broker/uptime")
	for range 3 {
		c.expectPublish()
	}
	all.publish(pub{topic: "mine", payload: "x"})
	if m := all.expectPublish(); m.topic != "mine" {
		t.Errorf("%s comes to a leading wildcard", m.topic)
	}
	c.publish(pub{topic: "$SYS/broker/version", payload: "forged", qos: 1, id: 1})
	c.expectClosed(wire.NotAuthorized)
	ack := s.dial(t).connect(wire.V5, "w", func(p *wire.ConnectPacket) {
		p.Will = &wire.Will{Topic: "$SYS/broker/version", Payload: []byte("forged")}
	})
	if ack.Code != wire.NotAuthorized {
		t.Errorf("a will there: %v", ack.Code)
	}
}

// TestNoSysTopics: without --mqtt-sys there are none.
func TestNoSysTopics(t *testing.T) {
	s := newTestServer(t, nil)
	v, _ := s.broker.VHost("/")
	c, _ := s.open(t, wire.V5, "c", nil)
	c.subscribe(0, "$SYS/#")
	c.ping()
	if n, _ := v.RetainedCount(); n != 0 {
		t.Errorf("%d retained", n)
	}
}
