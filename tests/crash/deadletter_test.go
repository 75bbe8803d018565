package crash

import (
	"strconv"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestDeadLetteringUnderKill kills brokers while messages expire from one queue
// to the next, and are rejected on the way: each confirmed one arrives at the
// end, once, and tells where it has been.
func TestDeadLetteringUnderKill(t *testing.T) {
	const kills, each = 4, 1500
	p := newPlace(t, "--queue-memory", "64KiB")
	b := p.start()
	confirmed := map[string]bool{}
	to := func(key string, more amqp.Table) amqp.Table {
		t := amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": key}
		for k, v := range more {
			t[k] = v
		}
		return t
	}
	for n := range kills {
		ch := p.channel(b)
		for name, args := range map[string]amqp.Table{
			"work": to("mid", amqp.Table{"x-message-ttl": 300}),
			"mid":  to("end", amqp.Table{"x-max-length": 50}),
			"end":  nil,
		} {
			_, err := ch.QueueDeclare(name, true, false, false, false, args)
			p.must(err)
		}
		p.must(ch.Qos(10, 0, false))
		in, err := ch.Consume("mid", "", false, false, false, false, nil)
		p.must(err)
		go func() { // Ends with its connection. It gets little before the head is dropped.
			for d := range in {
				if d.Reject(false) != nil {
					return
				}
			}
		}()
		out := p.channel(b)
		p.must(out.Confirm(false))
		var waits []*amqp.DeferredConfirmation
		for i := range each {
			c, err := out.PublishWithDeferredConfirm("", "work", false, false, amqp.Publishing{
				DeliveryMode: amqp.Persistent, Body: []byte(strconv.Itoa(n*each + i)), Expiration: strconv.Itoa(1 + i%400),
			})
			p.must(err)
			waits = append(waits, c)
		}
		for i, c := range waits {
			if c.Wait() {
				confirmed[strconv.Itoa(n*each+i)] = true
			}
		}
		for deadline := time.Now().Add(time.Minute); p.depth(out, "end") < n*each+each/5; {
			if time.Now().After(deadline) {
				t.Fatalf("round %d: %d at the end", n, p.depth(out, "end"))
			}
		}
		b.Kill()
		b = p.start()
	}
	ch := p.channel(b)
	_, err := ch.QueueDeclare("mid", true, false, false, false, to("end", amqp.Table{"x-max-length": 50}))
	p.must(err)
	for deadline := time.Now().Add(time.Minute); p.depth(ch, "work") > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d do not expire", p.depth(ch, "work"))
		}
	}
	in, err := ch.Consume("mid", "", false, false, false, false, nil)
	p.must(err)
	go func() {
		for d := range in {
			if d.Reject(false) != nil {
				return
			}
		}
	}()
	seen := map[string]bool{}
	end := p.channel(b)
	for deadline := time.Now().Add(time.Minute); len(seen) < len(confirmed); {
		d, ok, err := end.Get("end", true)
		p.must(err)
		if !ok {
			if time.Now().After(deadline) {
				t.Fatalf("%d messages arrived of %d", len(seen), len(confirmed))
			}
			continue
		}
		if seen[string(d.Body)] {
			t.Fatalf("message %q came twice", d.Body)
		}
		seen[string(d.Body)] = true
		deaths, _ := d.Headers["x-death"].([]any)
		if len(deaths) != 2 {
			t.Fatalf("message %q died %d times: %v", d.Body, len(deaths), d.Headers)
		}
		last, first := deaths[0].(amqp.Table), deaths[1].(amqp.Table)
		if first["queue"] != "work" || first["reason"] != "expired" || last["queue"] != "mid" || first["count"] != int64(1) {
			t.Fatalf("message %q: %v", d.Body, d.Headers)
		}
	}
	for id := range confirmed {
		if !seen[id] {
			t.Errorf("message %s is lost", id)
		}
	}
}
