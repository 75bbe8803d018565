package mqtt

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
	"leveret/core/auth"
)

// TestBadPacketsCloseTheConnection sends what the standard calls malformed or a
// protocol error: that client loses its connection, with the reason code if it
// speaks MQTT 5, and nobody else notices.
func TestBadPacketsCloseTheConnection(t *testing.T) {
	s := newTestServer(t, nil)
	bystander, _ := s.open(t, wire.V5, "bystander", nil)
	bystander.subscribe(1, "#")
	for i, c := range []struct {
		name    string
		send    string
		version byte // 0 for all.
		code    wire.Code
	}{
		{"reserved packet type", "\x00\x00", 0, wire.MalformedPacket},
		{"reserved flags of SUBSCRIBE (3.8.1-1)", "\x80\x06\x00\x01\x00\x01a\x00", 0, wire.MalformedPacket},
		{"flags of PINGREQ (2.2.2-2)", "\xc1\x00", 0, wire.MalformedPacket},
		{"five byte length (1.5.5)", "\x30\xff\xff\xff\xff\x01", 0, wire.MalformedPacket},
		{"padded length (1.5.5-1)", "\xc0\x80\x00", 0, wire.MalformedPacket},
		{"QoS 3 (3.3.1-4)", "\x36\x05\x00\x01a\x00\x01", 0, wire.MalformedPacket},
		{"DUP of QoS 0 (3.3.1-2)", "\x38\x03\x00\x01a", 0, wire.ProtocolError},
		{"packet id 0 (2.3.1-1)", "\x32\x05\x00\x01a\x00\x00", 4, wire.ProtocolError},
		{"packet id 0, 5 (2.2.1-3)", "\x32\x06\x00\x01a\x00\x00\x00", 5, wire.ProtocolError},
		{"wildcard in topic (3.3.2-2)", "\x30\x03\x00\x01#", 4, wire.TopicNameInvalid},
		{"wildcard in topic, 5 (3.3.2-2)", "\x30\x04\x00\x01+\x00", 5, wire.TopicNameInvalid},
		{"empty topic (4.7.3-1)", "\x30\x02\x00\x00", 4, wire.ProtocolError},
		{"empty topic without alias (3.3.2-8)", "\x30\x03\x00\x00\x00", 5, wire.ProtocolError},
		{"topic not UTF-8 (1.5.3-1)", "\x30\x03\x00\x01\xff", 4, wire.MalformedPacket},
		{"topic with NUL (1.5.3-2)", "\x30\x03\x00\x01\x00", 4, wire.MalformedPacket},
		{"topic with a surrogate (1.5.4-1)", "\x30\x06\x00\x03\xed\xa0\x80\x00", 5, wire.MalformedPacket},
		{"second CONNECT (3.1.0-2)", string(wire.AppendConnect(nil, &wire.ConnectPacket{Version: 5, ClientID: "x", ReceiveMaximum: 1})), 0, wire.ProtocolError},
		{"CONNACK from a client", "\x20\x02\x00\x00", 0, wire.ProtocolError},
		{"SUBSCRIBE without filter (3.8.3-3)", "\x82\x02\x00\x01", 4, wire.ProtocolError},
		{"SUBSCRIBE without filter, 5 (3.8.3-2)", "\x82\x03\x00\x01\x00", 5, wire.ProtocolError},
		{"SUBSCRIBE without options (mochi #501)", "\x82\x06\x00\x01\x00\x00\x01a", 5, wire.MalformedPacket},
		{"SUBSCRIBE QoS 3", "\x82\x06\x00\x01\x00\x01a\x03", 4, wire.MalformedPacket},
		{"option bits 6 and 7 (3.8.3-5)", "\x82\x07\x00\x01\x00\x00\x01a\x80", 5, wire.MalformedPacket},
		{"retain handling 3", "\x82\x07\x00\x01\x00\x00\x01a\x30", 5, wire.ProtocolError},
		{"subscription identifier 0", "\x82\x09\x00\x01\x02\x0b\x00\x00\x01a\x00", 5, wire.ProtocolError},
		{"no local on a shared subscription (3.8.3-4)", "\x82\x10\x00\x01\x00\x00\x0a$share/g/a\x04", 5, wire.ProtocolError},
		{"wildcard not alone (4.7.1-3)", "\x82\x07\x00\x01\x00\x02a+\x00", 4, wire.TopicFilterInvalid},
		{"# not last (4.7.1-2)", "\x82\x08\x00\x01\x00\x03#/a\x00", 4, wire.TopicFilterInvalid},
		{"UNSUBSCRIBE without filter (3.10.3-2)", "\xa2\x02\x00\x01", 4, wire.ProtocolError},
		{"AUTH without method (4.12.0-6)", "\xf0\x02\x19\x00", 5, wire.ProtocolError},
		{"AUTH before MQTT 5", "\xf0\x00", 4, wire.ProtocolError},
		{"alias 0 (3.3.2-8)", "\x30\x07\x00\x01a\x03\x23\x00\x00", 5, wire.TopicAliasInvalid},
		{"alias above the maximum (3.3.2-9)", "\x30\x07\x00\x01a\x03\x23\x00\x11", 5, wire.TopicAliasInvalid},
		{"unknown alias (3.3.2-12)", "\x30\x06\x00\x00\x03\x23\x00\x05", 5, wire.ProtocolError},
		{"property twice (2.2.2)", "\x30\x08\x00\x01a\x04\x01\x00\x01\x00", 5, wire.ProtocolError},
		{"property of another packet", "\x30\x07\x00\x01a\x03\x21\x00\x01", 5, wire.ProtocolError},
		{"properties past the end", "\x30\x05\x00\x01a\x09\x01", 5, wire.MalformedPacket},
		{"payload format 2", "\x30\x06\x00\x01a\x02\x01\x02", 5, wire.ProtocolError},
		{"response topic with wildcard (3.3.2-14)", "\x30\x08\x00\x01a\x04\x08\x00\x01#", 5, wire.ProtocolError},
		{"subscription identifier in PUBLISH (3.3.4-6)", "\x30\x06\x00\x01a\x02\x0b\x01", 5, wire.ProtocolError},
		{"short PUBACK", "\x40\x01\x00", 0, wire.MalformedPacket},
		{"PUBREL flags (3.6.1-1)", "\x60\x02\x00\x01", 0, wire.MalformedPacket},
		{"DISCONNECT with a server's code", "\xe0\x01\x8b", 5, wire.ProtocolError},
		{"DISCONNECT with a body", "\xe0\x01\x00", 4, 0},
		{"packet above the maximum (3.2.2-15)", "\x30\xff\xff\xff\x7f", 0, wire.PacketTooLarge},
		{"session expiry from 0 (3.14.2-2)", "\xe0\x07\x00\x05\x11\x00\x00\x00\x05", 5, wire.ProtocolError},
	} {
		for v := wire.V311; v <= wire.V5; v++ {
			if c.version != 0 && v != c.version {
				continue
			}
			t.Run(fmt.Sprintf("%s/v%d", strings.ReplaceAll(c.name, "/", " "), v), func(t *testing.T) {
				x, _ := s.open(t, v, fmt.Sprintf("bad-%d", i), nil)
				x.send([]byte(c.send))
				x.expectClosed(c.code)
			})
		}
	}
	bystander.ping()
}

