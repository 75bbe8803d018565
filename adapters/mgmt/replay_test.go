package mgmt

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"leveret/core"
)

// recorded is a row of status_codes.json: what RabbitMQ 3.10 answered.
type recorded struct {
	Method, Path, User, Body, Headers string
	Status                            int
	Response                          any
}

// TestRecordedAnswers replays what RabbitMQ was asked, in order, and compares
// status and body. Where we answer otherwise on purpose, differences says what
// and why.
func TestRecordedAnswers(t *testing.T) {
	f := newFixture(t)
	furnish(f)
	var rows []recorded
	readFixture(t, "status_codes.json", &rows)
	used := map[string]bool{}
	served := 0
	for i, r := range rows {
		if why := skipped(&r); why != "" {
			continue
		}
		served++
		key := strings.TrimSpace(r.Method + " " + r.Path + " " + r.Body)
		if d, ok := differences[key]; ok && (d.user == "" || d.user == r.User) {
			used[key] = true
			r.Status = d.status
			r.Response = nil
			if d.body != "" {
				if err := json.Unmarshal([]byte(d.body), &r.Response); err != nil {
					t.Fatalf("%s: %v", key, err)
				}
			}
		}
		name := fmt.Sprintf("%d %s as %s", i, key, r.User)
		user := r.User
		if user == "nobody" {
			user = ""
		}
		a := f.do(r.Method, r.Path, user, r.Body)
		if a.status != r.Status {
			t.Errorf("%s: status %d, want %d: %s", name, a.status, r.Status, a.body)
			continue
		}
		checkHeaders(t, name, a, r.Headers)
		if r.Response == nil {
			continue
		}
		if len(a.body) == 0 {
			t.Errorf("%s: no body, want %v", name, r.Response)
		} else if miss := missing(r.Response, a.json(t), ""); miss != "" {
			t.Errorf("%s: %s\n got %s", name, miss, a.body)
		}
	}
	for key := range differences {
		if !used[key] {
			t.Errorf("differences has %q, which was not asked", key)
		}
	}
	if served < 180 {
		t.Errorf("only %d rows were replayed", served)
	}
}

// furnish makes the users, queues and exchanges that the rows take for granted.
func furnish(f *fixture) {
	f.t.Helper()
	f.user("u_none")
	f.user("u_management", "management")
	f.user("u_monitoring", "monitoring")
	f.user("u_policymaker", "policymaker")
	f.must(f.broker.PutVHost(core.VHostDef{Name: "shop"}))
	f.must(f.broker.PutVHost(core.VHostDef{Name: "ctv"}))
	f.must(f.broker.SetPermission("admin", "shop", all))
	mine := all
	mine.Configure = "^u_.*"
	for _, u := range []string{"u_management", "u_monitoring", "u_policymaker"} {
		f.must(f.broker.SetPermission(u, "/", mine))
	}
	f.want(201, "PUT", "/api/queues/%2F/q.classic", `{}`)
	f.want(201, "PUT", "/api/queues/%2F/q.empty", `{}`)
	f.want(201, "PUT", "/api/queues/%2F/q.stream", `{"arguments":{"x-queue-type":"stream"}}`)
	f.want(201, "PUT", "/api/queues/%2F/work", `{}`)
	f.want(200, "POST", "/api/exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"q.classic","payload":"x","payload_encoding":"string"}`)
	f.want(204, "PUT", "/api/cluster-name", `{"name":"test-cluster"}`)
	consume(f, f.session("admin", "/"), "work", "ctag-work")
}

// skipped says why a row is not asked, "" if it is.
func skipped(r *recorded) string {
	for part, why := range map[string]string{
		"/cli": "no command line tool is offered for download", "/api/connections?page=1": "recorded with four connections",
		"/api/shovels": "recorded with one, see package shovel's tests", "/api/auth/attempts": "it counts the logins of the recording",
		"127.0.0.1%3A49634": "recorded with that connection", "protocol-listener/mqtt": "recorded with that listener",
		"/api/nodes?columns=mem_alarm": "recorded with another machine's memory",
	} {
		if strings.Contains(r.Path, part) {
			return why
		}
	}
	if r.Status == 503 && strings.Contains(r.Path, "alarms") {
		return "recorded with an alarm, which TestAlarm raises"
	}
	return ""
}

// checkHeaders compares the headers that were recorded, "name: value" each.
func checkHeaders(t *testing.T, name string, a *answer, want string) {
	t.Helper()
	header, value, ok := strings.Cut(want, ": ")
	if ok && a.header.Get(header) != value {
		t.Errorf("%s: header %s is %q, want %q", name, header, a.header.Get(header), value)
	}
}

// missing compares got with want, which may have less fields, and describes
// the first difference.
func missing(want, got any, at string) string {
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is no object", at)
		}
		for k, v := range want {
			if _, ok := g[k]; !ok {
				return fmt.Sprintf("%s.%s is missing", at, k)
			}
			if m := missing(v, g[k], at+"."+k); m != "" {
				return m
			}
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(want) {
			return fmt.Sprintf("%s is not a list of %d", at, len(want))
		}
		for i := range want {
			if m := missing(want[i], g[i], fmt.Sprintf("%s[%d]", at, i)); m != "" {
				return m
			}
		}
	default:
		if strings.HasSuffix(at, ".password_hash") && got != nil {
			return "" // Salted anew each time.
		}
		if want != got {
			return fmt.Sprintf("%s is %v, want %v", at, got, want)
		}
	}
	return ""
}

