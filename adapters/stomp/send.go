package stomp

import (
	"bytes"
	"strconv"

	"leveret/adapters/stomp/wire"
	"leveret/core"
	"leveret/core/auth"
)

// checkedProps is what the headers of a SEND that core must know came to.
type checkedProps struct {
	form        []byte // Canonical; a copy.
	ttlMS       int64
	priority    uint8
	hasPriority bool
	persistent  bool
}

// repeatMax bounds the headers that are remembered.
const repeatMax = 1 << 10

// repeat is a SEND whose headers, byte for byte, the next one may have again:
// most clients send the same ones all the time, unless they ask for receipts.
// Then nothing is parsed (40 instead of 190 ns).
type repeat struct {
	head   []byte // Command and headers, up to the body; empty for none.
	length int64  // content-length, -1 if there is none.
	dest   *destination
	props  checkedProps
}

// sendAgain handles the frame that b begins with if it is a SEND with the same
// headers as the last one. 0 bytes used means: come again with need bytes.
func (c *conn) sendAgain(b []byte) (used, need int, ok bool) {
	r := &c.repeat
	n := len(r.head)
	if n == 0 || len(b) <= n || !bytes.HasPrefix(b, r.head) || !c.scan.Fresh() {
		return 0, 0, false
	}
	rest := b[n:]
	size := int(r.length)
	if r.length < 0 {
		if size = bytes.IndexByte(rest, 0); size < 0 {
			return 0, 0, false
		}
	} else if size >= len(rest) {
		return 0, n + size + 1, size < ownBodyMin
	} else if rest[size] != 0 {
		return 0, 0, false // Others say what is wrong with it.
	}
	c.ensureBatch()
	if err := c.accept(r.dest, &r.props, c.keep(r.props.form), rest[:size], false, nil); err != nil {
		r.head = r.head[:0]
		return 0, 0, false // The same error comes from the long way, which answers it.
	}
	return n + size + 1, 0, true
}

// keep copies b to where it is good until the batch is published.
func (c *conn) keep(b []byte) []byte {
	a := c.work.batch.arena
	at := len(a)
	a = append(a, b...)
	c.work.batch.arena = a
	return a[at:len(a):len(a)]
}

// ensureBatch takes a batch for the read under way.
func (c *conn) ensureBatch() {
	w := &c.work
	if w.batch != nil {
		return
	}
	w.batch = c.srv.batches.Get().(*batch)
	w.batch.arena = w.batch.arena[:0]
	w.sawPublish = true
	if !c.publishes.Load() {
		c.publishes.Store(true)
	}
	alarms := c.srv.broker.Alarms()
	w.refusing = alarms.RefusingAll() || alarms.Refusing() && c.outstanding() > 0
	c.attended()
}

// send handles a SEND, which begins b. The body is good for ever if own,
// otherwise for the read under way.
func (c *conn) send(b, body []byte, own bool) error {
	c.ensureBatch()
	var h wire.SendHead
	var err error
	batch := c.work.batch
	if batch.arena, err = c.scan.Send(b, c.version, batch.arena, &h); err != nil {
		return err
	}
	switch {
	case h.HasID:
		return open("Invalid header", "'message-id' is not allowed on 'SEND'.")
	case h.Destination == nil:
		return open("Missing destination", "'SEND' must include a 'destination' header.")
	}
	d, err := c.destination(h.Destination)
	if err != nil {
		return err
	}
	if d.kind == toTemp {
		return open("Invalid destination", "'%s' is not a valid destination for 'SEND'", h.Destination)
	}
	if d.kind == toQueue && !d.declared {
		if err := c.declareFor(d, b, h.Declares); err != nil {
			return err
		}
	}
	if h.ReplyTo != nil {
		if err := c.replyTo(&h); err != nil {
			return err
		}
	}
	p := &c.props
	if p.form == nil || !bytes.Equal(p.form, h.Form) {
		if err := c.checkProps(&h); err != nil {
			p.form = nil
			return err
		}
	}
	if h.Transaction != nil {
		return c.sendInTransaction(d, p, &h, body, own)
	}
	if err := c.accept(d, p, h.Form, body, own, h.Receipt); err != nil {
		return err
	}
	if h.Receipt == nil && c.scan.HeadLen <= repeatMax && h.ReplyTo == nil {
		r := &c.repeat
		r.head = append(r.head[:0], b[:c.scan.HeadLen]...)
		r.length, r.dest = c.scan.ContentLength, d
		form := append(r.props.form[:0], p.form...)
		r.props = *p
		r.props.form = form
	}
	return nil
}

