package ctl

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// column is one column of a list: its name for the operator and the dotted
// path of the API's field.
type column struct{ name, field string }

// sortedKeys lists m's keys in order.
func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// choose returns the columns the operator named, or the first n of known.
func choose(known []column, names []string, n int) ([]column, error) {
	if len(names) == 0 {
		return known[:n], nil
	}
	var out []column
	for _, arg := range names {
		for name := range strings.FieldsFuncSeq(arg, func(r rune) bool { return r == ',' || r == ' ' }) {
			i := slices.IndexFunc(known, func(c column) bool { return c.name == name })
			if i < 0 {
				return nil, exitf(exitUsage, "Info key `%s` is not supported. %s", name, columnsHelp(known))
			}
			out = append(out, known[i])
		}
	}
	return out, nil
}

// columnsHelp is what --help says of a list's columns.
func columnsHelp(known []column) string {
	names := make([]string, len(known))
	for i, c := range known {
		names[i] = c.name
	}
	return "Columns: " + strings.Join(names, " ") + "."
}

// fetch gets a list of the API, asking only for the fields of columns.
func (t *tool) fetch(path string, columns []column, more ...string) ([]map[string]any, error) {
	fields := append([]string{}, more...)
	for _, c := range columns {
		fields = append(fields, c.field)
	}
	var list []map[string]any
	err := t.get(path+"?columns="+url.QueryEscape(strings.Join(fields, ",")), &list)
	return list, err
}

// show prints the objects of list that keep, if not nil, agrees to.
func (t *tool) show(list []map[string]any, columns []column, keep func(map[string]any) bool) {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	rows := [][]any{}
	for _, o := range list {
		if keep != nil && !keep(o) {
			continue
		}
		row := make([]any, len(columns))
		for i, c := range columns {
			row[i] = dig(o, c.field)
		}
		rows = append(rows, row)
	}
	t.print.table(names, rows)
}

// listing fetches and shows.
func (t *tool) listing(path string, columns []column, keep func(map[string]any) bool) error {
	list, err := t.fetch(path, columns)
	if err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.show(list, columns, keep)
	return nil
}

// inVHost is listing for what belongs to a virtual host; one that does not
// exist has nothing, as rabbitmqctl sees it.
func (t *tool) inVHost(path string, columns []column) error {
	list, err := t.fetch(path, columns)
	if err != nil && statusOf(err) != http.StatusNotFound {
		return t.explain(err, exitUnavailable)
	}
	t.show(list, columns, nil)
	return nil
}

