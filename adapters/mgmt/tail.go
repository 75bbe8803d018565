package mgmt

import (
	"errors"
	"net/http"
	"time"

	"leveret/core"
)

// GET /queues/V/Q/tail and /exchanges/V/X/tail show messages as they pass, for as
// long as the client looks: nothing is consumed and nobody waits. The user needs
// what a consumer of the queue, or who binds to the exchange, needs: tags grant
// nothing here.

const (
	tailPerSecond    = 50
	tailPerSecondMax = 1000
	tailCountMax     = 2000 // Messages that wait for a slow client,
	tailBytesMax     = 8 << 20
	// tailLook is how often a tail looks for what it did not show, and whether
	// its user may still see it.
	tailLook = time.Second
)

func (c *call) tailQueue() error {
	return c.tail(func(s *core.Session, o core.TapOptions) (*core.Tap, error) {
		return s.TapQueue(c.param("queue"), o)
	})
}

func (c *call) tailExchange() error {
	pattern := "#"
	if q := c.r.URL.Query(); q.Has("routing_key") {
		pattern = q.Get("routing_key")
	}
	return c.tail(func(s *core.Session, o core.TapOptions) (*core.Tap, error) {
		return s.TapExchange(c.exchangeName("exchange"), pattern, o)
	})
}

// tailOptions reads the query.
func (c *call) tailOptions() (core.TapOptions, error) {
	o := core.TapOptions{CountMax: tailCountMax, BytesMax: tailBytesMax, PerSecond: tailPerSecond, BodyMax: peekTruncate}
	q := c.r.URL.Query()
	for name, field := range map[string]struct {
		to  *int
		max int
	}{"limit_per_second": {&o.PerSecond, tailPerSecondMax}, "truncate": {&o.BodyMax, tailBytesMax}} {
		if !q.Has(name) {
			continue
		}
		n, err := (body{name: q.Get(name)}).integer(name)
		if err != nil {
			return o, err
		}
		if n < 1 || n > int64(field.max) {
			return o, badRequest([]any{"not_in_range", name})
		}
		*field.to = int(n)
	}
	return o, nil
}

// tail shows what open taps until the client goes, what it looks at is deleted,
// its user may no longer see it, or the server stops.
func (c *call) tail(open func(*core.Session, core.TapOptions) (*core.Tap, error)) error {
	if c.vhost() == nil {
		return errNotFound
	}
	o, err := c.tailOptions()
	if err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	defer s.Close()
	epoch := c.s.broker.Auth().Epoch()
	tap, err := open(s, o)
	if err != nil {
		return err
	}
	defer tap.Close()
	if c.r.Method == http.MethodHead {
		c.w.WriteHeader(http.StatusOK)
		return nil
	}
	out, err := c.stream()
	if err != nil {
		return err
	}
	defer out.close()
	ended := make(chan struct{}, 1)
	s.OnClose(func(string) {
		select {
		case ended <- struct{}{}:
		default:
		}
	})
	t := tailer{out: out, tap: tap}
	tick := time.NewTicker(tailLook)
	defer tick.Stop()
	for err = out.comment(); err == nil; {
		select {
		case <-out.ctx.Done():
			return nil
		case <-ended:
			return nil
		case <-tap.Ready():
			err = t.show()
		case <-tick.C:
			if now := c.s.broker.Auth().Epoch(); now != epoch {
				epoch = now
				again, err := open(s, core.TapOptions{})
				if err != nil {
					return nil
				}
				again.Close()
			}
			err = t.quiet()
		}
	}
	return nil
}

// tailer writes what a tap sees.
type tailer struct {
	out     *eventStream
	tap     *core.Tap
	skipped uint64
	spoke   time.Time
}

// errTailed says that no more can come.
var errTailed = errors.New("what was looked at is gone")

// show writes what has come.
func (t *tailer) show() error {
	seen, open := t.tap.Take()
	for i := range seen {
		if err := t.out.send("message", tappedObject(&seen[i])); err != nil {
			return err
		}
	}
	if len(seen) > 0 {
		t.spoke = time.Now()
	}
	if !open {
		t.quiet()
		return errTailed
	}
	return nil
}

// quiet writes how many messages were not shown since it was called last, and
// something now and then.
func (t *tailer) quiet() error {
	now := time.Now()
	if n := t.tap.Skipped(); n != t.skipped {
		count := n - t.skipped
		t.skipped, t.spoke = n, now
		return t.out.send("skipped", object{"count": count})
	}
	if now.Sub(t.spoke) < streamQuiet {
		return nil
	}
	t.spoke = now
	return t.out.comment()
}

// tappedObject is a message that has passed in JSON.
func tappedObject(m *core.Tapped) object {
	out := messageRow(m.Message, m.Size)
	out["what"], out["at"], out["queues"], out["routing_keys"] = "publish", m.AtMS, m.Queues, m.Keys
	out["redelivered"], out["delivery_count"], out["position"], out["state"] = m.Redelivered, nil, nil, nil
	if m.Delivered {
		out["what"], out["delivery_count"], out["routing_keys"] = "deliver", m.Acquired, []string{m.Message.RoutingKey}
	}
	out["user"], out["connection"] = orNull(m.User), orNull(m.Connection)
	return out
}
