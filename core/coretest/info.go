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
	policy := e.current.session.VHost().QueuePolicy(q)
	known := map[string]any{
		"type": q.Options().Type, "arguments": q.Options().Arguments, "stored": i.Persistent,
		"policy": policy.Policy, "operator-policy": policy.Operator, "effective": policy.Effective,
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

// vhostName names the current session's virtual host.
func (e *Env) vhostName() string { return e.current.session.VHost().Name() }

// policy sets a policy.
func (e *Env) policy(a *arguments) error { return e.Broker.PutPolicy(e.policyOf(a)) }

// operatorPolicy sets an operator policy.
func (e *Env) operatorPolicy(a *arguments) error { return e.Broker.PutOperatorPolicy(e.policyOf(a)) }

func (e *Env) policyOf(a *arguments) core.PolicyDef {
	d := core.PolicyDef{VHost: e.vhostName(), ApplyTo: a.value("to", ""), Priority: a.number("priority", 0)}
	definition, err := json.Marshal(a.table(""))
	if err != nil {
		e.tb.Fatal(err)
	}
	d.Name, d.Pattern, d.Definition = a.next(), a.next(), string(definition)
	return d
}

// exchangeInfo says which policies apply to an exchange.
func (e *Env) exchangeInfo(a *arguments) error {
	name := a.next()
	x, ok := e.current.session.VHost().Exchange(name)
	if !ok {
		e.say("no exchange %s", name)
		return nil
	}
	p := x.Info().Policy
	text, err := json.Marshal(p.Effective)
	if err != nil {
		e.tb.Fatal(err)
	}
	e.say("%s: policy %q, effective %s", name, p.Policy, text)
	return nil
}
