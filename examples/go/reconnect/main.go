// Command reconnect consumes for as long as it may, over as many connections as
// that takes, and stops after COUNT messages.
//
//	go run ./examples/go/reconnect [COUNT]
package main

import (
	"cmp"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func main() {
	left := -1
	if len(os.Args) > 1 {
		var err error
		if left, err = strconv.Atoi(os.Args[1]); err != nil {
			log.Fatal("COUNT: ", err)
		}
	}
	url := cmp.Or(os.Getenv("AMQP_URL"), "amqp://guest:guest@localhost:5672/")
	for wait := 50 * time.Millisecond; left != 0; time.Sleep(wait) {
		err := consume(url, &left)
		if err == nil {
			continue
		}
		fmt.Println("connection lost:", err)
		wait = min(2*wait, time.Second)
	}
}

// consume takes messages until the connection ends, with why, or until left has
// come down to zero.
func consume(url string, left *int) error {
	conn, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer conn.Close()
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	// Durable and shared: it must be there when we are not.
	q, err := ch.QueueDeclare("steady", true, false, false, false, nil)
	if err != nil {
		return err
	}
	if err := ch.Qos(1, 0, false); err != nil {
		return err
	}
	messages, err := ch.Consume(q.Name, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	fmt.Println("consuming")
	for m := range messages {
		again := ""
		if m.Redelivered {
			again = " again"
		}
		fmt.Printf("got %s%s\n", m.Body, again)
		if err := m.Ack(false); err != nil {
			return err
		}
		if *left--; *left == 0 {
			return nil
		}
	}
	if err := <-closed; err != nil {
		return err
	}
	return fmt.Errorf("deliveries ended")
}
