package amqp

import (
	"errors"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"leveret/core"
)

// TestChannelsOfTheNode: its limit counts those of all connections.
func TestChannelsOfTheNode(t *testing.T) {
	s := newTestServer(t, func(o *Options, co *core.Options) {
		o.MaxChannels = 2
		co.NodeName = "n"
	})
	first, second := s.dial(t), s.dial(t)
	a := must[*amqp091.Channel](t)(first.Channel())
	must[*amqp091.Channel](t)(second.Channel())
	closed := second.NotifyClose(make(chan *amqp091.Error, 1))
	_, err := second.Channel()
	var e *amqp091.Error
	if !errors.As(err, &e) {
		if e = <-closed; e == nil {
			t.Fatal(err)
		}
	}
	if e.Code != amqp091.NotAllowed || e.Reason != "NOT_ALLOWED - number of channels opened on node 'n' has reached the maximum allowed limit of 2" {
		t.Errorf("%v", e)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	// second has gone with its channel.
	must[*amqp091.Channel](t)(first.Channel())
}

func TestConsumersOfAChannel(t *testing.T) {
	s := newTestServer(t, func(o *Options, _ *core.Options) { o.MaxConsumers = 1 })
	c := s.dial(t)
	ch := must[*amqp091.Channel](t)(c.Channel())
	q := must[amqp091.Queue](t)(ch.QueueDeclare("", false, false, true, false, nil))
	consume := func(tag string) error {
		_, err := ch.Consume(q.Name, tag, false, false, false, false, nil)
		return err
	}
	if err := consume("a"); err != nil {
		t.Fatal(err)
	}
	if err := ch.Cancel("a", false); err != nil {
		t.Fatal(err)
	}
	if err := consume("b"); err != nil {
		t.Fatal(err)
	}
	closed := c.NotifyClose(make(chan *amqp091.Error, 1))
	err := consume("c")
	var e *amqp091.Error
	if !errors.As(err, &e) {
		if e = <-closed; e == nil {
			t.Fatal(err)
		}
	}
	if e.Code != amqp091.NotAllowed || e.Reason != "NOT_ALLOWED - reached maximum (1) of consumers per channel" {
		t.Errorf("%v", e)
	}
}
