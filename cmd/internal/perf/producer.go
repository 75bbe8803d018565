package perf

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// pumpWindowMax is the largest confirm window with which a producer sends from
// the goroutine that reads the confirms. That saves waking another one for each
// read, and cannot lock up: the confirms of so few messages fit into the
// socket's buffers while the producer is blocked in a write.
const pumpWindowMax = 4096

// producer publishes on a connection of its own.
//
// Without confirms and when paced, run writes and readLoop runs beside it. With
// a small confirm window at full speed, readLoop does both.
type producer struct {
	// Fixed before run.
	id       int
	conn     *conn
	clock    clock
	stop     *atomic.Bool
	stamped  bool
	window   int
	limit    uint64 // Messages to send.
	pace     *pacer // nil at full speed.
	measured *atomic.Int64
	slots    int
	stride   int // Bytes of one message in buf.
	bodyAt   int
	addrAt   int
	addrLen  int
	stampID  uint64
	stampRun uint64

	// Of the goroutine that sends.
	buf       []byte // slots copies of the template.
	addresses []byte // Addresses of addrLen bytes in rotation; empty if there is only one.
	routes    []int32
	rotation  int
	sequences []uint64 // By route of the topology: messages sent.

	sent      atomic.Uint64 // Messages written.
	confirmed atomic.Uint64
	nacked    atomic.Uint64
	lastWrite atomic.Int64 // ns

	// Of the goroutine that reads.
	confirmLatency Histogram
	closed         bool

	unconfirmed struct {
		sync.Mutex
		changed sync.Cond
		times   []int64 // By tag modulo its length: when the message was sent or due, 0 once confirmed.
		next    uint64  // The tag of the next message, from 1.
		low     uint64  // All tags below are confirmed.
		n       int     // Tags from low to next that are not. Invariant: n <= window.
		dead    bool    // No confirm will come any more.
	}
}

func newProducer(id int, c *conn, o *options, t *topology, run uint64, clk clock) *producer {
	p := &producer{
		id: id, conn: c, clock: clk, stamped: o.stamped(), window: o.confirm,
		stampID: uint64(id) << seqBits, stampRun: run,
		sequences: make([]uint64, t.routes),
	}
	keys := t.keysOf(id, o.producers)
	tmpl := newTemplate(keys[0], o.size, c.frameMax, o.persistent)
	p.stride, p.bodyAt, p.addrAt, p.addrLen = len(tmpl.frames), tmpl.bodyAt, tmpl.addressAt, tmpl.address
	p.slots = max(1, o.batch/p.stride)
	if p.window > 0 {
		p.slots = min(p.slots, p.window)
		p.unconfirmed.times = make([]int64, ringLen(p.window))
		p.unconfirmed.next, p.unconfirmed.low = 1, 1
	}
	p.unconfirmed.changed.L = &p.unconfirmed
	for range p.slots {
		p.buf = append(p.buf, tmpl.frames...)
	}
	for _, k := range keys {
		if len(keys) > 1 {
			p.addresses = append(p.addresses, k.address()...)
		}
		p.routes = append(p.routes, int32(k.route))
	}
	// Producers that share keys begin at different ones.
	p.rotation = id * len(keys) / max(1, o.producers) % len(keys)
	return p
}

// ringLen leaves room for confirms out of order: a power of two of at least
// twice the window.
func ringLen(window int) int {
	n := 16
	for n < 2*window {
		n *= 2
	}
	return n
}

// run publishes until stop, the limit or an error, and then waits until the
// broker has taken, and with confirms has confirmed, everything.
func (p *producer) run() error {
	pump := p.window > 0 && p.window <= pumpWindowMax && p.pace == nil
	if pump {
		err := p.pump()
		if err == nil {
			err = p.readLoop(p.pump)
		}
		return p.wrap(err)
	}

	read := make(chan error, 1)
	go func() { // Ends with the connection, or when the channel is closed.
		err := p.readLoop(nil)
		p.unconfirmed.Lock()
		p.unconfirmed.dead = true
		p.unconfirmed.changed.Broadcast()
		p.unconfirmed.Unlock()
		if err != nil {
			// Waking a writer that the broker holds by back-pressure.
			p.conn.nc.SetWriteDeadline(time.Unix(1, 0))
		}
		read <- err
	}()
	err := p.writeLoop()
	if err == nil {
		p.awaitConfirms()
		err = p.conn.closeChannel()
	}
	if err != nil {
		// The reader may know better why: a close frame that came before.
		p.conn.nc.SetReadDeadline(time.Now().Add(time.Second))
	}
	if readErr := <-read; readErr != nil {
		err = readErr
	}
	return p.wrap(err)
}

