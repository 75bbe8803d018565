package stomp

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"

	"github.com/go-stomp/stomp/v3/frame"

	"leveret/adapters/stomp/wire"
	"leveret/core"
	"leveret/core/auth"
)

// queueParams is how a queue is to be declared.
type queueParams struct {
	durable, autoDelete, exclusive bool
	arguments                      core.Table
}

// queueDefaults are those of a /queue.
var queueDefaults = queueParams{durable: true}

// The headers that are arguments of a queue. They pass to core as they are.
var (
	textArguments = []string{
		"x-dead-letter-exchange", "x-dead-letter-routing-key", "x-dead-letter-strategy", "x-queue-type", "x-max-age",
		"x-overflow", "x-queue-leader-locator",
	}
	integerArguments = []string{
		"x-expires", "x-message-ttl", "x-max-length", "x-max-length-bytes", "x-max-priority", "x-delivery-limit",
		"x-stream-max-segment-size-bytes", "x-stream-filter-size-bytes",
	}
	flagArguments = []string{"x-single-active-consumer"}
)

// paramsOf reads how a frame wants the queue behind a destination of kind
// declared.
func paramsOf(f *frame.Frame, kind destKind) (p queueParams, err error) {
	shared := kind == toQueue
	durable, given, err := boolean(f, "durable")
	if err == nil && !given {
		durable, given, err = boolean(f, "persistent")
	}
	if err != nil {
		return p, err
	}
	p.durable = durable || !given && shared
	p.exclusive = !p.durable
	p.autoDelete = !p.durable || !shared
	if v, given, err := boolean(f, "auto-delete"); err != nil {
		return p, err
	} else if given {
		p.autoDelete = v
	}
	if v, given, err := boolean(f, "exclusive"); err != nil {
		return p, err
	} else if given {
		p.exclusive = v
	}
	for _, name := range textArguments {
		if v, ok := f.Header.Contains(name); ok {
			p.arguments = append(p.arguments, core.Field{Name: name, Value: v})
		}
	}
	for _, name := range integerArguments {
		v, given, err := integer(f, name)
		if err != nil {
			return p, err
		}
		if given {
			p.arguments = append(p.arguments, core.Field{Name: name, Value: v})
		}
	}
	for _, name := range flagArguments {
		v, given, err := boolean(f, name)
		if err != nil {
			return p, err
		}
		if given {
			p.arguments = append(p.arguments, core.Field{Name: name, Value: v})
		}
	}
	return p, nil
}

// boolean reads a header that is true or false.
func boolean(f *frame.Frame, name string) (v, given bool, err error) {
	text, given := f.Header.Contains(name)
	switch {
	case !given:
	case text == "true", text == "True":
		v = true
	case text == "false", text == "False":
	default:
		err = open("Processing error", "header '%s' is neither true nor false: '%s'", name, text)
	}
	return v, given, err
}

// integer reads a header that is a number.
func integer(f *frame.Frame, name string) (v int64, given bool, err error) {
	text, given := f.Header.Contains(name)
	if !given {
		return 0, false, nil
	}
	v, err = strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0, true, open("Processing error", "header '%s' is not a number: '%s'", name, text)
	}
	return v, true, nil
}

// declareQueue declares a queue and remembers that and how.
func (c *conn) declareQueue(name string, p queueParams) error {
	_, err := c.session.DeclareQueue(core.QueueDeclare{
		Name: name, Durable: p.durable, Exclusive: p.exclusive, AutoDelete: p.autoDelete, Arguments: p.arguments,
	})
	if err != nil {
		return err
	}
	if c.declared == nil || len(c.declared) >= destinationsMax {
		c.declared = make(map[string]queueParams)
	}
	c.declared[name] = p
	return nil
}

// subscriptionsMax bounds the subscriptions of a connection.
const subscriptionsMax = 65535

// tagOf is the consumer tag of a subscription: by its id or else its
// destination.
func tagOf(f *frame.Frame) (tag, id string, ok bool) {
	if id, ok := f.Header.Contains(frame.Id); ok {
		return "T_" + id, id, true
	}
	if d, ok := f.Header.Contains(frame.Destination); ok {
		return "Q_" + d, "", true
	}
	return "", "", false
}