func TestFirstPacketMustBeConnect(t *testing.T) { // 3.1.0-1
	s := newTestServer(t, nil)
	for _, b := range []string{"\xc0\x00", "\x30\x03\x00\x01a", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"} {
		c := s.dial(t)
		c.send([]byte(b))
		c.version = wire.V311
		c.expectClosed(0)
	}
}

func TestConnectIsAnswered(t *testing.T) {
	s := newTestServer(t, nil)
	for _, c := range []struct {
		name    string
		version byte
		change  func(*wire.ConnectPacket)
		code    wire.Code // The return code before MQTT 5.
	}{
		{"anonymous", 4, nil, 0},
		{"guest", 4, func(p *wire.ConnectPacket) {
			p.HasUser, p.User, p.HasPassword, p.Password = true, "guest", true, "guest"
		}, 0},
		{"vhost", 4, func(p *wire.ConnectPacket) {
			p.HasUser, p.User, p.HasPassword, p.Password = true, "/:guest", true, "guest"
		}, 0},
		{"wrong password", 4, func(p *wire.ConnectPacket) { p.HasUser, p.User, p.HasPassword, p.Password = true, "guest", true, "x" }, 4},
		{"wrong password", 5, func(p *wire.ConnectPacket) { p.HasUser, p.User, p.HasPassword, p.Password = true, "guest", true, "x" }, wire.BadUserNameOrPassword},
		{"user without password", 4, func(p *wire.ConnectPacket) { p.HasUser, p.User = true, "guest" }, 4},
		{"user without password", 5, func(p *wire.ConnectPacket) { p.HasUser, p.User = true, "guest" }, wire.BadUserNameOrPassword},
		{"unknown vhost", 5, func(p *wire.ConnectPacket) {
			p.HasUser, p.User, p.HasPassword, p.Password = true, "x:guest", true, "guest"
		}, wire.BadUserNameOrPassword},
		{"empty id, lasting (3.1.3-8)", 4, func(p *wire.ConnectPacket) { p.ClientID, p.Clean = "", false }, 2},
		{"empty id, clean (3.1.3-7)", 4, func(p *wire.ConnectPacket) { p.ClientID = "" }, 0},
		{"empty id, 3.1", 3, func(p *wire.ConnectPacket) { p.ClientID = "" }, 2},
		{"long id", 5, func(p *wire.ConnectPacket) { p.ClientID = strings.Repeat("x", 300) }, wire.ClientIDNotValid},
		{"enhanced authentication (4.12.0-1)", 5, func(p *wire.ConnectPacket) { p.AuthMethod = "SCRAM-SHA-1" }, wire.BadAuthenticationMethod},
		{"will on a forbidden topic of too many levels", 5, func(p *wire.ConnectPacket) {
			p.Will = &wire.Will{Topic: strings.Repeat("/", 200), Payload: []byte("x")}
		}, wire.TopicNameInvalid},
	} {
		t.Run(fmt.Sprintf("%s/v%d", strings.ReplaceAll(c.name, "/", " "), c.version), func(t *testing.T) {
			x := s.dial(t)
			ack := x.connect(c.version, "c", c.change)
			if ack.Code != c.code || ack.SessionPresent {
				t.Fatalf("%+v", ack)
			}
			if c.code == 0 {
				x.ping()
				return
			}
			x.version = wire.V311 // No DISCONNECT behind a refusing CONNACK.
			x.expectClosed(0)
		})
	}
	t.Run("unknown level (3.1.2-2)", func(t *testing.T) {
		c := s.dial(t)
		c.send([]byte("\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x01a"))
		c.expectBytes([]byte{0x20, 2, 0, 1})
		c.version = wire.V311
		c.expectClosed(0)
	})
	t.Run("assigned id (3.2.2-16)", func(t *testing.T) {
		_, ack := s.open(t, wire.V5, "", nil)
		if ack.AssignedClientID == "" || ack.MaximumPacket != 16<<20 || ack.TopicAliasMax != 16 {
			t.Fatalf("%+v", ack)
		}
	})
	t.Run("byte by byte, and packets behind CONNECT (3.1.4-5)", func(t *testing.T) {
		c := s.dial(t)
		b := wire.AppendConnect(nil, &wire.ConnectPacket{Version: 4, Clean: true, ClientID: "slow"})
		b = wire.AppendSubscribe(b, &wire.SubscribePacket{ID: 3, Filters: []wire.Subscription{{Filter: "own"}}}, 4)
		b = append(b, pub{topic: "own", payload: "x"}.bytes(4)...)
		for i := range b {
			c.send(b[i : i+1])
		}
		c.version = wire.V311
		c.expect(wire.Connack)
		c.expect(wire.Suback)
		c.expect(wire.Publish)
	})
}

