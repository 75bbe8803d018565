package mgmt

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"leveret/core"
)

// erlang are fields about Erlang's processes and RabbitMQ's own storage, which
// have no meaning here.
var erlang = []string{
	"garbage_collection", "reductions", "reductions_details", "backing_queue_status", "recv_cnt", "send_cnt", "send_pend",
	"pending_raft_commands", "ra_open_file_metrics", "metrics_gc_queue_length", "cowboy_opts", "ssl_opts",
	"backlog", "linger", "exit_on_close", "sendfile",
}

// TestShapes holds our objects against RabbitMQ's: each field that it has is
// there and of the same JSON type, but for the ones named.
func TestShapes(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/work", `{}`)
	f.want(201, "PUT", "/api/exchanges/%2F/orders", `{"type":"topic"}`)
	f.want(201, "POST", "/api/bindings/%2F/e/orders/q/work", `{"routing_key":"a.b","arguments":{"x-k":"v"}}`)
	s := f.session("admin", "/")
	row := addConnection(f, s, "127.0.0.1:1 -> 127.0.0.1:5672")
	consume(f, s, "work", "ctag-work")
	f.want(200, "POST", "/api/exchanges/%2F/orders/publish", `{"properties":{},"routing_key":"a.b","payload":"x","payload_encoding":"string"}`)
	f.server.rates.look(time.Now())

	for _, c := range []struct {
		file, path string // Of the fixture and the object in it; of our answer.
		at, ours   string
		absent     string // Further fields that we do not have.
	}{
		{"queues.json", "/api/queues/%2F/work", "0", "", "message_bytes_persistent exclusive_consumer_tag head_message_timestamp slave_nodes synchronised_slave_nodes recoverable_slaves"},
		{"overview.json", "/api/overview", "", "", "disk_reads disk_reads_details disk_writes disk_writes_details"},
		{"nodes.json", "/api/nodes", "0", "0", "sockets_total context_switches* io_read_count* io_read_avg* io_write_count* io_write_avg* io_sync* io_seek* io_reopen* mnesia_* msg_store_* queue_index_*"},
		{"bindings.json", "/api/bindings/%2F/e/orders/q/work", "5", "0", ""},
		{"admin_objects.json", "/api/users", "users.0", "0", ""},
		{"admin_objects.json", "/api/vhosts", "vhosts.0", "0", "confirm confirm_details drop_unroutable drop_unroutable_details return_unroutable return_unroutable_details"},
		{"admin_objects.json", "/api/permissions/%2F/admin", "permissions.0", "", ""},
		{"admin_objects.json", "/api/whoami", "whoami", "", ""},
		{"admin_objects.json", "/api/exchanges/%2F/orders", "exchanges.3", "", "user_who_performed_action"},
		{"connections.json", "/api/connections", "2", "0", "peer_cert_* ssl_*"},
		{"channels.json", "/api/channels", "1", "0", "deliver deliver_* get get_* redeliver redeliver_details"},
		{"consumers.json", "/api/consumers", "2", "0", ""},
		{"queues_page.json", "/api/queues?page=1&columns=name,vhost,messages,messages_details", "", "", ""},
	} {
		t.Run(c.file+c.path, func(t *testing.T) {
			var file any
			readFixture(t, c.file, &file)
			want := at(t, file, c.at)
			got := at(t, f.want(200, "GET", c.path, ""), c.ours)
			absent := append(slices.Clone(erlang), strings.Fields(c.absent)...)
			for _, problem := range compareShapes(want, got, "", absent) {
				t.Error(problem)
			}
		})
	}
	row.Remove()
}

// at walks to a place in decoded JSON, such as "users.0".
func at(t *testing.T, v any, path string) any {
	t.Helper()
	for name := range strings.SplitSeq(path, ".") {
		switch w := v.(type) {
		case []any:
			var i int
			if _, err := fmt.Sscan(name, &i); err != nil || i >= len(w) {
				t.Fatalf("no element %s in a list of %d", name, len(w))
			}
			v = w[i]
		case map[string]any:
			if name != "" {
				v = w[name]
			}
		}
	}
	return v
}

func isAbsent(name string, absent []string) bool {
	return slices.ContainsFunc(absent, func(a string) bool {
		prefix, star := strings.CutSuffix(a, "*")
		return a == name || star && strings.HasPrefix(name, prefix)
	})
}

// compareShapes lists fields of want that got lacks or has of another type.
func compareShapes(want, got any, at string, absent []string) (problems []string) {
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %T, want an object", at, got)}
		}
		for k, v := range want {
			if isAbsent(k, absent) || strings.Contains(k, "@") || at == ".arguments" || strings.HasSuffix(at, "client_properties") || strings.HasSuffix(at, "policy_definition") {
				continue
			}
			if _, ok := g[k]; !ok {
				problems = append(problems, fmt.Sprintf("%s.%s is missing", at, k))
				continue
			}
			problems = append(problems, compareShapes(v, g[k], at+"."+k, absent)...)
		}
	case []any:
		g, ok := got.([]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %T, want a list", at, got)}
		}
		if len(want) > 0 && len(g) > 0 {
			problems = compareShapes(want[0], g[0], at+"[0]", absent)
		}
	case nil:
	default:
		if got != nil && fmt.Sprintf("%T", got) != fmt.Sprintf("%T", want) || got == nil && !strings.HasSuffix(at, "policy") {
			return []string{fmt.Sprintf("%s is %T, want %T", at, got, want)}
		}
	}
	return problems
}

// addConnection shows a connection with a channel as the AMQP adapter does.
func addConnection(f *fixture, s *core.Session, name string) *core.Row {
	row := f.broker.Registry().Add(core.RowOptions{
		Kind: rowConnection, Name: name, Session: s,
		Attributes: func() map[string]any {
			return map[string]any{
				"protocol": "AMQP 0-9-1", "type": "network", "state": "running", "user": s.User().Name, "vhost": s.VHost().Name(),
				"host": "127.0.0.1", "port": 5672, "peer_host": "127.0.0.1", "peer_port": 1, "ssl": false, "channels": int64(1),
				"channel_max": uint16(2047), "frame_max": uint32(131072), "timeout": uint16(60), "auth_mechanism": "PLAIN",
				"connected_at": int64(1795231467775), "client_properties": map[string]any{"product": "test"}, "user_provided_name": "loader",
			}
		},
		Counters: func() map[string]uint64 { return map[string]uint64{"recv_oct": 100, "send_oct": 200} },
	})
	channel := f.broker.Registry().Add(core.RowOptions{
		Kind: rowChannel, Name: name + " (1)", Session: s, Parent: row,
		Attributes: func() map[string]any {
			return map[string]any{
				"number": uint16(1), "state": "running", "user": s.User().Name, "vhost": s.VHost().Name(), "prefetch_count": int32(10),
				"global_prefetch_count": int32(0), "messages_unacknowledged": 0, "messages_unconfirmed": uint64(0), "messages_uncommitted": 0,
				"acks_uncommitted": 0, "confirm": false, "transactional": false, "consumer_count": int32(1),
			}
		},
		Counters: func() map[string]uint64 { return map[string]uint64{"publish": 1, "ack": 1, "deliver_get": 1} },
	})
	f.t.Cleanup(func() { channel.Remove(); row.Remove() })
	return row
}
