package mgmt

import (
	"encoding/json"
	"fmt"
	"testing"

	"leveret/core/auth"
)

func permission(configure, write, read string) auth.Permission {
	return auth.Permission{Configure: configure, Write: write, Read: read}
}

// route is an answer of POST …/route.
type route struct {
	Routed, Alternate, Delayed bool
	Queues                     []string
	Bindings                   []struct {
		Source, Destination string
		Key                 string `json:"routing_key"`
		Props               string `json:"properties_key"`
	}
	Paths [][]struct{ Kind, Name, Via string }
}

func (r *route) String() string {
	s := fmt.Sprintf("%v", r.Queues)
	for _, b := range r.Bindings {
		s += fmt.Sprintf(" %s-%s->%s", b.Source, b.Key, b.Destination)
	}
	for _, p := range r.Paths {
		s += " |"
		for _, h := range p {
			s += fmt.Sprintf(" %s:%s", h.Via, h.Name)
		}
	}
	if r.Alternate {
		s += " alternate"
	}
	if r.Delayed {
		s += " delayed"
	}
	return s
}

func (f *fixture) route(exchange, body string) *route {
	f.t.Helper()
	a := f.do("POST", "/api/exchanges/%2F/"+exchange+"/route", "admin", body)
	r := &route{}
	if err := json.Unmarshal(a.body, r); a.status != 200 || err != nil {
		f.t.Fatalf("%s %s: %d %s", exchange, body, a.status, a.body)
	}
	if r.Routed != (len(r.Queues) > 0) {
		f.t.Errorf("routed %v to %v", r.Routed, r.Queues)
	}
	return r
}

func TestRoute(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/exchanges/%2F/top", `{"type":"topic","arguments":{"alternate-exchange":"rest"}}`)
	f.want(201, "PUT", "/api/exchanges/%2F/rest", `{"type":"fanout"}`)
	f.want(201, "PUT", "/api/exchanges/%2F/head", `{"type":"headers"}`)
	f.want(201, "PUT", "/api/exchanges/%2F/hash", `{"type":"x-consistent-hash"}`)
	f.want(201, "PUT", "/api/exchanges/%2F/later", `{"type":"x-delayed-message","arguments":{"x-delayed-type":"direct"}}`)
	f.want(201, "PUT", "/api/exchanges/%2F/lonely", `{"type":"direct"}`)
	f.want(201, "PUT", "/api/exchanges/%2F/once", `{"type":"x-message-deduplication","arguments":{"x-cache-size":10}}`)
	for _, q := range []string{"a", "b", "c"} {
		f.want(201, "PUT", "/api/queues/%2F/"+q, `{}`)
	}
	for _, b := range [][3]string{
		{"e/top/q/a", "news.*", "{}"}, {"e/top/q/a", "#.eu", "{}"}, {"e/top/q/b", "news.us", "{}"},
		{"e/top/e/head", "news.#", "{}"}, {"e/rest/q/c", "", "{}"}, {"e/head/q/c", "", `{"x-match":"all","tenant":"acme"}`},
		{"e/hash/q/a", "1", "{}"}, {"e/hash/q/b", "1", "{}"}, {"e/later/q/a", "k", "{}"}, {"e/once/q/a", "", "{}"},
	} {
		f.want(201, "POST", "/api/bindings/%2F/"+b[0], fmt.Sprintf(`{"routing_key":%q,"arguments":%s}`, b[1], b[2]))
	}
	for _, c := range []struct{ exchange, body, want string }{
		{"amq.default", `{"routing_key":"a"}`, "[a] -a->a | publish: binding:a"},
		{"amq.default", `{"routing_key":"none"}`, "[]"},
		{"top", `{"routing_key":"news.eu"}`, "[a] top-news.#->head top-#.eu->a top-news.*->a | publish:top binding:a"},
		{"top", `{"routing_key":"news.us"}`, "[a b] top-news.#->head top-news.*->a top-news.us->b | publish:top binding:a | publish:top binding:b"},
		{"top", `{"topic":"news/us"}`, "[a b] top-news.#->head top-news.*->a top-news.us->b | publish:top binding:a | publish:top binding:b"},
		{"top", `{"routing_key":"news.deep.us","headers":{"tenant":"acme"}}`, "[c] top-news.#->head head-->c | publish:top binding:head binding:c"},
		{"top", `{"routing_key":"sport"}`, "[c] rest-->c | publish:top alternate:rest binding:c alternate"},
		{"lonely", `{"routing_key":"x","headers":{"CC":["a"]}}`, "[]"},
		{"amq.default", `{"routing_key":"x","headers":{"CC":["a"],"BCC":["b"]}}`, "[a b] -a->a -b->b | publish: binding:a | publish: binding:b"},
		{"later", `{"routing_key":"k"}`, "[a] later-k->a | publish:later binding:a"},
		{"later", `{"routing_key":"k","headers":{"x-delay":1000}}`, "[] | publish:later delay:later delayed"},
	} {
		got := f.route(c.exchange, c.body).String()
		if got != c.want {
			t.Errorf("%s %s:\n got %s\nwant %s", c.exchange, c.body, got, c.want)
		}
	}
	for range 2 { // Looking is not publishing: what may pass once is not used up.
		if got := f.route("once", `{"routing_key":"","headers":{"x-deduplication-header":"k"}}`).String(); got != "[a] once-->a | publish:once binding:a" {
			t.Error(got)
		}
	}
	if r := f.route("hash", `{"routing_key":"k"}`); len(r.Queues) != 1 || len(r.Bindings) != 1 {
		t.Error(r)
	}
	if i := f.want(200, "GET", "/api/queues/%2F/a", "").(map[string]any); i["messages"] != 0.0 {
		t.Error("something was published")
	}
	for _, body := range []string{`{"routing_key":"a","topic":"a"}`, `{"headers":[1]}`, `{"headers":{"CC":"a"}}`, `[]`} {
		f.want(400, "POST", "/api/exchanges/%2F/top/route", body)
	}
	f.want(404, "POST", "/api/exchanges/%2F/none/route", `{}`)
}
