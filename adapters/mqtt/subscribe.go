package mqtt

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// subscribe handles SUBSCRIBE.
func (c *conn) subscribe(body []byte) error {
	p, err := wire.ParseSubscribe(body, c.version)
	if err != nil {
		return err
	}
	results := make([]wire.Code, len(p.Filters))
	subs := make([]core.Subscription, 0, len(p.Filters))
	at := make([]int, 0, len(p.Filters)) // Where in results each of subs belongs.
	for i := range p.Filters {
		s := &p.Filters[i]
		f, err := wire.ParseFilter(s.Filter)
		if err != nil {
			w := failureOf(err)
			if c.version != wire.V5 || w.code == wire.MalformedPacket {
				return w
			}
			results[i] = w.code
			continue
		}
		if f.Group != "" && s.NoLocal {
			return fail(wire.ProtocolError, "No Local on a shared subscription")
		}
		subs = append(subs, c.subscription(f, s, p.SubID))
		at = append(at, i)
	}
	refused := c.makeSubscriptions(subs, at, results)
	c.answer(func(b []byte) []byte { return wire.AppendSuback(b, wire.Suback, p.ID, results, c.version) })
	if refused != nil {
		return refused
	}
	c.startAll()
	for i := range subs {
		if !results[at[i]].IsError() {
			c.sendRetained(&subs[i], p.Filters[at[i]].RetainHandling, c.work.existed[i])
		}
	}
	return nil
}

// subscription is a checked filter as core has it.
func (c *conn) subscription(f wire.Filter, s *wire.Subscription, subID uint32) core.Subscription {
	sub := core.Subscription{
		Filter: s.Filter, Exchange: c.srv.opts.Exchange, Key: wire.PatternOf(f.Topic), Grade: s.QoS,
		NoLocal: s.NoLocal, AsPublished: s.RetainAsPublished, Handling: s.RetainHandling, Identifier: subID,
	}
	if f.Group != "" {
		sub.Shared = sharedQueue(f)
	}
	return sub
}

// sharedQueue names the queue of a shared subscription.
func sharedQueue(f wire.Filter) string {
	h := sha256.Sum256([]byte(f.Topic))
	group := strings.ToValidUTF8(f.Group[:min(len(f.Group), 100)], "")
	sum := hex.EncodeToString(h[:8])
	if group != f.Group {
		h = sha256.Sum256([]byte(f.Group + "/" + f.Topic))
		sum = hex.EncodeToString(h[:])
	}
	return sharedPrefix + group + "-" + sum
}

// storedFilter is the filter of a subscription that core kept.
func storedFilter(s *core.Subscription) *filter {
	return &filter{
		name: s.Filter, pattern: s.Key, subID: s.Identifier, qos: s.Grade, noLocal: s.NoLocal, asPub: s.AsPublished,
		hides: hides(s.Key),
	}
}

// hides reports whether a binding key is that of a filter that does not match
// topics beginning with '$'.
func hides(key string) bool { return key != "" && (key[0] == '*' || key[0] == '#') }

// makeSubscriptions subscribes and notes the results. It returns what ends the
// connection after the SUBACK.
func (c *conn) makeSubscriptions(subs []core.Subscription, at []int, results []wire.Code) (refused *failure) {
	// Deliveries look for their filters from the moment the binding is there.
	before := make([]*filter, len(subs))
	c.out.Lock()
	fs := &c.underOut.filters
	over := len(fs.byName)+len(subs) > c.srv.opts.MaxSubscriptions
	if !over {
		for i := range subs {
			if subs[i].Shared == "" {
				before[i] = fs.set(storedFilter(&subs[i]))
			}
		}
	}
	c.out.Unlock()
	if over {
		for _, i := range at {
			results[i] = wire.QuotaExceeded
		}
		return nil
	}

	existed, errs := c.holds.Subscribe(subs)
	c.work.existed = existed
	for i, err := range errs {
		results[at[i]] = wire.Code(subs[i].Grade)
		if err == nil && subs[i].Shared != "" {
			err = c.consumeShared(&subs[i])
		}
		if err == nil {
			continue
		}
		f := failureOf(err)
		results[at[i]] = f.code
		if f.code == wire.NotAuthorized && !c.srv.opts.KeepUnauthorized {
			refused = f
		}
		c.srv.log.Warn("MQTT subscription refused", append(c.who(), "filter", subs[i].Filter, "why", f.why)...)
		if subs[i].Shared == "" {
			c.out.Lock()
			if before[i] != nil {
				fs.set(before[i])
			} else {
				fs.remove(subs[i].Filter)
			}
			c.out.Unlock()
		}
	}
	if err := c.consumeOwn(); err != nil {
		return failureOf(err)
	}
	return refused
}

