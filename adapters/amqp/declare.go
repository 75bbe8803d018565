package amqp

import (
	"strings"

	"leveret/adapters/amqp/wire"
	"leveret/core"
)

// stripBreaks removes CR and LF from a name, as RabbitMQ does where names are
// declared, deleted and bound, but not where they are published to.
func stripBreaks(name string) string {
	if !strings.ContainsAny(name, "\r\n") {
		return name
	}
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, name)
}

// queueName is the queue that name means on ch: an empty one is the queue that
// was declared last.
func (ch *channel) queueName(name string) (string, error) {
	if name != "" {
		return name, nil
	}
	if ch.lastQueue == "" {
		return "", raise(wire.ReplyNotFound, 0, "no previously declared queue")
	}
	return ch.lastQueue, nil
}

func (c *conn) exchangeDeclare(ch *channel, m *wire.ExchangeDeclare) error {
	err := c.session.DeclareExchange(core.ExchangeDeclare{
		Name: stripBreaks(m.Exchange), Type: m.Type, Passive: m.Passive, Durable: m.Durable,
		AutoDelete: m.AutoDelete, Internal: m.Internal, Arguments: tableFromWire(m.Arguments),
	})
	if err == nil && !m.NoWait {
		c.reply(ch.id, &wire.ExchangeDeclareOk{})
	}
	return err
}

func (c *conn) exchangeDelete(ch *channel, m *wire.ExchangeDelete) error {
	err := c.session.DeleteExchange(stripBreaks(m.Exchange), m.IfUnused)
	if err == nil && !m.NoWait {
		c.reply(ch.id, &wire.ExchangeDeleteOk{})
	}
	return err
}

func (c *conn) exchangeBind(ch *channel, m *wire.ExchangeBind) error {
	err := c.session.Bind(core.Binding{
		Source: stripBreaks(m.Source), Destination: stripBreaks(m.Destination), DestinationKind: core.ToExchange,
		Key: m.RoutingKey, Arguments: tableFromWire(m.Arguments),
	})
	if err == nil && !m.NoWait {
		c.reply(ch.id, &wire.ExchangeBindOk{})
	}
	return err
}

func (c *conn) exchangeUnbind(ch *channel, m *wire.ExchangeUnbind) error {
	err := c.session.Unbind(core.Binding{
		Source: stripBreaks(m.Source), Destination: stripBreaks(m.Destination), DestinationKind: core.ToExchange,
		Key: m.RoutingKey, Arguments: tableFromWire(m.Arguments),
	})
	if err == nil && !m.NoWait {
		c.reply(ch.id, &wire.ExchangeUnbindOk{})
	}
	return err
}

func (c *conn) queueDeclare(ch *channel, m *wire.QueueDeclare) error {
	name := stripBreaks(m.Queue)
	if isReplyQueue(name) {
		return c.declareReplyQueue(ch, name, m.NoWait)
	}
	if m.Passive && name == "" {
		var err error
		if name, err = ch.queueName(name); err != nil {
			return err
		}
	}
	q, err := c.session.DeclareQueue(core.QueueDeclare{
		Name: name, Passive: m.Passive, Durable: m.Durable, Exclusive: m.Exclusive,
		AutoDelete: m.AutoDelete, Arguments: tableFromWire(m.Arguments),
	})
	if err != nil {
		return err
	}
	ch.lastQueue = q.Name
	if !m.NoWait {
		c.reply(ch.id, &wire.QueueDeclareOk{Queue: q.Name, MessageCount: uint32(q.Ready), ConsumerCount: uint32(q.Consumers)})
	}
	return nil
}

// queueBinding is the binding that queue.bind and queue.unbind are about. An
// empty key together with an empty queue name means the queue's name.
func (ch *channel) queueBinding(queue, exchange, key string, arguments wire.Table) (core.Binding, error) {
	name, err := ch.queueName(stripBreaks(queue))
	if err != nil {
		return core.Binding{}, err
	}
	if isReplyQueue(name) {
		return core.Binding{}, raise(wire.ReplyAccessRefused, 0, "cannot bind or unbind to a volatile (direct reply-to) queue")
	}
	if queue == "" && key == "" {
		key = name
	}
	return core.Binding{
		Source: stripBreaks(exchange), Destination: name, DestinationKind: core.ToQueue,
		Key: key, Arguments: tableFromWire(arguments),
	}, nil
}

func (c *conn) queueBind(ch *channel, m *wire.QueueBind) error {
	b, err := ch.queueBinding(m.Queue, m.Exchange, m.RoutingKey, m.Arguments)
	if err == nil {
		err = c.session.Bind(b)
	}
	if err == nil && !m.NoWait {
		c.reply(ch.id, &wire.QueueBindOk{})
	}
	return err
}

func (c *conn) queueUnbind(ch *channel, m *wire.QueueUnbind) error {
	b, err := ch.queueBinding(m.Queue, m.Exchange, m.RoutingKey, m.Arguments)
	if err == nil {
		err = c.session.Unbind(b)
	}
	if err == nil {
		c.reply(ch.id, &wire.QueueUnbindOk{})
	}
	return err
}

func (c *conn) queuePurge(ch *channel, m *wire.QueuePurge) error {
	name, err := ch.queueName(stripBreaks(m.Queue))
	if err != nil {
		return err
	}
	n, err := c.session.PurgeQueue(name)
	if err == nil && !m.NoWait {
		c.reply(ch.id, &wire.QueuePurgeOk{MessageCount: uint32(n)})
	}
	return err
}

func (c *conn) queueDelete(ch *channel, m *wire.QueueDelete) error {
	name, err := ch.queueName(stripBreaks(m.Queue))
	if err != nil {
		return err
	}
	n, err := c.session.DeleteQueue(name, m.IfUnused, m.IfEmpty)
	if err == nil && !m.NoWait {
		c.reply(ch.id, &wire.QueueDeleteOk{MessageCount: uint32(n)})
	}
	return err
}
