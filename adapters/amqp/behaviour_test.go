package amqp

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"leveret/adapters/amqp/wire"
	"leveret/core"
)

// declareAndConsume prepares queue q on channel 1.
func (r *rawClient) declareAndConsume(noAck bool) {
	r.t.Helper()
	r.method(1, &wire.QueueDeclare{Queue: "q"}, &wire.BasicConsume{Queue: "q", ConsumerTag: "c", NoAck: noAck})
	expect[*wire.QueueDeclareOk](r, 1)
	expect[*wire.BasicConsumeOk](r, 1)
}

// delivery reads a whole delivery on channel 1.
func (r *rawClient) delivery() (*wire.BasicDeliver, wire.Properties, string) {
	r.t.Helper()
	d := expect[*wire.BasicDeliver](r, 1)
	props, body := r.expectContent(1)
	p, err := wire.ParseProperties(props)
	if err != nil {
		r.t.Fatal(err)
	}
	return d, p, body
}

// TestPublishInPieces sends messages of many sizes cut at every, or every few,
// bytes and in body frames of many sizes, with another channel in between.
func TestPublishInPieces(t *testing.T) {
	s := newTestServer(t, nil)
	for _, size := range []int{0, 1, 100, ownBodyMin - 1, ownBodyMin, 70_000, 300_000} {
		for _, frameMax := range []uint32{4096, 5000, 131072} {
			t.Run(fmt.Sprintf("%d in %d", size, frameMax), func(t *testing.T) {
				r := s.openRawAs(t, &wire.ConnectionTuneOk{ChannelMax: 10, FrameMax: frameMax}, nil)
				r.declareAndConsume(true)
				body := strings.Repeat("0123456789", size/10+1)[:size]
				message := wire.AppendPublish(nil, 1, "", "q", false, wire.AppendProperties(nil, &wire.Properties{MessageID: "m"}), []byte(body), frameMax)
				go func() {
					step := 1 + len(message)/300
					for b := message; len(b) > 0; {
						n := min(step, len(b))
						r.nc.Write(b[:n])
						b = b[n:]
					}
					r.nc.Write(join(message, message))
				}()
				for i := range 3 {
					d, p, got := r.delivery()
					if got != body || p.MessageID != "m" || d.DeliveryTag != uint64(i+1) || d.RoutingKey != "q" {
						t.Fatalf("message %d: got %d bytes, %+v %+v", i, len(got), d, p)
					}
				}
				r.method(1, &wire.QueueDelete{Queue: "q"})
				expect[*wire.QueueDeleteOk](r, 1)
			})
		}
	}
}

// TestInterleavedContent has frames of a second channel between those of a
// message.
func TestInterleavedContent(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.method(2, &wire.ChannelOpen{})
	expect[*wire.ChannelOpenOk](r, 2)
	r.declareAndConsume(true)
	one := &wire.BasicPublish{RoutingKey: "q"}
	r.write(join(
		methodFrame(1, one),
		methodFrame(2, one), header(2, 3, &wire.Properties{}),
		header(1, 4, &wire.Properties{}), frame(wire.FrameHeartbeat, 0, nil),
		frame(wire.FrameBody, 1, []byte("ab")), frame(wire.FrameBody, 2, []byte("xyz")),
		frame(wire.FrameBody, 1, nil), frame(wire.FrameBody, 1, []byte("cd"))))
	if _, _, body := r.delivery(); body != "xyz" {
		t.Errorf("got %q", body)
	}
	if _, _, body := r.delivery(); body != "abcd" {
		t.Errorf("got %q", body)
	}
}

// TestHeadersPassThrough: what is sent comes back byte by byte, but for what
// clients cannot read.
func TestHeadersPassThrough(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.declareAndConsume(true)
	props := wire.AppendProperties(nil, &wire.Properties{ContentType: "a", Headers: wire.Table{{Name: "n", Value: int64(7)}}, Priority: 9})
	withL := bytes.Replace(props, []byte("\x01nl"), []byte("\x01nL"), 1)
	withL[1] |= 3 // Bits that mean nothing.
	for range 2 { // The second time from memory.
		r.write(wire.AppendPublish(nil, 1, "", "q", false, props, []byte("x"), 131072))
		r.write(wire.AppendPublish(nil, 1, "", "q", false, withL, []byte("x"), 131072))
	}
	for range 4 {
		expect[*wire.BasicDeliver](r, 1)
		if got, _ := r.expectContent(1); !bytes.Equal(got, props) {
			t.Errorf("got %x, want %x", got, props)
		}
	}
}