// consumeOwn consumes the session's queue, if there is one and it is not
// consumed yet.
func (c *conn) consumeOwn() error {
	queue, direct := c.holds.Queue()
	if queue == "" || c.own != nil && c.own.direct == direct {
		return nil
	}
	c.own = nil // What it consumed is gone.
	k := &outlet{conn: c, queue: queue, direct: direct}
	o := core.ConsumeOptions{
		Queue: queue, Tag: "mqtt", NoAck: direct, Exclusive: true, Outlet: k,
		Cancelled: func(_ *core.Consumer, reason string) {
			c.force(&failure{wire.AdministrativeAction, "the session's queue is gone: " + reason})
		},
		Data: k,
	}
	if !direct {
		o.Prefetch = c.client.window
		if c.limited() {
			o.Shared = c.limiter
		}
	}
	var err error
	if k.core, err = c.holds.Consume(o); err != nil {
		return err
	}
	c.own = k
	c.work.starting = append(c.work.starting, k)
	return nil
}

// limited reports whether all consumers together are bounded by less than what
// a single one may take.
func (c *conn) limited() bool { return c.client.window < c.srv.opts.Prefetch }

// consumeShared consumes the queue of a shared subscription. A replaced one
// changes how it is delivered.
func (c *conn) consumeShared(s *core.Subscription) error {
	g := &grant{qos: s.Grade, asPub: s.AsPublished, send: true}
	if s.Identifier != 0 {
		g.ids = []uint32{s.Identifier}
	}
	if k := c.shares[s.Shared]; k != nil {
		c.out.Lock()
		k.share = g
		c.out.Unlock()
		return nil
	}
	k := &outlet{conn: c, queue: s.Shared, share: g, hides: hides(s.Key)}
	var err error
	k.core, err = c.holds.Consume(core.ConsumeOptions{
		Queue: s.Shared, Tag: "mqtt-" + c.client.id, Prefetch: min(c.client.window, sharedPrefetch), Shared: c.limiter, Outlet: k,
		Cancelled: func(_ *core.Consumer, reason string) {
			if !k.ending.Load() {
				c.force(&failure{wire.AdministrativeAction, "the queue of a shared subscription is gone: " + reason})
			}
		},
		Data: k,
	})
	if err != nil {
		return err
	}
	if c.shares == nil {
		c.shares = make(map[string]*outlet)
	}
	c.shares[s.Shared] = k
	c.work.starting = append(c.work.starting, k)
	return nil
}

// sharedPrefetch bounds what one member of a group holds while others may be
// idle.
const sharedPrefetch = 64

// startAll begins deliveries of consumers that are new.
func (c *conn) startAll() {
	for i, k := range c.work.starting {
		k.core.Start(&c.work.touched)
		c.work.starting[i] = nil
	}
	c.work.starting = c.work.starting[:0]
}

// unsubscribe handles UNSUBSCRIBE.
func (c *conn) unsubscribe(body []byte) error {
	p, err := wire.ParseUnsubscribe(body, c.version)
	if err != nil {
		return err
	}
	results := make([]wire.Code, len(p.Filters))
	for i, name := range p.Filters {
		f, err := wire.ParseFilter(name)
		if err != nil {
			if w := failureOf(err); c.version != wire.V5 || w.code == wire.MalformedPacket {
				return w
			}
			results[i] = wire.TopicFilterInvalid
			continue
		}
		k := c.shares[sharedQueue(f)]
		if f.Group == "" {
			k = nil
		} else if k != nil {
			k.ending.Store(true) // The queue may go with its last subscription.
		}
		existed, err := c.holds.Unsubscribe(name)
		switch {
		case err != nil:
			results[i] = codeOf(err)
			if k != nil {
				k.ending.Store(false)
			}
			continue
		case !existed:
			results[i] = wire.NoSubscriptionExisted
		}
		if f.Group == "" {
			c.out.Lock()
			c.underOut.filters.remove(name)
			c.out.Unlock()
		} else if k != nil {
			k.core.Cancel(&c.work.touched) // What it holds is acknowledged as before.
			delete(c.shares, k.queue)
		}
	}
	c.answer(func(b []byte) []byte { return wire.AppendSuback(b, wire.Unsuback, p.ID, results, c.version) })
	return nil
}
