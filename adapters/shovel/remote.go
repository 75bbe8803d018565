package shovel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/core"
)

// link is a connection to a remote broker, for one end of a shovel.
type link struct {
	conn *amqp.Connection
	ch   *amqp.Channel
	// endWatch stops what closes the socket when the shovel has no more time.
	endWatch func() bool
	signal   chan struct{}

	mu struct {
		sync.Mutex
		err     error
		blocked string
	}
}

// connect opens a connection and a channel. When ctx ends the socket is closed:
// nothing that the library does takes longer than that.
func connect(ctx context.Context, u *URI, name string) (*link, error) {
	cfg := amqp.Config{
		Vhost:      u.VHost,
		Heartbeat:  10 * time.Second,
		Properties: amqp.NewConnectionProperties(),
	}
	switch {
	case u.heartbeat > 0:
		cfg.Heartbeat = u.heartbeat
	case u.heartbeat < 0:
		cfg.Heartbeat = time.Hour // The library asks for 10 s where it is told none.
	}
	cfg.Properties.SetClientConnectionName(name)
	user, password := u.User, u.Password
	if user == "" {
		user, password = "guest", "guest"
	}
	cfg.SASL = []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password}}
	if u.external {
		cfg.SASL = []amqp.Authentication{&amqp.ExternalAuth{}}
	}
	scheme := "amqp"
	if u.TLS {
		scheme = "amqps"
		var err error
		if cfg.TLSClientConfig, err = u.tlsConfig(); err != nil {
			return nil, fmt.Errorf("%v: %w", u, err)
		}
	}
	l := &link{signal: make(chan struct{}, 1)}
	var socket net.Conn
	cfg.Dial = func(network, addr string) (net.Conn, error) {
		d := net.Dialer{Timeout: u.connectTimeout}
		var err error
		if socket, err = d.DialContext(ctx, network, addr); err != nil {
			return nil, err
		}
		l.endWatch = context.AfterFunc(ctx, func() { socket.Close() })
		return socket, socket.SetDeadline(time.Now().Add(u.connectTimeout)) // The library clears it after the handshake.
	}
	var err error
	if l.conn, err = amqp.DialConfig(scheme+"://"+u.addr(), cfg); err != nil {
		if l.endWatch != nil {
			l.endWatch()
			socket.Close()
		}
		return nil, fmt.Errorf("%v: %w", u, explained(err))
	}
	if l.ch, err = l.conn.Channel(); err != nil {
		l.close()
		return nil, fmt.Errorf("%v: %w", u, explained(err))
	}
	return l, nil
}

// explained says more than the library where it does not know itself.
func explained(err error) error {
	switch {
	case errors.Is(err, amqp.ErrCredentials):
		return errors.New("it refuses the user name or the password")
	case errors.Is(err, amqp.ErrVhost):
		return errors.New("it refuses the virtual host: there is none of that name, or the user has no permissions in it")
	}
	return err
}

func (l *link) close() {
	l.conn.Close()
	l.endWatch()
}

