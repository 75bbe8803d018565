package shovel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"leveret/core"
)

// The states of RabbitMQ's shovels.
const (
	stateStarting   = "starting"
	stateRunning    = "running"
	stateTerminated = "terminated" // It failed, and is tried again after its reconnect delay.
)

// stopGrace is how long what is under way may take when a shovel is to end.
const stopGrace = 3 * time.Second

// lengthEvery is how often a source is asked how much is left.
const lengthEvery = 2 * time.Second

// shovel moves messages as one parameter says. It connects again when it must.
type shovel struct {
	// Fixed by newShovel.
	cfg    *config
	broker *core.Broker
	log    *slog.Logger
	count  counters

	mu struct {
		sync.Mutex
		state     string
		reason    string // Why it is terminated.
		since     time.Time
		src, dest *URI // Those in use, or tried last.
		out       outlet
		length    int64 // Of the source; negative if unknown.
		connects  int
		samples   [rateSamples]int64 // Of count.moved, one a second, the newest first.
	}
}

// rateSamples is how many seconds the rate is taken over, and one.
const rateSamples = 6

func newShovel(b *core.Broker, log *slog.Logger, c *config) *shovel {
	s := &shovel{cfg: c, broker: b, log: log.With(slog.String("shovel", c.name), slog.String("vhost", c.vhost))}
	s.count.offset.Store(-1)
	s.count.remaining.Store(deleteNever)
	s.mu.length = -1
	s.became(stateStarting, "")
	return s
}

// Events of shovels, as RabbitMQ calls them.
const (
	eventStatus  core.EventKind = "shovel.worker.status"
	eventRemoved core.EventKind = "shovel.worker.removed"
)

func (s *shovel) became(state, reason string) {
	s.mu.Lock()
	changed := s.mu.state != state
	s.mu.state, s.mu.reason, s.mu.since = state, reason, time.Now()
	s.mu.Unlock()
	if changed {
		e := core.Event{Kind: eventStatus, VHost: s.cfg.vhost, Name: s.cfg.name, Fields: core.Table{{Name: "status", Value: state}}}
		if reason != "" {
			e.Fields = append(e.Fields, core.Field{Name: "reason", Value: reason})
		}
		s.broker.Emit(e)
	}
}

// run moves messages until ctx ends, which is nil, or until all that were to be
// moved are, which is errDone. Other errors it keeps to itself and tries again,
// unless it is not to.
func (s *shovel) run(ctx context.Context) error {
	var last string
	careful := false
	for {
		s.became(stateStarting, "")
		err := s.once(ctx, careful)
		if errors.Is(err, errDone) {
			s.log.Info("shovel has moved all that it was to", slog.Int64("messages", s.count.moved.Load()))
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		careful = errors.As(err, new(*refused))
		s.became(stateTerminated, err.Error())
		if text := err.Error(); text != last {
			last = text
			s.log.Warn("shovel ended", slog.String("why", text), slog.Duration("again_after", s.cfg.reconnect))
		}
		if s.cfg.reconnect <= 0 {
			return err
		}
		wait := time.NewTimer(s.cfg.reconnect)
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil
		case <-wait.C:
		}
	}
}

// once opens both ends and moves messages until one of them breaks.
func (s *shovel) once(ctx context.Context, careful bool) error {
	c := s.cfg
	src, dest := &c.src.uris[rand.IntN(len(c.src.uris))], &c.dest.uris[rand.IntN(len(c.dest.uris))]
	s.mu.Lock()
	s.mu.src, s.mu.dest = src, dest
	s.mu.connects++
	s.mu.Unlock()

	window := c.src.prefetch
	if window == 0 {
		window = windowMax
	}
	// The ends live a little longer than ctx: to finish what is under way.
	ends, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace+time.Second, cut) })()

	out, err := s.openOutlet(ends, dest, window)
	if err != nil {
		return err
	}
	defer out.close()
	prefetch := c.src.prefetch
	if careful {
		prefetch = 1
	}
	in, err := s.openInlet(ends, src, prefetch)
	if err != nil {
		return err
	}
	defer in.close()
	if err := s.budget(in); err != nil {
		return err
	}
	s.mu.Lock()
	s.mu.out = out
	s.mu.Unlock()
	s.became(stateRunning, "")
	s.log.Info("shovel runs", slog.String("from", src.String()), slog.String("to", dest.String()))

	p := &pump{
		in: in, out: out, ack: c.ack, count: &s.count, change: s.rewrite(src, dest), now: s.broker.Now,
		window: window, careful: careful, grace: stopGrace,
	}
	watching, endWatch := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { s.watch(watching, in) })
	err = p.run(ctx)
	endWatch()
	watch.Wait()
	s.mu.Lock()
	s.mu.out, s.mu.length = nil, -1
	s.mu.Unlock()
	s.count.pending.Store(0)
	if err == nil {
		err = errClosed
	}
	return err
}