func TestCarbonCopies(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.declareAndConsume(true)
	r.method(1, &wire.QueueDeclare{Queue: "q2"}, &wire.QueueDeclare{Queue: "q3"})
	expect[*wire.QueueDeclareOk](r, 1)
	expect[*wire.QueueDeclareOk](r, 1)
	r.write(publishFrames(1, "", "q", "x", &wire.Properties{Headers: wire.Table{
		{Name: "CC", Value: []any{"q2", int32(1)}}, {Name: "BCC", Value: []any{"q3", "q"}}, {Name: "else", Value: true},
	}}))
	_, p, _ := r.delivery()
	if _, ok := p.Headers.Get("BCC"); ok || len(p.Headers) != 2 {
		t.Errorf("headers %v", p.Headers)
	}
	for _, q := range []string{"q2", "q3"} {
		r.method(1, &wire.BasicGet{Queue: q, NoAck: true})
		if g := expect[*wire.BasicGetOk](r, 1); g.RoutingKey != "q" || g.MessageCount != 0 {
			t.Errorf("from %s: %+v", q, g)
		}
		r.expectContent(1)
		r.method(1, &wire.BasicGet{Queue: q, NoAck: true})
		expect[*wire.BasicGetEmpty](r, 1)
	}
}

func TestAcks(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.declareAndConsume(false)
	q, _ := mustVHost(t, s).Queue("q")
	for i := range 10 {
		r.write(publishFrames(1, "", "q", fmt.Sprint(i), nil))
		if d, _, _ := r.delivery(); d.DeliveryTag != uint64(i+1) {
			t.Fatalf("got %+v", d)
		}
	}
	unacked := func(n int) {
		t.Helper()
		r.method(1, &wire.BasicQos{PrefetchCount: 100})
		expect[*wire.BasicQosOk](r, 1)
		if i := q.Info(); i.Unacked != n {
			t.Fatalf("%d unacked, want %d", i.Unacked, n)
		}
	}
	unacked(10)
	r.method(1, &wire.BasicAck{DeliveryTag: 2})
	unacked(9)
	r.method(1, &wire.BasicAck{DeliveryTag: 4, Multiple: true}) // 1, 3, 4
	unacked(6)
	r.method(1, &wire.BasicReject{DeliveryTag: 5})
	unacked(5)
	r.method(1, &wire.BasicNack{DeliveryTag: 7, Multiple: true}) // 6, 7
	unacked(3)
	r.method(1, &wire.BasicCancel{ConsumerTag: "c"})
	expect[*wire.BasicCancelOk](r, 1)
	unacked(3) // Cancel requeues nothing.
	r.method(1, &wire.BasicReject{DeliveryTag: 9, Requeue: true})
	unacked(2)
	r.method(1, &wire.BasicRecover{Requeue: true})
	expect[*wire.BasicRecoverOk](r, 1)
	unacked(0)
	for _, want := range []string{"7", "8", "9"} { // To their old places.
		r.method(1, &wire.BasicGet{Queue: "q"})
		if g := expect[*wire.BasicGetOk](r, 1); !g.Redelivered {
			t.Errorf("got %+v", g)
		}
		if _, body := r.expectContent(1); body != want {
			t.Errorf("got %s, want %s", body, want)
		}
	}
	r.method(1, &wire.BasicAck{Multiple: true}, &wire.BasicAck{Multiple: true}) // Everything, then nothing.
	unacked(0)
	if i := q.Info(); i.Ready != 0 {
		t.Errorf("%d ready", i.Ready)
	}
}

// TestAckBeforePublish: the credit of an ack counts for a publish behind it.
func TestAckBeforePublish(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	high, low := wire.Table{{Name: "x-priority", Value: int8(5)}}, wire.Table(nil)
	r.method(1, &wire.QueueDeclare{Queue: "q"}, &wire.BasicQos{PrefetchCount: 1},
		&wire.BasicConsume{Queue: "q", ConsumerTag: "high", Arguments: high}, &wire.BasicConsume{Queue: "q", ConsumerTag: "low", Arguments: low})
	expect[*wire.QueueDeclareOk](r, 1)
	expect[*wire.BasicQosOk](r, 1)
	expect[*wire.BasicConsumeOk](r, 1)
	expect[*wire.BasicConsumeOk](r, 1)
	r.write(publishFrames(1, "", "q", "a", nil))
	r.delivery()
	r.write(join(methodFrame(1, &wire.BasicAck{DeliveryTag: 1}), publishFrames(1, "", "q", "b", nil)))
	if d, _, _ := r.delivery(); d.ConsumerTag != "high" {
		t.Errorf("b went to %s", d.ConsumerTag)
	}
}