// TestSilenceBeforeConnect ends connections that say nothing, and those that
// stop in the middle of their CONNECT.
func TestSilenceBeforeConnect(t *testing.T) {
	s := newTestServer(t, func(o *Options, _ *core.Options) { o.ConnectTimeout = 300 * time.Millisecond })
	for _, b := range []string{"", "\x10\x0d\x00\x04MQ"} {
		c := s.dial(t)
		c.version = wire.V311
		if b != "" {
			c.send([]byte(b))
		}
		c.expectClosed(0)
	}
}

// TestKeepAlive ends a silent connection after one and a half times its keep
// alive (3.1.2-24), not before and not much later, and lets a talking one be.
func TestKeepAlive(t *testing.T) {
	s := newTestServer(t, nil)
	talks, _ := s.open(t, wire.V5, "talks", func(p *wire.ConnectPacket) { p.KeepAlive = 1 })
	began := time.Now()
	c, _ := s.open(t, wire.V5, "silent", func(p *wire.ConnectPacket) { p.KeepAlive = 1 })
	done := make(chan struct{})
	go func() {
		defer close(done)
		for time.Since(began) < 2*time.Second {
			talks.nc.Write([]byte{wire.Pingreq << 4, 0})
			io.ReadFull(talks.r, make([]byte, 2))
		}
	}()
	c.expectClosed(wire.KeepAliveTimeout)
	if took := time.Since(began); took < 1400*time.Millisecond {
		t.Errorf("ended after %v", took)
	}
	<-done
	talks.ping()
	never, _ := s.open(t, wire.V311, "never", nil) // 0: no limit.
	never.ping()
}

func TestServerKeepAlive(t *testing.T) { // 3.2.2-21
	s := newTestServer(t, func(o *Options, _ *core.Options) { o.KeepAliveMax = 20 })
	for asked, told := range map[uint16]bool{0: true, 10: false, 30: true} {
		_, ack := s.open(t, wire.V5, "k", func(p *wire.ConnectPacket) { p.KeepAlive = asked })
		if ack.HasKeepAlive != told || told && ack.ServerKeepAlive != 20 {
			t.Errorf("%d: %+v", asked, ack)
		}
	}
}

