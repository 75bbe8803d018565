//go:build clients

package clients

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestHeadersFromKombuReachOthers: py-amqp writes L, which amqp091-go, amqplib
// and the Java client take for a broken frame; a broker must deliver l.
func TestHeadersFromKombuReachOthers(t *testing.T) {
	t.Parallel()
	url := newVhost(t)
	ch := dial(t, url)
	q, err := ch.QueueDeclare("from-kombu", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	messages, err := ch.Consume(q.Name, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(repository(), "tests", "clients", "python")
	program{argv: []string{pythonPath(t), "kombu_publish.py", q.Name}, dir: dir}.run(t, url)

	want := amqp.Table{
		"big":   int64(1) << 40,
		"small": int32(7),
		"list":  []any{int64(1) << 41, amqp.Table{"deep": -int64(1) << 42}},
	}
	select {
	case m, open := <-messages:
		if !open && broker.binary == "" {
			// RabbitMQ 3 hands the header through as it came; 4 does not.
			t.Log("the broker under test is not ours, and its L broke the client: ", <-closed)
			return
		} else if !open {
			t.Fatal("the client could not read the delivery: ", <-closed)
		}
		if !reflect.DeepEqual(m.Headers, want) {
			t.Errorf("headers %#v, want %#v", m.Headers, want)
		}
		if string(m.Body) != `{"hello": "world"}` || m.ContentType != "application/json" {
			t.Errorf("body %q of type %q", m.Body, m.ContentType)
		}
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
}

// TestArgumentsCompareByValue: each client picks its own integer type for the
// same number, and declares what another declared before.
func TestArgumentsCompareByValue(t *testing.T) {
	t.Parallel()
	ch := dial(t, newVhost(t))
	for _, ttl := range []any{int8(100), int16(100), int32(100), int64(100)} {
		_, err := ch.QueueDeclare("shared", false, false, false, false, amqp.Table{"x-message-ttl": ttl})
		if err != nil {
			t.Fatalf("declare with %T: %v", ttl, err)
		}
	}
}
