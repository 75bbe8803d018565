package hostile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"leveret/adapters/amqp/wire"
)

// Well-behaved clients send a message every so often.
const bystanderEvery = 10 * time.Millisecond

// trip is what became of one message of a well-behaved client.
type trip struct {
	due                  time.Time
	delivered, confirmed time.Time // Zero while it has not been.
}

// took is how long the message was on its way, or has been until now. The
// confirm counts too.
func (t *trip) took(now time.Time) time.Duration {
	d, c := t.delivered, t.confirmed
	if d.IsZero() {
		d = now
	}
	if c.IsZero() {
		c = now
	}
	return max(d.Sub(t.due), c.Sub(t.due))
}

// bystanders are three well-behaved clients: one publishes with confirms, one
// consumes and acks, one declares, binds and deletes. Four goroutines, all gone
// after close.
type bystanders struct {
	publisher, consumer, declarer *client

	stop    chan struct{} // Closed to stop publishing and declaring.
	running sync.WaitGroup

	mu struct {
		sync.Mutex
		trips  []trip
		rounds []trip // Of the one that declares; delivered and confirmed are the same.
		err    error
		over   bool
		behind int // The first trip that is not complete.
		done   chan struct{}
	}
}

// bystanderQueue is a name no attacker uses.
const bystanderQueue = "well-behaved"

// bystanderConnections is how many connections the well-behaved have.
const bystanderConnections = 3

// newBystanders starts the three. They go on until close.
func newBystanders(addr string) (*bystanders, error) {
	b := &bystanders{stop: make(chan struct{})}
	var err error
	for _, c := range []**client{&b.publisher, &b.consumer, &b.declarer} {
		if *c, err = open(addr, dialOptions{}, loginOptions{heartbeat: 10}); err != nil {
			b.hangUp()
			return nil, err
		}
	}
	if err := b.prepare(); err != nil {
		b.hangUp()
		return nil, err
	}
	b.running.Go(b.publish)
	b.running.Go(b.readConfirms)
	b.running.Go(b.consume)
	b.running.Go(b.declare)
	return b, nil
}

func (b *bystanders) hangUp() {
	for _, c := range []*client{b.publisher, b.consumer, b.declarer} {
		if c != nil {
			c.nc.Close()
		}
	}
}

func (b *bystanders) prepare() error {
	c := b.consumer
	if err := c.methods(1, &wire.QueueDeclare{Queue: bystanderQueue}, &wire.BasicQos{PrefetchCount: 100}, &wire.BasicConsume{Queue: bystanderQueue}); err != nil {
		return err
	}
	if _, err := await[*wire.BasicConsumeOk](c, 1); err != nil {
		return err
	}
	if err := b.publisher.methods(1, &wire.ConfirmSelect{}); err != nil {
		return err
	}
	_, err := await[*wire.ConfirmSelectOk](b.publisher, 1)
	return err
}

func (b *bystanders) publish() {
	tick := time.NewTicker(bystanderEvery)
	defer tick.Stop()
	body := make([]byte, 128)
	var buf []byte
	for i := uint64(0); ; i++ {
		var due time.Time
		select {
		case due = <-tick.C:
		case <-b.stop:
			return
		}
		b.mu.Lock()
		b.mu.trips = append(b.mu.trips, trip{due: due})
		b.mu.Unlock()
		binary.BigEndian.PutUint64(body, i)
		buf = wire.AppendPublish(buf[:0], 1, "", bystanderQueue, false, noProperties, body, 131072)
		if i%100 == 0 {
			buf = wire.AppendHeartbeat(buf) // Once a second is more often than needed.
		}
		if err := b.publisher.write(buf); err != nil {
			b.fail("publish", err)
			return
		}
	}
}

// declare makes a queue, binds and deletes it, as programs do when they start.
func (b *bystanders) declare() {
	tick := time.NewTicker(5 * bystanderEvery)
	defer tick.Stop()
	c := b.declarer
	round := appendMethods(wire.AppendHeartbeat(nil), 1,
		&wire.QueueDeclare{Queue: bystanderQueue + " for a moment", Exclusive: true, NoWait: true},
		&wire.QueueBind{Queue: bystanderQueue + " for a moment", Exchange: "amq.topic", RoutingKey: bystanderQueue + ".*", NoWait: true},
		&wire.QueueDelete{Queue: bystanderQueue + " for a moment"})
	for i := 0; ; i++ {
		var due time.Time
		select {
		case due = <-tick.C:
		case <-b.stop:
			return
		}
		b.mu.Lock()
		b.mu.rounds = append(b.mu.rounds, trip{due: due})
		b.mu.Unlock()
		err := c.write(round)
		if err == nil {
			_, err = await[*wire.QueueDeleteOk](c, 1)
		}
		if err != nil {
			b.fail("declare", err)
			return
		}
		now := time.Now()
		b.mu.Lock()
		b.mu.rounds[i].delivered, b.mu.rounds[i].confirmed = now, now
		b.mu.Unlock()
	}
}

