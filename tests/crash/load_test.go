package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// The topology of the load. Queues whose names begin alike are used alike.
//
//	crash.direct --key 0..3--> d0..d3     a body in one queue
//	crash.fanout ------------> f0..f4     one body in five queues, and in those
//	                                      that come and go: churn, transient, exclusive
//	default exchange --------> x0, bulk, tx0, tx1, seal
const (
	directExchange = "crash.direct"
	fanoutExchange = "crash.fanout"
)

var (
	directQueues = []string{"d0", "d1", "d2", "d3"}
	fanoutQueues = []string{"f0", "f1", "f2", "f3", "f4"}
	txQueues     = []string{"tx0", "tx1"}
	// churnQueues are purged, deleted and declared again. Only the first one has
	// consumers: what they hold survives a purge.
	churnQueues = []string{"churn", "churn.alone"}
	// checked are the queues whose messages the ledger follows.
	checked = concat(directQueues, fanoutQueues, txQueues, churnQueues, []string{"x0", "bulk"})
)

func concat(lists ...[]string) (all []string) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// declareAll declares what does not change.
func declareAll(ch *amqp.Channel) error {
	for x, kind := range map[string]string{directExchange: "direct", fanoutExchange: "fanout"} {
		if err := ch.ExchangeDeclare(x, kind, true, false, false, false, nil); err != nil {
			return err
		}
	}
	for _, q := range append(concat(checked), "seal") {
		if _, err := ch.QueueDeclare(q, true, false, false, false, nil); err != nil {
			return err
		}
	}
	for i, q := range directQueues {
		if err := ch.QueueBind(q, fmt.Sprint(i), directExchange, false, nil); err != nil {
			return err
		}
	}
	for _, q := range fanoutQueues {
		if err := ch.QueueBind(q, "", fanoutExchange, false, nil); err != nil {
			return err
		}
	}
	return nil
}

// round is the load between two restarts.
type round struct {
	ledger *ledger
	random *rand.Rand // Of run; actors have their own.
	number int
	// count is how many messages each publisher sends at most.
	count int
	defs  *definitions
	http  string
	ctx   context.Context // Ends just before the broker does.
	// meanwhile, if not nil, is called when the time is up and the load goes on.
	meanwhile func()
}

// actor works on a connection until that breaks. An error before r.ctx has
// ended is a failure of the broker.
type actor func(r *round, c *amqp.Connection, random *rand.Rand) error

func (r *round) actors() map[string]actor {
	all := map[string]actor{
		"publisher a": publisher("a", 200), "publisher b": publisher("b", 20), "publisher c": publisher("c", 1),
		"bulk publisher":      bulkPublisher,
		"bulk consumer":       consumer("bulk", 10, 100, 0),
		"transactions":        transactions,
		"churn":               churn("churn"),
		"churn.alone":         churn("churn.alone"),
		"definitions":         (*round).changeDefinitions,
		"passing queues":      passingQueues,
		"consumer of d0 a":    consumer("d0", 100, 85, 10),
		"consumer of d0 b":    consumer("d0", 0, 85, 10),
		"consumer of d1":      consumer("d1", 10, 90, 5),
		"consumer of f0":      consumer("f0", 500, 99, 0),
		"consumer of f1":      consumer("f1", 20, 60, 30),
		"consumer of churn":   again(consumer("churn", 20, 60, 30)),
		"consumer of tx0":     consumer("tx0", 20, 80, 10),
		"getter of d2 and f2": getter("d2", "f2"),
	}
	return all
}

