package perf

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"sync/atomic"
)

// readBuffer is how much a consumer reads at once: what a fast broker has
// ready fits into one system call.
const readBuffer = 256 << 10

// consumer consumes on a connection of its own, from one goroutine that does
// nothing but read, verify and ack: it never waits except in a read.
type consumer struct {
	// Fixed before run.
	id       int
	conn     *conn
	clock    clock
	measured *atomic.Int64
	stamped  bool
	size     int // Length of each body, or -1 if others publish.
	ackEvery int

	received atomic.Uint64 // Messages.
	lastRead atomic.Int64  // ns: when the last of them was read.

	// Of run.
	ready      func()     // To be called with the last consume-ok.
	subscribed int        // consume-ok received.
	verify     []verifier // By the consumer tag's number.
	latency    Histogram
	now        int64
	got        uint64 // Messages of this run in the current read.
	unacked    int    // Since the last ack.
	lastTag    uint64
	acks       []byte // To be written after the current read.
	cancelled  int    // cancel-ok received.
	closed     bool
	large      delivery // The delivery that is parsed frame by frame.
}

// delivery is one that did not lie in the buffer in one piece.
type delivery struct {
	active      bool // Its method has come.
	queue       int
	tag         uint64
	redelivered bool
	sized       bool // Its header has come.
	size        uint64
	left        uint64 // Bytes of body that belong to frames not yet begun.
	skip        int    // Bytes of the current body frame still to come, its end included.
	stamp       [stampLen]byte
	stamps      int // Bytes of stamp that have come.
}

// run consumes from the queues named until stopped. When the broker has
// confirmed each subscription it calls ready.
func (c *consumer) run(names []string, prefetch int, ready func()) error {
	err := c.subscribe(names, prefetch)
	if err == nil {
		c.conn.in.grow(readBuffer)
		c.ready = ready
		err = c.consume()
	}
	if err != nil {
		return fmt.Errorf("consumer %d: %w", c.id, explain(err))
	}
	return nil
}

// subscribe sends a basic.consume for each queue, its number being the consumer
// tag. Deliveries may come before the last consume-ok, so consume takes those.
func (c *consumer) subscribe(names []string, prefetch int) error {
	if prefetch > 0 {
		m := appendMethod(nil, channelID, basicQos, uint32(0), uint16(prefetch), byte(0))
		if _, err := c.conn.call(basicQosOK, m); err != nil {
			return fmt.Errorf("set prefetch: %w", err)
		}
	}
	var noAck byte
	if c.ackEvery == 0 {
		noAck = 1 << 1
	}
	var b []byte
	for i, q := range names {
		b = appendMethod(b, channelID, basicConsume, uint16(0), q, strconv.Itoa(i), noAck, table{})
	}
	return c.conn.send(b)
}

// cancel makes run end once the broker has stopped delivering and has taken the
// last acks. Any goroutine may call it, once ready was called.
func (c *consumer) cancel() error {
	var b []byte
	for i := range c.verify {
		b = appendMethod(b, channelID, basicCancel, strconv.Itoa(i), byte(0))
	}
	return c.conn.send(b)
}

// consume reads until the channel is closed. For each read it takes the time
// once, locks a shared queue's ledger once and writes acks once.
func (c *consumer) consume() error {
	in := &c.conn.in
	for {
		c.now = c.clock.now()
		c.got = 0
		l := c.verify[0].ledger
		if l.shared {
			l.mu.Lock()
		}
		err := c.parse()
		if l.shared {
			l.mu.Unlock()
		}
		if c.got > 0 {
			c.received.Store(c.received.Load() + c.got)
			c.lastRead.Store(c.now)
		}
		if err != nil {
			return err
		}
		if len(c.acks) > 0 {
			if err := c.conn.send(c.acks); err != nil {
				return err
			}
			c.acks = c.acks[:0]
		}
		if c.closed {
			c.conn.shut()
			return nil
		}
		if err := in.fill(c.conn.nc); err != nil {
			return err
		}
	}
}

