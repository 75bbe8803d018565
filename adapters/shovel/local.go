package shovel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"leveret/core"
)

// errClosed is what an end returns that was closed.
var errClosed = errors.New("the end is closed")

// ownBodyMin is the size from which a body is kept by reference.
const ownBodyMin = 16 << 10

// bufferedMax bounds the bytes that wait in a local inlet to be taken.
const bufferedMax = 8 << 20

// localInlet consumes from a queue of this broker. It is the core.Outlet of its
// consumer.
type localInlet struct {
	// Fixed by openLocalInlet.
	session  *core.Session
	consumer *core.Consumer
	queue    string
	stream   bool
	before   int64 // Messages that were ready when it was opened.
	signal   chan struct{}

	held map[core.Seq]struct{} // Delivered and not acked; of the goroutine that takes.

	mu struct {
		sync.Mutex
		ready   []*message
		bytes   int // Of ready.
		waiting []*core.Waiter
		err     error
	}
}

// openLocalInlet consumes from the source of c. The session is its own from here
// on.
func openLocalInlet(s *core.Session, c *config, prefetch int, args core.Table) (*localInlet, error) {
	l := &localInlet{session: s, queue: c.src.queue, signal: make(chan struct{}, 1), held: make(map[core.Seq]struct{})}
	if err := l.open(c, prefetch, args); err != nil {
		s.Close()
		return nil, err
	}
	return l, nil
}

func (l *localInlet) open(c *config, prefetch int, args core.Table) error {
	if c.src.exchange != "" {
		d, err := l.session.DeclareQueue(core.QueueDeclare{Exclusive: true, AutoDelete: true})
		if err != nil {
			return err
		}
		l.queue = d.Name
		if err := l.session.Bind(core.Binding{Source: c.src.exchange, Destination: d.Name, Key: c.src.key}); err != nil {
			return err
		}
	} else if err := ensureLocalQueue(l.session, c.src.queue, c.src.queueArgs, c.src.predeclared); err != nil {
		return err
	}
	if q, ok := l.session.VHost().Queue(l.queue); ok {
		l.stream = q.Options().Type == core.QueueStream
		l.before = int64(q.Info().Ready)
	}
	l.session.OnClose(func(reason string) { l.fail(errors.New(reason)) })
	var err error
	l.consumer, err = l.session.Consume(core.ConsumeOptions{
		Queue: l.queue, Tag: "shovel-" + c.name, Scope: "shovel " + c.name, Prefetch: prefetch, Arguments: args, Outlet: l,
		Cancelled: func(_ *core.Consumer, reason string) {
			l.fail(fmt.Errorf("queue '%s' in vhost '%s': the consumer was cancelled: %s", l.queue, l.session.VHost().Name(), reason))
		},
	})
	if err != nil {
		return err
	}
	var t core.Touched
	l.consumer.Start(&t)
	t.Flush()
	return nil
}

// ensureLocalQueue declares a durable queue unless there is one of that name.
func ensureLocalQueue(s *core.Session, name string, args core.Table, predeclared bool) error {
	_, err := s.DeclareQueue(core.QueueDeclare{Name: name, Passive: true})
	var e *core.Error
	if !predeclared && errors.As(err, &e) && e.Kind == core.NotFound {
		_, err = s.DeclareQueue(core.QueueDeclare{Name: name, Durable: true, Arguments: args})
	}
	return err
}

