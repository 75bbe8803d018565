package mgmt

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestPlanAndApplyOverHTTP(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/a", `{}`)
	const file = `{"queues":[{"name":"a","vhost":"/","durable":false},{"name":"b","vhost":"/"}]}`
	p := f.want(200, "POST", "/api/definitions/plan", file).(map[string]any)
	refused := p["refuse"].([]any)[0].(map[string]any)
	if len(p["add"].([]any)) != 1 || len(p["change"].([]any)) != 0 || p["same"] != 0.0 || refused["kind"] != "queue" || !strings.Contains(refused["reason"].(string), "durable") {
		t.Errorf("%v", p)
	}
	o := f.want(400, "POST", "/api/definitions/apply", file).(map[string]any)
	if o["error"] != "bad_request" || len(o["refuse"].([]any)) != 1 {
		t.Errorf("%v", o)
	}
	f.want(404, "GET", "/api/queues/%2F/b", "")
	f.want(204, "POST", "/api/definitions/apply?force=true", file)
	f.want(200, "GET", "/api/queues/%2F/b", "")
	f.want(201, "PUT", "/api/vhosts/v", `{}`)
	if p := f.want(200, "POST", "/api/definitions/plan?vhost=v", `{"queues":[{"name":"c"}]}`).(map[string]any); p["add"].([]any)[0].(map[string]any)["vhost"] != "v" {
		t.Errorf("%v", p)
	}
	f.want(204, "POST", "/api/definitions/apply?vhost=v", `{"queues":[{"name":"c"}]}`)
	f.want(200, "GET", "/api/queues/v/c", "")
	f.want(400, "POST", "/api/definitions/plan", `[]`)
	f.want(400, "POST", "/api/definitions/plan", `{"users":[{"name":"x"}]}`)
	f.want(404, "POST", "/api/definitions/plan?vhost=none", `{}`)
	f.user("eve", "management")
	if a := f.do("POST", "/api/definitions/plan", "eve", `{}`); a.status != 401 {
		t.Errorf("%d", a.status)
	}
}

// What RabbitMQ 3 and 4 exported can be imported, is the same then, and is
// exported, imported elsewhere and exported again alike.
func TestRecordedDefinitionsGoRound(t *testing.T) {
	for _, name := range []string{"definitions_3x.json", "definitions_4x.json"} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile("testdata/" + name)
			if err != nil {
				t.Fatal(err)
			}
			f := newFixture(t)
			if a := f.do("POST", "/api/definitions", "admin", string(data)); a.status != 204 && a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			first := f.do("GET", "/api/definitions", "admin", "").body
			g := newFixture(t)
			if a := g.do("POST", "/api/definitions", "admin", string(first)); a.status != 204 && a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if second := g.do("GET", "/api/definitions", "admin", "").body; string(second) != string(first) {
				t.Errorf("first\n%s\nsecond\n%s", first, second)
			}
			var p struct{ Add, Change, Refuse []any }
			a := g.do("POST", "/api/definitions/plan", "admin", string(first))
			if err := json.Unmarshal(a.body, &p); err != nil || len(p.Add)+len(p.Change)+len(p.Refuse) > 0 {
				t.Errorf("%v %s", err, a.body)
			}
		})
	}
}

// Whoever asks again with the tag of the last answer is told that nothing has
// changed.
func TestDefinitionsHaveATag(t *testing.T) {
	f := newFixture(t)
	a := f.do("GET", "/api/definitions", "admin", "")
	tag := a.header.Get("Etag")
	if tag == "" {
		t.Fatal("no tag")
	}
	if a := f.do("GET", "/api/definitions", "admin", "", "If-None-Match", tag); a.status != 304 || len(a.body) != 0 {
		t.Errorf("%d %s", a.status, a.body)
	}
	f.want(201, "PUT", "/api/queues/%2F/a", `{}`)
	if a := f.do("GET", "/api/definitions", "admin", "", "If-None-Match", tag); a.status != 200 || a.header.Get("Etag") == tag {
		t.Errorf("%d %s", a.status, a.header.Get("Etag"))
	}
}
