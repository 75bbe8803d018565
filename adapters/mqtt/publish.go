package mqtt

import (
	"bytes"
	"unsafe"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// ownBodyMin is the size from which a body is kept by reference and leaves by
// writev, if it has memory of its own.
const ownBodyMin = 16 << 10

// str is b as a string, without a copy: good as long as b is.
func str(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// publish takes a PUBLISH for the batch: nothing is copied but properties that
// are not those of the message before, and nothing allocated. Its body is good
// until the batch is published, for ever with own. It is changed in place.
func (c *conn) publish(h wire.Header, body []byte, own bool) error {
	p, err := wire.SplitPublish(h, body, c.version)
	if err != nil {
		return err
	}
	hasProps := len(p.Props) > 0
	if hasProps {
		if err := c.props.check(p.Props); err != nil {
			return err
		}
	}
	key, err := c.topicKey(&p, hasProps && c.props.parsed.HasAlias)
	if err != nil {
		return err
	}
	w := &c.work
	if len(w.acks) >= acksMax || w.n == batchLen || w.ins == batchLen {
		c.finishWork()
	}
	if w.batch == nil {
		c.beginBatch()
	}
	c.srv.stats.received.Add(1)
	qos := h.QoS()
	if qos > 0 {
		if done, err := c.repeated(qos, p.ID); done || err != nil {
			return err
		}
		if n := int(c.inbound.open.Load()); n >= c.srv.opts.ReceiveMaximum && c.version == wire.V5 {
			return fail(wire.ReceiveMaximumExceeded, "%d messages without an acknowledgement, %d are allowed", n+1, c.srv.opts.ReceiveMaximum)
		}
	}
	if w.refusing {
		return c.refuseOne(qos, p.ID, wire.QuotaExceeded)
	}

	t, err := c.publisher.Target(c.srv.opts.Exchange)
	if err != nil {
		return c.publishRefused(qos, p.ID, err)
	}
	m := &w.batch.messages[w.n]
	m.Reset()
	m.RoutingKey = key
	m.Form = core.FormMQTT
	m.Origin = c.client.origin
	flags := qos
	if h.Retain() {
		flags |= flagRetain
		m.Retain = true
	}
	if hasProps && (len(c.props.forwarded) > 0 || c.props.flags != 0) {
		m.Encoded = c.props.encode(w.batch, flags)
		if c.props.parsed.HasExpiry {
			m.TTLMS = int64(c.props.parsed.Expiry) * 1000
		}
	} else {
		m.Encoded = plain[flags]
	}
	m.Body, m.OwnBody = p.Payload, own && len(p.Payload) >= ownBodyMin
	m.Persistent = qos > 0
	if qos == 2 {
		m.Once = p.ID
	}
	route, err := c.publisher.Route(t, m)
	if err != nil {
		return c.publishRefused(qos, p.ID, err)
	}
	if len(p.Payload) >= ownBodyMin && !own && (route.Queues() > 1 || m.Retain) {
		m.Body, m.OwnBody = bytes.Clone(p.Payload), true // One copy for all of them.
	}
	w.n++
	if qos == 0 {
		return nil
	}
	c.published++
	m.Number = c.published
	in := inPacket{id: p.ID, qos: qos}
	if !m.Tracked() {
		in.code, in.done = wire.NoMatchingSubscribers, true
	}
	c.note(in)
	return nil
}

// note adds a QoS 1 or 2 PUBLISH to the batch.
func (c *conn) note(in inPacket) {
	w := &c.work
	w.batch.inbound[w.ins] = in
	w.ins++
	c.inbound.pending.set(in.id)
	c.inbound.open.Add(1)
}

// lastTopic is the topic of the connection's last PUBLISH. Most publishers stay
// with one: then it is neither checked nor translated again.
type lastTopic struct {
	raw []byte
	key string // The routing key, once the topic came twice in a row.
}

// lastTopicMax bounds what is remembered.
const lastTopicMax = 256

// topicKey is the routing key of a PUBLISH, resolved through topic aliases.
func (c *conn) topicKey(p *wire.PublishPacket, hasAlias bool) (string, error) {
	last := &c.lastTopic
	switch known := bytes.Equal(p.Topic, last.raw); {
	case known && last.key != "" && !hasAlias:
		return last.key, nil
	case len(p.Topic) > 0:
		if err := wire.CheckTopic(p.Topic); err != nil {
			return "", err
		}
		if !known && len(p.Topic) <= lastTopicMax {
			last.raw, last.key = append(last.raw[:0], p.Topic...), ""
		}
		if len(p.Topic) > wire.LevelsMax && wire.Levels(p.Topic) > wire.LevelsMax {
			return "", fail(wire.TopicNameInvalid, "a topic of more than %d levels", wire.LevelsMax)
		}
		if c.srv.forged(str(p.Topic)) {
			return "", fail(wire.NotAuthorized, "$SYS topics are the broker's")
		}
		wire.KeyInPlace(p.Topic)
		if known {
			last.key = string(p.Topic) // It comes twice, and so will again.
		}
	}
	if !hasAlias {
		if len(p.Topic) == 0 {
			return "", fail(wire.ProtocolError, "neither a topic nor an alias")
		}
		return str(p.Topic), nil
	}
	alias := int(c.props.parsed.Alias)
	if alias == 0 || alias > c.srv.opts.TopicAliasMax {
		return "", fail(wire.TopicAliasInvalid, "topic alias %d, %d are allowed", alias, c.srv.opts.TopicAliasMax)
	}
	if len(p.Topic) == 0 {
		if alias >= len(c.aliases) || c.aliases[alias] == "" {
			return "", fail(wire.ProtocolError, "topic alias %d is not known", alias)
		}
		return c.aliases[alias], nil
	}
	for alias >= len(c.aliases) {
		c.aliases = append(c.aliases, "")
	}
	if c.aliases[alias] != str(p.Topic) {
		c.aliases[alias] = string(p.Topic)
	}
	return c.aliases[alias], nil
}

// repeated handles a PUBLISH whose packet identifier is in use: it was sent
// before, and is not published again.
func (c *conn) repeated(qos byte, id uint16) (done bool, err error) {
	if c.inbound.pending.has(id) {
		return true, nil // Its answer is on its way.
	}
	if !c.holds.HasReceived(id) {
		return false, nil
	}
	typ, code := wire.Pubrec, wire.Success
	if qos == 1 {
		typ, code = wire.Puback, wire.PacketIDInUse
		if c.version != wire.V5 {
			return true, fail(wire.ProtocolError, "a QoS 1 PUBLISH with the packet identifier of a QoS 2 flow")
		}
	}
	c.finishWork() // Answers stand in order.
	c.answer(func(b []byte) []byte { return wire.AppendAck(b, typ, id, code, c.version) })
	return true, nil
}

// refuseOne answers a PUBLISH that is not published. Clients that cannot be
// told lose the connection: silence would leak the packet identifier.
func (c *conn) refuseOne(qos byte, id uint16, code wire.Code) error {
	switch {
	case qos == 0:
		return nil
	case c.version != wire.V5:
		return fail(code, "a PUBLISH was refused")
	}
	c.published++
	c.note(inPacket{id: id, qos: qos, code: code, done: true})
	return nil
}

// publishRefused answers a PUBLISH that the client may not publish.
func (c *conn) publishRefused(qos byte, id uint16, err error) error {
	f := failureOf(err)
	if f.code == wire.NotAuthorized && !c.srv.opts.KeepUnauthorized {
		return f
	}
	c.srv.log.Warn("MQTT publish refused", append(c.who(), "why", f.why)...)
	return c.refuseOne(qos, id, f.code)
}

// beginBatch takes a batch for the read under way.
func (c *conn) beginBatch() {
	w := &c.work
	w.batch = c.srv.batches.Get().(*batch)
	w.sawPublish = true
	if !c.publishes.Load() {
		c.publishes.Store(true)
	}
	if c.publisher == nil {
		c.makePublisher()
	}
	alarms := c.srv.broker.Alarms()
	w.refusing = alarms.RefusingAll() || alarms.Refusing() && c.outstanding() > 0
	c.inbound.attend()
}

// makePublisher makes the connection's publisher with its first message.
func (c *conn) makePublisher() {
	c.publisher = c.session.NewPublisher(c)
	c.publisher.SetClient(c.holds)
}

// flushMin is how much is flushed before the read is at its end.
const flushMin = 128 << 10

// publishBatch hands the batch to core.
func (c *conn) publishBatch() {
	w := &c.work
	ms, ins := w.batch.messages[:w.n], w.batch.inbound[:w.ins]
	w.n, w.ins = 0, 0
	c.inbound.add(ins)
	c.publisher.Publish(ms, &w.touched)
	w.touched.FlushFrom(flushMin) // Or a QoS 0 subscriber has no room for the rest of a large read.
	if k, ok := c.publisher.Crowded().(*outlet); ok {
		w.behind = k
	} else if k := c.srv.full.Load(); k != nil && c.srv.full.CompareAndSwap(k, nil) {
		w.behind = k
	}
	if c.publisher.Ahead() || c.publisher.AheadOfLog() {
		w.ahead = true
	}
	for i := range ms {
		if ms[i].OwnBody {
			ms[i].Body = nil // The pool must not keep it alive.
		}
	}
}