// publisher sends with confirms, at most ahead unconfirmed, to exchanges of
// every kind.
func publisher(name string, ahead int) actor {
	return func(r *round, c *amqp.Connection, random *rand.Rand) error {
		ch, err := c.Channel()
		if err != nil {
			return err
		}
		if err := ch.Confirm(false); err != nil {
			return err
		}
		confirms := ch.NotifyPublish(make(chan amqp.Confirmation, ahead+1))
		var w window
		settle := func(conf amqp.Confirmation) error {
			p, err := w.confirmed(conf.DeliveryTag)
			if err != nil {
				return err
			}
			how := yes
			if !conf.Ack {
				how = no
			}
			r.ledger.stored(how, []uint64{p.id}, p.queues...)
			if !conf.Ack && r.ctx.Err() == nil && !c.IsClosed() {
				return fmt.Errorf("message %d for %v was refused", p.id, p.queues)
			}
			return nil
		}
		for n := 0; ; n++ {
			for len(w.sent) >= ahead || n >= r.count {
				if n >= r.count && len(w.sent) == 0 {
					<-r.ctx.Done()
					return nil
				}
				conf, ok := <-confirms
				if !ok {
					return amqp.ErrClosed
				}
				if err := settle(conf); err != nil {
					return err
				}
			}
			exchange, key, queues := "", "", []string(nil)
			switch k := random.IntN(8); {
			case k < 4:
				i := random.IntN(len(directQueues))
				exchange, key, queues = directExchange, fmt.Sprint(i), directQueues[i:i+1]
			case k < 7:
				exchange, queues = fanoutExchange, concat(fanoutQueues, churnQueues)
			default:
				key, queues = "x0", []string{"x0"}
			}
			transient := random.IntN(8) == 0
			id := r.ledger.sending(transient, exchange != "", 0, queues...)
			if exchange == fanoutExchange { // Churn comes and goes.
				r.ledger.each([]uint64{id}, func(_ string, c *copyOf) { c.wholly, c.purged = false, maybe }, churnQueues...)
			}
			w.add(pending{id, queues})
			if err := ch.Publish(exchange, key, false, false, publishing(id, name, transient, 4000)); err != nil {
				return err
			}
		}
	}
}

// bulkPublisher makes the log grow, so that segments come and go.
func bulkPublisher(r *round, c *amqp.Connection, random *rand.Rand) error {
	ch, err := c.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	for range r.count {
		id := r.ledger.sending(false, false, 0, "bulk")
		conf, err := ch.PublishWithDeferredConfirm("", "bulk", false, false, publishing(id, "bulk", false, 600_000))
		if err != nil {
			return err
		}
		if ok, err := conf.WaitContext(r.ctx); err != nil || !ok {
			return amqp.ErrClosed
		}
		r.ledger.stored(yes, []uint64{id}, "bulk")
	}
	<-r.ctx.Done()
	return nil
}

// sealer publishes on a channel, so that what was sent there before is known to
// have been done.
type sealer struct {
	ch *amqp.Channel
	n  int
}

func newSealer(ch *amqp.Channel) (*sealer, error) { return &sealer{ch: ch}, ch.Confirm(false) }

// seal returns when a publish is confirmed.
func (s *sealer) seal(ctx context.Context) error {
	s.n++
	conf, err := s.ch.PublishWithDeferredConfirm("", "seal", false, false, amqp.Publishing{DeliveryMode: amqp.Persistent})
	if err != nil {
		return err
	}
	if ok, err := conf.WaitContext(ctx); err != nil || !ok {
		return amqp.ErrClosed
	}
	return nil
}

