package stream_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"leveret/core"
	"leveret/persist/vfs"
)

// encoder is an outlet that does with a delivery what a connection does: one
// copy of it. It acks in portions.
type encoder struct {
	c    *core.Consumer
	buf  []byte
	mu   sync.Mutex
	seqs []core.Seq
	// spare is to be used again.
	spare []core.Seq
	left  int
	done  chan struct{}
}

// Room is core.Outlet.
func (*encoder) Room(*core.Waiter) bool { return true }

// Deliver is core.Outlet.
func (e *encoder) Deliver(_ *core.Consumer, ds []core.Delivery) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range ds {
		m := ds[i].Message
		e.buf = append(append(append(append(e.buf[:0], m.Exchange...), m.RoutingKey...), m.Encoded...), m.Body...)
		e.seqs = append(e.seqs, ds[i].Seq)
	}
	if e.left -= len(ds); e.left == 0 {
		close(e.done)
	}
	return len(e.seqs) >= 500
}

// Flush is core.Outlet.
func (e *encoder) Flush() {
	e.mu.Lock()
	seqs := e.seqs
	e.seqs, e.spare = e.spare[:0], nil
	e.mu.Unlock()
	var t core.Touched
	e.c.Settle(core.Ack, seqs, &t)
	e.mu.Lock()
	e.spare = seqs
	e.mu.Unlock()
	t.Flush()
}

// BenchmarkReplay reads a stream of 200,000 messages from its files, as many
// times as there are readers.
func BenchmarkReplay(b *testing.B) {
	dir := b.TempDir()
	br := startAt(b, vfs.OS, dir, core.NewMemoryDefinitions())
	br.declare("s", core.Field{Name: "x-queue-type", Value: "stream"})
	p := br.publisher(func() int { return 1 })
	const count, batch = 200_000, 500
	body := strings.Repeat("x", 128)
	bodies := make([]string, batch)
	for i := range bodies {
		bodies[i] = body
	}
	for range count / batch {
		p.publish(b, "", "s", bodies...)
	}
	p.wait()
	br.Advance(br.now)
	for _, readers := range []int{1, 10} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body) * count * readers))
			for b.Loop() {
				outlets := make([]*encoder, readers)
				for i := range outlets {
					e := &encoder{left: count, done: make(chan struct{})}
					var err error
					e.c, err = br.session.Consume(core.ConsumeOptions{
						Queue: "s", Tag: fmt.Sprint(i), Prefetch: 2000, Outlet: e, Arguments: core.Table{first()},
					})
					if err != nil {
						b.Fatal(err)
					}
					outlets[i] = e
				}
				var t core.Touched
				for _, e := range outlets {
					e.c.Start(&t)
				}
				t.Flush()
				for _, e := range outlets {
					<-e.done
					e.c.Cancel(&t)
				}
			}
			b.ReportMetric(float64(count*readers)*float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
	if err := br.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkPublish publishes with confirms, 1,000 outstanding.
func BenchmarkPublish(b *testing.B) {
	for _, queue := range []string{"stream", "classic"} {
		b.Run(queue, func(b *testing.B) {
			br := startAt(b, vfs.OS, b.TempDir(), core.NewMemoryDefinitions())
			br.declare("q", core.Field{Name: "x-queue-type", Value: queue})
			p := br.publisher(func() int { return 1 })
			bodies := make([]string, 100)
			for i := range bodies {
				bodies[i] = strings.Repeat("x", 128)
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				p.publish(b, "", "q", bodies...)
				p.waitUntil(1000)
				n += len(bodies)
			}
			p.wait()
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "msgs/s")
			if err := br.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
