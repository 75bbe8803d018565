package coretest

import (
	"encoding/json"
	"fmt"
	"strings"

	"leveret/core"
)

// vhost makes a virtual host.
func (e *Env) vhost(a *arguments) error {
	d := core.VHostDef{Name: a.next(), DefaultQueueType: a.value("default", "")}
	return e.Broker.PutVHost(d)
}

// info says more about a queue than show, as operators see it.
func (e *Env) info(a *arguments) error {
	name := a.next()
	q, ok := e.current.session.VHost().Queue(name)
	if !ok {
		e.say("no queue %s", name)
		return nil
	}
	i := q.Info()
	known := map[string]any{
		"type": q.Options().Type, "arguments": q.Options().Arguments, "stored": i.Persistent,
	}
	var said []string
	for _, field := range a.words {
		v, ok := known[field]
		if !ok {
			e.tb.Fatalf("info: unknown field %s", field)
		}
		text, err := json.Marshal(v)
		if err != nil {
			e.tb.Fatal(err)
		}
		said = append(said, fmt.Sprintf("%s %s", field, strings.Trim(string(text), `"`)))
	}
	e.say("%s: %s", name, strings.Join(said, ", "))
	return nil
}
