package mqtt

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"leveret/adapters/mqtt/wire"
)

var modelSeed = flag.Uint64("model.seed", 0, "run TestModel with this seed only")

// modelClient is what a session ought to be, slow and obvious: what is
// subscribed, and what is on its way to the client, in order.
type modelClient struct {
	*rawClient
	name    string
	version byte
	subs    map[string]byte
	queue   []modelMessage // Due and not seen by the client yet.
	open    []modelMessage // Seen, not acknowledged; with their identifiers.
	nextOut uint16
}

type modelMessage struct {
	topic, payload string
	qos            byte
	id             uint16
	released       bool
}

// matches is topic matching, word by word.
func matches(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && (filter[0] == '+' || filter[0] == '#') {
		return false
	}
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, w := range f {
		if w == "#" {
			return true
		}
		if i >= len(t) || w != "+" && w != t[i] {
			return false
		}
	}
	return len(f) == len(t)
}

// TestModel runs random sequences of operations by several clients against the
// server and against the model: subscribe, unsubscribe, publish at each QoS,
// acknowledge or not, disappear, come back, and malformed packets in between.
// What arrives must be what the model says, each message once, in order, with
// DUP and the old identifiers after a reconnect.
func TestModel(t *testing.T) {
	seeds := []uint64{*modelSeed}
	if *modelSeed == 0 {
		seeds = nil
		for range 8 {
			seeds = append(seeds, rand.Uint64())
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runModel(t, seed) })
	}
}

var (
	modelTopics  = []string{"a", "a/b", "a/b/c", "b", "$s/a", "a//b"}
	modelFilters = []string{"a", "a/b", "a/+", "+/b", "#", "a/#", "+", "$s/#", "+/+/b"}
	modelBad     = []string{"\x00\x00", "\x36\x00", "\x80\x00", "\x20\x02\x00\x00", "\x32\x03\x00\x01a", "\x30\x02\x00\x00", "\x30\x03\x00\x01#"}
)

func runModel(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	s := newTestServer(t, nil)
	clients := make([]*modelClient, 3)
	for i := range clients {
		clients[i] = &modelClient{name: fmt.Sprint("m", i), version: []byte{wire.V311, wire.V5, wire.V31}[i], subs: map[string]byte{}}
		clients[i].connect(t, s)
	}
	for step := range 150 {
		c := clients[r.IntN(len(clients))]
		switch r.IntN(10) {
		case 0, 1:
			f, qos := modelFilters[r.IntN(len(modelFilters))], byte(1+r.IntN(2))
			if got := c.subscribeModel(qos, f); got != qos {
				t.Fatalf("step %d: granted %d", step, got)
			}
			c.subs[f] = qos
		case 2:
			f := modelFilters[r.IntN(len(modelFilters))]
			c.drain()
			c.unsubscribe(f)
			delete(c.subs, f)
		case 3:
			c.vanish(s)
			c.connect(t, s)
		case 4:
			c.send([]byte(modelBad[r.IntN(len(modelBad))]))
			c.gone(s)
			c.connect(t, s)
		default:
			m := modelMessage{topic: modelTopics[r.IntN(len(modelTopics))], payload: fmt.Sprint(step), qos: byte(1 + r.IntN(2))}
			for _, to := range clients {
				granted := byte(0)
				for f, q := range to.subs {
					if matches(f, m.topic) {
						granted = max(granted, q)
					}
				}
				if granted > 0 {
					m := m
					m.qos = min(m.qos, granted)
					to.queue = append(to.queue, m)
				}
			}
			c.publishModel(m, r.IntN(3) == 0)
		}
		for _, x := range clients {
			x.drain()
			x.acknowledge(r)
		}
	}
}

func (c *modelClient) connect(t *testing.T, s *testServer) {
	c.rawClient, _ = s.open(t, c.version, c.name, lasting)
	// What was not acknowledged comes again, in order.
	for i := range c.open {
		m := &c.open[i]
		p := c.next()
		if m.released {
			if p.h.Type() != wire.Pubrel || uint16(p.body[0])<<8|uint16(p.body[1]) != m.id {
				t.Fatalf("%s: %v instead of PUBREL %d", c.name, p, m.id)
			}
			continue
		}
		if p.h.Type() != wire.Publish {
			t.Fatalf("%s: %v instead of %+v", c.name, p, *m)
		}
		got := c.parse(p)
		if !got.dup || got.id != m.id || got.payload != m.payload || got.qos != m.qos {
			t.Fatalf("%s: %+v again, want %+v", c.name, got, *m)
		}
	}
	c.drain()
}