// consumer acks out of order; of 100 messages it acks so many, requeues so
// many, and holds or discards the others.
func consumer(queue string, prefetch, acks, requeues int) actor {
	return func(r *round, c *amqp.Connection, random *rand.Rand) error {
		ch, err := c.Channel()
		if err != nil {
			return err
		}
		s, err := newSealer(ch)
		if err != nil {
			return err
		}
		if err := ch.Qos(prefetch, 0, false); err != nil {
			return err
		}
		in, err := ch.Consume(queue, "", false, false, false, false, nil)
		if err != nil {
			return err
		}
		type held struct {
			tag uint64
			id  uint64
		}
		var out []held
		var unsealed, unsure []uint64 // Acked and received since the last seal.
		order := inOrder{}
		atOnce := max(1, min(prefetch/2, 40))
		for d := range in {
			id, err := r.ledger.delivered(queue, &d, true)
			if err != nil {
				return err
			}
			if !d.Redelivered {
				if err := order.next(queue, &d, id); err != nil {
					return err
				}
			}
			out = append(out, held{d.DeliveryTag, id})
			unsure = append(unsure, id)
			if len(out) < atOnce {
				continue
			}
			random.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
			keep := out[:0]
			for _, h := range out {
				switch k := random.IntN(100); {
				case k < acks:
					r.ledger.settling(queue, h.id)
					unsealed = append(unsealed, h.id)
					err = ch.Ack(h.tag, false)
				case k < acks+requeues:
					err = ch.Nack(h.tag, false, true)
				case k < acks+requeues+3:
					r.ledger.settling(queue, h.id)
					unsealed = append(unsealed, h.id)
					err = ch.Reject(h.tag, false)
				default:
					keep = append(keep, h)
				}
				if err != nil {
					return err
				}
			}
			out = keep
			if len(out) >= atOnce { // All held: let go of the first ones.
				for _, h := range out[:len(out)/2+1] {
					if err := ch.Nack(h.tag, false, true); err != nil {
						return err
					}
				}
				out = append(out[:0], out[len(out)/2+1:]...)
			}
			if len(unsealed) > 100 {
				if err := s.seal(r.ctx); err != nil {
					return err
				}
				r.ledger.settled(queue, unsealed...)
				r.ledger.seen(queue, unsure...)
				unsealed, unsure = unsealed[:0], unsure[:0]
			}
		}
		return amqp.ErrClosed
	}
}

