package mgmt

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// put publishes a message through the default exchange.
func (f *fixture) put(queue, payload, properties string) {
	f.t.Helper()
	f.want(200, "POST", "/api/exchanges/%2F/amq.default/publish",
		fmt.Sprintf(`{"properties":%s,"routing_key":%q,"payload":%q,"payload_encoding":"string"}`, properties, queue, payload))
}

func (f *fixture) peek(query string) (o map[string]any, payloads []string) {
	f.t.Helper()
	o = f.want(200, "GET", "/api/queues/%2F/q/messages?"+query, "").(map[string]any)
	for _, m := range o["messages"].([]any) {
		payloads = append(payloads, m.(map[string]any)["payload"].(string))
	}
	return o, payloads
}

func TestPeekOverHTTP(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	f.put("q", "Hello World", `{"delivery_mode":2,"content_type":"text/plain","headers":{"Tenant":"acme","n":{"deep":[7,"Findme"]}}}`)
	f.put("q", "zweiter Gruß", `{"expiration":"60000","priority":3}`)
	f.want(200, "POST", "/api/exchanges/%2F/amq.default/publish",
		`{"properties":{},"routing_key":"q","payload":"/wD/","payload_encoding":"base64"}`)

	o, payloads := f.peek("")
	if fmt.Sprint(payloads) != "[Hello World zweiter Gruß /wD/]" || o["next_offset"] != nil || o["total"] != 3.0 {
		t.Errorf("%v: %v", payloads, o)
	}
	rows := o["messages"].([]any)
	first, second, third := rows[0].(map[string]any), rows[1].(map[string]any), rows[2].(map[string]any)
	for k, want := range map[string]any{
		"position": 0.0, "id": "0-0", "state": "ready", "exchange": "", "routing_key": "q", "redelivered": false, "delivery_count": nil,
		"expires_at": nil, "priority": 0.0, "size": 11.0, "payload_encoding": "string", "truncated": false, "due_at": nil,
	} {
		if first[k] != want {
			t.Errorf("%s is %v, want %v", k, first[k], want)
		}
	}
	if first["enqueued_at"].(float64) < 1.7e12 || fmt.Sprint(first["properties"]) != fmt.Sprint(map[string]any{
		"content_type": "text/plain", "delivery_mode": 2, "headers": map[string]any{"Tenant": "acme", "n": map[string]any{"deep": []any{7, "Findme"}}},
	}) {
		t.Errorf("%v", first)
	}
	if second["expires_at"] == nil || second["priority"] != 3.0 || third["payload_encoding"] != "base64" || third["size"] != 3.0 {
		t.Errorf("%v, %v", second, third)
	}

	// Nothing has happened to the queue.
	got := f.want(200, "POST", "/api/queues/%2F/q/get", `{"count":3,"ackmode":"ack_requeue_true","encoding":"auto"}`).([]any)
	for _, m := range got {
		if m.(map[string]any)["redelivered"] != false {
			t.Error("redelivered")
		}
	}
	if o, _ := f.peek(""); o["messages"].([]any)[0].(map[string]any)["redelivered"] != true {
		t.Error("a requeued message is not shown as redelivered")
	}

	for query, want := range map[string]string{
		"count=2":                      "[Hello World zweiter Gruß]",
		"offset=1&count=1":             "[zweiter Gruß]",
		"offset=9":                     "[]",
		"state=unacked":                "[]",
		"state=all":                    "[Hello World zweiter Gruß /wD/]",
		"truncate=3":                   "[Hel zwe /wD/]",
		"truncate=12&offset=1&count=1": "[zweiter Gru]", // Not half of the ß.
		"search=GRU":                   "[zweiter Gruß]",
		"search=findME&in=headers":     "[Hello World]",
		"search=tenant&in=headers":     "[Hello World]",
		"search=findme&in=body,key":    "[]",
		"search=q&in=key":              "[Hello World zweiter Gruß /wD/]",
		"search=60000&in=headers":      "[zweiter Gruß]",
	} {
		if _, payloads := f.peek(query); fmt.Sprint(payloads) != want {
			t.Errorf("%s: %v, want %s", query, payloads, want)
		}
	}
	var all []string
	next := ""
	for range 3 {
		o, payloads := f.peek("count=1&offset=" + url.QueryEscape(next))
		all = append(all, payloads...)
		next = fmt.Sprint(o["next_offset"])
	}
	if fmt.Sprint(all) != "[Hello World zweiter Gruß /wD/]" || next != "<nil>" {
		t.Errorf("%v, then %s", all, next)
	}

	for _, query := range []string{"count=0", "count=501", "count=x", "truncate=-1", "offset=-1", "offset=x", "offset=1@2", "offset=1@2-x", "state=x",
		"search=a&in=tail", "search=" + strings.Repeat("x", 2000)} {
		if a := f.do("GET", "/api/queues/%2F/q/messages?"+query, "admin", ""); a.status != 400 {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	f.want(404, "GET", "/api/queues/%2F/none/messages", "")
	f.user("reader", "management")
	f.must(f.broker.SetPermission("reader", "/", permission(".*", ".*", "^other$")))
	for _, queue := range []string{"q", "none"} {
		if a := f.do("GET", "/api/queues/%2F/"+queue+"/messages", "reader", ""); a.status != 401 {
			t.Errorf("%s: %d %s", queue, a.status, a.body)
		}
	}
}

func TestPeekStreamOverHTTP(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/q", `{"arguments":{"x-queue-type":"stream"}}`)
	for i := range 5 {
		f.put("q", fmt.Sprint("m", i), `{}`)
	}
	o, payloads := f.peek("offset=2&count=2")
	if fmt.Sprint(payloads) != "[m2 m3]" || o["next_offset"] != 4.0 || o["total"] != 5.0 {
		t.Errorf("%v: %v", payloads, o)
	}
	if o, payloads := f.peek("offset=4"); fmt.Sprint(payloads) != "[m4]" || o["next_offset"] != nil {
		t.Errorf("%v: %v", payloads, o)
	}
}
