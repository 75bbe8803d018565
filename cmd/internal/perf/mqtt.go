package perf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"leveret/adapters/mqtt/wire"
)

// MQTTCmd is `leveret perf mqtt`: it loads any MQTT broker and reports rates,
// latencies and whether each message arrived once and in order.
type MQTTCmd struct {
	URL         string        `name:"url" default:"mqtt://127.0.0.1:1883" help:"Broker to load: mqtt://user:password@host:port. Without a user, no credentials are sent."`
	Publishers  int           `default:"1" help:"Connections that publish."`
	Subscribers int           `default:"1" help:"Connections that subscribe; 0 to only publish."`
	Topics      int           `default:"1" help:"Topics over which publishers and subscribers are spread; all subscribers of a topic get each of its messages."`
	Topic       string        `default:"leveret/perf" help:"Topic, or beginning of the topics' names."`
	QoS         int           `name:"qos" default:"0" help:"QoS of publishing, and of subscribing."`
	Protocol    string        `name:"protocol" default:"3.1.1" enum:"3.1,3.1.1,5" help:"Version of MQTT: 3.1, 3.1.1 or 5."`
	Size        int           `default:"128" help:"Bytes of payload. Below 16 there is no room for sequence number and time: no verification, no latencies."`
	Window      int           `default:"100" help:"Messages in flight per publisher with QoS 1 and 2."`
	Lasting     bool          `help:"Subscribe with sessions that outlive their connections; they are ended at the end."`
	Batch       int           `default:"65536" help:"Most bytes that a publisher writes with one system call."`
	Rate        float64       `default:"0" help:"Messages a second in total; 0 is as fast as possible. Latencies are then counted from when a message was due."`
	Duration    time.Duration `help:"How long to publish. By default 10s, or until --count. With --idle-connections: how long to hold them, by default until interrupted."`
	Count       int64         `help:"How many messages to publish in total."`
	Warmup      time.Duration `help:"Load for this long before measuring."`
	Drain       time.Duration `name:"drain-timeout" default:"5s" help:"Give up waiting for deliveries after this long without one."`

	IdleConnections int  `placeholder:"N" help:"Only open N connections, as fast as possible, and hold them."`
	IdleSubscribe   bool `default:"true" negatable:"" help:"Each of them subscribes to a topic of its own with --qos."`
	Dialers         int  `default:"32" help:"Connections opened at the same time."`

	JSON  bool `name:"json" help:"Write the report as JSON."`
	Quiet bool `short:"q" help:"No interval lines on standard error."`
	PID   int  `name:"pid" placeholder:"PID" help:"Process of the broker, on this machine: report its CPU time and memory (Linux)."`
}

// mqttOptions are the flags after validation.
type mqttOptions struct {
	MQTTCmd
	address        string
	user, password string
	version        byte
}

// Run loads the broker as the flags say; see AMQPCmd.Run.
func (c *MQTTCmd) Run(ctx context.Context) error { return c.run(ctx, os.Stdout, os.Stderr) }

func (c *MQTTCmd) run(ctx context.Context, out, log io.Writer) error {
	o, err := c.options()
	if err != nil {
		return err
	}
	if o.IdleConnections > 0 {
		rep, err := mqttIdle(ctx, o, log)
		if rep != nil {
			err = errors.Join(err, c.write(out, rep))
		}
		return err
	}
	rep, err := newMQTTRunner(o, log).load(ctx)
	if rep == nil {
		return err
	}
	err = errors.Join(err, c.write(out, rep))
	if err == nil && !rep.Verification.OK {
		err = ErrVerification
	}
	return err
}