func TestTakeOver(t *testing.T) { // 3.1.4-2, 3.1.4-3
	each(t, func(t *testing.T, v byte) {
		s := newTestServer(t, nil)
		old, _ := s.open(t, v, "me", nil)
		s.open(t, v, "me", nil)
		old.expectClosed(wire.SessionTakenOver)
	})
}

// TestTakeOverStorm has many connections want one identity at the same time:
// exactly one is left.
func TestTakeOverStorm(t *testing.T) {
	s := newTestServer(t, nil)
	var cs []*rawClient
	for range 20 {
		c := s.dial(t)
		c.version = wire.V311
		c.send(wire.AppendConnect(nil, &wire.ConnectPacket{Version: 4, Clean: true, ClientID: "me"}))
		cs = append(cs, c)
	}
	open := 0
	for _, c := range cs {
		c.nc.Write([]byte{wire.Pingreq << 4, 0})
		for {
			p, err := c.read()
			if err != nil {
				break
			}
			if p.h.Type() == wire.Pingresp {
				open++ // Perhaps it is taken over later.
				break
			}
		}
	}
	if open == 0 {
		t.Error("nobody is left")
	}
	last, _ := s.open(t, wire.V311, "me", nil)
	last.ping()
	if n := s.broker.Registry().Count(RowConnection); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestShutdownSaysSo(t *testing.T) {
	s := newTestServer(t, nil)
	c, _ := s.open(t, wire.V5, "c", nil)
	go s.stop()
	c.expectClosed(wire.ServerShuttingDown)
}

func TestSubscriptionsAndUnsubscribe(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		s := newTestServer(t, nil)
		a, _ := s.open(t, v, "a", nil)
		b, _ := s.open(t, v, "b", nil)
		codes := a.subscribe(1, "x", "y/+", "z/#")
		if !slices.Equal(codes, []wire.Code{1, 1, 1}) { // One code per filter (3.8.4-5).
			t.Fatal(codes)
		}
		for _, topic := range []string{"x", "y/1", "z", "z/1/2"} {
			b.publish(pub{topic: topic, payload: topic})
			if m := a.expectPublish(); m.topic != topic {
				t.Fatalf("%+v", m)
			}
		}
		got := a.unsubscribe("x", "nothing")
		if v == wire.V5 && !slices.Equal(got, []byte{0, byte(wire.NoSubscriptionExisted)}) || v != wire.V5 && len(got) != 0 {
			t.Fatal(got)
		}
		b.publish(pub{topic: "x", payload: "no"})
		b.publish(pub{topic: "y/2", payload: "yes"})
		if m := a.expectPublish(); m.topic != "y/2" {
			t.Fatalf("%+v", m)
		}
	})
}

// TestOverlappingFilters delivers once, at the highest QoS granted (3.3.5-1),
// with all identifiers (3.3.4-3 and following).
func TestOverlappingFilters(t *testing.T) {
	s := newTestServer(t, nil)
	a, _ := s.open(t, wire.V5, "a", nil)
	b, _ := s.open(t, wire.V5, "b", nil)
	for i, f := range []string{"a/#", "a/b", "+/b"} {
		a.subscribeWith(&wire.SubscribePacket{SubID: uint32(i + 1), Filters: []wire.Subscription{{Filter: f, QoS: byte(i)}}})
	}
	b.publish(pub{topic: "a/b", payload: "x", qos: 2, id: 1})
	m := a.expectPublish()
	ids := m.properties(t)[wire.PropSubscriptionID]
	if m.qos != 2 || !slices.Equal(ids, []string{"\x01", "\x02", "\x03"}) {
		t.Fatalf("%+v %q", m, ids)
	}
	b.publish(pub{topic: "a/c", payload: "y", qos: 0})
	m = a.expectPublish()
	if ids := m.properties(t)[wire.PropSubscriptionID]; m.qos != 0 || !slices.Equal(ids, []string{"\x01"}) {
		t.Fatalf("%+v %q", m, ids)
	}
}

func TestReplacedSubscription(t *testing.T) { // 3.8.4-3
	s := newTestServer(t, nil)
	a, _ := s.open(t, wire.V5, "a", nil)
	b, _ := s.open(t, wire.V5, "b", nil)
	a.subscribeWith(&wire.SubscribePacket{SubID: 7, Filters: []wire.Subscription{{Filter: "t", QoS: 2}}})
	a.subscribeWith(&wire.SubscribePacket{Filters: []wire.Subscription{{Filter: "t", QoS: 1}}})
	b.publish(pub{topic: "t", payload: "x", qos: 2, id: 1})
	m := a.expectPublish()
	if m.qos != 1 || len(m.properties(t)[wire.PropSubscriptionID]) != 0 {
		t.Fatalf("%+v", m)
	}
}

