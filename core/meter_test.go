package core_test

import (
	"testing"
	"time"

	"leveret/core"
	"leveret/core/coretest"
)

// All that a session does is in its meter, by the kind of queue, and stays there
// when the session has ended.
func TestMeterCountsWhatSessionsDo(t *testing.T) {
	x := newBench(t, 10, 128)
	for _, d := range []core.QueueDeclare{
		{Name: "c"},
		{Name: "q", Durable: true, Arguments: core.Table{{Name: "x-queue-type", Value: "quorum"}}},
		{Name: "s", Durable: true, Arguments: core.Table{{Name: "x-queue-type", Value: "stream"}}},
	} {
		if _, err := x.s.DeclareQueue(d); err != nil {
			t.Fatal(err)
		}
		x.bind("amq.fanout", d.Name, "")
	}
	meter := x.b.Meter("bench")
	for i := range x.ms {
		x.ms[i].Number = uint64(i + 1)
	}
	x.ms[0].Body = make([]byte, 100)
	x.ms[1].Body = make([]byte, 101)
	x.ms[2].Body = make([]byte, 100_000_001)
	x.publish("amq.fanout", []string{""}, 0)
	x.ms = x.ms[:4]
	for i := range x.ms {
		x.ms[i].Reset()
		x.ms[i].Number = uint64(11 + i)
		x.ms[i].Mandatory = i == 0
	}
	x.publish("", []string{"nobody"}, 0)

	auto := x.consume("c", true, 0)
	acks := x.consume("q", false, 3)
	acks.c.Settle(core.Requeue, acks.seqs[:2], &x.t)
	acks.c.Settle(core.Ack, acks.seqs[2:3], &x.t)
	reads := &sink{}
	var err error
	reads.c, err = x.s.Consume(core.ConsumeOptions{Queue: "s", Prefetch: 100, Outlet: reads, Arguments: core.Table{{Name: "x-stream-offset", Value: "first"}}})
	if err != nil {
		t.Fatal(err)
	}
	reads.c.Start(&x.t)
	if auto.n != 10 || reads.n != 10 {
		t.Fatalf("consumers got %d and %d", auto.n, reads.n)
	}
	reads.c.Settle(core.Ack, reads.seqs, &x.t)
	if found, err := x.s.Get("c", true, nil); found || err != nil {
		t.Fatal(found, err)
	}
	var h *core.Holder
	var seq core.Seq
	for _, noAck := range []bool{false, true} {
		_, err := x.s.Get("q", noAck, func(holder *core.Holder, d *core.Delivery, _ int) {
			if !noAck {
				h, seq = holder, d.Seq
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	h.Settle(core.Ack, []core.Seq{seq}, &x.t)

	got := meter.Totals()
	if got.Publishers != 1 || got.Consumers != 3 {
		t.Errorf("%d publishers, %d consumers", got.Publishers, got.Consumers)
	}
	x.p.End()
	if n := meter.Totals().Publishers; n != 0 {
		t.Errorf("%d publishers after the end", n)
	}
	x.s.Close()
	got = meter.Totals()
	want := core.MeterTotals{
		Received: 14, ReceivedConfirm: 14, Confirmed: 14, Routed: 30, UnroutableReturned: 1, UnroutableDropped: 3,
		SizeBytes:   7*128 + 100 + 101 + 100_000_001,
		ConsumedAck: [4]uint64{core.KindQuorum: uint64(acks.n), core.KindStream: 10}, ConsumedAuto: [4]uint64{core.KindClassic: 10},
		GotAck: [4]uint64{core.KindQuorum: 1}, GotAuto: [4]uint64{core.KindQuorum: 1}, GetEmpty: [4]uint64{core.KindClassic: 1},
		Redelivered: [4]uint64{core.KindQuorum: 2}, Acked: [4]uint64{core.KindQuorum: 2, core.KindStream: 10},
	}
	want.Sizes[0], want.Sizes[1], want.Sizes[8] = 5, 8, 1
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// What was deleted stays counted in its virtual host, and the broker knows how
// much came and went.
func TestWhatIsDeletedStaysCounted(t *testing.T) {
	x := newBench(t, 10, 128)
	x.queue("q")
	x.queue("q")
	x.publish("", []string{"q"}, 0)
	x.consume("q", true, 0)
	if _, err := x.s.DeleteQueue("q", false, false); err != nil {
		t.Fatal(err)
	}
	if got := x.s.VHost().Retired().Queues; got.Published != 10 || got.DeliveredAuto != 10 {
		t.Errorf("retired %+v", got)
	}
	if got, want := x.b.Churn(), (core.Churn{QueuesDeclared: 2, QueuesCreated: 1, QueuesDeleted: 1}); got != want {
		t.Errorf("churn %+v, want %+v", got, want)
	}
	if err := x.s.DeclareExchange(core.ExchangeDeclare{Name: "x", Type: "fanout"}); err != nil {
		t.Fatal(err)
	}
	x.publish("x", []string{""}, 0)
	if err := x.s.DeleteExchange("x", false); err != nil {
		t.Fatal(err)
	}
	if n := x.s.VHost().Retired().PublishedIn; n != 10 {
		t.Errorf("%d messages of a deleted exchange", n)
	}
}

func TestDeathsAreCountedByStrategy(t *testing.T) {
	x := newBench(t, 10, 128)
	declare := func(name string, args ...core.Field) {
		if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: name, Durable: true, Arguments: args}); err != nil {
			t.Fatal(err)
		}
	}
	declare("drops", core.Field{Name: "x-max-length", Value: int32(4)})
	declare("dead", core.Field{Name: "x-queue-type", Value: "quorum"})
	declare("moves", core.Field{Name: "x-queue-type", Value: "quorum"}, core.Field{Name: "x-max-length", Value: int32(0)},
		core.Field{Name: "x-dead-letter-exchange", Value: ""}, core.Field{Name: "x-dead-letter-routing-key", Value: "dead"})
	x.publish("", []string{"drops"}, 0)
	x.publish("", []string{"moves"}, 0)
	x.b.Advance(x.b.Now()) // Waits for the workers.
	if n := x.b.Died(core.KindClassic, core.DeadLetterDisabled); n != [4]uint64{2: 6} {
		t.Errorf("dropped: %v", n)
	}
	if n := x.b.Died(core.KindQuorum, core.DeadLetterAtMostOnce); n != [4]uint64{2: 10} {
		t.Errorf("moved: %v", n)
	}
}

// A message knows how long it has waited also after a restart, when it is in the
// log only.
func TestAgeOfAColdHead(t *testing.T) {
	defs, log := coretest.NewDefinitions(), coretest.NewLog()
	x := stored(t, defs, log)
	if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true}); err != nil {
		t.Fatal(err)
	}
	before := time.Now().UnixMilli()
	x.fill("q", 0, 200, true)
	x.b.Close()
	after := time.Now().UnixMilli()
	again, err := defs.Restarted()
	if err != nil {
		t.Fatal(err)
	}
	y := stored(t, again, log)
	defer y.b.Close()
	q, _ := y.s.VHost().Queue("q")
	if ms := q.Summary().HeadTimestamp; ms != 0 {
		t.Errorf("%d is known although nobody has read it", ms)
	}
	y.b.Advance(y.b.Now()) // Waits for who reads it.
	if ms := q.Summary().HeadTimestamp; ms < before || ms > after {
		t.Errorf("arrived at %d, want %d to %d", ms, before, after)
	}
}

func TestRegistryChurn(t *testing.T) {
	x := newBench(t, 1, 1)
	r := x.b.Registry()
	a := r.Add(core.RowOptions{Kind: "k", Name: "a"})
	r.Add(core.RowOptions{Kind: "k", Name: "b"})
	a.Remove()
	a.Remove()
	if added, removed := r.Churn("k"); added != 2 || removed != 1 {
		t.Errorf("%d added, %d removed", added, removed)
	}
}
