package perf

import (
	"encoding/binary"
	"net"
	"sync"
	"testing"
)

// fakeBroker speaks just enough AMQP to relay: what is published with a routing
// key goes to every consumer of the queue of that name, or waits for the first.
type fakeBroker struct {
	addr string

	// tamper may change, drop (nil) or repeat the encoded deliver frames of a
	// message; n counts all messages from 0.
	tamper func(n int, frames []byte) []byte
	// refuse answers a method with other frames than usual, if not nil.
	refuse func(method uint32) []byte

	mu      sync.Mutex
	n       int
	backlog map[string][][]byte
	sinks   map[string]*fakeConn // The last consumer of a queue.
}

type fakeConn struct {
	nc  net.Conn
	mu  sync.Mutex // Over out, which several publishers append to.
	out []byte
	tag uint64
}

func startFake(t testing.TB) *fakeBroker {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &fakeBroker{addr: ln.Addr().String(), backlog: map[string][][]byte{}, sinks: map[string]*fakeConn{}}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { b.serve(nc) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		conns.Wait()
	})
	return b
}

func (b *fakeBroker) url() string { return "amqp://guest:guest@" + b.addr + "/" }

func (b *fakeBroker) serve(nc net.Conn) {
	defer nc.Close()
	c := &fakeConn{nc: nc}
	var hello [8]byte
	if _, err := nc.Read(hello[:]); err != nil {
		return
	}
	nc.Write(appendMethod(nil, 0, connectionStart, byte(0), byte(9),
		table{{"product", "Fake"}, {"version", "1"}, {"capabilities", table{{"basic.nack", true}}}}, longString("PLAIN"), longString("en_US")))
	var in frameReader
	in.grow(readBuffer)
	var published, confirmed uint64
	confirms := false
	var key string
	touched := map[*fakeConn]bool{}
	for {
		f, ok, err := in.buffered(frameMaxWant)
		if err != nil {
			return
		}
		if !ok {
			if confirms && published > confirmed {
				confirmed = published
				c.write(appendMethod(nil, channelID, basicAck, published, byte(1)))
			}
			for sink := range touched {
				sink.flush()
				delete(touched, sink)
			}
			if in.fill(nc) != nil {
				return
			}
			continue
		}
		switch f.kind {
		case frameBody:
			published++
			if sink := b.deliver(key, f.payload); sink != nil {
				touched[sink] = true
			}
			continue
		case frameMethod:
		default:
			continue
		}
		a := cursor{b: f.payload}
		method := a.u32()
		if b.refuse != nil {
			if answer := b.refuse(method); answer != nil {
				c.write(answer)
				continue
			}
		}
		switch method {
		case connectionStartOK:
			c.write(appendMethod(nil, 0, connectionTune, uint16(2047), uint32(frameMaxWant), uint16(60)))
		case connectionTuneOK:
		case connectionOpen:
			c.write(appendMethod(nil, 0, connectionOpenOK, ""))
		case connectionClose:
			c.write(appendMethod(nil, 0, connectionCloseOK))
			return
		case channelOpen:
			c.write(appendMethod(nil, channelID, channelOpenOK, longString("")))
		case channelClose:
			c.write(appendMethod(nil, channelID, channelCloseOK))
		case queueDeclare:
			a.u16()
			c.write(appendMethod(nil, channelID, queueDeclareOK, a.short(), uint32(0), uint32(0)))
		case queuePurge, queueDelete:
			c.write(appendMethod(nil, channelID, method+1, uint32(0)))
		case exchangeDeclare, exchangeDelete, basicQos, confirmSelect:
			confirms = confirms || method == confirmSelect
			next := method + 1
			c.write(appendMethod(nil, channelID, next))
		case basicConsume:
			a.u16()
			queue, tag := a.short(), a.short()
			c.write(appendMethod(nil, channelID, basicConsumeOK, tag))
			b.consume(queue, c)
		case basicCancel:
			c.write(appendMethod(nil, channelID, basicCancelOK, a.short()))
		case basicPublish:
			a.u16()
			a.short()
			if k := a.take(int(a.u8())); string(k) != key {
				key = string(k)
			}
		}
	}
}

func (c *fakeConn) write(frames []byte) {
	c.mu.Lock()
	c.out = append(c.out, frames...)
	c.mu.Unlock()
	c.flush()
}

func (c *fakeConn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nc.Write(c.out)
	c.out = c.out[:0]
}

func (b *fakeBroker) consume(queue string, c *fakeConn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sinks[queue] = c
	for _, body := range b.backlog[queue] {
		b.handLocked(c, body)
	}
	delete(b.backlog, queue)
	c.flush()
}

func (b *fakeBroker) deliver(queue string, body []byte) *fakeConn {
	b.mu.Lock()
	defer b.mu.Unlock()
	sink := b.sinks[queue]
	if sink == nil {
		b.backlog[queue] = append(b.backlog[queue], append([]byte(nil), body...))
		return nil
	}
	b.handLocked(sink, body)
	return sink
}

func (b *fakeBroker) handLocked(c *fakeConn, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	start := len(c.out)
	c.tag++
	o := append(c.out, 1, 0, channelID, 0, 0, 0, 17, 0, 60, 0, 60, 1, '0')
	o = binary.BigEndian.AppendUint64(o, c.tag)
	o = append(o, 0, 0, 0, frameEnd)
	o = append(o, frameHeader, 0, channelID, 0, 0, 0, 14, 0, 60, 0, 0)
	o = binary.BigEndian.AppendUint64(o, uint64(len(body)))
	o = append(o, 0, 0, frameEnd)
	if len(body) > 0 {
		o = append(o, frameBody, 0, channelID)
		o = binary.BigEndian.AppendUint32(o, uint32(len(body)))
		o = append(append(o, body...), frameEnd)
	}
	c.out = o
	if b.tamper != nil {
		frames := append([]byte(nil), o[start:]...)
		c.out = append(o[:start], b.tamper(b.n, frames)...)
	}
	b.n++
}