// vanish drops the connection and waits until the server knows.
func (c *modelClient) vanish(s *testServer) {
	c.drain()
	c.drop(s)
}

// gone waits for the server to have ended the connection.
func (c *modelClient) gone(s *testServer) {
	for {
		p, err := c.read()
		if err != nil {
			break
		}
		if p.h.Type() == wire.Publish {
			c.take(c.parse(p))
		}
	}
	c.nc.Close()
	waitFor(c.t, "the end of the connection", func() bool {
		v, _ := s.broker.VHost("/")
		for i := range v.Clients() {
			if i.ID == c.name {
				return i.Attached == nil
			}
		}
		return true
	})
}

// drain takes what is due.
func (c *modelClient) drain() {
	c.t.Helper()
	for len(c.queue) > 0 {
		c.take(c.parse(c.expect(wire.Publish)))
	}
}

func (c *modelClient) take(got pub) {
	c.t.Helper()
	if len(c.queue) == 0 {
		c.t.Fatalf("%s: %+v, nothing is due", c.name, got)
	}
	want := c.queue[0]
	if got.topic != want.topic || got.payload != want.payload || got.qos != want.qos || got.dup {
		c.t.Fatalf("%s: %+v, want %+v", c.name, got, want)
	}
	want.id = got.id
	if slices.ContainsFunc(c.open, func(m modelMessage) bool { return m.id == want.id }) {
		c.t.Fatalf("%s: identifier %d is in use", c.name, want.id)
	}
	c.queue, c.open = c.queue[1:], append(c.open, want)
}

// acknowledge moves some flows on.
func (c *modelClient) acknowledge(r *rand.Rand) {
	c.t.Helper()
	kept := c.open[:0]
	for _, m := range c.open {
		switch {
		case len(c.open) < 100 && r.IntN(2) == 0:
			kept = append(kept, m)
		case m.qos == 1:
			c.ack(wire.Puback, m.id)
		case m.released:
			c.ack(wire.Pubcomp, m.id)
		default:
			c.ack(wire.Pubrec, m.id)
			c.expectAck(wire.Pubrel, m.id)
			m.released = true
			kept = append(kept, m)
		}
	}
	c.open = kept
	c.ping()
}

func (c *modelClient) subscribeModel(qos byte, filter string) byte {
	c.t.Helper()
	return byte(c.subscribeWith(&wire.SubscribePacket{Filters: []wire.Subscription{{Filter: filter, QoS: qos, RetainHandling: 2 * (c.version / 5)}}})[0])
}

// publishModel publishes, for QoS 2 perhaps with its PUBLISH sent twice, and
// brings the flow to its end. Its own copy may come in between.
func (c *modelClient) publishModel(m modelMessage, twice bool) {
	c.t.Helper()
	c.nextOut++
	p := pub{topic: m.topic, payload: m.payload, qos: m.qos, id: c.nextOut}
	c.publish(p)
	typ := wire.Puback
	if m.qos == 2 {
		typ = wire.Pubrec
	}
	wait := func(typ byte) {
		for {
			x := c.next()
			if x.h.Type() == wire.Publish {
				c.take(c.parse(x)) // Its own.
				continue
			}
			id, code, err := wire.ParseAck(x.h.Type(), x.body, c.version)
			if x.h.Type() != typ || err != nil || id != p.id || code.IsError() {
				c.t.Fatalf("%s: %v instead of %s %d", c.name, x, wire.TypeName(typ), p.id)
			}
			return
		}
	}
	wait(typ)
	if m.qos == 2 {
		if twice {
			p.dup = true
			c.publish(p)
			wait(wire.Pubrec)
		}
		c.ack(wire.Pubrel, p.id)
		wait(wire.Pubcomp)
	}
}