// TestSharedPrefetch: basic.qos with global=true limits all consumers of the
// channel together, also those that were there before, and can be raised.
func TestSharedPrefetch(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.declareAndConsume(false)
	r.method(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "d"}, &wire.BasicQos{PrefetchCount: 2, Global: true})
	expect[*wire.BasicConsumeOk](r, 1)
	expect[*wire.BasicQosOk](r, 1)
	for range 6 {
		r.write(publishFrames(1, "", "q", "x", nil))
	}
	r.delivery()
	r.delivery()
	q, _ := mustVHost(t, s).Queue("q")
	waitFor(t, func() bool { i := q.Info(); return i.Unacked == 2 && i.Ready == 4 })
	r.method(1, &wire.BasicQos{PrefetchCount: 5, Global: true})
	seen := 0
	for seen < 3 { // In any order with qos-ok.
		f, err := r.readFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == wire.FrameBody {
			seen++
		}
	}
	if i := q.Info(); i.Unacked != 5 || i.Ready != 1 {
		t.Errorf("unacked %d, ready %d", i.Unacked, i.Ready)
	}
}

func TestCancelNotify(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.declareAndConsume(false)
	other := s.openRaw(t)
	other.method(1, &wire.QueueDelete{Queue: "q"})
	expect[*wire.QueueDeleteOk](other, 1)
	if m := expect[*wire.BasicCancel](r, 1); m.ConsumerTag != "c" || !m.NoWait {
		t.Errorf("got %+v", m)
	}
	r.declareAndConsume(false) // The tag is free again.

	// One that does not understand it just gets no more.
	plain := s.openRawAs(t, &wire.ConnectionTuneOk{ChannelMax: 10, FrameMax: 8192}, nil)
	plain.method(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"})
	expect[*wire.BasicConsumeOk](plain, 1)
	other.method(1, &wire.QueueDelete{Queue: "q"})
	expect[*wire.QueueDeleteOk](other, 1)
	plain.method(1, &wire.BasicCancel{ConsumerTag: "c"})
	expect[*wire.BasicCancelOk](plain, 1)
}

// TestConsumerTimeout: a consumer that acks too late is told by basic.cancel, or
// loses its channel if it does not understand that.
func TestConsumerTimeout(t *testing.T) {
	var now atomic.Int64
	now.Store(1_000_000)
	s := newTestServer(t, func(_ *Options, o *core.Options) {
		o.Now = now.Load
		o.ConsumerTimeoutMS = 60_000
	})
	r := s.openRaw(t)
	r.declareAndConsume(false)
	r.write(publishFrames(1, "", "q", "late", &wire.Properties{}))
	late, _, _ := r.delivery()
	now.Add(60_000)
	s.broker.Advance(now.Load())
	if m := expect[*wire.BasicCancel](r, 1); m.ConsumerTag != "c" || !m.NoWait {
		t.Errorf("got %+v", m)
	}
	// An ack that comes too late changes nothing, and is no error.
	r.method(1, &wire.BasicAck{DeliveryTag: late.DeliveryTag}, &wire.QueueDeclare{Queue: "q", Passive: true})
	if m := expect[*wire.QueueDeclareOk](r, 1); m.MessageCount != 1 || m.ConsumerCount != 0 {
		t.Errorf("got %+v", m)
	}

	plain := s.openRawAs(t, &wire.ConnectionTuneOk{ChannelMax: 10, FrameMax: 8192}, nil)
	plain.method(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"})
	expect[*wire.BasicConsumeOk](plain, 1)
	if d, _, body := plain.delivery(); !d.Redelivered || body != "late" {
		t.Errorf("got %+v %q", d, body)
	}
	now.Add(60_000)
	s.broker.Advance(now.Load())
	m := expect[*wire.ChannelClose](plain, 1)
	if want := "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 60000 ms. " +
		"This timeout value can be configured, see consumers doc guide to learn more"; m.Code != 406 || m.Text != want || m.Class != 0 || m.Method != 0 {
		t.Errorf("got %+v", m)
	}
	plain.method(1, &wire.ChannelCloseOk{}, &wire.ChannelOpen{})
	expect[*wire.ChannelOpenOk](plain, 1)
	plain.method(1, &wire.BasicGet{Queue: "q"})
	if d := expect[*wire.BasicGetOk](plain, 1); !d.Redelivered || d.MessageCount != 0 {
		t.Errorf("got %+v", d)
	}
}

func TestDirectReplyTo(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.declareAndConsume(true)
	r.method(1, &wire.BasicConsume{Queue: replyToName, ConsumerTag: "replies", NoAck: true})
	expect[*wire.BasicConsumeOk](r, 1)
	r.write(publishFrames(1, "", "q", "question", &wire.Properties{ReplyTo: replyToName, CorrelationID: "7"}))
	_, p, _ := r.delivery()
	if !strings.HasPrefix(p.ReplyTo, replyToName+".") || p.CorrelationID != "7" {
		t.Fatalf("got %+v", p)
	}
	server := s.openRaw(t)
	server.method(1, &wire.ConfirmSelect{}, &wire.QueueDeclare{Queue: p.ReplyTo, Passive: true})
	expect[*wire.ConfirmSelectOk](server, 1)
	if m := expect[*wire.QueueDeclareOk](server, 1); m.MessageCount != 0 || m.ConsumerCount != 1 {
		t.Errorf("got %+v", m)
	}
	answer := wire.AppendPublish(nil, 1, "", p.ReplyTo, true, wire.AppendProperties(nil, &wire.Properties{}), []byte("answer"), 131072)
	server.write(answer)
	expect[*wire.BasicAck](server, 1)
	d, _, body := r.delivery()
	if d.ConsumerTag != "replies" || body != "answer" || d.Exchange != "" || d.Redelivered {
		t.Errorf("got %+v %q", d, body)
	}
	// The requester has gone: confirmed, not returned, and not found.
	r.method(1, &wire.BasicCancel{ConsumerTag: "replies"})
	expect[*wire.BasicCancelOk](r, 1)
	server.write(answer)
	if a := expect[*wire.BasicAck](server, 1); a.DeliveryTag != 2 {
		t.Errorf("got %+v", a)
	}
	server.method(1, &wire.QueueDeclare{Queue: p.ReplyTo, Passive: true})
	if m := expect[*wire.ChannelClose](server, 1); m.Code != 404 {
		t.Errorf("got %+v", m)
	}
}

func TestTransactions(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.method(1, &wire.QueueDeclare{Queue: "q"}, &wire.TxSelect{}, &wire.TxSelect{})
	expect[*wire.QueueDeclareOk](r, 1)
	expect[*wire.TxSelectOk](r, 1)
	expect[*wire.TxSelectOk](r, 1)
	q, _ := mustVHost(t, s).Queue("q")
	r.write(publishFrames(1, "", "q", "a", nil))
	r.write(wire.AppendPublish(nil, 1, "", "none", true, wire.AppendProperties(nil, &wire.Properties{}), []byte("back"), 131072))
	r.write(publishFrames(1, "", "q", "b", nil))
	r.method(1, &wire.BasicQos{})
	expect[*wire.BasicQosOk](r, 1)
	if n := q.Info().Ready; n != 0 {
		t.Fatalf("%d ready before the commit", n)
	}
	r.method(1, &wire.TxCommit{})
	expect[*wire.BasicReturn](r, 1)
	r.expectContent(1)
	expect[*wire.TxCommitOk](r, 1)
	if n := q.Info().Ready; n != 2 {
		t.Fatalf("%d ready after the commit", n)
	}
	// Acks wait for the commit too; a rollback makes them undone.
	get := func() uint64 {
		r.method(1, &wire.BasicGet{Queue: "q"})
		tag := expect[*wire.BasicGetOk](r, 1).DeliveryTag
		r.expectContent(1)
		return tag
	}
	a, b := get(), get()
	r.method(1, &wire.BasicAck{DeliveryTag: a}, &wire.TxRollback{})
	expect[*wire.TxRollbackOk](r, 1)
	r.method(1, &wire.BasicAck{DeliveryTag: a}, &wire.TxCommit{})
	expect[*wire.TxCommitOk](r, 1)
	if i := q.Info(); i.Unacked != 1 {
		t.Errorf("%d unacked", i.Unacked)
	}
	// Closing is a rollback.
	r.write(publishFrames(1, "", "q", "never", nil))
	r.method(1, &wire.BasicAck{DeliveryTag: b}, &wire.ChannelClose{})
	expect[*wire.ChannelCloseOk](r, 1)
	if i := q.Info(); i.Unacked != 0 || i.Ready != 1 {
		t.Errorf("unacked %d, ready %d", i.Unacked, i.Ready)
	}
	if n := s.broker.Memory().Live(); n > 1<<20 {
		t.Errorf("%d bytes accounted for", n)
	}
}

func TestTransactionTooLarge(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.method(1, &wire.TxSelect{})
	expect[*wire.TxSelectOk](r, 1)
	message := publishFrames(1, "", "q", strings.Repeat("x", 1<<20), nil)
	for range 32 {
		r.write(message)
	}
	if m := expect[*wire.ChannelClose](r, 1); m.Code != 406 || !strings.Contains(m.Text, "transaction is larger than 33554432 bytes") {
		t.Errorf("got %+v", m)
	}
	waitFor(t, func() bool { return s.broker.Memory().Live() == 0 })
}

// TestHeaderLargerThanFrame: a message whose properties do not fit into the
// consumer's frames is discarded, and the queue goes on.
func TestHeaderLargerThanFrame(t *testing.T) {
	for _, noAck := range []bool{false, true} {
		s := newTestServer(t, nil)
		small := s.openRawAs(t, &wire.ConnectionTuneOk{ChannelMax: 10, FrameMax: 4096}, nil)
		small.method(1, &wire.BasicQos{PrefetchCount: 1})
		expect[*wire.BasicQosOk](small, 1)
		small.declareAndConsume(noAck)
		r := s.openRaw(t)
		large := &wire.Properties{Headers: wire.Table{{Name: "h", Value: strings.Repeat("x", 5000)}}}
		for range 500 {
			r.write(publishFrames(1, "", "q", "large", large))
		}
		r.write(publishFrames(1, "", "q", "small", nil))
		if d, _, body := small.delivery(); body != "small" || d.DeliveryTag != 1 {
			t.Errorf("got %q %+v", body, d)
		}
		small.method(1, &wire.BasicCancel{ConsumerTag: "c"})
		expect[*wire.BasicCancelOk](small, 1)
		r.write(publishFrames(1, "", "q", "large", large))
		r.method(1, &wire.QueueDeclare{Queue: "q", Passive: true})
		if m := expect[*wire.QueueDeclareOk](r, 1); m.MessageCount != 1 {
			t.Errorf("got %+v", m)
		}
		small.method(1, &wire.BasicGet{Queue: "q", NoAck: noAck})
		expect[*wire.BasicGetEmpty](small, 1)
		if !strings.Contains(s.logs.String(), "frame_max=4096 needed=5") {
			t.Errorf("logged %s", s.logs)
		}
	}
}

func TestServerNames(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.method(1, &wire.QueueDeclare{}, &wire.QueueBind{Exchange: "amq.direct"}, &wire.BasicConsume{NoAck: true})
	name := expect[*wire.QueueDeclareOk](r, 1).Queue
	expect[*wire.QueueBindOk](r, 1)
	tag := expect[*wire.BasicConsumeOk](r, 1).ConsumerTag
	if len(name) != len("amq.gen-")+22 || !strings.HasPrefix(tag, "amq.ctag-") || len(tag) != len("amq.ctag-")+22 {
		t.Errorf("queue %s, consumer %s", name, tag)
	}
	r.write(publishFrames(1, "amq.direct", name, "x", nil)) // The queue's name is the key.
	r.delivery()
	r.method(1, &wire.QueueUnbind{Exchange: "amq.direct"}, &wire.QueuePurge{}, &wire.QueueDelete{})
	expect[*wire.QueueUnbindOk](r, 1)
	expect[*wire.QueuePurgeOk](r, 1)
	expect[*wire.BasicCancel](r, 1)
	expect[*wire.QueueDeleteOk](r, 1)
}

func TestSmallMethods(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.method(1, &wire.AccessRequest{Realm: "/data"}, &wire.ChannelFlow{Active: true}, &wire.BasicRecoverAsync{Requeue: true})
	if m := expect[*wire.AccessRequestOk](r, 1); m.Ticket != 1 {
		t.Errorf("got %+v", m)
	}
	if m := expect[*wire.ChannelFlowOk](r, 1); !m.Active {
		t.Errorf("got %+v", m)
	}
	r.method(0, &wire.ConnectionUpdateSecret{NewSecret: []byte("x"), Reason: "why not"})
	expect[*wire.ConnectionUpdateSecretOk](r, 0)
	r.method(1, &wire.ExchangeDeclare{Exchange: "x\r\n", Type: "fanout", NoWait: true}, &wire.ExchangeDeclare{Exchange: "y", Type: "topic"},
		&wire.ExchangeBind{Destination: "x", Source: "y", RoutingKey: "#"}, &wire.ExchangeUnbind{Destination: "x", Source: "y", RoutingKey: "#"},
		&wire.ExchangeDelete{Exchange: "x", IfUnused: true})
	expect[*wire.ExchangeDeclareOk](r, 1)
	expect[*wire.ExchangeBindOk](r, 1)
	expect[*wire.ExchangeUnbindOk](r, 1)
	expect[*wire.ExchangeDeleteOk](r, 1)
}

// TestGoClient is the whole life of a message as amqp091-go sees it.
func TestGoClient(t *testing.T) {
	s := newTestServer(t, nil)
	ch := s.channel(t)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	confirms := ch.NotifyPublish(make(chan amqp091.Confirmation, 100))
	returns := ch.NotifyReturn(make(chan amqp091.Return, 1))
	q := must[amqp091.Queue](t)(ch.QueueDeclare("", false, true, true, false, nil))
	if err := ch.ExchangeDeclare("logs", "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(q.Name, "a.*", "logs", false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Qos(10, 0, false); err != nil {
		t.Fatal(err)
	}
	msgs := must[<-chan amqp091.Delivery](t)(ch.Consume(q.Name, "me", false, false, false, false, nil))
	for i := range 50 {
		if err := ch.PublishWithContext(context.Background(), "logs", "a.b", false, false, amqp091.Publishing{Body: []byte{byte(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		d := next(t, msgs)
		if d.Body[0] != byte(i) || d.Exchange != "logs" || d.RoutingKey != "a.b" {
			t.Fatalf("got %+v", d)
		}
		if err := d.Ack(false); err != nil {
			t.Fatal(err)
		}
		if c := next(t, confirms); !c.Ack || c.DeliveryTag != uint64(i+1) {
			t.Fatalf("got %+v", c)
		}
	}
	if err := ch.PublishWithContext(context.Background(), "logs", "nobody", true, false, amqp091.Publishing{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if ret := next(t, returns); ret.ReplyCode != 312 || string(ret.Body) != "x" {
		t.Errorf("got %+v", ret)
	}
	if c := next(t, confirms); !c.Ack {
		t.Errorf("got %+v", c)
	}
	if err := ch.Cancel("me", false); err != nil {
		t.Fatal(err)
	}
	if _, ok := mustVHost(t, s).Queue(q.Name); ok {
		t.Error("auto-delete queue still there")
	}
}

func TestOperatorsSeeChannels(t *testing.T) {
	s := newTestServer(t, nil)
	r := s.openRaw(t)
	r.method(1, &wire.BasicQos{PrefetchCount: 7}, &wire.ConfirmSelect{})
	expect[*wire.BasicQosOk](r, 1)
	expect[*wire.ConfirmSelectOk](r, 1)
	r.declareAndConsume(false)
	r.write(publishFrames(1, "", "q", "x", nil))
	r.delivery()
	expect[*wire.BasicAck](r, 1)
	rows := 0
	for row := range s.broker.Registry().Rows(RowChannel) {
		rows++
		a, n := row.Attributes(), row.Counters()
		if a["prefetch_count"] != int64(7) || a["confirm"] != true || a["messages_unacknowledged"] != 1 || a["consumer_count"] != int64(1) ||
			a["messages_unconfirmed"] != uint64(0) || n["publish"] != 1 || n["deliver_get"] != 1 {
			t.Errorf("got %v %v", a, n)
		}
	}
	for row := range s.broker.Registry().Rows(RowConnection) {
		rows++
		a := row.Attributes()
		if a["user"] != "guest" || a["channels"] != int64(1) || a["protocol"] != "AMQP 0-9-1" || row.Counters()["recv_oct"] == 0 {
			t.Errorf("got %v", a)
		}
	}
	if rows != 2 {
		t.Errorf("%d rows", rows)
	}
	r.method(0, &wire.ConnectionClose{})
	expect[*wire.ConnectionCloseOk](r, 0)
	if n := s.broker.Registry().Count(RowChannel) + s.broker.Registry().Count(RowConnection); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

var _ core.Outlet = (*consumer)(nil)
