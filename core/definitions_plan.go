package core

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"leveret/core/auth"
	"leveret/core/pattern"
)

// PlanItem is one item of a file of definitions, compared with what is there.
type PlanItem struct {
	Kind   string          `json:"kind"` // "queue", "binding", "user", …
	VHost  string          `json:"vhost,omitempty"`
	Name   string          `json:"name"`
	Value  json.RawMessage `json:"value,omitempty"`  // Of one that is new, or refused.
	Before json.RawMessage `json:"before,omitempty"` // Of one that is to change,
	After  json.RawMessage `json:"after,omitempty"`  // and what it is to be.
	Reason string          `json:"reason,omitempty"` // Why one is refused.
}

// DefinitionsPlan is what an import would do. What is refused stays as it is, or
// is not there after it: ImportDefinitions passes it over.
type DefinitionsPlan struct {
	Add    []PlanItem `json:"add"`
	Change []PlanItem `json:"change"`
	Refuse []PlanItem `json:"refuse"`
	Same   int        `json:"same"`
}

// PlanDefinitions compares a file that ImportDefinitions would take with what is
// declared, and changes nothing. Passwords and their hashes are not shown.
// Errors are Invalid for a file that cannot be read, NotFound for a virtual host
// that is not there.
func (b *Broker) PlanDefinitions(data []byte, vhost string) (*DefinitionsPlan, error) {
	p := planner{
		broker: b, only: vhost, vhosts: make(map[string]*fileVHost), queues: make(map[[2]string]bool), exchanges: make(map[[2]string]*fileExchange),
		plan: DefinitionsPlan{Add: []PlanItem{}, Change: []PlanItem{}, Refuse: []PlanItem{}},
	}
	if len(data) > 0 {
		if err := json.Unmarshal(data, &p.file); err != nil {
			return nil, errorf(Invalid, "definitions are not valid: %v", err)
		}
	}
	if vhost != "" && b.vhost(vhost) == nil {
		return nil, noVHost(vhost)
	}
	p.users()
	p.planVHosts()
	p.permissions()
	p.exchangesOf()
	p.settings()
	p.queuesOf()
	p.bindings()
	return &p.plan, nil
}

type planner struct {
	broker *Broker
	file   definitionsFile
	only   string
	plan   DefinitionsPlan

	// What the file brings, for what refers to it.
	vhosts    map[string]*fileVHost
	usersIn   map[string]bool
	queues    map[[2]string]bool
	exchanges map[[2]string]*fileExchange
}

func planJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("null")
	}
	return b
}

// sameJSON reports whether two values are the same but for the order of names.
func sameJSON(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	plain := func(raw json.RawMessage) []byte {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var v any
		if d.Decode(&v) != nil {
			return raw
		}
		return planJSON(v)
	}
	return bytes.Equal(plain(a), plain(b))
}

func (p *planner) refuse(kind, vhost, name string, value any, why string) {
	p.plan.Refuse = append(p.plan.Refuse, PlanItem{Kind: kind, VHost: vhost, Name: name, Value: planJSON(value), Reason: why})
}

// overwrite plans an item that an import puts in place of what is there, nil for
// nothing.
func (p *planner) overwrite(kind, vhost, name string, is, will any) {
	after := planJSON(will)
	if is == nil {
		p.plan.Add = append(p.plan.Add, PlanItem{Kind: kind, VHost: vhost, Name: name, Value: after})
		return
	}
	before := planJSON(is)
	if sameJSON(before, after) {
		p.plan.Same++
		return
	}
	p.plan.Change = append(p.plan.Change, PlanItem{Kind: kind, VHost: vhost, Name: name, Before: before, After: after})
}

// vhost finds the virtual host that an item names: known says that it is there
// or that the file brings it, v is nil in the latter case.
func (p *planner) vhost(name string) (_ string, v *VHost, known bool) {
	name = cmp.Or(p.only, name)
	v = p.broker.vhost(name)
	return name, v, v != nil || p.vhosts[name] != nil
}

const noSuchVHost = "its virtual host does not exist"

// planUser is a user as a plan shows it.
type planUser struct {
	Name     string     `json:"name"`
	Tags     fileTags   `json:"tags"`
	Limits   fileLimits `json:"limits"`
	Password string     `json:"password,omitempty"`
}

