package main

import (
	"context"
	"fmt"

	"leveret/core"
)

// Client uses a broker of this process without any socket: what it does is
// what a connection of user guest to the virtual host "/" could do. One
// goroutine at a time may use it.
type Client struct {
	Session   *core.Session // Declares, binds, gets, deletes.
	publisher *core.Publisher
	confirms  confirms
}

// confirms is a core.Completer for publishes that are waited for one by one.
type confirms chan core.Kind

// Completed may be called by any goroutine, and before Publish returns.
func (c confirms) Completed(_, _ uint64, k core.Kind) { c <- k }

// Connect opens a session.
func Connect(b *core.Broker) (*Client, error) {
	guest, ok := b.Auth().User("guest")
	if !ok {
		return nil, fmt.Errorf("the broker has no user guest")
	}
	s, err := b.OpenSession(core.SessionOptions{VHost: "/", User: guest, Loopback: true})
	if err != nil {
		return nil, err
	}
	c := &Client{Session: s, confirms: make(confirms, 1)}
	c.publisher = s.NewPublisher(c.confirms)
	return c, nil
}

// Close ends the session; its exclusive queues go. Subscriptions end before.
func (c *Client) Close() { c.Session.Close() }

// Publish publishes one message and waits until its queues have it. A core.Error
// says why not. Core acts upon the publication's own fields, not upon what p
// says of them: here that is done for the delivery mode only.
func (c *Client) Publish(exchange, key string, body []byte, p core.Properties) error {
	target, err := c.publisher.Target(exchange)
	if err != nil {
		return err
	}
	batch := make([]core.Publication, 1) // A busy program publishes many at a time.
	m := &batch[0]
	m.Reset()
	m.RoutingKey, m.Body, m.Number = key, body, 1
	m.Persistent = p.DeliveryMode == 2
	m.SetProperties(&p)
	route, err := c.publisher.Route(target, m)
	if err != nil {
		return err
	}
	unroutable := route.Unroutable() // The route is good until Publish returns.
	var touched core.Touched
	c.publisher.Publish(batch, &touched)
	touched.Flush()
	if unroutable {
		return core.Errorf(core.NotFound, "no queue gets messages of exchange '%s' with key '%s'", exchange, key)
	}
	if k := <-c.confirms; k != core.OK {
		return core.Errorf(k, "message refused: %v", k)
	}
	return nil
}

// Message is what a subscription gets.
type Message struct {
	*core.Message
	Redelivered bool

	consumer *core.Consumer
	seq      core.Seq
}

// Ack settles m. Without it the subscription gets no more when it holds as
// many as it may.
func (m *Message) Ack() { m.settle(core.Ack) }

// Requeue gives m back to its queue.
func (m *Message) Requeue() { m.settle(core.Requeue) }

func (m *Message) settle(op core.Settlement) {
	var touched core.Touched
	m.consumer.Settle(op, []core.Seq{m.seq}, &touched)
	touched.Flush()
}

// Subscribe hands the messages of a queue to the channel, at most prefetch
// that are not settled, until ctx ends; then the channel is closed. Settle each
// message, also after that: nobody else gives it back to its queue.
func (c *Client) Subscribe(ctx context.Context, queue string, prefetch int) (<-chan *Message, error) {
	o := make(outlet, prefetch)
	consumer, err := c.Session.Consume(core.ConsumeOptions{Queue: queue, Tag: queue, Prefetch: prefetch, Outlet: o})
	if err != nil {
		return nil, err
	}
	var touched core.Touched
	consumer.Start(&touched)
	touched.Flush()
	context.AfterFunc(ctx, func() {
		var touched core.Touched
		consumer.Cancel(&touched)
		touched.Flush()
		close(o) // Nothing is handed to it any more.
	})
	return o, nil
}

// outlet is a core.Outlet: a channel that never blocks, because it has room
// for as many messages as the consumer may hold.
type outlet chan *Message

func (o outlet) Room(*core.Waiter) bool { return true }
func (o outlet) Flush()                 {}

func (o outlet) Deliver(c *core.Consumer, ds []core.Delivery) bool {
	for _, d := range ds {
		// A message is good only during this call.
		o <- &Message{Message: d.Message.Clone(), Redelivered: d.Redelivered, consumer: c, seq: d.Seq}
	}
	return false
}
