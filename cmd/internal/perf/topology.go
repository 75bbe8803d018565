package perf

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// topology is what the run declares, and which message goes where.
//
//	producer --key--> route r --+--> queue r*fanout
//	                            +--> queue r*fanout+1 ...
//
// A route is the set of queues that get the same messages: one queue, or
// --fanout of them. All names and keys of a kind have the same length, so that
// a producer can exchange one for another inside an encoded frame.
type topology struct {
	exchangeType string
	routes       int
	fanout       int
	exchanges    []string // One, or one per route for the type fanout, or none for the default exchange.
	queues       []string // Queue q belongs to route q/fanout.
	keys         []routedKey
	bindings     []binding
}

// routedKey is one address to publish to in rotation.
type routedKey struct {
	exchange string
	key      string
	header   string // Value of the header headerName, for the type headers.
	route    int
}

type binding struct {
	queue, exchange, key string
	arguments            table
}

const headerName = "dev"

// topicPatterns match the key "dev.G.…" with its group G in place of %s: the first
// --match of them are bound for each group.
var topicPatterns = []string{"dev.%s.*", "dev.%s.#", "*.%s.*", "*.%s.#", "#.%s.*", "#.%s.#"}

func newTopology(o *options) (*topology, error) {
	t := &topology{exchangeType: o.exchangeType, routes: o.queues, fanout: o.fanout}
	for q := range t.routes * t.fanout {
		t.queues = append(t.queues, numbered(o.queue, q, t.routes*t.fanout))
	}

	groups := o.bindings / o.match
	switch t.exchangeType {
	case "default":
		for r := range t.routes {
			t.keys = append(t.keys, routedKey{key: t.queues[r], route: r})
		}
		return t, nil
	case "fanout":
		for r := range t.routes {
			x := numbered(o.queue+"-x", r, t.routes)
			t.exchanges = append(t.exchanges, x)
			t.keys = append(t.keys, routedKey{exchange: x, route: r})
			for f := range t.fanout {
				t.bindings = append(t.bindings, binding{queue: t.queues[r*t.fanout+f], exchange: x})
			}
		}
		return t, nil
	}

	x := o.queue + "-x"
	t.exchanges = []string{x}
	for g := range groups {
		r := g % t.routes
		for f := range t.fanout {
			for m := range o.match {
				b := binding{queue: t.queues[r*t.fanout+f], exchange: x}
				group := padded(g, groups)
				switch t.exchangeType {
				case "direct":
					b.key = "dev." + group
				case "topic":
					b.key = fmt.Sprintf(topicPatterns[m], group)
				case "headers":
					b.arguments = table{{"x-match", "all"}, {headerName, group}}
				}
				t.bindings = append(t.bindings, b)
			}
		}
	}
	for k := range o.keys {
		g := k % groups
		key := routedKey{exchange: x, route: g % t.routes}
		switch t.exchangeType {
		case "direct":
			key.key = "dev." + padded(g, groups)
		case "topic":
			key.key = "dev." + padded(g, groups) + ".k" + padded(k/groups, (o.keys-1)/groups+1)
		case "headers":
			key.header = padded(g, groups)
		}
		t.keys = append(t.keys, key)
	}
	return t, nil
}

// numbered names the i-th of n things, with equally long names for all.
func numbered(prefix string, i, n int) string {
	if n == 1 {
		return prefix
	}
	return prefix + "-" + padded(i, n)
}

// padded is i with as many digits as n-1 has.
func padded(i, n int) string {
	s := strconv.Itoa(i)
	return strings.Repeat("0", len(strconv.Itoa(max(n-1, i)))-len(s)) + s
}

// keysOf returns the keys that producer p of n publishes to: those of the
// routes p, p+n, … or, with more producers than routes, of route p modulo routes.
func (t *topology) keysOf(p, n int) []routedKey {
	var keys []routedKey
	for _, k := range t.keys {
		if n >= t.routes && k.route == p%t.routes || n < t.routes && k.route%n == p {
			keys = append(keys, k)
		}
	}
	return keys
}

// queuesOf returns the numbers of the queues that consumer c of n consumes.
func (t *topology) queuesOf(c, n int) []int {
	if n >= len(t.queues) {
		return []int{c % len(t.queues)}
	}
	var queues []int
	for q := c; q < len(t.queues); q += n {
		queues = append(queues, q)
	}
	return queues
}

// bindBatch is how many bindings are sent before one is waited for: their
// replies would otherwise fill the buffers of a connection nobody reads.
const bindBatch = 500

// declare makes exchanges, queues and bindings, and empties the queues if purge.
func (t *topology) declare(ctx context.Context, c *conn, o *options, purge bool) error {
	var durable byte
	if o.durable {
		durable = 1 << 1
	}
	for _, x := range t.exchanges {
		m := appendMethod(nil, channelID, exchangeDeclare, uint16(0), x, t.exchangeType, durable, table{})
		if _, err := c.call(exchangeDeclareOK, m); err != nil {
			return fmt.Errorf("declare exchange %q: %w", x, err)
		}
	}
	for _, q := range t.queues {
		m := appendMethod(nil, channelID, queueDeclare, uint16(0), q, durable, o.arguments)
		if _, err := c.call(queueDeclareOK, m); err != nil {
			return fmt.Errorf("declare queue %q: %w", q, err)
		}
		if !purge {
			continue
		}
		if _, err := c.call(queuePurgeOK, appendMethod(nil, channelID, queuePurge, uint16(0), q, byte(0))); err != nil {
			return fmt.Errorf("purge queue %q: %w", q, err)
		}
	}
	var batch []byte
	for i, b := range t.bindings {
		last := i == len(t.bindings)-1 || i%bindBatch == bindBatch-1
		noWait := byte(1)
		if last {
			noWait = 0
		}
		batch = appendMethod(batch, channelID, queueBind, uint16(0), b.queue, b.exchange, b.key, noWait, b.arguments)
		if !last {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := c.call(queueBindOK, batch); err != nil {
			return fmt.Errorf("bind queue %q to exchange %q: %w", b.queue, b.exchange, err)
		}
		batch = batch[:0]
	}
	return nil
}

// remove deletes what declare has made.
func (t *topology) remove(c *conn) error {
	for _, x := range t.exchanges {
		m := appendMethod(nil, channelID, exchangeDelete, uint16(0), x, byte(0))
		if _, err := c.call(exchangeDeleteOK, m); err != nil {
			return fmt.Errorf("delete exchange %q: %w", x, err)
		}
	}
	for _, q := range t.queues {
		m := appendMethod(nil, channelID, queueDelete, uint16(0), q, byte(0))
		if _, err := c.call(queueDeleteOK, m); err != nil {
			return fmt.Errorf("delete queue %q: %w", q, err)
		}
	}
	return nil
}
