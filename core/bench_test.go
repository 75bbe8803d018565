package core_test

import (
	"fmt"
	"testing"

	"leveret/core"
)

// sink is an outlet that only counts, and remembers what it must settle.
type sink struct {
	c     *core.Consumer
	n     int
	seqs  []core.Seq
	noAck bool
}

func (s *sink) Room(*core.Waiter) bool { return true }
func (s *sink) Flush()                 {}
func (s *sink) Deliver(_ *core.Consumer, ds []core.Delivery) bool {
	s.n += len(ds)
	if !s.noAck {
		for i := range ds {
			s.seqs = append(s.seqs, ds[i].Seq)
		}
	}
	return false
}

type ignore struct{}

func (ignore) Completed(uint64, uint64, core.Kind) {}

// bench is a broker with one publisher.
type bench struct {
	tb    testing.TB
	b     *core.Broker
	s     *core.Session
	p     *core.Publisher
	ms    []core.Publication
	t     core.Touched
	given int64 // Heap that is not to be counted.
}

func newBench(tb testing.TB, batch, body int) *bench {
	return newBenchOf(tb, core.Options{}, batch, body)
}

func newBenchOf(tb testing.TB, o core.Options, batch, body int) *bench {
	b, err := core.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { b.Close() })
	user, _ := b.Auth().User("guest")
	s, err := b.OpenSession(core.SessionOptions{VHost: "/", User: user, Loopback: true, Meter: b.Meter("bench")})
	if err != nil {
		tb.Fatal(err)
	}
	x := &bench{tb: tb, b: b, s: s, p: s.NewPublisher(ignore{}), ms: make([]core.Publication, batch)}
	for i := range x.ms {
		x.ms[i].Reset()
		x.ms[i].Body = make([]byte, body)
		x.ms[i].Encoded = []byte{0x10, 0, 1}
		x.ms[i].Form = core.FormAMQP091
	}
	return x
}

func (x *bench) queue(name string) {
	if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: name}); err != nil {
		x.tb.Fatal(err)
	}
}

func (x *bench) bind(exchange, queue, key string) {
	if err := x.s.Bind(core.Binding{Source: exchange, Destination: queue, Key: key}); err != nil {
		x.tb.Fatal(err)
	}
}

func (x *bench) consume(queue string, noAck bool, prefetch int) *sink {
	k := &sink{noAck: noAck}
	c, err := x.s.Consume(core.ConsumeOptions{Queue: queue, Tag: "t", NoAck: noAck, Prefetch: prefetch, Outlet: k})
	if err != nil {
		x.tb.Fatal(err)
	}
	k.c = c
	c.Start(&x.t)
	return k
}

// publish publishes one batch, its keys taken in turn.
func (x *bench) publish(exchange string, keys []string, from int) {
	for i := range x.ms {
		m := &x.ms[i]
		m.RoutingKey = keys[(from+i)%len(keys)]
		t, err := x.p.Target(exchange)
		if err != nil {
			x.tb.Fatal(err)
		}
		if _, err := x.p.Route(t, m); err != nil {
			x.tb.Fatal(err)
		}
	}
	x.p.Publish(x.ms, &x.t)
	x.t.Flush()
}

func BenchmarkQueue(b *testing.B) {
	const batch = 256
	for _, body := range []int{128, 1024} {
		b.Run(fmt.Sprintf("straight/noack/body=%d", body), func(b *testing.B) {
			x := newBench(b, batch, body)
			x.queue("q")
			x.consume("q", true, 0)
			b.ReportAllocs()
			keys := []string{"q"}
			for n := 0; b.Loop(); n++ {
				x.publish("", keys, 0)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/msg")
		})
		b.Run(fmt.Sprintf("straight/ack/body=%d", body), func(b *testing.B) {
			x := newBench(b, batch, body)
			x.queue("q")
			k := x.consume("q", false, 0)
			b.ReportAllocs()
			keys := []string{"q"}
			for b.Loop() {
				x.publish("", keys, 0)
				k.c.Settle(core.Ack, k.seqs, &x.t)
				k.seqs = k.seqs[:0]
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/msg")
		})
		b.Run(fmt.Sprintf("backlog/body=%d", body), func(b *testing.B) {
			x := newBench(b, batch, body)
			x.queue("q")
			b.ReportAllocs()
			keys := []string{"q"}
			for b.Loop() {
				for range 64 {
					x.publish("", keys, 0)
				}
				k := x.consume("q", true, 0)
				k.c.Cancel(&x.t)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch*64), "ns/msg")
		})
	}
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("fanout=%d", n), func(b *testing.B) {
			x := newBench(b, batch, 128)
			for i := range n {
				q := fmt.Sprintf("q%d", i)
				x.queue(q)
				x.bind("amq.fanout", q, "")
				x.consume(q, true, 0)
			}
			b.ReportAllocs()
			keys := []string{"any"}
			for b.Loop() {
				x.publish("amq.fanout", keys, 0)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch*n), "ns/delivery")
		})
	}
}