func (l *localInlet) wake() {
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

func (l *localInlet) fail(err error) {
	l.mu.Lock()
	if l.mu.err == nil {
		l.mu.err = err
	}
	l.mu.Unlock()
	l.wake()
}

// Room is part of core.Outlet.
func (l *localInlet) Room(w *core.Waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.bytes < bufferedMax && len(l.mu.ready) < windowMax {
		return true
	}
	l.mu.waiting = append(l.mu.waiting, w)
	return false
}

// Deliver is part of core.Outlet: it copies, as the messages stay the queue's.
func (l *localInlet) Deliver(_ *core.Consumer, ds []core.Delivery) bool {
	l.mu.Lock()
	for i := range ds {
		d := &ds[i]
		m := &message{Message: d.Message.Clone(), tag: uint64(d.Seq), redelivered: d.Redelivered, offset: -1}
		if ms, ok := expiration(m.Properties()); ok {
			m.expiresMS = m.ArrivedMS + ms
		}
		if l.stream {
			m.takeOffset()
		}
		l.mu.ready = append(l.mu.ready, m)
		l.mu.bytes += m.size()
	}
	l.mu.Unlock()
	l.wake()
	return false
}

// Flush is part of core.Outlet. There is nothing to send.
func (l *localInlet) Flush() {}

func (l *localInlet) more() <-chan struct{} { return l.signal }

func (l *localInlet) take(ms []*message, room int) ([]*message, error) {
	l.mu.Lock()
	n := min(room, len(l.mu.ready))
	for _, m := range l.mu.ready[:n] {
		l.mu.bytes -= m.size()
		l.held[core.Seq(m.tag)] = struct{}{}
	}
	ms = append(ms, l.mu.ready[:n]...)
	clear(l.mu.ready[:n])
	l.mu.ready = l.mu.ready[n:]
	if len(l.mu.ready) == 0 {
		l.mu.ready = nil
	} else {
		l.wake() // Whoever has no room now will not be told again.
	}
	err := l.mu.err
	var waiting []*core.Waiter
	if l.mu.bytes < bufferedMax/2 && len(l.mu.ready) < windowMax/2 {
		waiting, l.mu.waiting = l.mu.waiting, nil
	}
	l.mu.Unlock()
	if waiting != nil {
		var t core.Touched
		for _, w := range waiting {
			w.WakeInto(&t)
		}
		t.Flush()
	}
	return ms, err
}

func (l *localInlet) ack(ms []*message, _ bool) error {
	seqs := make([]core.Seq, len(ms))
	for i, m := range ms {
		seqs[i] = core.Seq(m.tag)
		delete(l.held, seqs[i])
	}
	var t core.Touched
	l.consumer.Settle(core.Ack, seqs, &t)
	t.Flush()
	return nil
}

func (l *localInlet) length() (int64, bool) {
	q, ok := l.session.VHost().Queue(l.queue)
	if !ok || l.stream {
		return 0, false
	}
	return int64(q.Info().Ready), true
}

func (l *localInlet) initial() (int64, bool) { return l.before, !l.stream }

func (l *localInlet) close() {
	var t core.Touched
	l.consumer.Leave(&t)
	l.mu.Lock()
	for _, m := range l.mu.ready {
		l.held[core.Seq(m.tag)] = struct{}{}
	}
	l.mu.ready = nil
	l.mu.Unlock()
	if !l.stream {
		seqs := make([]core.Seq, 0, len(l.held))
		for s := range l.held {
			seqs = append(seqs, s)
		}
		slices.Sort(seqs)
		l.consumer.Settle(core.Requeue, seqs, &t)
	}
	t.Flush()
	l.session.Close()
	l.fail(errClosed)
}

// localOutlet publishes to an exchange or queue of this broker. It is the
// core.Completer of its publisher.
type localOutlet struct {
	// Fixed by openLocalOutlet.
	ctx       context.Context
	broker    *core.Broker
	session   *core.Session
	publisher *core.Publisher
	dest      *config
	signal    chan struct{}

	batch   []core.Publication // Of the goroutine that publishes.
	touched core.Touched
	sent    uint64

	mu struct {
		sync.Mutex
		answers []answer
		err     error
		held    bool
	}
}

// openLocalOutlet makes the destination of c. The session is its own from here
// on. Until ctx ends publish waits for what holds publishers up.
func openLocalOutlet(ctx context.Context, b *core.Broker, s *core.Session, c *config) (*localOutlet, error) {
	l := &localOutlet{ctx: ctx, broker: b, session: s, dest: c, signal: make(chan struct{}, 1)}
	var err error
	switch {
	case c.dest.queue != "":
		err = ensureLocalQueue(s, c.dest.queue, c.dest.queueArgs, c.dest.predeclared)
	case c.dest.exchange != nil && *c.dest.exchange != "":
		err = s.DeclareExchange(core.ExchangeDeclare{Name: *c.dest.exchange, Passive: true})
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	s.OnClose(func(reason string) {
		l.mu.Lock()
		l.mu.err = errors.New(reason)
		l.mu.Unlock()
		l.wake()
	})
	l.publisher = s.NewPublisher(l)
	return l, nil
}

func (l *localOutlet) wake() {
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// Completed is part of core.Completer.
func (l *localOutlet) Completed(first, last uint64, k core.Kind) {
	a := answer{first: first, last: last}
	if k != core.OK {
		a.err = fmt.Errorf("the destination refuses the message: %v", k)
	}
	l.mu.Lock()
	l.mu.answers = append(l.mu.answers, a)
	l.mu.Unlock()
	l.wake()
}

func (l *localOutlet) more() <-chan struct{} { return l.signal }

func (l *localOutlet) take(as []answer) ([]answer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	as = append(as, l.mu.answers...)
	l.mu.answers = l.mu.answers[:0]
	return as, l.mu.err
}

func (l *localOutlet) blocked() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.held {
		return l.broker.Alarms().Reason()
	}
	return ""
}

// heldEvery is how often a publisher that is held looks again.
const heldEvery = 100 * time.Millisecond

// admitted waits until the broker takes publishes.
func (l *localOutlet) admitted() error {
	if !l.broker.Alarms().Held() {
		return nil
	}
	hold := func(held bool) {
		l.mu.Lock()
		l.mu.held = held
		l.mu.Unlock()
	}
	hold(true)
	defer hold(false)
	tick := time.NewTicker(heldEvery)
	defer tick.Stop()
	for l.broker.Alarms().Held() {
		select {
		case <-tick.C:
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
	}
	return nil
}

func (l *localOutlet) publish(ms []*message) (int, error) {
	if err := l.admitted(); err != nil {
		return 0, err
	}
	if cap(l.batch) < len(ms) {
		l.batch = make([]core.Publication, len(ms))
	}
	l.batch = l.batch[:len(ms)]
	var failed error
	n := 0
	for n < len(ms) {
		if failed = l.route(&l.batch[n], ms[n], l.sent+uint64(n)+1); failed != nil {
			break
		}
		n++
	}
	if n == 0 {
		l.publisher.Discard()
		return 0, failed
	}
	batch := l.batch[:n]
	l.publisher.Publish(batch, &l.touched)
	l.touched.Flush()
	for i := range batch {
		batch[i].Reset() // The messages are no longer ours to keep alive.
	}
	l.sent += uint64(n)
	if l.publisher.Ahead() || l.publisher.AheadOfLog() {
		l.publisher.Pace(l.ctx.Done())
	}
	return n, failed
}

// route fills p with m and finds out where it goes. An error is a *refused.
func (l *localOutlet) route(p *core.Publication, m *message, number uint64) error {
	d := &l.dest.dest
	exchange, key := m.Exchange, m.RoutingKey
	if d.exchange != nil {
		exchange = *d.exchange
	}
	if d.key != nil {
		key = *d.key
	}
	target, err := l.publisher.Target(exchange)
	if err != nil {
		return &refused{err}
	}
	props := m.Properties()
	p.Reset()
	p.Number, p.RoutingKey = number, key
	if p.Form, p.Encoded = m.Form, m.Encoded; p.Form == core.FormNeutral {
		p.SetProperties(props)
	}
	p.Body, p.OwnBody = m.Body, len(m.Body) >= ownBodyMin
	p.Persistent = props.DeliveryMode == 2
	if props.Priority != nil {
		p.Priority, p.HasPriority = *props.Priority, true
	}
	if m.expiresMS != 0 {
		p.TTLMS = max(m.expiresMS-l.broker.Now(), 0)
	} else if ms, ok := expiration(props); ok {
		p.TTLMS = ms
	}
	if d.queue == "" {
		p.SetExtraKeys(furtherKeys(props))
	}
	route, err := l.publisher.Route(target, p)
	if err != nil {
		return &refused{err}
	}
	if route.Unroutable() {
		return &refused{fmt.Errorf("unroutable: no queue is bound for it (exchange '%s', routing key '%s')", exchange, key)}
	}
	if d.keepOrigin {
		p.Exchange, p.RoutingKey = m.Exchange, m.RoutingKey
	}
	return nil
}

// furtherKeys are the routing keys in the header CC. Nobody but publishers sees
// BCC.
func furtherKeys(p *core.Properties) (keys []string) {
	v, _ := p.Headers.Get("CC")
	list, _ := v.([]any)
	for _, k := range list {
		if s, ok := k.(string); ok {
			keys = append(keys, s)
		}
	}
	return keys
}

func (l *localOutlet) close() { l.session.Close() }