func (p *planner) users() {
	p.usersIn = make(map[string]bool)
	for _, f := range p.file.Users {
		if f.Name == "" {
			p.refuse("user", "", "", planUser{Tags: f.Tags}, "it has no name")
			continue
		}
		p.usersIn[f.Name] = true
		will := planUser{Name: f.Name, Tags: f.Tags, Limits: f.Limits}
		u, there := p.broker.directory.User(f.Name)
		if !there {
			p.overwrite("user", "", f.Name, nil, will)
			continue
		}
		is := planUser{Name: u.Name, Tags: u.Tags, Limits: u.Limits}
		same := f.PasswordHash == u.PasswordHash && cmp.Or(f.Algorithm, auth.SHA256) == cmp.Or(u.Algorithm, auth.SHA256)
		if f.PasswordHash == "" && f.Password != "" {
			_, err := p.broker.directory.Authenticate(f.Name, f.Password)
			same = err == nil
		}
		if !same {
			is.Password, will.Password = "(as it is)", "(another one)"
		}
		p.overwrite("user", "", f.Name, is, will)
	}
}

// planVHost is a virtual host as a plan shows it.
type planVHost struct {
	Name             string     `json:"name"`
	Description      string     `json:"description"`
	Tags             fileTags   `json:"tags"`
	DefaultQueueType string     `json:"default_queue_type"`
	Tracing          bool       `json:"tracing"`
	Limits           fileLimits `json:"limits"`
}

func (p *planner) planVHosts() {
	if p.only != "" {
		return // The form of one virtual host says nothing about that itself but limits.
	}
	for i := range p.file.VHosts {
		f := &p.file.VHosts[i]
		if f.Name == "" {
			p.refuse("vhost", "", "", f, "it has no name")
			continue
		}
		p.vhosts[f.Name] = f
		will := planVHost{f.Name, f.Description, f.Tags, f.DefaultQueueType, f.Tracing, f.Limits}
		if m := f.Metadata; m != nil {
			will.Description, will.Tags = m.Description, m.Tags
			will.DefaultQueueType = cmp.Or(m.DefaultQueueType, will.DefaultQueueType)
		}
		if will.DefaultQueueType == "undefined" {
			will.DefaultQueueType = ""
		}
		v := p.broker.vhost(f.Name)
		if v == nil {
			p.overwrite("vhost", "", f.Name, nil, will)
			continue
		}
		d := v.Definition()
		is := planVHost{d.Name, d.Description, d.Tags, d.DefaultQueueType, d.Tracing, v.Limits()}
		// An import adds limits and takes none away.
		will.Limits = maps.Clone(is.Limits)
		for name, n := range f.Limits {
			if will.Limits == nil {
				will.Limits = fileLimits{}
			}
			will.Limits[name] = n
		}
		p.overwrite("vhost", "", f.Name, is, will)
	}
}

// refers reports whether a permission's user and virtual host will be there.
func (p *planner) refers(kind, user, vhost string, value any) bool {
	if _, ok := p.broker.directory.User(user); !ok && !p.usersIn[user] {
		p.refuse(kind, vhost, user, value, "its user does not exist")
		return false
	}
	if p.broker.vhost(vhost) == nil && p.vhosts[vhost] == nil {
		p.refuse(kind, vhost, user, value, noSuchVHost)
		return false
	}
	return true
}

func (p *planner) permissions() {
	for _, f := range p.file.Permissions {
		why := ""
		for _, expr := range []string{f.Configure, f.Write, f.Read} {
			if _, err := pattern.Compile(expr); err != nil && why == "" {
				why = err.Error()
			}
		}
		if why != "" {
			p.refuse("permission", f.VHost, f.User, f, why)
		} else if p.refers("permission", f.User, f.VHost, f) {
			var is any
			if o, ok := p.broker.directory.Permission(f.User, f.VHost); ok {
				is = filePermission{f.User, f.VHost, o.Configure, o.Write, o.Read}
			}
			p.overwrite("permission", f.VHost, f.User, is, f)
		}
	}
	is := make(map[[3]string]fileTopicPermission)
	for _, o := range p.broker.directory.TopicPermissions() {
		is[[3]string{o.VHost, o.User, o.Exchange}] = fileTopicPermission{o.User, o.VHost, o.Exchange, o.Write, o.Read}
	}
	for _, f := range p.file.TopicPermissions {
		name := f.User + " " + f.Exchange
		if p.refers("topic_permission", f.User, f.VHost, f) {
			if o, ok := is[[3]string{f.VHost, f.User, f.Exchange}]; ok {
				p.overwrite("topic_permission", f.VHost, name, o, f)
			} else {
				p.overwrite("topic_permission", f.VHost, name, nil, f)
			}
		}
	}
}

