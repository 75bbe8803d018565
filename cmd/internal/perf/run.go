package perf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	dialersMax     = 32              // Connections opened at the same time.
	interruptGrace = 2 * time.Second // For what is on its way after an interrupt.
	pollInterval   = 2 * time.Millisecond
)

// runner is one run of the generator. Its methods belong to one goroutine;
// producers and consumers have one or two each.
type runner struct {
	opt   *options
	log   io.Writer // Interval lines.
	clock clock
	topo  *topology
	runID uint64 // In the upper 16 bits.

	control   *conn // Declares and deletes.
	producers []*producer
	consumers []*consumer
	ledgers   []ledger // By queue.

	stop     atomic.Bool  // Producers end.
	measured atomic.Int64 // Messages sent from this time (ns) on count for latencies.
	blocked  blockMeter

	failed      chan error // The first error of a producer or consumer.
	publishing  sync.WaitGroup
	consuming   sync.WaitGroup
	interrupted atomic.Bool

	started  time.Time
	interval snapshot // At the last interval line.
}

// snapshot is what was counted up to a time.
type snapshot struct {
	at                                int64 // ns
	sent, received, confirmed, nacked uint64
	brokerCPU, ownCPU                 time.Duration
}

func newRunner(o *options, log io.Writer) (*runner, error) {
	t, err := newTopology(o)
	if err != nil {
		return nil, err
	}
	r := &runner{
		opt: o, log: log, clock: newClock(), topo: t,
		runID:   uint64(1+rand.IntN(1<<16-1)) << 48,
		ledgers: make([]ledger, len(t.queues)),
		failed:  make(chan error, 1),
	}
	r.measured.Store(math.MaxInt64)
	return r, nil
}

