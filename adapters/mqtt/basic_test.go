package mqtt

import (
	"fmt"
	"strings"
	"testing"

	"leveret/adapters/mqtt/wire"
)

var versions = map[string]byte{"3.1": wire.V31, "3.1.1": wire.V311, "5": wire.V5}

// each runs a test for each version of the protocol.
func each(t *testing.T, f func(t *testing.T, version byte)) {
	for name, v := range versions {
		t.Run(name, func(t *testing.T) { f(t, v) })
	}
}

func TestPublishReachesSubscriber(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		s := newTestServer(t, nil)
		for sub := range byte(3) {
			for qos := range byte(3) {
				t.Run(fmt.Sprintf("sub%d/pub%d", sub, qos), func(t *testing.T) {
					a, _ := s.open(t, v, "a", nil)
					b, _ := s.open(t, v, "b", nil)
					if got := a.subscribe(sub, "x/+/z"); got[0] != wire.Code(sub) {
						t.Fatal(got)
					}
					b.publish(pub{topic: "x/y/z", payload: "hello", qos: qos, id: 7})
					switch qos {
					case 1:
						b.expectAck(wire.Puback, 7)
					case 2:
						b.expectAck(wire.Pubrec, 7)
						b.ack(wire.Pubrel, 7)
						b.expectAck(wire.Pubcomp, 7)
					}
					m := a.expectPublish()
					if m.topic != "x/y/z" || m.payload != "hello" || m.qos != min(sub, qos) || m.dup || m.retain {
						t.Fatalf("%+v", m)
					}
					switch m.qos {
					case 1:
						a.ack(wire.Puback, m.id)
					case 2:
						a.ack(wire.Pubrec, m.id)
						a.expectAck(wire.Pubrel, m.id)
						a.ack(wire.Pubcomp, m.id)
					}
					a.ping()
					b.ping()
				})
			}
		}
	})
}

func TestPipelinedPublishesAreAcknowledgedInOrder(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		s := newTestServer(t, nil)
		a, _ := s.open(t, v, "a", nil)
		b, _ := s.open(t, v, "b", nil)
		a.subscribe(1, "t")
		const n = 1000
		go func() {
			for i := range n {
				b.publish(pub{topic: "t", payload: strings.Repeat("x", i), qos: 1, id: uint16(i + 1)})
			}
		}()
		for i := range n {
			b.expectAck(wire.Puback, uint16(i+1))
		}
		for i := range n {
			m := a.expectPublish()
			if len(m.payload) != i {
				t.Fatalf("message %d has %d bytes", i, len(m.payload))
			}
			a.ack(wire.Puback, m.id)
		}
	})
}
