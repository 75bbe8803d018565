package amqp

import (
	"bytes"
	"unsafe"

	"leveret/adapters/amqp/wire"
	"leveret/core"
)

// ownBodyMin is the size from which a body is kept by reference and leaves by
// writev, if it has memory of its own. It gets that when it comes in pieces or
// goes to several queues; one that lies whole in the read buffer and goes to
// one queue is cheaper copied (64 KiB bodies: 62 instead of 100 us of CPU).
const ownBodyMin = 16 << 10

// publish handles basic.publish at the beginning of b. If the whole message,
// in one body frame at most, lies in b, it is published from there: nothing is
// copied and nothing allocated. If the rest of a small one is missing, nothing
// is used up until it is there. Everything else is gathered frame by frame,
// into memory of its own.
func (c *conn) publish(ch *channel, f wire.Frame, b []byte, size int) (used, need int, err error) {
	exchange, key, mandatory, immediate, err := wire.ParsePublish(f.Payload)
	if err != nil {
		return size, 0, raise(wire.ReplyFrameError, wire.IDBasicPublish, "cannot decode %s", wire.ErlangBinary(f.Payload))
	}
	hf, n, err := wire.ParseFrame(b[size:], c.maxPayload)
	switch {
	case err != nil: // The next turn tells what is wrong with it.
	case n == 0 && (len(b)-size < 3 || b[size] == wire.FrameHeader && channelOf(b[size:]) == ch.id):
		return 0, size + max(wire.FrameSize(b[size:]), wire.FrameHeaderSize), nil
	case n > 0 && hf.Type == wire.FrameHeader && hf.Channel == ch.id:
		class, bodySize, props, err := wire.ParseContentHeader(hf.Payload)
		at := size + n
		if err != nil || class != wire.ClassBasic || bodySize > c.srv.opts.MaxMessageSize {
			break
		}
		if bodySize == 0 {
			return at, 0, c.accept(ch, str(exchange), str(key), props, nil, false, mandatory, immediate)
		}
		bf, n, err := wire.ParseFrame(b[at:], c.maxPayload)
		if err != nil {
			break
		}
		if n == 0 {
			if bodySize >= ownBodyMin {
				break
			}
			if len(b)-at < wire.FrameHeaderSize {
				if len(b)-at < 3 || b[at] == wire.FrameBody && channelOf(b[at:]) == ch.id {
					return 0, at + wire.FrameHeaderSize, nil
				}
			} else if b[at] == wire.FrameBody && channelOf(b[at:]) == ch.id && wire.FrameSize(b[at:]) == int(bodySize)+wire.FrameOverhead {
				return 0, at + int(bodySize) + wire.FrameOverhead, nil
			}
			break
		}
		if bf.Type == wire.FrameBody && bf.Channel == ch.id && uint64(len(bf.Payload)) == bodySize {
			return at + n, 0, c.accept(ch, str(exchange), str(key), props, bf.Payload, false, mandatory, immediate)
		}
	}
	ch.content = &content{exchange: string(exchange), key: string(key), mandatory: mandatory, immediate: immediate}
	return size, 0, nil
}

func channelOf(b []byte) uint16 { return uint16(b[1])<<8 | uint16(b[2]) }

