package mgmt

import (
	"sync"

	"leveret/core"
)

// outlet is a client's end that keeps what it is handed.
type outlet struct {
	mu   sync.Mutex
	seqs []core.Seq
}

func (o *outlet) Room(*core.Waiter) bool { return true }

func (o *outlet) Deliver(_ *core.Consumer, ds []core.Delivery) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, d := range ds {
		o.seqs = append(o.seqs, d.Seq)
	}
	return false
}

func (o *outlet) Flush() {}

// consume starts a consumer with prefetch 10 that acks nothing.
func consume(f *fixture, s *core.Session, queue, tag string) *core.Consumer {
	f.t.Helper()
	c, err := s.Consume(core.ConsumeOptions{Queue: queue, Tag: tag, Scope: "127.0.0.1:1 -> 127.0.0.1:5672 (1)", Prefetch: 10, Outlet: &outlet{}})
	f.must(err)
	var t core.Touched
	c.Start(&t)
	t.Flush()
	return c
}
