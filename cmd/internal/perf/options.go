package perf

import (
	"errors"
	"fmt"
	"time"
)

// AMQPCmd is `leveret perf amqp`: it loads any AMQP 0-9-1 broker and reports
// rates, latencies and whether each message arrived once and in order.
type AMQPCmd struct {
	URL       string   `name:"url" default:"amqp://guest:guest@127.0.0.1:5672/" help:"Broker to load: amqp://user:password@host:port/vhost."`
	Producers int      `default:"1" help:"Connections that publish; 0 to only consume."`
	Consumers int      `default:"-1" help:"Connections that consume; 0 to only publish. By default one, or one for each queue with --fanout."`
	Queues    int      `default:"1" help:"Queues (with --fanout: groups of queues) over which producers and consumers are spread."`
	Queue     string   `default:"leveret-perf" help:"Name of the queue, or prefix of the queues' names."`
	Args      []string `placeholder:"KEY=VALUE" help:"Queue arguments, such as x-max-length=1000,x-queue-type=quorum; integers and booleans are typed, string:5 forces a string."`
	Durable   bool     `help:"Declare durable queues and exchanges."`
	Delete    bool     `default:"true" negatable:"" help:"Delete queues and exchanges at the end, unless others publish (--producers 0)."`

	Size       int     `default:"128" help:"Bytes of body. Below 16 there is no room for sequence number and time: no verification, no latencies."`
	Persistent bool    `help:"Publish with delivery mode 2."`
	Rate       float64 `default:"0" help:"Messages a second in total; 0 is as fast as possible. Latencies are then counted from when a message was due, so that stalls count."`
	Confirm    int     `placeholder:"WINDOW" help:"Use publisher confirms with at most WINDOW messages unconfirmed per producer; 0 is none."`
	Prefetch   uint16  `help:"Unacked messages per consumer; 0 is unlimited. Needs --ack-every."`
	AckEvery   int     `help:"Ack every N-th message with multiple; 1 acks one by one; 0 consumes with automatic acks."`
	Batch      int     `default:"65536" help:"Most bytes that a producer writes with one system call."`

	ExchangeType string `default:"" enum:",default,direct,fanout,topic,headers" help:"Publish through an exchange of this type: default, direct, fanout, topic or headers. The default is default, with --fanout it is fanout."`
	Bindings     int    `help:"Bindings to make over all groups of queues (direct, topic, headers). One key matches --match of them."`
	Match        int    `default:"1" help:"Bindings that one published key matches (topic, at most 6). They lead to the same queue."`
	Keys         int    `help:"Different routing keys published in rotation. By default one for each binding or --match bindings."`
	Fanout       int    `default:"1" help:"Queues that get a copy of each message, each with its own consumer."`

	Duration      time.Duration `help:"How long to publish. By default 10s, or until --count. With --idle-connections: how long to hold them, by default until interrupted."`
	Count         int64         `help:"How many messages to publish in total."`
	Warmup        time.Duration `help:"Load for this long before measuring."`
	DrainTimeout  time.Duration `default:"10s" help:"Give up waiting for deliveries and confirms after this long without one."`
	FillThenDrain bool          `help:"Publish --count messages (default 1000000) with no consumer, then consume them."`

	IdleConnections int `placeholder:"N" help:"Only open N connections with a channel each and hold them."`

	Heartbeat time.Duration `default:"-1s" help:"Heartbeat to ask for; 0 is off. By default what the broker offers."`
	JSON      bool          `name:"json" help:"Write the report as JSON."`
	Quiet     bool          `short:"q" help:"No interval lines on standard error."`
	PID       int           `name:"pid" placeholder:"PID" help:"Process of the broker, on this machine: report its CPU time and memory (Linux)."`
}

// options are the command's flags after validation.
type options struct {
	target    *target
	producers int
	consumers int
	queues    int
	queue     string
	arguments table
	durable   bool
	delete    bool

	size       int
	persistent bool
	rate       float64
	confirm    int
	prefetch   int
	ackEvery   int
	batch      int

	exchangeType string
	bindings     int
	match        int
	keys         int
	fanout       int

	duration      time.Duration
	count         int64
	warmup        time.Duration
	drainTimeout  time.Duration
	fillThenDrain bool
	idle          int

	heartbeat time.Duration
	quiet     bool
	pid       int
}

// Upper limits of what one generator is asked to do; producers are limited by
// the stamp's 16 bits.
const (
	producersMax = 1 << 16
	queuesMax    = 1 << 20
	bindingsMax  = 10_000_000
	sizeMax      = 512 << 20
	windowMax    = 1 << 24
)