// planSetting is a policy or parameter as a plan shows it.
type planSetting struct {
	Pattern    string          `json:"pattern"`
	ApplyTo    string          `json:"apply-to"`
	Definition json.RawMessage `json:"definition"`
	Priority   int             `json:"priority"`
}

func (p *planner) settings() {
	b := p.broker
	for _, f := range p.file.GlobalParameters {
		var is any
		for _, g := range settings[GlobalDef](b, DefGlobal) {
			if g.Name == f.Name {
				is = json.RawMessage(g.Value)
			}
		}
		if !json.Valid(f.Value) {
			p.refuse("global_parameter", "", f.Name, nil, "it has no value")
			continue
		}
		p.overwrite("global_parameter", "", f.Name, is, f.Value)
	}
	policies := make(map[settingKey]PolicyDef)
	for _, kind := range []DefinitionKind{DefPolicy, DefOperatorPolicy} {
		for _, d := range settings[PolicyDef](b, kind) {
			policies[settingKey{kind: kind, key: [3]string{d.VHost, d.Name}}] = d
		}
	}
	for _, f := range p.file.Policies {
		p.policy(policies, DefPolicy, "policy", &f)
	}
	parameters := make(map[[3]string]string)
	for _, d := range settings[ParameterDef](b, DefParameter) {
		parameters[[3]string{d.VHost, d.Component, d.Name}] = d.Value
	}
	for _, f := range p.file.Parameters {
		vhost, v, known := p.vhost(f.VHost)
		name := f.Component + " " + f.Name
		switch {
		case !known:
			p.refuse("parameter", vhost, name, f.Value, noSuchVHost)
		case !json.Valid(f.Value):
			p.refuse("parameter", vhost, name, nil, "it has no value")
		case f.Component == componentLimits:
			p.limits(vhost, v, f.Value)
		case f.Component == componentOperatorPolicy:
			var o filePolicy
			if err := json.Unmarshal(f.Value, &o); err != nil {
				p.refuse("operator_policy", vhost, f.Name, f.Value, err.Error())
				continue
			}
			o.Name, o.VHost = f.Name, f.VHost
			p.policy(policies, DefOperatorPolicy, "operator_policy", &o)
		default:
			if check := components[f.Component]; check != nil {
				if err := check(b, ParameterDef{Component: f.Component, VHost: vhost, Name: f.Name, Value: string(f.Value)}); err != nil {
					p.refuse("parameter", vhost, name, f.Value, err.Error())
					continue
				}
			}
			var is any
			if o, ok := parameters[[3]string{vhost, f.Component, f.Name}]; ok {
				is = json.RawMessage(o)
			}
			p.overwrite("parameter", vhost, name, is, f.Value)
		}
	}
	if p.only != "" && len(p.file.Limits) > 0 {
		p.limits(p.only, b.vhost(p.only), planJSON(p.file.Limits))
	}
}

func (p *planner) limits(vhost string, v *VHost, value json.RawMessage) {
	var limits fileLimits
	if err := json.Unmarshal(value, &limits); err != nil {
		p.refuse("vhost_limit", vhost, "limits", value, err.Error())
		return
	}
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		if name != LimitConnections && name != LimitQueues {
			p.refuse("vhost_limit", vhost, name, limits[name], "the limit is not known")
			continue
		}
		var is any
		if v != nil {
			if n, ok := v.Limits()[name]; ok {
				is = n
			}
		}
		p.overwrite("vhost_limit", vhost, name, is, limits[name])
	}
}