func (c *MQTTCmd) write(w io.Writer, rep interface{ writeText(io.Writer) }) error {
	if !c.JSON {
		rep.writeText(w)
		return nil
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(rep)
}

// options checks the flags.
func (c *MQTTCmd) options() (*mqttOptions, error) {
	o := &mqttOptions{MQTTCmd: *c}
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("--url: %w", err)
	}
	if u.Scheme != "mqtt" {
		return nil, fmt.Errorf("--url: %q does not begin with mqtt://", c.URL)
	}
	if u.User != nil {
		o.user = u.User.Username()
		o.password, _ = u.User.Password()
	}
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = "127.0.0.1"
	}
	if port == "" {
		port = "1883"
	}
	o.address = net.JoinHostPort(host, port)
	o.version = map[string]byte{"3.1": wire.V31, "3.1.1": wire.V311, "5": wire.V5}[c.Protocol]
	for _, check := range []struct {
		flag              string
		value, least, top int
	}{
		{"publishers", c.Publishers, 1, producersMax},
		{"subscribers", c.Subscribers, 0, producersMax},
		{"topics", c.Topics, 1, producersMax},
		{"qos", c.QoS, 0, 2},
		{"size", c.Size, 0, 64 << 20},
		{"window", c.Window, 1, 30000},
		{"batch", c.Batch, 1, 1 << 24},
		{"dialers", c.Dialers, 1, 4096},
		{"idle-connections", c.IdleConnections, 0, 1 << 24},
	} {
		if check.value < check.least || check.value > check.top {
			return nil, fmt.Errorf("--%s: %d is not between %d and %d", check.flag, check.value, check.least, check.top)
		}
	}
	if c.Rate < 0 || c.Count < 0 || c.Duration < 0 || c.Warmup < 0 || c.Drain <= 0 {
		return nil, errors.New("--rate, --count, --duration, --warmup and --drain-timeout cannot be negative")
	}
	if o.Count == 0 && o.Duration == 0 && o.IdleConnections == 0 {
		o.Duration = 10 * time.Second
	}
	return o, nil
}

func (o *mqttOptions) stamped() bool { return o.Size >= stampLen }

func (o *mqttOptions) topic(i int) string {
	if o.Topics == 1 {
		return o.Topic
	}
	return fmt.Sprintf("%s/%d", o.Topic, i%o.Topics)
}

// subscribersOf is how many subscribers the topic of publisher i has.
func (o *mqttOptions) subscribersOf(i int) int {
	t := i % o.Topics
	n := o.Subscribers / o.Topics
	if t < o.Subscribers%o.Topics {
		n++
	}
	return n
}

// mqttRunner is one run.
type mqttRunner struct {
	opt   *mqttOptions
	log   io.Writer
	clock clock
	runID uint64

	publishers  []*mqttPublisher
	subscribers []*mqttSubscriber
	stop        atomic.Bool
	measured    atomic.Int64
	over        atomic.Bool
	failed      chan error
	publishing  sync.WaitGroup
	consuming   sync.WaitGroup
}

// mqttCounts is what was counted up to a time.
type mqttCounts struct {
	at                    int64
	sent, acked, received uint64
	brokerCPU, ownCPU     time.Duration
	lastRead              int64
}

func newMQTTRunner(o *mqttOptions, log io.Writer) *mqttRunner {
	r := &mqttRunner{opt: o, log: log, clock: newClock(), runID: uint64(1+rand.IntN(1<<16-1)) << 48, failed: make(chan error, 1)}
	r.measured.Store(1<<63 - 1)
	return r
}

// MQTTReport is the outcome of a run, as written with --json.
type MQTTReport struct {
	Address     string `json:"address"`
	Protocol    string `json:"protocol"`
	QoS         int    `json:"qos"`
	Publishers  int    `json:"publishers"`
	Subscribers int    `json:"subscribers"`
	Topics      int    `json:"topics"`
	SizeBytes   int    `json:"size_bytes"`
	Window      int    `json:"window"`
	Lasting     bool   `json:"lasting_sessions"`

	Published *Phase `json:"published,omitempty"`
	Delivered *Phase `json:"delivered,omitempty"`

	Latency    *Latency `json:"latency,omitempty"`
	AckLatency *Latency `json:"ack_latency,omitempty"` // From PUBLISH to PUBACK or PUBCOMP.

	BrokerCPU *float64 `json:"broker_cpu_s_per_million,omitempty"` // Per million deliveries, or publishes if none are delivered.
	OwnCPU    float64  `json:"generator_cpu_s_per_million"`
	Memory    *Memory  `json:"broker_memory,omitempty"`

	// Verification of QoS 0 counts loss, which is allowed there, but does not
	// fail for it.
	Verification Verification `json:"verification"`
}

