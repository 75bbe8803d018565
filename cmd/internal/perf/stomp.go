package perf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// STOMPCmd is `leveret perf stomp`: it loads any STOMP broker with RabbitMQ's
// destinations and reports as AMQPCmd does.
type STOMPCmd struct {
	URL         string `name:"url" default:"stomp://guest:guest@127.0.0.1:61613/" help:"Broker to load: stomp://user:password@host:port/vhost."`
	Producers   int    `default:"1" help:"Connections that send; 0 to only subscribe."`
	Consumers   int    `default:"1" help:"Connections that subscribe; 0 to only send."`
	Destination string `default:"/queue/leveret-perf" help:"Where to send and what to subscribe to. Every subscriber of a /topic gets each message, those of a /queue share them."`

	Size       int    `default:"128" help:"Bytes of body. Below 16 there is no room for sequence number and time: no verification, no latencies."`
	Persistent bool   `help:"Send with persistent:true."`
	Receipts   int    `placeholder:"WINDOW" help:"Ask for a receipt for each message, with at most WINDOW outstanding per producer; 0 is none."`
	Ack        string `default:"auto" enum:"auto,client,client-individual" help:"Ack mode of the subscriptions."`
	AckEvery   int    `default:"1" help:"With --ack client: ack every N-th message."`
	Prefetch   uint16 `help:"Unacked messages per subscription (prefetch-count); 0 is unlimited."`
	Batch      int    `default:"65536" help:"Most bytes that a producer writes with one system call."`

	Duration     time.Duration `help:"How long to send. By default 10s, or until --count. With --idle-connections: how long to hold them, by default until interrupted."`
	Count        int64         `help:"How many messages to send in total."`
	DrainTimeout time.Duration `default:"10s" help:"Give up waiting for deliveries and receipts after this long without one."`

	IdleConnections int `placeholder:"N" help:"Only open N connections, log in and hold them."`

	JSON  bool `name:"json" help:"Write the report as JSON."`
	Quiet bool `short:"q" help:"No interval lines on standard error."`
	PID   int  `name:"pid" placeholder:"PID" help:"Process of the broker, on this machine: report its CPU time and memory (Linux)."`
}

// Run loads the broker as the flags say; see AMQPCmd.Run.
func (c *STOMPCmd) Run(ctx context.Context) error { return c.run(ctx, os.Stdout, os.Stderr) }

func (c *STOMPCmd) run(ctx context.Context, out, log io.Writer) error {
	r, err := c.newRun(log)
	if err != nil {
		return err
	}
	if c.IdleConnections > 0 {
		rep, err := r.idle(ctx)
		if rep != nil {
			err = errors.Join(err, writeReport(out, rep, c.JSON))
		}
		return err
	}
	rep, err := r.load(ctx)
	if rep == nil {
		return err
	}
	err = errors.Join(err, writeReport(out, rep, c.JSON))
	if err == nil && !rep.Verification.OK {
		err = ErrVerification
	}
	return err
}

// stompTarget is whom to connect to.
type stompTarget struct{ address, user, password, vhost string }

func parseSTOMPURL(s string) (t stompTarget, err error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "stomp" || u.Hostname() == "" {
		return t, fmt.Errorf("--url: %q is not of the form stomp://user:password@host:port/vhost", s)
	}
	t = stompTarget{address: u.Host, user: "guest", password: "guest", vhost: "/"}
	if u.Port() == "" {
		t.address += ":61613"
	}
	if u.User != nil {
		t.user = u.User.Username()
		t.password, _ = u.User.Password()
	}
	if v, err := url.PathUnescape(strings.TrimPrefix(u.EscapedPath(), "/")); err == nil && v != "" {
		t.vhost = v
	}
	return t, nil
}