// dig returns the value at a dotted path, nil where there is none.
func dig(o map[string]any, field string) any {
	v := any(o)
	for name := range strings.SplitSeq(field, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// same makes columns that are called as the API's fields are.
func same(names ...string) []column {
	out := make([]column, len(names))
	for i, n := range names {
		out[i] = column{n, n}
	}
	return out
}

var queueColumns = append(same("name", "messages", "durable", "auto_delete", "arguments", "policy", "operator_policy",
	"effective_policy_definition", "exclusive", "messages_ready", "messages_unacknowledged", "messages_delayed", "messages_leaving", "messages_ram", "messages_ready_ram",
	"messages_unacknowledged_ram", "messages_persistent", "message_bytes", "message_bytes_ready", "message_bytes_unacknowledged",
	"message_bytes_ram", "message_bytes_persistent", "head_message_timestamp", "exclusive_consumer_tag",
	"consumers", "consumer_utilisation", "consumer_capacity", "memory", "state", "type", "leader", "members", "online"),
	column{"pid", "node"}, column{"owner_pid", "owner_pid_details.name"})

type listQueues struct {
	Columns []string `arg:"" name:"column" optional:""`
}

// Help lists the columns.
func (v *listQueues) Help() string { return columnsHelp(queueColumns) }

func (v *listQueues) Run(t *tool) error {
	cols, err := choose(queueColumns, v.Columns, 2)
	if err != nil {
		return err
	}
	t.print.banner("Timeout: %.1f seconds ...", t.http.Timeout.Seconds())
	t.print.banner("Listing queues for vhost %s ...", t.vhost)
	return t.inVHost(path("queues", t.vhost), cols)
}

var exchangeColumns = same("name", "type", "durable", "auto_delete", "internal", "arguments", "policy", "messages_delayed")

type listExchanges struct {
	Columns []string `arg:"" name:"column" optional:""`
}

// Help lists the columns.
func (v *listExchanges) Help() string { return columnsHelp(exchangeColumns) }

func (v *listExchanges) Run(t *tool) error {
	cols, err := choose(exchangeColumns, v.Columns, 2)
	if err != nil {
		return err
	}
	t.print.banner("Listing exchanges for vhost %s ...", t.vhost)
	return t.inVHost(path("exchanges", t.vhost), cols)
}

var bindingColumns = []column{{"source_name", "source"}, {"source_kind", "source_kind"}, {"destination_name", "destination"},
	{"destination_kind", "destination_type"}, {"routing_key", "routing_key"}, {"arguments", "arguments"}, {"vhost", "vhost"}}

type listBindings struct {
	Columns []string `arg:"" name:"column" optional:""`
}

// Help lists the columns.
func (v *listBindings) Help() string { return columnsHelp(bindingColumns) }

func (v *listBindings) Run(t *tool) error {
	cols, err := choose(bindingColumns, v.Columns, 6)
	if err != nil {
		return err
	}
	t.print.banner("Listing bindings for vhost %s...", t.vhost)
	list, err := t.fetch(path("bindings", t.vhost), cols)
	if err != nil && statusOf(err) != http.StatusNotFound {
		return t.explain(err, exitUnavailable)
	}
	for _, b := range list {
		b["source_kind"] = "exchange" // The API does not say so: it is always one.
	}
	t.show(list, cols, nil)
	return nil
}

var consumerColumns = []column{{"queue_name", "queue.name"}, {"channel_pid", "channel_details.name"}, {"consumer_tag", "consumer_tag"},
	{"ack_required", "ack_required"}, {"prefetch_count", "prefetch_count"}, {"active", "active"}, {"arguments", "arguments"},
	{"exclusive", "exclusive"}, {"activity_status", "activity_status"}}

type listConsumers struct {
	Columns []string `arg:"" name:"column" optional:""`
}

// Help lists the columns.
func (v *listConsumers) Help() string { return columnsHelp(consumerColumns) }

func (v *listConsumers) Run(t *tool) error {
	cols, err := choose(consumerColumns, v.Columns, 7)
	if err != nil {
		return err
	}
	t.print.banner("Listing consumers in vhost %s ...", t.vhost)
	return t.inVHost(path("consumers", t.vhost), cols)
}

var connectionColumns = append(same("user", "peer_host", "peer_port", "state", "name", "port", "host", "ssl", "ssl_protocol",
	"ssl_key_exchange", "ssl_cipher", "ssl_hash", "peer_cert_subject", "peer_cert_issuer", "peer_cert_validity", "channels", "protocol",
	"auth_mechanism", "vhost", "timeout", "frame_max", "channel_max", "client_properties", "connected_at", "recv_oct", "recv_cnt",
	"send_oct", "send_cnt", "send_pend", "user_provided_name"), column{"pid", "name"})

type listConnections struct {
	Columns []string `arg:"" name:"column" optional:""`
}

// Help lists the columns.
func (v *listConnections) Help() string { return columnsHelp(connectionColumns) }

func (v *listConnections) Run(t *tool) error {
	cols, err := choose(connectionColumns, v.Columns, 4)
	if err != nil {
		return err
	}
	t.print.banner("Listing connections ...")
	list, err := t.fetch("/connections", cols, "protocol")
	if err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.show(list, cols, func(o map[string]any) bool {
		p, _ := o["protocol"].(string)
		return strings.HasPrefix(p, "AMQP")
	})
	return nil
}

// connectionsOf lists the connections whose protocol begins with name.
func (t *tool) connectionsOf(name string, known []column, names []string, n int) error {
	cols, err := choose(known, names, n)
	if err != nil {
		return err
	}
	t.print.banner("Listing %s connections ...", name)
	list, err := t.fetch("/connections", cols, "protocol")
	if err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.show(list, cols, func(o map[string]any) bool {
		p, _ := o["protocol"].(string)
		return strings.HasPrefix(p, name)
	})
	return nil
}

var mqttColumns = append([]column{{"client_id", "variable_map.client_id"}, {"conn_name", "name"}}, connectionColumns...)

type listMQTTConnections struct {
	Columns []string `arg:"" name:"column" optional:""`
}

// Help lists the columns.
func (v *listMQTTConnections) Help() string { return columnsHelp(mqttColumns) }

func (v *listMQTTConnections) Run(t *tool) error {
	return t.connectionsOf("MQTT", mqttColumns, v.Columns, 2)
}

var stompColumns = append([]column{{"conn_name", "name"}}, connectionColumns...)

type listSTOMPConnections struct {
	Columns []string `arg:"" name:"column" optional:""`
}

// Help lists the columns.
func (v *listSTOMPConnections) Help() string { return columnsHelp(stompColumns) }

func (v *listSTOMPConnections) Run(t *tool) error {
	return t.connectionsOf("STOMP", stompColumns, v.Columns, 1)
}

// listUnresponsive asks for the queues' counts within --timeout, which all
// answer or none.
type listUnresponsive struct{}

func (v *listUnresponsive) Run(t *tool) error {
	t.print.banner("Listing unresponsive queues for vhost %s ...", t.vhost)
	_, err := t.fetch(path("queues", t.vhost), same("name", "messages"))
	return t.explain(err, exitUnavailable)
}

var channelColumns = append([]column{{"pid", "name"}}, append(same("user", "consumer_count", "messages_unacknowledged", "name", "number",
	"vhost", "transactional", "confirm", "messages_uncommitted", "acks_uncommitted", "messages_unconfirmed", "prefetch_count",
	"global_prefetch_count", "state"), column{"connection", "connection_details.name"})...)

type listChannels struct {
	Columns []string `arg:"" name:"column" optional:""`
}

// Help lists the columns.
func (v *listChannels) Help() string { return columnsHelp(channelColumns) }

func (v *listChannels) Run(t *tool) error {
	cols, err := choose(channelColumns, v.Columns, 4)
	if err != nil {
		return err
	}
	t.print.banner("Listing channels ...")
	return t.listing("/channels", cols, nil)
}
