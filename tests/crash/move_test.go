package crash

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestMovesUnderKill kills brokers while dead-lettered messages are taken home:
// each is in one of the two queues then, once, and in its order.
func TestMovesUnderKill(t *testing.T) {
	const kills, messages = 4, 8000
	p := newPlace(t, "--queue-memory", "64KiB")
	b := p.start()
	ch := p.channel(b)
	_, err := ch.QueueDeclare("dead", true, false, false, false, nil)
	p.must(err)
	_, err = ch.QueueDeclare("work", true, false, false, false, amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead", "x-message-ttl": 0})
	p.must(err)
	p.must(ch.Confirm(false))
	var waits []*amqp.DeferredConfirmation
	for i := range messages {
		c, err := ch.PublishWithDeferredConfirm("", "work", false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(strconv.Itoa(i))})
		p.must(err)
		waits = append(waits, c)
	}
	for _, c := range waits {
		if !c.Wait() {
			t.Fatal("refused")
		}
	}
	for deadline := time.Now().Add(patience); p.depth(ch, "dead") < messages; {
		if time.Now().After(deadline) {
			t.Fatalf("%d are dead", p.depth(ch, "dead"))
		}
	}
	// Home is a queue of the same name that keeps them.
	_, err = ch.QueueDelete("work", false, false, false)
	p.must(err)
	_, err = ch.QueueDeclare("work", true, false, false, false, nil)
	p.must(err)
	for n := range kills {
		_, err := apiCall(b.HTTP, http.MethodPost, "/queues/%2F/dead/move", `{"to":"origin"}`)
		p.must(err)
		ch := p.channel(b)
		for deadline := time.Now().Add(patience); p.depth(ch, "work") <= n*messages/(kills+2); {
			if time.Now().After(deadline) {
				t.Fatalf("round %d: %d at home", n, p.depth(ch, "work"))
			}
		}
		b.Kill()
		b = p.start()
	}
	ch = p.channel(b)
	seen := map[string]string{}
	for _, queue := range []string{"work", "dead"} {
		last := -1
		for {
			d, ok, err := ch.Get(queue, true)
			p.must(err)
			if !ok {
				break
			}
			if other := seen[string(d.Body)]; other != "" {
				t.Fatalf("message %s is in %s and in %s", d.Body, other, queue)
			}
			seen[string(d.Body)] = queue
			i, err := strconv.Atoi(string(d.Body))
			p.must(err)
			if i < last {
				t.Fatalf("%s: %d behind %d", queue, i, last)
			}
			last = i
			if _, died := d.Headers["x-death"]; died != (queue == "dead") {
				t.Fatalf("message %s in %s: %v", d.Body, queue, d.Headers)
			}
		}
	}
	if len(seen) != messages {
		t.Errorf("%d messages of %d are left", len(seen), messages)
	}
}
