package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/core"
)

// startBroker starts a broker of the test's own and stops it after it.
func startBroker(t *testing.T) *Broker {
	t.Helper()
	b, err := Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func connect(t *testing.T, b *Broker) *Client {
	t.Helper()
	c, err := Connect(b.Core)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// receive waits for what comes next.
func receive[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-ch:
		if !ok {
			t.Fatal("no more messages come")
		}
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
	}
	panic("unreachable")
}

// Your program's own AMQP code against a broker in the test.
func TestOverAMQP(t *testing.T) {
	b := startBroker(t)
	conn, err := amqp.Dial(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	q, err := ch.QueueDeclare("jobs", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := ch.Consume(q.Name, "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = ch.PublishWithContext(t.Context(), "", q.Name, false, false, amqp.Publishing{Body: []byte("job 1")})
	if err != nil {
		t.Fatal(err)
	}
	job := receive(t, jobs)
	if string(job.Body) != "job 1" {
		t.Errorf("got %q", job.Body)
	}
	if err := job.Ack(false); err != nil {
		t.Fatal(err)
	}
}

// The same inside the process.
func TestWithoutASocket(t *testing.T) {
	c := connect(t, startBroker(t))
	if _, err := c.Session.DeclareQueue(core.QueueDeclare{Name: "jobs"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Session.Bind(core.Binding{Source: "amq.topic", Destination: "jobs", Key: "job.*"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	jobs, err := c.Subscribe(ctx, "jobs", 2)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := c.Publish("amq.topic", "job.new", fmt.Appendf(nil, "job %d", i), core.Properties{}); err != nil {
			t.Fatal(err)
		}
	}

	first, second := receive(t, jobs), receive(t, jobs)
	if string(first.Body) != "job 0" || string(second.Body) != "job 1" || first.RoutingKey != "job.new" {
		t.Errorf("got %q and %q", first.Body, second.Body)
	}
	first.Requeue() // It is the oldest again, and there is credit for one.
	if again := receive(t, jobs); string(again.Body) != "job 0" || !again.Redelivered {
		t.Errorf("got %q, redelivered: %v", again.Body, again.Redelivered)
	} else {
		again.Ack()
	}
	second.Ack()
	last := receive(t, jobs)
	last.Ack()
	cancel()
	if _, more := <-jobs; more {
		t.Error("more came than was published")
	}

	var refused *core.Error
	if err := c.Publish("nowhere", "k", nil, core.Properties{}); !errors.As(err, &refused) || refused.Kind != core.NotFound {
		t.Errorf("publish to a missing exchange: %v", err)
	}
	if err := c.Publish("", "no such queue", nil, core.Properties{}); !errors.As(err, &refused) || refused.Kind != core.NotFound {
		t.Errorf("publish to a missing queue: %v", err)
	}
}

// A message from a socket to one that has none, with its properties.
func TestBothWays(t *testing.T) {
	b := startBroker(t)
	c := connect(t, b)
	if _, err := c.Session.DeclareQueue(core.QueueDeclare{Name: "in"}); err != nil {
		t.Fatal(err)
	}
	in, err := c.Subscribe(t.Context(), "in", 1)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := amqp.Dial(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	err = ch.PublishWithContext(t.Context(), "", "in", false, false, amqp.Publishing{
		Body: []byte("question"), ReplyTo: "out", Headers: amqp.Table{"color": "red"},
	})
	if err != nil {
		t.Fatal(err)
	}
	m := receive(t, in)
	defer m.Ack()
	color, _ := m.Properties().Headers.Get("color")
	if string(m.Body) != "question" || *m.Properties().ReplyTo != "out" || color != "red" {
		t.Errorf("got %q, %+v", m.Body, m.Properties())
	}

	q, err := ch.QueueDeclare("out", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := ch.Consume(q.Name, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Publish("", "out", []byte("answer"), core.Properties{ContentType: "text/plain"}); err != nil {
		t.Fatal(err)
	}
	if d := receive(t, out); string(d.Body) != "answer" || d.ContentType != "text/plain" {
		t.Errorf("got %q of type %q", d.Body, d.ContentType)
	}
}