// checkProps notes in c.props what matters to core of the headers.
func (c *conn) checkProps(h *wire.SendHead) error {
	p := &c.props
	*p = checkedProps{form: append(p.form[:0], h.Form...), ttlMS: -1, persistent: h.Persistent}
	if p.form == nil {
		p.form = []byte{}
	}
	if h.Priority != nil {
		n, err := strconv.ParseUint(string(bytes.Trim(h.Priority, " ")), 10, 8)
		p.priority, p.hasPriority = uint8(n), err == nil
	}
	if h.Expiration != nil {
		ms, err := strconv.ParseUint(string(h.Expiration), 10, 63)
		if err != nil || ms > maxExpirationMS {
			return closing("precondition_failed", "PRECONDITION_FAILED - invalid expiration '%s'", h.Expiration)
		}
		p.ttlMS = int64(ms)
	}
	if h.UserID != nil {
		id, _ := wire.Unescape(h.UserID, c.version)
		if u := c.session.User(); id != u.Name && !u.HasTag(auth.TagImpersonator) {
			return closing("precondition_failed", "PRECONDITION_FAILED - user_id property set to '%s' but authenticated user was '%s'", id, c.user.Name)
		}
	}
	return nil
}

// maxExpirationMS is ten years, the longest time RabbitMQ takes.
const maxExpirationMS = 315360000000

// accept takes a message for the batch. form must stay good until the batch is
// published, body too, for ever if ownBody. receipt is nil or what the client
// wants to see again when the message is where it must be.
func (c *conn) accept(d *destination, p *checkedProps, form, body []byte, ownBody bool, receipt []byte) error {
	w := &c.work
	if len(w.acks) > 0 {
		c.finishWork() // The acks came first: the credit they give counts for this message.
	}
	if w.n == batchLen {
		c.publishBatch()
	}
	if w.refusing {
		return c.refused()
	}
	t, err := c.publisher.Target(d.exchange)
	if err != nil {
		return err
	}
	m := &w.batch.messages[w.n]
	m.Reset()
	m.RoutingKey = d.key
	m.Form, m.Encoded = core.FormSTOMP, form
	m.Body, m.OwnBody = body, ownBody
	m.TTLMS = p.ttlMS
	m.Persistent = p.persistent
	m.Priority, m.HasPriority = p.priority, p.hasPriority
	route, err := c.publisher.Route(t, m)
	if err == nil && d.kind == toQueue && route.Unroutable() {
		// The queue was deleted since we declared it.
		if err = c.declareQueue(d.key, c.declared[d.key]); err == nil {
			route, err = c.publisher.Route(t, m)
		}
	}
	if err != nil {
		return err
	}
	if len(body) >= ownBodyMin && !ownBody && route.Queues() > 1 {
		m.Body, m.OwnBody = bytes.Clone(body), true // One copy for all of them.
	}
	if receipt != nil {
		c.number++
		m.Number = c.number
		c.expect(receipt)
	}
	w.n++
	if route.Unroutable() {
		c.counters.unroutable.Add(1)
		if m.Number != 0 {
			c.confirm(m.Number)
		}
	}
	return nil
}

// refused answers a publish that is not taken because of an alarm.
func (c *conn) refused() error {
	return open("Unavailable", "the broker is %s and takes no messages; try again later", c.srv.broker.Alarms().Reason())
}

// publishBatch hands the batch to core.
func (c *conn) publishBatch() {
	w := &c.work
	ms := w.batch.messages[:w.n]
	w.n = 0
	c.counters.published.Add(uint64(len(ms)))
	c.publisher.Publish(ms, &w.touched)
	if c.publisher.Ahead() || c.publisher.AheadOfLog() {
		w.ahead = true
	}
	for i := range ms {
		if ms[i].OwnBody {
			ms[i].Body = nil // The pool must not keep it alive.
		}
	}
}

// declareFor declares the queue of a SEND, with what its headers say if there
// are such.
func (c *conn) declareFor(d *destination, b []byte, headers bool) error {
	if _, ok := c.declared[d.key]; !ok {
		p := queueDefaults
		if headers {
			f, err := c.scan.Frame(b, c.version)
			if err != nil {
				return err
			}
			f.Header.Del("persistent") // It is the message's here, not the queue's.
			if p, err = paramsOf(f, toQueue); err != nil {
				return err
			}
		}
		if err := c.declareQueue(d.key, p); err != nil {
			return err
		}
	}
	d.declared = true
	return nil
}
