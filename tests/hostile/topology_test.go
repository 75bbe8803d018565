package hostile

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"leveret/adapters/amqp/wire"
)

// TestThousandsOfChannels opens as many channels as ten connections may, with
// a consumer each, and then opens and closes more of them as fast as it can.
func TestThousandsOfChannels(t *testing.T) {
	const connections, channels = 5, 2000
	attack(t, rules{growth: 128 * mib}, func(a *arena) {
		admin := a.open(dialOptions{}, loginOptions{})
		a.queue(admin, "shared")
		each(connections, func(int) {
			c := a.open(dialOptions{}, loginOptions{})
			var b []byte
			for id := uint16(2); id < channels; id++ {
				b = appendMethods(b, id, &wire.ChannelOpen{}, &wire.BasicConsume{Queue: "shared"})
			}
			go c.write(b) // Ends with the connection, at the latest.
			if _, err := await[*wire.BasicConsumeOk](c, channels-1); err != nil {
				t.Error(err)
				return
			}
			go c.discard(a.ctx) // Ends with the attack.
			c.flood(a.ctx, repeat(appendMethods(nil, channels, &wire.ChannelOpen{}, &wire.ConfirmSelect{}, &wire.ChannelClose{}), 64<<10))
		})
	})
}

// TestTooManyChannels: one more than was agreed on closes the connection.
func TestTooManyChannels(t *testing.T) {
	attack(t, rules{growth: 64 * mib}, func(a *arena) {
		c := a.open(dialOptions{}, loginOptions{})
		var b []byte
		for id := uint16(2); id < 5000; id++ {
			b = appendMethods(b, id, &wire.ChannelOpen{})
		}
		go c.write(b) // Ends with the connection, at the latest.
		if code, err := c.closedWith(); err != nil || code != wire.ReplyNotAllowed {
			t.Errorf("closed with %d, %v", code, err)
		}
	})
}

