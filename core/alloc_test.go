//go:build !race && !invariants

package core_test

import (
	"testing"

	"leveret/core"
)

// TestStraightThroughDoesNotAllocate holds the hot path to its promise.
func TestStraightThroughDoesNotAllocate(t *testing.T) {
	for _, c := range []struct {
		name   string
		noAck  bool
		queues []string
	}{
		{"without ack", true, []string{"a"}},
		{"with ack", false, []string{"a"}},
		{"over many keys", true, []string{"a", "b", "c", "d", "e"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newBench(t, 64, 128)
			var sinks []*sink
			for _, q := range c.queues {
				x.queue(q)
				sinks = append(sinks, x.consume(q, c.noAck, 0))
			}
			pass := func() {
				x.publish("", c.queues, 0)
				for _, k := range sinks {
					k.c.Settle(core.Ack, k.seqs, &x.t)
					k.seqs = k.seqs[:0]
				}
			}
			for range 100 {
				pass()
			}
			if n := testing.AllocsPerRun(200, pass); n >= 1 {
				t.Errorf("%v allocations for a batch of %d", n, len(x.ms))
			}
		})
	}
}
