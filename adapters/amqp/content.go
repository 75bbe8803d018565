package amqp

import "leveret/adapters/amqp/wire"

// contentMax is the largest body size that AMQP clients may announce at all.
const contentMax = 512 << 20

// content is a publish that arrives frame by frame.
type content struct {
	exchange, key        string
	mandatory, immediate bool

	headed  bool // The header has been received.
	size    uint64
	props   []byte
	body    []byte
	charged int64 // Accounted for with the connection and the broker.
}

// left is how many bytes of the body are missing.
func (t *content) left() uint64 { return t.size - uint64(len(t.body)) }

// contentFrame handles a frame on a channel that is in the middle of a publish.
func (c *conn) contentFrame(ch *channel, f wire.Frame) error {
	t := ch.content
	if !t.headed {
		if f.Type != wire.FrameHeader {
			return raise(wire.ReplyUnexpectedFrame, wire.IDBasicPublish,
				"expected content header for class 60, got non content header frame instead")
		}
		return c.contentHeader(ch, f.Payload)
	}
	if f.Type != wire.FrameBody {
		return raise(wire.ReplyUnexpectedFrame, wire.IDBasicPublish,
			"expected content body, got non content body frame instead")
	}
	if uint64(len(f.Payload)) > t.left() {
		return raise(wire.ReplyFrameError, wire.IDBasicPublish, "content body frame exceeds remaining content size")
	}
	if err := c.addBody(ch, f.Payload); err != nil || t.left() > 0 {
		return err
	}
	return c.endContent(ch)
}

func (c *conn) contentHeader(ch *channel, payload []byte) error {
	t := ch.content
	class, size, props, err := wire.ParseContentHeader(payload)
	switch {
	case err != nil:
		return raise(wire.ReplyFrameError, wire.IDBasicPublish, "%v", err)
	case class != wire.ClassBasic:
		return raise(wire.ReplyUnexpectedFrame, wire.IDBasicPublish,
			"expected content header for class 60, got one for class %d instead", class)
	case size > contentMax:
		return raise(wire.ReplyFrameError, wire.IDBasicPublish,
			"content body size %d exceeds maximum allowed size %d", size, contentMax)
	case size > c.srv.opts.MaxMessageSize:
		return c.publishFailed(ch, c.tooLarge(size))
	}
	c.work.sawPublish = true
	c.publishes.Store(true) // It may be held before its first publish is whole.
	if err := c.charge(t, int64(len(props))); err != nil {
		return err
	}
	t.headed, t.size = true, size
	t.props = append([]byte(nil), props...)
	if size == 0 {
		return c.endContent(ch)
	}
	return nil
}

// addBody appends to a body. Memory is taken as the body arrives, not as it is
// announced: at most four times of what is there.
func (c *conn) addBody(ch *channel, part []byte) error {
	t := ch.content
	need := len(t.body) + len(part)
	if need > cap(t.body) {
		size := 2 * need
		if t.size <= uint64(4*need) {
			size = int(t.size) // Most bodies are allocated once.
		}
		if err := c.charge(t, int64(size-cap(t.body))); err != nil {
			return err
		}
		body := make([]byte, len(t.body), size)
		copy(body, t.body)
		t.body = body
	}
	t.body = append(t.body, part...)
	return nil
}

// charge accounts for n more bytes of t.
func (c *conn) charge(t *content, n int64) error {
	if limit := int64(2 * c.srv.opts.MaxMessageSize); c.assembled+n > limit {
		return raise(wire.ReplyResourceError, wire.IDBasicPublish,
			"more than %d bytes of messages received in part on this connection", limit)
	}
	t.charged += n
	c.assembled += n
	c.srv.broker.Memory().Charge(n)
	return nil
}

// endContent publishes the message that is now complete.
func (c *conn) endContent(ch *channel) error {
	t := ch.content
	c.dropContent(ch)
	own := len(t.body) >= ownBodyMin
	err := c.accept(ch, t.exchange, t.key, t.props, t.body, own, t.mandatory, t.immediate)
	if own && err == nil {
		// A batch of these would be large, and core charges for what it keeps.
		c.finishWork()
	}
	return err
}

// dropContent forgets the publish under way.
func (c *conn) dropContent(ch *channel) {
	if t := ch.content; t != nil {
		ch.content = nil
		c.assembled -= t.charged
		c.srv.broker.Memory().Charge(-t.charged)
	}
}
