// Command rpc asks a server of its own for squares, over a callback queue and
// over direct reply-to.
//
//	go run ./examples/go/rpc
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
	url := cmp.Or(os.Getenv("AMQP_URL"), "amqp://guest:guest@localhost:5672/")
	there, err := amqp.Dial(url)
	if err != nil {
		log.Fatal("connect: ", err)
	}
	defer there.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	name := serve(ctx, there)

	here, err := amqp.Dial(url)
	if err != nil {
		log.Fatal("connect: ", err)
	}
	defer here.Close()
	ch, err := here.Channel()
	if err != nil {
		log.Fatal("open channel: ", err)
	}
	own, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		log.Fatal("declare queue: ", err)
	}
	for _, way := range []struct{ title, replyTo string }{
		{"callback queue", own.Name},
		{"direct reply-to", "amq.rabbitmq.reply-to"},
	} {
		sum := 0
		replies, err := ch.Consume(way.replyTo, "", true, false, false, false, nil)
		if err != nil {
			log.Fatal("consume: ", err)
		}
		const questions = 100
		for n := range questions {
			err := ch.PublishWithContext(ctx, "", name, false, false, amqp.Publishing{
				ReplyTo: way.replyTo, CorrelationId: strconv.Itoa(n), Body: []byte(strconv.Itoa(n)),
			})
			if err != nil {
				log.Fatal("publish: ", err)
			}
		}
		for range questions {
			select {
			case m := <-replies:
				answer, err := strconv.Atoi(string(m.Body))
				if err != nil {
					log.Fatal("answer: ", err)
				}
				sum += answer
			case <-ctx.Done():
				log.Fatal("no answer")
			}
		}
		fmt.Printf("%s: %d\n", way.title, sum)
	}
}

// serve answers questions in a goroutine until conn is closed, and returns the
// name of the queue it reads them from.
func serve(ctx context.Context, conn *amqp.Connection) string {
	ch, err := conn.Channel()
	if err != nil {
		log.Fatal("open channel: ", err)
	}
	q, err := ch.QueueDeclare("squares.go", false, true, false, false, nil)
	if err != nil {
		log.Fatal("declare queue: ", err)
	}
	questions, err := ch.Consume(q.Name, "", false, false, false, false, nil)
	if err != nil {
		log.Fatal("consume: ", err)
	}
	go func() { // Ends when the connection closes the deliveries.
		for m := range questions {
			n, err := strconv.Atoi(string(m.Body))
			if err != nil {
				m.Reject(false)
				continue
			}
			err = ch.PublishWithContext(ctx, "", m.ReplyTo, false, false, amqp.Publishing{
				CorrelationId: m.CorrelationId, Body: []byte(strconv.Itoa(n * n)),
			})
			if err != nil {
				log.Print("answer: ", err)
			}
			m.Ack(false)
		}
	}()
	return q.Name
}