// subscribe handles a SUBSCRIBE. Its receipt goes before the first MESSAGE.
func (c *conn) subscribe(f *frame.Frame) error {
	text, ok := f.Header.Contains(frame.Destination)
	if !ok {
		return open("Missing destination", "'SUBSCRIBE' must include a 'destination' header.")
	}
	d, err := parseDestination(text, c.srv.opts.DefaultTopicExchange)
	if err != nil {
		return err
	}
	if d.kind == toTemp {
		return open("Invalid destination", "'%s' is not a valid destination for 'SUBSCRIBE'", text)
	}
	tag, id, _ := tagOf(f)
	if strings.HasPrefix(id, prefixTemp) {
		return open("Invalid id", "'id' must not begin with '%s'", prefixTemp)
	}
	if old := c.subs[tag]; old != nil && !old.ended {
		return closing("Duplicated subscription identifier", "A subscription identified by '%s' already exists.", tag)
	}
	if len(c.subs) >= subscriptionsMax {
		return open("Subscription limit exceeded", "a connection may have %d subscriptions", subscriptionsMax)
	}
	s := c.newSubscription(tag, id)
	o := core.ConsumeOptions{Tag: tag, Scope: c.scope(), Destination: strings.Clone(text), Outlet: s, Cancelled: s.cancelled, Data: s}
	switch mode, _ := f.Header.Contains(frame.Ack); mode {
	case "", frame.AckAuto:
		o.NoAck = true
	case frame.AckClient:
		s.cumulative = true
	case frame.AckClientIndividual:
	default:
		return open("Processing error", "'%s' is not an ack mode", mode)
	}
	s.noAck = o.NoAck
	s.acks = !s.noAck && c.version == wire.V12
	if err := consumeParams(f, &o); err != nil {
		return err
	}
	if o.Queue, err = c.source(&d, f, id); err != nil {
		return err
	}
	s.topic, s.queue = d.kind == toTopic, o.Queue
	if s.core, err = c.session.Consume(o); err != nil {
		return err
	}
	if old := c.subs[tag]; old != nil {
		s.older = old
	}
	if c.subs == nil {
		c.subs = make(map[string]*subscription)
	}
	c.subs[tag] = s
	c.counters.subscriptions.Add(1)
	c.answer(f)
	s.core.Start(&c.work.touched)
	return nil
}

// consumeParams reads what the headers say of the consumer.
func consumeParams(f *frame.Frame, o *core.ConsumeOptions) error {
	prefetch, _, err := integer(f, "prefetch-count")
	if err != nil {
		return err
	}
	if prefetch < 0 || prefetch > 65535 {
		return open("Processing error", "header 'prefetch-count' is not between 0 and 65535: '%d'", prefetch)
	}
	o.Prefetch = int(prefetch)
	if v, given, err := integer(f, "x-priority"); err != nil {
		return err
	} else if given {
		o.Priority = int(v)
		o.Arguments = append(o.Arguments, core.Field{Name: "x-priority", Value: v})
	}
	if v, ok := f.Header.Contains("x-stream-offset"); ok {
		offset, err := streamOffset(v)
		if err != nil {
			return err
		}
		o.Arguments = append(o.Arguments, core.Field{Name: "x-stream-offset", Value: offset})
	}
	if v, ok := f.Header.Contains("x-stream-filter"); ok {
		var list []any
		for _, one := range strings.Split(v, ",") {
			list = append(list, strings.TrimSpace(one))
		}
		o.Arguments = append(o.Arguments, core.Field{Name: "x-stream-filter", Value: list})
	}
	if v, given, err := boolean(f, "x-stream-match-unfiltered"); err != nil {
		return err
	} else if given {
		o.Arguments = append(o.Arguments, core.Field{Name: "x-stream-match-unfiltered", Value: v})
	}
	return nil
}

// streamOffset reads first, last, next, offset=N and timestamp=N.
func streamOffset(s string) (any, error) {
	name, number, ok := strings.Cut(s, "=")
	if !ok {
		return s, nil
	}
	n, err := strconv.ParseInt(number, 10, 64)
	switch {
	case err == nil && name == "offset":
		return n, nil
	case err == nil && name == "timestamp":
		return core.Timestamp(n), nil
	}
	return nil, open("Processing error", "'%s' is not a stream offset", s)
}

// source finds or makes the queue that a subscription reads.
func (c *conn) source(d *destination, f *frame.Frame, id string) (string, error) {
	switch d.kind {
	case toAMQQueue, toReply:
		return d.key, nil
	case toQueue:
		if _, ok := c.declared[d.key]; ok {
			if _, ok := c.session.VHost().Queue(d.key); ok {
				return d.key, nil
			}
		}
		p, err := paramsOf(f, toQueue)
		if err != nil {
			return "", err
		}
		if err := c.permit(core.OnQueue, d.key, auth.Configure, auth.Read); err != nil {
			return "", err
		}
		return d.key, c.declareQueue(d.key, p)
	}
	p, err := paramsOf(f, d.kind)
	if err != nil {
		return "", err
	}
	_, named := f.Header.Contains(frame.Id)
	if p.durable && !named {
		return "", open("Missing Header", "Header 'id' is required for durable subscriptions")
	}
	name := f.Header.Get("x-queue-name")
	switch {
	case name != "":
	case p.durable:
		name = durableName(d.key, id)
	default:
		name = randomName(subscriptionPrefix)
	}
	return name, c.bindSource(name, d, p)
}