// options checks the flags and fills in what depends on others.
func (c *AMQPCmd) options() (*options, error) {
	o := &options{
		producers: c.Producers, consumers: c.Consumers, queues: c.Queues, queue: c.Queue,
		durable: c.Durable, delete: c.Delete, size: c.Size, persistent: c.Persistent, rate: c.Rate,
		confirm: c.Confirm, prefetch: int(c.Prefetch), ackEvery: c.AckEvery, batch: c.Batch,
		exchangeType: c.ExchangeType, bindings: c.Bindings, match: c.Match, keys: c.Keys, fanout: c.Fanout,
		duration: c.Duration, count: c.Count, warmup: c.Warmup, drainTimeout: c.DrainTimeout,
		fillThenDrain: c.FillThenDrain, idle: c.IdleConnections, heartbeat: c.Heartbeat, quiet: c.Quiet, pid: c.PID,
	}
	var err error
	if o.target, err = parseURL(c.URL); err != nil {
		return nil, err
	}
	if o.arguments, err = parseArguments(c.Args); err != nil {
		return nil, err
	}
	for _, check := range []struct {
		flag       string
		value      int
		least, top int
	}{
		{"producers", o.producers, 0, producersMax},
		{"consumers", o.consumers, -1, producersMax},
		{"queues", o.queues, 1, queuesMax},
		{"size", o.size, 0, sizeMax},
		{"confirm", o.confirm, 0, windowMax},
		{"ack-every", o.ackEvery, 0, windowMax},
		{"batch", o.batch, 1, 1 << 24},
		{"bindings", o.bindings, 0, bindingsMax},
		{"match", o.match, 1, len(topicPatterns)},
		{"keys", o.keys, 0, bindingsMax},
		{"fanout", o.fanout, 1, queuesMax},
		{"idle-connections", o.idle, 0, 1 << 24},
	} {
		if check.value < check.least || check.value > check.top {
			return nil, fmt.Errorf("--%s: %d is not between %d and %d", check.flag, check.value, check.least, check.top)
		}
	}
	if len(o.queue) == 0 || len(o.queue) > 200 {
		return nil, errors.New("--queue: a name of 1 to 200 bytes is needed")
	}
	if o.rate < 0 || o.count < 0 || o.duration < 0 || o.warmup < 0 || o.drainTimeout <= 0 {
		return nil, errors.New("--rate, --count, --duration, --warmup and --drain-timeout cannot be negative")
	}
	if o.heartbeat > 65535*time.Second || o.heartbeat > 0 && o.heartbeat < time.Second {
		return nil, errors.New("--heartbeat: between 1s and 65535s, or 0")
	}
	if o.idle > 0 {
		return o, nil
	}
	if err := o.completeRouting(); err != nil {
		return nil, err
	}
	return o, o.completeRun()
}

func (o *options) completeRouting() error {
	if o.exchangeType == "" {
		o.exchangeType = "default"
		if o.fanout > 1 {
			o.exchangeType = "fanout"
		}
	}
	keyed := o.exchangeType == "direct" || o.exchangeType == "topic" || o.exchangeType == "headers"
	switch {
	case o.exchangeType == "default" && o.fanout > 1:
		return errors.New("--fanout: the default exchange reaches one queue only, choose another --exchange-type")
	case !keyed && (o.bindings > 0 || o.keys > 0):
		return errors.New("--bindings and --keys need --exchange-type direct, topic or headers")
	case o.match > 1 && o.exchangeType != "topic":
		return errors.New("--match needs --exchange-type topic")
	case !keyed:
		return nil
	}
	if o.bindings == 0 {
		o.bindings = o.queues * o.match
	}
	groups := o.bindings / o.match
	if groups < o.queues {
		return fmt.Errorf("--bindings: at least %d are needed for %d queues", o.queues*o.match, o.queues)
	}
	if o.keys == 0 {
		o.keys = groups
	}
	if o.keys < o.queues || o.exchangeType != "topic" && o.keys > groups {
		return fmt.Errorf("--keys: %d keys for %d queues and %d bindings", o.keys, o.queues, o.bindings)
	}
	return nil
}

func (o *options) completeRun() error {
	if o.consumers < 0 {
		o.consumers = 1
		if o.fanout > 1 {
			o.consumers = o.queues * o.fanout
		}
	}
	switch {
	case o.producers == 0 && o.consumers == 0:
		return errors.New("--producers and --consumers: nothing to do with neither")
	case o.prefetch > 0 && o.ackEvery == 0:
		return errors.New("--prefetch has no effect on automatic acks, add --ack-every")
	case o.prefetch > 0 && o.ackEvery > o.prefetch:
		return errors.New("--ack-every: more than --prefetch would stall the consumer")
	case o.producers == 0 && (o.rate > 0 || o.confirm > 0 || o.fillThenDrain):
		return errors.New("--rate, --confirm and --fill-then-drain need a producer")
	case o.fillThenDrain && (o.consumers == 0 || o.warmup > 0 || o.duration > 0):
		return errors.New("--fill-then-drain needs consumers and takes --count, not --duration or --warmup")
	}
	if o.producers == 0 {
		o.delete = false
	}
	if o.fillThenDrain && o.count == 0 {
		o.count = 1_000_000
	}
	if o.count == 0 && o.duration == 0 {
		o.duration = 10 * time.Second
	}
	return nil
}

// stamped reports whether bodies have room for the stamp.
func (o *options) stamped() bool { return o.size >= stampLen }
