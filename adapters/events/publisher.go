package events

import (
	"context"
	"log/slog"
	"time"

	"leveret/core"
)

// EventExchange is where events are published; LogExchange, lines of the log.
// Tracing goes to core.TraceExchange.
const (
	EventExchange = "amq.rabbitmq.event"
	LogExchange   = "amq.rabbitmq.log"
)

// SystemExchanges are the exchanges that core is to make: for events in
// eventVHost unless that is empty, for the log in logVHost likewise.
func SystemExchanges(eventVHost, logVHost string) []core.SystemExchange {
	var all []core.SystemExchange
	if eventVHost != "" {
		all = append(all, core.SystemExchange{VHost: eventVHost, Name: EventExchange})
	}
	if logVHost != "" {
		all = append(all, core.SystemExchange{VHost: logVHost, Name: LogExchange})
	}
	return all
}

// Options configures a Publisher.
type Options struct {
	Broker *core.Broker // Required.
	// Logger is told what was lost. It must not lead to Log. [none]
	Logger *slog.Logger
	// EventVHost has the exchange for events; "" for none.
	EventVHost string
	// Log is where lines of the log come from, for the exchange in LogVHost; nil
	// for none.
	Log      *LogTee
	LogVHost string
}

// Publisher publishes events, traces and the log.
type Publisher struct {
	opts   Options
	broker *core.Broker
	log    *slog.Logger
	events *core.EventStream
	tracer *core.Tap

	// The rest belongs to Run.
	announcer *core.Announcer
	refused   uint64 // Messages that the broker had no room for.
	told      uint64 // Losses that have been logged,
	toldAt    time.Time
}

// The tracer keeps as much as this for a publisher that is behind.
const (
	traceCountMax = 50_000
	traceBytesMax = 64 << 20
)

// NewPublisher makes a publisher. It hears of what happens from now on; Run
// publishes it.
func NewPublisher(o Options) *Publisher {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Publisher{opts: o, broker: o.Broker, log: o.Logger, announcer: o.Broker.NewAnnouncer()}
	p.tracer = p.broker.Trace(core.TapOptions{CountMax: traceCountMax, BytesMax: traceBytesMax})
	p.events = p.broker.Events(p.wanted)
	return p
}

// wanted reports whether a queue is bound to the exchange of events.
func (p *Publisher) wanted() bool {
	if p.opts.EventVHost == "" {
		return false
	}
	return bound(p.broker, p.opts.EventVHost, EventExchange)
}

func bound(b *core.Broker, vhost, exchange string) bool {
	v, ok := b.VHost(vhost)
	if !ok {
		return false
	}
	x, ok := v.Exchange(exchange)
	return ok && x.Bound()
}

// Run publishes until ctx ends.
func (p *Publisher) Run(ctx context.Context) {
	defer p.events.Close()
	defer p.tracer.Close()
	var lines <-chan struct{}
	if p.opts.Log != nil {
		lines = p.opts.Log.inbox.ready
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.events.Ready():
			for _, e := range p.events.Take() {
				p.publish(eventMessage(p.opts.EventVHost, e))
			}
		case <-p.tracer.Ready():
			p.publishTraces()
		case <-lines:
			p.publishLines()
		}
		p.tellLosses(time.Now())
	}
}

func (p *Publisher) publishTraces() {
	seen, _ := p.tracer.Take()
	for i := range seen {
		// Queues of traces that nobody empties are not to keep the broker in an
		// alarm.
		if p.broker.Alarms().Set() {
			p.refused += uint64(len(seen) - i)
			return
		}
		p.publish(traceMessage(p.broker.NodeName(), &seen[i]))
	}
}

func (p *Publisher) publishLines() {
	lines := p.opts.Log.inbox.take()
	if !bound(p.broker, p.opts.LogVHost, LogExchange) {
		return
	}
	for _, l := range lines {
		p.publish(logMessage(p.opts.LogVHost, p.broker.NodeName(), l))
	}
}

func (p *Publisher) publish(m core.Announcement) {
	if !p.announcer.Publish(m) {
		p.refused++
	}
}

// tellEvery is how often losses are logged at most.
const tellEvery = 10 * time.Second

// tellLosses logs what was lost since it was logged last.
func (p *Publisher) tellLosses(now time.Time) {
	lost := p.refused + p.events.Lost() + p.tracer.Skipped()
	if p.opts.Log != nil {
		lost += p.opts.Log.Lost()
	}
	if lost == p.told || now.Sub(p.toldAt) < tellEvery {
		return
	}
	p.log.Warn("events, traces or log lines came faster than they could be published, and were lost",
		slog.Uint64("lost", lost-p.told))
	p.told, p.toldAt = lost, now
}