// parse takes everything complete from the buffer. A delivery that lies there
// in one piece, as nearly all do, is taken in one step.
func (c *consumer) parse() error {
	in := &c.conn.in
	for {
		if !c.large.active {
			if n := c.parseWhole(in.buf[in.pos:in.end]); n > 0 {
				in.pos += n
				continue
			}
		}
		more, err := c.parseFrame()
		if err != nil || !more {
			return err
		}
	}
}

// parseWhole takes the delivery that b begins with and returns its length, or 0
// if b begins with anything else than a basic.deliver, its header and its body
// in one frame, all complete.
func (c *consumer) parseWhole(b []byte) int {
	// Method frame: class and method at 7, tag's length at 11, the tag, delivery
	// tag, redelivered.
	if len(b) < 64 || b[0] != frameMethod || binary.BigEndian.Uint32(b[7:]) != basicDeliver {
		return 0
	}
	size := int(binary.BigEndian.Uint32(b[3:]))
	tagEnd := 12 + int(b[11])
	header := size + frameOverhead
	if size > c.conn.frameMax || tagEnd+9 > header-1 || header > len(b)-20 || b[header-1] != frameEnd || b[header] != frameHeader {
		return 0
	}
	// Header frame: body size at 11.
	size = int(binary.BigEndian.Uint32(b[header+3:]))
	body := header + size + frameOverhead
	if size < 12 || size > c.conn.frameMax || body > len(b)-frameHead || b[body-1] != frameEnd || b[body] != frameBody {
		return 0
	}
	bodySize := int(binary.BigEndian.Uint32(b[body+3:]))
	end := body + frameOverhead + bodySize
	if bodySize > c.conn.frameMax || end > len(b) || binary.BigEndian.Uint64(b[header+11:]) != uint64(bodySize) || b[end-1] != frameEnd {
		return 0
	}
	queue := 0
	if len(c.verify) > 1 {
		if queue = c.queueOf(b[12:tagEnd]); queue < 0 {
			return 0
		}
	}
	at := body + frameHead
	var w0, w1 uint64
	if bodySize >= stampLen {
		w0, w1 = binary.BigEndian.Uint64(b[at:]), binary.BigEndian.Uint64(b[at+8:])
	}
	c.take(queue, binary.BigEndian.Uint64(b[tagEnd:]), b[tagEnd+8]&1 != 0, bodySize, w0, w1)
	return end
}

// queueOf returns the number that is the consumer tag, or -1.
func (c *consumer) queueOf(tag []byte) int {
	n := 0
	for _, d := range tag {
		if d < '0' || d > '9' || n > len(c.verify) {
			return -1
		}
		n = n*10 + int(d-'0')
	}
	if len(tag) == 0 || n >= len(c.verify) {
		return -1
	}
	return n
}

// take counts, verifies and acks one delivery.
func (c *consumer) take(queue int, tag uint64, redelivered bool, size int, w0, w1 uint64) {
	v := &c.verify[queue]
	switch {
	case size != c.size && c.size >= 0:
		v.faults.missized++
	case !c.stamped || size < stampLen:
		c.got++
	case v.check(w0, w1, redelivered):
		c.got++
		if d := age(c.now, w1); c.now-d >= c.measured.Load() {
			c.latency.Record(d)
		}
	}
	if c.ackEvery == 0 {
		return
	}
	c.lastTag = tag
	if c.unacked++; c.unacked >= c.ackEvery {
		c.ack(c.ackEvery > 1)
	}
}

// ack acks the last delivery, with multiple those before it too.
func (c *consumer) ack(multiple bool) {
	var bit byte
	if multiple {
		bit = 1
	}
	c.unacked = 0
	const size = 13
	c.acks = append(c.acks, frameMethod, 0, channelID, 0, 0, 0, size, basicAck>>24, basicAck>>16&0xFF, basicAck>>8&0xFF, basicAck&0xFF)
	c.acks = binary.BigEndian.AppendUint64(c.acks, c.lastTag)
	c.acks = append(c.acks, bit, frameEnd)
}

