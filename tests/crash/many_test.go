package crash

import (
	"encoding/binary"
	"fmt"
	"net"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/adapters/amqp/wire"
	"leveret/tests/internal/brokertest"
)

// raw is a connection that does what a client library would, only faster, with
// channel 1 in confirm mode.
type raw struct {
	net.Conn
	buf []byte
	n   int // Bytes of buf that are taken.
}

func dialRaw(b *brokertest.Broker) (*raw, error) {
	nc, err := net.DialTimeout("tcp", b.AMQP, patience)
	if err != nil {
		return nil, err
	}
	c := &raw{Conn: nc}
	nc.SetDeadline(time.Now().Add(2 * patience))
	out := []byte(wire.ProtocolHeader)
	out = wire.AppendMethod(out, 0, &wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest"), Locale: "en_US"})
	out = wire.AppendMethod(out, 0, &wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072})
	out = wire.AppendMethod(out, 0, &wire.ConnectionOpen{VirtualHost: "/"})
	out = wire.AppendMethod(out, 1, &wire.ChannelOpen{})
	out = wire.AppendMethod(out, 1, &wire.ConfirmSelect{})
	if _, err := nc.Write(out); err != nil {
		return nil, err
	}
	for {
		f, err := c.frame()
		if err != nil {
			return nil, fmt.Errorf("log in: %w", err)
		}
		if m, err := wire.DecodeMethod(f.Payload); err != nil {
			return nil, err
		} else if _, ok := m.(*wire.ConfirmSelectOk); ok {
			return c, nil
		}
	}
}

// frame returns the next frame, good until the next call.
func (c *raw) frame() (wire.Frame, error) {
	for {
		f, n, err := wire.ParseFrame(c.buf[c.n:], 1<<20)
		if err != nil || n > 0 {
			c.n += n
			return f, err
		}
		rest := copy(c.buf, c.buf[c.n:])
		c.buf, c.n = c.buf[:rest], 0
		if cap(c.buf)-rest < 64<<10 {
			c.buf = append(make([]byte, 0, 2*cap(c.buf)+128<<10), c.buf...)
		}
		m, err := c.Read(c.buf[rest:cap(c.buf)])
		if err != nil {
			return f, err
		}
		c.buf = c.buf[:rest+m]
	}
}

// publish sends n messages of size bytes, numbered from from, and returns when
// all are confirmed; at most ahead are outstanding.
func (c *raw) publish(q string, from, n, size, ahead int) error {
	props := wire.AppendProperties(nil, &wire.Properties{DeliveryMode: 2})
	body := make([]byte, size)
	sent, confirmed := 0, 0
	done, through := make([]bool, n+1), 0 // By tag; all up to through are done.
	var out []byte
	for confirmed < n {
		out = out[:0]
		for sent < n && sent-confirmed < ahead {
			binary.LittleEndian.PutUint64(body, uint64(from+sent))
			out = wire.AppendPublish(out, 1, "", q, false, props, body, 131072)
			sent++
		}
		c.SetDeadline(time.Now().Add(2 * patience))
		if _, err := c.Write(out); err != nil {
			return err
		}
		for want := confirmed + max(1, (sent-confirmed)/2); confirmed < want; {
			f, err := c.frame()
			if err != nil {
				return err
			}
			if f.Type == wire.FrameHeartbeat {
				continue
			}
			m, err := wire.DecodeMethod(f.Payload)
			if err != nil {
				return err
			}
			ack, ok := m.(*wire.BasicAck)
			if !ok {
				return fmt.Errorf("%T comes instead of a confirm", m)
			}
			tag := int(ack.DeliveryTag)
			first := tag
			if ack.Multiple {
				first = through + 1
				through = max(through, tag)
			}
			for ; first <= tag; first++ {
				if !done[first] {
					done[first] = true
					confirmed++
				}
			}
		}
	}
	return nil
}

// TestMany has a long queue survive: its memory is bounded, the next broker is
// ready at once, and drains it in order.
func TestMany(t *testing.T) {
	n, ready := 100_000, 5*time.Second // The machine may be busy with other tests.
	if lasts > 0 {
		n, ready = 1_000_000, time.Second
	}
	const size, rssMax = 1024, 150 << 20
	p := newPlace(t)
	b := p.start()
	ch := p.channel(b)
	p.queue(ch, "q")
	p.queue(ch, "other")
	c, err := dialRaw(b)
	p.must(err)
	began := time.Now()
	p.must(c.publish("q", 0, n, size, 1000))
	took := time.Since(began)
	rss, err := b.PeakRSS()
	p.must(err)
	t.Logf("%d confirmed at %.0f/s by one publisher with 1000 outstanding, %d MiB resident at most", n, float64(n)/took.Seconds(), rss>>20)
	if rss > rssMax {
		t.Errorf("%d MiB were resident with %d messages of %d bytes waiting, the limit is %d", rss>>20, n, size, rssMax>>20)
	}
	c.Close()
	b.Kill()

	// Ready means: a publish to another queue is confirmed.
	var first time.Duration
	for range 3 {
		b = p.start()
		c, err = dialRaw(b)
		p.must(err)
		p.must(c.publish("other", 0, 1, size, 1))
		first = time.Since(b.Started())
		t.Logf("first confirm %v after exec", first.Round(time.Millisecond))
		c.Close()
		if first < ready {
			break
		}
		b.Kill()
	}
	if first > ready {
		t.Errorf("the first confirm comes %v after exec, the limit is %v", first, ready)
	}

	ch = p.channel(b)
	if got := p.depth(ch, "q"); got != n {
		t.Fatalf("%d messages are there, want %d", got, n)
	}
	p.must(ch.Qos(2000, 0, false))
	in, err := ch.Consume("q", "", false, false, false, false, nil)
	p.must(err)
	began = time.Now()
	timer := time.NewTimer(10 * patience)
	defer timer.Stop()
	for i := range n {
		var d amqp.Delivery
		select {
		case d = <-in:
		case <-timer.C:
			t.Fatalf("%d of %d messages come", i, n)
		}
		if len(d.Body) != size || binary.LittleEndian.Uint64(d.Body) != uint64(i) {
			t.Fatalf("message %d is %d bytes, number %d", i, len(d.Body), binary.LittleEndian.Uint64(append(d.Body, make([]byte, 8)...)))
		}
		if i%500 == 499 || i == n-1 {
			p.must(d.Ack(true))
		}
	}
	took = time.Since(began)
	if rss, err = b.PeakRSS(); err != nil {
		t.Fatal(err)
	}
	t.Logf("drained at %.0f/s, %d MiB resident at most", float64(n)/took.Seconds(), rss>>20)
	if rss > rssMax {
		t.Errorf("%d MiB were resident while draining, the limit is %d", rss>>20, rssMax>>20)
	}
	if got := p.depth(ch, "q"); got != 0 {
		t.Errorf("%d messages are left", got)
	}
}
