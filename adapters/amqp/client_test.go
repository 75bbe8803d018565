package amqp

import (
	"context"
	"fmt"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

func TestHelloWorld(t *testing.T) {
	s := newTestServer(t, nil)
	ch := s.channel(t)
	q := must[amqp091.Queue](t)(ch.QueueDeclare("hello", false, false, false, false, nil))
	msgs := must[<-chan amqp091.Delivery](t)(ch.Consume(q.Name, "", true, false, false, false, nil))
	for i := range 3 {
		err := ch.PublishWithContext(context.Background(), "", q.Name, false, false, amqp091.Publishing{
			Body: fmt.Appendf(nil, "message %d", i), ContentType: "text/plain", Headers: amqp091.Table{"n": int32(i)},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		d := next(t, msgs)
		if got, want := string(d.Body), fmt.Sprintf("message %d", i); got != want || d.ContentType != "text/plain" || d.Headers["n"] != int32(i) {
			t.Fatalf("got %q %q %v, want %q", got, d.ContentType, d.Headers, want)
		}
		if d.DeliveryTag != uint64(i+1) {
			t.Fatalf("delivery tag %d, want %d", d.DeliveryTag, i+1)
		}
	}
}