// difference is an answer of ours that is not RabbitMQ 3.10's.
type difference struct {
	user   string // Only when this user asks.
	status int
	body   string
	why    string
}

var differences = map[string]difference{
	"GET /api/global-parameters": {
		status: 200, body: `[{"name":"cluster_name","value":"test-cluster"}]`, why: "there is no id of a cluster",
	},
	`PUT /api/policies/v1/p4 {"pattern":"(","definition":{"max-length":10}}`: {
		status: 400, body: `{"error":"bad_request"}`, why: "our engine for regular expressions has its own words",
	},
	`PUT /api/policies/v1/p6 {"pattern":"q","definition":{"max-length":1},"apply-to":"foo"}`: {
		status: 400,
		body:   `{"error":"bad_request","reason":"Validation failed\n\napply-to 'foo' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', 'exchanges', or 'all'\n"}`,
		why:    "as RabbitMQ 4",
	},
	"GET /api/queues/%2F/n3?columns=name,durable,auto_delete,type,node,arguments": {
		status: 200, body: `{"arguments":{},"auto_delete":false,"durable":true,"name":"n3","node":"rabbit@localhost","type":"classic"}`,
		why: "a queue put without saying so is durable, as RabbitMQ 4 has it",
	},
	"GET /api/exchanges/%2F/e1": {
		status: 200, body: `{"arguments":{},"auto_delete":false,"durable":true,"incoming":[],"internal":false,"name":"e1","outgoing":[],"type":"direct","vhost":"/"}`,
		why: "we do not keep who declared something",
	},
	`POST /api/queues/%2F/m1/get {"count":1,"ackmode":"ack_requeue_true","encoding":"base64"}`: {
		status: 200, body: `[{"payload_bytes":2,"redelivered":false,"exchange":"","routing_key":"m1","message_count":1,"properties":{},"payload":"aGk=","payload_encoding":"base64"}]`,
		why: "no properties are {}; redelivered is only what was delivered before",
	},
	`POST /api/queues/%2F/m1/get {"count":1,"ackmode":"reject_requeue_false","encoding":"auto"}`: {
		status: 200, body: `[{"payload_bytes":2,"redelivered":true,"exchange":"","routing_key":"m1","message_count":1,"properties":{},"payload":"hi","payload_encoding":"string"}]`,
		why: "no properties are {}",
	},
	`POST /api/queues/%2F/m1/get {"count":100,"ackmode":"ack_requeue_false","encoding":"auto"}`: {
		status: 200, body: `[{"payload_bytes":2,"redelivered":false,"exchange":"","routing_key":"m1","message_count":0,"properties":{},"payload":"hi","payload_encoding":"string"}]`,
		why: "no properties are {}; redelivered is only what was delivered before",
	},
	`PUT /api/permissions/%2F/bob {"configure":"(","write":".*","read":".*"}`: {
		status: 400, body: `{"error":"bad_request"}`, why: "the reason is a text, not lists of its characters",
	},
	"GET /api/vhosts/v2": {
		status: 200, body: `{"name":"v2","description":"d","tags":["a","b"],"default_queue_type":"quorum","tracing":true,"cluster_state":{"rabbit@localhost":"running"}}`,
		why: "the default queue type counts, as in RabbitMQ 4",
	},
	"GET /api/queues/v2/qq?columns=name,type,arguments,node": {
		status: 200, body: `{"name":"qq","type":"quorum","arguments":{"x-queue-type":"quorum"},"node":"rabbit@localhost"}`,
		why: "the virtual host's default queue type counts, as in RabbitMQ 4",
	},
	`PUT /api/vhosts/v3 {"default_queue_type":"bogus"}`: {
		status: 400, body: `{"error":"bad_request"}`, why: "queue types are checked, as in RabbitMQ 4",
	},
	"GET /api/health/checks/port-listener/1": {
		status: 503, body: `{"status":"failed","reason":"No active listener","missing":1,"ports":[5672,15672]}`, why: "other ports are open",
	},
	"GET /api/health/checks/protocol-listener/amqps": {
		status: 503, body: `{"status":"failed","reason":"No active listener","missing":"amqp/ssl","protocols":["amqp","http"]}`, why: "other ports are open",
	},
	"GET /api/auth/hash_password/secret": {status: 200, body: `{}`, why: "as RabbitMQ 4"},
	"GET /api/version":                   {status: 200, body: `"4.3.0"`, why: "as RabbitMQ 4"},
	"GET /api/deprecated-features":       {status: 200, body: `[]`, why: "as RabbitMQ 4"},
	"GET /api/queues?page=99": {
		status: 400, body: `{"error":"page_out_of_range","reason":"Page out of range, page: 99 page size: 100, len: 7"}`, why: "there are fewer queues",
	},
	"GET /api/queues?page=1&name=^q&use_regex=true&columns=name": {
		status: 200, body: `{"filtered_count":4,"item_count":4,"items":[{"name":"q.classic"},{"name":"q.empty"},{"name":"q.stream"},{"name":"qq"}],"page":1,"page_count":1,"page_size":100,"total_count":7}`,
		why: "there are fewer queues",
	},
	`POST /api/definitions {"vhosts":[{"name":"dv"}],"queues":[{"name":"dq","vhost":"dv","durable":false,"auto_delete":false,"arguments":{}},{"name":"dq2","vhost":"dv","durable":true}]}`: {
		status: 204, why: "what a queue does not say has a default, as in RabbitMQ 4",
	},
	"GET /api/queues/dv?columns=name,durable,auto_delete,arguments": {
		status: 200, body: `[{"arguments":{},"auto_delete":false,"durable":true,"name":"dq"},{"arguments":{},"auto_delete":false,"durable":true,"name":"dq2"}]`,
		why: "the import before went through",
	},
	`POST /api/definitions {"permissions":[{"user":"du2","vhost":"nope","configure":"","write":"","read":""}]}`: {
		status: 400, body: `{"error":"bad_request","reason":"vhost 'nope' not found"}`, why: "the reason is a sentence",
	},
	`POST /api/definitions {"queues":[{"name":"x","vhost":"nope","durable":true,"auto_delete":false,"arguments":{}}]}`: {
		status: 400, body: `{"error":"bad_request","reason":"vhost 'nope' of a definition does not exist"}`, why: "the reason is a sentence",
	},
	`POST /api/definitions {"queues":[{"name":"x","durable":true,"auto_delete":false,"arguments":{}}]}`: {
		status: 400, body: `{"error":"bad_request","reason":"vhost '' of a definition does not exist"}`, why: "the reason is a sentence",
	},
	`POST /api/definitions/dv {"bindings":[{"source":"nope","destination":"x","destination_type":"queue","routing_key":"k","arguments":{}}]}`: {
		status: 200, body: `{"without_effect":[]}`, why: "we say what was not imported",
	},
}
