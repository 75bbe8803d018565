// Command cancelnotify consumes from a queue that is deleted meanwhile.
//
//	go run ./examples/go/cancelnotify
package main

import (
	"cmp"
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
	cancels := ch.NotifyCancel(make(chan string, 1))
	messages, err := ch.Consume(q.Name, "watcher", false, false, false, false, nil)
	if err != nil {
		log.Fatal("consume: ", err)
	}

	other, err := conn.Channel()
	if err != nil {
		log.Fatal("open channel: ", err)
	}
	if _, err := other.QueueDelete(q.Name, false, false, false); err != nil {
		log.Fatal("delete queue: ", err)
	}
	select {
	case tag := <-cancels:
		fmt.Printf("%s cancelled by the broker\n", tag)
	case <-time.After(10 * time.Second):
		log.Fatal("no cancel came")
	}
	if _, open := <-messages; !open {
		fmt.Println("no more deliveries")
	}
	if _, err := ch.QueueDeclare("", false, false, true, false, nil); err != nil {
		log.Fatal("the channel is gone: ", err)
	}
}
