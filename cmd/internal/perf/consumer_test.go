package perf

import (
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// newTestConsumer has two queues and a connection that swallows what is sent.
func newTestConsumer(t testing.TB) *consumer {
	ours, theirs := net.Pipe()
	go io.Copy(io.Discard, theirs) // Ends when ours is closed.
	t.Cleanup(func() { ours.Close() })
	c := &consumer{
		conn: &conn{nc: ours, frameMax: 4096, blocked: new(blockMeter)}, measured: new(atomic.Int64),
		stamped: true, size: -1, ackEvery: 1, ready: func() {},
	}
	c.verify = []verifier{{ledger: new(ledger), anyRun: true}, {ledger: new(ledger), anyRun: true}}
	return c
}

// feed parses input in pieces of n bytes.
func (c *consumer) feed(input []byte, n int) error {
	c.conn.in = frameReader{}
	c.conn.in.grow(8192)
	for len(input) > 0 && !c.closed {
		piece := input[:min(n, len(input))]
		if err := c.conn.in.fill(&oneRead{piece}); err != nil {
			return err
		}
		input = input[len(piece):]
		if err := c.parse(); err != nil {
			return err
		}
	}
	return nil
}

// oneRead hands out its bytes in one read.
type oneRead struct{ b []byte }

func (r *oneRead) Read(p []byte) (int, error) {
	n := copy(p, r.b)
	r.b = r.b[n:]
	return n, nil
}

func deliverFrames(tag string, delivery uint64, bodies ...[]byte) []byte {
	b := appendMethod(nil, channelID, basicDeliver, tag, delivery, byte(0), "x", "some.key")
	size := 0
	for _, body := range bodies {
		size += len(body)
	}
	h := len(b)
	b = appendFrameHead(b, frameHeader, channelID)
	b = append(b, 0, 60, 0, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(size))
	b = endFrame(append(b, 0x10, 0, 2), h)
	for _, body := range bodies {
		start := len(b)
		b = append(appendFrameHead(b, frameBody, channelID), body...)
		b = endFrame(b, start)
	}
	return b
}

func stampedBody(n uint64, size int) []byte {
	b := make([]byte, size)
	binary.BigEndian.PutUint64(b, n)
	binary.BigEndian.PutUint64(b[8:], 7<<48)
	return b
}

func testDeliveries() []byte {
	var in []byte
	in = append(in, deliverFrames("0", 1, stampedBody(0, 128))...)
	in = append(in, frameHeartbeat, 0, 0, 0, 0, 0, 0, frameEnd)
	in = append(in, deliverFrames("1", 2, stampedBody(0, 16))...)
	in = append(in, deliverFrames("0", 3, stampedBody(1, 40)[:10], stampedBody(1, 40)[10:])...)
	in = append(in, deliverFrames("0", 4, stampedBody(2, 3000), make([]byte, 4000), nil, make([]byte, 5))...)
	in = append(in, deliverFrames("0", 5)...)
	in = append(in, deliverFrames("0", 6, stampedBody(3, 128))...)
	return in
}

func TestDeliveriesInPieces(t *testing.T) {
	in := testDeliveries()
	for _, n := range []int{1, 2, 3, 7, 8, 20, 64, 127, 1000, 8192} {
		c := newTestConsumer(t)
		if err := c.feed(in, n); err != nil {
			t.Fatalf("in pieces of %d: %v", n, err)
		}
		if c.got != 6 || c.verify[0].ledger.distinct() != 4 || c.verify[1].ledger.distinct() != 1 {
			t.Errorf("in pieces of %d: %d deliveries, distinct %d and %d", n, c.got, c.verify[0].ledger.distinct(), c.verify[1].ledger.distinct())
		}
		if len(c.acks) != 6*21 || c.lastTag != 6 {
			t.Errorf("in pieces of %d: %d bytes of acks, last tag %d", n, len(c.acks), c.lastTag)
		}
	}
}

// FuzzConsumer feeds anything to a consumer, in two ways of splitting: it must
// neither panic nor hang, and see the same in both.
func FuzzConsumer(f *testing.F) {
	f.Add(testDeliveries(), uint8(5))
	f.Add(appendMethod(nil, channelID, channelClose, uint16(404), "NOT_FOUND", uint32(0)), uint8(1))
	f.Add(appendMethod(nil, 0, connectionBlocked, "low on memory"), uint8(3))
	f.Add(deliverFrames("9", 1, stampedBody(0, 20)), uint8(50))
	f.Fuzz(func(t *testing.T, in []byte, n uint8) {
		a, b := newTestConsumer(t), newTestConsumer(t)
		errA := a.feed(in, 1<<20)
		errB := b.feed(in, 1+int(n))
		if (errA == nil) != (errB == nil) || a.got != b.got || a.lastTag != b.lastTag {
			t.Errorf("whole: %d deliveries, %v; in pieces of %d: %d, %v", a.got, errA, 1+int(n), b.got, errB)
		}
	})
}

func FuzzStringField(f *testing.F) {
	f.Add(appendValue(nil, table{{"product", "x"}, {"capabilities", table{{"a", true}}}, {"n", int64(5)}})[4:])
	f.Fuzz(func(t *testing.T, in []byte) {
		if v := stringField(in, "product"); len(v) > len(in) {
			t.Error("longer than its table")
		}
	})
}

func TestNoAllocationPerMessage(t *testing.T) {
	c := newTestConsumer(t)
	c.conn.in.grow(64 << 10)
	var in []byte
	for i := range uint64(100) {
		in = append(in, deliverFrames("0", i+1, stampedBody(i, 128))...)
	}
	n := uint64(0)
	read := oneRead{}
	run := func() {
		// The same frames again and again, with the numbers going on.
		for i := range 100 {
			at := len(in) / 100 * i
			body := len(in)/100 - 1 - 128
			binary.BigEndian.PutUint64(in[at+body:], n)
			n++
		}
		read.b = in
		if err := c.conn.in.fill(&read); err != nil {
			t.Fatal(err)
		}
		if err := c.parse(); err != nil {
			t.Fatal(err)
		}
		c.acks = c.acks[:0]
	}
	if allocs := testing.AllocsPerRun(100, run); allocs != 0 {
		t.Errorf("consuming 100 messages allocates %v times", allocs)
	}
	if c.verify[0].faults != (faults{}) || c.verify[0].ledger.distinct() != n {
		t.Errorf("of %d messages %d arrived, %+v", n, c.verify[0].ledger.distinct(), c.verify[0].faults)
	}

	for _, line := range []string{"", "--confirm=1000", "--exchange-type=topic --bindings=50"} {
		o, err := parseOptions(t, line)
		if err != nil {
			t.Fatal(err)
		}
		topo, err := newTopology(o)
		if err != nil {
			t.Fatal(err)
		}
		p := newProducer(0, c.conn, o, topo, 1<<48, newClock())
		p.measured = new(atomic.Int64)
		tag := uint64(0)
		publish := func() {
			if err := p.publish(p.slots); err != nil {
				t.Fatal(err)
			}
			tag += uint64(p.slots)
			if p.window > 0 {
				if err := p.confirmLocked(tag, true, false, p.clock.now()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if allocs := testing.AllocsPerRun(100, publish); allocs != 0 {
			t.Errorf("%q: publishing %d messages allocates %v times", line, p.slots, allocs)
		}
	}
}

func TestConfirmsInAnyOrder(t *testing.T) {
	c := newTestConsumer(t)
	o, err := parseOptions(t, "--confirm=8")
	if err != nil {
		t.Fatal(err)
	}
	topo, err := newTopology(o)
	if err != nil {
		t.Fatal(err)
	}
	p := newProducer(0, c.conn, o, topo, 1<<48, newClock())
	p.measured = new(atomic.Int64)
	if err := p.publish(8); err != nil {
		t.Fatal(err)
	}
	u := &p.unconfirmed
	for _, step := range []struct {
		tag            uint64
		multiple, nack bool
		left           int
		low            uint64
	}{
		{3, false, false, 7, 1}, {2, false, true, 6, 1}, {1, false, false, 5, 4}, {6, true, false, 2, 7}, {8, false, false, 1, 7}, {8, true, false, 0, 9},
	} {
		if err := p.confirmLocked(step.tag, step.multiple, step.nack, p.clock.now()); err != nil {
			t.Fatal(err)
		}
		if u.n != step.left || u.low != step.low {
			t.Errorf("after %d: %d unconfirmed from %d, want %d from %d", step.tag, u.n, u.low, step.left, step.low)
		}
	}
	if p.confirmed.Load() != 7 || p.nacked.Load() != 1 {
		t.Errorf("%d confirmed, %d nacked", p.confirmed.Load(), p.nacked.Load())
	}
	if p.confirmLocked(5, false, false, 0) == nil || p.confirmLocked(9, false, false, 0) == nil {
		t.Error("a second confirm or one of nothing is accepted")
	}
}
