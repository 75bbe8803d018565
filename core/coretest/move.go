package coretest

import (
	"context"
	"math"
	"strings"

	"leveret/core"
)

// peek shows what is in a queue.
func (e *Env) peek(a *arguments) error {
	r, err := e.current.session.Peek(a.next(), core.PeekOptions{
		States: core.PeekAll, Count: math.MaxInt, Bytes: math.MaxInt64, Keep: -1, Scan: math.MaxInt, ScanBytes: math.MaxInt64,
	})
	for _, m := range r.Messages {
		line := m.State.String() + " " + string(m.Message.Body)
		if m.Redelivered {
			line += " redelivered"
		}
		e.say("%s x=%s key=%s", line, m.Message.Exchange, m.Message.RoutingKey)
	}
	if err == nil && len(r.Messages) == 0 {
		e.say("nothing")
	}
	return err
}

// move moves messages of a queue.
func (e *Env) move(a *arguments) error {
	o := core.MoveOptions{Limit: a.number("limit", 0)}
	preview := a.flag("preview")
	o.To.Origin = a.flag("origin")
	if x := a.value("x", "none"); x != "none" {
		o.To.Exchange = &x
	}
	if key := a.value("key", "none"); key != "none" {
		o.To.Key = &key
	}
	o.To.Queue = a.value("to", "")
	if text := a.value("match", ""); text != "" {
		o.Match = func(m *core.Peeked) bool { return strings.Contains(string(m.Message.Body), text) }
	}
	o.Queue = a.next()
	if preview {
		p, err := e.current.session.PreviewMove(o, nil)
		if err != nil {
			return err
		}
		e.say("matched %d of %d", p.Matched, p.Total)
		for _, d := range p.Destinations {
			e.say("%d to x=%s key=%s %v", d.Count, d.Exchange, d.Key, d.Queues)
		}
		return nil
	}
	p, err := e.current.session.Move(context.Background(), o, nil)
	if err == nil || p.Total > 0 {
		e.say("moved %d, skipped %d, matched %d of %d", p.Moved, p.Skipped, p.Matched, p.Total)
	}
	return err
}
