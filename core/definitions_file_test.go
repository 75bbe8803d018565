package core

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"leveret/core/auth"
)

// emptyBroker returns a broker without even a default user.
func emptyBroker(t testing.TB) *Broker {
	t.Helper()
	b, err := New(Options{SkipDefaults: true})
	must(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

func imported(t testing.TB, b *Broker, file string) ImportReport {
	t.Helper()
	data, err := os.ReadFile("testdata/definitions/" + file)
	must(t, err)
	report, err := b.ImportDefinitions(data, "")
	must(t, err)
	return report
}

func TestImportDefinitionsOf3x(t *testing.T) {
	b := emptyBroker(t)
	report := imported(t, b, "rabbitmq_3.10.json")
	if len(report.Skipped) != 0 {
		t.Errorf("skipped\n%s", strings.Join(report.Skipped, "\n"))
	}
	if len(report.Idle) != 0 {
		t.Errorf("idle: %q", report.Idle)
	}

	if _, err := login(b, "pwt", "test12", false); err != nil {
		t.Error(err)
	}
	if u, _ := b.Auth().User("admin"); !u.HasTag("administrator") {
		t.Errorf("%v has lost its tag", u)
	}
	if p, ok := b.Auth().Permission("guest", "/"); !ok || p.Read != ".*" {
		t.Errorf("permission of guest: %v %v", p, ok)
	}
	if b.Auth().TopicAllowed("admin", "/", "amq.topic", auth.Write, "b", nil) {
		t.Error("the topic permission is not there")
	}
	shop, ok := b.VHost("shop")
	if !ok || shop.Limits()[LimitQueues] != 5 {
		t.Errorf("limits of shop: %v", shop.Limits())
	}
	v, _ := b.VHost("/")
	if q, ok := v.Queue("work"); !ok || !q.Options().Durable {
		t.Error("queue work is not there or not durable")
	}
	if x, ok := v.Exchange("orders.fan"); !ok || x.alternate.Load() == nil || *x.alternate.Load() != "orders" {
		t.Error("exchange orders.fan has no alternate")
	}
	src, kind := "orders", ToExchange
	if bs := v.Bindings(BindingFilter{Source: &src, DestinationKind: &kind}); len(bs) != 1 || bs[0].Destination != "orders.fan" || bs[0].Key != "fan.*" {
		t.Errorf("bindings of orders: %v", bs)
	}
	if g := string(b.Global("cluster_name")); g != `"test-cluster"` {
		t.Errorf("cluster name is %s", g)
	}
}

func TestImportDefinitionsOf4x(t *testing.T) {
	b := emptyBroker(t)
	report := imported(t, b, "rabbitmq_4.3.json")
	if len(report.Skipped) != 0 {
		t.Errorf("skipped %q", report.Skipped)
	}
	v, ok := b.VHost("shop")
	if !ok || v.Definition().DefaultQueueType != "quorum" {
		t.Errorf("vhost shop: %+v", v.Definition())
	}
	if x, ok := v.Exchange("x"); !ok || x.Info().Type != "topic" || !x.Info().Durable {
		t.Error("exchange x is not there")
	}
	if _, err := login(b, "app", "test12", false); err != nil {
		t.Error(err)
	}
}

func TestExportIsImportable(t *testing.T) {
	b := testBroker(t)
	imported(t, b, "rabbitmq_3.10.json")
	s := testSession(t, b, "guest")
	must(t, s.declareQueue("args", QueueDeclare{}, "x-message-ttl", int32(5), "note", "a\"b", "bytes", []byte("x"), "list", []any{int8(1), 0.5, table("k", nil)}))
	must(t, s.declareQueue("mine", QueueDeclare{Exclusive: true}))
	must(t, s.DeclareExchange(ExchangeDeclare{Name: "x", Type: "headers", AutoDelete: true, Internal: true}))
	bind(t, s, "x", "", "args", "h", int64(7))
	bind(t, s, "x", "", "mine")
	must(t, b.SetUserLimit("pwt", auth.LimitChannels, 3))
	must(t, b.PutVHost(VHostDef{Name: "v", Description: "d", Tags: []string{"a", "b"}, DefaultQueueType: "classic", Tracing: true}))
	_, err := b.ImportDefinitions([]byte(`{"parameters": [
		{"vhost": "v", "component": "operator_policy", "name": "o", "value": {"pattern": ".*", "definition": {"expires": 5}, "priority": 2}},
		{"vhost": "v", "component": "shovel", "name": "s", "value": {"src-queue": "q"}}]}`), "")
	must(t, err)

	first, err := b.ExportDefinitions("")
	must(t, err)
	again := emptyBroker(t)
	report, err := again.ImportDefinitions(first, "")
	must(t, err)
	if len(report.Skipped) != 0 {
		t.Errorf("skipped %q", report.Skipped)
	}
	second, err := again.ExportDefinitions("")
	must(t, err)
	if string(first) != string(second) {
		t.Errorf("exported\n%s\nthen\n%s", first, second)
	}
	for _, hidden := range []string{"mine", "amq.topic\",", "amq.direct"} {
		if strings.Contains(string(first), `"name": "`+hidden) {
			t.Errorf("%s is exported", hidden)
		}
	}

	// What a client in another language sees of it.
	var f map[string][]map[string]any
	var whole map[string]any
	must(t, json.Unmarshal(first, &whole))
	data, _ := json.Marshal(map[string]any{"queues": whole["queues"]})
	must(t, json.Unmarshal(data, &f))
	want := map[string]any{
		"name": "args", "vhost": "/", "type": "classic", "durable": false, "auto_delete": false,
		"arguments": map[string]any{"x-message-ttl": 5.0, "note": "a\"b", "bytes": "x", "list": []any{1.0, 0.5, map[string]any{"k": nil}}},
	}
	if !reflect.DeepEqual(f["queues"][0], want) {
		t.Errorf("queue is exported as %v", f["queues"][0])
	}

	// One virtual host, moved to another.
	one, err := b.ExportDefinitions("/")
	must(t, err)
	if strings.Contains(string(one), `"vhost"`) || strings.Contains(string(one), "password_hash") {
		t.Errorf("the export of one virtual host names others' things:\n%s", one)
	}
	must(t, b.PutVHost(VHostDef{Name: "copy"}))
	_, err = b.ImportDefinitions(one, "copy")
	must(t, err)
	v, _ := b.VHost("copy")
	if v.QueueCount() != 5 || v.exchange("x") == nil || len(v.Bindings(BindingFilter{})) != 12 {
		t.Errorf("the copy has %d queues, bindings %v", v.QueueCount(), v.Bindings(BindingFilter{}))
	}
	_, err = b.ExportDefinitions("none")
	refused(t, err, NotFound, "vhost 'none' not found")
	_, err = b.ImportDefinitions(one, "none")
	refused(t, err, NotFound, "vhost 'none' not found")
}

func TestImportLeavesWhatIsThere(t *testing.T) {
	b := testBroker(t)
	s := testSession(t, b, "guest")
	must(t, s.declareQueue("q", QueueDeclare{}))
	exchange(t, s, "x", "direct")
	report, err := b.ImportDefinitions([]byte(`{
		"users": [{"name": "guest", "tags": "management, extra", "password": "new"}],
		"queues": [{"name": "q", "vhost": "/", "durable": true, "arguments": []}, {"name": "r", "vhost": "/"}, {"name": "r", "vhost": "/"}],
		"exchanges": [{"name": "x", "vhost": "/", "type": "fanout"}, {"name": "amq.own", "vhost": "/", "type": "fanout"}, {"name": "", "vhost": "/", "type": "direct"},
			{"name": "odd", "vhost": "/", "type": "x-unheard-of"}],
		"bindings": [{"source": "x", "vhost": "/", "destination": "r", "destination_type": "queue", "routing_key": "k", "arguments": {}},
			{"source": "x", "vhost": "/", "destination": "r", "destination_type": "queue", "routing_key": "k", "arguments": {}},
			{"source": "", "vhost": "/", "destination": "r", "destination_type": "queue", "routing_key": "r", "arguments": {}}],
		"something_new": 1}`), "")
	must(t, err)
	if len(report.Skipped) != 1 || report.Skipped[0] != "exchange 'odd' in vhost '/': this release does not serve exchange type 'x-unheard-of'" {
		t.Errorf("skipped %q", report.Skipped)
	}
	if s.vhost.queue("q").Options().Durable || s.vhost.exchange("x").typ != "direct" || s.vhost.exchange("amq.own") != nil {
		t.Error("what was there has changed, or a reserved name was taken")
	}
	wantRouted(t, s, "r", "x", nil, "k")
	if _, err := login(b, "guest", "new", true); err != nil {
		t.Error(err)
	}
	if u, _ := b.Auth().User("guest"); !slices.Equal(u.Tags, []string{"management", "extra"}) {
		t.Errorf("tags %q", u.Tags)
	}
	if _, err := b.ImportDefinitions(nil, ""); err != nil {
		t.Errorf("an empty body: %v", err)
	}
	checkTopology(t, s.vhost)
}

func TestImportRefusals(t *testing.T) {
	for data, why := range map[string]string{
		`[]`:                                    "",
		`{"users": [{"tags": []}]}`:             "a user needs a name",
		`{"users": [{"name": "u", "tags": 5}]}`: "",
		`{"users": [{"name": "u", "password_hash": "!", "tags": []}]}`: "user 'u': password hash is not valid base64",
		`{"vhosts": [{}]}`: "a virtual host needs a name",
		`{"permissions": [{"user": "none", "vhost": "/"}]}`:                                                                "user 'none' not found",
		`{"permissions": [{"user": "guest", "vhost": "v"}]}`:                                                               "vhost 'v' not found",
		`{"queues": [{"name": "q", "vhost": "v"}]}`:                                                                        "vhost 'v' of a definition does not exist",
		`{"queues": [{"vhost": "/"}]}`:                                                                                     "a queue in vhost '/' has no name",
		`{"queues": [{"name": "q", "vhost": "/", "arguments": "x"}]}`:                                                      "",
		`{"exchanges": [{"name": "x", "vhost": "/"}]}`:                                                                     "exchange 'x' in vhost '/' has no type",
		`{"exchanges": [{"name": "x", "vhost": "/", "type": "direct", "arguments": {"alternate-exchange": 1}}]}`:           "invalid type 'long' for arg 'alternate-exchange' in exchange 'x' in vhost '/'",
		`{"bindings": [{"source": "amq.topic", "vhost": "/", "destination": "x", "destination_type": "moon"}]}`:            "unknown destination type 'moon' of a binding in vhost '/'",
		`{"policies": [{"vhost": "/", "name": "p", "pattern": "(", "definition": {}}]}`:                                    "",
		`{"policies": [{"vhost": "/", "name": "p", "pattern": "x"}]}`:                                                      "policy 'p' in vhost '/' needs a name, a pattern and a definition",
		`{"parameters": [{"vhost": "/", "component": "c", "name": "n"}]}`:                                                  "parameter 'n' of component 'c' in vhost '/' has no value",
		`{"parameters": [{"vhost": "/", "component": "vhost-limits", "name": "limits", "value": {"max-queues": "many"}}]}`: "",
	} {
		_, err := testBroker(t).ImportDefinitions([]byte(data), "")
		if e, ok := err.(*Error); !ok || e.Kind != Invalid || why != "" && e.Why != why {
			t.Errorf("%s\nis refused with %v, want %s", data, err, why)
		}
	}
}

func TestImportOfManyQueues(t *testing.T) {
	var f strings.Builder
	const n = 2*importBatch + 5
	f.WriteString(`{"queues": [`)
	for i := range n {
		fmt.Fprintf(&f, `{"name": "q%d", "vhost": "/", "durable": %v},`, i, i%2 == 0)
	}
	f.WriteString(`{"name": "q0", "vhost": "/"}], "bindings": [`)
	for i := range n {
		fmt.Fprintf(&f, `{"source": "amq.topic", "vhost": "/", "destination": "q%d", "destination_type": "queue", "routing_key": "k.%d", "arguments": {}},`, i, i)
	}
	f.WriteString(`{"source": "amq.topic", "vhost": "/", "destination": "q0", "destination_type": "queue", "routing_key": "k.0", "arguments": {}}]}`)
	b := testBroker(t)
	_, err := b.ImportDefinitions([]byte(f.String()), "")
	must(t, err)
	s := testSession(t, b, "guest")
	if s.vhost.QueueCount() != n {
		t.Errorf("%d queues, want %d", s.vhost.QueueCount(), n)
	}
	wantRouted(t, s, "q2004", "amq.topic", nil, "k.2004")
	checkTopology(t, s.vhost)
}

func FuzzImportDefinitions(f *testing.F) {
	for _, file := range []string{"rabbitmq_3.10.json", "rabbitmq_4.3.json"} {
		data, err := os.ReadFile("testdata/definitions/" + file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, small := range []string{
		`{"queues":[{"name":"q","vhost":"/","arguments":{"x-message-ttl":5,"a":[1.5,{"b":null}]}}]}`,
		`{"users":[{"name":"u","tags":"a,b","limits":[]}],"permissions":[{"user":"u","vhost":"/","read":"(?!x)"}]}`,
		`{"exchanges":[{"name":"x","vhost":"/","type":"headers"}],"bindings":[{"source":"x","vhost":"/","destination":"x","destination_type":"exchange","arguments":{"x-match":"any"}}]}`,
		`{"policies":[{"vhost":"/","name":"p","pattern":".","definition":{"expires":1}}],"global_parameters":[{"name":"n","value":[1]}]}`,
	} {
		f.Add([]byte(small))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b := testBroker(t)
		_, err := b.ImportDefinitions(data, "")
		if err != nil {
			if _, ok := err.(*Error); !ok {
				t.Fatalf("error %v is not the client's", err)
			}
			return
		}
		out, err := b.ExportDefinitions("")
		must(t, err)
		if _, err := emptyBroker(t).ImportDefinitions(out, ""); err != nil {
			t.Fatalf("the export of an import is refused: %v\n%s", err, out)
		}
	})
}