// TestConsumeAndCancel sends a hundred thousand of each without waiting.
func TestConsumeAndCancel(t *testing.T) {
	const n = 100_000
	for _, noWait := range []bool{false, true} {
		t.Run(fmt.Sprintf("nowait=%v", noWait), func(t *testing.T) {
			attack(t, rules{growth: 48 * mib}, func(a *arena) {
				c := a.open(dialOptions{}, loginOptions{})
				a.queue(c, "fickle")
				a.fill(c, "fickle", 1000, 10)
				var b []byte
				for i := range n {
					tag := fmt.Sprint(i)
					b = appendMethods(b, 1, &wire.BasicConsume{Queue: "fickle", ConsumerTag: tag, NoWait: noWait}, &wire.BasicCancel{ConsumerTag: tag, NoWait: noWait})
				}
				b = appendMethods(b, 1, &wire.BasicQos{})
				go c.write(b) // Ends with the connection, at the latest.
				if _, err := await[*wire.BasicQosOk](c, 1); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestConsumersByTheHundredThousand never cancels them: each costs something,
// and all go with the connection.
func TestConsumersByTheHundredThousand(t *testing.T) {
	n := 100_000
	if withRace {
		n = 10_000 // The broker's checks of itself go through all of them each time.
	}
	attack(t, rules{growth: 256 * mib}, func(a *arena) {
		c := a.open(dialOptions{}, loginOptions{})
		a.queue(c, "popular")
		var b []byte
		for i := range n {
			b = appendMethods(b, 1, &wire.BasicConsume{Queue: "popular", ConsumerTag: fmt.Sprint(i), NoWait: true})
		}
		b = append(b, repeat(message(1, "", "popular", false, []byte("x")), 64<<10)...)
		b = appendMethods(b, 1, &wire.BasicQos{})
		go c.write(b) // Ends with the connection, at the latest.
		if _, err := await[*wire.BasicQosOk](c, 1); err != nil {
			t.Error(err)
		}
	})
}

// TestDeclareAndDelete churns through queues, exchanges and bindings.
func TestDeclareAndDelete(t *testing.T) {
	attack(t, rules{growth: 48 * mib}, func(a *arena) {
		each(3, func(i int) {
			c := a.open(dialOptions{}, loginOptions{})
			go c.discard(a.ctx) // Ends with the attack.
			var b []byte
			for j := range 100 {
				q, x := fmt.Sprintf("q%d.%d", i, j), fmt.Sprintf("x%d.%d", i, j)
				b = appendMethods(b, 1,
					&wire.QueueDeclare{Queue: q, NoWait: j%2 == 0}, &wire.ExchangeDeclare{Exchange: x, Type: []string{"topic", "headers", "fanout"}[j%3]},
					&wire.QueueBind{Queue: q, Exchange: x, RoutingKey: "a.*.#"}, &wire.ExchangeBind{Destination: x, Source: "amq.topic", RoutingKey: q},
					&wire.BasicConsume{Queue: q, NoAck: true})
				b = append(b, message(1, "amq.topic", q, false, []byte("x"))...)
				b = appendMethods(b, 1, &wire.QueueDelete{Queue: q}, &wire.ExchangeDelete{Exchange: x})
			}
			if sent, err := c.flood(a.ctx, b); err != nil {
				t.Errorf("after %d bytes: %v", sent, err)
			}
		})
	})
}

// TestDeclareFlood declares exclusive queues without end and binds them. That
// costs what they are, as in RabbitMQ, and goes with the connection.
func TestDeclareFlood(t *testing.T) {
	seconds := int64(lasts/time.Second) + 1
	attack(t, rules{growth: seconds * 384 * mib, left: 16 * mib}, func(a *arena) {
		var declared atomic.Int64
		each(2, func(i int) {
			c := a.open(dialOptions{}, loginOptions{})
			go c.discard(a.ctx) // Ends with the attack.
			for j := 0; a.ctx.Err() == nil; j += 100 {
				var b []byte
				for k := j; k < j+100; k++ {
					q := fmt.Sprintf("q%d.%d", i, k)
					b = appendMethods(b, 1, &wire.QueueDeclare{Queue: q, Exclusive: true},
						&wire.QueueBind{Queue: q, Exchange: "amq.topic", RoutingKey: q + ".#"}, &wire.QueueBind{Queue: q, Exchange: "amq.direct", RoutingKey: q})
				}
				if c.write(b) != nil {
					break
				}
				declared.Add(100)
			}
		})
		t.Logf("%d queues sent", declared.Load())
	})
}

// TestHashBindings binds keys of 127 # words, and of # and * in turn, and
// publishes keys of 127 words that match all of them, and nearly match.
func TestHashBindings(t *testing.T) {
	attack(t, rules{growth: 48 * mib}, func(a *arena) {
		c := a.open(dialOptions{}, loginOptions{})
		a.queue(c, "hashes")
		for _, pattern := range []string{"#", "#.*", "*.#", "#.a", "#.a.#", "#.a.b.#"} {
			for words := 1; words <= 127; words += 3 {
				n := words / (1 + strings.Count(pattern, "."))
				key := strings.TrimSuffix(strings.Repeat(pattern+".", max(n, 1)), ".")
				a.must(c.methods(1, &wire.QueueBind{Queue: "hashes", Exchange: "amq.topic", RoutingKey: key, NoWait: true}))
			}
		}
		a.sync(c)
		long := strings.Repeat("a.", 127)
		var b []byte
		for i := range 64 {
			key := long[:len(long)-1-2*(i%32)]
			if i%2 == 0 {
				key += ".b"
			}
			b = append(b, message(1, "amq.topic", key, false, nil)...)
		}
		each(2, func(int) {
			c := a.open(dialOptions{}, loginOptions{})
			began := time.Now()
			sent, err := c.flood(a.ctx, b)
			if err != nil {
				t.Errorf("after %d bytes: %v", sent, err)
			}
			t.Logf("%.0f publishes/s", float64(sent)/float64(len(b))*64/time.Since(began).Seconds())
			if sent < int64(len(b)) {
				t.Errorf("fewer than 64 publishes in %v", time.Since(began))
			}
		})
		a.must(c.methods(1, &wire.QueuePurge{Queue: "hashes"}))
		_, err := await[*wire.QueuePurgeOk](c, 1)
		a.must(err)
	})
}