// permit refuses a SUBSCRIBE that lacks a right before it has changed anything.
func (c *conn) permit(k core.AccessKind, name string, actions ...auth.Action) error {
	for _, a := range actions {
		if err := c.session.Permit(k, a, name); err != nil {
			return err
		}
	}
	return nil
}

// bindSource declares a subscription's queue and binds it. What goes wrong
// leaves no queue behind that was not there before.
func (c *conn) bindSource(name string, d *destination, p queueParams) error {
	if err := c.permit(core.OnQueue, name, auth.Configure, auth.Write, auth.Read); err != nil {
		return err
	}
	if err := c.permit(core.OnExchange, d.exchange, auth.Read); err != nil {
		return err
	}
	if err := c.session.DeclareExchange(core.ExchangeDeclare{Name: d.exchange, Passive: true}); err != nil {
		return err
	}
	_, err := c.session.DeclareQueue(core.QueueDeclare{Name: name, Passive: true})
	var ce *core.Error
	fresh := errors.As(err, &ce) && ce.Kind == core.NotFound
	if _, err := c.session.DeclareQueue(core.QueueDeclare{
		Name: name, Durable: p.durable, Exclusive: p.exclusive, AutoDelete: p.autoDelete, Arguments: p.arguments,
	}); err != nil {
		return err
	}
	err = c.session.Bind(core.Binding{Source: d.exchange, Destination: name, DestinationKind: core.ToQueue, Key: d.key})
	if err != nil && fresh {
		c.session.DeleteQueue(name, true, true)
	}
	return err
}

const subscriptionPrefix = "stomp-subscription-"

// durableName is the queue of a durable subscription, as RabbitMQ 4 names it,
// so that queues imported from one keep their subscribers: the MD5 of the
// Erlang term {Key, ID} in its external format.
func durableName(key, id string) string {
	term := []byte{131, 104, 2} // Version, small tuple of 2.
	for _, s := range [...]string{key, id} {
		term = append(term, 109) // Binary.
		term = binary.BigEndian.AppendUint32(term, uint32(len(s)))
		term = append(term, s...)
	}
	sum := md5.Sum(term)
	return subscriptionPrefix + base64.RawURLEncoding.EncodeToString(sum[:])
}

// unsubscribe handles an UNSUBSCRIBE. What was delivered before can still be
// acked. The queue of a durable subscription to a topic goes if the frame is
// marked as durable too.
func (c *conn) unsubscribe(f *frame.Frame) error {
	tag, id, ok := tagOf(f)
	switch {
	case !ok:
		return open("Missing header", "'UNSUBSCRIBE' must include an 'id' or 'destination' header.")
	case strings.HasPrefix(id, prefixTemp):
		return open("Invalid id", "'id' must not begin with '%s'", prefixTemp)
	}
	s := c.subs[tag]
	if s == nil || s.ended {
		return open("No subscription found", "'UNSUBSCRIBE' names no subscription of this connection: '%s'", tag[2:])
	}
	durable, given, err := boolean(f, "durable")
	if err == nil && !given {
		durable, _, err = boolean(f, "persistent")
	}
	if err != nil {
		return err
	}
	s.core.Cancel(&c.work.touched)
	c.endSubscription(s)
	if s.topic && durable {
		_, err = c.session.DeleteQueue(s.queue, false, false)
	}
	return err
}

// endSubscription notes that s gets nothing more. It is kept as long as
// something of it is unacked.
func (c *conn) endSubscription(s *subscription) {
	s.ended = true
	c.counters.subscriptions.Add(-1)
	c.forgetSubscription(s)
}

// forgetSubscription forgets s, and those that had its tag before, if they have
// ended and nothing of them is unacked.
func (c *conn) forgetSubscription(s *subscription) {
	at := c.subs[s.tag]
	var newer *subscription
	for at != nil {
		c.out.Lock()
		done := at.ended && at.unacked.Count == 0
		c.out.Unlock()
		switch {
		case !done:
			newer = at
		case newer != nil:
			newer.older = at.older
		case at.older != nil:
			c.subs[s.tag] = at.older
		default:
			delete(c.subs, s.tag)
		}
		if done && c.lastSub == at {
			c.lastSub = nil
		}
		at = at.older
	}
}

// endAll calls f for s and those that had its tag before it.
func (c *conn) endAll(s *subscription, f func(s *subscription)) {
	for ; s != nil; s = s.older {
		f(s)
	}
}

// cancelled is called when the broker ends the subscription. The session goes
// on.
func (s *subscription) cancelled(_ *core.Consumer, reason string) {
	c := s.conn
	c.post(func() {
		if c.state != running || s.ended {
			return
		}
		c.endSubscription(s)
		e := open("Server cancelled subscription", "The server has canceled a subscription: %s", reason)
		e.sub = s.id
		c.logFault(e)
		c.tell(e.frame(""))
	})
}
