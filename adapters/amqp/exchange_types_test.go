package amqp

import (
	"context"
	"errors"
	"fmt"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// TestExchangeTypesAreRefused declares and binds what makes no sense to the
// types that are plugins elsewhere.
func TestExchangeTypesAreRefused(t *testing.T) {
	s := newTestServer(t, nil)
	c := s.dial(t)
	setup := must[*amqp091.Channel](t)(c.Channel())
	must[amqp091.Queue](t)(setup.QueueDeclare("q", false, false, false, false, nil))
	for _, x := range []string{"x-consistent-hash", "x-local-random"} {
		if err := setup.ExchangeDeclare(x, x, false, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	declare := func(typ string, args amqp091.Table) func(*amqp091.Channel) error {
		return func(ch *amqp091.Channel) error {
			return ch.ExchangeDeclare("refused", typ, false, false, false, false, args)
		}
	}
	bind := func(x, key string) func(*amqp091.Channel) error {
		return func(ch *amqp091.Channel) error { return ch.QueueBind("q", key, x, false, nil) }
	}
	for _, test := range []struct {
		do   func(*amqp091.Channel) error
		text string
	}{
		{bind("x-consistent-hash", "k"), `The binding key must be an integer: <<"k">>`},
		{bind("x-consistent-hash", "0"), `The binding key must be greater than 0`},
		{bind("x-local-random", "k"), `Non empty binding 'k' key not permitted`},
		{func(ch *amqp091.Channel) error {
			return ch.ExchangeBind("amq.fanout", "", "x-local-random", false, nil)
		}, `Destination not found`},
		{declare("x-consistent-hash", amqp091.Table{"hash-header": "h", "hash-property": "message_id"}), `hash-header and hash-property are mutually exclusive`},
		{declare("x-consistent-hash", amqp091.Table{"hash-property": "user_id"}), `Unsupported property: user_id`},
		{declare("x-recent-history", amqp091.Table{"x-recent-history-length": -1}), `Invalid argument -1, 'x-recent-history-length' must be a positive integer`},
		{declare("x-unheard-of", nil), `unknown exchange type 'x-unheard-of'`},
	} {
		err := test.do(must[*amqp091.Channel](t)(c.Channel()))
		var e *amqp091.Error
		if want := "PRECONDITION_FAILED - " + test.text; !errors.As(err, &e) || e.Code != 406 || e.Reason != want {
			t.Errorf("refused with %v, want %s", err, want)
		}
	}
}

// TestRecentHistory publishes with and without a transaction to an exchange
// before anything is bound to it: what was rolled back is not remembered.
func TestRecentHistory(t *testing.T) {
	s := newTestServer(t, nil)
	ch, tx := s.channel(t), s.channel(t)
	if err := ch.ExchangeDeclare("h", "x-recent-history", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := tx.Tx(); err != nil {
		t.Fatal(err)
	}
	publish := func(ch *amqp091.Channel, body string, headers amqp091.Table) {
		t.Helper()
		if err := ch.PublishWithContext(context.Background(), "h", "k", false, false, amqp091.Publishing{Body: []byte(body), Headers: headers}); err != nil {
			t.Fatal(err)
		}
	}
	publish(tx, "rolled back", nil)
	if err := tx.TxRollback(); err != nil {
		t.Fatal(err)
	}
	publish(tx, "m0", nil)
	if err := tx.TxCommit(); err != nil {
		t.Fatal(err)
	}
	publish(ch, "m1", nil)
	publish(ch, "not stored", amqp091.Table{"x-recent-history-no-store": true})
	publish(ch, "m2", amqp091.Table{"other": "x-recent-history-no-store"})
	q := must[amqp091.Queue](t)(ch.QueueDeclare("", false, true, true, false, nil))
	msgs := must[<-chan amqp091.Delivery](t)(ch.Consume(q.Name, "", true, false, false, false, nil))
	if err := ch.QueueBind(q.Name, "", "h", false, nil); err != nil {
		t.Fatal(err)
	}
	publish(ch, "m3", nil)
	for i := range 4 {
		if d := next(t, msgs); string(d.Body) != fmt.Sprint("m", i) || d.Exchange != "h" || d.RoutingKey != "k" || d.Redelivered {
			t.Errorf("delivery %d is %q from %s %s", i, d.Body, d.Exchange, d.RoutingKey)
		}
	}
}

// TestConsistentHash spreads messages by a property: each value goes one way.
func TestConsistentHash(t *testing.T) {
	s := newTestServer(t, nil)
	ch := s.channel(t)
	if err := ch.ExchangeDeclare("ch", "x-consistent-hash", false, false, false, false, amqp091.Table{"hash-property": "message_id"}); err != nil {
		t.Fatal(err)
	}
	from := map[string]string{} // By message id, the queue.
	got := make(chan [2]string)
	done := t.Context().Done()
	for _, q := range []string{"a", "b"} {
		must[amqp091.Queue](t)(ch.QueueDeclare(q, false, false, false, false, nil))
		if err := ch.QueueBind(q, "10", "ch", false, nil); err != nil {
			t.Fatal(err)
		}
		msgs := must[<-chan amqp091.Delivery](t)(ch.Consume(q, "", true, false, false, false, nil))
		go func() { // Ends with the connection or the test.
			for d := range msgs {
				select {
				case got <- [2]string{d.MessageId, q}:
				case <-done:
					return
				}
			}
		}()
	}
	const n = 200
	for i := range n {
		err := ch.PublishWithContext(context.Background(), "ch", fmt.Sprint(i), false, false, amqp091.Publishing{MessageId: fmt.Sprint(i % 50)})
		if err != nil {
			t.Fatal(err)
		}
	}
	count := map[string]int{}
	for range n {
		d := next(t, got)
		if q, ok := from[d[0]]; ok && q != d[1] {
			t.Errorf("message id %s went to %s and to %s", d[0], q, d[1])
		}
		from[d[0]] = d[1]
		count[d[1]]++
	}
	if count["a"] < n/4 || count["b"] < n/4 {
		t.Errorf("spread %v", count)
	}
}
