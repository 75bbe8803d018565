package core

import (
	"encoding/json"
	"fmt"

	"leveret/core/auth"
	"leveret/core/pattern"
)

// Components of parameters that mean something here.
const (
	componentLimits         = "vhost-limits"
	componentOperatorPolicy = "operator_policy"
)

// ImportReport says what an import did not take, or took without effect.
type ImportReport struct {
	// Skipped has a sentence for each item that this release cannot serve, or
	// whose ends do not exist. They are not there after the import.
	Skipped []string
	// Idle has a sentence for each item that is kept, and exported again, but
	// that this release does not act upon.
	Idle []string
}

// ImportDefinitions adds what data, a file in RabbitMQ's format, declares: to
// the whole broker or, with a name, to one virtual host, which items need not
// name then. Users, virtual hosts, permissions, policies and parameters are
// overwritten; queues, exchanges and bindings that exist stay as they are.
// Nothing is deleted. It is not atomic: after an error, which is Invalid or
// NotFound for what is wrong with the file, what came before is there.
func (b Operator) ImportDefinitions(data []byte, vhost string) (ImportReport, error) {
	im := importer{broker: b, only: vhost, swept: make(map[*VHost]bool)}
	defer func() {
		for v := range im.swept {
			v.sweep()
		}
	}()
	if len(data) > 0 {
		if err := json.Unmarshal(data, &im.file); err != nil {
			return ImportReport{}, errorf(Invalid, "definitions are not valid: %v", err)
		}
	}
	if vhost != "" && b.vhost(vhost) == nil {
		return ImportReport{}, noVHost(vhost)
	}
	for _, step := range []func() error{
		im.users, im.vhosts, im.permissions, im.exchanges, im.topicPermissions,
		im.globals, im.policies, im.parameters, im.queues, im.bindings,
	} {
		if err := step(); err != nil {
			return im.report, err
		}
	}
	return im.report, nil
}

// importBatch is how many queues or bindings are committed at once.
const importBatch = 1000

type importer struct {
	broker Operator
	file   definitionsFile
	only   string // The one virtual host that is imported into, or "".
	report ImportReport
	swept  map[*VHost]bool // Whose policies have changed.
}

func (im *importer) skip(format string, args ...any) {
	im.report.Skipped = append(im.report.Skipped, fmt.Sprintf(format, args...))
}

func (im *importer) idle(format string, args ...any) {
	im.report.Idle = append(im.report.Idle, fmt.Sprintf(format, args...))
}

// vhost finds the virtual host that an item names.
func (im *importer) vhost(name string) (*VHost, error) {
	if im.only != "" {
		name = im.only
	}
	v := im.broker.vhost(name)
	if v == nil {
		return nil, errorf(Invalid, "vhost '%s' of a definition does not exist", name)
	}
	return v, nil
}

