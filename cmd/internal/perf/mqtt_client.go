package perf

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"leveret/adapters/mqtt/wire"
)

// mqttConn is a connection with what it has read and not yet taken.
type mqttConn struct {
	nc       net.Conn
	buf      []byte
	pos, end int
}

// mqttDial connects and logs in.
func mqttDial(ctx context.Context, o *mqttOptions, id string, clean bool) (*mqttConn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", o.address)
	if err != nil {
		return nil, err
	}
	c := &mqttConn{nc: nc}
	p := &wire.ConnectPacket{
		Version: o.version, Clean: clean, ClientID: id, HasUser: o.user != "", User: o.user,
		HasPassword: o.user != "", Password: o.password, ReceiveMaximum: 65535,
	}
	if !clean {
		p.SessionExpiry, p.HasSessionExpiry = 600, true
	}
	if err = c.login(p); err != nil {
		nc.Close()
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	return c, nil
}

func (c *mqttConn) login(p *wire.ConnectPacket) error {
	if _, err := c.nc.Write(wire.AppendConnect(nil, p)); err != nil {
		return err
	}
	body, err := c.expect(wire.Connack)
	if err != nil {
		return err
	}
	ack, err := wire.ParseConnack(body, p.Version)
	if err == nil && ack.Code != 0 {
		err = fmt.Errorf("the broker refuses the connection: %v", ack.Code)
	}
	return err
}

// subscribe makes one subscription.
func (c *mqttConn) subscribe(filter string, qos, version byte) error {
	p := &wire.SubscribePacket{ID: 1, Filters: []wire.Subscription{{Filter: filter, QoS: qos}}}
	if _, err := c.nc.Write(wire.AppendSubscribe(nil, p, version)); err != nil {
		return err
	}
	body, err := c.expect(wire.Suback)
	if err != nil {
		return err
	}
	_, codes, err := wire.ParseSuback(wire.Suback, body, version)
	if err == nil && (len(codes) != 1 || codes[0] != qos) {
		err = fmt.Errorf("the broker grants % x for QoS %d", codes, qos)
	}
	return err
}

// expect reads one packet of a type.
func (c *mqttConn) expect(typ byte) ([]byte, error) {
	for {
		h, body, err := c.take()
		if err != nil {
			return nil, err
		}
		if h.Size > 0 {
			if h.Type() != typ {
				return nil, fmt.Errorf("%s instead of %s", wire.TypeName(h.Type()), wire.TypeName(typ))
			}
			return bytes.Clone(body), nil
		}
		if err := c.fill(512); err != nil {
			return nil, err
		}
	}
}

// take returns the packet at the beginning of what was read; a Size of 0 says
// that it is not all there.
func (c *mqttConn) take() (wire.Header, []byte, error) {
	h, err := wire.ParseHeader(c.buf[c.pos:c.end])
	if err != nil || h.Size == 0 {
		return wire.Header{}, nil, err
	}
	if c.pos+h.Size+h.Length > c.end {
		if need := h.Size + h.Length; need > len(c.buf) {
			c.grow(need)
		}
		return wire.Header{}, nil, nil
	}
	body := c.buf[c.pos+h.Size : c.pos+h.Size+h.Length]
	c.pos += h.Size + h.Length
	return h, body, nil
}

func (c *mqttConn) grow(size int) {
	b := make([]byte, size)
	c.end = copy(b, c.buf[c.pos:c.end])
	c.pos, c.buf = 0, b
}

// fill reads more into a buffer of at least size bytes.
func (c *mqttConn) fill(size int) error {
	if len(c.buf) < size {
		c.grow(size)
	}
	if c.pos > 0 {
		c.end = copy(c.buf, c.buf[c.pos:c.end])
		c.pos = 0
	}
	n, err := c.nc.Read(c.buf[c.end:])
	c.end += n
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// mqttPublisher publishes to one topic from one goroutine. With QoS 1 and 2 it
// writes what the window allows, then reads acknowledgements.
type mqttPublisher struct {
	*mqttConn
	id       int
	clock    clock
	opt      *mqttOptions
	stop     *atomic.Bool
	measured *atomic.Int64
	pace     *pacer
	limit    uint64

	buf             []byte
	stride, slots   int
	idAt, payloadAt int
	stampID, run0   uint64
	next            uint64 // Number of the next message; its identifier follows from it.
	inFlight        int
	times           []int64 // By identifier: when it was sent or due.
	rels            []byte
	latency         Histogram

	sent  atomic.Uint64
	acked atomic.Uint64
}

func (r *mqttRunner) newPublisher(ctx context.Context, i int) (*mqttPublisher, error) {
	o := r.opt
	c, err := mqttDial(ctx, o, fmt.Sprintf("perf-pub-%d-%d", r.runID>>48, i), true)
	if err != nil {
		return nil, err
	}
	p := &mqttPublisher{
		mqttConn: c, id: i, clock: r.clock, opt: o, stop: &r.stop, measured: &r.measured,
		stampID: uint64(i) << seqBits, run0: r.runID, limit: 1<<64 - 1,
	}
	if n := uint64(o.Count); n > 0 {
		k := uint64(o.Publishers)
		p.limit = (n + k - 1 - uint64(i)) / k
	}
	topic := o.topic(i)
	out := wire.OutPublish{Key: topic, Payload: o.Size, QoS: byte(o.QoS), ID: 1}
	one := append(wire.AppendPublish(nil, &out, o.version), make([]byte, o.Size)...)
	p.stride = len(one)
	p.payloadAt = p.stride - o.Size
	p.idAt = bytes.Index(one, []byte(topic)) + len(topic)
	p.slots = max(1, o.Batch/p.stride)
	if o.QoS > 0 {
		p.slots = min(p.slots, o.Window)
		p.times = make([]int64, 65536)
	}
	for range p.slots {
		p.buf = append(p.buf, one...)
	}
	return p, nil
}

func (p *mqttPublisher) run() error {
	err := p.publishAll()
	if err != nil {
		return fmt.Errorf("publisher %d: %w", p.id, err)
	}
	return nil
}

func (p *mqttPublisher) publishAll() error {
	if p.pace != nil {
		preciseSleep()
	}
	for {
		n := int(min(uint64(p.slots), p.limit-p.next))
		if p.stop.Load() {
			n = 0
		}
		if n > 0 && p.opt.QoS > 0 {
			free := p.opt.Window - p.inFlight
			if p.pace == nil && p.inFlight > 0 && free < min(n, p.opt.Window/4) {
				free = 0
			}
			n = min(n, free)
		}
		if n > 0 && p.pace != nil {
			if p.inFlight == 0 {
				n = p.pace.wait(n, p.stop)
			} else {
				n = p.pace.overdue(p.clock.now(), n)
			}
		}
		if n > 0 {
			if err := p.write(n); err != nil {
				return err
			}
		}
		switch {
		case p.opt.QoS == 0 || p.inFlight == 0:
			if n == 0 {
				_, err := p.nc.Write(wire.AppendEmpty(nil, wire.Disconnect))
				if p.opt.QoS == 0 && err == nil {
					// The end of the stream says that the broker has taken it all.
					p.nc.SetReadDeadline(time.Now().Add(p.opt.Drain))
					io.Copy(io.Discard, p.nc)
				}
				return err
			}
		default:
			if err := p.readAcks(); err != nil {
				return err
			}
		}
	}
}

// write sends n messages with one system call.
func (p *mqttPublisher) write(n int) error {
	now := p.clock.now()
	for i := range n {
		m := p.buf[i*p.stride : (i+1)*p.stride]
		at := now
		if p.pace != nil {
			at = p.pace.due(p.pace.next + uint64(i))
		}
		if p.opt.QoS > 0 {
			id := uint16((p.next+uint64(i))%65535 + 1)
			binary.BigEndian.PutUint16(m[p.idAt:], id)
			p.times[id] = at
		}
		if p.opt.stamped() {
			binary.BigEndian.PutUint64(m[p.payloadAt:], p.stampID|(p.next+uint64(i))&seqMask)
			binary.BigEndian.PutUint64(m[p.payloadAt+8:], p.run0|uint64(at)&timeMask)
		}
	}
	if p.pace != nil {
		p.pace.next += uint64(n)
	}
	if p.opt.QoS > 0 {
		p.inFlight += n
	}
	_, err := p.nc.Write(p.buf[:n*p.stride])
	p.next += uint64(n)
	p.sent.Store(p.next)
	return err
}

// readAcks reads once and takes what came.
func (p *mqttPublisher) readAcks() error {
	if p.pace != nil { // It has to go on sending.
		p.nc.SetReadDeadline(time.Now().Add(max(time.Duration(p.pace.due(p.pace.next)-p.clock.now()), 50*time.Microsecond)))
	}
	if err := p.fill(16 << 10); err != nil {
		if ne, ok := err.(net.Error); ok && ne.Timeout() && p.pace != nil {
			return nil
		}
		return err
	}
	now, measured := p.clock.now(), p.measured.Load()
	acked := uint64(0)
	for {
		h, body, err := p.take()
		if err != nil {
			return err
		}
		if h.Size == 0 {
			break
		}
		switch typ := h.Type(); typ {
		case wire.Puback, wire.Pubrec, wire.Pubcomp:
			id, code, err := wire.ParseAck(typ, body, p.opt.version)
			if err != nil {
				return err
			}
			if code.IsError() {
				return fmt.Errorf("%s: %v", wire.TypeName(typ), code)
			}
			if typ == wire.Pubrec {
				p.rels = wire.AppendAck(p.rels, wire.Pubrel, id, wire.Success, p.opt.version)
				continue
			}
			p.inFlight--
			acked++
			if t := p.times[id]; t >= measured {
				p.latency.Record(now - t)
			}
		default:
			return fmt.Errorf("unexpected %s", wire.TypeName(typ))
		}
	}
	p.acked.Add(acked)
	if len(p.rels) > 0 {
		_, err := p.nc.Write(p.rels)
		p.rels = p.rels[:0]
		return err
	}
	return nil
}

// mqttSubscriber receives one topic.
type mqttSubscriber struct {
	*mqttConn
	id       int
	clock    clock
	opt      *mqttOptions
	measured *atomic.Int64
	ledger   ledger
	verify   verifier
	latency  Histogram
	out      *spillWriter

	received atomic.Uint64
	lastRead atomic.Int64
}

func (r *mqttRunner) subscriberID(i int) string { return fmt.Sprintf("perf-sub-%d-%d", r.runID>>48, i) }

func (r *mqttRunner) newSubscriber(ctx context.Context, i int) (*mqttSubscriber, error) {
	o := r.opt
	c, err := mqttDial(ctx, o, r.subscriberID(i), !o.Lasting)
	if err != nil {
		return nil, err
	}
	s := &mqttSubscriber{mqttConn: c, id: i, clock: r.clock, opt: o, measured: &r.measured, out: newSpillWriter(c.nc)}
	s.verify = verifier{ledger: &s.ledger, run: r.runID, ids: o.Publishers}
	if err := c.subscribe(o.topic(i), byte(o.QoS), o.version); err != nil {
		c.nc.Close()
		return nil, fmt.Errorf("subscriber %d: %w", i, err)
	}
	return s, nil
}

func (s *mqttSubscriber) run() error {
	var acks []byte
	for {
		if err := s.fill(readBuffer); err != nil {
			return fmt.Errorf("subscriber %d: %w", s.id, err)
		}
		now, measured := s.clock.now(), s.measured.Load()
		n := uint64(0)
		for {
			h, body, err := s.take()
			if err != nil {
				return err
			}
			if h.Size == 0 {
				break
			}
			switch h.Type() {
			case wire.Publish:
				topic := 2 + int(body[0])<<8 + int(body[1])
				if qos := h.QoS(); qos > 0 {
					id := binary.BigEndian.Uint16(body[topic:])
					typ := wire.Puback
					if qos == 2 {
						typ = wire.Pubrec
					}
					acks = wire.AppendAck(acks, typ, id, wire.Success, s.opt.version)
				}
				if s.take1(h, body, now, measured) {
					n++
				}
			case wire.Pubrel:
				id := binary.BigEndian.Uint16(body)
				acks = wire.AppendAck(acks, wire.Pubcomp, id, wire.Success, s.opt.version)
			default:
				return fmt.Errorf("subscriber %d: unexpected %s", s.id, wire.TypeName(h.Type()))
			}
		}
		if n > 0 {
			s.received.Add(n)
			s.lastRead.Store(now)
		}
		if len(acks) > 0 {
			if err := s.out.send(acks); err != nil {
				return err
			}
			acks = acks[:0]
		}
	}
}

// take1 verifies one delivery.
func (s *mqttSubscriber) take1(h wire.Header, body []byte, now, measured int64) bool {
	at := len(body) - s.opt.Size
	if at < 3 {
		s.verify.faults.missized++
		return false
	}
	if !s.opt.stamped() {
		return true
	}
	w0, w1 := binary.BigEndian.Uint64(body[at:]), binary.BigEndian.Uint64(body[at+8:])
	if !s.verify.check(w0, w1, h.Dup()) {
		return false
	}
	if d := age(now, w1); now-d >= measured {
		s.latency.Record(d)
	}
	return true
}
