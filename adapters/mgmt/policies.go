package mgmt

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"leveret/core"
)

// policyObject is a policy, or an operator policy, in JSON.
func policyObject(d *core.PolicyDef) object {
	return object{
		"vhost": d.VHost, "name": d.Name, "pattern": d.Pattern, "apply-to": d.ApplyTo,
		"definition": json.RawMessage(d.Definition), "priority": d.Priority,
	}
}

// inVHosts lists those items whose virtual host the user may see; of tells an
// item's virtual host and name and makes its JSON.
func inVHosts[T any](c *call, items []T, of func(*T) (vhost, name string, o object)) error {
	vhosts, err := c.vhosts()
	if err != nil {
		return err
	}
	rows := []row{}
	for i := range items {
		vhost, name, o := of(&items[i])
		if slices.ContainsFunc(vhosts, func(v *core.VHost) bool { return v.Name() == vhost }) {
			rows = append(rows, row{vhost, name, func() object { return o }})
		}
	}
	return c.list(rows)
}

func (c *call) listPolicyDefs(all []core.PolicyDef) error {
	return inVHosts(c, all, func(d *core.PolicyDef) (string, string, object) { return d.VHost, d.Name, policyObject(d) })
}

// policyOf finds the policy of the path among all, nil if there is none.
func (c *call) policyOf(all []core.PolicyDef) *core.PolicyDef {
	i := slices.IndexFunc(all, func(d core.PolicyDef) bool { return d.VHost == c.param("vhost") && d.Name == c.param("name") })
	if i < 0 {
		return nil
	}
	return &all[i]
}

func (c *call) onePolicy(all []core.PolicyDef) error {
	if d := c.policyOf(all); d != nil {
		return c.one(policyObject(d))
	}
	return errNotFound
}

func (c *call) putPolicyDef(all []core.PolicyDef, put func(core.PolicyDef) error) error {
	b, err := c.body()
	if err != nil {
		return err
	}
	if err := b.need("pattern", "definition"); err != nil {
		return err
	}
	d := core.PolicyDef{VHost: c.param("vhost"), Name: c.param("name")}
	if d.Pattern, err = b.text("pattern"); err != nil {
		return err
	}
	if d.ApplyTo, err = b.text("apply-to"); err != nil {
		return err
	}
	if b.has("priority") {
		n, err := b.integer("priority")
		if err != nil {
			return err
		}
		d.Priority = int(n)
	}
	definition, err := json.Marshal(b["definition"])
	if err != nil {
		return err
	}
	d.Definition = string(definition)
	existed := c.policyOf(all) != nil
	if err := put(d); err != nil {
		return escaped(err)
	}
	return c.done(!existed)
}

// escaped writes an error of validation as RabbitMQ does: fit for a web page.
func escaped(err error) error {
	var ce *core.Error
	if errors.As(err, &ce) && ce.Kind == core.Invalid {
		return badRequest(strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(ce.Why))
	}
	return err
}

func (c *call) deleted(err error) error {
	if err != nil {
		return notFoundAs404(err)
	}
	return c.done(false)
}

func (c *call) listPolicies() error { return c.listPolicyDefs(c.s.broker.Policies()) }
func (c *call) getPolicy() error    { return c.onePolicy(c.s.broker.Policies()) }
func (c *call) putPolicy() error {
	return c.putPolicyDef(c.s.broker.Policies(), c.acting().PutPolicy)
}
func (c *call) deletePolicy() error {
	return c.deleted(c.acting().ClearPolicy(c.param("vhost"), c.param("name")))
}

func (c *call) listOperatorPolicies() error { return c.listPolicyDefs(c.s.broker.OperatorPolicies()) }
func (c *call) getOperatorPolicy() error    { return c.onePolicy(c.s.broker.OperatorPolicies()) }
func (c *call) putOperatorPolicy() error {
	return c.putPolicyDef(c.s.broker.OperatorPolicies(), c.acting().PutOperatorPolicy)
}
func (c *call) deleteOperatorPolicy() error {
	return c.deleted(c.acting().ClearOperatorPolicy(c.param("vhost"), c.param("name")))
}

// putApplied shows in out what policies apply to a queue or exchange.
func putApplied(out object, p core.AppliedPolicy) {
	out["policy"], out["operator_policy"] = orNull(p.Policy), orNull(p.Operator)
	out["effective_policy_definition"] = tableJSON(p.Effective)
}