// parseFrame takes one frame, or what has come of a body frame, and reports
// whether there may be more in the buffer.
func (c *consumer) parseFrame() (more bool, err error) {
	in, d := &c.conn.in, &c.large
	if d.skip > 0 {
		n := min(d.skip, in.end-in.pos)
		in.pos += n
		d.skip -= n
		if d.skip > 0 {
			return false, nil
		}
		return true, c.endBodyFrame()
	}
	if d.sized && in.end-in.pos >= frameHead && in.buf[in.pos] == frameBody {
		return c.beginBodyFrame()
	}

	f, ok, err := in.buffered(c.conn.frameMax)
	if !ok || err != nil {
		return false, err
	}
	switch f.kind {
	case frameHeader:
		h := cursor{b: f.payload}
		h.take(4)
		size := h.u64()
		if h.bad || !d.active || d.sized {
			return false, fmt.Errorf("content header out of place")
		}
		d.sized, d.size, d.left = true, size, size
		if size == 0 {
			c.endDelivery()
		}
		return true, nil
	case frameBody:
		return false, fmt.Errorf("body frame out of place")
	case frameMethod:
		return true, c.takeMethod(f.payload)
	}
	return true, nil
}

func (c *consumer) takeMethod(payload []byte) error {
	a := cursor{b: payload}
	switch method := a.u32(); method {
	case basicDeliver:
		if c.large.active {
			return fmt.Errorf("delivery in the middle of another one")
		}
		queue := c.queueOf([]byte(a.short()))
		c.large = delivery{active: true, queue: queue, tag: a.u64(), redelivered: a.u8()&1 != 0}
		if a.bad || queue < 0 {
			return fmt.Errorf("delivery for a consumer that does not exist")
		}
	case basicConsumeOK:
		if c.subscribed++; c.subscribed == len(c.verify) {
			c.ready()
		}
	case basicCancelOK:
		if c.cancelled++; c.cancelled < len(c.verify) {
			return nil
		}
		if c.unacked > 0 {
			c.ack(true)
		}
		if err := c.conn.send(c.acks); err != nil {
			return err
		}
		c.acks = c.acks[:0]
		return c.conn.closeChannel()
	case channelCloseOK:
		c.closed = true
	default:
		return c.conn.handle(method, a.b)
	}
	return nil
}

// beginBodyFrame takes the head of a body frame and as much of the stamp as it
// holds. The rest is skipped as it comes: large bodies are not gathered.
func (c *consumer) beginBodyFrame() (more bool, err error) {
	in, d := &c.conn.in, &c.large
	b := in.buf[in.pos:in.end]
	size, err := frameSize(b, c.conn.frameMax)
	if err != nil {
		return false, err
	}
	if uint64(size) > d.left {
		return false, fmt.Errorf("body is longer than its header says")
	}
	stamp := min(size, stampLen-d.stamps)
	if len(b) < frameHead+stamp {
		return false, nil
	}
	d.stamps += copy(d.stamp[d.stamps:], b[frameHead:frameHead+stamp])
	d.left -= uint64(size)
	in.pos += frameHead + stamp
	d.skip = size - stamp + 1
	return true, nil
}

// endBodyFrame is called when the end octet of a body frame was just passed.
func (c *consumer) endBodyFrame() error {
	in := &c.conn.in
	if last := in.buf[in.pos-1]; last != frameEnd {
		return fmt.Errorf("body frame ends with octet %#x", last)
	}
	if c.large.left == 0 {
		c.endDelivery()
	}
	return nil
}

func (c *consumer) endDelivery() {
	d := &c.large
	w0, w1 := binary.BigEndian.Uint64(d.stamp[:]), binary.BigEndian.Uint64(d.stamp[8:])
	c.take(d.queue, d.tag, d.redelivered, int(d.size), w0, w1)
	c.large = delivery{}
}