func BenchmarkRouting(b *testing.B) {
	const batch = 256
	for _, bindings := range []int{10, 1000, 100000} {
		for _, exchange := range []string{"amq.direct", "amq.topic"} {
			b.Run(fmt.Sprintf("%s/bindings=%d", exchange[4:], bindings), func(b *testing.B) {
				x := newBench(b, batch, 128)
				queues := 100
				for i := range queues {
					q := fmt.Sprintf("q%d", i)
					x.queue(q)
					x.consume(q, true, 0)
				}
				keys := make([]string, bindings)
				for i := range bindings {
					keys[i] = fmt.Sprintf("dev.%d.temp", i)
					pattern := keys[i]
					if exchange == "amq.topic" {
						pattern = fmt.Sprintf("dev.%d.*", i)
					}
					x.bind(exchange, fmt.Sprintf("q%d", i%queues), pattern)
				}
				b.ReportAllocs()
				b.ResetTimer()
				n := 0
				for b.Loop() {
					x.publish(exchange, keys, n)
					n += batch
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/msg")
			})
		}
	}
	for _, c := range []struct {
		exchange string
		args     core.Table
		queues   int
	}{
		{"x-random", nil, 100},
		{"x-consistent-hash", nil, 100},
		{"x-consistent-hash", core.Table{{Name: "hash-header", Value: "shard"}}, 10},
		{"x-consistent-hash", core.Table{{Name: "hash-header", Value: "shard"}}, 1000},
		{"x-modulus-hash", nil, 100},
		{"x-recent-history", nil, 1},
	} {
		b.Run(fmt.Sprintf("%s/arguments=%d/queues=%d", c.exchange, len(c.args), c.queues), func(b *testing.B) {
			x := newBench(b, batch, 128)
			if err := x.s.DeclareExchange(core.ExchangeDeclare{Name: "x", Type: c.exchange, Arguments: c.args}); err != nil {
				b.Fatal(err)
			}
			for i := range c.queues {
				q := fmt.Sprintf("q%d", i)
				x.queue(q)
				x.bind("x", q, "1")
				x.consume(q, true, 0)
			}
			keys := make([]string, batch)
			for i := range keys {
				keys[i] = fmt.Sprintf("key.%d", i)
				x.ms[i].SetProperties(&core.Properties{Headers: core.Table{{Name: "shard", Value: int64(i)}}})
			}
			b.ReportAllocs()
			for b.Loop() {
				x.publish("x", keys, 0)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/msg")
		})
	}
	b.Run("headers/bindings=100", func(b *testing.B) {
		x := newBench(b, batch, 128)
		for i := range 100 {
			q := fmt.Sprintf("q%d", i)
			x.queue(q)
			x.consume(q, true, 0)
			args := core.Table{{Name: "x-match", Value: "all"}, {Name: "shard", Value: int64(i)}}
			if err := x.s.Bind(core.Binding{Source: "amq.headers", Destination: q, Arguments: args}); err != nil {
				b.Fatal(err)
			}
		}
		for i := range x.ms {
			x.ms[i].SetProperties(&core.Properties{Headers: core.Table{{Name: "shard", Value: int64(i % 100)}}})
		}
		b.ReportAllocs()
		keys := []string{""}
		for b.Loop() {
			x.publish("amq.headers", keys, 0)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/msg")
	})
}
