// Command hello sends one message to itself.
//
//	AMQP_URL=amqp://guest:guest@localhost:5672/ go run ./examples/go/hello
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func main() {
	conn, err := amqp.Dial(cmp.Or(os.Getenv("AMQP_URL"), "amqp://guest:guest@localhost:5672/"))
	if err != nil {
		log.Fatal("connect: ", err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		log.Fatal("open channel: ", err)
	}
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		log.Fatal("declare queue: ", err)
	}
	messages, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	if err != nil {
		log.Fatal("consume: ", err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = ch.PublishWithContext(ctx, "", q.Name, false, false, amqp.Publishing{
		ContentType: "text/plain",
		Headers: amqp.Table{
			"int": 42, "big": int64(1) << 40, "yes": true, "nothing": nil,
			"list": []any{"a", int32(1)}, "table": amqp.Table{"deep": 1.5},
		},
		Body: []byte("Hello World!"),
	})
	if err != nil {
		log.Fatal("publish: ", err)
	}
	select {
	case m := <-messages:
		fmt.Printf("received %s %v\n", m.Body, m.Headers)
	case <-ctx.Done():
		log.Fatal("nothing came")
	}
}