func (p *planner) policy(all map[settingKey]PolicyDef, kind DefinitionKind, word string, f *filePolicy) {
	vhost, _, known := p.vhost(f.VHost)
	will := planSetting{f.Pattern, cmp.Or(f.ApplyTo, "all"), f.Definition, f.Priority}
	if !json.Valid(f.Definition) {
		will.Definition = json.RawMessage("null")
	}
	if !known {
		p.refuse(word, vhost, f.Name, will, noSuchVHost)
		return
	}
	var definition map[string]json.RawMessage
	if f.Name == "" || json.Unmarshal(f.Definition, &definition) != nil {
		p.refuse(word, vhost, f.Name, will, "it needs a name, a pattern and a definition")
		return
	}
	if _, err := newPolicy(kind, PolicyDef{
		VHost: vhost, Name: f.Name, Pattern: f.Pattern, ApplyTo: will.ApplyTo, Priority: f.Priority, Definition: string(f.Definition),
	}); err != nil {
		p.refuse(word, vhost, f.Name, will, err.Error())
		return
	}
	var is any
	if d, ok := all[settingKey{kind: kind, key: [3]string{vhost, f.Name}}]; ok {
		is = planSetting{d.Pattern, d.ApplyTo, json.RawMessage(d.Definition), d.Priority}
	}
	p.overwrite(word, vhost, f.Name, is, will)
}

func (p *planner) exchangesOf() {
	for i := range p.file.Exchanges {
		f := &p.file.Exchanges[i]
		if f.Name == "" || reservedName("exchange", f.Name) != nil {
			continue
		}
		vhost, v, known := p.vhost(f.VHost)
		what := "exchange '" + f.Name + "' in vhost '" + vhost + "'"
		durable := f.Durable == nil || *f.Durable
		shown := *f
		shown.VHost, shown.Durable = vhost, &durable
		kind := exchangeTypes[f.Type]
		if !known {
			p.refuse("exchange", vhost, f.Name, shown, noSuchVHost)
			continue
		}
		if kind == nil {
			p.refuse("exchange", vhost, f.Name, shown, "this release does not serve exchange type '"+f.Type+"'")
			continue
		}
		_, _, err := stringArgument(f.Arguments, argAlternateExchange, what)
		if err == nil {
			err = kind.checkArguments(what, f.Arguments)
		}
		if err != nil {
			p.refuse("exchange", vhost, f.Name, shown, err.Error())
			continue
		}
		var x *Exchange
		if v != nil {
			x = v.exchange(f.Name)
		}
		id := [2]string{vhost, f.Name}
		if x != nil {
			if err := x.sameAs(&ExchangeDeclare{Type: f.Type, Durable: durable, AutoDelete: f.AutoDelete, Internal: f.Internal, Arguments: f.Arguments}); err != nil {
				p.refuse("exchange", vhost, f.Name, shown, err.Error())
			} else {
				p.plan.Same++
			}
			continue
		}
		if p.exchanges[id] == nil {
			p.exchanges[id] = f
			p.overwrite("exchange", vhost, f.Name, nil, shown)
		}
	}
}

// declared is what an import would make of f in a virtual host.
func (p *planner) declared(f *fileQueue, vhost string, v *VHost) (d QueueDef, err error) {
	d = QueueDef{VHost: vhost, Name: f.Name, Durable: f.Durable == nil || *f.Durable, AutoDelete: f.AutoDelete, Arguments: f.Arguments}
	what := "queue '" + f.Name + "' in vhost '" + vhost + "'"
	byDefault := QueueType(f.Type)
	if f.Type == "" || checkQueueType(f.Type, nil) != "" {
		byDefault = QueueClassic
		if v != nil {
			byDefault = v.defaultQueueType(&QueueDeclare{Durable: d.Durable, AutoDelete: d.AutoDelete})
		}
	}
	if err = checkQueueArguments(what, d.Arguments, byDefault); err != nil {
		return d, err
	}
	d.Type = queueTypeOf(d.Arguments, byDefault)
	d.Arguments = withQueueType(d.Arguments, d.Type)
	return d, checkQueueProperties(what, &QueueDeclare{Durable: d.Durable, AutoDelete: d.AutoDelete}, d.Type)
}

