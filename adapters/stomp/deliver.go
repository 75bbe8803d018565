package stomp

import (
	"bytes"

	"leveret/adapters/internal/settle"
	"leveret/adapters/stomp/wire"
	"leveret/core"
)

// subscription is one SUBSCRIBE: core's outlet for it.
type subscription struct {
	// Fixed by subscribe.
	conn       *conn
	tag        string // core's name of it; message-ids begin with it.
	id         string // The header id, "" if there was none.
	queue      string
	topic      bool // Made by a /topic destination.
	noAck      bool
	cumulative bool // Ack mode client.
	core       *core.Consumer
	messageID  []byte // What message-ids begin with, escaped.
	acks       bool   // MESSAGEs have a header ack.

	// Of the reader.
	ended bool
	older *subscription // One that had the tag before, with deliveries unacked.

	// Guarded by out's lock.
	unacked settle.Unacked
	dest    struct { // The last one, and what it was made from.
		exchange           string
		key, escaped, lead []byte
		scratch            []byte
	}
	form struct { // The last headers of another form, translated.
		known    bool
		of       core.Form
		from, to []byte
	}
}

// newSubscription makes one whose consumer is still to come.
func (c *conn) newSubscription(tag, id string) *subscription {
	s := &subscription{conn: c, tag: tag, id: id}
	s.messageID = wire.AppendEscaped(nil, tag+"@@"+c.name+"@@", c.version)
	c.out.Lock()
	s.unacked.LastTag = c.underOut.total // So that a tag used again has no number twice.
	c.out.Unlock()
	return s
}

// Room is part of core.Outlet.
func (s *subscription) Room(w *core.Waiter) bool { return s.conn.out.Room(w) }

// Flush is part of core.Outlet.
func (s *subscription) Flush() { s.conn.out.Flush() }

// Pending is how many bytes the client's connection has to send.
func (s *subscription) Pending() int { return s.conn.out.Pending() }

// Deliver encodes deliveries into the out-buffer, numbers them and notes those
// that need an ack. It is called under a queue's lock: one copy of each message,
// no allocation but for growing the buffer and the list of the unacked.
func (s *subscription) Deliver(_ *core.Consumer, ds []core.Delivery) (flush bool) {
	c := s.conn
	o := c.out
	o.Lock()
	if c.srv.opts.AckAcross {
		s.unacked.LastTag = c.underOut.total
	}
	var h wire.MessageHead
	if s.acks {
		h.ID = s.messageID
	}
	for i := range ds {
		d := &ds[i]
		m := d.Message
		if s.noAck {
			h.Number = s.unacked.NextTag()
		} else {
			h.Number = s.unacked.Add(&s.core.Holder, d.Seq)
			c.underOut.outs++
		}
		if c.underOut.closed {
			continue // It will be requeued.
		}
		h.Lead = s.leadOf(m)
		h.Redelivered = d.Redelivered
		h.Form = s.formOf(m)
		h.BodyLen = len(m.Body)
		if len(m.Body) < ownBodyMin || !m.OwnBody {
			o.Reserve(wire.MessageHeadSize(&h) + len(m.Body))
			o.B = append(wire.AppendMessageHead(o.B, &h, c.version), m.Body...)
		} else {
			o.Reserve(wire.MessageHeadSize(&h))
			o.B = wire.AppendMessageHead(o.B, &h, c.version)
			o.AppendRef(m.Body)
		}
		o.B = append(o.B, wire.FrameEnd...)
	}
	c.underOut.total += uint64(len(ds))
	if c.underOut.unheld && c.underOut.outs > 0 {
		c.underOut.unheld = false
		select {
		case c.control.wake <- struct{}{}:
		default:
		}
	}
	c.counters.delivered += uint64(len(ds))
	return o.Unlock()
}

// leadOf is what m's MESSAGE begins with. out is locked.
func (s *subscription) leadOf(m *core.Message) []byte {
	d := &s.dest
	if d.lead != nil && d.exchange == m.Exchange && string(d.key) == m.RoutingKey {
		return d.lead
	}
	d.exchange, d.key = m.Exchange, append(d.key[:0], m.RoutingKey...)
	d.escaped, d.scratch = appendDestination(d.escaped[:0], d.scratch, m.Exchange, m.RoutingKey,
		s.conn.srv.opts.DefaultTopicExchange, s.conn.version)
	d.lead = wire.AppendLead(d.lead[:0], s.id, d.escaped, s.messageID, s.conn.version)
	return d.lead
}

// formMax bounds the translated headers that are remembered.
const formMax = 1 << 10

// formOf is m's headers in the canonical form. Messages of another protocol
// tend to have the same ones. out is locked.
func (s *subscription) formOf(m *core.Message) []byte {
	if m.Form == core.FormSTOMP {
		return m.Encoded
	}
	f := &s.form
	if f.known && f.of == m.Form && bytes.Equal(f.from, m.Encoded) {
		return f.to
	}
	f.to = m.EncodedAs(core.FormSTOMP, f.to[:0])
	f.known = m.Form != core.FormNeutral && len(m.Encoded) <= formMax && len(f.to) <= formMax
	if f.known {
		f.of, f.from = m.Form, append(f.from[:0], m.Encoded...)
	}
	return f.to
}
