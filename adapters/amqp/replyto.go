package amqp

import (
	"strings"

	"leveret/adapters/amqp/wire"
	"leveret/core"
)

// replyToName is the queue that an RPC client consumes from, and names in
// reply-to, to get its replies directly. Publishers never see it: it is
// replaced by the name of a hidden queue that lives as long as the consumer.
const replyToName = "amq.rabbitmq.reply-to"

func isReplyQueue(name string) bool { return strings.HasPrefix(name, replyToName) }

// consumeReplies handles basic.consume on replyToName.
func (c *conn) consumeReplies(ch *channel, tag string, m *wire.BasicConsume) error {
	switch {
	case !m.NoAck:
		return raise(wire.ReplyPreconditionFailed, 0, "reply consumer cannot acknowledge")
	case ch.replyQueue != "":
		return raise(wire.ReplyPreconditionFailed, 0, "reply consumer already set")
	}
	name := randomName(replyToName + ".g1")
	k := &consumer{ch: ch, tag: tag, noAck: true}
	var err error
	k.core, err = c.session.ConsumeVolatile(core.ConsumeOptions{
		Queue: name, Tag: tag, Scope: ch.scope(), NoAck: true, Outlet: k, Cancelled: k.cancelled, Data: k,
	})
	if err != nil {
		return err
	}
	ch.replyQueue, ch.replyTag = name, tag
	c.srv.replyTo.Store(c.replyKey(name), struct{}{})
	c.startConsumer(k, m.NoWait)
	return nil
}

func (c *conn) replyKey(queue string) string { return c.client.vhost + "\x00" + queue }

// dropReplyQueue forgets the channel's reply queue, whose consumer is gone.
func (c *conn) dropReplyQueue(ch *channel) {
	if ch.replyQueue == "" {
		return
	}
	c.srv.replyTo.Delete(c.replyKey(ch.replyQueue))
	ch.replyQueue, ch.replyTag = "", ""
	ch.props = checkedProps{} // It may have the old name in it.
}

// declareReplyQueue answers a replier that looks whether its requester is
// still there.
func (c *conn) declareReplyQueue(ch *channel, name string, noWait bool) error {
	_, alive := c.srv.replyTo.Load(c.replyKey(name))
	if name == replyToName {
		alive = ch.replyQueue != ""
	}
	if !alive {
		return raise(wire.ReplyNotFound, 0, "no queue '%s' in vhost '%s'", name, c.client.vhost)
	}
	if !noWait {
		c.reply(ch.id, &wire.QueueDeclareOk{Queue: name, ConsumerCount: 1})
	}
	return nil
}