func (p *planner) queuesOf() {
	for i := range p.file.Queues {
		f := &p.file.Queues[i]
		vhost, v, known := p.vhost(f.VHost)
		d, err := p.declared(f, vhost, v)
		shown := fileQueue{f.Name, vhost, string(d.Type), &d.Durable, d.AutoDelete, d.Arguments}
		switch {
		case !known:
			p.refuse("queue", vhost, f.Name, shown, noSuchVHost)
			continue
		case f.Name == "":
			p.refuse("queue", vhost, "", shown, "it has no name")
			continue
		case err != nil:
			p.refuse("queue", vhost, f.Name, shown, err.Error())
			continue
		}
		id := [2]string{vhost, f.Name}
		var is *destination
		if v != nil {
			is = v.declared(f.Name)
		}
		if is == nil {
			if !p.queues[id] {
				p.queues[id] = true
				p.overwrite("queue", vhost, f.Name, nil, shown)
			}
			continue
		}
		if err := sameAsQueue(v.queueText(f.Name), &d, is.queue.Options()); err != nil {
			p.refuse("queue", vhost, f.Name, shown, err.Error())
		} else {
			p.plan.Same++
		}
	}
}

// sameAsQueue compares a definition with the queue that is there, as a declare
// does.
func sameAsQueue(what string, d *QueueDef, o *QueueOptions) error {
	if o.Exclusive {
		return errors.New("it is exclusive to a connection")
	}
	err := sameField("durable", what, d.Durable, o.Durable)
	if err == nil {
		err = sameField("auto_delete", what, d.AutoDelete, o.AutoDelete)
	}
	if err == nil {
		err = sameQueueArguments(what, d.Arguments, o.Arguments, d.Type, o.Type)
	}
	return err
}

func (p *planner) bindings() {
	seen := make(map[string]bool)
	for i := range p.file.Bindings {
		f := p.file.Bindings[i]
		if f.Source == "" {
			continue
		}
		vhost, v, known := p.vhost(f.VHost)
		f.VHost, f.DestinationType = vhost, cmp.Or(f.DestinationType, "queue")
		name := f.Source + " -> " + f.Destination + " (" + f.RoutingKey + ")"
		if !known {
			p.refuse("binding", vhost, name, f, noSuchVHost)
			continue
		}
		b := Binding{Source: f.Source, Destination: f.Destination, Key: f.RoutingKey, Arguments: f.Arguments}
		switch f.DestinationType {
		case "queue":
		case "exchange":
			b.DestinationKind = ToExchange
		default:
			p.refuse("binding", vhost, name, f, "its destination is neither a queue nor an exchange")
			continue
		}
		source, dest, there := p.ends(vhost, v, &b)
		if !there {
			p.refuse("binding", vhost, name, f, "one of its ends does not exist")
			continue
		}
		if err := source.checkBinding(&b, dest); err != nil {
			p.refuse("binding", vhost, name, f, err.Error())
			continue
		}
		argsID := argumentsID(b.Arguments)
		id := strings.Join(bindingKey(vhost, &b, argsID), "\x00")
		if seen[id] {
			continue
		}
		seen[id] = true
		if dest != nil && v.exchange(b.Source) != nil {
			v.tables.Lock()
			found, _ := dest.bindings.find(b.Source, b.Key, argsID)
			v.tables.Unlock()
			if found != nil {
				p.plan.Same++
				continue
			}
		}
		p.overwrite("binding", vhost, name, nil, f)
	}
}

// ends finds the type of b's source and, if that is there already, its
// destination.
func (p *planner) ends(vhost string, v *VHost, b *Binding) (source exchangeType, dest *destination, there bool) {
	if v != nil {
		if x := v.exchange(b.Source); x != nil {
			source = x.kind
		}
		dest = v.bindingDestination(b)
	}
	if f := p.exchanges[[2]string{vhost, b.Source}]; source == nil && f != nil {
		source = exchangeTypes[f.Type]
	}
	if source == nil {
		for _, d := range predeclared {
			if d.Name == b.Source {
				source = exchangeTypes[d.Type]
			}
		}
	}
	id := [2]string{vhost, b.Destination}
	brought := b.DestinationKind == ToQueue && p.queues[id] || b.DestinationKind == ToExchange && p.exchanges[id] != nil
	return source, dest, source != nil && (dest != nil || brought)
}
