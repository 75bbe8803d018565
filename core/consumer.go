package core

import (
	"sync/atomic"

	"leveret/core/auth"
)

// ConsumeOptions are the arguments of Session.Consume.
type ConsumeOptions struct {
	Queue string
	Tag   string // Unique within its scope, to the adapter's own rules.
	Scope string // What it hangs on in the adapter, for operators.
	// Destination is what the client calls what it consumes from, for operators,
	// where that is not the queue.
	Destination string
	NoAck       bool
	Exclusive   bool
	Priority    int // Higher ones are served first.
	Prefetch    int // Unsettled deliveries at most; 0 for no limit.
	Arguments   Table

	// Shared is credit shared with other consumers, or nil.
	Shared *Limiter
	// Outlet takes the deliveries.
	Outlet Outlet
	// Cancelled is called, without any lock held, when the broker ends the
	// consumer: its queue is gone or its permission revoked.
	Cancelled func(c *Consumer, reason string)
	// TimedOut is called, in the same way, instead of Cancelled when the consumer
	// has been ended because it held deliveries for longer than timeoutMS. Those
	// were requeued; what it says about them any more is ignored. nil has
	// Cancelled called.
	TimedOut func(c *Consumer, timeoutMS int64)
	// Data is the adapter's own.
	Data any

	holder QueueID // The lasting client that holds what the consumer is handed; 0 for none.
}

// Holder is who a delivery was handed to: a consumer, or the gets of a queue.
// With an entry's Seq it makes the opaque token that settles the delivery, and
// stays good for that when the consumer is cancelled.
type Holder struct {
	queue    Queue
	consumer *Consumer // nil for gets.
	tally    *tally    // Counts what is settled.
}

// Settle settles deliveries that h holds, in ascending order where that is
// known. Numbers that h does not hold, or whose queue is gone, are ignored.
// No lock is held by the caller.
func (h *Holder) Settle(op Settlement, seqs []Seq, t *Touched) {
	if len(seqs) != 0 {
		h.queue.settle(h, op, seqs, t)
	}
}

// QueueName names the queue that the deliveries came from.
func (h *Holder) QueueName() string { return h.queue.Options().Name }

// Consumer takes messages from one queue as far as its credit goes.
type Consumer struct {
	Holder
	opts    ConsumeOptions
	session *Session
	waiter  Waiter
	ended   atomic.Bool   // Its end has been told, and its meter no longer counts it.
	returns atomic.Bool   // It gives back what it holds as it goes; see Leave.
	reader  *streamReader // Of a stream's consumer.

	// in is its part of the queue, guarded by the queue's lock.
	in struct {
		unacked  int
		prefetch int
		pending  []Delivery // Given to it in this pass, not yet to its outlet.
		group    *consumerGroup
		prev     *Consumer // In the group's ring of consumers with credit.
		next     *Consumer
		started  bool
		waiting  bool // A limiter will wake it.
		gone     bool
		resume   []Slot // Its client's, to be handed to it before anything else.
		kept     []Slot // Set by Detach.
		watch    *watch // nil while it may take as long as it likes to settle.
	}
}

// Options returns what the consumer asked for; read only.
func (c *Consumer) Options() *ConsumeOptions { return &c.opts }

// Session returns the session that c belongs to.
func (c *Consumer) Session() *Session { return c.session }

// Consume registers a consumer, paused: Start it once the client has been told
// that it is there. It needs read permission on the queue.
func (s *Session) Consume(o ConsumeOptions) (*Consumer, error) {
	q, err := s.queueFor(o.Queue, auth.Read)
	if err != nil {
		return nil, err
	}
	if err := checkConsume(s.vhost.queueText(o.Queue), q.Options().Type, &o); err != nil {
		return nil, err
	}
	return s.consumeFrom(q, o)
}

// checkConsume refuses what consumers of a queue's type cannot ask for, and
// takes out of o what they ask in vain. what is the queue as error texts name
// it.
func checkConsume(what string, t QueueType, o *ConsumeOptions) error {
	for i := range o.Arguments {
		r := consumerArgumentCalled(o.Arguments[i].Name)
		switch {
		case r == nil:
		case r.types&t.bit() == 0:
			return errorf(Invalid, "invalid arg '%s' for %s of queue type %s", r.name, what, t.module())
		default:
			if why := r.check(o.Arguments[i].Value, o.Arguments); why != "" {
				return errorf(Invalid, "invalid arg '%s' for %s: %s", r.name, what, why)
			}
		}
	}
	if t == QueueClassic {
		return nil
	}
	if o.Shared != nil && o.Shared.limit.Load() != 0 {
		return errorf(NotImplemented, "%s does not support global qos", what)
	}
	o.Exclusive = false // Only classic queues enforce it.
	return nil
}

func (s *Session) consumeFrom(q Queue, o ConsumeOptions) (*Consumer, error) {
	if err := boundedArguments("a consumer of "+s.vhost.queueText(o.Queue), o.Arguments); err != nil {
		return nil, err
	}
	c := &Consumer{opts: o, session: s}
	c.Holder = Holder{queue: q, consumer: c, tally: s.tally}
	c.waiter.c = c
	c.in.prefetch = o.Prefetch
	if err := q.addConsumer(c); err != nil {
		return nil, err
	}
	if s.tally != nil {
		s.tally.meter.consumers.Add(1)
	}
	c.event(ConsumerCreated)
	s.addConsumer(c)
	return c, nil
}