// load runs the generator and reports. The report is complete, as far as
// it goes, even when an error comes with it; it is nil if nothing was started.
func (r *runner) load(ctx context.Context) (rep *Report, err error) {
	if r.opt.pid > 0 {
		if _, err := cpuTime(r.opt.pid); err != nil {
			return nil, err
		}
	}
	r.control, err = r.dial(ctx, "control", false)
	if err != nil {
		return nil, err
	}
	defer r.control.kill()
	purge := r.opt.producers > 0 && r.opt.consumers > 0
	if err := r.topo.declare(ctx, r.control, r.opt, purge); err != nil {
		return nil, explain(err)
	}
	defer r.abort()

	if !r.opt.fillThenDrain {
		if err := r.startConsumers(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.openProducers(ctx); err != nil {
		return nil, err
	}
	rep = r.newReport()
	if r.opt.fillThenDrain {
		err = r.fillThenDrain(ctx, rep)
	} else {
		err = r.steady(ctx, rep)
	}
	if err != nil {
		r.stop.Store(true)
		r.abort()
	}
	if finishErr := r.finish(rep); err == nil {
		err = finishErr
	}
	return rep, err
}

func (r *runner) dial(ctx context.Context, name string, spill bool) (*conn, error) {
	return dial(ctx, r.opt.target, "leveret perf "+name, r.opt.heartbeat, spill, &r.blocked)
}

func (r *runner) openProducers(ctx context.Context) error {
	producers := make([]*producer, r.opt.producers)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(dialersMax)
	for i := range producers {
		g.Go(func() error {
			c, err := r.dial(ctx, fmt.Sprintf("producer %d", i), false)
			if err != nil {
				return err
			}
			p := newProducer(i, c, r.opt, r.topo, r.runID, r.clock)
			producers[i] = p
			p.stop, p.measured = &r.stop, &r.measured
			p.limit = math.MaxUint64
			if n := uint64(r.opt.count); n > 0 {
				// The first producers take what does not divide evenly.
				k := uint64(r.opt.producers)
				p.limit = (n + k - 1 - uint64(i)) / k
			}
			if r.opt.confirm > 0 {
				if _, err := c.call(confirmSelectOK, appendMethod(nil, channelID, confirmSelect, byte(0))); err != nil {
					return fmt.Errorf("select confirms: %w", explain(err))
				}
			}
			return nil
		})
	}
	err := g.Wait()
	for _, p := range producers {
		if p != nil {
			r.producers = append(r.producers, p)
		}
	}
	return err
}

// startProducers begins publishing; the channel returned is closed when all
// producers have ended.
func (r *runner) startProducers() <-chan struct{} {
	start := r.clock.now()
	for i, p := range r.producers {
		if r.opt.rate > 0 {
			p.pace = newPacer(r.clock, start, r.opt.rate, i, len(r.producers))
		}
		r.publishing.Go(func() { r.note(p.run()) })
	}
	done := make(chan struct{})
	go func() { // Ends with the last producer; abort makes sure of that.
		r.publishing.Wait()
		close(done)
	}()
	return done
}

// startConsumers opens the consumers and returns when the broker has confirmed
// all subscriptions.
func (r *runner) startConsumers(ctx context.Context) error {
	consumers := make([]*consumer, r.opt.consumers)
	for q := range r.ledgers {
		r.ledgers[q].shared = len(consumers) > len(r.ledgers)
		r.ledgers[q].adopt = r.opt.producers == 0
	}
	g, dialCtx := errgroup.WithContext(ctx)
	g.SetLimit(dialersMax)
	for i := range consumers {
		g.Go(func() error {
			c, err := r.dial(dialCtx, fmt.Sprintf("consumer %d", i), true)
			if err != nil {
				return err
			}
			consumers[i] = r.newConsumer(i, c)
			return nil
		})
	}
	err := g.Wait()
	for _, c := range consumers {
		if c != nil {
			r.consumers = append(r.consumers, c)
		}
	}
	if err != nil {
		return err
	}

	var subscribed sync.WaitGroup
	for i, c := range r.consumers {
		var names []string
		for _, q := range r.topo.queuesOf(i, len(r.consumers)) {
			names = append(names, r.topo.queues[q])
		}
		subscribed.Add(1)
		r.consuming.Go(func() { r.note(c.run(names, r.opt.prefetch, subscribed.Done)) })
	}
	all := make(chan struct{})
	go func() { // Left behind when a subscription fails; the process ends then.
		subscribed.Wait()
		close(all)
	}()
	select {
	case <-all:
		return nil
	case err := <-r.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *runner) newConsumer(id int, conn *conn) *consumer {
	c := &consumer{
		id: id, conn: conn, clock: r.clock, measured: &r.measured,
		stamped: r.opt.stamped(), size: r.opt.size, ackEvery: r.opt.ackEvery,
	}
	if r.opt.producers == 0 {
		c.size = -1
	}
	for _, q := range r.topo.queuesOf(id, r.opt.consumers) {
		c.verify = append(c.verify, verifier{
			ledger: &r.ledgers[q], run: r.runID, anyRun: r.opt.producers == 0, ids: r.opt.producers,
		})
	}
	return c
}

// note keeps the first error of a producer or consumer for the runner. After an
// interrupt, connections that end in the middle of something are expected.
func (r *runner) note(err error) {
	if err != nil && !r.interrupted.Load() {
		select {
		case r.failed <- err:
		default:
		}
	}
}

func (r *runner) snapshot() snapshot {
	s := snapshot{at: r.clock.now()}
	for _, p := range r.producers {
		s.sent += p.sent.Load()
		s.confirmed += p.confirmed.Load()
		s.nacked += p.nacked.Load()
	}
	for _, c := range r.consumers {
		s.received += c.received.Load()
	}
	if r.opt.pid > 0 {
		// That the broker can be looked at was seen at the start; if it is gone
		// since, its connections say so.
		s.brokerCPU, _ = cpuTime(r.opt.pid)
	}
	s.ownCPU, _ = cpuTime(os.Getpid())
	return s
}

// lastDelivery returns when (ns) the last delivery was read.
func (r *runner) lastDelivery() (at int64) {
	for _, c := range r.consumers {
		at = max(at, c.lastRead.Load())
	}
	return at
}

// steady publishes and consumes at the same time.
func (r *runner) steady(ctx context.Context, rep *Report) error {
	r.begin()
	var warm, end <-chan time.Time
	if r.opt.warmup > 0 {
		warm = time.After(r.opt.warmup)
	} else {
		r.measured.Store(r.clock.now())
	}
	if r.opt.duration > 0 {
		end = time.After(r.opt.warmup + r.opt.duration)
	}
	from := r.snapshot()
	done := r.startProducers()
	if r.opt.producers == 0 {
		done = nil
	}
	var to snapshot // When the measured time was over.
	watch := r.newWatch()
	defer watch.stop()
	watch.strict = done != nil && r.opt.duration == 0
	var err error
	for over := false; !over; {
		select {
		case <-warm:
			from = r.snapshot()
			r.measured.Store(from.at)
		case <-end:
			to = r.snapshot()
			r.stop.Store(true)
			watch.strict = true
			over = done == nil
		case <-done:
			over = true
		case <-watch.poll.C:
			err = watch.look()
			over = err != nil
			if n := uint64(r.opt.count); done == nil && n > 0 && r.snapshotReceived() >= n {
				over = true
			}
		case err = <-r.failed:
			over = true
		case <-ctx.Done():
			ctx = r.interrupt()
			if to.at == 0 {
				to = r.snapshot()
			}
			over = done == nil
		}
	}
	published := r.snapshot()
	if err == nil {
		err = r.drain(ctx)
	}
	drained := r.snapshot()
	if to.at != 0 {
		rep.measure(r.opt, from, to, to)
		if drained.received > to.received {
			drained.at = r.lastDelivery()
			rep.Drain = phaseOf(r.opt, to, drained, drained.received-to.received)
			rep.Drain.BrokerCPU, rep.Drain.OwnCPU = nil, 0 // Too short to tell.
		}
	} else {
		// A run by count is over for consumers when they have everything.
		drained.at = max(r.lastDelivery(), from.at+1)
		rep.measure(r.opt, from, published, drained)
	}
	return err
}

// fillThenDrain publishes everything before it consumes anything.
func (r *runner) fillThenDrain(ctx context.Context, rep *Report) error {
	r.begin()
	from := r.snapshot()
	done := r.startProducers()
	watch := r.newWatch()
	defer watch.stop()
	watch.strict = true
	var err error
	for over := false; !over; {
		select {
		case <-done:
			over = true
		case <-watch.poll.C:
			err = watch.look()
			over = err != nil
		case err = <-r.failed:
			over = true
		case <-ctx.Done():
			ctx = r.interrupt()
		}
	}
	filled := r.snapshot()
	rep.Fill = phaseOf(r.opt, from, filled, filled.sent-from.sent)
	rep.Fill.ResidentBytes = r.resident()
	if err != nil || r.interrupted.Load() {
		return err
	}

	from = r.snapshot()
	if err := r.startConsumers(ctx); err != nil {
		return err
	}
	err = r.drain(ctx)
	drained := r.snapshot()
	drained.at = max(r.lastDelivery(), from.at+1)
	rep.Drain = phaseOf(r.opt, from, drained, drained.received)
	return err
}

func (r *runner) begin() {
	r.started = time.Now()
	r.interval = r.snapshot()
}

// interrupt stops publishing and returns a context for what is still to come.
func (r *runner) interrupt() context.Context {
	r.interrupted.Store(true)
	r.stop.Store(true)
	deadline := time.Now().Add(interruptGrace)
	for _, p := range r.producers {
		p.conn.nc.SetDeadline(deadline)
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// expected returns how many deliveries the messages sent must lead to. All
// producers must have ended.
func (r *runner) expected() (n uint64) {
	for _, p := range r.producers {
		for _, sent := range p.sequences {
			n += sent * uint64(r.topo.fanout)
		}
		n -= min(n, p.nacked.Load()*uint64(r.topo.fanout))
	}
	return n
}

func (r *runner) snapshotReceived() (n uint64) {
	for _, c := range r.consumers {
		n += c.received.Load()
	}
	return n
}

// drain waits until the consumers have received everything, or nothing comes
// any more.
func (r *runner) drain(ctx context.Context) error {
	if len(r.consumers) == 0 || len(r.producers) == 0 {
		return nil
	}
	watch := r.newWatch()
	defer watch.stop()
	watch.strict = true
	for want := r.expected(); r.snapshotReceived() < want; {
		select {
		case <-watch.poll.C:
			if err := watch.look(); errors.Is(err, errStalled) {
				return nil // What is missing is counted as lost.
			}
		case err := <-r.failed:
			return err
		case <-ctx.Done():
			if r.interrupted.Load() {
				return nil
			}
			ctx = r.interrupt()
		}
	}
	return nil
}

var errStalled = errors.New("no message was published, confirmed or delivered for --drain-timeout")

// watch writes the interval lines and notices when nothing moves any more.
type watch struct {
	r        *runner
	poll     *time.Ticker
	patience time.Duration
	strict   bool // A standstill is an error.
	last     [3]uint64
	moved    time.Time
	nextLine time.Time
}

func (r *runner) newWatch() *watch {
	patience := r.opt.drainTimeout
	if r.opt.rate > 0 {
		patience += time.Duration(1e9 / r.opt.rate)
	}
	next := r.started.Add(time.Since(r.started).Truncate(time.Second) + time.Second)
	return &watch{r: r, poll: time.NewTicker(pollInterval), patience: patience, moved: time.Now(), nextLine: next}
}

func (w *watch) stop() { w.poll.Stop() }

func (w *watch) look() error {
	now := time.Now()
	var moves [3]uint64
	for _, p := range w.r.producers {
		moves[0] += p.sent.Load()
		moves[1] += p.confirmed.Load() + p.nacked.Load()
	}
	moves[2] = w.r.snapshotReceived()
	if moves != w.last {
		w.last, w.moved = moves, now
	}
	if !now.Before(w.nextLine) {
		w.nextLine = w.nextLine.Add(time.Second)
		w.r.intervalLine()
	}
	if w.strict && now.Sub(w.moved) > w.patience {
		return errStalled
	}
	return nil
}

// finish ends consumers, connections and what was declared, and completes the
// report with what they found.
func (r *runner) finish(rep *Report) error {
	rep.Memory = r.memory()
	for _, c := range r.consumers {
		// A connection that is gone has reported its error.
		_ = c.cancel()
	}
	consumed := make(chan struct{})
	go func() { // Ends with the last consumer; abort makes sure of that.
		r.consuming.Wait()
		close(consumed)
	}()
	select {
	case <-consumed:
	case <-time.After(r.opt.drainTimeout):
		r.note(errors.New("broker did not end the consumers in time"))
	}
	for _, c := range r.consumers {
		c.conn.nc.SetDeadline(time.Now().Add(interruptGrace))
	}
	r.abort()
	r.consuming.Wait()
	r.publishing.Wait()
	for _, c := range r.consumers {
		c.conn.out.done.Wait()
	}
	rep.conclude(r)

	var err error
	if r.opt.delete {
		if err = r.topo.remove(r.control); err == nil {
			r.control.shut()
		}
	}
	select {
	case failed := <-r.failed:
		return failed
	default:
		return explain(err)
	}
}

// abort drops the connections of producers and consumers: their goroutines end.
func (r *runner) abort() {
	for _, p := range r.producers {
		p.conn.kill()
	}
	for _, c := range r.consumers {
		c.conn.kill()
	}
}
