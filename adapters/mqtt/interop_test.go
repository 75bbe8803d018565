package mqtt

import (
	"testing"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// TestPropertyMapping is RabbitMQ's table of MQTT 5 and AMQP 0-9-1 properties.
func TestPropertyMapping(t *testing.T) {
	props := wire.AppendString(nil, wire.PropContentType, "text/plain")
	props = wire.AppendString(props, wire.PropResponseTopic, "re/ply")
	props = wire.AppendString(props, wire.PropCorrelationData, "c1")
	for _, kv := range [][2]string{{"b", "2"}, {"a", "1"}, {"b", "3"}} {
		props = wire.AppendUser(props, kv[0], kv[1])
	}
	enc := append([]byte{1 | flagExpiry, 0, 0, 0, 9}, props...)
	p, err := propertyCodec{}.DecodeProperties(enc)
	if err != nil {
		t.Fatal(err)
	}
	if p.DeliveryMode != 2 || p.ContentType != "text/plain" || *p.CorrelationID != "c1" || *p.Expiration != "9000" {
		t.Errorf("%+v", p)
	}
	want := core.Table{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}, {Name: headerReplyTo, Value: "re.ply"}}
	if len(p.Headers) != len(want) {
		t.Fatalf("%v", p.Headers)
	}
	for i := range want {
		if p.Headers[i] != want[i] {
			t.Errorf("%v, want %v", p.Headers[i], want[i])
		}
	}
	if p, _ = (propertyCodec{}).DecodeProperties(append([]byte{0}, wire.AppendString(nil, wire.PropCorrelationData, "\xff")...)); p.CorrelationID != nil {
		t.Error("binary correlation data is no correlation-id")
	} else if v, _ := p.Headers.Get(headerCorrelation); string(v.([]byte)) != "\xff" {
		t.Errorf("%v", p.Headers)
	}

	id, ms := "c2", "1500"
	e := splitEncoded(propertyCodec{}.AppendProperties(nil, &core.Properties{
		DeliveryMode: 2, ContentType: "x/y", ContentTypeSet: true, CorrelationID: &id, Expiration: &ms,
		Headers: core.Table{
			{Name: "s", Value: "text"}, {Name: "n", Value: int32(-5)}, {Name: "t", Value: true}, {Name: "f", Value: 1.5}, {Name: "v"},
			{Name: "table", Value: core.Table{}}, {Name: "list", Value: []any{"x"}}, {Name: "bytes", Value: []byte{0xff}},
			{Name: headerReplyTo, Value: "a.b"},
		},
	}))
	if e.flags != 1|flagExpiry || e.expiry != 2 {
		t.Errorf("%+v", e)
	}
	parsed, err := wire.ParsePublishProps(e.props, false)
	if err != nil || string(parsed.ContentType) != "x/y" || string(parsed.Correlation) != "c2" || string(parsed.ResponseTopic) != "a/b" {
		t.Errorf("%+v %v", parsed, err)
	}
	var users []string
	wire.UserProperties(e.props, func(name, value []byte) { users = append(users, string(name)+"="+string(value)) })
	if got := len(users); got != 5 || users[0] != "s=text" || users[1] != "n=-5" || users[2] != "t=true" || users[3] != "f=1.5" || users[4] != "v=" {
		t.Errorf("%q", users)
	}
}

// nobody takes completions nobody waits for.
type nobody struct{}

func (nobody) Completed(uint64, uint64, core.Kind) {}

// TestInterop passes messages between MQTT and a session of core that stands for
// another protocol, through queues and the exchange.
func TestInterop(t *testing.T) {
	s := newTestServer(t, nil)
	u, _ := s.broker.Auth().User("guest")
	other, err := s.broker.OpenSession(core.SessionOptions{VHost: "/", User: u, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true}); err != nil {
		t.Fatal(err)
	}
	if err := other.Bind(core.Binding{Source: "amq.topic", Destination: "q", Key: "dev.*.temp"}); err != nil {
		t.Fatal(err)
	}
	c, _ := s.open(t, wire.V5, "c", nil)
	c.publish(pub{topic: "dev/7/temp", payload: "21", qos: 1, id: 1, props: wire.AppendUser(nil, "unit", "C")})
	if got := c.expectAck(wire.Puback, 1); got != wire.Success {
		t.Fatal(got)
	}
	ok, err := other.Get("q", true, func(_ *core.Holder, d *core.Delivery, _ int) {
		p := d.Message.Properties()
		unit, _ := p.Headers.Get("unit")
		if d.Message.RoutingKey != "dev.7.temp" || string(d.Message.Body) != "21" || p.DeliveryMode != 2 || unit != "C" {
			t.Errorf("%+v %+v", d.Message, p)
		}
	})
	if !ok || err != nil {
		t.Fatal(ok, err)
	}

	send := func(key string, props *core.Properties) {
		t.Helper()
		p := other.NewPublisher(nobody{})
		target, err := p.Target("amq.topic")
		if err != nil {
			t.Fatal(err)
		}
		ms := make([]core.Publication, 1)
		ms[0].Reset()
		ms[0].RoutingKey, ms[0].Body = key, []byte("from "+key)
		ms[0].SetProperties(props)
		if _, err := p.Route(target, &ms[0]); err != nil {
			t.Fatal(err)
		}
		var touched core.Touched
		p.Publish(ms, &touched)
		touched.Flush()
	}
	for _, qos := range []byte{0, 1} {
		a, _ := s.open(t, wire.V5, "a", nil)
		a.subscribe(qos, "cmd/#")
		send("cmd.*", &core.Properties{DeliveryMode: 2}) // No topic name in MQTT: not delivered.
		send("cmd.go", &core.Properties{DeliveryMode: 2, ContentType: "x/y", ContentTypeSet: true})
		m := a.expectPublish()
		if m.topic != "cmd/go" || m.payload != "from cmd.go" || m.qos != qos || m.properties(t)[wire.PropContentType][0] != "x/y" {
			t.Errorf("%+v", m)
		}
	}

	// An offline session is filled, too, and a will goes to a queue.
	a, _ := s.open(t, wire.V311, "away", lasting)
	a.subscribe(1, "cmd/#")
	a.drop(s)
	send("cmd.later", &core.Properties{DeliveryMode: 2})
	a, _ = s.open(t, wire.V311, "away", lasting)
	if m := a.expectPublish(); m.topic != "cmd/later" || m.qos != 1 {
		t.Errorf("%+v", m)
	}
	w, _ := s.open(t, wire.V311, "w", func(p *wire.ConnectPacket) {
		p.Will = &wire.Will{Topic: "dev/w/temp", Payload: []byte("gone")}
	})
	w.nc.Close()
	waitFor(t, "the will", func() bool {
		ok, _ := other.Get("q", true, func(_ *core.Holder, d *core.Delivery, _ int) {
			if string(d.Message.Body) != "gone" {
				t.Errorf("%s", d.Message.Body)
			}
		})
		return ok
	})
}

// TestEveryKindHasCode holds the table of codes against core.
func TestEveryKindHasCode(t *testing.T) {
	for _, k := range core.Kinds() {
		if code, ok := codes[k]; !ok || !code.IsError() {
			t.Errorf("%v: %v", k, code)
		}
	}
}
