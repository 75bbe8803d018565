package crash

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestDelayedMessagesUnderKill kills brokers while delayed messages fire: each
// confirmed one comes in the end, and exactly once, since nobody consumes
// before the last kill.
func TestDelayedMessagesUnderKill(t *testing.T) {
	const kills, each = 4, 1500
	p := newPlace(t)
	b := p.start()
	confirmed := map[int]bool{}
	for n := range kills {
		ch := p.channel(b)
		p.must(ch.ExchangeDeclare("later", "x-delayed-message", true, false, false, false, amqp.Table{"x-delayed-type": "topic"}))
		for _, q := range []string{"one", "two"} {
			_, err := ch.QueueDeclare(q, true, false, false, false, nil)
			p.must(err)
			p.must(ch.QueueBind(q, q+".#", "later", false, nil))
			p.must(ch.QueueBind(q, "both", "later", false, nil))
		}
		p.must(ch.Confirm(false))
		var waits []*amqp.DeferredConfirmation
		for i := range each {
			key := []string{"one.x", "two.x", "both"}[i%3]
			c, err := ch.PublishWithDeferredConfirm("later", key, false, false, amqp.Publishing{
				DeliveryMode: amqp.Persistent, Body: []byte(strconv.Itoa(n*each + i)),
				Headers: amqp.Table{"x-delay": int64(1 + i*7919%1500)},
			})
			p.must(err)
			waits = append(waits, c)
		}
		for i, c := range waits {
			confirmed[n*each+i] = c.Wait()
		}
		for p.depth(ch, "one") < n*each/2+each/10 { // Some have fired, some have not.
		}
		b.Kill()
		b = p.start()
	}
	ch := p.channel(b)
	want := map[string]int{"one": 0, "two": 0}
	for i := range confirmed {
		switch i % each % 3 {
		case 0:
			want["one"]++
		case 1:
			want["two"]++
		default:
			want["one"]++
			want["two"]++
		}
	}
	deadline := time.Now().Add(time.Minute)
	for q, n := range want {
		for p.depth(ch, q) < n {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d of %d messages came", q, p.depth(ch, q), n)
			}
		}
		seen := map[string]bool{}
		for range n {
			d, ok, err := ch.Get(q, true)
			p.must(err)
			if !ok || seen[string(d.Body)] {
				t.Fatalf("%s: message %q came twice", q, d.Body)
			}
			seen[string(d.Body)] = true
		}
		if _, ok, err := ch.Get(q, true); ok || err != nil {
			t.Fatal(fmt.Errorf("%s: more than was published: %v", q, err))
		}
	}
}