func TestNoLocal(t *testing.T) { // 3.8.3-3
	s := newTestServer(t, nil)
	for _, qos := range []byte{0, 1} {
		a, _ := s.open(t, wire.V5, "a", nil)
		b, _ := s.open(t, wire.V5, "b", nil)
		a.subscribeWith(&wire.SubscribePacket{Filters: []wire.Subscription{{Filter: "t", NoLocal: true, QoS: qos}}})
		a.publish(pub{topic: "t", payload: "own"})
		a.ping()
		b.publish(pub{topic: "t", payload: "other"})
		if m := a.expectPublish(); m.payload != "other" {
			t.Fatalf("%+v", m)
		}
		// A filter without it lets the message through.
		a.subscribe(qos, "+")
		a.publish(pub{topic: "t", payload: "own"})
		if m := a.expectPublish(); m.payload != "own" {
			t.Fatalf("%+v", m)
		}
	}
}

func TestDollarTopicsAreHidden(t *testing.T) { // 4.7.2-1
	s := newTestServer(t, nil)
	for _, qos := range []byte{0, 1} {
		a, _ := s.open(t, wire.V311, "a", nil)
		b, _ := s.open(t, wire.V311, "b", nil)
		a.subscribe(qos, "#", "+/x")
		b.publish(pub{topic: "$aws/x", payload: "hidden", qos: 1, id: 1})
		b.publish(pub{topic: "y/x", payload: "seen"})
		if m := a.expectPublish(); m.payload != "seen" {
			t.Fatalf("%+v", m)
		}
		a.subscribe(qos, "$aws/#")
		b.publish(pub{topic: "$aws/x", payload: "asked for"})
		if m := a.expectPublish(); m.payload != "asked for" {
			t.Fatalf("%+v", m)
		}
	}
}

func TestRetainAsPublished(t *testing.T) { // 3.3.1-12, 3.3.1-13
	s := newTestServer(t, nil)
	a, _ := s.open(t, wire.V5, "a", nil)
	b, _ := s.open(t, wire.V5, "b", nil)
	a.subscribeWith(&wire.SubscribePacket{Filters: []wire.Subscription{{Filter: "keep", RetainAsPublished: true}, {Filter: "drop"}}})
	for topic, want := range map[string]bool{"keep": true, "drop": false} {
		b.publish(pub{topic: topic, payload: "x", retain: true})
		if m := a.expectPublish(); m.retain != want {
			t.Errorf("%+v", m)
		}
	}
}

// TestPropertiesAreForwarded unchanged and in order (3.3.2-4, -15 to -20),
// but for alias and expiry.
func TestPropertiesAreForwarded(t *testing.T) {
	s := newTestServer(t, nil)
	a, _ := s.open(t, wire.V5, "a", nil)
	b, _ := s.open(t, wire.V5, "b", nil)
	a.subscribe(0, "t")
	props := []byte("\x01\x01\x02\x00\x00\x00\x3c\x23\x00\x01")
	props = wire.AppendString(props, wire.PropContentType, "text/plain")
	props = wire.AppendString(props, wire.PropResponseTopic, "re/ply")
	props = wire.AppendString(props, wire.PropCorrelationData, "\x00\xff")
	for _, kv := range []string{"b", "a", "b"} {
		props = wire.AppendUser(props, kv, kv+"!")
	}
	b.publish(pub{topic: "t", payload: "x", props: props})
	b.publish(pub{topic: "", payload: "y", props: []byte("\x23\x00\x01")}) // By the alias.
	m := a.expectPublish()
	got := m.properties(t)
	if left := got[wire.PropMessageExpiry]; len(left) != 1 || wire.ReadUint32([]byte(left[0])) > 60 || wire.ReadUint32([]byte(left[0])) < 50 {
		t.Errorf("expiry %q", left)
	}
	if got[wire.PropTopicAlias] != nil || got[wire.PropContentType][0] != "text/plain" || got[wire.PropResponseTopic][0] != "re/ply" ||
		got[wire.PropCorrelationData][0] != "\x00\xff" || got[wire.PropPayloadFormat][0] != "\x01" {
		t.Errorf("%q", got)
	}
	var users []string
	wire.UserProperties(m.props, func(name, value []byte) { users = append(users, string(name)+string(value)) })
	if !slices.Equal(users, []string{"bb!", "aa!", "bb!"}) {
		t.Errorf("%q", users)
	}
	if m := a.expectPublish(); m.topic != "t" || m.payload != "y" {
		t.Errorf("%+v", m)
	}
}

