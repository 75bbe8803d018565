package crash

import (
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// fillPriorities is fill with a priority for each message: its number modulo
// priorities, none where that is 0.
func (p *place) fillPriorities(ch *amqp.Channel, from, n, priorities int) {
	p.Helper()
	p.must(ch.Confirm(false))
	var last *amqp.DeferredConfirmation
	for k := from; k < from+n; k++ {
		conf, err := ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent, Priority: uint8(k % priorities), Body: bodyOf(uint64(k), 500),
		})
		p.must(err)
		if last = conf; k%512 == 0 {
			p.confirmed(last)
		}
	}
	p.confirmed(last)
}

// TestPriorities fills queues with priorities far beyond their share of memory
// and ends the broker. The next one delivers all that was confirmed, the highest
// priority first and each in its order, and what it gets itself takes its place
// among that.
func TestPriorities(t *testing.T) {
	for _, end := range []string{"kill", "stop"} {
		for _, q := range []priorityQueue{
			{args: amqp.Table{"x-max-priority": 9}, highest: 9},
			{args: amqp.Table{"x-queue-type": "quorum"}, highest: 31, absent: 4},
		} {
			t.Run(fmt.Sprintf("%s/highest=%d", end, q.highest), func(t *testing.T) {
				t.Parallel()
				q.endWith(t, end == "kill")
			})
		}
	}
}

// priorityQueue is a kind of queue with priorities.
type priorityQueue struct {
	args    amqp.Table
	highest int
	absent  int // The priority of messages without one.
}

func (q *priorityQueue) priorities() int { return q.highest + 4 } // The last few count as the highest.

// rank is the priority that message k has in the queue.
func (q *priorityQueue) rank(k int) int {
	if priority := k % q.priorities(); priority > 0 {
		return min(priority, q.highest)
	}
	return q.absent
}

func (q *priorityQueue) endWith(t *testing.T, kill bool) {
	const before, after, prefetch, acks = 3000, 500, 50, 20
	p := newPlace(t, "--queue-memory", "64KiB")
	b := p.start()
	ch := p.channel(b)
	_, err := ch.QueueDeclare("q", true, false, false, false, q.args)
	p.must(err)
	p.fillPriorities(ch, 0, before, q.priorities())
	p.must(ch.Qos(prefetch, 0, false))
	in, err := ch.Consume("q", "", false, false, false, false, nil)
	p.must(err)
	seen := map[int]bool{}
	held := p.take(in, prefetch)
	p.must(held[acks-1].Ack(true))
	for _, d := range append(held, p.take(in, acks)...) {
		seen[p.number(d)] = true
	}
	if kill {
		b.Kill()
	} else {
		p.must(b.Stop())
	}

	ch = p.channel(p.start())
	p.fillPriorities(ch, before, after, q.priorities())
	total := p.depth(ch, "q")
	if least := before + after - acks; total < least || total > least && !kill {
		t.Errorf("%d messages are there, want %d", total, least)
	}
	in, err = ch.Consume("q", "", true, false, false, false, nil)
	p.must(err)
	last := -1
	for _, d := range p.take(in, total) {
		k := p.number(d)
		if last >= 0 && (q.rank(k) > q.rank(last) || q.rank(k) == q.rank(last) && k <= last) {
			t.Fatalf("message %d of priority %d comes behind %d of priority %d", k, q.rank(k), last, q.rank(last))
		}
		last = k
		switch {
		case seen[k] && !d.Redelivered:
			t.Errorf("message %d was delivered before and is not marked", k)
		case d.Redelivered && !seen[k] && (!kill || q.rank(k) < q.highest):
			t.Errorf("message %d of priority %d is marked and was not delivered", k, q.rank(k))
		}
	}
}
