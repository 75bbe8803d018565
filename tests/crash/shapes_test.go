package crash

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestExpiryOverRestart has messages expire while no broker runs, by their own
// time and by their queue's.
func TestExpiryOverRestart(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "--queue-memory", "64KiB")
	b := p.start()
	ch := p.channel(b)
	p.queue(ch, "own")
	args := amqp.Table{"x-message-ttl": int32(400)}
	_, err := ch.QueueDeclare("ttl", true, false, false, false, args)
	p.must(err)
	p.must(ch.Confirm(false))
	var last *amqp.DeferredConfirmation
	for i := range 600 {
		m := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: bodyOf(uint64(i), 300)}
		if _, err := ch.PublishWithDeferredConfirm("", "ttl", false, false, m); err != nil {
			t.Fatal(err)
		}
		if i%3 > 0 { // Others stand before and behind it.
			m.Expiration = []string{"", "400", "3600000"}[i%3]
		}
		last, err = ch.PublishWithDeferredConfirm("", "own", false, false, m)
		p.must(err)
	}
	p.confirmed(last)
	b.Kill()
	<-time.After(450 * time.Millisecond) // Nobody is there to tell.
	ch = p.channel(p.start())
	q, err := ch.QueueDeclarePassive("ttl", true, false, false, false, args)
	p.must(err)
	if q.Messages != 0 {
		t.Errorf("%d messages outlive the TTL of their queue", q.Messages)
	}
	if n := p.depth(ch, "own"); n != 400 {
		t.Errorf("%d messages, want the 400 whose time has not come", n)
	}
	in, err := ch.Consume("own", "", true, false, false, false, nil)
	p.must(err)
	for _, d := range p.take(in, 400) {
		if k := p.number(d); k%3 == 1 {
			t.Errorf("message %d has expired and comes", k)
		}
	}
}

// TestLargeMessage stores a message that is larger than a segment, between small
// ones.
func TestLargeMessage(t *testing.T) {
	t.Parallel()
	const size = 80 << 20
	p := newPlace(t)
	b := p.start()
	ch := p.channel(b)
	p.queue(ch, "q")
	p.fill(ch, "q", 0, 10, 100)
	p.fill(ch, "q", 10, 1, size)
	p.fill(ch, "q", 11, 10, 100)
	b.Kill()
	b = p.start()
	ch = p.channel(b)
	if n := p.depth(ch, "q"); n != 21 {
		t.Fatalf("%d messages, want 21", n)
	}
	in, err := ch.Consume("q", "", false, false, false, false, nil)
	p.must(err)
	for i, d := range p.take(in, 21) {
		if k := p.number(d); k != i || (k == 10) != (len(d.Body) == size) {
			t.Errorf("message %d of %d bytes comes as number %d", k, len(d.Body), i)
		}
		p.must(d.Ack(false))
	}
	p.must(b.Stop())
	if n := p.depth(p.channel(p.start()), "q"); n != 0 {
		t.Errorf("%d messages are back", n)
	}
}

// TestManyQueues publishes one message to more queues than a record of the log
// has room for, and has them all come back.
func TestManyQueues(t *testing.T) {
	t.Parallel()
	n := 3_000
	if lasts > 0 {
		n = 70_000
	}
	type object = map[string]any
	var queues, bindings []object
	for i := range n {
		name := fmt.Sprint("many.", i)
		queues = append(queues, object{"name": name, "vhost": "/", "durable": true, "auto_delete": false, "arguments": object{}})
		bindings = append(bindings, object{"source": "all", "vhost": "/", "destination": name, "destination_type": "queue", "routing_key": "", "arguments": object{}})
	}
	file, err := json.Marshal(object{
		"vhosts":      []object{{"name": "/"}},
		"users":       []object{{"name": "guest", "password": "guest", "tags": "administrator"}},
		"permissions": []object{{"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}},
		"exchanges":   []object{{"name": "all", "vhost": "/", "type": "fanout", "durable": true, "auto_delete": false, "internal": false, "arguments": object{}}},
		"queues":      queues, "bindings": bindings,
	})
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(t)
	name := filepath.Join(t.TempDir(), "definitions.json")
	p.must(os.WriteFile(name, file, 0o600))
	p.flags = []string{"--load-definitions", name}
	b := p.start()
	ch := p.channel(b)
	p.must(ch.Confirm(false))
	conf, err := ch.PublishWithDeferredConfirm("all", "", false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: bodyOf(7, 5000)})
	p.must(err)
	p.confirmed(conf)
	b.Kill()

	p.flags = nil
	b = p.start()
	ch = p.channel(b)
	t.Logf("%d queues: a client is in %v after exec", n, time.Since(b.Started()).Round(time.Millisecond))
	out, err := apiCall(b.HTTP, http.MethodGet, "/overview", "")
	p.must(err)
	var overview struct {
		Totals struct{ Messages int } `json:"queue_totals"`
	}
	p.must(json.Unmarshal(out, &overview))
	if overview.Totals.Messages != n {
		t.Errorf("%d messages, want one in each of %d queues", overview.Totals.Messages, n)
	}
	for _, i := range []int{0, n / 2, n - 1} {
		d, ok, err := ch.Get(fmt.Sprint("many.", i), true)
		if err != nil || !ok {
			t.Fatalf("queue %d: %v %v", i, ok, err)
		}
		if k := p.number(d); k != 7 || len(d.Body) != 5000 {
			t.Errorf("queue %d has message %d of %d bytes", i, k, len(d.Body))
		}
	}
	if used, err := filepath.Glob(filepath.Join(p.dir, "log", "*.seg")); err != nil || len(used) > 5 {
		t.Errorf("one body takes %s", strings.Join(used, ", "))
	}
}
