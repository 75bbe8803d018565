// Command prefetch consumes with a limit on what is unacked and shows that the
// limit holds: for one consumer, then for all consumers of the channel.
//
//	go run ./examples/go/prefetch
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
	conn, err := amqp.Dial(cmp.Or(os.Getenv("AMQP_URL"), "amqp://guest:guest@localhost:5672/"))
	if err != nil {
		log.Fatal("connect: ", err)
	}
	defer conn.Close()
	for _, global := range []bool{false, true} {
		run(conn, global)
	}
}

func run(conn *amqp.Connection, global bool) {
	ch, err := conn.Channel()
	if err != nil {
		log.Fatal("open channel: ", err)
	}
	defer ch.Close()
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		log.Fatal("declare queue: ", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	const jobs = 20
	for i := range jobs {
		if err := ch.PublishWithContext(ctx, "", q.Name, false, false, amqp.Publishing{Body: []byte(strconv.Itoa(i))}); err != nil {
			log.Fatal("publish: ", err)
		}
	}

	if err := ch.Qos(4, 0, global); err != nil {
		log.Fatal("qos: ", err)
	}
	// Two consumers write into one Go channel each; both are read here.
	var deliveries [2]<-chan amqp.Delivery
	for i := range deliveries {
		if deliveries[i], err = ch.Consume(q.Name, "", false, false, false, false, nil); err != nil {
			log.Fatal("consume: ", err)
		}
	}
	var unacked []amqp.Delivery
	done, most := 0, 0
	for done < jobs {
		quiet := time.NewTimer(200 * time.Millisecond)
		select {
		case m := <-deliveries[0]:
			unacked = append(unacked, m)
		case m := <-deliveries[1]:
			unacked = append(unacked, m)
		case <-quiet.C:
			// Nothing more comes: the limit is reached, or the queue is empty.
			most = max(most, len(unacked))
			for _, m := range unacked {
				if err := m.Ack(false); err != nil {
					log.Fatal("ack: ", err)
				}
			}
			done += len(unacked)
			unacked = nil
		case <-ctx.Done():
			log.Fatalf("%d of %d jobs came", done+len(unacked), jobs)
		}
		quiet.Stop()
	}
	fmt.Printf("global %t: %d jobs, at most %d unacked\n", global, done, most)
}
