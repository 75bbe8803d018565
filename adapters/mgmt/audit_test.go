package mgmt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// acts are the audit's rows in short, newest first.
func (f *fixture) acts() []string {
	f.t.Helper()
	var out []string
	for _, r := range f.want(200, "GET", "/api/audit", "").([]any) {
		m := r.(map[string]any)
		out = append(out, fmt.Sprintf("%v: %v '%v' vhost=%v %v %v %v", m["user"], m["act"], m["object"], m["vhost"], m["detail"], m["outcome"], m["status"]))
	}
	return out
}

func TestAudit(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/users/bob", `{"password":"s3cret","tags":"monitoring"}`)
	f.want(201, "PUT", "/api/queues/%2F/q", `{"arguments":{"x-max-length":5}}`)
	f.put("q", "m", `{}`)
	f.want(200, "GET", "/api/queues/%2F/q", "")
	f.want(204, "DELETE", "/api/queues/%2F/q/contents", "")
	f.want(201, "POST", "/api/bindings/%2F/e/amq.topic/q/q", `{"routing_key":"k"}`)
	f.want(201, "PUT", "/api/parameters/shovel/%2F/s", `{"value":{"src-uri":"amqp://u:s3cret@h/","src-queue":"q","dest-uri":["amqps://x:s3cret@h"],"dest-queue":"d"}}`)
	f.want(404, "DELETE", "/api/policies/%2F/none", "")
	if a := f.do("DELETE", "/api/queues/%2F/q", "bob:wrong", ""); a.status != 401 {
		t.Error(a.status)
	}
	f.want(201, "PUT", "/api/permissions/%2F/bob", `{"configure":"","write":"","read":""}`)
	f.do("DELETE", "/api/users/admin", "bob:s3cret", "", "User-Agent", CtlAgent+"/1")
	want := []string{
		`bob: delete user 'admin' vhost=<nil>  refused 401`,
		`admin: set permission 'bob' vhost=/ {"configure":"","read":"","write":""} ok 201`,
		`bob: delete queue 'q' vhost=/  refused 401`,
		`admin: delete policy 'none' vhost=/  failed 404`,
		`admin: set parameter 'shovel s' vhost=/ {"value":{"dest-queue":"d","dest-uri":["amqps://***@h"],"src-queue":"q","src-uri":"amqp://***@h/"}} ok 201`,
		`admin: create binding 'amq.topic q q' vhost=/ {"routing_key":"k"} ok 201`,
		`admin: purge queue 'q' vhost=/  ok 204`,
		`admin: set queue 'q' vhost=/ {"arguments":{"x-max-length":5}} ok 201`,
		`admin: set user 'bob' vhost=<nil> {"password":"***","tags":"monitoring"} ok 201`,
	}
	if last := f.want(200, "GET", "/api/audit", "").([]any)[0].(map[string]any); last["via"] != "ctl" || last["reason"] != "Not administrator user" {
		t.Errorf("%v", last)
	}
	if got := f.acts(); !slices.Equal(got, want) {
		t.Errorf("acts:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAuditIsPagedAndGuarded(t *testing.T) {
	f := newFixture(t)
	for i := range 5 {
		f.want(201, "PUT", fmt.Sprintf("/api/queues/%%2F/q%d", i), `{}`)
	}
	page := f.want(200, "GET", "/api/audit?page=2&page_size=2&columns=object", "").(map[string]any)
	if got := fmt.Sprint(page["items"]); got != "[map[object:q2] map[object:q1]]" || page["total_count"] != 5.0 {
		t.Errorf("%v", page)
	}
	page = f.want(200, "GET", "/api/audit?page=1&name=q3&columns=act,object,via,peer", "").(map[string]any)
	if got := fmt.Sprint(page["items"]); got != "[map[act:set queue object:q3 peer:127.0.0.1 via:http]]" {
		t.Error(got)
	}
	f.user("plain", "management")
	if a := f.do("GET", "/api/audit", "plain", ""); a.status != 401 {
		t.Errorf("%d", a.status)
	}
	f.user("mon", "monitoring")
	if a := f.do("GET", "/api/audit", "mon", ""); a.status != 200 {
		t.Errorf("%d", a.status)
	}
}

func TestAuditKeepsTheLast(t *testing.T) {
	var out bytes.Buffer
	a := &audit{log: slog.New(slog.NewJSONHandler(&out, nil))}
	for i := range auditMax + 7 {
		a.add(auditEntry{Object: fmt.Sprint(i), Act: "set queue", User: "u", Outcome: "ok", Status: 201})
	}
	all := a.list()
	if len(all) != auditMax || all[0].Object != fmt.Sprint(auditMax+6) || all[auditMax-1].Object != "7" || all[0].ID != auditMax+7 {
		t.Errorf("%d acts, %v to %v", len(all), all[0], all[len(all)-1])
	}
	line, _, _ := strings.Cut(out.String(), "\n")
	var v map[string]any
	if err := json.Unmarshal([]byte(line), &v); err != nil || v["msg"] != "audit" || v["user"] != "u" || v["act"] != "set queue" || v["object"] != "0" || v["outcome"] != "ok" {
		t.Errorf("%s: %v", line, err)
	}
}

// Everything that can be changed has a name that says so.
func TestAuditNames(t *testing.T) {
	f := newFixture(t)
	for _, r := range f.server.resources() {
		_, byName := r.methods.table()
		for method := range byName {
			if auditVerbs[method] == "" || unaudited[method+" "+r.path] {
				continue
			}
			act := auditAct(method, r.path)
			if words := strings.Fields(act); len(words) < 2 || strings.ContainsAny(act, "{}/") {
				t.Errorf("%s %s is called %q", method, r.path, act)
			}
		}
	}
	for in, want := range map[string]string{
		"PUT /queues/{vhost}/{queue}": "set queue", "DELETE /policies/{vhost}/{name}": "delete policy",
		"PUT /operator-policies/{vhost}/{name}": "set operator policy", "POST /bindings/{vhost}/e/{source}/{kind}/{destination}": "create binding",
		"PUT /exchanges/{vhost}/{exchange}/delayed/{id}": "re-time delayed message", "PUT /cluster-name": "set cluster name", "PUT /user-limits/{user}/{limit}": "set user limit",
	} {
		method, path, _ := strings.Cut(in, " ")
		if got := auditAct(method, path); got != want {
			t.Errorf("%s is called %q, want %q", in, got, want)
		}
	}
}

func TestMasked(t *testing.T) {
	in := `{"password":"a","Password_Hash":"b","uri":"amqp://u:p@w@h:5","list":["x://y@z",1,null],"deep":{"client_secret":"c","n":2,"tokens":[{"jwt_token":"t"}]},"plain":"mail me@here"}`
	v, err := decodeJSON([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(masked(v))
	want := `{"Password_Hash":"***","deep":{"client_secret":"***","n":2,"tokens":[{"jwt_token":"***"}]},"list":["x://***@z",1,null],"password":"***","plain":"mail me@here","uri":"amqp://***@h:5"}`
	if string(b) != want {
		t.Errorf("%s\nwant %s", b, want)
	}
}
