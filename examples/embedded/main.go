// Command embedded is a program with a message broker inside. AMQP clients
// connect to it, and it takes part itself without a socket: it prints what
// comes to the queue "orders" until it is interrupted.
//
//	go run ./examples/embedded
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	"leveret/core"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b, err := Start("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	if err := serveOrders(ctx, b); err != nil {
		log.Print(err)
	}
	if err := b.Stop(); err != nil {
		log.Fatal(err)
	}
}

// serveOrders prints the messages of "orders" until ctx ends.
func serveOrders(ctx context.Context, b *Broker) error {
	c, err := Connect(b.Core)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Session.DeclareQueue(core.QueueDeclare{Name: "orders"}); err != nil {
		return err
	}
	if err := c.Publish("", "orders", []byte("the first order"), core.Properties{ContentType: "text/plain"}); err != nil {
		return err
	}
	orders, err := c.Subscribe(ctx, "orders", 10)
	if err != nil {
		return err
	}
	fmt.Printf("publish to the queue %q at %s\n", "orders", b.URL)
	for m := range orders {
		fmt.Printf("order: %s\n", m.Body)
		m.Ack()
	}
	return nil
}