// orNull is s, or null if that is empty.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// The component under which RabbitMQ keeps the limits of virtual hosts.
const limitsComponent = "vhost-limits"

func parameterObject(d *core.ParameterDef) object {
	return object{"component": d.Component, "vhost": d.VHost, "name": d.Name, "value": json.RawMessage(d.Value)}
}

// parameters are those of components, with the limits of virtual hosts, which
// are among them in RabbitMQ.
func (c *call) parameters() ([]core.ParameterDef, error) {
	all := c.s.broker.Parameters()
	for _, v := range c.s.broker.VHosts() {
		if limits := v.Limits(); len(limits) > 0 {
			value, err := json.Marshal(limits)
			if err != nil {
				return nil, err
			}
			all = append(all, core.ParameterDef{Component: limitsComponent, VHost: v.Name(), Name: "limits", Value: string(value)})
		}
	}
	if only := c.param("component"); only != "" {
		all = slices.DeleteFunc(all, func(d core.ParameterDef) bool { return d.Component != only })
	}
	return all, nil
}

func (c *call) listParameters() error {
	all, err := c.parameters()
	if err != nil {
		return err
	}
	return inVHosts(c, all, func(d *core.ParameterDef) (string, string, object) { return d.VHost, d.Name, parameterObject(d) })
}

// parameter finds the parameter of the path, nil if there is none.
func (c *call) parameter() (*core.ParameterDef, error) {
	all, err := c.parameters()
	i := slices.IndexFunc(all, func(d core.ParameterDef) bool { return d.VHost == c.param("vhost") && d.Name == c.param("name") })
	if err != nil || i < 0 {
		return nil, err
	}
	return &all[i], nil
}

func (c *call) getParameter() error {
	d, err := c.parameter()
	if err == nil && d == nil {
		err = errNotFound
	}
	if err != nil {
		return err
	}
	return c.one(parameterObject(d))
}

// jsonValue reads {"value": …}.
func (c *call) jsonValue() (json.RawMessage, error) {
	b, err := c.body()
	if err != nil {
		return nil, err
	}
	if err := b.need("value"); err != nil {
		return nil, err
	}
	return json.Marshal(b["value"])
}

func (c *call) putParameter() error {
	value, err := c.jsonValue()
	if err != nil {
		return err
	}
	before, err := c.parameter()
	if err != nil {
		return err
	}
	d := core.ParameterDef{Component: c.param("component"), VHost: c.param("vhost"), Name: c.param("name"), Value: string(value)}
	if !c.overSocket() || c.user.Name != operatorName {
		d.User = c.user.Name
	}
	if err := c.acting().PutParameter(d); err != nil {
		return escaped(err)
	}
	return c.done(before == nil)
}

func (c *call) deleteParameter() error {
	component, vhost := c.param("component"), c.param("vhost")
	if component != limitsComponent {
		return c.deleted(c.acting().ClearParameter(component, vhost, c.param("name")))
	}
	before, err := c.parameter()
	if err != nil {
		return err
	}
	if before == nil {
		return errNotFound
	}
	return c.deleted(errors.Join(
		c.acting().ClearVHostLimit(vhost, core.LimitConnections), c.acting().ClearVHostLimit(vhost, core.LimitQueues)))
}

func globalObject(d *core.GlobalDef) object {
	return object{"name": d.Name, "value": json.RawMessage(d.Value)}
}

func (c *call) listGlobalParameters() error {
	rows := []row{}
	for _, d := range c.s.broker.Globals() {
		rows = append(rows, row{"", d.Name, func() object { return globalObject(&d) }})
	}
	return c.list(rows)
}

func (c *call) getGlobalParameter() error {
	value := c.s.broker.Global(c.param("name"))
	if value == nil {
		return errNotFound
	}
	return c.one(object{"name": c.param("name"), "value": value})
}

func (c *call) putGlobalParameter() error {
	value, err := c.jsonValue()
	if err != nil {
		return err
	}
	existed := c.s.broker.Global(c.param("name")) != nil
	if err := c.acting().SetGlobal(c.param("name"), value); err != nil {
		return err
	}
	return c.done(!existed)
}

func (c *call) deleteGlobalParameter() error {
	return c.deleted(c.acting().ClearGlobal(c.param("name")))
}