// load runs the generator and reports.
func (r *mqttRunner) load(ctx context.Context) (*MQTTReport, error) {
	o := r.opt
	if o.PID > 0 {
		if _, err := cpuTime(o.PID); err != nil {
			return nil, err
		}
	}
	if err := r.open(ctx); err != nil {
		r.abort()
		return nil, err
	}
	defer r.abort()
	for _, s := range r.subscribers {
		r.consuming.Go(func() { r.note(s.run()) })
	}
	warm := make(<-chan time.Time)
	if o.Warmup > 0 {
		warm = time.After(o.Warmup)
	} else {
		r.measured.Store(r.clock.now())
	}
	var end <-chan time.Time
	if o.Duration > 0 {
		end = time.After(o.Warmup + o.Duration)
	}
	from := r.counts()
	start := r.clock.now()
	for i, p := range r.publishers {
		if o.Rate > 0 {
			p.pace = newPacer(r.clock, start, o.Rate, i, len(r.publishers))
		}
		r.publishing.Go(func() { r.note(p.run()) })
	}
	done := make(chan struct{})
	go func() { // Ends with the last publisher; abort makes sure of that.
		r.publishing.Wait()
		close(done)
	}()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	var to mqttCounts
	last := from
	var err error
	for over := false; !over; {
		select {
		case <-warm:
			from = r.counts()
			r.measured.Store(from.at)
		case <-end:
			to = r.counts()
			r.stop.Store(true)
		case <-done:
			over = true
		case <-second.C:
			last = r.line(last)
		case err = <-r.failed:
			over = true
		case <-ctx.Done():
			err = ctx.Err()
			over = true
		}
	}
	if err != nil {
		r.stop.Store(true)
		return nil, err
	}
	published := r.counts()
	complete := r.drain(ctx)
	drained := r.counts()
	rep := r.report()
	if to.at == 0 { // By count: the last delivery is the end.
		to, drained.at = published, max(drained.lastRead, from.at+1)
		rep.phases(o, from, to, drained)
	} else {
		rep.phases(o, from, to, to)
	}
	rep.Memory = memoryOf(o.PID)
	r.over.Store(true)
	r.abort()
	r.consuming.Wait()
	r.conclude(rep, complete)
	r.endSessions(ctx)
	select {
	case err = <-r.failed:
	default:
	}
	return rep, err
}

