package stomp

import (
	"bytes"
	"strconv"
	"strings"

	"leveret/adapters/internal/settle"
	"leveret/adapters/stomp/wire"
	"leveret/core"
)

// ackOp is one ACK or NACK as the client sent it.
type ackOp struct {
	sub    *subscription // Of those with this tag the newest; nil if there is none.
	number uint64
	op     core.Settlement
}

// settlement handles an ACK or NACK, which b is. Those without a receipt are
// gathered.
func (c *conn) settlement(b []byte) error {
	var h wire.SettleHead
	if err := c.scan.Settle(b, c.version, &h); err != nil {
		return err
	}
	command := c.scan.Command
	if h.ID == nil {
		key := "id"
		if c.version != wire.V12 {
			key = "message-id"
		}
		return open("Missing header", "'%s' must include the '%s' header.", command, key)
	}
	a := ackOp{op: core.Ack}
	if command == wire.Nack {
		requeue := !c.srv.opts.NackDiscards
		switch string(h.Requeue) {
		case "true", "True":
			requeue = true
		case "false", "False":
			requeue = false
		case "":
		default:
			return open("Processing error", "header 'requeue' is neither true nor false: '%s'", h.Requeue)
		}
		if a.op = core.Discard; requeue {
			a.op = core.Requeue
		}
	}
	var ok bool
	if a.sub, a.number, ok = c.findDelivery(h.ID); !ok {
		c.finishWork()
		return c.notFound(h.ID)
	}
	if h.Transaction != nil {
		return c.settleInTransaction(a, &h)
	}
	w := &c.work
	if h.Receipt == nil {
		if w.acks = append(w.acks, a); len(w.acks) == acksMax {
			c.finishWork()
		}
		return nil
	}
	c.finishWork()
	c.out.Lock()
	ok = c.resolveLocked(&a)
	c.out.Unlock()
	if !ok {
		return c.notFound(h.ID)
	}
	w.groups.Settle(&w.touched)
	c.forgetSettled(a.sub)
	c.reply(h.Receipt)
	return nil
}

func (c *conn) notFound(id []byte) error {
	return open("Message not found", "No message with the id '%s' is waiting for an acknowledgement.", id)
}

// findDelivery finds what a message-id says: tag, session and number, joined by
// "@@", which the tag may hold too. False if it is not one of this session's.
func (c *conn) findDelivery(id []byte) (s *subscription, number uint64, ok bool) {
	if s = c.lastSub; s != nil && bytes.HasPrefix(id, s.messageID) {
		if number, ok = parseNumber(id[len(s.messageID):]); ok {
			return s, number, true
		}
	}
	text, _ := wire.Unescape(id, c.version)
	rest, digits, _ := cutLast(text)
	tag, session, _ := cutLast(rest)
	if number, ok = parseNumber([]byte(digits)); !ok || session != c.name {
		return nil, 0, false
	}
	if s = c.subs[tag]; s == nil {
		return nil, 0, false
	}
	c.lastSub = s
	return s, number, true
}

// cutLast cuts s at the last "@@".
func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndex(s, "@@")
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+2:], true
}

// parseNumber reads what Deliver counted.
func parseNumber(b []byte) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

// settleAcks settles what was gathered. What is not outstanding is answered
// with an ERROR; the rest counts.
func (c *conn) settleAcks() {
	w := &c.work
	var failed []ackOp
	ended := false
	c.out.Lock()
	for i := range w.acks {
		a := &w.acks[i]
		if !c.resolveLocked(a) {
			failed = append(failed, *a)
		}
		ended = ended || a.sub.ended || a.sub.older != nil
	}
	c.out.Unlock()
	w.groups.Settle(&w.touched)
	acks := w.acks
	w.acks = w.acks[:0]
	if ended {
		for i := range acks {
			c.forgetSettled(acks[i].sub)
		}
	}
	if cap(w.acks) > 256 && len(acks) < cap(w.acks)/16 {
		w.acks = nil // From busier times.
	} else {
		clear(acks)
	}
	for i := range failed {
		id := append(bytes.Clone(failed[i].sub.messageID), strconv.FormatUint(failed[i].number, 10)...)
		c.fail(c.notFound(id), "")
	}
}

// forgetSettled forgets what has ended of the subscriptions with s's tag, if
// all of it is settled.
func (c *conn) forgetSettled(s *subscription) {
	if s.ended || s.older != nil {
		c.forgetSubscription(s)
	}
}

// resolveLocked finds the deliveries that a is about and gathers them. It
// reports false if there are none. c.out is locked.
func (c *conn) resolveLocked(a *ackOp) bool {
	for s := a.sub; s != nil; s = s.older {
		if !s.cumulative {
			if d, ok := s.unacked.Take(a.number); ok {
				c.gatherSettled(a.op, d)
				return true
			}
			continue
		}
		gather := func(_ uint64, d settle.Delivered) { c.gatherSettled(a.op, d) }
		if !s.unacked.TakeUpTo(a.number, gather) {
			continue
		}
		if c.srv.opts.AckAcross {
			for _, other := range c.subs {
				c.endAll(other, func(s *subscription) { s.unacked.TakeThrough(a.number, gather) })
			}
		}
		return true
	}
	return false
}

func (c *conn) gatherSettled(op core.Settlement, d settle.Delivered) {
	c.underOut.outs--
	c.counters.acked++
	c.work.groups.Add(d.Holder, op, d.Seq)
}

// requeueAll returns everything that is unacked on s to its queue.
func (c *conn) requeueAll(s *subscription) {
	c.out.Lock()
	s.unacked.TakeAll(func(_ uint64, d settle.Delivered) {
		c.underOut.outs--
		c.work.groups.Add(d.Holder, core.Fail, d.Seq)
	})
	c.out.Unlock()
	c.work.groups.Settle(&c.work.touched)
}
