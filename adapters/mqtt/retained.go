package mqtt

import (
	"context"

	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// feed is the retained messages of a new subscription on their way to the
// client: a cursor that is moved as far as there is room, however many there
// are. Messages for a QoS 0 subscription go straight out; others through the
// session's queue, so that they are acknowledged like any.
type feed struct {
	cursor *core.RetainedCursor
	sub    core.Subscription
}

// Steps of a feed.
const (
	feedStep   = 64  // Messages for QoS 0 at a time.
	storedStep = 32  // Messages put into the session's queue at a time.
	finishStep = 512 // The same when the client is gone.
)

// finishMax bounds how long it may take to put the rest into the queue of a
// session whose client is gone: its next connection waits for that, but not for
// longer than attachTimeout.
const finishMax = attachTimeout * 2 / 3

// sendRetained begins a feed if the subscription is to have one (3.3.1-9 to
// 3.3.1-11).
func (c *conn) sendRetained(sub *core.Subscription, handling byte, existed bool) {
	if sub.Shared != "" || handling == 2 || handling == 1 && existed {
		return
	}
	var skip func(key string) bool
	if hides(sub.Key) {
		skip = func(key string) bool { return key != "" && key[0] == '$' }
	}
	c.feeds = append(c.feeds, &feed{c.session.Retained(sub.Exchange, sub.Key, skip), *sub})
}

// Wake is part of netx.Waker: there is room for more retained messages.
func (f *feedWaker) Wake() { f.conn.nudge() }

// feedWaker waits for room in the out-buffer.
type feedWaker struct{ conn *conn }

// feedRetained moves the oldest feed on. It never waits: the reader comes back
// when there is room, or when the client has acknowledged something.
func (c *conn) feedRetained() {
	if c.waker == nil {
		c.waker = &feedWaker{c}
	}
	if !c.out.Room(c.waker) {
		return
	}
	f := c.feeds[0]
	more := false
	if f.sub.Grade == 0 {
		more = c.feedDirect(f)
	} else {
		if c.outstanding() >= max(1, c.client.window/2) {
			return // Its acknowledgements bring us back.
		}
		more = c.holds.Feed(f.cursor, c.feeder(), storedStep, &c.work.touched)
	}
	c.flushAll()
	if !more {
		f.cursor.Close()
		c.feeds[0] = nil
		if c.feeds = c.feeds[1:]; len(c.feeds) == 0 {
			c.feeds = nil
			return
		}
	}
	c.nudge()
}

// feeder publishes retained messages into the session's queue.
func (c *conn) feeder() *core.Publisher {
	if c.publisher == nil {
		c.makePublisher()
	}
	return c.publisher
}

// feedDirect sends some retained messages at QoS 0. It reports whether there
// may be more.
func (c *conn) feedDirect(f *feed) (more bool) {
	var ids []uint32
	if f.sub.Identifier != 0 {
		ids = []uint32{f.sub.Identifier}
	}
	return f.cursor.Next(feedStep, func(m *core.Message) {
		if f.sub.NoLocal && m.Origin == c.client.origin {
			return
		}
		c.out.Lock()
		defer func() {
			if c.out.Unlock() {
				c.work.flushOwn = true
			}
		}()
		e, ok := c.encodingLocked(m)
		if !ok {
			return
		}
		p := wire.OutPublish{Key: m.RoutingKey, Props: e.props, Payload: len(m.Body), SubIDs: ids, Retain: true}
		if !c.expiryLeft(&p, e, m) {
			return
		}
		if limit := c.client.maxPacket; limit > 0 && p.Size(c.version) > int(limit) {
			return
		}
		c.sendLocked(&p, m)
	})
}

// expiryLeft puts what is left of a message's life into p. It reports false if
// that is over.
func (c *conn) expiryLeft(p *wire.OutPublish, e encoded, m *core.Message) bool {
	if e.flags&flagExpiry == 0 || c.version != wire.V5 {
		return true
	}
	left := int64(e.expiry) - (c.srv.broker.Now()-m.ArrivedMS)/1000
	if left <= 0 && e.expiry > 0 {
		return false
	}
	p.Expiry, p.HasExpiry = uint32(left), true
	return true
}

// finishFeeds ends all of them. What a lasting session was to get at QoS 1 or 2
// goes into its queue now, where it waits for the next connection. That takes as
// long as the log takes.
func (c *conn) finishFeeds() {
	feeds := c.feeds
	c.feeds = nil
	if len(feeds) == 0 {
		return
	}
	limit := finishMax
	if c.srv.stopping.Load() {
		limit = c.srv.opts.ShutdownTimeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for _, f := range feeds {
		more := c.holds.Lasting() && f.sub.Grade > 0
		for more && ctx.Err() == nil {
			var t core.Touched
			p := c.feeder()
			more = c.holds.Feed(f.cursor, p, finishStep, &t)
			t.Flush()
			if p.AheadOfLog() {
				p.Pace(ctx.Done())
			}
		}
		f.cursor.Close()
		if more {
			c.srv.log.Warn("MQTT session misses retained messages: there was no time to store them all",
				append(c.who(), "filter", f.sub.Filter)...)
		}
	}
}

// nudge has the reader look at its feeds although the client says nothing. Any
// goroutine may call it.
func (c *conn) nudge() {
	c.ended.mu.Lock()
	defer c.ended.mu.Unlock()
	c.nc.SetReadDeadline(past)
}
