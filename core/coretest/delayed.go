package coretest

import (
	"strconv"
	"time"

	"leveret/core"
)

// The verbs about messages that an exchange delays. They are named by their
// place in the list that "delayed" prints.

func init() {
	commands["delayed"] = (*Env).delayed
	commands["retime"] = (*Env).retime
	commands["cancel-delayed"] = (*Env).cancelDelayed
}

// delayed prints what an exchange delays, by due time.
func (e *Env) delayed(a *arguments) error {
	x, _ := e.current.session.VHost().Exchange(a.next())
	i := x.Info()
	e.say("%s: delayed %d, bytes %d", x.Name(), i.Delayed, i.DelayedBytes)
	for _, m := range x.Delayed(core.DelayedID{}, 100) {
		e.say("%s: due in %v, bytes %d", x.Name(), time.Duration(m.ID.DueMS-e.Broker.Now())*time.Millisecond, m.BodyBytes)
	}
	return nil
}

func (e *Env) delayedID(x *core.Exchange, a *arguments) core.DelayedID {
	n, err := strconv.Atoi(a.next())
	list := x.Delayed(core.DelayedID{}, n)
	if err != nil || n < 1 || len(list) < n {
		e.tb.Fatalf("no such delayed message: %v", err)
	}
	return list[n-1].ID
}

func (e *Env) cancelDelayed(a *arguments) error {
	x, _ := e.current.session.VHost().Exchange(a.next())
	return x.CancelDelayed(e.delayedID(x, a))
}

func (e *Env) retime(a *arguments) error {
	x, _ := e.current.session.VHost().Exchange(a.next())
	id := e.delayedID(x, a)
	d, err := time.ParseDuration(a.next())
	if err != nil {
		e.tb.Fatal(err)
	}
	_, err = x.RetimeDelayed(id, e.Broker.Now()+d.Milliseconds())
	return err
}
