package core

import (
	"cmp"
	"encoding/json"
	"slices"
)

// settingKey names a policy, operator policy, parameter or global parameter:
// its kind and the parts of its key.
type settingKey struct {
	kind DefinitionKind
	key  [3]string
}

func keyOfSetting(kind DefinitionKind, key []string) settingKey {
	k := settingKey{kind: kind}
	copy(k.key[:], key)
	return k
}

// vhostOf returns the virtual host that a setting belongs to, "" for none.
func (k settingKey) vhostOf() string {
	switch k.kind {
	case DefPolicy, DefOperatorPolicy:
		return k.key[0]
	case DefParameter:
		return k.key[1]
	}
	return ""
}

func (k settingKey) parts() []string {
	switch k.kind {
	case DefPolicy, DefOperatorPolicy:
		return k.key[:2]
	case DefParameter:
		return k.key[:3]
	}
	return k.key[:1]
}

// applySetting keeps a setting for those who list it.
func (b *Broker) applySetting(c *Change) {
	b.stored.Lock()
	defer b.stored.Unlock()
	k := keyOfSetting(c.Kind, c.Key)
	if c.Value == nil {
		delete(b.stored.settings, k)
	} else {
		b.stored.settings[k] = c.Value
	}
	if c.Kind == DefParameter {
		if changed := b.stored.changed[k.key[0]]; changed != nil {
			changed()
		}
	}
}

// settingChanges removes the settings of a virtual host.
func (b *Broker) settingChanges(vhost string) []Change {
	b.stored.RLock()
	defer b.stored.RUnlock()
	var changes []Change
	for k := range b.stored.settings {
		if k.kind != DefGlobal && k.vhostOf() == vhost {
			changes = append(changes, Change{Kind: k.kind, Key: k.parts(), Was: AnyRevision})
		}
	}
	return changes
}

// validSetting refuses what no setting may be: nameless, or no JSON.
func validSetting(what, name string, value json.RawMessage) error {
	if name == "" || !json.Valid(value) {
		return errorf(Invalid, "%s needs a name and a value", what)
	}
	return nil
}

// SetGlobal sets a parameter of the whole broker, such as cluster_name.
func (b Operator) SetGlobal(name string, value json.RawMessage) error {
	if err := validSetting("a global parameter", name, value); err != nil {
		return err
	}
	return b.commit(Change{Kind: DefGlobal, Key: []string{name}, Value: GlobalDef{name, string(value)}, Was: AnyRevision})
}

// Global returns a parameter of the whole broker as JSON, nil if it is not set.
func (b *Broker) Global(name string) json.RawMessage {
	b.stored.RLock()
	defer b.stored.RUnlock()
	if g, ok := b.stored.settings[keyOfSetting(DefGlobal, []string{name})].(GlobalDef); ok {
		return json.RawMessage(g.Value)
	}
	return nil
}

// ClearGlobal removes a parameter of the whole broker. It is NotFound if there
// is none.
func (b Operator) ClearGlobal(name string) error { return b.clearSetting(DefGlobal, name) }

// Globals lists the parameters of the whole broker by name.
func (b *Broker) Globals() []GlobalDef { return settings[GlobalDef](b, DefGlobal) }

// parameterComponents are those whose parameters are kept. What they ask for
// is done if the component is registered; if not, they come out of other brokers,
// and go back there.
var parameterComponents = []string{"shovel", "federation-upstream", "federation-upstream-set", "federation"}

// components are those that act upon their parameters, with what refuses one.
var components = map[string]func(*Broker, ParameterDef) error{}

// RegisterComponent says that there is a component that acts upon parameters.
// check refuses, with an error of kind Invalid, those that it cannot act upon;
// nothing is stored then. Call it from an init function.
func RegisterComponent(name string, check func(*Broker, ParameterDef) error) {
	if components[name] != nil {
		panic("core: component registered twice")
	}
	components[name] = check
}

// OnParameters has changed called after each change of a component's parameters,
// in whatever way they changed; nil ends that. changed must neither block nor
// call the broker.
func (b *Broker) OnParameters(component string, changed func()) {
	b.stored.Lock()
	defer b.stored.Unlock()
	if b.stored.changed == nil {
		b.stored.changed = make(map[string]func())
	}
	b.stored.changed[component] = changed
}

// Parameter returns a parameter of a component.
func (b *Broker) Parameter(component, vhost, name string) (ParameterDef, bool) {
	b.stored.RLock()
	defer b.stored.RUnlock()
	d, ok := b.stored.settings[keyOfSetting(DefParameter, []string{component, vhost, name})].(ParameterDef)
	return d, ok
}

