package mgmt

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"leveret/core"
)

func TestEveryKindHasStatus(t *testing.T) {
	for _, k := range core.Kinds() {
		if s, ok := statuses[k]; !ok || s.status < 400 || s.word == "" {
			t.Errorf("kind %v has no status", k)
		}
	}
}

// names lists the name of each object of a list, or of a page's items.
func names(t *testing.T, v any) string {
	t.Helper()
	if page, ok := v.(map[string]any); ok {
		v = page["items"]
	}
	var out []string
	for _, o := range v.([]any) {
		out = append(out, fmt.Sprint(o.(map[string]any)["name"]))
	}
	return strings.Join(out, " ")
}

func TestListParameters(t *testing.T) {
	f := newFixture(t)
	for i, name := range []string{"Alpha", "beta", "gamma", "delta"} {
		f.want(201, "PUT", "/api/queues/%2F/"+name, `{}`)
		for range i {
			f.want(200, "POST", "/api/exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"`+name+`","payload":"x","payload_encoding":"string"}`)
		}
	}
	for query, want := range map[string]string{
		"":                                      "Alpha beta delta gamma",
		"name=beta":                             "Alpha beta delta gamma", // Without page nothing is filtered.
		"sort=messages":                         "Alpha beta gamma delta",
		"sort=messages&sort_reverse=true":       "delta gamma beta Alpha",
		"sort=message_stats.publish":            "Alpha beta gamma delta",
		"sort=name&sort_reverse=true":           "gamma delta beta Alpha",
		"page=1&name=ALPH":                      "Alpha",
		"page=1&name=t":                         "beta delta",
		"page=1&name=%5E.e&use_regex=true":      "beta delta",
		"page=1&name=%5E(?!b).e&use_regex=true": "delta",
		"page=1&name=none":                      "",
		"page=2&page_size=3":                    "gamma",
		"page=2&page_size=3&sort=messages":      "delta",
		"page=1&pagination=false&page_size=2":   "Alpha beta",
	} {
		if got := names(t, f.want(200, "GET", "/api/queues?"+query, "")); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{"page=x", "page=0", "page=1&page_size=0", "page=1&page_size=501", "page=1&page_size=x", "page=3&page_size=2", "page=1&use_regex=true&name=(", "page=1&name=" + strings.Repeat("x", 1025)} {
		f.want(400, "GET", "/api/queues?"+query, "")
	}
	got := f.want(200, "GET", "/api/queues?columns=name,message_stats.publish,message_stats.publish_details.rate&sort=name&sort_reverse=true", "")
	first := got.([]any)[0].(map[string]any)
	if len(first) != 2 || len(first["message_stats"].(map[string]any)) != 2 {
		t.Errorf("columns: %v", first)
	}
}

func TestScalarsAsStrings(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/q", `{"durable":"false","auto_delete":"true","arguments":{},"node":null,"unknown":1}`)
	q := f.want(200, "GET", "/api/queues/%2F/q", "").(map[string]any)
	if q["durable"] != false || q["auto_delete"] != true {
		t.Errorf("queue: %v", q)
	}
	f.want(200, "POST", "/api/queues/%2F/q/get", `{"count":"2","ackmode":"ack_requeue_true","encoding":"auto"}`)
	f.want(204, "PUT", "/api/vhost-limits/%2F/max-queues", `{"value":"7"}`)
	f.want(400, "PUT", "/api/vhost-limits/%2F/max-queues", `{"value":"many"}`)
	f.want(400, "PUT", "/api/queues/%2F/q", `{"durable":"maybe"}`)
	f.want(400, "PUT", "/api/queues/%2F/q2", `{"arguments":[1]}`)
	f.want(400, "PUT", "/api/queues/%2F/q2", `{} {}`)
	f.want(201, "PUT", "/api/queues/%2F/q3", ` null `)
	f.want(201, "PUT", "/api/queues/%2F/q4", "undefined")
}

// TestNamesInPaths uses names that are hard to put into a URL.
func TestNamesInPaths(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"/", "a/b", "100%", "a%2Fb", "ä ö", "q?x=1&y", "#", "+", "..", ".", "a b+c", "~"} {
		vhost := url.PathEscape("v" + name)
		f.want(201, "PUT", "/api/vhosts/"+vhost, "")
		escaped := url.PathEscape(name)
		if name == "." || name == ".." {
			escaped = strings.ReplaceAll(name, ".", "%2E")
		}
		f.want(201, "PUT", "/api/queues/"+vhost+"/"+escaped, `{}`)
		q := f.want(200, "GET", "/api/queues/"+vhost+"/"+escaped, "").(map[string]any)
		if q["name"] != name || q["vhost"] != "v"+name {
			t.Errorf("queue %q in %q, want %q", q["name"], q["vhost"], name)
		}
		f.want(201, "PUT", "/api/exchanges/"+vhost+"/"+escaped, `{"type":"fanout"}`)
		a := f.do("POST", "/api/bindings/"+vhost+"/e/"+escaped+"/q/"+escaped, "admin", `{"routing_key":"`+name+`"}`)
		if a.status != 201 {
			t.Fatalf("bind %q: %d %s", name, a.status, a.body)
		}
		// The Location leads to the binding, relative to where it was made.
		at := "/api/bindings/" + vhost + "/e/" + escaped + "/q/" + a.header.Get("Location")
		if name == "." || name == ".." {
			at = "/api/bindings/" + vhost + "/e/" + escaped + "/q/" + escaped + "/" + escaped
		}
		b := f.want(200, "GET", at, "").(map[string]any)
		if b["routing_key"] != name {
			t.Errorf("binding of %q: %v", name, b)
		}
		f.want(204, "DELETE", at, "")
		f.want(404, "GET", at, "")
		f.want(204, "DELETE", "/api/queues/"+vhost+"/"+escaped+"/", "") // A slash at the end does not count.
	}
}

func TestBindingIdentity(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	at := "/api/bindings/%2F/e/amq.topic/q/q"
	for _, body := range []string{`{"routing_key":"order.#"}`, `{"routing_key":"order.#","arguments":{"a":1}}`, `{"routing_key":"order.#","arguments":{"a":2}}`, `{}`, `{"arguments":{"a":1}}`, `{"routing_key":"~"}`} {
		f.want(201, "POST", at, body)
	}
	seen := map[string]bool{}
	for _, b := range f.want(200, "GET", at, "").([]any) {
		b := b.(map[string]any)
		key := b["properties_key"].(string)
		if seen[key] {
			t.Errorf("two bindings are called %q", key)
		}
		seen[key] = true
		forms := []string{url.PathEscape(key), key} // Encoded twice and once.
		if key == "%7E" {
			forms = forms[:1] // Decoded, it is the word for no key at all.
		}
		for _, form := range forms {
			got := f.want(200, "GET", at+"/"+form, "").(map[string]any)
			if fmt.Sprint(got) != fmt.Sprint(b) {
				t.Errorf("%s leads to %v, not %v", form, got, b)
			}
		}
	}
	if len(seen) != 6 || !seen["~"] || !seen["order.%23"] || !seen["%7E"] {
		t.Errorf("keys: %v", seen)
	}
	f.want(204, "DELETE", at+"/order.%2523", "")
	if left := len(f.want(200, "GET", at, "").([]any)); left != 5 {
		t.Errorf("%d bindings left, want 5", left)
	}
}

func TestGetModes(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	publish := func(payload, encoding, properties string) {
		t.Helper()
		f.want(200, "POST", "/api/exchanges/%2F/amq.default/publish", `{"properties":`+properties+`,"routing_key":"q","payload":"`+payload+`","payload_encoding":"`+encoding+`"}`)
	}
	publish("one", "string", `{"headers":{"s":"v","i":1,"f":1.5,"b":true,"l":[1,"x"],"o":{"k":"v"}},"correlation_id":"c1","delivery_mode":2,"priority":"3","timestamp":5,"content_type":"text/plain"}`)
	publish("/wD+", "base64", `{}`)
	get := func(mode, more string) []any {
		t.Helper()
		return f.want(200, "POST", "/api/queues/%2F/q/get", `{"count":10,"ackmode":"`+mode+`","encoding":"auto"`+more+`}`).([]any)
	}
	for round, mode := range []string{"ack_requeue_true", "reject_requeue_true", "ack_requeue_false"} {
		rows := get(mode, "")
		if len(rows) != 2 {
			t.Fatalf("%s: %d messages", mode, len(rows))
		}
		first, second := rows[0].(map[string]any), rows[1].(map[string]any)
		if first["payload"] != "one" || second["payload"] != "/wD+" || second["payload_encoding"] != "base64" || first["payload_encoding"] != "string" {
			t.Errorf("%s: order or payload: %v", mode, rows)
		}
		if first["redelivered"] != (round > 0) {
			t.Errorf("%s: redelivered is %v in round %d", mode, first["redelivered"], round)
		}
		if first["message_count"] != 1.0 || second["message_count"] != 0.0 || second["payload_bytes"] != 3.0 {
			t.Errorf("%s: counts: %v", mode, rows)
		}
		want := "map[content_type:text/plain correlation_id:c1 delivery_mode:2 headers:map[b:true f:1.5 i:1 l:[1 x] o:map[k:v] s:v] priority:3 timestamp:5]"
		if got := fmt.Sprint(first["properties"]); got != want {
			t.Errorf("properties %s, want %s", got, want)
		}
	}
	if rows := get("ack_requeue_true", ""); len(rows) != 0 {
		t.Errorf("still there: %v", rows)
	}
	publish("abcdef", "string", `{}`)
	row := get("reject_requeue_false", `,"truncate":2`)[0].(map[string]any)
	if row["payload"] != "ab" || row["payload_bytes"] != 6.0 {
		t.Errorf("truncated: %v", row)
	}
	f.want(400, "POST", "/api/queues/%2F/q/get", `{"count":1,"ackmode":"keep","encoding":"auto"}`)
	for _, properties := range []string{`{"headers":null}`, `{"headers":{"a":null}}`, `{"priority":300}`, `{"expiration":"soon"}`, `{"correlation_id":"` + strings.Repeat("x", 256) + `"}`, `"x"`} {
		f.want(400, "POST", "/api/exchanges/%2F/amq.default/publish", `{"properties":`+properties+`,"routing_key":"q","payload":"","payload_encoding":"string"}`)
	}
}

func TestFurtherKeys(t *testing.T) {
	f := newFixture(t)
	for _, q := range []string{"a", "b", "c"} {
		f.want(201, "PUT", "/api/queues/%2F/"+q, `{}`)
	}
	f.want(200, "POST", "/api/exchanges/%2F/amq.default/publish", `{"properties":{"headers":{"CC":["b"],"BCC":["c"]}},"routing_key":"a","payload":"x","payload_encoding":"string"}`)
	for _, q := range []string{"a", "b", "c"} {
		rows := f.want(200, "POST", "/api/queues/%2F/"+q+"/get", `{"count":1,"ackmode":"ack_requeue_false","encoding":"auto"}`).([]any)
		if len(rows) != 1 {
			t.Errorf("%s got %d messages", q, len(rows))
		} else if got := fmt.Sprint(rows[0].(map[string]any)["properties"]); got != "map[headers:map[CC:[b]]]" {
			t.Errorf("%s: properties %s", q, got)
		}
	}
	f.want(400, "POST", "/api/exchanges/%2F/amq.default/publish", `{"properties":{"headers":{"CC":"b"}},"routing_key":"a","payload":"x","payload_encoding":"string"}`)
}

// TestLoopbackOnly asks from another machine as a user who may not.
func TestLoopbackOnly(t *testing.T) {
	f := newFixture(t)
	ask := func(peer, user, password string) (int, string) {
		r := httptest.NewRequest("GET", "/api/whoami", nil)
		r.RemoteAddr = peer
		r.SetBasicAuth(user, password)
		w := httptest.NewRecorder()
		f.server.Handler().ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for _, c := range []struct {
		peer, user, password string
		code                 int
		says                 string
	}{
		{"127.0.0.1:5", "guest", "guest", 200, "guest"},
		{"[::1]:5", "guest", "guest", 200, "guest"},
		{"192.0.2.1:5", "guest", "guest", 401, "User can only log in via localhost"},
		{"192.0.2.1:5", "guest", "wrong", 401, "Login failed"},
		{"192.0.2.1:5", "admin", "adminpw", 200, "admin"},
	} {
		if code, says := ask(c.peer, c.user, c.password); code != c.code || !strings.Contains(says, c.says) {
			t.Errorf("%s from %s: %d %s", c.user, c.peer, code, says)
		}
	}
}

// TestRoles asks for one resource of each kind as users with each tag.
func TestRoles(t *testing.T) {
	f := newFixture(t)
	furnish(f)
	f.want(201, "PUT", "/api/queues/shop/hidden", `{}`)
	s := f.session("u_management", "/")
	addConnection(f, s, "mine")
	addConnection(f, f.session("admin", "/"), "other")
	users := []string{"", "u_none", "u_management", "u_policymaker", "u_monitoring", "admin"}
	for _, c := range []struct {
		method, path, body string
		want               [6]int
	}{
		{"GET", "/api/version", "", [6]int{200, 200, 200, 200, 200, 200}},
		{"GET", "/api/overview", "", [6]int{401, 401, 200, 200, 200, 200}},
		{"GET", "/api/nodes", "", [6]int{401, 401, 401, 401, 200, 200}},
		{"GET", "/api/users", "", [6]int{401, 401, 401, 401, 401, 200}},
		{"GET", "/api/vhosts", "", [6]int{401, 401, 200, 200, 200, 200}},
		{"GET", "/api/queues/%2F", "", [6]int{401, 401, 200, 200, 200, 200}},
		{"GET", "/api/queues/shop", "", [6]int{401, 401, 401, 401, 401, 200}},
		{"GET", "/api/queues/nope", "", [6]int{401, 401, 401, 401, 401, 404}},
		{"PUT", "/api/queues/%2F/x_no", "{}", [6]int{401, 401, 401, 401, 401, 201}},
		{"PUT", "/api/queues/%2F/u_yes", "{}", [6]int{401, 401, 201, 204, 204, 204}},
		{"PUT", "/api/cluster-name", `{"name":"x"}`, [6]int{401, 401, 401, 401, 401, 204}},
		{"GET", "/api/connections/mine", "", [6]int{401, 401, 200, 401, 200, 200}},
		{"GET", "/api/connections/other", "", [6]int{401, 401, 401, 401, 200, 200}},
		{"DELETE", "/api/connections/other", "", [6]int{401, 401, 401, 401, 401, 204}},
		{"GET", "/api/permissions", "", [6]int{401, 401, 401, 401, 401, 200}},
		{"PUT", "/api/vhost-limits/%2F/max-queues", `{"value":100}`, [6]int{401, 401, 401, 401, 401, 204}},
	} {
		for i, user := range users {
			if a := f.do(c.method, c.path, user, c.body); a.status != c.want[i] {
				t.Errorf("%s %s as %q: %d, want %d: %s", c.method, c.path, user, a.status, c.want[i], a.body)
			}
		}
	}
	for user, want := range map[string]string{"u_management": "mine", "u_policymaker": "", "u_monitoring": "mine other", "admin": "mine other"} {
		if got := names(t, f.do("GET", "/api/connections", user, "").json(t)); got != want {
			t.Errorf("%s sees connections %q, want %q", user, got, want)
		}
	}
	for user, want := range map[string]string{"u_management": "/", "u_monitoring": "/ ctv shop"} {
		if got := names(t, f.do("GET", "/api/vhosts", user, "").json(t)); got != want {
			t.Errorf("%s sees virtual hosts %q, want %q", user, got, want)
		}
	}
	if got := names(t, f.do("GET", "/api/queues", "u_management", "").json(t)); strings.Contains(got, "hidden") {
		t.Errorf("u_management sees %q", got)
	}
	if got := names(t, f.do("GET", "/api/queues", "admin", "", "X-Vhost", "shop").json(t)); got != "hidden" {
		t.Errorf("x-vhost: %q", got)
	}
}

func TestCloseConnectionTellsWhy(t *testing.T) {
	f := newFixture(t)
	reasons := make(chan string, 4)
	for _, name := range []string{"127.0.0.1:1 -> 127.0.0.1:5672", "second"} {
		row := f.broker.Registry().Add(core.RowOptions{
			Kind: rowConnection, Name: name, Session: f.session("admin", "/"), Close: func(why string) { reasons <- why },
		})
		t.Cleanup(row.Remove)
	}
	f.do("DELETE", "/api/connections/127.0.0.1%3A1%20-%3E%20127.0.0.1%3A5672", "admin", "", "X-Reason", "tea time")
	if why := <-reasons; why != "tea time" {
		t.Errorf("reason %q", why)
	}
	f.want(204, "DELETE", "/api/connections/username/admin", "")
	for range 2 {
		if why := <-reasons; why != "Closed via management plugin" {
			t.Errorf("reason %q", why)
		}
	}
	f.want(404, "DELETE", "/api/connections/nope", "")
}

func TestRates(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	publish := func(n int) {
		for range n {
			f.want(200, "POST", "/api/exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"q","payload":"x","payload_encoding":"string"}`)
		}
	}
	rate := func(path, stats, name string) any {
		o := f.want(200, "GET", path, "").(map[string]any)
		if stats != "" {
			o, _ = o[stats].(map[string]any)
		}
		d, _ := o[name].(map[string]any)
		return d["rate"]
	}
	now := time.Now()
	if stats := f.want(200, "GET", "/api/queues/%2F/q", "").(map[string]any)["message_stats"]; stats != nil {
		t.Errorf("message_stats before any activity: %v", stats)
	}
	f.server.rates.look(now)
	publish(10)
	f.server.rates.look(now.Add(5 * time.Second))
	for path, stats := range map[string]string{"/api/queues/%2F/q": "message_stats", "/api/overview": "message_stats", "/api/vhosts/%2F": "message_stats"} {
		if got := rate(path, stats, "publish_details"); got != 2.0 {
			t.Errorf("%s: publish rate %v, want 2", path, got)
		}
	}
	if got := rate("/api/queues/%2F/q", "", "messages_details"); got != 2.0 {
		t.Errorf("messages grow by %v, want 2", got)
	}
	if got := rate("/api/exchanges/%2F/amq.default", "message_stats", "publish_in_details"); got != 2.0 {
		t.Errorf("publish_in rate %v, want 2", got)
	}
	f.server.rates.look(now.Add(10 * time.Second))
	if got := rate("/api/queues/%2F/q", "message_stats", "publish_details"); got != 0.0 {
		t.Errorf("idle: publish rate %v", got)
	}
	// What a deleted queue did still counts, but it is forgotten otherwise.
	f.want(204, "DELETE", "/api/queues/%2F/q", "")
	f.server.rates.look(now.Add(15 * time.Second))
	o := f.want(200, "GET", "/api/overview", "").(map[string]any)["message_stats"].(map[string]any)
	if o["publish"] != 10.0 {
		t.Errorf("publish is %v after the queue is gone, want 10", o["publish"])
	}
	if f.server.rates.sample(rateKey{ratedQueue, "/", "q"}) != nil {
		t.Error("a deleted queue is still sampled")
	}
}

// TestPublishIsCountedOnce tells what clients published from what queues got.
func TestPublishIsCountedOnce(t *testing.T) {
	f := newFixture(t)
	for _, q := range []string{"a", "b", "c"} {
		f.want(201, "PUT", "/api/queues/%2F/"+q, `{}`)
		f.want(201, "POST", "/api/bindings/%2F/e/amq.fanout/q/"+q, `{}`)
	}
	f.want(200, "POST", "/api/exchanges/%2F/amq.fanout/publish", `{"properties":{},"routing_key":"","payload":"x","payload_encoding":"string"}`)
	o := f.want(200, "GET", "/api/overview", "").(map[string]any)
	if stats := o["message_stats"].(map[string]any); stats["publish"] != 1.0 {
		t.Errorf("publish: %v", stats["publish"])
	}
	if n := o["queue_totals"].(map[string]any)["messages"]; n != 3.0 {
		t.Errorf("messages: %v", n)
	}
	q := f.want(200, "GET", "/api/queues?disable_stats=true&enable_queue_totals=true", "").([]any)[0].(map[string]any)
	if _, ok := q["memory"]; ok || q["messages"] != 1.0 || q["type"] != "classic" {
		t.Errorf("without statistics: %v", q)
	}
}

// TestWithoutStatistics is of disable_stats=true, by request and by setting.
func TestWithoutStatistics(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	f.want(200, "POST", "/api/exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"q","payload":"x","payload_encoding":"string"}`)
	s := f.session("admin", "/")
	row := f.broker.Registry().Add(core.RowOptions{Kind: rowConnection, Name: "c", Session: s, Traffic: func() (uint64, uint64) { return 1, 2 }})
	f.broker.Registry().Add(core.RowOptions{Kind: rowChannel, Name: "c (1)", Session: s, Parent: row,
		Attributes: func() map[string]any { return map[string]any{"number": 1, "messages_unacknowledged": 3} },
		Counters:   func() map[string]uint64 { return map[string]uint64{"publish": 1} }})
	node := "/api/nodes/" + f.broker.NodeName()
	paths := []struct{ path, there, stat, total string }{
		{"/api/overview", "object_totals", "message_stats", "queue_totals"},
		{"/api/queues/%2F/q", "arguments", "message_stats", "messages"},
		{"/api/exchanges/%2F/amq.default", "type", "message_stats", ""},
		{"/api/vhosts/%2F", "tracing", "messages_details", "messages"},
		{"/api/connections/c", "name", "recv_oct", ""},
		{"/api/channels/c%20(1)", "number", "message_stats", ""},
		{node, "running", "mem_used", ""},
	}
	look := func(path, query string) map[string]any {
		t.Helper()
		return f.want(200, "GET", path+query, "").(map[string]any)
	}
	without := func(o map[string]any, path, there, stat, total string, totals bool) {
		t.Helper()
		_, isThere := o[there]
		_, hasStat := o[stat]
		_, hasTotal := o[total]
		if !isThere || hasStat || total != "" && hasTotal != totals || o["messages_unacknowledged"] != nil && !totals {
			t.Errorf("%s: %v", path, o)
		}
	}
	for _, p := range paths {
		if o := look(p.path, ""); o[p.stat] == nil {
			t.Errorf("%s with statistics: %v", p.path, o)
		}
		without(look(p.path, "?disable_stats=true"), p.path, p.there, p.stat, p.total, false)
		without(look(p.path, "?disable_stats=true&enable_queue_totals=true"), p.path, p.there, p.stat, p.total, true)
	}
	for path, stat := range map[string]string{"/api/connections": "recv_oct", "/api/channels": "message_stats", "/api/exchanges": "message_stats", "/api/vhosts": "messages", "/api/nodes": "mem_used"} {
		for _, o := range f.want(200, "GET", path+"?disable_stats=true", "").([]any) {
			if _, ok := o.(map[string]any)[stat]; ok {
				t.Errorf("%s: %v", path, o)
			}
		}
	}
	f.server.opts.NoStats, f.server.opts.QueueTotals = true, true
	for _, p := range paths {
		without(look(p.path, ""), p.path, p.there, p.stat, p.total, true)
	}
	if o := look("/api/overview", ""); o["disable_stats"] != true || o["enable_queue_totals"] != true || o["queue_totals"].(map[string]any)["messages"] != 1.0 {
		t.Errorf("%v", o)
	}
}

func TestIdleSince(t *testing.T) {
	var now atomic.Int64
	now.Store(1_000_000)
	f := newFixtureAt(t, now.Load)
	f.want(201, "PUT", "/api/queues/%2F/q", `{}`)
	idle := func() any { return f.want(200, "GET", "/api/queues/%2F/q", "").(map[string]any)["idle_since"] }
	if got := idle(); got != nil {
		t.Errorf("new, yet idle since %v", got)
	}
	now.Add(60_000)
	if got := idle(); got != "1970-01-01T00:16:40.000+00:00" {
		t.Errorf("idle since %v", got)
	}
}

func TestAlarm(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	go f.broker.Run(ctx) // Ends with the test's context.
	alarms := f.broker.Alarms()
	changed := make(chan bool, 4)
	defer alarms.Watch(func() { changed <- true })()
	wait := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case <-time.After(30 * time.Second):
			t.Fatal(what)
		}
	}
	f.broker.Memory().SetLimit(100)
	f.broker.Memory().Charge(1000)
	wait("no alarm")
	for path, reason := range map[string]string{"alarms": "There are alarms in effect in the cluster", "local-alarms": "There are alarms in effect on the node"} {
		got := f.want(503, "GET", "/api/health/checks/"+path, "").(map[string]any)
		if got["status"] != "failed" || got["reason"] != reason || fmt.Sprint(got["alarms"]) != "[map[node:rabbit@localhost resource:memory]]" {
			t.Errorf("%s: %v", path, got)
		}
	}
	f.want(503, "POST", "/api/exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"q","payload":"x","payload_encoding":"string"}`)
	if n := f.want(200, "GET", "/api/nodes/rabbit@localhost", "").(map[string]any); n["mem_alarm"] != true {
		t.Errorf("mem_alarm is %v", n["mem_alarm"])
	}

	alarms.SetDiskFree(1 << 30)
	f.want(204, "PUT", "/api/alarms/disk/limit", `{"absolute":2147483648}`)
	wait("no disk alarm")
	rows := f.want(200, "GET", "/api/alarms", "").([]any)
	if len(rows) != 2 {
		t.Fatalf("alarms: %v", rows)
	}
	disk := rows[0].(map[string]any)
	if disk["resource"] != "disk" || disk["value"] != float64(1<<30) || disk["limit"] != float64(2<<30) || disk["reason"] == "" {
		t.Errorf("disk: %v", disk)
	}
	f.want(204, "PUT", "/api/alarms/disk/limit", `{"relative":"0"}`)
	wait("the disk alarm stays")
	f.want(204, "PUT", "/api/alarms/memory/limit", `{"relative":0.5}`)
	wait("the memory alarm stays")
	if got, want := f.broker.Memory().Limit(), int64(4<<30); got != want {
		t.Errorf("half of the memory is %d, want %d", got, want)
	}
	f.want(200, "GET", "/api/health/checks/alarms", "")
	for _, body := range []string{`{}`, `{"absolute":1,"relative":1}`, `{"absolute":-1}`, `{"absolute":"1GB"}`, `{"relative":"x"}`, `{"relative":1e300}`, `{"relative":-1}`} {
		f.want(400, "PUT", "/api/alarms/memory/limit", body)
	}
	f.want(404, "PUT", "/api/alarms/paper/limit", `{"absolute":1}`)
}

func TestPanicIsOneAnswer(t *testing.T) {
	f := newFixture(t)
	row := f.broker.Registry().Add(core.RowOptions{Kind: rowConnection, Name: "bad", Attributes: func() map[string]any { panic("ours") }})
	f.want(500, "GET", "/api/connections", "")
	row.Remove()
	f.want(200, "GET", "/api/connections", "")
}

func TestHTTPManners(t *testing.T) {
	f := newFixture(t)
	if a := f.do("GET", "/api/queues", "admin", "", "Accept", "text/html"); a.status != 406 || len(a.body) != 0 {
		t.Errorf("Accept text/html: %d %s", a.status, a.body)
	}
	for _, accept := range []string{"*/*", "application/json", "text/html, application/*;q=0.5"} {
		if a := f.do("GET", "/api/queues", "admin", "", "Accept", accept); a.status != 200 {
			t.Errorf("Accept %s: %d", accept, a.status)
		}
	}
	a := f.do("GET", "/api/exchanges", "admin", "", "Accept-Encoding", "gzip")
	if a.header.Get("Content-Encoding") != "gzip" || a.header.Get("Cache-Control") != "no-cache" {
		t.Errorf("headers: %v", a.header)
	}
	if a := f.do("HEAD", "/api/whoami", "admin", ""); a.status != 200 || len(a.body) != 0 {
		t.Errorf("HEAD: %d %q", a.status, a.body)
	}
	f.server.opts.MaxBody = 4096
	if a := f.do("PUT", "/api/queues/%2F/q", "admin", `{"arguments":{"x":"`+strings.Repeat("y", 4096)+`"}}`); a.status != 400 {
		t.Errorf("a body above the limit: %d", a.status)
	}
	if a := f.do("GET", "/", "", ""); a.status != 200 || !strings.Contains(string(a.body), "/api") {
		t.Errorf("/: %d %s", a.status, a.body)
	}
	a = f.do("POST", "/api/login", "", "username=admin&password=adminpw", "Content-Type", "application/x-www-form-urlencoded")
	if a.status != http.StatusOK || !strings.Contains(string(a.body), "YWRtaW46YWRtaW5wdw==") {
		t.Errorf("login: %d %s", a.status, a.body)
	}
	if a := f.do("POST", "/api/login", "", "username=admin&password=x", "Content-Type", "application/x-www-form-urlencoded"); a.status != 401 {
		t.Errorf("login with a wrong password: %d", a.status)
	}
}

// FuzzRequest sends odd requests: whatever they are, the answer is no 500 and
// the server lives.
func FuzzRequest(f *testing.F) {
	f.Add("PUT", "/api/queues/%2F/q", `{"arguments":{"x-expires":1}}`)
	f.Add("POST", "/api/bindings/%2F/e/amq.topic/q/q", `{"routing_key":"a","arguments":{"a":[{}]}}`)
	f.Add("PUT", "/api/users/u", `{"tags":[1],"password":"x"}`)
	f.Add("POST", "/api/exchanges/%2F//publish", `{"properties":{"headers":{"a":1e999}},"routing_key":"q","payload":"","payload_encoding":"string"}`)
	f.Add("POST", "/api/queues/%2F/q/get", `{"count":-1,"ackmode":"ack_requeue_true","encoding":"auto","truncate":-5}`)
	f.Add("GET", "/api/queues?page=1&name=(a+)+$&use_regex=true&sort=a..b&columns=,a.,.", "")
	f.Add("PUT", "/api/vhosts/v", `{"tags":{},"default_queue_type":5}`)
	f.Fuzz(func(t *testing.T, method, path, body string) {
		x := newFixture(t)
		x.want(201, "PUT", "/api/queues/%2F/q", "{}")
		req, err := http.NewRequest(method, x.url+"/"+strings.TrimPrefix(path, "/"), strings.NewReader(body))
		if err != nil || req.URL.Host != strings.TrimPrefix(x.url, "http://") {
			return
		}
		req.SetBasicAuth("admin", "adminpw")
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			return // A request that the client itself refuses to send.
		}
		res.Body.Close()
		if res.StatusCode >= 500 && res.StatusCode != http.StatusServiceUnavailable && res.StatusCode != http.StatusNotImplemented {
			t.Errorf("%s %q %q: %d", method, path, body, res.StatusCode)
		}
		x.want(200, "GET", "/api/overview", "")
	})
}

// TestSingleActiveConsumer tells the consumer that is served from those that
// stand by.
func TestSingleActiveConsumer(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/q", `{"arguments":{"x-single-active-consumer":true}}`)
	s := f.session("admin", "/")
	first := consume(f, s, "q", "first")
	consume(f, s, "q", "second")
	states := func() string {
		out := f.want(200, "GET", "/api/queues/%2F/q", "").(map[string]any)["single_active_consumer_tag"].(string)
		list := f.want(200, "GET", "/api/consumers", "").([]any)
		for _, c := range list {
			o := c.(map[string]any)
			out += fmt.Sprintf(" %v=%v,%v", o["consumer_tag"], o["activity_status"], o["active"])
		}
		return out
	}
	got := states()
	if got != "first first=single_active,true second=waiting,false" && got != "first second=waiting,false first=single_active,true" {
		t.Error(got)
	}
	var touched core.Touched
	first.Cancel(&touched)
	if got := states(); got != "second second=single_active,true" {
		t.Error(got)
	}
}
