package stomp

import (
	"bytes"
	"strings"

	"leveret/adapters/stomp/wire"
	"leveret/core"
)

// replyQueuesMax bounds the reply queues of a connection.
const replyQueuesMax = 1000

// replyTo gives a SEND's reply-to the form that a subscriber can send to: a
// temporary queue, made at its first use in a session, and the plain name of a
// queue become /reply-queue/NAME; other destinations stay as they are.
func (c *conn) replyTo(h *wire.SendHead) error {
	text, ok := wire.Unescape(h.ReplyTo, c.version)
	if !ok {
		return wire.ErrEscape
	}
	switch {
	case strings.HasPrefix(text, prefixTemp):
		name, err := c.replyQueue(text)
		if err != nil {
			return err
		}
		text = prefixReply + name
	case hasPrefix(text), text == "":
		return nil
	default:
		text = prefixReply + text
	}
	from := bytes.Index(h.Form, []byte("\nreply-to:")) + 1 // 0 if it is the first line.
	to := from + bytes.IndexByte(h.Form[from:], '\n') + 1
	arena := c.work.batch.arena
	at := len(arena)
	arena = append(arena, h.Form[:from]...)
	arena = wire.AppendCanonicalLine(arena, "reply-to", text)
	arena = append(arena, h.Form[to:]...)
	c.work.batch.arena = arena
	h.Form = arena[at:len(arena):len(arena)]
	return nil
}

// replyQueue returns the queue behind /temp-queue/T. Replies to it come as
// MESSAGEs of a subscription of that name.
func (c *conn) replyQueue(text string) (string, error) {
	if s := c.replyQueues[text]; s != nil {
		return s.queue, nil
	}
	if _, err := parseDestination(text, ""); err != nil {
		return "", err
	}
	if len(c.replyQueues) >= replyQueuesMax {
		return "", open("Subscription limit exceeded", "a connection may have %d temporary queues", replyQueuesMax)
	}
	c.finishWork()
	s := c.newSubscription(text, text)
	s.noAck, s.queue = true, randomName("stomp.gen-")
	_, err := c.session.DeclareQueue(core.QueueDeclare{Name: s.queue, Exclusive: true, AutoDelete: true})
	if err != nil {
		return "", err
	}
	s.core, err = c.session.Consume(core.ConsumeOptions{
		Queue: s.queue, Tag: text, Scope: c.scope(), Destination: text, NoAck: true, Outlet: s, Cancelled: s.replyQueueGone, Data: s,
	})
	if err != nil {
		return "", err
	}
	if c.replyQueues == nil {
		c.replyQueues = make(map[string]*subscription)
	}
	c.replyQueues[text] = s
	s.core.Start(&c.work.touched)
	return s.queue, nil
}

// replyQueueGone is called when somebody has deleted a reply queue: the next
// reply-to makes another.
func (s *subscription) replyQueueGone(*core.Consumer, string) {
	s.conn.post(func() {
		if s.conn.replyQueues[s.tag] == s {
			delete(s.conn.replyQueues, s.tag)
		}
	})
}