func (r *mqttRunner) open(ctx context.Context) error {
	o := r.opt
	r.publishers = make([]*mqttPublisher, o.Publishers)
	r.subscribers = make([]*mqttSubscriber, o.Subscribers)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(o.Dialers)
	for i := range r.subscribers {
		g.Go(func() (err error) {
			r.subscribers[i], err = r.newSubscriber(gctx, i)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	g, gctx = errgroup.WithContext(ctx)
	g.SetLimit(o.Dialers)
	for i := range r.publishers {
		g.Go(func() (err error) {
			r.publishers[i], err = r.newPublisher(gctx, i)
			return err
		})
	}
	return g.Wait()
}

func (r *mqttRunner) abort() {
	for _, p := range r.publishers {
		if p != nil {
			p.nc.Close()
		}
	}
	for _, s := range r.subscribers {
		if s != nil {
			s.nc.Close()
		}
	}
}

func (r *mqttRunner) note(err error) {
	if err != nil && !r.over.Load() {
		select {
		case r.failed <- err:
		default:
		}
	}
}

func (r *mqttRunner) counts() mqttCounts {
	n := mqttCounts{at: r.clock.now()}
	for _, p := range r.publishers {
		n.sent += p.sent.Load()
		n.acked += p.acked.Load()
	}
	for _, s := range r.subscribers {
		n.received += s.received.Load()
		n.lastRead = max(n.lastRead, s.lastRead.Load())
	}
	if r.opt.PID > 0 {
		n.brokerCPU, _ = cpuTime(r.opt.PID)
	}
	n.ownCPU, _ = cpuTime(os.Getpid())
	return n
}

func (r *mqttRunner) line(last mqttCounts) mqttCounts {
	now := r.counts()
	if !r.opt.Quiet {
		seconds := float64(now.at-last.at) / 1e9
		rate := func(n uint64) string { return thousands(uint64(float64(n)/seconds+0.5)) + "/s" }
		fmt.Fprintf(r.log, "in %12s  out %12s\n", rate(now.sent-last.sent), rate(now.received-last.received))
	}
	return now
}

// expected is how many deliveries what was sent must lead to.
func (r *mqttRunner) expected() (n uint64) {
	for i, p := range r.publishers {
		n += p.sent.Load() * uint64(r.opt.subscribersOf(i))
	}
	return n
}

// drain waits until everything has arrived, or nothing comes any more.
func (r *mqttRunner) drain(ctx context.Context) (complete bool) {
	want := r.expected()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	last, moved := uint64(0), time.Now()
	for {
		n := r.counts().received
		if n >= want {
			return true
		}
		if n != last {
			last, moved = n, time.Now()
		}
		if time.Since(moved) > r.opt.Drain {
			return true // What is missing is lost.
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return false
		}
	}
}

func (r *mqttRunner) report() *MQTTReport {
	o := r.opt
	return &MQTTReport{
		Address: o.address, Protocol: o.Protocol, QoS: o.QoS, Publishers: o.Publishers, Subscribers: o.Subscribers,
		Topics: o.Topics, SizeBytes: o.Size, Window: o.Window, Lasting: o.Lasting,
	}
}

func (rep *MQTTReport) phases(o *mqttOptions, from, published, delivered mqttCounts) {
	phase := func(n uint64, to mqttCounts) *Phase {
		p := &Phase{Messages: n, Seconds: float64(to.at-from.at) / 1e9}
		if p.Seconds > 0 {
			p.PerSecond = float64(n) / p.Seconds
			p.MBPerSecond = p.PerSecond * float64(o.Size) / 1e6
		}
		return p
	}
	rep.Published = phase(published.sent-from.sent, published)
	n := rep.Published.Messages
	if o.Subscribers > 0 {
		rep.Delivered = phase(delivered.received-from.received, delivered)
		n = rep.Delivered.Messages
	}
	if n == 0 {
		return
	}
	if o.PID > 0 {
		v := (delivered.brokerCPU - from.brokerCPU).Seconds() / float64(n) * 1e6
		rep.BrokerCPU = &v
	}
	rep.OwnCPU = (delivered.ownCPU - from.ownCPU).Seconds() / float64(n) * 1e6
}

func (r *mqttRunner) conclude(rep *MQTTReport, complete bool) {
	var latency, acks Histogram
	var found faults
	v := &rep.Verification
	for _, s := range r.subscribers {
		latency.Add(&s.latency)
		found.add(&s.verify.faults)
		v.Received += s.ledger.distinct()
	}
	for _, p := range r.publishers {
		acks.Add(&p.latency)
		v.Unconfirmed += uint64(p.inFlight)
	}
	rep.Latency, rep.AckLatency = latencyOf(&latency), latencyOf(&acks)
	v.Checked = r.opt.stamped() && r.opt.Subscribers > 0
	v.Complete = v.Checked && complete
	v.Expected = r.expected()
	if v.Complete && v.Expected > v.Received {
		v.Lost = v.Expected - v.Received
	}
	v.Duplicates, v.OutOfOrder, v.Redelivered = found.duplicates, found.misordered, found.redelivered
	v.Foreign, v.WrongSize = found.foreign, found.missized
	lost := v.Lost
	if r.opt.QoS == 0 {
		lost = 0
	}
	v.OK = lost+v.Duplicates+v.OutOfOrder+v.Foreign+v.WrongSize+v.Unconfirmed == 0
}

// endSessions takes lasting sessions away.
func (r *mqttRunner) endSessions(ctx context.Context) {
	if !r.opt.Lasting {
		return
	}
	for i := range r.subscribers {
		if c, err := mqttDial(ctx, r.opt, r.subscriberID(i), true); err == nil {
			c.nc.Close()
		}
	}
}

func (rep *MQTTReport) writeText(w io.Writer) {
	fmt.Fprintf(w, "MQTT %s at %s: %d publishers, %d subscribers, %d topics, QoS %d, %d bytes", rep.Protocol, rep.Address,
		rep.Publishers, rep.Subscribers, rep.Topics, rep.QoS, rep.SizeBytes)
	if rep.QoS > 0 {
		fmt.Fprintf(w, ", window %d", rep.Window)
	}
	if rep.Lasting {
		fmt.Fprint(w, ", lasting sessions")
	}
	fmt.Fprintln(w)
	phase := func(name string, p *Phase) {
		if p != nil {
			fmt.Fprintf(w, "%-12s %14s in %6.2f s  %12s/s  %8.1f MB/s\n", name, thousands(p.Messages), p.Seconds,
				thousands(uint64(p.PerSecond+0.5)), p.MBPerSecond)
		}
	}
	phase("published", rep.Published)
	phase("delivered", rep.Delivered)
	latency := func(name string, l *Latency) {
		if l != nil {
			fmt.Fprintf(w, "%-12s p50 %s, p95 %s, p99 %s, p99.9 %s, max %s\n", name, micros(l.P50), micros(l.P95), micros(l.P99),
				micros(l.P999), micros(l.Max))
		}
	}
	latency("latency", rep.Latency)
	latency("acks", rep.AckLatency)
	if rep.BrokerCPU != nil {
		fmt.Fprintf(w, "%-12s %.3f s per million messages\n", "broker CPU", *rep.BrokerCPU)
	}
	fmt.Fprintf(w, "%-12s %.3f s per million messages\n", "own CPU", rep.OwnCPU)
	if rep.Memory != nil {
		fmt.Fprintf(w, "%-12s resident %.1f MB, peak %.1f MB\n", "broker RAM", float64(rep.Memory.ResidentBytes)/1e6, float64(rep.Memory.PeakBytes)/1e6)
	}
	rep.Verification.writeText(w)
}

// MQTTIdleReport is the outcome of --idle-connections.
type MQTTIdleReport struct {
	IdleReport
	BytesEach float64 `json:"broker_bytes_per_connection,omitempty"`
}

// mqttIdle opens connections and holds them.
func mqttIdle(ctx context.Context, o *mqttOptions, log io.Writer) (*MQTTIdleReport, error) {
	rep := &MQTTIdleReport{IdleReport: IdleReport{Broker: "MQTT " + o.Protocol, Address: o.address, Connections: o.IdleConnections, MemoryBefore: memoryOf(o.PID)}}
	if o.PID > 0 && rep.MemoryBefore == nil {
		_, _, err := memory(o.PID)
		return nil, err
	}
	run := rand.Uint32()
	conns := make([]*mqttConn, o.IdleConnections)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.nc.Close()
			}
		}
	}()
	start := time.Now()
	g, dialCtx := errgroup.WithContext(ctx)
	g.SetLimit(o.Dialers)
	for i := range conns {
		g.Go(func() (err error) {
			c, err := mqttDial(dialCtx, o, fmt.Sprintf("perf-idle-%d-%d", run, i), true)
			conns[i] = c
			if err == nil && o.IdleSubscribe {
				err = c.subscribe(fmt.Sprintf("%s/idle/%d", o.Topic, i), byte(o.QoS), o.version)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	rep.Seconds = time.Since(start).Seconds()
	rep.PerSecond = float64(o.IdleConnections) / rep.Seconds
	if !o.Quiet {
		fmt.Fprintf(log, "%d connections opened in %.3f s, %.0f/s\n", o.IdleConnections, rep.Seconds, rep.PerSecond)
	}
	var dropped atomic.Int64
	var over atomic.Bool
	var reading sync.WaitGroup
	for _, c := range conns {
		reading.Go(func() { // Ends when the connection does.
			var b [1]byte
			if _, err := c.nc.Read(b[:]); err != nil && !over.Load() {
				dropped.Add(1)
			}
		})
	}
	held := time.Now()
	var end <-chan time.Time
	if o.Duration > 0 {
		end = time.After(o.Duration)
	}
	select {
	case <-end:
	case <-ctx.Done():
	}
	over.Store(true)
	if rep.Memory = memoryOf(o.PID); rep.Memory != nil {
		rep.BytesEach = float64(rep.Memory.ResidentBytes-rep.MemoryBefore.ResidentBytes) / float64(o.IdleConnections)
	}
	rep.HeldSeconds = time.Since(held).Seconds()
	for _, c := range conns {
		c.nc.Close()
	}
	reading.Wait()
	if rep.Dropped = dropped.Load(); rep.Dropped > 0 {
		return rep, fmt.Errorf("broker ended %d of %d idle connections", rep.Dropped, o.IdleConnections)
	}
	return rep, nil
}

func (rep *MQTTIdleReport) writeText(w io.Writer) {
	fmt.Fprintf(w, "%s at %s: %d idle connections\n", rep.Broker, rep.Address, rep.Connections)
	fmt.Fprintf(w, "%-12s in %.3f s, %.0f/s\n", "connected", rep.Seconds, rep.PerSecond)
	fmt.Fprintf(w, "%-12s for %.1f s, %d dropped by the broker\n", "held", rep.HeldSeconds, rep.Dropped)
	if rep.Memory != nil {
		fmt.Fprintf(w, "%-12s resident %.1f MB, before %.1f MB: %.0f bytes each\n", "broker RAM", float64(rep.Memory.ResidentBytes)/1e6,
			float64(rep.MemoryBefore.ResidentBytes)/1e6, rep.BytesEach)
	}
}
