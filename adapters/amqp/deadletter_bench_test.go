package amqp

import (
	"fmt"
	"strconv"
	"testing"

	"leveret/core"
)

// BenchmarkDeadLetter is what an expired message takes until it is in its
// dead-letter queue: a million of them take a million times that. They have the
// same properties, or each its own.
func BenchmarkDeadLetter(b *testing.B) {
	for _, each := range []bool{false, true} {
		b.Run(fmt.Sprintf("expired/ids=%v", each), func(b *testing.B) {
			now := int64(1_000_000)
			broker, err := core.New(core.Options{Now: func() int64 { return now }})
			if err != nil {
				b.Fatal(err)
			}
			defer broker.Close()
			user, _ := broker.Auth().User("guest")
			s, err := broker.OpenSession(core.SessionOptions{VHost: "/", User: user, Loopback: true})
			if err != nil {
				b.Fatal(err)
			}
			for _, d := range []core.QueueDeclare{{Name: "dead"}, {Name: "q", Arguments: core.Table{
				{Name: "x-dead-letter-exchange", Value: ""}, {Name: "x-dead-letter-routing-key", Value: "dead"}, {Name: "x-message-ttl", Value: int64(1000)},
			}}} {
				if _, err := s.DeclareQueue(d); err != nil {
					b.Fatal(err)
				}
			}
			p := s.NewPublisher(nil)
			x, _ := p.Target("")
			const batch, batches = 256, 400
			ms := make([]core.Publication, batch)
			fill := func() {
				for i := range ms {
					id := "id"
					if each {
						id = strconv.Itoa(i)
					}
					ms[i].Reset()
					ms[i].SetProperties(&core.Properties{ContentType: "text/plain", MessageID: &id, Headers: core.Table{{Name: "a", Value: int64(1)}}, HeadersSet: true})
					form, encoded := ms[i].Stored(nil)
					ms[i].Reset()
					ms[i].Form, ms[i].Encoded = form, encoded
					ms[i].RoutingKey, ms[i].Body = "q", make([]byte, 128)
				}
			}
			fill()
			var t core.Touched
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				b.StopTimer()
				for range batches {
					for i := range ms {
						if _, err := p.Route(x, &ms[i]); err != nil {
							b.Fatal(err)
						}
					}
					p.Publish(ms, &t)
				}
				b.StartTimer()
				now += 1000
				broker.Advance(now)
				b.StopTimer()
				n += batch * batches
				q, _ := s.VHost().Queue("dead")
				if i := q.Info(); i.Ready != batch*batches {
					b.Fatalf("%d are dead of %d", i.Ready, batch*batches)
				}
				if _, err := s.PurgeQueue("dead"); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/msg")
		})
	}
}