func (p *producer) wrap(err error) error {
	if err != nil {
		return fmt.Errorf("producer %d: %w", p.id, explain(err))
	}
	return nil
}

func (p *producer) writeLoop() error {
	if p.pace != nil {
		preciseSleep()
	}
	for !p.stop.Load() {
		n := int(min(uint64(p.slots), p.limit-p.sent.Load()))
		if n > 0 && p.pace != nil {
			n = p.pace.wait(n, p.stop)
		}
		if n > 0 && p.window > 0 {
			n = p.acquire(n)
		}
		if n == 0 {
			return nil
		}
		if err := p.publish(n); err != nil {
			return err
		}
	}
	return nil
}

// pump sends what the window allows and, when there is nothing left to do,
// closes the channel.
func (p *producer) pump() error {
	for {
		left := int(min(uint64(p.slots), p.limit-p.sent.Load()))
		p.unconfirmed.Lock()
		n, idle := p.allowedLocked(left), p.unconfirmed.n == 0
		p.unconfirmed.Unlock()
		if left == 0 || p.stop.Load() {
			if idle {
				return p.conn.closeChannel()
			}
			return nil
		}
		if n == 0 {
			return nil
		}
		if err := p.publish(n); err != nil {
			return err
		}
	}
}

// allowedLocked returns how many messages of want may be sent now. At full
// speed that is none while less than a quarter of the window is free, so that
// neither side works in crumbs. p.unconfirmed must be held.
func (p *producer) allowedLocked(want int) int {
	u := &p.unconfirmed
	free := min(p.window-u.n, len(u.times)-int(u.next-u.low))
	if p.pace == nil && u.n > 0 && free < min(want, p.window/4) {
		return 0
	}
	return min(want, free)
}

// acquire waits until the window has room and returns for how many of want, or
// 0 if there will be none.
func (p *producer) acquire(want int) int {
	u := &p.unconfirmed
	u.Lock()
	defer u.Unlock()
	for {
		if u.dead {
			return 0
		}
		if n := p.allowedLocked(want); n > 0 {
			return n
		}
		u.changed.Wait()
	}
}

// awaitConfirms waits until all messages are confirmed or none will be.
func (p *producer) awaitConfirms() {
	u := &p.unconfirmed
	u.Lock()
	defer u.Unlock()
	for u.n > 0 && !u.dead {
		u.changed.Wait()
	}
}

// publish writes n <= slots messages with one system call. It allocates
// nothing; without rotation it costs two stores for each message.
func (p *producer) publish(n int) error {
	now := p.clock.now()
	switch {
	case !p.stamped:
	case p.pace != nil:
		for i := range n {
			binary.BigEndian.PutUint64(p.buf[i*p.stride+p.bodyAt+8:], p.stampRun|uint64(p.pace.due(p.pace.next+uint64(i)))&timeMask)
		}
	default:
		w := p.stampRun | uint64(now)&timeMask
		for i := range n {
			binary.BigEndian.PutUint64(p.buf[i*p.stride+p.bodyAt+8:], w)
		}
	}
	if len(p.addresses) == 0 {
		p.numberOne(n)
	} else {
		p.numberRotating(n)
	}
	if p.window > 0 {
		p.noteUnconfirmed(n, now)
	}
	if p.pace != nil {
		p.pace.next += uint64(n)
	}
	if _, err := p.conn.nc.Write(p.buf[:n*p.stride]); err != nil {
		return err
	}
	p.sent.Store(p.sent.Load() + uint64(n))
	p.lastWrite.Store(now)
	return nil
}

// numberOne stamps n messages for the one route there is.
func (p *producer) numberOne(n int) {
	seq := &p.sequences[p.routes[0]]
	if p.stamped {
		w := p.stampID | *seq&seqMask
		for i := range n {
			binary.BigEndian.PutUint64(p.buf[i*p.stride+p.bodyAt:], w+uint64(i))
		}
	}
	*seq += uint64(n)
}