func (b *bystanders) readConfirms() {
	next := uint64(0)
	for {
		_, m, err := b.publisher.method()
		if err != nil {
			b.fail("wait for confirms", err)
			return
		}
		switch m := m.(type) {
		case *wire.BasicAck:
			now := time.Now()
			b.mu.Lock()
			from := m.DeliveryTag - 1
			if m.Multiple {
				from = next
			}
			for i := from; i < m.DeliveryTag; i++ {
				b.mu.trips[i].confirmed = now
			}
			if from == next {
				next = m.DeliveryTag
			}
			b.advanceLocked()
			b.mu.Unlock()
		case *wire.ConnectionBlocked, *wire.ConnectionUnblocked:
		default:
			b.fail("wait for confirms", fmt.Errorf("got %T %+v", m, m))
			return
		}
	}
}

func (b *bystanders) consume() {
	c := b.consumer
	var tag uint64
	for next := uint64(0); ; {
		f, err := c.frame()
		if err != nil {
			b.fail("consume", err)
			return
		}
		switch f.Type {
		case wire.FrameMethod:
			if id := wire.MethodID(f.Payload); id != wire.IDBasicDeliver {
				b.fail("consume", fmt.Errorf("got %s", wire.MethodName(id)))
				return
			}
			_, tag, _, _, _, err = wire.ParseDeliver(f.Payload)
			if err != nil {
				b.fail("consume", err)
				return
			}
		case wire.FrameBody:
			now := time.Now()
			i := binary.BigEndian.Uint64(f.Payload)
			if i != next {
				b.fail("consume", fmt.Errorf("got message %d, want %d", i, next))
				return
			}
			next++
			b.mu.Lock()
			b.mu.trips[i].delivered = now
			b.advanceLocked()
			b.mu.Unlock()
			out := wire.AppendAck(nil, 1, tag, false)
			if i%100 == 0 {
				out = wire.AppendHeartbeat(out)
			}
			if err := c.write(out); err != nil {
				b.fail("ack", err)
				return
			}
		}
	}
}

// advanceLocked passes complete trips, and tells whoever waits for all of them.
func (b *bystanders) advanceLocked() {
	ts := b.mu.trips
	for b.mu.behind < len(ts) && !ts[b.mu.behind].delivered.IsZero() && !ts[b.mu.behind].confirmed.IsZero() {
		b.mu.behind++
	}
	if b.mu.done != nil && b.mu.behind == len(ts) {
		close(b.mu.done)
		b.mu.done = nil
	}
}

func (b *bystanders) fail(doing string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.err == nil && !(b.mu.over && (errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF))) {
		b.mu.err = fmt.Errorf("%s: %w", doing, err)
	}
}

// close stops publishing, waits, but not for ever, for what is on its way, and
// closes the connections. The error is what the clients should never meet.
func (b *bystanders) close() error {
	close(b.stop)
	b.mu.Lock()
	done := make(chan struct{})
	b.mu.done = done
	b.advanceLocked()
	b.mu.Unlock()
	late := time.NewTimer(ioTimeout)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		b.fail("wait for the last message", errors.New("it did not come"))
	}
	b.mu.Lock()
	b.mu.over = true
	b.mu.Unlock()
	b.hangUp()
	b.running.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.err
}

// latency summarizes the messages and declares that were due between from and to.
func (b *bystanders) latency(from, to time.Time) latency {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	var l latency
	for _, trips := range [][]trip{b.mu.trips, b.mu.rounds} {
		for i := range trips {
			if t := &trips[i]; !t.due.Before(from) && t.due.Before(to) {
				l.all = append(l.all, t.took(now))
			}
		}
	}
	slices.Sort(l.all)
	return l
}

// latency is round trips in ascending order.
type latency struct{ all []time.Duration }

func (l latency) quantile(q float64) time.Duration {
	if len(l.all) == 0 {
		return 0
	}
	return l.all[min(len(l.all)-1, int(q*float64(len(l.all))))]
}

func (l latency) String() string {
	r := func(q float64) time.Duration { return l.quantile(q).Round(10 * time.Microsecond) }
	return fmt.Sprintf("%d round trips, p50 %v, p95 %v, p99 %v, max %v", len(l.all), r(.5), r(.95), r(.99), r(1))
}
