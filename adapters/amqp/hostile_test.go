package amqp

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"leveret/adapters/amqp/wire"
	"leveret/core"
	"leveret/core/invariant"
)

// heap is the live heap in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// flood writes b again and again without reading, until the server does not read
// for as long as stopped, and returns how many bytes went out.
func (r *rawClient) flood(b []byte, limit int, stopped time.Duration) (sent int) {
	r.t.Helper()
	for sent < limit {
		r.nc.SetWriteDeadline(time.Now().Add(stopped))
		n, err := r.nc.Write(b)
		sent += n
		if err != nil {
			break
		}
	}
	return sent
}

// TestNeverReads has clients ask for things and not read them. The server
// stops reading from them, holds little for them, serves others meanwhile, and
// gives the memory back.
func TestNeverReads(t *testing.T) {
	large := strings.Repeat("x", 60_000)
	for _, test := range []struct {
		name  string
		asks  []byte
		stops bool // It must not be able to send forever.
	}{
		{"declares", repeat(methodFrame(1, &wire.QueueDeclare{Queue: "q", Passive: true}), 1000), true},
		{"gets", repeat(methodFrame(1, &wire.BasicGet{Queue: "full", NoAck: true}), 100), true},
		{"empty gets", repeat(methodFrame(1, &wire.BasicGet{Queue: "empty"}), 1000), true},
		{"returns", wire.AppendPublish(nil, 1, "", "none", true, wire.AppendProperties(nil, &wire.Properties{}), []byte(large), 131072), true},
		{"confirms", repeat(publishFrames(1, "", "none", "", nil), 1000), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newTestServer(t, nil)
			good := s.openRaw(t)
			good.method(1, &wire.QueueDeclare{Queue: "q"}, &wire.QueueDeclare{Queue: "full"}, &wire.QueueDeclare{Queue: "empty"})
			for range 3 {
				expect[*wire.QueueDeclareOk](good, 1)
			}
			for range 1000 {
				good.write(publishFrames(1, "", "full", large, nil))
			}
			good.declareAndConsume(true)
			before := heap()
			r := s.openRaw(t)
			r.method(1, &wire.ConfirmSelect{})
			const limit = 64 << 20
			sent := r.flood(test.asks, limit, 300*time.Millisecond)
			if test.stops && sent >= limit {
				t.Errorf("the server read %d bytes of a client that does not read", sent)
			}
			if more := heap() - before; more > 16<<20 {
				t.Errorf("%d bytes more for a client that does not read", more)
			}
			began := time.Now()
			good.write(publishFrames(1, "", "q", "hello", nil))
			good.delivery()
			if d := time.Since(began); d > patience/2 {
				t.Errorf("another client waited for %v", d)
			}
			r.nc.Close()
			waitFor(t, func() bool { return s.broker.SessionCount() == 1 })
		})
	}
}

func repeat(b []byte, n int) []byte { return []byte(strings.Repeat(string(b), n)) }

// TestUnreadDeliveriesDoNotStopReading: a consumer that does not read may go on
// publishing and acking.
func TestUnreadDeliveriesDoNotStopReading(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.declareAndConsume(true)
	sent := r.flood(publishFrames(1, "", "q", strings.Repeat("x", 10_000), nil), 32<<20, patience)
	if sent < 32<<20 {
		t.Errorf("reading stopped after %d bytes", sent)
	}
	c := s.openRaw(t)
	c.method(1, &wire.QueueDeclare{Queue: "q", Passive: true})
	if m := expect[*wire.QueueDeclareOk](c, 1); m.MessageCount < 1000 {
		t.Errorf("%d ready: deliveries are not held back", m.MessageCount)
	}
}

