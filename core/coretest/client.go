package coretest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"leveret/core"
)

// attach makes the current session that of a client.
func (e *Env) attach(a *arguments) error {
	c := e.current
	o := core.ClientOptions{
		Clean: a.flag("clean"), ExpiryMS: int64(a.number("expiry", 0)), KeepAliveMS: int64(a.number("keepalive", 0)),
	}
	delay, retain, persistent := a.number("delay", 0), a.flag("retain"), a.flag("persistent")
	if key, body, ok := strings.Cut(a.value("will", ""), ":"); ok {
		o.Will = &core.Will{Exchange: "amq.topic", RoutingKey: key, Body: []byte(body), TTLMS: -1, DelayMS: int64(delay), Retain: retain, Persistent: persistent}
	}
	o.ID = a.next()
	o.Queue, o.DirectQueue = o.ID, o.ID+"-direct"
	o.Displaced = func(reason string) {
		e.say("%s displaced %s", c.name, reason)
		e.drop(c, core.Lost)
	}
	cl, present, err := c.session.Attach(context.Background(), o)
	if err != nil {
		return err
	}
	c.client = cl
	if err := cl.Remember(); err != nil {
		return err
	}
	c.publisher.SetClient(cl)
	if present {
		e.say("present: %d subscriptions", len(cl.Subscriptions()))
	}
	return nil
}

// detach ends the connection of a client as its adapter would.
func (e *Env) detach(a *arguments) error {
	d := map[string]core.Departure{"lost": core.Lost, "left": core.Left, "stopped": core.Stopped}[a.next()]
	e.drop(e.current, d)
	return nil
}

// drop ends the session of a client.
func (e *Env) drop(c *client, d core.Departure) {
	var t core.Touched
	for _, o := range c.consumers {
		if o.c != nil {
			o.detach(&t)
		}
	}
	t.Flush()
	c.client.Detach(d)
	c.session.Close()
	delete(e.sessions, c.name)
}

func (e *Env) subscribe(a *arguments) error {
	s := core.Subscription{Exchange: a.value("x", "amq.topic"), Grade: uint8(a.number("grade", 0)), Shared: a.value("shared", "")}
	s.Filter = a.next()
	s.Key = s.Filter
	replaced, errs := e.current.client.Subscribe([]core.Subscription{s})
	if errs[0] == nil && replaced[0] {
		e.say("replaced")
	}
	return errs[0]
}

func (e *Env) unsubscribe(a *arguments) error {
	existed, err := e.current.client.Unsubscribe(a.next())
	if err == nil && !existed {
		e.say("no such subscription")
	}
	return err
}

func (e *Env) clients(*arguments) error {
	var all []core.ClientInfo
	for i := range e.current.session.VHost().Clients() {
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b core.ClientInfo) int { return strings.Compare(a.ID, b.ID) })
	for _, i := range all {
		if i.Attached != nil {
			e.say("%s: connected", i.ID)
		} else {
			e.say("%s: away, %d subscriptions", i.ID, i.Subscriptions)
		}
	}
	return nil
}

// restart ends the sessions as a stopping broker would, and starts another
// broker on the same stores.
func (e *Env) restart(*arguments) error {
	for _, c := range e.sessions {
		if c.client != nil {
			e.drop(c, core.Stopped)
		} else {
			c.session.Close()
		}
	}
	if err := e.Broker.Close(); err != nil {
		return err
	}
	e.start()
	return nil
}

// detach ends a consumer; what it holds stays its client's.
func (o *consumer) detach(t *core.Touched) {
	o.c.Detach(o.slotsOf(func(held) bool { return true }), t)
	o.held = nil
}

func (o *consumer) slotsOf(which func(held) bool) (slots []core.Slot) {
	for _, h := range o.held {
		if which(h) {
			slots = append(slots, core.Slot{Seq: h.seq, Data: h.data, Released: h.released})
		}
	}
	return slots
}

// hold notes deliveries with their client.
func (e *Env) hold(a *arguments, released bool) error {
	o := e.consumer(a)
	var bodies []string
	for body := a.next(); body != ""; body = a.next() {
		bodies = append(bodies, body)
	}
	for i := range o.held {
		if slices.Contains(bodies, o.held[i].body) {
			o.held[i].released = released
		}
	}
	o.c.Hold(o.slotsOf(func(h held) bool { return slices.Contains(bodies, h.body) }), func(err error) {
		if err != nil {
			e.say("not held: %v", err)
		}
	})
	return nil
}

// received shows what the client published once.
func (e *Env) received(*arguments) error {
	e.say("%v", e.current.client.Received())
	return nil
}

func (e *Env) forget(a *arguments) error {
	id, err := strconv.ParseUint(a.next(), 10, 16)
	if err == nil {
		e.current.client.Forget([]uint16{uint16(id)}, func(error) {})
	}
	return err
}

// retained shows what is retained for a pattern.
func (e *Env) retained(a *arguments) error {
	cursor := e.current.session.Retained(a.value("x", "amq.topic"), a.next(), nil)
	defer cursor.Close()
	var rows []string
	for more := true; more; {
		more = cursor.Next(2, func(m *core.Message) {
			rows = append(rows, fmt.Sprintf("%s %s", m.RoutingKey, m.Body))
		})
	}
	slices.Sort(rows)
	for _, r := range rows {
		e.say("%s", r)
	}
	return nil
}

// feed puts what is retained for a pattern into the client's queue.
func (e *Env) feed(a *arguments) error {
	cursor := e.current.session.Retained("amq.topic", a.next(), nil)
	defer cursor.Close()
	var t core.Touched
	for e.current.client.Feed(cursor, e.current.publisher, 1, &t) {
		t.Flush()
	}
	t.Flush()
	return nil
}
