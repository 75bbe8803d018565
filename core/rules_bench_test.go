package core_test

import (
	"testing"

	"leveret/core"
)

// BenchmarkRules is a queue with nothing out of the ordinary beside one with a
// TTL and limits that are never reached.
func BenchmarkRules(b *testing.B) {
	for _, c := range []struct {
		name string
		args core.Table
	}{
		{"plain", nil},
		{"bounded", core.Table{{Name: "x-message-ttl", Value: int64(3600_000)}, {Name: "x-max-length", Value: int64(1_000_000)}, {Name: "x-max-length-bytes", Value: int64(1 << 30)}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			x := newBench(b, 256, 128)
			if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: "q", Arguments: c.args}); err != nil {
				b.Fatal(err)
			}
			k := &sink{}
			co, err := x.s.Consume(core.ConsumeOptions{Queue: "q", Tag: "t", Outlet: k, Prefetch: 1 << 20})
			if err != nil {
				b.Fatal(err)
			}
			co.SetPrefetch(1, &x.t) // So that messages come to rest.
			co.Start(&x.t)
			b.ReportAllocs()
			for b.Loop() {
				x.publish("", []string{"q"}, 0)
				co.SetPrefetch(0, &x.t)
				co.SetPrefetch(1, &x.t)
				co.Settle(core.Ack, k.seqs, &x.t)
				k.seqs = k.seqs[:0]
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*256), "ns/msg")
		})
	}
}
