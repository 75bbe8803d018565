package ctl

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
)

// jsonArgument is an argument that must be JSON.
func jsonArgument(text string) (json.RawMessage, error) {
	if !json.Valid([]byte(text)) {
		return nil, exitf(exitUnavailable, "Could not parse JSON document: %q", text)
	}
	return json.RawMessage(text), nil
}

// policyArguments are those of set_policy and set_operator_policy.
type policyArguments struct {
	Name       string `arg:"" name:"name"`
	Pattern    string `arg:"" name:"pattern" help:"A regular expression that names match."`
	Definition string `arg:"" name:"definition" help:"A JSON object of settings."`
	Priority   int    `name:"priority" default:"0" placeholder:"N" help:"The policy of the highest priority counts. [0]"`
	ApplyTo    string `name:"apply-to" default:"all" placeholder:"KIND" help:"queues, classic_queues, quorum_queues, streams, exchanges or all. [all]"`
}

func (v *policyArguments) put(t *tool, resource, what string) error {
	t.print.banner("Setting %s \"%s\" for pattern \"%s\" to \"%s\" with priority \"%d\" for vhost \"%s\" ...",
		what, v.Name, v.Pattern, v.Definition, v.Priority, t.vhost)
	definition, err := jsonArgument(v.Definition)
	if err != nil {
		return err
	}
	err = t.put(path(resource, t.vhost, v.Name), map[string]any{
		"pattern": v.Pattern, "definition": definition, "priority": v.Priority, "apply-to": v.ApplyTo,
	})
	return t.inThisVHost(err)
}

// inThisVHost explains an error of a verb that needs the virtual host.
func (t *tool) inThisVHost(err error) error {
	if statusOf(err) == http.StatusNotFound {
		return noVHost(t.vhost, exitUnavailable)
	}
	return t.explain(err, exitUnavailable)
}

// clear deletes a policy or parameter.
func (t *tool) clear(path, what string) error {
	err := t.delete(path)
	if statusOf(err) == http.StatusNotFound {
		return exitf(exitUnavailable, "%s does not exist", what)
	}
	return t.explain(err, exitUnavailable)
}

var policyColumns = same("vhost", "name", "pattern", "apply-to", "definition", "priority")

// listPolicyRows prints policies by ascending priority, as rabbitmqctl does.
func (t *tool) listPolicyRows(resource string) error {
	list, err := t.fetch(path(resource, t.vhost), policyColumns)
	if err != nil {
		return t.inThisVHost(err)
	}
	slices.SortStableFunc(list, func(a, b map[string]any) int {
		return cmp.Compare(number(a["priority"]), number(b["priority"]))
	})
	t.jsonTexts(list, "definition")
	t.show(list, policyColumns, nil)
	return nil
}

func number(v any) int64 {
	n, _ := v.(json.Number)
	i, err := n.Int64()
	if err != nil {
		return 0
	}
	return i
}

// jsonTexts has a field printed as JSON in tables too.
func (t *tool) jsonTexts(list []map[string]any, field string) {
	if t.print.format != "json" {
		for _, o := range list {
			o[field] = string(compact(o[field]))
		}
	}
}

type setPolicy struct{ policyArguments }

func (v *setPolicy) Run(t *tool) error { return v.put(t, "policies", "policy") }

type setOperatorPolicy struct{ policyArguments }

func (v *setOperatorPolicy) Run(t *tool) error {
	return v.put(t, "operator-policies", "operator policy override")
}

type clearPolicy struct {
	Name string `arg:"" name:"name"`
}

func (v *clearPolicy) Run(t *tool) error {
	t.print.banner("Clearing policy \"%s\" on vhost \"%s\" ...", v.Name, t.vhost)
	return t.clear(path("policies", t.vhost, v.Name), "Policy \""+v.Name+"\"")
}

type clearOperatorPolicy struct {
	Name string `arg:"" name:"name"`
}

func (v *clearOperatorPolicy) Run(t *tool) error {
	t.print.banner("Clearing operator policy \"%s\" on vhost \"%s\" ...", v.Name, t.vhost)
	return t.clear(path("operator-policies", t.vhost, v.Name), "Operator policy \""+v.Name+"\"")
}

type listPolicies struct{}

func (v *listPolicies) Run(t *tool) error {
	t.print.banner("Listing policies for vhost \"%s\" ...", t.vhost)
	return t.listPolicyRows("policies")
}

type listOperatorPolicies struct{}

func (v *listOperatorPolicies) Run(t *tool) error {
	t.print.banner("Listing operator policy overrides for vhost \"%s\" ...", t.vhost)
	return t.listPolicyRows("operator-policies")
}

type setParameter struct {
	Component string `arg:"" name:"component"`
	Name      string `arg:"" name:"name"`
	Value     string `arg:"" name:"value" help:"JSON."`
}

func (v *setParameter) Run(t *tool) error {
	t.print.banner("Setting runtime parameter \"%s\" for component \"%s\" to \"%s\" in vhost \"%s\" ...", v.Name, v.Component, v.Value, t.vhost)
	value, err := jsonArgument(v.Value)
	if err != nil {
		return err
	}
	return t.inThisVHost(t.put(path("parameters", v.Component, t.vhost, v.Name), map[string]any{"value": value}))
}

type clearParameter struct {
	Component string `arg:"" name:"component"`
	Name      string `arg:"" name:"name"`
}

func (v *clearParameter) Run(t *tool) error {
	t.print.banner("Clearing runtime parameter \"%s\" for component \"%s\" on vhost \"%s\" ...", v.Name, v.Component, t.vhost)
	return t.clear(path("parameters", v.Component, t.vhost, v.Name), "Parameter \""+v.Name+"\"")
}

type listParameters struct{}

func (v *listParameters) Run(t *tool) error {
	t.print.banner("Listing runtime parameters for vhost \"%s\" ...", t.vhost)
	cols := same("component", "name", "value")
	list, err := t.fetch("/parameters", cols, "vhost")
	if err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.jsonTexts(list, "value")
	t.show(list, cols, func(o map[string]any) bool { return o["vhost"] == t.vhost })
	return nil
}

type setGlobalParameter struct {
	Name  string `arg:"" name:"name"`
	Value string `arg:"" name:"value" help:"JSON."`
}

func (v *setGlobalParameter) Run(t *tool) error {
	t.print.banner("Setting global runtime parameter \"%s\" to \"%s\" ...", v.Name, v.Value)
	value, err := jsonArgument(v.Value)
	if err != nil {
		return err
	}
	return t.explain(t.put(path("global-parameters", v.Name), map[string]any{"value": value}), exitUnavailable)
}

type clearGlobalParameter struct {
	Name string `arg:"" name:"name"`
}

func (v *clearGlobalParameter) Run(t *tool) error {
	t.print.banner("Clearing global runtime parameter \"%s\" ...", v.Name)
	return t.clear(path("global-parameters", v.Name), "Global parameter \""+v.Name+"\"")
}

type listGlobalParameters struct{}

func (v *listGlobalParameters) Run(t *tool) error {
	t.print.banner("Listing global runtime parameters ...")
	cols := same("name", "value")
	list, err := t.fetch("/global-parameters", cols)
	if err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.jsonTexts(list, "value")
	t.show(list, cols, nil)
	return nil
}
