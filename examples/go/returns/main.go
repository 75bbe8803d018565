// Command returns publishes mandatory messages, some of which no queue takes.
//
//	go run ./examples/go/returns
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
	if err := ch.Confirm(false); err != nil {
		log.Fatal("confirm.select: ", err)
	}
	returns := ch.NotifyReturn(make(chan amqp.Return, 10))

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, key := range []string{q.Name, "nowhere", q.Name} {
		confirm, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", key, true, false, amqp.Publishing{
			MessageId: "m-1", Body: []byte("to " + key),
		})
		if err != nil {
			log.Fatal("publish: ", err)
		}
		if ok, err := confirm.WaitContext(ctx); err != nil || !ok {
			log.Fatalf("confirm: %v, %v", ok, err)
		}
		// A return comes before its confirm, so it is here already or never.
		select {
		case r := <-returns:
			fmt.Printf("returned %d %s %s %s %s\n", r.ReplyCode, r.ReplyText, r.RoutingKey, r.MessageId, r.Body)
		default:
			fmt.Println("taken")
		}
	}
}
