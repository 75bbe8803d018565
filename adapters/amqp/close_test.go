package amqp

import (
	"context"
	"strings"
	"testing"
	"time"

	"leveret/adapters/amqp/wire"
)

func TestClientClose(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.method(1, &wire.QueueDeclare{Queue: "mine", Exclusive: true})
	expect[*wire.QueueDeclareOk](r, 1)
	r.method(0, &wire.ConnectionClose{Code: 200, Text: "bye"})
	expect[*wire.ConnectionCloseOk](r, 0)
	// The queue is gone before close-ok is sent.
	if _, ok := mustVHost(t, s).Queue("mine"); ok {
		t.Error("the exclusive queue is still there after close-ok")
	}
	r.expectEnd()
	r.nc.Close()
	waitFor(t, func() bool { return strings.Contains(s.logs.String(), "closed by the client") })
	waitFor(t, func() bool { return s.broker.SessionCount() == 0 })
}

// TestCloseFromBothSides has both say connection.close at the same time.
func TestCloseFromBothSides(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.method(1, &wire.ChannelFlow{}) // Hard error.
	r.method(0, &wire.ConnectionClose{Code: 200})
	expect[*wire.ConnectionClose](r, 0)
	expect[*wire.ConnectionCloseOk](r, 0)
	r.method(0, &wire.ConnectionCloseOk{})
	r.expectEnd()
}

func TestChannelCloseFromBothSides(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.method(1, &wire.QueueDeclare{Queue: "none", Passive: true}, &wire.ChannelClose{})
	expect[*wire.ChannelClose](r, 1)
	expect[*wire.ChannelCloseOk](r, 1)
	r.method(1, &wire.ChannelCloseOk{}, &wire.ChannelOpen{})
	expect[*wire.ChannelOpenOk](r, 1)
	// The client that takes its own close for the end of ours.
	r.method(1, &wire.QueueDeclare{Queue: "none", Passive: true}, &wire.ChannelClose{}, &wire.ChannelOpen{})
	expect[*wire.ChannelClose](r, 1)
	expect[*wire.ChannelCloseOk](r, 1)
	expect[*wire.ChannelOpenOk](r, 1)
}

// TestChannelErrorRequeuesFirst: deliveries are back in the queue, and the
// consumer is gone, before channel.close is sent.
func TestChannelErrorRequeuesFirst(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.method(1, &wire.QueueDeclare{Queue: "q"}, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"})
	expect[*wire.QueueDeclareOk](r, 1)
	expect[*wire.BasicConsumeOk](r, 1)
	r.write(publishFrames(1, "", "q", "x", nil))
	if d := expect[*wire.BasicDeliver](r, 1); d.DeliveryTag != 1 || d.Redelivered || d.ConsumerTag != "c" {
		t.Fatalf("got %+v", d)
	}
	r.expectContent(1)
	r.method(1, &wire.BasicAck{DeliveryTag: 2})
	expect[*wire.ChannelClose](r, 1)
	q, _ := mustVHost(t, s).Queue("q")
	if i := q.Info(); i.Ready != 1 || i.Unacked != 0 || i.Consumers != 0 {
		t.Errorf("ready %d, unacked %d, consumers %d", i.Ready, i.Unacked, i.Consumers)
	}
	r.method(1, &wire.ChannelCloseOk{}, &wire.ChannelOpen{}, &wire.BasicGet{Queue: "q"})
	expect[*wire.ChannelOpenOk](r, 1)
	if g := expect[*wire.BasicGetOk](r, 1); !g.Redelivered || g.DeliveryTag != 1 {
		t.Errorf("got %+v", g)
	}
}

// TestAcksBeforeAnError: what came before the error counts.
func TestAcksBeforeAnError(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.declareAndConsume(false)
	for range 3 {
		r.write(publishFrames(1, "", "q", "x", nil))
		r.delivery()
	}
	r.write(join(methodFrame(1, &wire.BasicAck{DeliveryTag: 1}), publishFrames(1, "", "q", "x", nil), methodFrame(1, &wire.BasicAck{DeliveryTag: 2}), frame(wire.FrameBody, 1, nil)))
	for {
		f, err := r.readFrame()
		if err != nil {
			t.Fatal(err)
		}
		if wire.MethodID(f.Payload) == wire.IDConnectionClose {
			break
		}
	}
	q, _ := mustVHost(t, s).Queue("q")
	if i := q.Info(); i.Ready != 2 || i.Unacked != 0 {
		t.Errorf("ready %d, unacked %d", i.Ready, i.Unacked)
	}
}

// TestDropRequeues: a socket closed without a word gives back what it had.
func TestDropRequeues(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.method(1, &wire.QueueDeclare{Queue: "q"}, &wire.BasicConsume{Queue: "q"})
	expect[*wire.QueueDeclareOk](r, 1)
	expect[*wire.BasicConsumeOk](r, 1)
	r.write(publishFrames(1, "", "q", "x", nil))
	expect[*wire.BasicDeliver](r, 1)
	r.nc.Close()
	q, _ := mustVHost(t, s).Queue("q")
	waitFor(t, func() bool { i := q.Info(); return i.Ready == 1 && i.Unacked == 0 && i.Consumers == 0 })
	waitFor(t, func() bool {
		return strings.Contains(s.logs.String(), "the client closed its socket without connection.close")
	})
}

func TestShutdown(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	deaf := s.openRaw(t) // Never answers.
	early := s.dialRaw(t)
	early.write([]byte(wire.ProtocolHeader))
	expect[*wire.ConnectionStart](early, 0)

	done := make(chan struct{})
	began := time.Now()
	go func() { s.stop(); close(done) }()
	m := expect[*wire.ConnectionClose](r, 0)
	checkException(t, "320 CONNECTION_FORCED - broker forced connection closure with reason 'shutdown' 0.0", m.Code, m.Text, m.Class, m.Method)
	r.method(0, &wire.ConnectionCloseOk{})
	r.expectEnd()
	expect[*wire.ConnectionClose](deaf, 0)
	next(t, asClosed(done))
	if d := time.Since(began); d > s.opts.ShutdownTimeout+2*time.Second {
		t.Errorf("took %v", d)
	}
}

// asClosed turns the closing of done into a value.
func asClosed(done <-chan struct{}) <-chan bool {
	c := make(chan bool, 1)
	go func() { <-done; c <- true }()
	return c
}

func TestShutdownMethod(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	go func() {
		for {
			f, err := r.readFrame()
			if err != nil {
				return
			}
			if wire.MethodID(f.Payload) == wire.IDConnectionClose {
				r.nc.Write(wire.AppendMethod(nil, 0, &wire.ConnectionCloseOk{}))
			}
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestForcedByOperator(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	var name string
	for row := range s.broker.Registry().Rows(RowConnection) {
		name = row.Name
		row.Close("because")
	}
	if !strings.HasSuffix(name, s.addr) {
		t.Errorf("row is called %q", name)
	}
	m := expect[*wire.ConnectionClose](r, 0)
	checkException(t, "320 CONNECTION_FORCED - because 0.0", m.Code, m.Text, m.Class, m.Method)
}

func TestVHostDeleted(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	if err := s.broker.DeleteVHost("/"); err != nil {
		t.Fatal(err)
	}
	m := expect[*wire.ConnectionClose](r, 0)
	checkException(t, "320 CONNECTION_FORCED - vhost '/' is deleted 0.0", m.Code, m.Text, m.Class, m.Method)
}