// TestPipelinedConsumeCancel sends a hundred thousand of each at once, and as
// many channels as it may.
func TestPipelinedConsumeCancel(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.method(1, &wire.QueueDeclare{Queue: "q"})
	expect[*wire.QueueDeclareOk](r, 1)
	n := 100_000
	if invariant.Enabled {
		n /= 5 // With the race detector each takes ten times as long.
	}
	began := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var b []byte
		for i := range n {
			tag := fmt.Sprint(i)
			b = wire.AppendMethod(b, 1, &wire.BasicConsume{Queue: "q", ConsumerTag: tag, NoWait: true})
			b = wire.AppendMethod(b, 1, &wire.BasicCancel{ConsumerTag: tag, NoWait: true})
			if len(b) > 60_000 || i == n-1 {
				r.nc.Write(b)
				b = b[:0]
			}
		}
		for i := uint16(2); i < 2000; i++ {
			r.nc.Write(methodFrame(i, &wire.ChannelOpen{}))
		}
		r.nc.Write(methodFrame(1, &wire.QueueDeclare{Queue: "q", Passive: true}))
	}()
	for range 1998 {
		if _, m := r.readMethod(); m.ID() != wire.IDChannelOpenOk {
			t.Fatalf("got %T", m)
		}
	}
	if m := expect[*wire.QueueDeclareOk](r, 1); m.ConsumerCount != 0 {
		t.Errorf("got %+v", m)
	}
	<-done
	if d := time.Since(began); d > patience {
		t.Errorf("took %v", d)
	}
}

// TestBeforeLoginCostsLittle: what has not logged in holds less than 64 KiB.
func TestBeforeLoginCostsLittle(t *testing.T) {
	s := newTestServer(t, nil)
	const n = 200
	before := heap()
	for range n {
		r := s.dialRaw(t)
		r.write([]byte(wire.ProtocolHeader))
		expect[*wire.ConnectionStart](r, 0)
		r.write(wire.AppendFrameHeader(nil, wire.FrameMethod, 0, 8000)) // And nothing behind it.
	}
	if each := (heap() - before) / n; each > 64<<10 {
		t.Errorf("%d bytes each", each)
	}
}

// TestHalfSentBodies announces large bodies on many channels and sends a byte
// of each.
func TestHalfSentBodies(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	before := heap()
	for i := uint16(2); i < 1000; i++ {
		r.write(join(methodFrame(i, &wire.ChannelOpen{}, &wire.BasicPublish{RoutingKey: "q"}),
			header(i, 100<<20, &wire.Properties{}), frame(wire.FrameBody, i, []byte("x"))))
	}
	for i := uint16(2); i < 1000; i++ {
		expect[*wire.ChannelOpenOk](r, i)
	}
	if more := heap() - before; more > 16<<20 {
		t.Errorf("%d bytes for a thousand bytes of bodies", more)
	}
	r.nc.Close()
	waitFor(t, func() bool { return s.broker.SessionCount() == 0 && s.broker.Memory().Live() == 0 })
}

func TestTooMuchHalfSent(t *testing.T) {
	s := newTestServer(t, func(o *Options, _ *core.Options) { o.MaxMessageSize = 1 << 20 })
	r := s.openRaw(t)
	part := frame(wire.FrameBody, 0, make([]byte, 100_000))
	go func() {
		for i := uint16(2); i < 100; i++ {
			part[1], part[2] = byte(i>>8), byte(i)
			if _, err := r.nc.Write(join(methodFrame(i, &wire.ChannelOpen{}, &wire.BasicPublish{RoutingKey: "q"}),
				header(i, 1<<20, &wire.Properties{}), part)); err != nil {
				return
			}
		}
	}()
	for {
		_, m := r.readMethod()
		if c, ok := m.(*wire.ConnectionClose); ok {
			if c.Code != 506 {
				t.Errorf("got %+v", c)
			}
			return
		}
	}
}