func (im *importer) users() error {
	for _, u := range im.file.Users {
		if u.Password != "" && u.PasswordHash == "" {
			hash, err := auth.HashPassword(u.Password, u.Algorithm)
			if err != nil {
				return errorf(Invalid, "user '%s': %v", u.Name, err)
			}
			u.PasswordHash = hash
		}
		err := im.broker.PutUser(auth.User{
			Name: u.Name, PasswordHash: u.PasswordHash, Algorithm: u.Algorithm, Tags: u.Tags, Limits: u.Limits,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (im *importer) vhosts() error {
	for _, f := range im.file.VHosts {
		d := VHostDef{Name: f.Name, Description: f.Description, Tags: f.Tags, DefaultQueueType: f.DefaultQueueType, Tracing: f.Tracing}
		if m := f.Metadata; m != nil {
			d.Description, d.Tags, d.Protected = m.Description, m.Tags, m.Protected
			if m.DefaultQueueType != "" {
				d.DefaultQueueType = m.DefaultQueueType
			}
		}
		if d.DefaultQueueType == "undefined" {
			d.DefaultQueueType = ""
		}
		if err := im.broker.PutVHost(d); err != nil {
			return err
		}
		if err := im.limits(f.Name, f.Limits); err != nil {
			return err
		}
	}
	if im.only != "" {
		return im.limits(im.only, im.file.Limits)
	}
	return nil
}

func (im *importer) limits(vhost string, limits fileLimits) error {
	for limit, n := range limits {
		if limit != LimitConnections && limit != LimitQueues {
			im.skip("limit '%s' of vhost '%s' is not known", limit, vhost)
			continue
		}
		if err := im.broker.SetVHostLimit(vhost, limit, n); err != nil {
			return err
		}
	}
	return nil
}

func (im *importer) permissions() error {
	for _, p := range im.file.Permissions {
		if err := im.broker.SetPermission(p.User, p.VHost, auth.Permission{Configure: p.Configure, Write: p.Write, Read: p.Read}); err != nil {
			return invalid(err)
		}
	}
	return nil
}

func (im *importer) topicPermissions() error {
	for _, p := range im.file.TopicPermissions {
		if err := im.broker.SetTopicPermission(p.User, p.VHost, auth.TopicPermission{Exchange: p.Exchange, Write: p.Write, Read: p.Read}); err != nil {
			return invalid(err)
		}
	}
	return nil
}

// invalid turns NotFound, of something that the file names, into Invalid.
func invalid(err error) error {
	if e, ok := err.(*Error); ok && e.Kind == NotFound {
		return &Error{Invalid, e.Why}
	}
	return err
}

func (im *importer) globals() error {
	for _, g := range im.file.GlobalParameters {
		if err := im.broker.SetGlobal(g.Name, g.Value); err != nil {
			return err
		}
	}
	return nil
}

func (im *importer) policies() error {
	for _, p := range im.file.Policies {
		if err := im.policy(DefPolicy, "policy", &p); err != nil {
			return err
		}
	}
	return nil
}

func (im *importer) policy(kind DefinitionKind, word string, p *filePolicy) error {
	v, err := im.vhost(p.VHost)
	if err != nil {
		return err
	}
	var definition map[string]json.RawMessage
	if p.Name == "" || json.Unmarshal(p.Definition, &definition) != nil {
		return errorf(Invalid, "%s '%s' in vhost '%s' needs a name, a pattern and a definition", word, p.Name, v.name)
	}
	if _, err := pattern.Compile(p.Pattern); err != nil {
		return errorf(Invalid, "%s '%s' in vhost '%s': %v", word, p.Name, v.name, err)
	}
	if p.ApplyTo == "" {
		p.ApplyTo = "all"
	}
	d := PolicyDef{
		VHost: v.name, Name: p.Name, Pattern: p.Pattern, ApplyTo: p.ApplyTo,
		Priority: p.Priority, Definition: string(p.Definition),
	}
	if _, err := newPolicy(kind, d); err != nil {
		im.skip("%s '%s' in vhost '%s': %v", word, p.Name, v.name, err)
		return nil
	}
	im.swept[v] = true
	return im.broker.putSetting(kind, v.name, d, v.name, p.Name)
}

// owner is whom parameters that are imported act for: the user who imports them,
// or, with "", the operator.
func (im *importer) owner() string {
	if _, ok := im.broker.directory.User(im.broker.user); !ok {
		return ""
	}
	return im.broker.user
}

func (im *importer) parameters() error {
	for _, p := range im.file.Parameters {
		v, err := im.vhost(p.VHost)
		if err != nil {
			return err
		}
		switch p.Component {
		case componentLimits:
			var limits fileLimits
			if err := json.Unmarshal(p.Value, &limits); err != nil {
				return errorf(Invalid, "limits of vhost '%s': %v", v.name, err)
			}
			err = im.limits(v.name, limits)
		case componentOperatorPolicy:
			var o filePolicy
			if err := json.Unmarshal(p.Value, &o); err != nil {
				return errorf(Invalid, "operator policy '%s' in vhost '%s': %v", p.Name, v.name, err)
			}
			o.Name, o.VHost = p.Name, p.VHost
			err = im.policy(DefOperatorPolicy, "operator policy", &o)
		default:
			if !json.Valid(p.Value) {
				return errorf(Invalid, "parameter '%s' of component '%s' in vhost '%s' has no value", p.Name, p.Component, v.name)
			}
			d := ParameterDef{Component: p.Component, VHost: v.name, Name: p.Name, Value: string(p.Value), User: im.owner()}
			if check := components[p.Component]; check == nil {
				im.idle("parameter '%s' in vhost '%s' is kept, but this release has no component '%s' yet", p.Name, v.name, p.Component)
			} else if err := check(im.broker.Broker, d); err != nil {
				im.skip("parameter '%s' of component '%s' in vhost '%s': %v", p.Name, p.Component, v.name, err)
				continue
			}
			err = im.broker.commit(Change{
				Kind: DefParameter, Key: []string{p.Component, v.name, p.Name}, Was: AnyRevision, Value: d,
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (im *importer) exchanges() error {
	for _, f := range im.file.Exchanges {
		v, err := im.vhost(f.VHost)
		if err != nil {
			return err
		}
		switch {
		case f.Name == "" || reservedName("exchange", f.Name) != nil:
			continue
		case f.Type == "":
			return errorf(Invalid, "%s has no type", v.exchangeText(f.Name))
		case exchangeTypes[f.Type] == nil:
			im.skip("%s: this release does not serve exchange type '%s'", v.exchangeText(f.Name), f.Type)
			continue
		}
		if _, _, err := stringArgument(f.Arguments, argAlternateExchange, v.exchangeText(f.Name)); err != nil {
			return err
		}
		if err := exchangeTypes[f.Type].checkArguments(v.exchangeText(f.Name), f.Arguments); err != nil {
			return err
		}
		durable := f.Durable == nil || *f.Durable
		if err := im.makeExchange(v, ExchangeDef{
			VHost: v.name, Name: f.Name, Type: f.Type, Durable: durable,
			AutoDelete: f.AutoDelete, Internal: f.Internal, Arguments: f.Arguments,
		}); err != nil {
			return err
		}
	}
	return nil
}

// makeExchange declares an exchange unless there is one of that name.
func (im *importer) makeExchange(v *VHost, d ExchangeDef) error {
	defer v.lockName(d.Name)()
	if err := v.gone(); err != nil {
		return err
	}
	if v.exchange(d.Name) != nil {
		return nil
	}
	return v.putExchange(d, im.broker.user)
}

func (im *importer) queues() error {
	byVHost := make(map[*VHost][]QueueDef)
	for _, f := range im.file.Queues {
		v, err := im.vhost(f.VHost)
		if err != nil {
			return err
		}
		if f.Name == "" {
			return errorf(Invalid, "a queue in vhost '%s' has no name", v.name)
		}
		d := QueueDef{
			VHost: v.name, Name: f.Name, Type: QueueClassic, Durable: f.Durable == nil || *f.Durable,
			AutoDelete: f.AutoDelete, Arguments: f.Arguments,
		}
		what := v.queueText(f.Name)
		byDefault := QueueType(f.Type)
		if f.Type == "" || checkQueueType(f.Type, nil) != "" {
			byDefault = v.defaultQueueType(&QueueDeclare{Durable: d.Durable, AutoDelete: d.AutoDelete})
		}
		err = checkQueueArguments(what, d.Arguments, byDefault)
		d.Type = queueTypeOf(d.Arguments, byDefault)
		d.Arguments = withQueueType(d.Arguments, d.Type)
		if err == nil {
			err = checkQueueProperties(what, &QueueDeclare{Durable: d.Durable, AutoDelete: d.AutoDelete}, d.Type)
		}
		if err != nil {
			im.skip("%s: %v", what, err)
			continue
		}
		if byVHost[v] = append(byVHost[v], d); len(byVHost[v]) == importBatch {
			if err := im.makeQueues(v, byVHost[v]); err != nil {
				return err
			}
			byVHost[v] = byVHost[v][:0]
		}
	}
	for v, ds := range byVHost {
		if err := im.makeQueues(v, ds); err != nil {
			return err
		}
	}
	return nil
}

// makeQueues declares those of ds whose names are free, in one commit.
func (im *importer) makeQueues(v *VHost, ds []QueueDef) error {
	v.topology.Lock()
	defer v.topology.Unlock()
	if err := v.gone(); err != nil {
		return err
	}
	var changes []Change
	added := make(map[string]bool)
	for _, d := range ds {
		if added[d.Name] || v.destination(d.Name) != nil {
			continue
		}
		if limit := v.maxQueues.Load(); limit >= 0 && v.queueCount.Load()+int64(len(added)) >= limit {
			return errorf(Limit, "cannot declare queue '%s': queue limit in vhost '%s' (%d) is reached", d.Name, v.name, limit)
		}
		id, err := v.broker.definitions.NextQueueID()
		if err != nil {
			return errorf(Unavailable, "the broker cannot number the queue: %v", err)
		}
		added[d.Name], d.ID = true, id
		changes = append(changes, v.queueChanges(d)...)
	}
	return im.broker.commit(changes...)
}

func (im *importer) bindings() error {
	byVHost := make(map[*VHost][]Binding)
	for _, f := range im.file.Bindings {
		v, err := im.vhost(f.VHost)
		if err != nil {
			return err
		}
		bi := Binding{Source: f.Source, Destination: f.Destination, Key: f.RoutingKey, Arguments: f.Arguments}
		switch f.DestinationType {
		case "queue", "":
		case "exchange":
			bi.DestinationKind = ToExchange
		default:
			return errorf(Invalid, "unknown destination type '%s' of a binding in vhost '%s'", f.DestinationType, v.name)
		}
		if bi.Source == "" {
			continue // Every queue is bound to the default exchange.
		}
		if byVHost[v] = append(byVHost[v], bi); len(byVHost[v]) == importBatch {
			if err := im.makeBindings(v, byVHost[v]); err != nil {
				return err
			}
			byVHost[v] = byVHost[v][:0]
		}
	}
	for v, bs := range byVHost {
		if err := im.makeBindings(v, bs); err != nil {
			return err
		}
	}
	return nil
}

// makeBindings makes those of bs that do not exist, in one commit.
func (im *importer) makeBindings(v *VHost, bs []Binding) error {
	var histories []*recentHistory
	defer func() {
		for _, h := range histories {
			h.bound()
		}
	}()
	v.topology.Lock()
	defer v.topology.Unlock()
	if err := v.gone(); err != nil {
		return err
	}
	var changes []Change
	added := make(map[string]bool)
	for _, b := range bs {
		source, dest := v.exchange(b.Source), v.bindingDestination(&b)
		if source == nil || dest == nil {
			im.skip("binding from exchange '%s' to '%s' with key '%s' in vhost '%s': one of its ends does not exist", b.Source, b.Destination, b.Key, v.name)
			continue
		}
		if err := source.kind.checkBinding(&b, dest); err != nil {
			return err
		}
		argsID := argumentsID(b.Arguments)
		key := bindingKey(v.name, &b, argsID)
		id := string(appendDefinitionKey(nil, DefBinding, key))
		v.tables.Lock()
		found, _ := dest.bindings.find(b.Source, b.Key, argsID)
		v.tables.Unlock()
		if found == nil && !added[id] {
			added[id] = true
			if source.history != nil {
				histories = append(histories, source.history)
			}
			changes = append(changes, Change{
				Kind: DefBinding, Key: key, Value: BindingDef{VHost: v.name, Binding: b},
				Transient: !(source.durable && dest.durable),
			})
		}
	}
	return im.broker.commit(changes...)
}