// stompRun is one run.
type stompRun struct {
	cmd    *STOMPCmd
	target stompTarget
	opt    *options // What reports are made from.
	log    io.Writer
	topic  bool // Every subscriber gets each message.

	server    string
	run       uint64 // Upper 16 bits of each stamp's second word.
	producers []*stompProducer
	consumers []*stompConsumer
	ledgers   []ledger
}

func (c *STOMPCmd) newRun(log io.Writer) (*stompRun, error) {
	r := &stompRun{cmd: c, log: log, topic: strings.HasPrefix(c.Destination, "/topic/") || strings.HasPrefix(c.Destination, "/exchange/")}
	var err error
	if r.target, err = parseSTOMPURL(c.URL); err != nil {
		return nil, err
	}
	for _, check := range []struct {
		flag       string
		value      int
		least, top int
	}{
		{"producers", c.Producers, 0, producersMax - 1},
		{"consumers", c.Consumers, 0, producersMax},
		{"size", c.Size, 0, sizeMax},
		{"receipts", c.Receipts, 0, windowMax},
		{"ack-every", c.AckEvery, 1, windowMax},
		{"batch", c.Batch, 1, 1 << 24},
		{"idle-connections", c.IdleConnections, 0, 1 << 24},
	} {
		if check.value < check.least || check.value > check.top {
			return nil, fmt.Errorf("--%s: %d is not between %d and %d", check.flag, check.value, check.least, check.top)
		}
	}
	switch {
	case c.Producers == 0 && c.Consumers == 0:
		return nil, errors.New("--producers and --consumers: nothing to do with neither")
	case strings.ContainsAny(c.Destination, "\r\n:\\\x00"):
		return nil, errors.New("--destination: it would need escaping")
	case c.Count < 0 || c.Duration < 0 || c.DrainTimeout <= 0:
		return nil, errors.New("--count, --duration and --drain-timeout cannot be negative")
	case c.Ack == "auto" && c.Prefetch > 0:
		return nil, errors.New("--prefetch has no effect on automatic acks, add --ack")
	case c.Prefetch > 0 && c.Ack == "client" && c.AckEvery > int(c.Prefetch):
		return nil, errors.New("--ack-every: more than --prefetch would stall the consumer")
	}
	if c.Count == 0 && c.Duration == 0 && c.IdleConnections == 0 {
		c.Duration = 10 * time.Second
	}
	r.run = rand.Uint64() &^ timeMask
	ackEvery := 0
	if c.Ack != "auto" {
		ackEvery = 1
		if c.Ack == "client" {
			ackEvery = c.AckEvery
		}
	}
	r.opt = &options{producers: c.Producers, consumers: c.Consumers, size: c.Size, confirm: c.Receipts, ackEvery: ackEvery, pid: c.PID}
	return r, nil
}

// fanout is how many subscribers get each message.
func (r *stompRun) fanout() uint64 {
	if r.topic {
		return uint64(r.cmd.Consumers)
	}
	return 1
}

// snapshot adds up the counters.
func (r *stompRun) snapshot() (s snapshot) {
	s.at = time.Now().UnixNano()
	for _, p := range r.producers {
		s.sent += p.sent.Load()
		s.confirmed += p.receipts.Load()
	}
	for _, c := range r.consumers {
		s.received += c.received.Load()
	}
	if r.cmd.PID > 0 {
		s.brokerCPU, _ = cpuTime(r.cmd.PID)
	}
	s.ownCPU, _ = cpuTime(os.Getpid())
	return s
}

