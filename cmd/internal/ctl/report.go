package ctl

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

type listListeners struct{}

func (v *listListeners) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	open, err := t.listeners()
	if err != nil {
		return err
	}
	if t.print.format == "json" {
		rows := []map[string]any{}
		for _, l := range open {
			rows = append(rows, l.object(node))
		}
		t.print.document(map[string]any{"listeners": rows, "node": node, "result": "ok"})
		return nil
	}
	t.print.banner("Asking node %s to report its protocol listeners ...", node)
	for _, l := range open {
		t.print.line("I%s", l.text()[1:])
	}
	return nil
}

type serverVersion struct{}

func (v *serverVersion) Run(t *tool) error {
	var o overview
	if err := t.get("/overview", &o); err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.print.banner("Asking node %s for its RabbitMQ version...", o.Node)
	t.print.line("%s", o.RabbitVersion)
	return nil
}

type memoryBreakdown struct {
	Unit string `name:"unit" default:"gb" enum:"bytes,kb,mb,gb,tb" placeholder:"UNIT" help:"bytes, kb, mb, gb or tb. [gb]"`
}

// memoryUnits are powers of ten, as rabbitmqctl has them.
var memoryUnits = map[string]float64{"bytes": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}

func (v *memoryBreakdown) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	var answer struct {
		Memory json.RawMessage `json:"memory"`
	}
	if err := t.get(path("nodes", node, "memory"), &answer); err != nil {
		return t.explain(err, exitUnavailable)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(answer.Memory, &keys); err != nil {
		return exitf(exitUnavailable, "the broker does not tell what its memory is used for")
	}
	type share struct {
		name  string
		bytes float64
	}
	var shares []share
	var sum float64
	for name, raw := range keys {
		var n float64
		if json.Unmarshal(raw, &n) == nil { // total is an object.
			shares = append(shares, share{name, n})
			sum += n
		}
	}
	slices.SortFunc(shares, func(a, b share) int { return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.name, b.name)) })
	percent := func(n float64) float64 { return 100 * n / max(sum, 1) }
	if t.print.format == "json" {
		out := map[string]any{}
		for _, s := range shares {
			out[s.name] = map[string]any{"bytes": s.bytes, "percentage": percent(s.bytes)}
		}
		t.print.document(out)
		return nil
	}
	t.print.banner("Reporting memory breakdown on node %s...", node)
	for _, s := range shares {
		t.print.line("%s: %.4f %s (%.2f%%)", s.name, s.bytes/memoryUnits[v.Unit], v.Unit, percent(s.bytes))
	}
	return nil
}

type clusterStatus struct{}

func (v *clusterStatus) Run(t *tool) error {
	var o overview
	if err := t.get("/overview", &o); err != nil {
		return t.explain(err, exitUnavailable)
	}
	alarms, err := t.alarms()
	if err != nil {
		return err
	}
	maintenance := "not under maintenance"
	if t.health("is-in-service", nil) != nil {
		maintenance = "marked for maintenance"
	}
	if t.print.format == "json" {
		listeners, set := []map[string]any{}, []string{}
		for _, l := range o.Listeners {
			listeners = append(listeners, l.object(o.Node))
		}
		for _, a := range alarms {
			set = append(set, a.Resource)
		}
		t.print.document(map[string]any{
			"cluster_name": o.ClusterName, "disk_nodes": []string{o.Node}, "ram_nodes": []string{}, "running_nodes": []string{o.Node},
			"partitions": map[string]any{}, "alarms": set, "maintenance_status": map[string]any{o.Node: maintenance},
			"listeners": map[string]any{o.Node: listeners},
			"versions":  map[string]any{o.Node: map[string]any{"rabbitmq_name": "RabbitMQ", "rabbitmq_version": o.RabbitVersion, "erlang_version": o.Runtime}},
		})
		return nil
	}
	t.print.banner("Cluster status of node %s ...", o.Node)
	t.print.line("Basics\n\nCluster name: %s\n\nDisk Nodes\n\n%s\n\nRunning Nodes\n\n%s", o.ClusterName, o.Node, o.Node)
	t.print.line("\nVersions\n\n%s: %s %s, for clients RabbitMQ %s", o.Node, o.ProductName, o.ProductVersion, o.RabbitVersion)
	t.print.line("\nMaintenance status\n\nNode: %s, status: %s", o.Node, maintenance)
	t.print.line("\nAlarms\n")
	if len(alarms) == 0 {
		t.print.line("(none)")
	}
	for _, a := range alarms {
		t.print.line("%s: %s", a.Resource, a.Reason)
	}
	t.print.line("\nNetwork Partitions\n\n(none)\n\nListeners\n")
	for _, l := range o.Listeners {
		t.print.line("Node: %s, %s", o.Node, l.text())
	}
	return nil
}

