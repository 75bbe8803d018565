package amqp

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"leveret/adapters/amqp/wire"
	"leveret/adapters/internal/settle"
	"leveret/core"
)

// randomName is prefix and 22 random characters.
func randomName(prefix string) string {
	var b [16]byte
	rand.Read(b[:])
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

func (c *conn) basicQos(ch *channel, m *wire.BasicQos) error {
	if m.PrefetchSize != 0 {
		return raise(wire.ReplyNotImplemented, 0, "prefetch_size!=0 (%d)", m.PrefetchSize)
	}
	if m.Global {
		ch.counters.globalPrefetch.Store(int64(m.PrefetchCount))
		ch.limiter().SetLimit(int(m.PrefetchCount), &c.work.touched)
	} else {
		ch.prefetch = int(m.PrefetchCount)
		ch.counters.prefetch.Store(int64(m.PrefetchCount))
	}
	c.reply(ch.id, &wire.BasicQosOk{})
	return nil
}

// limiter is the credit that all consumers of the channel share. They get it
// from the first one on, so that basic.qos with global=true can set it later.
func (ch *channel) limiter() *core.Limiter {
	if ch.shared == nil {
		ch.shared = new(core.Limiter)
	}
	return ch.shared
}

func (c *conn) basicConsume(ch *channel, m *wire.BasicConsume) error {
	c.forgetEnded()
	tag := m.ConsumerTag
	if tag == "" {
		tag = randomName("amq.ctag-")
	} else if _, used := ch.consumers[tag]; used {
		return raise(wire.ReplyNotAllowed, 0, "attempt to reuse consumer tag '%s'", tag)
	}
	if most := c.srv.opts.MaxConsumers; most > 0 && len(ch.consumers) >= most {
		return raise(wire.ReplyNotAllowed, 0, "reached maximum (%d) of consumers per channel", most)
	}
	name := m.Queue
	if name == replyToName {
		return c.consumeReplies(ch, tag, m)
	}
	name, err := ch.queueName(name)
	if err != nil {
		return err
	}
	arguments := tableFromWire(m.Arguments)
	priority, err := c.consumerPriority(name, arguments)
	if err != nil {
		return err
	}
	k := &consumer{ch: ch, tag: tag, noAck: m.NoAck}
	o := core.ConsumeOptions{
		Queue: name, Tag: tag, Scope: ch.scope(), NoAck: m.NoAck, Exclusive: m.Exclusive, Priority: priority,
		Arguments: arguments, Outlet: k, Cancelled: k.cancelled, TimedOut: k.timedOut, Data: k,
	}
	if !m.NoAck {
		o.Prefetch = ch.prefetch
		o.Shared = ch.limiter()
	}
	if k.core, err = c.session.Consume(o); err != nil {
		return err
	}
	c.startConsumer(k, m.NoWait)
	return nil
}

// startConsumer announces a registered consumer and lets deliveries begin.
func (c *conn) startConsumer(k *consumer, noWait bool) {
	ch := k.ch
	if ch.consumers == nil {
		ch.consumers = make(map[string]*consumer)
	}
	ch.consumers[k.tag] = k
	ch.counters.consumers.Store(int64(len(ch.consumers)))
	if !noWait {
		c.reply(ch.id, &wire.BasicConsumeOk{ConsumerTag: k.tag})
	}
	c.out.Lock()
	k.announced = true
	ended := k.ended
	if ended {
		k.appendCancelLocked()
	}
	if c.out.Unlock() {
		c.work.flushOwn = true
	}
	if !ended {
		k.core.Start(&c.work.touched)
	}
}

// consumerPriority reads the argument x-priority.
func (c *conn) consumerPriority(queue string, arguments core.Table) (int, error) {
	v, ok := arguments.Get("x-priority")
	if !ok {
		return 0, nil
	}
	n, ok := core.Integer(v)
	if !ok {
		return 0, raise(wire.ReplyPreconditionFailed, 0, "invalid arg 'x-priority' for queue '%s' in vhost '%s': {unacceptable_type,%s}",
			queue, c.client.vhost, core.TypeName(v))
	}
	return int(n), nil
}

// cancelled is called by core, on any goroutine, when the broker ends the
// consumer.
func (k *consumer) cancelled(_ *core.Consumer, reason string) {
	c := k.ch.conn
	c.out.Lock()
	k.ended = true
	if k.announced {
		k.appendCancelLocked()
	}
	flush := c.out.Unlock()
	if flush {
		c.out.Kick()
	}
	c.control.mu.Lock()
	if !c.control.gone {
		c.control.ended = append(c.control.ended, k)
	}
	c.control.mu.Unlock()
}

// timedOut is called by core, on any goroutine, when the consumer was ended for
// being too late with an ack. A client that cannot be told so loses its channel.
func (k *consumer) timedOut(_ *core.Consumer, timeoutMS int64) {
	c, ch := k.ch.conn, k.ch
	if c.client.cancelNotify {
		k.cancelled(nil, "")
		return
	}
	c.post(func() {
		if ch.row == nil {
			return // It is closed, or being closed.
		}
		c.channelException(ch, raise(wire.ReplyPreconditionFailed, 0, "delivery acknowledgement on channel %d timed out. "+
			"Timeout value used: %d ms. This timeout value can be configured, see consumers doc guide to learn more", ch.id, timeoutMS))
	})
}

// forgetEnded takes consumers that the broker has ended off their channels.
func (c *conn) forgetEnded() {
	c.control.mu.Lock()
	ended := c.control.ended
	c.control.ended = nil
	c.control.mu.Unlock()
	for _, k := range ended {
		if k.ch.consumers[k.tag] == k {
			k.ch.removeConsumer(k)
		}
	}
}

func (ch *channel) removeConsumer(k *consumer) {
	delete(ch.consumers, k.tag)
	ch.counters.consumers.Store(int64(len(ch.consumers)))
}

// appendCancelLocked tells the client, if it can take it. out is locked.
func (k *consumer) appendCancelLocked() {
	c := k.ch.conn
	if c.client.cancelNotify && !k.ch.mute && !c.underOut.closed {
		at := len(c.out.B)
		c.out.B = wire.AppendMethod(c.out.B, k.ch.id, &wire.BasicCancel{ConsumerTag: k.tag, NoWait: true})
		// It is the end of something it asked for, and can ask for again as
		// often as it likes without reading.
		c.out.Asked(len(c.out.B) - at)
	}
}

func (c *conn) basicCancel(ch *channel, m *wire.BasicCancel) error {
	if k := ch.consumers[m.ConsumerTag]; k != nil {
		k.core.Cancel(&c.work.touched)
		ch.removeConsumer(k)
		if ch.replyTag == m.ConsumerTag {
			c.dropReplyQueue(ch)
		}
	}
	if !m.NoWait {
		c.reply(ch.id, &wire.BasicCancelOk{ConsumerTag: m.ConsumerTag})
	}
	return nil
}

func (c *conn) basicGet(ch *channel, m *wire.BasicGet) error {
	name, err := ch.queueName(m.Queue)
	if err != nil {
		return err
	}
	for {
		answered, tooLarge, err := c.get(ch, name, m.NoAck)
		switch {
		case err != nil:
			return err
		case answered > 0:
			c.answered(answered)
			return nil
		case tooLarge == nil:
			c.reply(ch.id, &wire.BasicGetEmpty{})
			return nil
		}
		c.srv.log.Warn("AMQP message discarded: its properties need a larger frame than the client takes",
			append(c.who(), "channel", ch.id, "queue", name, "frame_max", c.frameMax, "needed", tooLarge.needs)...)
		if !m.NoAck {
			tooLarge.d.Holder.Settle(core.Discard, []core.Seq{tooLarge.d.Seq}, &c.work.touched)
		}
	}
}

// get answers basic.get with a message, if there is one, and returns how long
// the answer was. A message that the client's frames are too small for comes
// back instead.
func (c *conn) get(ch *channel, queue string, noAck bool) (answered int, tooLarge *unsendable, err error) {
	_, err = c.session.GetFor(ch.row.Name, queue, noAck, func(h *core.Holder, d *core.Delivery, remaining int) {
		msg := d.Message
		props := msg.EncodedAs(core.FormAMQP091, nil)
		if d.Acquired != 0 {
			props = counted(d)
		}
		if size := wire.ContentHeaderSize(props); size > int(c.frameMax) {
			tooLarge = &unsendable{settle.Delivered{Holder: h, Seq: d.Seq}, size}
			return
		}
		c.out.Lock()
		var tag uint64
		if noAck {
			tag = ch.unacked.NextTag()
		} else {
			tag = ch.unacked.Add(h, d.Seq)
			c.underOut.outs++
		}
		c.out.Reserve(c.contentSize(msg) + replyRoom)
		before := len(c.out.B)
		c.out.B = wire.AppendGetOk(c.out.B, ch.id, tag, d.Redelivered, msg.Exchange, msg.RoutingKey, uint32(remaining))
		answered = c.appendContent(ch.id, props, msg)
		answered += len(c.out.B) - before
		c.out.Asked(answered)
		ch.counters.delivered++
		if c.out.Unlock() {
			c.work.flushOwn = true
		}
	})
	return answered, tooLarge, err
}

func (c *conn) basicRecover(ch *channel, requeue, answer bool) error {
	if !requeue {
		return raise(wire.ReplyNotImplemented, 0, "requeue=false")
	}
	c.requeueAll(ch, core.Requeue)
	if answer {
		c.reply(ch.id, &wire.BasicRecoverOk{})
	}
	return nil
}

// scope is how operators know the channel.
func (ch *channel) scope() string { return fmt.Sprintf("%s (%d)", ch.conn.name(), ch.id) }