// numberRotating addresses n messages to the next n keys and stamps them.
func (p *producer) numberRotating(n int) {
	at := p.rotation
	for i := range n {
		m := p.buf[i*p.stride : (i+1)*p.stride]
		copy(m[p.addrAt:p.addrAt+p.addrLen], p.addresses[at*p.addrLen:])
		seq := &p.sequences[p.routes[at]]
		if p.stamped {
			binary.BigEndian.PutUint64(m[p.bodyAt:], p.stampID|*seq&seqMask)
		}
		*seq++
		if at++; at == len(p.routes) {
			at = 0
		}
	}
	p.rotation = at
}

// noteUnconfirmed remembers when the next n messages were sent or due.
func (p *producer) noteUnconfirmed(n int, now int64) {
	u := &p.unconfirmed
	u.Lock()
	defer u.Unlock()
	mask := uint64(len(u.times) - 1)
	for i := range n {
		t := now
		if p.pace != nil {
			t = p.pace.due(p.pace.next + uint64(i))
		}
		u.times[(u.next+uint64(i))&mask] = t
	}
	u.next += uint64(n)
	u.n += n
}

// readLoop takes confirms and whatever else the broker says until the channel
// is closed. After each read it calls after, if there is one.
func (p *producer) readLoop(after func() error) error {
	in := &p.conn.in
	in.grow(16 << 10)
	for {
		if err := in.fill(p.conn.nc); err != nil {
			return err
		}
		if err := p.takeFrames(); err != nil {
			return err
		}
		if p.closed {
			p.conn.shut()
			return nil
		}
		if after != nil {
			if err := after(); err != nil {
				return err
			}
		}
	}
}

// takeFrames handles the complete frames in the buffer.
func (p *producer) takeFrames() error {
	now := p.clock.now()
	confirms := false
	defer func() {
		if confirms {
			p.unconfirmed.changed.Signal()
			p.unconfirmed.Unlock()
		}
	}()
	for {
		f, ok, err := p.conn.in.buffered(p.conn.frameMax)
		if !ok || err != nil {
			return err
		}
		if f.kind != frameMethod || len(f.payload) < 4 {
			continue
		}
		switch method := binary.BigEndian.Uint32(f.payload); method {
		case basicAck, basicNack:
			if len(f.payload) != 13 {
				return fmt.Errorf("confirm of %d bytes", len(f.payload))
			}
			if !confirms {
				p.unconfirmed.Lock()
				confirms = true
			}
			tag, multiple := binary.BigEndian.Uint64(f.payload[4:]), f.payload[12]&1 != 0
			if err := p.confirmLocked(tag, multiple, method == basicNack, now); err != nil {
				return err
			}
		case channelCloseOK:
			p.closed = true
			return nil
		default:
			if err := p.conn.handle(method, f.payload[4:]); err != nil {
				return err
			}
		}
	}
}

// confirmLocked notes the confirm of tag, or of all up to it. p.unconfirmed
// must be held.
func (p *producer) confirmLocked(tag uint64, multiple, nack bool, now int64) error {
	u := &p.unconfirmed
	if tag >= u.next || p.window == 0 {
		return fmt.Errorf("confirm of message %d, sent were %d", tag, u.next-1)
	}
	mask := uint64(len(u.times) - 1)
	from := tag
	if multiple {
		from = u.low
	} else if tag < u.low || u.times[tag&mask] == 0 {
		return fmt.Errorf("second confirm of message %d", tag)
	}
	measured := p.measured.Load()
	var confirmed uint64
	for i := from; i <= tag; {
		t := u.times[i&mask]
		var same uint64
		for ; i <= tag && u.times[i&mask] == t; i++ {
			u.times[i&mask] = 0
			same++
		}
		if t == 0 {
			continue
		}
		confirmed += same
		if t >= measured && !nack {
			p.confirmLatency.RecordN(now-t, same)
		}
	}
	u.n -= int(confirmed)
	if multiple {
		u.low = max(u.low, tag+1)
	}
	for u.low < u.next && u.times[u.low&mask] == 0 {
		u.low++
	}
	if nack {
		p.nacked.Add(confirmed)
	} else {
		p.confirmed.Store(p.confirmed.Load() + confirmed)
	}
	return nil
}