// str is b as a string, without a copy: good as long as b is.
func str(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// accept takes a message for the batch. Its strings and slices must stay good
// until the batch is published, body for ever if ownBody. The order of the
// checks is RabbitMQ's.
func (c *conn) accept(ch *channel, exchange, key string, props, body []byte, ownBody, mandatory, immediate bool) error {
	w := &c.work
	if w.batch == nil {
		c.beginBatch()
	}
	if len(w.acks) > 0 && (w.ackCh == ch || w.ackCh == nil) {
		c.finishWork() // The acks came first: the credit they give counts for this message.
		if ch.closing {
			return nil
		}
	}
	if w.n > 0 && (w.ch != ch || w.n == batchLen) {
		c.publishBatch()
	}
	w.ch = ch
	if uint64(len(body)) > c.srv.opts.MaxMessageSize {
		return c.publishFailed(ch, c.tooLarge(uint64(len(body))))
	}
	if immediate {
		return c.publishFailed(ch, raise(wire.ReplyNotImplemented, wire.IDBasicPublish, "immediate=true"))
	}
	if w.refusing && !ch.confirming {
		return c.publishFailed(ch, raise(wire.ReplyPreconditionFailed, wire.IDBasicPublish, "the broker is %s and takes no publishes; try again later", c.srv.broker.Alarms().Reason()))
	}
	t, err := ch.publisher.Target(exchange)
	if err != nil {
		return c.publishFailed(ch, err)
	}
	p := &ch.props
	if !p.known || !bytes.Equal(p.raw, props) {
		if err := c.checkProps(ch, props); err != nil {
			return c.publishFailed(ch, err)
		}
	}
	m := &w.batch.messages[w.n]
	m.Reset()
	m.RoutingKey = key
	m.Form = core.FormAMQP091
	if m.Encoded = props; p.encoded != nil {
		m.Encoded = p.encoded
	}
	m.Body = body
	m.OwnBody = ownBody
	m.Mandatory = mandatory
	m.TTLMS = p.ttlMS
	m.Persistent = p.persistent
	m.Priority, m.HasPriority = p.priority, p.hasPriority
	if p.keys != nil {
		m.SetExtraKeys(p.keys)
	}
	route, err := ch.publisher.Route(t, m)
	if err != nil {
		return c.publishFailed(ch, err)
	}
	if p.userErr != nil {
		e := *p.userErr
		return c.publishFailed(ch, &e)
	}
	if len(body) >= ownBodyMin && !ownBody && route.Queues() > 1 {
		m.Body, m.OwnBody = bytes.Clone(body), true // One copy for all of them.
	}
	if ch.tx != nil {
		return c.publishInTx(ch, m)
	}
	if ch.confirming {
		ch.published++
		m.Number = ch.published
		if w.refusing {
			c.confirm(ch, m.Number, false)
			if w.n == 0 {
				ch.publisher.Discard()
			}
			return nil
		}
	}
	w.n++
	switch {
	case route.Unroutable():
		c.unroutable(ch, m)
	case m.Mandatory && route.Later():
		c.answered(c.sendReturn(ch, &m.Message))
	}
	return nil
}

// beginBatch takes a batch for the read under way.
func (c *conn) beginBatch() {
	w := &c.work
	w.batch = c.srv.batches.Get().(*batch)
	w.sawPublish = true
	if !c.publishes.Load() {
		c.publishes.Store(true)
	}
	alarms := c.srv.broker.Alarms()
	w.refusing = alarms.RefusingAll() || alarms.Refusing() && c.outstanding() > 0
	c.attended()
}

// publishFailed raises what a publish brought about. What came before it on the
// channel is published first.
func (c *conn) publishFailed(ch *channel, err error) error {
	c.finishWork()
	if ch.closing {
		return nil
	}
	return c.raiseOn(ch, exceptionOf(err, wire.IDBasicPublish))
}

func (c *conn) tooLarge(size uint64) *exception {
	return raise(wire.ReplyPreconditionFailed, wire.IDBasicPublish,
		"message size %d is larger than configured max size %d", size, c.srv.opts.MaxMessageSize)
}

// publishBatch hands the batch to core.
func (c *conn) publishBatch() {
	w := &c.work
	ms := w.batch.messages[:w.n]
	w.n = 0
	w.ch.counters.published.Add(uint64(len(ms)))
	w.ch.counters.numbered.Store(w.ch.published)
	w.ch.publisher.Publish(ms, &w.touched)
	if w.ch.publisher.Ahead() || w.ch.publisher.AheadOfLog() {
		w.ahead = w.ch.publisher
	}
	for i := range ms {
		if ms[i].OwnBody {
			ms[i].Body = nil // The pool must not keep it alive.
		}
	}
}

// unroutable answers a publish that goes nowhere: basic.return first, if it is
// wanted, then the confirm. Replies to a requester that has gone are dropped.
func (c *conn) unroutable(ch *channel, m *core.Publication) {
	var n int
	if m.Mandatory && !isReplyQueue(m.RoutingKey) {
		n = c.sendReturn(ch, &m.Message)
	}
	if m.Number != 0 {
		c.confirm(ch, m.Number, true)
	}
	if n > 0 {
		c.answered(n)
	}
}

// sendReturn appends basic.return with m and reports how long it was.
func (c *conn) sendReturn(ch *channel, m *core.Message) int {
	ch.counters.returned.Add(1)
	c.out.Lock()
	c.out.Reserve(c.contentSize(m) + replyRoom)
	before := len(c.out.B)
	n := 0
	if !c.underOut.closed && !ch.mute {
		c.out.B = wire.AppendReturn(c.out.B, ch.id, wire.ReplyNoRoute, "NO_ROUTE", m.Exchange, m.RoutingKey)
		n = c.appendContent(ch.id, m.Encoded, m)
		n += len(c.out.B) - before
		c.out.Asked(n)
	}
	if c.out.Unlock() {
		c.work.flushOwn = true
	}
	return n
}

// contentSize is about what appendContent appends.
func (c *conn) contentSize(m *core.Message) int {
	if len(m.Body) >= ownBodyMin && m.OwnBody {
		return len(m.Encoded)
	}
	return len(m.Encoded) + len(m.Body) + wire.FrameOverhead*(2+len(m.Body)/int(c.frameMax))
}

// appendContent appends a content header and the body, which goes by reference
// if it is large and its own. It returns how many bytes went by reference.
// c.out is locked.
func (c *conn) appendContent(channel uint16, props []byte, m *core.Message) (referred int) {
	o := c.out
	if len(m.Body) < ownBodyMin || !m.OwnBody {
		o.B = wire.AppendContent(o.B, channel, props, m.Body, c.frameMax)
		return 0
	}
	o.B = wire.AppendHeaderRaw(o.B, channel, uint64(len(m.Body)), props)
	max := int(c.frameMax) - wire.FrameOverhead
	for body := m.Body; len(body) > 0; {
		part := body[:min(len(body), max)]
		body = body[len(part):]
		o.B = wire.AppendFrameHeader(o.B, wire.FrameBody, channel, uint32(len(part)))
		if len(part) < ownBodyMin {
			o.B = append(o.B, part...)
		} else {
			o.AppendRef(part)
			referred += len(part)
		}
		o.B = append(o.B, wire.FrameEnd)
	}
	return referred
}