// TestMemoryHold: at the limit, a connection that publishes is held and told
// so; one with deliveries to ack goes on; when memory is free, all go on.
func TestMemoryHold(t *testing.T) {
	s := newTestServer(t, func(_ *Options, o *core.Options) { o.MemoryLimit = 1 << 20 })
	memory := s.broker.Memory()
	publisher, worker, consumer := s.openRaw(t), s.openRaw(t), s.openRaw(t)
	worker.declareAndConsume(false)
	publisher.write(publishFrames(1, "", "q", "one", nil))
	worker.delivery()
	publisher.method(1, &wire.BasicQos{}) // Its publish was before the alarm, to its reader too.
	expect[*wire.BasicQosOk](publisher, 1)
	memory.Charge(1 << 20)
	waitFor(t, s.broker.Alarms().Held)

	publisher.write(publishFrames(1, "", "q", "two", nil)) // Still handled.
	worker.delivery()
	if m := expect[*wire.ConnectionBlocked](publisher, 0); m.Reason != "low on memory" {
		t.Errorf("got %+v", m)
	}
	publisher.write(publishFrames(1, "", "q", "three", nil)) // Not read.
	// The worker has deliveries to ack: it is told, and read on.
	worker.write(publishFrames(1, "", "other", "result", nil))
	expect[*wire.ConnectionBlocked](worker, 0)
	worker.method(1, &wire.BasicAck{DeliveryTag: 1}, &wire.BasicQos{})
	expect[*wire.BasicQosOk](worker, 1)
	// A client that does not publish is not concerned.
	consumer.method(1, &wire.QueueDeclare{Queue: "q", Passive: true})
	expect[*wire.QueueDeclareOk](consumer, 1)

	// Past the margin, the worker's publishes are refused.
	memory.Charge(1 << 20)
	worker.method(1, &wire.ConfirmSelect{})
	expect[*wire.ConfirmSelectOk](worker, 1)
	worker.write(publishFrames(1, "", "q", "refused", nil))
	expect[*wire.BasicNack](worker, 1)

	memory.Charge(-2 << 20)
	expect[*wire.ConnectionUnblocked](publisher, 0)
	for unblocked, three := false, false; !unblocked || !three; { // In any order.
		f, err := worker.readFrame()
		if err != nil {
			t.Fatal(err)
		}
		unblocked = unblocked || wire.MethodID(f.Payload) == wire.IDConnectionUnblocked
		three = three || f.Type == wire.FrameBody && string(f.Payload) == "three"
	}
}

// TestHeldConnectionIsResumedByDelivery: what it is to ack is what frees memory.
func TestHeldConnectionIsResumedByDelivery(t *testing.T) {
	s := newTestServer(t, func(_ *Options, o *core.Options) { o.MemoryLimit = 1 << 20 })
	memory := s.broker.Memory()
	r, other := s.openRaw(t), s.openRaw(t)
	r.declareAndConsume(false)
	memory.Charge(1 << 20)
	waitFor(t, s.broker.Alarms().Held)
	r.write(publishFrames(1, "", "none", "x", nil))
	expect[*wire.ConnectionBlocked](r, 0)
	r.method(1, &wire.BasicQos{})
	other.write(publishFrames(1, "", "q", "work", nil)) // Its first publish: handled.
	r.delivery()
	expect[*wire.BasicQosOk](r, 1)
	expect[*wire.ConnectionBlocked](other, 0)
	r.method(1, &wire.BasicAck{DeliveryTag: 1})
	memory.Charge(-1 << 20)
	expect[*wire.ConnectionUnblocked](r, 0)
	expect[*wire.ConnectionUnblocked](other, 0)
}

// TestHeldInTheMidstOfItsFirstPublish: a connection that is held before its
// first message is whole goes on too when memory is free.
func TestHeldInTheMidstOfItsFirstPublish(t *testing.T) {
	s := newTestServer(t, func(_ *Options, o *core.Options) { o.MemoryLimit = 1 << 20 })
	memory := s.broker.Memory()
	r := s.openRaw(t)
	memory.Charge(1 << 20)
	waitFor(t, s.broker.Alarms().Held)
	frames := wire.AppendPublish(nil, 1, "", "none", false, wire.AppendProperties(nil, &wire.Properties{}), make([]byte, 8000), 1024)
	r.write(frames[:4000])
	expect[*wire.ConnectionBlocked](r, 0)
	r.write(frames[4000:])
	memory.Charge(-1 << 20)
	expect[*wire.ConnectionUnblocked](r, 0)
	r.method(1, &wire.BasicQos{})
	expect[*wire.BasicQosOk](r, 1)
}