func TestOutboundTopicAlias(t *testing.T) { // 3.1.2-26
	s := newTestServer(t, nil)
	a, _ := s.open(t, wire.V5, "a", func(p *wire.ConnectPacket) { p.TopicAliasMax = 1 })
	b, _ := s.open(t, wire.V5, "b", nil)
	a.subscribe(0, "#")
	for _, topic := range []string{"long/topic", "long/topic", "other/topic", "long/topic"} {
		b.publish(pub{topic: topic, payload: "x"})
	}
	var got []string
	for range 4 {
		m := a.expectPublish()
		alias := m.properties(t)[wire.PropTopicAlias]
		got = append(got, fmt.Sprintf("%s %q", m.topic, alias))
	}
	if want := []string{`long/topic ["\x00\x01"]`, ` ["\x00\x01"]`, `other/topic []`, ` ["\x00\x01"]`}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestReceiveMaximumOut sends no more than the client takes, and goes on with
// each acknowledgement (3.3.4-9, 4.9.0-1); ids of the client's own publishes are
// another space.
func TestReceiveMaximumOut(t *testing.T) {
	s := newTestServer(t, nil)
	a, _ := s.open(t, wire.V5, "a", func(p *wire.ConnectPacket) { p.ReceiveMaximum = 2 })
	b, _ := s.open(t, wire.V5, "b", nil)
	a.subscribe(2, "t")
	for i := range 6 {
		b.publish(pub{topic: "t", payload: fmt.Sprint(i), qos: 1 + byte(i)%2, id: uint16(i + 1)})
	}
	var held []pub
	for i := range 6 {
		if len(held) == 2 {
			a.ping() // Nothing but the answer comes.
			a.publish(pub{topic: "elsewhere", qos: 1, id: held[0].id})
			a.expectAck(wire.Puback, held[0].id)
			if held[0].qos == 1 {
				a.ack(wire.Puback, held[0].id)
			} else {
				a.ack(wire.Pubrec, held[0].id)
				a.expectAck(wire.Pubrel, held[0].id)
				a.ping()
				a.ack(wire.Pubcomp, held[0].id)
			}
			held = held[1:]
		}
		m := a.expectPublish()
		if m.payload != fmt.Sprint(i) {
			t.Fatalf("%+v, want %d", m, i)
		}
		held = append(held, m)
	}
}

func TestReceiveMaximumIn(t *testing.T) { // 3.3.4-7, 4.9.0-1
	s := newTestServer(t, func(o *Options, _ *core.Options) { o.ReceiveMaximum = 3 })
	c, ack := s.open(t, wire.V5, "c", nil)
	if ack.ReceiveMaximum != 3 {
		t.Fatal(ack.ReceiveMaximum)
	}
	for i := range 3 {
		c.publish(pub{topic: "t", qos: 2, id: uint16(i + 1)})
		c.expectAck(wire.Pubrec, uint16(i+1))
	}
	c.ack(wire.Pubrel, 1)
	c.expectAck(wire.Pubcomp, 1)
	c.publish(pub{topic: "t", qos: 2, id: 1})
	c.expectAck(wire.Pubrec, 1)
	c.publish(pub{topic: "t", qos: 2, id: 9})
	c.expectClosed(wire.ReceiveMaximumExceeded)
}

func TestMaximumPacketSizeOut(t *testing.T) { // 3.1.2-24, -25
	s := newTestServer(t, nil)
	for _, qos := range []byte{0, 1} {
		a, _ := s.open(t, wire.V5, "a", func(p *wire.ConnectPacket) { p.MaximumPacket = 100 })
		b, _ := s.open(t, wire.V5, "b", nil)
		a.subscribe(qos, "t")
		b.publish(pub{topic: "t", payload: strings.Repeat("x", 200), qos: 1, id: 1})
		b.publish(pub{topic: "t", payload: "fits"})
		if m := a.expectPublish(); m.payload != "fits" {
			t.Fatalf("%d bytes", len(m.payload))
		}
	}
}

// TestQoS2IsPublishedOnce however often the PUBLISH comes (4.3.3-10).
func TestQoS2IsPublishedOnce(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		s := newTestServer(t, nil)
		a, _ := s.open(t, v, "a", nil)
		b, _ := s.open(t, v, "b", nil)
		a.subscribe(0, "t")
		for i := range 3 {
			b.publish(pub{topic: "t", payload: "once", qos: 2, id: 5, dup: i > 0})
			b.expectAck(wire.Pubrec, 5)
		}
		b.ack(wire.Pubrel, 5)
		b.expectAck(wire.Pubcomp, 5)
		b.ack(wire.Pubrel, 5)
		want := wire.Success
		if v == wire.V5 {
			want = wire.PacketIDNotFound
		}
		if got := b.expectAck(wire.Pubcomp, 5); got != want {
			t.Errorf("a second PUBREL: %v", got)
		}
		b.publish(pub{topic: "t", payload: "twice", qos: 2, id: 5})
		b.expectAck(wire.Pubrec, 5)
		for _, want := range []string{"once", "twice"} {
			if m := a.expectPublish(); m.payload != want {
				t.Errorf("%+v, want %s", m, want)
			}
		}
	})
}

