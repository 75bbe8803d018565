package hostile

import (
	"fmt"
	"io"
	"testing"
	"time"

	"leveret/adapters/amqp/wire"
)

// TestUnreadDeliveries: consumers that never read what is delivered to them
// cost an out-buffer each; the rest waits in the queue, under its limit.
func TestUnreadDeliveries(t *testing.T) {
	for _, consumers := range []int{1, 100} {
		for _, noAck := range []bool{true, false} {
			t.Run(fmt.Sprintf("consumers=%d noack=%v", consumers, noAck), func(t *testing.T) {
				const limit = 64 * mib
				attack(t, rules{growth: 2*limit + int64(consumers)*512*kib, flags: []string{"--memory-limit", "64MiB"}, alone: true}, func(a *arena) {
					p := a.open(dialOptions{}, loginOptions{})
					a.queue(p, "unread")
					for range consumers {
						c := a.open(dialOptions{receiveBuffer: 4 << 10}, loginOptions{})
						a.must(c.methods(1, &wire.BasicConsume{Queue: "unread", NoAck: noAck}))
					}
					p.flood(a.ctx, repeat(message(1, "", "unread", false, make([]byte, 1000)), 256<<10))
				})
			})
		}
	}
}

// TestUnreadFanout: one message to a hundred consumers that do not read.
func TestUnreadFanout(t *testing.T) {
	attack(t, rules{growth: 160 * mib, flags: []string{"--memory-limit", "64MiB"}, alone: true}, func(a *arena) {
		for range 100 {
			c := a.open(dialOptions{receiveBuffer: 4 << 10}, loginOptions{})
			a.must(c.methods(1, &wire.QueueDeclare{Exclusive: true}, &wire.QueueBind{Exchange: "amq.fanout"}, &wire.BasicConsume{NoAck: true}))
			_, err := await[*wire.BasicConsumeOk](c, 1)
			a.must(err)
		}
		p := a.open(dialOptions{}, loginOptions{})
		p.flood(a.ctx, repeat(message(1, "amq.fanout", "", false, make([]byte, 1000)), 256<<10))
	})
}

// TestNeverAcks: a consumer with unlimited prefetch reads everything and acks
// nothing. What that costs counts as memory; at the limit its publisher waits.
func TestNeverAcks(t *testing.T) {
	attack(t, rules{growth: 160 * mib, flags: []string{"--memory-limit", "64MiB"}, alone: true}, func(a *arena) {
		c := a.open(dialOptions{}, loginOptions{})
		a.queue(c, "unacked")
		a.must(c.methods(1, &wire.BasicConsume{Queue: "unacked"}))
		go c.discard(a.ctx) // Ends with the attack.
		p := a.open(dialOptions{}, loginOptions{})
		sent, err := p.flood(a.ctx, repeat(message(1, "", "unacked", false, make([]byte, 16)), 256<<10))
		if err != nil {
			t.Errorf("after %d bytes: %v", sent, err)
		}
	})
}

// TestRequeueStorm rejects everything it gets, again and again.
func TestRequeueStorm(t *testing.T) {
	attack(t, rules{growth: 64 * mib}, func(a *arena) {
		c := a.open(dialOptions{}, loginOptions{})
		a.queue(c, "hot potato")
		a.fill(c, "hot potato", 10_000, 100)
		each(3, func(i int) {
			c := a.open(dialOptions{}, loginOptions{})
			go c.discard(a.ctx) // Ends with the attack.
			m := appendMethods(nil, 1, &wire.BasicNack{Multiple: true, Requeue: true})
			if i == 0 {
				m = appendMethods(nil, 1, &wire.BasicRecover{Requeue: true})
			}
			a.must(c.methods(1, &wire.BasicConsume{Queue: "hot potato"}))
			if sent, err := c.flood(a.ctx, repeat(m, 16<<10)); err != nil {
				t.Errorf("after %d bytes: %v", sent, err)
			}
		})
	})
}

// TestSlowConnectionIsFair: a connection that reads slowly and consumes from a
// queue that is always full still gets what comes on another queue of its own.
func TestSlowConnectionIsFair(t *testing.T) {
	attack(t, rules{growth: 128 * mib}, func(a *arena) {
		p := a.open(dialOptions{}, loginOptions{})
		a.queue(p, "flood")
		a.queue(p, "trickle")
		a.fill(p, "flood", 20_000, 1000)

		c := a.open(dialOptions{receiveBuffer: 16 << 10}, loginOptions{})
		a.must(c.methods(1, &wire.BasicConsume{Queue: "flood", ConsumerTag: "flood", NoAck: true},
			&wire.BasicConsume{Queue: "trickle", ConsumerTag: "trickle", NoAck: true}))
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		a.fill(p, "trickle", 50, 100)
		// The out-buffer, what the kernel holds and a share for the other queue
		// have to be read first.
		trickled, flooded := 0, 0
		for trickled < 50 && flooded < 15_000 {
			if flooded%20 == 0 {
				<-tick.C // About 10 MB/s.
			}
			f, err := c.frame()
			a.must(err)
			if f.Type != wire.FrameMethod || wire.MethodID(f.Payload) != wire.IDBasicDeliver {
				continue
			}
			tag, _, _, _, _, err := wire.ParseDeliver(f.Payload)
			a.must(err)
			if string(tag) == "trickle" {
				trickled++
			} else {
				flooded++
			}
		}
		t.Logf("%d messages of the full queue came before the last of the other", flooded)
		if trickled < 50 {
			t.Errorf("%d of 50 messages came while the other queue had %d", trickled, flooded)
		}
	})
}

// TestHeartbeats: who promises heartbeats and sends nothing is dropped in
// time; who sends nothing but heartbeats hurts nobody.
func TestHeartbeats(t *testing.T) {
	t.Parallel()
	attack(t, rules{growth: 24 * mib}, func(a *arena) {
		silent := a.open(dialOptions{}, loginOptions{heartbeat: 1})
		each(3, func(int) {
			c := a.open(dialOptions{receiveBuffer: 4 << 10}, loginOptions{heartbeat: 1})
			if sent, err := c.flood(a.ctx, repeat(wire.AppendHeartbeat(nil), 64<<10)); err != nil {
				t.Errorf("after %d bytes: %v", sent, err)
			}
		})
		began := time.Now()
		silent.nc.SetReadDeadline(began.Add(ioTimeout))
		if _, err := io.Copy(io.Discard, silent.nc); isTimeout(err) {
			t.Errorf("a client that missed its heartbeats is still there: %v", err)
		}
		if took := time.Since(began); took > within(4*time.Second) {
			t.Errorf("it was dropped after %v", took)
		}
	})
}