// again repeats what ends because its queue is deleted.
func again(act actor) actor {
	return func(r *round, c *amqp.Connection, random *rand.Rand) error {
		for {
			err := act(r, c, random)
			var gone *amqp.Error
			if c.IsClosed() || !errors.Is(err, amqp.ErrClosed) && !(errors.As(err, &gone) && gone.Code == amqp.NotFound) {
				return err
			}
			select {
			case <-r.ctx.Done():
				return nil
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// getter takes messages one by one.
func getter(queues ...string) actor {
	return func(r *round, c *amqp.Connection, random *rand.Rand) error {
		ch, err := c.Channel()
		if err != nil {
			return err
		}
		s, err := newSealer(ch)
		if err != nil {
			return err
		}
		for {
			q := queues[random.IntN(len(queues))]
			d, ok, err := ch.Get(q, false)
			if err != nil {
				return err
			}
			if !ok {
				if err := s.seal(r.ctx); err != nil { // Some time passes.
					return err
				}
				continue
			}
			id, err := r.ledger.delivered(q, &d, true)
			if err != nil {
				return err
			}
			switch random.IntN(4) {
			case 0:
				err = d.Nack(false, true)
			case 1: // Held until the end.
			default:
				r.ledger.settling(q, id)
				if err = d.Ack(false); err == nil && random.IntN(4) == 0 {
					if err = s.seal(r.ctx); err == nil {
						r.ledger.settled(q, id)
						r.ledger.seen(q, id)
					}
				}
			}
			if err != nil {
				return err
			}
		}
	}
}

// transactions publishes to two queues, and acks, whole or not at all.
func transactions(r *round, c *amqp.Connection, random *rand.Rand) error {
	ch, err := c.Channel()
	if err != nil {
		return err
	}
	if err := ch.Tx(); err != nil {
		return err
	}
	for range r.count / 4 {
		unit := r.ledger.unit()
		by := map[string][]uint64{}
		for range 1 + random.IntN(20) {
			q := txQueues[random.IntN(len(txQueues))]
			id := r.ledger.sending(false, true, unit, q)
			by[q] = append(by[q], id)
			if err := ch.Publish("", q, false, false, publishing(id, "tx", false, 2000)); err != nil {
				return err
			}
		}
		var acked []uint64
		for range random.IntN(3) {
			d, ok, err := ch.Get("tx1", false)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			id, err := r.ledger.delivered("tx1", &d, true)
			if err != nil {
				return err
			}
			acked = append(acked, id)
			r.ledger.settling("tx1", id)
			if err := d.Ack(false); err != nil {
				return err
			}
		}
		if random.IntN(8) == 0 {
			for q, ids := range by { // They never come.
				r.ledger.each(ids, func(_ string, c *copyOf) { c.stored, c.purged = no, yes }, q)
			}
			if err := ch.TxRollback(); err != nil {
				return err
			}
			continue // What was acked is held, as the specification has it.
		}
		if err := ch.TxCommit(); err != nil {
			return err
		}
		for q, ids := range by {
			r.ledger.stored(yes, ids, q)
		}
		r.ledger.settled("tx1", acked...)
	}
	<-r.ctx.Done()
	return nil
}

// churn publishes to a queue that it purges, deletes and declares again. Others
// publish to it and consume from it.
func churn(queue string) actor {
	return func(r *round, c *amqp.Connection, random *rand.Rand) error {
		ch, err := c.Channel()
		if err != nil {
			return err
		}
		s, err := newSealer(ch)
		if err != nil {
			return err
		}
		for r.ctx.Err() == nil {
			for range random.IntN(60) {
				id := r.ledger.sending(false, false, 0, queue)
				conf, err := ch.PublishWithDeferredConfirm("", queue, false, false, publishing(id, queue, false, 3000))
				if err != nil {
					return err
				}
				if random.IntN(10) == 0 {
					if ok, err := conf.WaitContext(r.ctx); err != nil || !ok {
						return amqp.ErrClosed
					}
					r.ledger.stored(yes, []uint64{id}, queue)
				}
			}
			if random.IntN(4) > 0 {
				done := r.ledger.purging(queue, false)
				if _, err := ch.QueuePurge(queue, false); err != nil {
					return err
				}
				if err := s.seal(r.ctx); err != nil {
					return err
				}
				// Who knows what is on its way to a consumer.
				done(queue != churnQueues[0])
				continue
			}
			// The consumer goes with the queue; it comes back in the next round.
			done := r.ledger.purging(queue, true)
			if _, err := ch.QueueDelete(queue, false, false, false); err != nil {
				return err
			}
			done(true)
			if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
				return err
			}
			if err := ch.QueueBind(queue, "", fanoutExchange, false, nil); err != nil {
				return err
			}
		}
		return nil
	}
}

// passingQueues has queues that no restart survives: exclusive, not durable.
func passingQueues(r *round, c *amqp.Connection, random *rand.Rand) error {
	ch, err := c.Channel()
	if err != nil {
		return err
	}
	for _, q := range []struct {
		name               string
		durable, exclusive bool
	}{{"passing.exclusive", true, true}, {"passing.transient", false, false}} {
		if _, err := ch.QueueDeclare(q.name, q.durable, false, q.exclusive, false, nil); err != nil {
			return err
		}
		if err := ch.QueueBind(q.name, "", fanoutExchange, false, nil); err != nil {
			return err
		}
	}
	in, err := ch.Consume("passing.exclusive", "", true, false, false, false, nil)
	if err != nil {
		return err
	}
	for d := range in {
		if _, err := checkMessage(&d); err != nil {
			return err
		}
	}
	return amqp.ErrClosed
}

// loadFor runs all actors until the time is up and stop has ended the broker.
func (r *round) loadFor(d time.Duration, connect func() (*amqp.Connection, error), stop func()) []error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r.ctx = ctx
	type ended struct {
		name string
		err  error
	}
	all := r.actors()
	results := make(chan ended, len(all))
	for name, act := range all {
		random := rand.New(rand.NewPCG(r.random.Uint64(), 1))
		go func() { // Ends when the connection does.
			c, err := connect()
			if err == nil {
				err = act(r, c, random)
				c.Close()
			}
			if ctx.Err() != nil && isConnectionError(err) {
				err = nil
			}
			results <- ended{name, err}
		}()
	}
	var problems []error
	timer := time.NewTimer(d)
	defer timer.Stop()
	left := len(all)
	note := func(e ended) {
		if left--; e.err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", e.name, e.err))
		}
	}
	for running := true; running; {
		select {
		case e := <-results:
			note(e)
		case <-timer.C:
			running = false
		}
	}
	if r.meanwhile != nil {
		r.meanwhile()
	}
	cancel()
	stop()
	for left > 0 {
		note(<-results)
	}
	return problems
}