type showEnvironment struct{}

func (v *showEnvironment) Run(t *tool) error {
	var settings json.RawMessage
	if err := t.get("/config/effective", &settings); err != nil {
		return t.explain(err, exitUnavailable)
	}
	if t.print.format == "json" {
		t.print.line("%s", settings)
		return nil
	}
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("Application environment of node %s ...", node)
	var rows []map[string]any
	if err := json.Unmarshal(settings, &rows); err != nil {
		return exitf(exitUnavailable, "the broker's settings cannot be read: %v", err)
	}
	for _, r := range rows {
		from := text(r["origin"])
		if source, ok := r["source"]; ok {
			from += ": " + text(source)
		}
		t.print.line("%s = %s    # %s", text(r["name"]), text(r["value"]), from)
	}
	return nil
}

// report is what one sends with a question: every list, one after the other.
type report struct{}

func (v *report) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.line("Reporting server status of node %s ...\n", node)
	var vhosts []struct {
		Name string `json:"name"`
	}
	if err := t.get("/vhosts", &vhosts); err != nil {
		return t.explain(err, exitUnavailable)
	}
	part := func(title string, run func(*tool) error) {
		t.print.line("\n%s\n%s", title, strings.Repeat("-", len(title)))
		if err := run(t); err != nil {
			t.print.line("(%v)", err)
		}
	}
	part("Status", (&status{}).Run)
	part("Cluster", (&clusterStatus{}).Run)
	part("Memory", (&memoryBreakdown{Unit: "gb"}).Run)
	part("Settings", (&showEnvironment{}).Run)
	part("Connections", (&listConnections{Columns: []string{"pid", "user", "vhost", "state", "channels", "client_properties"}}).Run)
	part("MQTT connections", (&listMQTTConnections{}).Run)
	part("STOMP connections", (&listSTOMPConnections{}).Run)
	part("Channels", (&listChannels{}).Run)
	was := t.vhost
	for _, vhost := range vhosts {
		t.vhost = vhost.Name
		in := " in vhost " + printable(vhost.Name)
		part("Queues"+in, (&listQueues{Columns: []string{"name", "type", "durable", "arguments", "policy", "messages_ready", "messages_unacknowledged", "consumers", "memory", "state"}}).Run)
		part("Exchanges"+in, (&listExchanges{Columns: []string{"name", "type", "durable", "auto_delete", "internal", "arguments", "policy"}}).Run)
		part("Bindings"+in, (&listBindings{}).Run)
		part("Consumers"+in, (&listConsumers{}).Run)
		part("Permissions"+in, (&listPermissions{}).Run)
		part("Policies"+in, (&listPolicies{}).Run)
		part("Operator policies"+in, (&listOperatorPolicies{}).Run)
		part("Parameters"+in, (&listParameters{}).Run)
	}
	t.vhost = was
	part("Users", (&listUsers{}).Run)
	part("Feature flags", (&listFeatureFlags{}).Run)
	t.print.line("\nEnd of server status report")
	return nil
}