// watch keeps the length of the source up to date.
func (s *shovel) watch(ctx context.Context, in inlet) {
	tick := time.NewTicker(lengthEvery)
	defer tick.Stop()
	for {
		n, ok := in.length()
		if !ok {
			n = -1
		}
		s.mu.Lock()
		s.mu.length = n
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// budget sets how many messages there are to move, the first time.
func (s *shovel) budget(in inlet) error {
	if s.count.remaining.Load() >= 0 {
		return nil // It goes on where it was.
	}
	switch n := s.cfg.src.deleteAfter; n {
	case deleteNever:
	case deleteQueueLength:
		n, ok := in.initial()
		if !ok {
			return errors.New("src-delete-after queue-length: the source cannot say how long it is")
		}
		s.count.remaining.Store(n)
	default:
		s.count.remaining.Store(n)
	}
	return nil
}

// session opens a local end. It acts as the user that the URI names, or as the
// one who put the parameter. Without one, as for a parameter of the broker's
// operator, it may do everything.
func (s *shovel) session(ctx context.Context, u *URI) (*core.Session, error) {
	o := core.SessionOptions{VHost: u.VHost, Loopback: true, Internal: true}
	var err error
	switch {
	case u.User != "":
		o.Principal, err = s.broker.Login(ctx, core.Credentials{User: u.User, Password: u.Password, VHost: u.VHost, Protocol: "amqp091", Loopback: true})
	case s.cfg.user == "":
		o.Principal = core.Superuser("shovel")
	default:
		var ok bool
		if o.User, ok = s.broker.Auth().User(s.cfg.user); !ok {
			err = fmt.Errorf("user '%s', who made the shovel, is not one of this broker's own", s.cfg.user)
		}
	}
	if err != nil {
		return nil, err
	}
	return s.broker.OpenSession(o)
}

func (s *shovel) openOutlet(ctx context.Context, u *URI, window int) (outlet, error) {
	if !u.Local() {
		if s.cfg.dest.keepOrigin {
			return nil, errors.New("dest-keep-origin: only a destination in this broker can keep exchange and routing key")
		}
		return openRemoteOutlet(ctx, u, s.cfg, window, s.broker.Now)
	}
	session, err := s.session(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("destination: %w", err)
	}
	out, err := openLocalOutlet(ctx, s.broker, session, s.cfg)
	if err != nil {
		return nil, fmt.Errorf("destination: %w", err)
	}
	return out, nil
}

func (s *shovel) openInlet(ctx context.Context, u *URI, prefetch int) (inlet, error) {
	args := s.cfg.src.args
	if next := s.count.offset.Load(); next >= 0 {
		args = args.With("x-stream-offset", next) // It has read the stream so far before.
	}
	if !u.Local() {
		return openRemoteInlet(ctx, u, s.cfg, prefetch, args)
	}
	session, err := s.session(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	in, err := openLocalInlet(session, s.cfg, prefetch, args)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	return in, nil
}

// rewrite is what the shovel changes in messages.
func (s *shovel) rewrite(src, dest *URI) rewrite {
	c := s.cfg
	r := rewrite{timestamp: c.dest.timestamp, properties: c.dest.properties}
	if !c.dest.forwardHeaders {
		return r
	}
	r.shovelled = core.Table{
		{Name: "shovelled-by", Value: s.broker.NodeName()}, {Name: "shovel-type", Value: "dynamic"},
		{Name: "shovel-name", Value: c.name}, {Name: "shovel-vhost", Value: c.vhost},
		{Name: "src-uri", Value: src.String()}, {Name: "dest-uri", Value: dest.String()},
	}
	add := func(name, value string) {
		if value != "" {
			r.shovelled = append(r.shovelled, core.Field{Name: name, Value: value})
		}
	}
	add("src-queue", c.src.queue)
	add("src-exchange", c.src.exchange)
	add("src-exchange-key", c.src.key)
	add("dest-queue", c.dest.queue)
	if c.dest.queue == "" && c.dest.exchange != nil {
		add("dest-exchange", *c.dest.exchange)
		if c.dest.key != nil {
			add("dest-exchange-key", *c.dest.key)
		}
	}
	return r
}

// sample is called once a second.
func (s *shovel) sample() {
	s.mu.Lock()
	defer s.mu.Unlock()
	copy(s.mu.samples[1:], s.mu.samples[:])
	s.mu.samples[0] = s.count.moved.Load()
}

// status is the shovel as RabbitMQ's API shows it, and what is our own. No
// password is in it.
func (s *shovel) status() map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cfg
	o := map[string]any{
		"node": s.broker.NodeName(), "name": c.name, "vhost": c.vhost, "type": "dynamic", "state": s.mu.state,
		"timestamp":    s.mu.since.UTC().Format("2006-01-02 15:04:05"),
		"src_protocol": "amqp091", "dest_protocol": "amqp091",
		"transferred": s.count.moved.Load(), "pending": s.count.pending.Load(), "redelivered": s.count.redelivered.Load(),
		"refused": s.count.refused.Load(), "connects": s.mu.connects,
		"rate":      float64(s.mu.samples[0]-s.mu.samples[rateSamples-1]) / (rateSamples - 1),
		"remaining": nil, "src_queue_length": nil,
	}
	set := func(key, value string) {
		if value != "" {
			o[key] = value
		}
	}
	if s.mu.state == stateTerminated {
		set("reason", s.mu.reason)
	}
	if s.mu.src != nil {
		set("src_uri", s.mu.src.String())
		set("dest_uri", s.mu.dest.String())
	}
	set("src_queue", c.src.queue)
	set("src_exchange", c.src.exchange)
	set("src_exchange_key", c.src.key)
	set("dest_queue", c.dest.queue)
	if c.dest.queue == "" {
		if c.dest.exchange != nil {
			set("dest_exchange", *c.dest.exchange)
		}
		if c.dest.key != nil {
			set("dest_exchange_key", *c.dest.key)
		}
	}
	if n := s.mu.length; n >= 0 {
		o["src_queue_length"], o["remaining"] = n, n
	}
	if n := s.count.remaining.Load(); n >= 0 {
		o["remaining"] = n
	}
	if n := s.count.offset.Load(); n >= 0 {
		o["src_offset"] = n
	}
	if s.mu.out != nil {
		o["blocked_status"] = "running"
		if why := s.mu.out.blocked(); why != "" {
			o["blocked_status"], o["blocked_reason"] = "blocked", why
		}
	}
	return o
}