// ConsumeVolatile makes a hidden queue called o.Queue that only this consumer
// reads and that lives as long as it. Anyone may publish to it by its name;
// nobody can declare, bind or list it. It serves direct reply-to.
func (s *Session) ConsumeVolatile(o ConsumeOptions) (*Consumer, error) {
	q := newClassic(s.vhost, &QueueOptions{
		Name: o.Queue, VHost: s.vhost.name, Type: QueueClassic, hidden: true,
	})
	s.vhost.addTransient(o.Queue, q)
	c, err := s.consumeFrom(q, o)
	if err != nil {
		s.vhost.removeTransient(o.Queue)
	}
	return c, err
}

// Start begins deliveries.
func (c *Consumer) Start(t *Touched) { c.queue.startConsumer(c, t) }

// Cancel ends the consumer. When it returns, nothing more is handed to it.
// What it holds stays out until it is settled, but for what its client held
// before and it was not handed yet: that goes back. A queue that was waiting for
// its last consumer to go is deleted. Cancelling twice is harmless.
func (c *Consumer) Cancel(t *Touched) {
	held := c.takeResume()
	c.removed(c.queue.removeConsumer(c, t), t)
	if len(held) > 0 {
		c.queue.(*classic).giveBackHeld(&c.Holder, held, t)
	}
}

// removed does what is to be done once c is off its queue. last says that the
// queue has no other consumer.
func (c *Consumer) removed(last bool, t *Touched) {
	c.session.removeConsumer(c)
	o := c.queue.Options()
	switch {
	case !last:
	case o.hidden:
		c.session.vhost.removeTransient(o.Name)
		c.queue.closeIf(func(QueueInfo) error { return nil })
	case o.AutoDelete:
		c.session.vhost.deleteQueueIf(c.queue, func(i QueueInfo) error {
			if i.Consumers != 0 {
				return errorf(InUse, "queue '%s' in vhost '%s' in use", o.Name, o.VHost)
			}
			return nil
		}, "auto-delete", c.session.User().Name, t)
	}
}

// Leave is Cancel for a consumer whose holder gives back, right after it, all
// that it was handed: a queue that serves one consumer at a time serves the next
// one only then, so that no message is overtaken.
func (c *Consumer) Leave(t *Touched) {
	c.returns.Store(true)
	c.Cancel(t)
}

// SetPrefetch changes the limit of unsettled deliveries; 0 for none.
func (c *Consumer) SetPrefetch(n int, t *Touched) { c.queue.setPrefetch(c, n, t) }

// Get hands the first ready message of a queue to fn, which must encode it
// before it returns and must not block; a queue's lock is held. It reports
// false if the queue is empty. remaining is what is ready behind the message.
// Unless noAck, settle the delivery through h.
func (s *Session) Get(queue string, noAck bool, fn func(h *Holder, d *Delivery, remaining int)) (bool, error) {
	return s.GetFor("", queue, noAck, fn)
}

// GetFor is Get that says what it is for in the adapter, for operators, as
// ConsumeOptions.Scope does.
func (s *Session) GetFor(scope, queue string, noAck bool, fn func(h *Holder, d *Delivery, remaining int)) (bool, error) {
	q, err := s.queueFor(queue, auth.Read)
	if err != nil {
		return false, err
	}
	if o := q.Options(); o.Type == QueueQuorum {
		if single, _ := o.Arguments.Get(argSingleActive); single == true {
			return false, errorf(Locked, "cannot obtain access to locked %s. basic.get operations are not supported by quorum queues with single active consumer", s.vhost.queueText(o.Name))
		}
	}
	if taps := s.vhost.taps.Load(); taps != nil {
		hand := fn
		fn = func(h *Holder, d *Delivery, remaining int) {
			taps.deliveredOne(q, s, scope, d)
			hand(h, d, remaining)
		}
	}
	found, err := q.get(s.tally, noAck, fn)
	switch k := kindOf(q.Options().Type); {
	case err != nil:
	case !found:
		s.tally.addKind(countGetEmpty, k, 1)
	case noAck:
		s.tally.addKind(countGotAuto, k, 1)
	default:
		s.tally.addKind(countGotAck, k, 1)
	}
	return found, err
}

// consumerGroup is a queue's consumers of one priority. ring holds those that
// have credit, the next to be served first.
type consumerGroup struct {
	priority int
	ring     *Consumer
	size     int // Consumers in the group, with or without credit.
}

// link puts c at the end of its group's ring.
func (g *consumerGroup) link(c *Consumer) {
	if g.ring == nil {
		c.in.prev, c.in.next = c, c
		g.ring = c
		return
	}
	tail := g.ring.in.prev
	c.in.prev, c.in.next = tail, g.ring
	tail.in.next, g.ring.in.prev = c, c
}

// unlink takes c out of the ring; it may be out already.
func (g *consumerGroup) unlink(c *Consumer) {
	if c.in.next == nil {
		return
	}
	if c.in.next == c {
		g.ring = nil
	} else {
		c.in.prev.in.next, c.in.next.in.prev = c.in.next, c.in.prev
		if g.ring == c {
			g.ring = c.in.next
		}
	}
	c.in.prev, c.in.next = nil, nil
}
