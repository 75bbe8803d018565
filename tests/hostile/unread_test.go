package hostile

import (
	"fmt"
	"strings"
	"testing"

	"leveret/adapters/amqp/wire"
)

// unreadMax is how much the process may grow for three clients that ask and do
// not read: for each the limit of its out-buffer (1 MiB), one answer beyond it,
// what one read brought; all that several times over, for the collector runs
// late on a busy machine. RabbitMQ grows by gigabytes.
const unreadMax = 64 * mib

// TestNeverReadsAnswers has clients ask for things as fast as they can and
// never read what they asked for. The broker stops reading from them.
func TestNeverReadsAnswers(t *testing.T) {
	const chunk = 256 << 10
	for _, test := range []struct {
		name   string
		asks   func(a *arena) []byte
		takes  int64 // Bytes broker and kernel may take before no more is read; -1 for no limit.
		growth int64
	}{
		{name: "declare", takes: 32 * mib, asks: func(*arena) []byte {
			return repeat(appendMethods(nil, 1, &wire.QueueDeclare{Queue: bystanderQueue, Passive: true}), chunk)
		}},
		{name: "declare and delete", takes: 32 * mib, asks: func(*arena) []byte {
			return repeat(appendMethods(nil, 1, &wire.QueueDeclare{Queue: "short-lived"}, &wire.QueueDelete{Queue: "short-lived"}), chunk)
		}},
		{name: "get of large messages", takes: 32 * mib, asks: func(a *arena) []byte {
			c := a.open(dialOptions{}, loginOptions{})
			a.queue(c, "large")
			a.fill(c, "large", 500, 100_000)
			return repeat(appendMethods(nil, 1, &wire.BasicGet{Queue: "large"}), chunk)
		}, growth: 100 * mib},
		{name: "get of one large message", takes: 32 * mib, asks: func(a *arena) []byte {
			c := a.open(dialOptions{}, loginOptions{})
			a.queue(c, "large")
			a.fill(c, "large", 1, 1_000_000)
			return repeat(appendMethods(nil, 1, &wire.BasicGet{Queue: "large"}, &wire.BasicNack{Multiple: true, Requeue: true}), chunk)
		}},
		{name: "get from an empty queue", takes: 32 * mib, asks: func(a *arena) []byte {
			a.queue(a.open(dialOptions{}, loginOptions{}), "empty")
			return repeat(appendMethods(nil, 1, &wire.BasicGet{Queue: "empty"}), chunk)
		}},
		{name: "returns", takes: 32 * mib, asks: func(*arena) []byte {
			return repeat(message(1, "", "nowhere", true, make([]byte, 1000)), chunk)
		}},
		{name: "large returns", takes: 32 * mib, asks: func(*arena) []byte {
			return message(1, "", "nowhere", true, make([]byte, 4_000_000))
		}, growth: 96 * mib},
		{name: "confirms", takes: -1, asks: func(*arena) []byte {
			return repeat(message(1, "", "nowhere", false, nil), chunk)
		}},
		{name: "channel errors", takes: 32 * mib, asks: func(*arena) []byte {
			return repeat(appendMethods(nil, 2, &wire.ChannelOpen{}, &wire.QueueDeclare{Queue: "missing", Passive: true}, &wire.ChannelCloseOk{}), chunk)
		}},
		{name: "channel open and close", takes: 32 * mib, asks: func(*arena) []byte {
			return repeat(appendMethods(nil, 2, &wire.ChannelOpen{}, &wire.ChannelClose{}), chunk)
		}},
		{name: "recover", takes: 32 * mib, asks: func(*arena) []byte {
			return repeat(appendMethods(nil, 1, &wire.BasicRecover{Requeue: true}), chunk)
		}},
		{name: "commits", takes: 32 * mib, asks: func(*arena) []byte {
			return repeat(appendMethods(nil, 1, &wire.TxSelect{}, &wire.TxCommit{}), chunk)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			growth := unreadMax
			if test.growth > 0 {
				growth = test.growth
			}
			attack(t, rules{growth: growth}, func(a *arena) {
				asks := test.asks(a)
				each(3, func(int) {
					c := a.open(dialOptions{receiveBuffer: 4 << 10}, loginOptions{})
					if test.name == "confirms" {
						a.must(c.methods(1, &wire.ConfirmSelect{}))
					}
					sent, err := c.flood(a.ctx, asks)
					if err != nil {
						t.Errorf("after %d bytes: %v", sent, err)
					}
					if test.takes >= 0 && sent > test.takes {
						t.Errorf("the broker took %d bytes from a client that does not read", sent)
					}
				})
			})
		})
	}
}

// TestUnreadReplies: a client that consumes from direct reply-to and does not
// read, while another sends replies without end. They count as memory.
func TestUnreadReplies(t *testing.T) {
	attack(t, rules{growth: 96 * mib, flags: []string{"--memory-limit", "32MiB"}, alone: true}, func(a *arena) {
		c := a.open(dialOptions{receiveBuffer: 4 << 10}, loginOptions{})
		a.queue(c, "requests")
		p := wire.AppendProperties(nil, &wire.Properties{Flags: wire.FlagReplyTo, ReplyTo: "amq.rabbitmq.reply-to"})
		a.must(c.methods(1, &wire.BasicConsume{Queue: "amq.rabbitmq.reply-to", NoAck: true}))
		a.must(c.write(wire.AppendPublish(nil, 1, "", "requests", false, p, nil, 131072)))
		a.sync(c)

		server := a.open(dialOptions{}, loginOptions{})
		a.must(server.methods(1, &wire.BasicGet{Queue: "requests", NoAck: true}))
		_, err := await[*wire.BasicGetOk](server, 1)
		a.must(err)
		f, err := server.frame()
		a.must(err)
		_, _, props, err := wire.ParseContentHeader(f.Payload)
		a.must(err)
		request, err := wire.ParseProperties(props)
		a.must(err)
		if sent, err := server.flood(a.ctx, repeat(message(1, "", request.ReplyTo, false, make([]byte, 1000)), 256<<10)); err != nil {
			t.Errorf("after %d bytes: %v", sent, err)
		}
	})
}

// TestUnreadCancels: queues are deleted under a consumer again and again, and
// it never reads that it was cancelled.
func TestUnreadCancels(t *testing.T) {
	tag := strings.Repeat("t", 255)
	attack(t, rules{growth: unreadMax}, func(a *arena) {
		each(3, func(i int) {
			c := a.open(dialOptions{receiveBuffer: 4 << 10}, loginOptions{})
			queue := fmt.Sprint("gone", i)
			sent, err := c.flood(a.ctx, repeat(appendMethods(nil, 1, &wire.QueueDeclare{Queue: queue, NoWait: true},
				&wire.BasicConsume{Queue: queue, ConsumerTag: tag, NoWait: true}, &wire.QueueDelete{Queue: queue, NoWait: true}), 256<<10))
			if err != nil {
				t.Errorf("after %d bytes: %v", sent, err)
			}
		})
	})
}
