package mqtt

import (
	"bytes"
	"encoding/binary"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// willOf checks a will as the PUBLISH that it will be, and makes it one of
// core's. It is kept for as long as the client is there, and longer: a broker
// that refuses publishes takes none.
func (c *conn) willOf(w *wire.Will) (*core.Will, error) {
	if w == nil {
		return nil, nil
	}
	c.client.will = true
	if wire.Levels([]byte(w.Topic)) > wire.LevelsMax {
		return nil, fail(wire.TopicNameInvalid, "a will's topic of more than %d levels", wire.LevelsMax)
	}
	if c.srv.forged(w.Topic) {
		return nil, fail(wire.NotAuthorized, "$SYS topics are the broker's")
	}
	if c.srv.broker.Alarms().Refusing() {
		return nil, fail(wire.ServerUnavailable, "no will is taken: the broker is %s", c.srv.broker.Alarms().Reason())
	}
	key := []byte(w.Topic)
	wire.KeyInPlace(key)
	out := &core.Will{
		Exchange: c.srv.opts.Exchange, RoutingKey: string(key), Form: core.FormMQTT, Body: bytes.Clone(w.Payload),
		Persistent: w.QoS > 0, Retain: w.Retain, TTLMS: -1, DelayMS: int64(w.DelayS) * 1000,
	}
	flags := w.QoS
	if w.Retain {
		flags |= flagRetain
	}
	enc := []byte{flags}
	if w.Parsed.HasExpiry {
		enc[0] |= flagExpiry
		enc = binary.BigEndian.AppendUint32(enc, w.Parsed.Expiry)
		out.TTLMS = int64(w.Parsed.Expiry) * 1000
	}
	out.Encoded = wire.AppendForwarded(enc, w.Props)

	p := c.session.NewPublisher(c)
	t, err := p.Target(out.Exchange)
	if err != nil {
		return nil, err
	}
	var m core.Publication
	m.Reset()
	m.RoutingKey, m.Form, m.Encoded = out.RoutingKey, out.Form, out.Encoded
	_, err = p.Route(t, &m)
	p.Discard()
	return out, err
}