// load runs producers and consumers.
func (r *stompRun) load(ctx context.Context) (*Report, error) {
	c := r.cmd
	r.ledgers = make([]ledger, 1)
	if r.topic {
		r.ledgers = make([]ledger, max(1, c.Consumers))
	}
	for i := range r.ledgers {
		r.ledgers[i].shared = !r.topic && c.Consumers > 1
		r.ledgers[i].adopt = c.Producers == 0
	}
	defer func() {
		for _, k := range r.consumers {
			k.nc.Close()
		}
		for _, p := range r.producers {
			p.nc.Close()
		}
	}()
	for i := range c.Consumers {
		k, err := r.newConsumer(ctx, i)
		if err != nil {
			return nil, err
		}
		r.consumers = append(r.consumers, k)
	}
	var left atomic.Int64
	left.Store(c.Count)
	for i := range c.Producers {
		p, err := r.newProducer(ctx, i, &left)
		if err != nil {
			return nil, err
		}
		r.producers = append(r.producers, p)
	}

	var consuming sync.WaitGroup
	failed := make(chan error, c.Producers+c.Consumers)
	for _, k := range r.consumers {
		consuming.Go(func() { // Ends when its connection is closed.
			if err := k.consume(); err != nil {
				failed <- err
			}
		})
	}
	began := r.snapshot()
	stop := make(chan struct{})
	var stopOnce sync.Once
	end := func() { stopOnce.Do(func() { close(stop) }) }
	producing, _ := errgroup.WithContext(ctx)
	for _, p := range r.producers {
		producing.Go(func() error { return p.produce(stop) })
	}
	published := make(chan error, 1)
	go func() { // Ends with the producers.
		published <- producing.Wait()
	}()

	var timer <-chan time.Time
	if c.Duration > 0 {
		timer = time.After(c.Duration)
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	interrupted := false
	var err error
	last := began
	if c.Producers == 0 {
		published = nil
	}
	for done := false; !done; {
		select {
		case <-timer:
			end()
			done = c.Producers == 0
		case <-ctx.Done():
			interrupted = true
			end()
			done = true
		case err = <-failed:
			end()
			done = true
		case err = <-published:
			done = true
		case <-tick.C:
			last = r.intervalLine(last, began)
			if c.Producers == 0 && c.Count > 0 && last.received >= uint64(c.Count) {
				done = true
			}
		}
	}
	sent := r.snapshot()
	end()
	if err == nil && !interrupted {
		err = r.drain(ctx, failed)
	}
	delivered := r.snapshot()
	if delivered.received == sent.received { // Nothing to wait for.
		delivered = sent
	}
	for _, k := range r.consumers {
		k.leave()
	}
	for _, p := range r.producers {
		p.nc.Close()
	}
	if published != nil && (interrupted || err != nil) {
		producing.Wait()
	}
	consuming.Wait()
	if err != nil {
		return nil, err
	}
	rep := r.report(began, sent, delivered)
	rep.Interrupted = interrupted
	r.verify(&rep.Verification, interrupted)
	return rep, nil
}

// drain waits until all has arrived that was sent, or nothing more does.
func (r *stompRun) drain(ctx context.Context, failed <-chan error) error {
	if r.cmd.Consumers == 0 || r.cmd.Producers == 0 {
		return nil
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	moved, since := uint64(0), time.Now()
	for {
		s := r.snapshot()
		if s.received >= s.sent*r.fanout() {
			return nil
		}
		if s.received != moved {
			moved, since = s.received, time.Now()
		} else if time.Since(since) > r.cmd.DrainTimeout {
			return nil // The report says what is missing.
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		}
	}
}

func (r *stompRun) intervalLine(last, began snapshot) snapshot {
	now := r.snapshot()
	if r.cmd.Quiet {
		return now
	}
	seconds := float64(now.at-last.at) / 1e9
	rate := func(n uint64) string { return thousands(uint64(float64(n)/seconds+0.5)) + "/s" }
	fmt.Fprintf(r.log, "%4ds  in %12s  receipts %12s  out %12s  on the way %9s\n", (now.at-began.at)/1e9, rate(now.sent-last.sent),
		rate(now.confirmed-last.confirmed), rate(now.received-last.received), thousands(now.sent*r.fanout()-min(now.sent*r.fanout(), now.received)))
	return now
}

func (r *stompRun) report(began, sent, delivered snapshot) *Report {
	c := r.cmd
	rep := &Report{
		Broker: r.server, Address: r.target.address, Producers: c.Producers, Consumers: c.Consumers, Queues: len(r.ledgers),
		Exchange: c.Destination, SizeBytes: c.Size, Confirm: c.Receipts, AckEvery: r.opt.ackEvery, Prefetch: int(c.Prefetch), Persistent: c.Persistent,
	}
	rep.measure(r.opt, began, sent, delivered)
	rep.Memory = memoryOf(c.PID)
	var latency, receipt Histogram
	for _, k := range r.consumers {
		latency.Add(&k.latency)
	}
	for _, p := range r.producers {
		receipt.Add(&p.latency)
	}
	rep.Latency, rep.ConfirmLatency = latencyOf(&latency), latencyOf(&receipt)
	return rep
}

func (r *stompRun) verify(v *Verification, interrupted bool) {
	c := r.cmd
	v.Checked = r.opt.stamped() && c.Consumers > 0
	v.Complete = v.Checked && c.Producers > 0 && !interrupted
	var found faults
	for _, k := range r.consumers {
		found.add(&k.verify.faults)
	}
	for _, p := range r.producers {
		v.Expected += p.sent.Load() * r.fanout()
		if c.Receipts > 0 {
			v.Unconfirmed += p.sent.Load() - p.receipts.Load()
		}
	}
	for i := range r.ledgers {
		v.Received += r.ledgers[i].distinct()
	}
	if v.Complete && v.Expected > v.Received {
		v.Lost = v.Expected - v.Received
	}
	v.Duplicates, v.OutOfOrder, v.Redelivered = found.duplicates, found.misordered, found.redelivered
	v.Foreign, v.WrongSize = found.foreign, found.missized
	unconfirmed := v.Unconfirmed
	if interrupted {
		unconfirmed = 0
	}
	v.OK = v.Lost+v.Duplicates+v.OutOfOrder+v.Foreign+v.WrongSize+unconfirmed == 0
}

// idle opens connections and holds them.
func (r *stompRun) idle(ctx context.Context) (*IdleReport, error) {
	c := r.cmd
	rep := &IdleReport{Address: r.target.address, Connections: c.IdleConnections, MemoryBefore: memoryOf(c.PID)}
	if c.PID > 0 && rep.MemoryBefore == nil {
		_, _, err := memory(c.PID)
		return nil, err
	}
	conns := make([]*stompConn, c.IdleConnections)
	defer func() {
		for _, s := range conns {
			if s != nil {
				s.nc.Close()
			}
		}
	}()
	start := time.Now()
	g, dialCtx := errgroup.WithContext(ctx)
	g.SetLimit(dialersMax)
	for i := range conns {
		g.Go(func() (err error) {
			conns[i], err = dialSTOMP(dialCtx, &r.target)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	rep.Seconds = time.Since(start).Seconds()
	rep.PerSecond = float64(c.IdleConnections) / rep.Seconds
	rep.Broker = conns[0].server
	var dropped atomic.Int64
	var over atomic.Bool
	var reading sync.WaitGroup
	for _, s := range conns {
		reading.Go(func() { // Ends when the connection is closed.
			_, err := s.nc.Read(make([]byte, 1))
			if err != nil && !over.Load() {
				dropped.Add(1)
			}
		})
	}
	held := time.Now()
	var timer <-chan time.Time
	if c.Duration > 0 {
		timer = time.After(c.Duration)
	}
	select {
	case <-timer:
	case <-ctx.Done():
	}
	over.Store(true)
	rep.Memory = memoryOf(c.PID)
	rep.HeldSeconds = time.Since(held).Seconds()
	for _, s := range conns {
		s.nc.Close()
	}
	reading.Wait()
	if rep.Dropped = dropped.Load(); rep.Dropped > 0 {
		return rep, fmt.Errorf("broker ended %d of %d idle connections", rep.Dropped, c.IdleConnections)
	}
	return rep, nil
}