func TestReasonCodesOfPublish(t *testing.T) {
	s := newTestServer(t, func(o *Options, _ *core.Options) { o.KeepUnauthorized = true })
	limited := func(t *testing.T) (*rawClient, *rawClient) {
		user(t, s, "limited", auth.Permission{Configure: ".*", Write: ".*", Read: ".*"})
		if err := s.broker.SetTopicPermission("limited", "/", auth.TopicPermission{Exchange: "amq.topic", Write: `^{client_id}\.`, Read: `^{username}\.`}); err != nil {
			t.Fatal(err)
		}
		as := func(p *wire.ConnectPacket) {
			p.HasUser, p.User, p.HasPassword, p.Password = true, "limited", true, "pw"
		}
		c, _ := s.open(t, wire.V5, "me", as)
		d, _ := s.open(t, wire.V311, "old", as)
		return c, d
	}
	c, old := limited(t)
	c.publish(pub{topic: "me/x", qos: 1, id: 1})
	if got := c.expectAck(wire.Puback, 1); got != wire.NoMatchingSubscribers {
		t.Error(got)
	}
	for qos, typ := range map[byte]byte{1: wire.Puback, 2: wire.Pubrec} {
		c.publish(pub{topic: "other/x", qos: qos, id: 2})
		if got := c.expectAck(typ, 2); got != wire.NotAuthorized {
			t.Error(got)
		}
	}
	if got := c.subscribe(1, "limited/+", "other/+", "a+"); !slices.Equal(got, []wire.Code{1, wire.NotAuthorized, wire.TopicFilterInvalid}) {
		t.Error(got)
	}
	old.publish(pub{topic: "other/x", payload: "dropped"})
	old.ping()
	if got := old.subscribe(1, "other/+"); !slices.Equal(got, []wire.Code{wire.UnspecifiedError}) { // 3.9.3-2
		t.Error(got)
	}
	old.publish(pub{topic: "other/x", qos: 1, id: 3})
	old.expectClosed(0)
}

