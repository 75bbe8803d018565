package mqtt

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// writeUntilStuck writes b again and again until the server takes no more, and
// returns how much it has taken.
func (c *rawClient) writeUntilStuck(b []byte, most int) (n int, stuck bool) {
	c.t.Helper()
	for n < most {
		c.nc.SetWriteDeadline(time.Now().Add(3 * time.Second))
		k, err := c.nc.Write(b)
		n += k
		if err != nil {
			if !isTimeout(err) {
				c.t.Fatal(err)
			}
			return n, true
		}
	}
	return n, false
}

// TestClientThatReadsNoAcks is not read from for ever: its answers would pile
// up. (PUBACKs cannot: there are no more than packet identifiers.)
func TestClientThatReadsNoAcks(t *testing.T) {
	s := newTestServer(t, nil)
	other, _ := s.open(t, wire.V5, "other", nil)
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"pings", bytes.Repeat([]byte{wire.Pingreq << 4, 0}, 32<<10)},
		{"releases", bytes.Repeat(wire.AppendAck(nil, wire.Pubrel, 7, 0, wire.V311), 16<<10)},
		{"unsubscriptions", bytes.Repeat(wire.AppendUnsubscribe(nil, &wire.UnsubscribePacket{ID: 1, Filters: []string{"x"}}, wire.V311), 8<<10)},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, _ := s.open(t, wire.V311, "mute", nil)
			if n, stuck := x.writeUntilStuck(c.b, 512<<20); !stuck {
				t.Errorf("%d bytes were taken", n)
			}
			x.nc.Close()
			other.ping()
		})
	}
}

// TestAnnouncedPacketsTakeNoMemory has many clients announce the largest packet
// there is and send a little of it.
func TestAnnouncedPacketsTakeNoMemory(t *testing.T) {
	s := newTestServer(t, nil)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	var all []*rawClient
	for i := range 50 {
		c, _ := s.open(t, wire.V311, fmt.Sprint("big", i), nil)
		c.send(append([]byte("\x30\xf0\xff\xff\x07\x00\x01t"), make([]byte, 1000)...))
		all = append(all, c)
	}
	waitFor(t, "the bytes to be read", func() bool { return s.broker.Memory().Live() > 0 })
	if after := heap(); after > before+50<<20 {
		t.Errorf("%d bytes of heap for 50 announcements", after-before)
	}
	for _, c := range all {
		c.nc.Close()
	}
	waitFor(t, "the memory to be given back", func() bool { return s.broker.Memory().Live() == 0 })
}

func TestDeepTopics(t *testing.T) {
	s := newTestServer(t, nil)
	deep := strings.Repeat("a/", 30000) + "a"
	c, _ := s.open(t, wire.V5, "c", nil)
	if got := c.subscribe(0, deep); got[0] != wire.TopicFilterInvalid {
		t.Error(got)
	}
	c.publish(pub{topic: deep})
	c.expectClosed(wire.TopicNameInvalid)
	c, _ = s.open(t, wire.V5, "c", nil)
	c.publish(pub{topic: strings.Repeat("x", 60000), payload: "long, but one level"})
	c.ping()
}

// TestManySubscriptions has one session of ten thousand filters work, and one
// with too many told so.
func TestManySubscriptions(t *testing.T) {
	s := newTestServer(t, func(o *Options, _ *core.Options) { o.MaxSubscriptions = 10_000 })
	c, _ := s.open(t, wire.V5, "c", nil)
	for i := range 10 {
		var filters []string
		for j := range 1000 {
			filters = append(filters, fmt.Sprintf("m/%d/+", i*1000+j))
		}
		if got := c.subscribe(1, filters...); got[0] != 1 {
			t.Fatal(got[0])
		}
	}
	if got := c.subscribe(1, "one/more"); got[0] != wire.QuotaExceeded {
		t.Error(got)
	}
	p, _ := s.open(t, wire.V5, "p", nil)
	p.publish(pub{topic: "m/7777/x", payload: "x", qos: 1, id: 1})
	if m := c.expectPublish(); m.topic != "m/7777/x" || m.qos != 1 {
		t.Errorf("%+v", m)
	}
}

// TestSlowSubscriber keeps nobody else waiting: what it does not read stays in
// its queue, or is dropped at QoS 0.
func TestSlowSubscriber(t *testing.T) {
	for _, qos := range []byte{0, 1} {
		t.Run(fmt.Sprint("qos", qos), func(t *testing.T) {
			s := newTestServer(t, nil)
			slow, _ := s.open(t, wire.V311, "slow", nil)
			slow.subscribe(qos, "t")
			fast, _ := s.open(t, wire.V311, "fast", nil)
			fast.subscribe(1, "t")
			p, _ := s.open(t, wire.V311, "p", nil)
			body := strings.Repeat("x", 10000)
			const n = 2000
			go func() {
				for i := range n {
					p.publish(pub{topic: "t", payload: body, qos: 1, id: uint16(i + 1)})
				}
			}()
			go io.Copy(io.Discard, p.nc)
			for range n {
				m := fast.expectPublish()
				fast.ack(wire.Puback, m.id)
			}
		})
	}
}

// TestFloodOfSlowSubscriber: publishers that send all they have to one that reads
// nothing are hardly kept waiting, and those who read get what is theirs.
func TestFloodOfSlowSubscriber(t *testing.T) {
	s := newTestServer(t, nil)
	slow, _ := s.open(t, wire.V311, "slow", nil)
	slow.subscribe(0, "slow")
	fast, _ := s.open(t, wire.V311, "fast", nil)
	fast.subscribe(1, "fast")
	const n, each = 4, 100_000
	for i := range n {
		p, _ := s.open(t, wire.V311, fmt.Sprint("p", i), nil)
		go func() { // Ends with the test at the latest.
			p.nc.Write(bytes.Repeat(pub{topic: "slow", payload: strings.Repeat("x", 100)}.bytes(wire.V311), each))
			p.nc.Write(pub{topic: "fast", payload: "done", qos: 1, id: 1}.bytes(wire.V311))
		}()
	}
	for range n {
		m := fast.expectPublish()
		fast.ack(wire.Puback, m.id)
	}
}
