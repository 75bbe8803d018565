package core

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"leveret/core/auth"
)

// compatibleVersion is the release of RabbitMQ that definitions are written for.
const compatibleVersion = "4.3.0"

// ExportDefinitions returns everything declared as RabbitMQ's tools write and
// read it: of the whole broker or, with a name, of one virtual host. Exclusive
// and direct queues, predeclared exchanges and bindings to the default exchange
// are left out. Passwords are in it as hashes.
func (b *Broker) ExportDefinitions(vhost string) ([]byte, error) {
	f := definitionsFile{
		RabbitVersion: compatibleVersion, RabbitMQVersion: compatibleVersion,
		ProductName: "Leveret", Format: "cluster",
		Parameters: []fileParameter{}, Policies: []filePolicy{}, Queues: []fileQueue{},
		Exchanges: []fileExchange{}, Bindings: []fileBinding{},
	}
	if vhost != "" {
		v := b.vhost(vhost)
		if v == nil {
			return nil, noVHost(vhost)
		}
		d := v.Definition()
		f.Format, f.VHostName, f.Description = "single_virtual_host", vhost, d.Description
		f.Explanation = "Definitions of virtual host '" + vhost + "'"
		f.Metadata, f.Limits = metadataOf(d), v.Limits()
		f.addVHost(v, "")
	} else {
		f.ClusterName = b.node
		f.Explanation = "Definitions of cluster '" + b.node + "'"
		f.addAccess(b)
		for _, v := range b.VHosts() {
			d := v.Definition()
			f.VHosts = append(f.VHosts, fileVHost{
				Name: d.Name, Description: d.Description, Tags: d.Tags, DefaultQueueType: d.DefaultQueueType,
				Tracing: d.Tracing, Limits: v.Limits(), Metadata: metadataOf(d),
			})
			f.addVHost(v, v.name)
		}
		for _, g := range settings[GlobalDef](b, DefGlobal) {
			f.GlobalParameters = append(f.GlobalParameters, fileParameter{Name: g.Name, Value: json.RawMessage(g.Value)})
		}
	}
	return json.MarshalIndent(f, "", "  ")
}

func metadataOf(d VHostDef) *vhostMetadata {
	return &vhostMetadata{Description: d.Description, Tags: d.Tags, DefaultQueueType: d.DefaultQueueType, Protected: d.Protected}
}

func (f *definitionsFile) addAccess(b *Broker) {
	for _, u := range b.directory.Users() {
		f.Users = append(f.Users, fileUser{
			Name: u.Name, PasswordHash: u.PasswordHash, Algorithm: cmp.Or(u.Algorithm, auth.SHA256),
			Tags: u.Tags, Limits: maps.Clone(u.Limits),
		})
	}
	for _, p := range b.directory.Permissions() {
		f.Permissions = append(f.Permissions, filePermission{p.User, p.VHost, p.Configure, p.Write, p.Read})
	}
	for _, p := range b.directory.TopicPermissions() {
		f.TopicPermissions = append(f.TopicPermissions, fileTopicPermission{p.User, p.VHost, p.Exchange, p.Write, p.Read})
	}
}

// addVHost adds what is in v. The items name their virtual host as shown.
func (f *definitionsFile) addVHost(v *VHost, shown string) {
	if limits := v.Limits(); len(limits) > 0 {
		value, _ := json.Marshal(limits)
		f.Parameters = append(f.Parameters, fileParameter{Value: value, VHost: shown, Component: componentLimits, Name: "limits"})
	}
	for _, p := range settings[ParameterDef](v.broker, DefParameter) {
		if p.VHost == v.name {
			f.Parameters = append(f.Parameters, fileParameter{json.RawMessage(p.Value), shown, p.Component, p.Name})
		}
	}
	for _, p := range settings[PolicyDef](v.broker, DefOperatorPolicy) {
		if p.VHost == v.name {
			value, _ := json.Marshal(filePolicy{
				Pattern: p.Pattern, ApplyTo: p.ApplyTo, Definition: json.RawMessage(p.Definition), Priority: p.Priority,
			})
			f.Parameters = append(f.Parameters, fileParameter{value, shown, componentOperatorPolicy, p.Name})
		}
	}
	for _, p := range settings[PolicyDef](v.broker, DefPolicy) {
		if p.VHost == v.name {
			f.Policies = append(f.Policies, filePolicy{shown, p.Name, p.Pattern, p.ApplyTo, json.RawMessage(p.Definition), p.Priority})
		}
	}
	f.addTopology(v, shown)
}

func (f *definitionsFile) addTopology(v *VHost, shown string) {
	for _, q := range slices.SortedFunc(v.Queues(), func(x, y Queue) int { return strings.Compare(x.Options().Name, y.Options().Name) }) {
		if o := q.Options(); o.exported() {
			f.Queues = append(f.Queues, fileQueue{o.Name, shown, string(o.Type), &o.Durable, o.AutoDelete, o.Arguments})
		}
	}
	for _, x := range slices.SortedFunc(v.Exchanges(), func(x, y *Exchange) int { return strings.Compare(x.name, y.name) }) {
		if x.name != "" && reservedName("exchange", x.name) == nil {
			f.Exchanges = append(f.Exchanges, fileExchange{x.name, shown, x.typ, &x.durable, x.autoDelete, x.internal, x.arguments})
		}
	}
	bindings := v.Bindings(BindingFilter{})
	slices.SortFunc(bindings, func(x, y Binding) int {
		return cmp.Or(strings.Compare(x.Source, y.Source), strings.Compare(x.Destination, y.Destination), strings.Compare(x.Key, y.Key))
	})
	for _, bi := range bindings {
		kind := "queue"
		if bi.DestinationKind == ToExchange {
			kind = "exchange"
		} else if q, ok := v.Queue(bi.Destination); !ok || !q.Options().exported() {
			continue
		}
		if bi.Source != "" {
			f.Bindings = append(f.Bindings, fileBinding{bi.Source, shown, bi.Destination, kind, bi.Key, bi.Arguments})
		}
	}
}

// exported reports whether a queue can be declared elsewhere as it is.
func (o *QueueOptions) exported() bool { return !o.Exclusive && o.Type != QueueDirect }