func (l *link) wake() {
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

func (l *link) more() <-chan struct{} { return l.signal }

func (l *link) fail(err error) {
	l.mu.Lock()
	if l.mu.err == nil {
		l.mu.err = err
	}
	l.mu.Unlock()
	l.wake()
}

// ensureRemoteQueue declares a durable queue unless there is one of that name.
// l.ch may be another channel afterwards: a declare that fails closes it.
func (l *link) ensureQueue(name string, args core.Table, predeclared bool) (ready int, err error) {
	q, err := l.ch.QueueDeclarePassive(name, false, false, false, false, nil)
	var e *amqp.Error
	if err == nil || predeclared || !errors.As(err, &e) || e.Code != amqp.NotFound {
		return q.Messages, err
	}
	if l.ch, err = l.conn.Channel(); err != nil {
		return 0, err
	}
	q, err = l.ch.QueueDeclare(name, true, false, false, false, toTable(args))
	return q.Messages, err
}

// remoteInlet consumes from a queue of another broker.
type remoteInlet struct {
	*link
	queue  string
	before int64         // Messages that were ready when it was opened.
	probe  *amqp.Channel // To ask for the queue's length.
	taking sync.WaitGroup

	in struct {
		sync.Mutex
		ready []*message
	}
}

// openRemoteInlet consumes from the source of c at u.
func openRemoteInlet(ctx context.Context, u *URI, c *config, prefetch int, args core.Table) (*remoteInlet, error) {
	l, err := connect(ctx, u, "Shovel "+c.name)
	if err != nil {
		return nil, err
	}
	r := &remoteInlet{link: l, queue: c.src.queue}
	if err := r.open(c, prefetch, args); err != nil {
		l.close()
		return nil, fmt.Errorf("%v: %w", u, err)
	}
	return r, nil
}

func (r *remoteInlet) open(c *config, prefetch int, args core.Table) error {
	if c.src.exchange != "" {
		q, err := r.ch.QueueDeclare("", false, true, true, false, nil)
		if err != nil {
			return err
		}
		r.queue = q.Name
		if err := r.ch.QueueBind(q.Name, c.src.key, c.src.exchange, false, nil); err != nil {
			return err
		}
	} else if n, err := r.ensureQueue(c.src.queue, c.src.queueArgs, c.src.predeclared); err != nil {
		return err
	} else {
		r.before = int64(n)
	}
	var err error
	if r.probe, err = r.conn.Channel(); err != nil {
		return err
	}
	if err := r.ch.Qos(prefetch, 0, false); err != nil {
		return err
	}
	closed := r.ch.NotifyClose(make(chan *amqp.Error, 1))
	cancelled := r.ch.NotifyCancel(make(chan string, 1))
	arrivals, err := r.ch.Consume(r.queue, "", false, false, false, false, toTable(args))
	if err != nil {
		return err
	}
	r.taking.Go(func() { r.receive(arrivals, closed, cancelled) })
	return nil
}

// receive takes deliveries until there are no more. As many as the prefetch count
// wait at most.
func (r *remoteInlet) receive(arrivals <-chan amqp.Delivery, closed <-chan *amqp.Error, cancelled <-chan string) {
	for d := range arrivals {
		m := fromDelivery(&d)
		r.in.Lock()
		r.in.ready = append(r.in.ready, m)
		r.in.Unlock()
		r.wake()
	}
	select {
	case <-cancelled:
		r.fail(fmt.Errorf("queue '%s': the broker there has cancelled the consumer", r.queue))
		return
	default:
	}
	if err, ok := <-closed; ok {
		r.fail(fmt.Errorf("source: %w", err))
	} else {
		r.fail(errClosed)
	}
}

func (r *remoteInlet) take(ms []*message, room int) ([]*message, error) {
	r.in.Lock()
	n := min(room, len(r.in.ready))
	ms = append(ms, r.in.ready[:n]...)
	clear(r.in.ready[:n])
	if r.in.ready = r.in.ready[n:]; len(r.in.ready) == 0 {
		r.in.ready = nil
	} else {
		r.wake()
	}
	r.in.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	return ms, r.mu.err
}

func (r *remoteInlet) ack(ms []*message, through bool) error {
	if len(ms) == 0 {
		return nil
	}
	if through {
		return r.ch.Ack(ms[len(ms)-1].tag, true)
	}
	for _, m := range ms {
		if err := r.ch.Ack(m.tag, false); err != nil {
			return err
		}
	}
	return nil
}

func (r *remoteInlet) length() (int64, bool) {
	q, err := r.probe.QueueDeclarePassive(r.queue, false, false, false, false, nil)
	return int64(q.Messages), err == nil
}

func (r *remoteInlet) initial() (int64, bool) { return r.before, true }

func (r *remoteInlet) close() {
	r.ch.Close() // What is not acked goes back before the connection's end does it: in order, and at once.
	r.link.close()
	r.taking.Wait()
}

// remoteOutlet publishes to an exchange or queue of another broker.
type remoteOutlet struct {
	*link
	ctx     context.Context
	c       *config
	now     func() int64
	confirm bool
	taking  sync.WaitGroup

	out struct {
		sync.Mutex
		answers []answer
	}
}

// openRemoteOutlet makes the destination of c at u, for window messages under way
// at most.
func openRemoteOutlet(ctx context.Context, u *URI, c *config, window int, now func() int64) (*remoteOutlet, error) {
	l, err := connect(ctx, u, "Shovel "+c.name)
	if err != nil {
		return nil, err
	}
	r := &remoteOutlet{link: l, ctx: ctx, c: c, now: now, confirm: c.ack == onConfirm}
	if err := r.open(window); err != nil {
		l.close()
		return nil, fmt.Errorf("%v: %w", u, err)
	}
	return r, nil
}

func (r *remoteOutlet) open(window int) error {
	d := &r.c.dest
	var err error
	switch {
	case d.queue != "":
		_, err = r.ensureQueue(d.queue, d.queueArgs, d.predeclared)
	case d.exchange != nil && *d.exchange != "":
		err = r.ch.ExchangeDeclarePassive(*d.exchange, "direct", false, false, false, false, nil)
	}
	if err != nil {
		return err
	}
	if r.confirm {
		if err := r.ch.Confirm(false); err != nil {
			return err
		}
	}
	// There is room for all that can be under way, so that the library never
	// waits for us, and drops nothing: it gives up on listeners that are slow.
	window = max(min(window, windowMax), 1)
	confirms := r.ch.NotifyPublish(make(chan amqp.Confirmation, window))
	returns := r.ch.NotifyReturn(make(chan amqp.Return, window))
	closed := r.ch.NotifyClose(make(chan *amqp.Error, 1))
	blocked := r.conn.NotifyBlocked(make(chan amqp.Blocking, 16))
	r.taking.Go(func() { r.receive(confirms, returns, closed) })
	r.taking.Go(func() { r.watch(blocked) })
	return nil
}

// receive takes what the broker says until it says no more. It sends a return
// before the confirm of the same message; so whatever has come back when a
// confirm is seen counts before it.
func (r *remoteOutlet) receive(confirms <-chan amqp.Confirmation, returns <-chan amqp.Return, closed <-chan *amqp.Error) {
	for c := range confirms {
		r.out.Lock()
		for more := true; more; {
			select {
			case b, ok := <-returns:
				if more = ok; ok {
					r.out.answers = append(r.out.answers, answer{returned: &returned{b.Exchange, b.RoutingKey, b.ReplyText, b.Body}})
				}
			default:
				more = false
			}
		}
		a := answer{first: c.DeliveryTag, last: c.DeliveryTag}
		if !c.Ack {
			a.err = errors.New("the destination refuses the message (basic.nack)")
		}
		if n := len(r.out.answers); n > 0 && a.err == nil && r.out.answers[n-1].err == nil && r.out.answers[n-1].returned == nil && r.out.answers[n-1].last+1 == a.first {
			r.out.answers[n-1].last = a.last
		} else {
			r.out.answers = append(r.out.answers, a)
		}
		r.out.Unlock()
		r.wake()
	}
	if err, ok := <-closed; ok {
		r.fail(fmt.Errorf("destination: %w", err))
	} else {
		r.fail(errClosed)
	}
}

// watch follows whether the broker takes publishes.
func (r *remoteOutlet) watch(blocked <-chan amqp.Blocking) {
	for b := range blocked {
		r.mu.Lock()
		r.mu.blocked = ""
		if b.Active {
			r.mu.blocked = b.Reason
		}
		r.mu.Unlock()
	}
}

func (r *remoteOutlet) blocked() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.blocked
}

func (r *remoteOutlet) take(as []answer) ([]answer, error) {
	r.out.Lock()
	as = append(as, r.out.answers...)
	r.out.answers = r.out.answers[:0]
	r.out.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	return as, r.mu.err
}

func (r *remoteOutlet) publish(ms []*message) (int, error) {
	d := &r.c.dest
	for i, m := range ms {
		m.sentTo, m.sentKey = m.Exchange, m.RoutingKey
		if d.exchange != nil {
			m.sentTo = *d.exchange
		}
		if d.key != nil {
			m.sentKey = *d.key
		}
		// RabbitMQ's exchanges that delay messages return those that are
		// mandatory, though they keep them: such a one cannot be.
		mandatory := r.confirm && !delayed(m)
		if err := r.ch.PublishWithContext(r.ctx, m.sentTo, m.sentKey, mandatory, false, m.toPublishing(r.now())); err != nil {
			return i, fmt.Errorf("destination: %w", err)
		}
	}
	return len(ms), nil
}

func delayed(m *message) bool {
	v, _ := m.Properties().Headers.Get("x-delay")
	n, ok := core.Integer(v)
	return ok && n > 0
}

func (r *remoteOutlet) close() {
	r.link.close()
	r.taking.Wait()
}