// PutParameter creates or replaces a parameter of a component. Of vhost-limits
// it sets the limits.
func (b Operator) PutParameter(d ParameterDef) error {
	if err := validSetting("a parameter", d.Name, json.RawMessage(d.Value)); err != nil {
		return err
	}
	switch {
	case d.Component == "policy" || d.Component == componentOperatorPolicy:
		return errorf(Invalid, "policies may not be set using this method")
	case d.Component == componentLimits:
		var limits fileLimits
		if err := json.Unmarshal([]byte(d.Value), &limits); err != nil {
			return errorf(Invalid, "Validation failed\n\nlimits of vhost '%s': %v\n", d.VHost, err)
		}
		for limit, n := range limits {
			if err := b.SetVHostLimit(d.VHost, limit, n); err != nil {
				return err
			}
		}
		return nil
	case !slices.Contains(parameterComponents, d.Component):
		return errorf(Invalid, "Validation failed\n\ncomponent %s not found\n", d.Component)
	}
	if b.vhost(d.VHost) == nil {
		return noVHost(d.VHost)
	}
	if check := components[d.Component]; check != nil {
		if err := check(b.Broker, d); err != nil {
			return err
		}
	}
	return b.putSetting(DefParameter, d.VHost, d, d.Component, d.VHost, d.Name)
}

// ClearParameter removes a parameter of a component. It is NotFound if there is
// none.
func (b Operator) ClearParameter(component, vhost, name string) error {
	return b.clearSetting(DefParameter, component, vhost, name)
}

// Parameters lists the parameters of components by component, virtual host and
// name.
func (b *Broker) Parameters() []ParameterDef { return settings[ParameterDef](b, DefParameter) }

// PutPolicy creates or replaces a policy. When it returns, all queues and
// exchanges of the virtual host are under it. An empty ApplyTo means all.
// Errors are Invalid, in RabbitMQ's words, or NotFound for the virtual host.
func (b Operator) PutPolicy(d PolicyDef) error { return b.putPolicy(DefPolicy, d) }

// PutOperatorPolicy is PutPolicy for operator policies.
func (b Operator) PutOperatorPolicy(d PolicyDef) error { return b.putPolicy(DefOperatorPolicy, d) }

func (b Operator) putPolicy(kind DefinitionKind, d PolicyDef) error {
	if d.ApplyTo == "" {
		d.ApplyTo = "all"
	}
	if err := validSetting("a policy", d.Name, json.RawMessage(d.Definition)); err != nil {
		return err
	}
	if _, err := newPolicy(kind, d); err != nil {
		return err
	}
	if err := b.putSetting(kind, d.VHost, d, d.VHost, d.Name); err != nil {
		return err
	}
	b.policiesInForce(d.VHost)
	return nil
}

// ClearPolicy removes a policy. It is NotFound if there is none.
func (b Operator) ClearPolicy(vhost, name string) error {
	err := b.clearSetting(DefPolicy, vhost, name)
	b.policiesInForce(vhost)
	return err
}

// ClearOperatorPolicy removes an operator policy. It is NotFound if there is
// none.
func (b Operator) ClearOperatorPolicy(vhost, name string) error {
	err := b.clearSetting(DefOperatorPolicy, vhost, name)
	b.policiesInForce(vhost)
	return err
}

// Policies lists the policies of every virtual host by virtual host and name.
func (b *Broker) Policies() []PolicyDef { return settings[PolicyDef](b, DefPolicy) }

// OperatorPolicies lists the operator policies of every virtual host by virtual
// host and name.
func (b *Broker) OperatorPolicies() []PolicyDef { return settings[PolicyDef](b, DefOperatorPolicy) }

// policiesInForce waits until a virtual host's policies are.
func (b *Broker) policiesInForce(vhost string) {
	if v := b.vhost(vhost); v != nil {
		v.sweep()
	}
}

// putSetting stores what belongs to a virtual host.
func (b Operator) putSetting(kind DefinitionKind, vhost string, value any, key ...string) error {
	b.changing.Lock()
	defer b.changing.Unlock()
	if b.vhost(vhost) == nil {
		return noVHost(vhost)
	}
	return b.commit(Change{Kind: kind, Key: key, Value: value, Was: AnyRevision})
}

func (b Operator) clearSetting(kind DefinitionKind, key ...string) error {
	b.changing.Lock()
	defer b.changing.Unlock()
	b.stored.RLock()
	_, ok := b.stored.settings[keyOfSetting(kind, key)]
	b.stored.RUnlock()
	if !ok {
		return errorf(NotFound, "%s does not exist", key[len(key)-1])
	}
	return b.commit(Change{Kind: kind, Key: key, Was: AnyRevision})
}

// settings lists the stored values of a kind, by key.
func settings[T any](b *Broker, kind DefinitionKind) []T {
	b.stored.RLock()
	defer b.stored.RUnlock()
	var keys []settingKey
	for k := range b.stored.settings {
		if k.kind == kind {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(x, y settingKey) int {
		return cmp.Or(cmp.Compare(x.key[0], y.key[0]), cmp.Compare(x.key[1], y.key[1]), cmp.Compare(x.key[2], y.key[2]))
	})
	values := make([]T, 0, len(keys))
	for _, k := range keys {
		values = append(values, b.stored.settings[k].(T))
	}
	return values
}
