// Command confirms publishes a burst of messages and waits until the broker has
// confirmed each of them.
//
//	go run ./examples/go/confirms [COUNT]
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func main() {
	count := 10000
	if len(os.Args) > 1 {
		var err error
		if count, err = strconv.Atoi(os.Args[1]); err != nil {
			log.Fatal("COUNT: ", err)
		}
	}
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

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	outstanding := make([]*amqp.DeferredConfirmation, count)
	for i := range outstanding {
		outstanding[i], err = ch.PublishWithDeferredConfirmWithContext(ctx, "", q.Name, false, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent,
			Body:         strconv.AppendInt(nil, int64(i), 10),
		})
		if err != nil {
			log.Fatal("publish: ", err)
		}
	}
	acked := 0
	for _, c := range outstanding {
		if ok, err := c.WaitContext(ctx); err != nil {
			log.Fatal("wait for confirm: ", err)
		} else if ok {
			acked++
		}
	}
	fmt.Printf("acked %d of %d\n", acked, count)

	q, err = ch.QueueDeclarePassive(q.Name, false, false, true, false, nil)
	if err != nil {
		log.Fatal("declare queue: ", err)
	}
	fmt.Printf("in the queue: %d\n", q.Messages)
}