// user makes a user with the password pw.
func user(t testing.TB, s *testServer, name string, p auth.Permission) {
	t.Helper()
	hash, err := auth.HashPassword("pw", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.broker.PutUser(auth.User{Name: name, PasswordHash: hash}); err != nil {
		t.Fatal(err)
	}
	if err := s.broker.SetPermission(name, "/", p); err != nil {
		t.Fatal(err)
	}
}

func TestUnauthorizedIsDisconnected(t *testing.T) {
	s := newTestServer(t, nil)
	user(t, s, "none", auth.Permission{Configure: "^$", Write: "^$", Read: "^$"})
	as := func(p *wire.ConnectPacket) { p.HasUser, p.User, p.HasPassword, p.Password = true, "none", true, "pw" }
	for v := wire.V311; v <= wire.V5; v++ {
		c, _ := s.open(t, v, "a", as)
		c.publish(pub{topic: "x", qos: 1, id: 1})
		c.expectClosed(wire.NotAuthorized)
		c, _ = s.open(t, v, "b", as)
		if got := c.subscribe(0, "x"); !got[0].IsError() {
			t.Error(got)
		}
		c.expectClosed(wire.NotAuthorized)
	}
	c := s.dial(t)
	ack := c.connect(wire.V5, "w", func(p *wire.ConnectPacket) {
		as(p)
		p.Will = &wire.Will{Topic: "x", Payload: []byte("y")}
	})
	if ack.Code != wire.NotAuthorized {
		t.Error(ack.Code)
	}
}

func TestAnonymousIsSwitchedOff(t *testing.T) {
	s := newTestServer(t, func(o *Options, _ *core.Options) { o.NoAnonymous = true })
	if ack := s.dial(t).connect(wire.V5, "a", nil); ack.Code != wire.BadUserNameOrPassword {
		t.Error(ack.Code)
	}
}

// TestVHostByPort: a name before the user's wins, then the port's virtual host,
// then the default one. What is set counts for the next connection.
func TestVHostByPort(t *testing.T) {
	s := newTestServer(t, nil)
	for _, v := range []string{"devices", "named"} {
		if err := s.broker.PutVHost(core.VHostDef{Name: v}); err != nil {
			t.Fatal(err)
		}
		if err := s.broker.SetPermission("guest", v, auth.Permission{Configure: ".*", Write: ".*", Read: ".*"}); err != nil {
			t.Fatal(err)
		}
	}
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	as := func(user string) func(*wire.ConnectPacket) {
		return func(p *wire.ConnectPacket) {
			if user != "" {
				p.HasUser, p.User, p.HasPassword, p.Password = true, user, true, "guest"
			}
		}
	}
	for i, c := range []struct {
		mapping, user, want string // An empty want: refused.
	}{
		{"", "guest", "/"},
		{`{"` + port + `": "devices"}`, "guest", "devices"},
		{`{"` + port + `": "devices"}`, "", "devices"},
		{`{"` + port + `": "devices"}`, "named:guest", "named"},
		{`{"1": "devices"}`, "guest", "/"},
		{`{"1": 2, "` + port + `": "named"}`, "guest", "named"},
		{`{"` + port + `": 7}`, "guest", "/"},
		{`"nonsense"`, "guest", "/"},
		{`{"` + port + `": "gone"}`, "guest", ""},
		{`{"` + port + `": "gone"}`, "", ""},
	} {
		if c.mapping != "" {
			if err := s.broker.SetGlobal("mqtt_port_to_vhost_mapping", json.RawMessage(c.mapping)); err != nil {
				t.Fatal(err)
			}
		}
		k := s.dial(t)
		ack := k.connect(wire.V5, fmt.Sprint("c", i), as(c.user))
		if c.want == "" {
			if ack.Code != wire.BadUserNameOrPassword {
				t.Errorf("%+v: %v", c, ack.Code)
			}
			continue
		}
		in := ""
		for r := range s.broker.Registry().Rows(RowConnection) {
			if a := r.Attributes(); a["client_id"] == fmt.Sprint("c", i) {
				in = a["vhost"].(string)
			}
		}
		if ack.Code != wire.Success || in != c.want {
			t.Errorf("%+v: %v, in %q", c, ack.Code, in)
		}
	}
	if err := s.broker.ClearGlobal("mqtt_port_to_vhost_mapping"); err != nil {
		t.Fatal(err)
	}
}

// TestLargeMessages are gathered in memory of their own and sent by reference.
func TestLargeMessages(t *testing.T) {
	s := newTestServer(t, nil)
	for _, size := range []int{20 << 10, 63 << 10, 100 << 10, 3 << 20} {
		a, _ := s.open(t, wire.V5, "a", nil)
		a2, _ := s.open(t, wire.V311, "a2", nil)
		b, _ := s.open(t, wire.V5, "b", nil)
		a.subscribe(1, "t")
		a2.subscribe(0, "t")
		body := strings.Repeat("0123456789abcdef", size/16)
		b.publish(pub{topic: "t", payload: body, qos: 1, id: 1})
		b.expectAck(wire.Puback, 1)
		for _, c := range []*rawClient{a, a2} {
			if m := c.expectPublish(); m.payload != body {
				t.Fatalf("%d bytes arrive as %d", size, len(m.payload))
			}
		}
	}
}

func TestOperatorsSeeAndEndConnections(t *testing.T) {
	s := newTestServer(t, nil)
	c, _ := s.open(t, wire.V5, "seen", nil)
	c.subscribe(1, "x")
	var row *core.Row
	for r := range s.broker.Registry().Rows(RowConnection) {
		row = r
	}
	if row == nil {
		t.Fatal("no row")
	}
	a := row.Attributes()
	if a["protocol"] != "MQTT 5.0" || a["client_id"] != "seen" || a["user"] != "guest" || a["subscriptions"] != 1 {
		t.Errorf("%v", a)
	}
	row.Close("because")
	c.expectClosed(wire.AdministrativeAction)
}

func TestDeletedQueueEndsConnection(t *testing.T) {
	s := newTestServer(t, nil)
	c, _ := s.open(t, wire.V5, "c", func(p *wire.ConnectPacket) { p.SessionExpiry, p.HasSessionExpiry = 100, true })
	c.subscribe(1, "x")
	u, _ := s.broker.Auth().User("guest")
	op, err := s.broker.OpenSession(core.SessionOptions{VHost: "/", User: u, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	if _, err := op.DeleteQueue("mqtt-subscription-cqos1", false, false); err != nil {
		t.Fatal(err)
	}
	c.expectClosed(wire.AdministrativeAction)
}

// TestHalfOpenPeer sees a client that vanishes in the middle of a packet.
func TestHalfOpenPeer(t *testing.T) {
	s := newTestServer(t, nil)
	c, _ := s.open(t, wire.V311, "c", nil)
	c.send([]byte("\x30\xff\xff\x03half"))
	c.nc.(*net.TCPConn).CloseWrite()
	c.expectClosed(0)
}
