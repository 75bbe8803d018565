package mgmt

import (
	"fmt"
	"testing"

	"leveret/core"
)

// attach makes a client as the MQTT adapter does.
func (f *fixture) attach(user, id string, expiryMS int64, subs ...core.Subscription) *core.Client {
	f.t.Helper()
	s := f.session(user, "/")
	c, _, err := s.Attach(f.t.Context(), core.ClientOptions{
		ID: id, ExpiryMS: expiryMS, Queue: "mqtt-" + id + "qos1", DirectQueue: "mqtt-" + id + "qos0",
		Will: &core.Will{Exchange: "amq.topic", RoutingKey: "state." + id, Form: core.FormMQTT, Encoded: []byte{1}, Body: []byte("gone"), TTLMS: -1, DelayMS: 5000, Retain: true},
	})
	f.must(err)
	_, errs := c.Subscribe(subs)
	for _, err := range errs {
		f.must(err)
	}
	return c
}

func TestSessions(t *testing.T) {
	f := newFixture(t)
	f.user("eve", "management")
	f.must(f.broker.SetPermission("eve", "/", all))
	sensor := f.attach("admin", "sensor", 3600_000,
		core.Subscription{Filter: "a/+", Exchange: "amq.topic", Key: "a.*", Grade: 1, NoLocal: true, Identifier: 7, Handling: 2},
		core.Subscription{Filter: "$share/g/b/#", Exchange: "amq.topic", Key: "b.#", Grade: 2, Shared: "mqtt-share-g"})
	f.attach("eve", "panel/1", 0, core.Subscription{Filter: "a/#", Exchange: "amq.topic", Key: "a.#"})
	f.want(200, "POST", "/api/exchanges/%2F/amq.topic/publish", `{"properties":{},"routing_key":"a.b","payload":"xyz","payload_encoding":"string"}`)

	list := f.want(200, "GET", "/api/sessions", "").([]any)
	if len(list) != 2 || list[0].(map[string]any)["client_id"] != "panel/1" {
		t.Fatalf("%v", list)
	}
	o := f.want(200, "GET", "/api/sessions/%2F/sensor", "").(map[string]any)
	for k, want := range map[string]any{
		"client_id": "sensor", "vhost": "/", "user": "admin", "connected": true, "expires_at": nil, "expiry_interval": 3600.0, "messages": 1.0, "message_bytes": 3.0,
		"queues": []any{"mqtt-sensorqos1", "mqtt-share-g"},
		"will":   map[string]any{"topic": "state/sensor", "exchange": "amq.topic", "routing_key": "state.sensor", "payload_bytes": 4.0, "qos": 1.0, "retain": true, "delay": 5.0},
		"subscriptions": []any{
			map[string]any{"filter": "$share/g/b/#", "qos": 2.0, "no_local": false, "retain_as_published": false, "retain_handling": 0.0, "share": "g", "identifier": nil},
			map[string]any{"filter": "a/+", "qos": 1.0, "no_local": true, "retain_as_published": false, "retain_handling": 2.0, "share": nil, "identifier": 7.0},
		},
	} {
		if fmt.Sprint(o[k]) != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v", k, o[k], want)
		}
	}
	sensor.Detach(core.Lost)
	o = f.want(200, "GET", "/api/sessions/%2F/sensor", "").(map[string]any)
	if o["connected"] != false || o["user"] != nil || o["expires_at"] == nil || len(o["subscriptions"].([]any)) != 2 {
		t.Errorf("%v", o)
	}
	page := f.want(200, "GET", "/api/sessions/%2F?page=1&name=pan", "").(map[string]any)
	if items := page["items"].([]any); len(items) != 1 || items[0].(map[string]any)["expiry_interval"] != 0.0 {
		t.Errorf("%v", page)
	}

	// Others see their own.
	if a := f.do("GET", "/api/sessions", "eve", ""); len(a.json(t).([]any)) != 1 {
		t.Errorf("%s", a.body)
	}
	if a := f.do("GET", "/api/sessions/%2F/sensor", "eve", ""); a.status != 404 {
		t.Errorf("%d", a.status)
	}
	if a := f.do("DELETE", "/api/sessions/%2F/sensor", "eve", ""); a.status != 404 {
		t.Errorf("%d", a.status)
	}
	f.want(204, "DELETE", "/api/sessions/%2F/sensor", "")
	f.want(404, "DELETE", "/api/sessions/%2F/sensor", "")
	f.want(404, "GET", "/api/queues/%2F/mqtt-sensorqos1", "")
}

// keep publishes a message to be retained.
func (f *fixture) keep(key, body string, encoded ...byte) {
	f.t.Helper()
	s := f.session("admin", "/")
	p := s.NewPublisher(make(confirmation, 1))
	target, err := p.Target("amq.topic")
	f.must(err)
	ms := make([]core.Publication, 1)
	m := &ms[0]
	m.Reset()
	m.RoutingKey, m.Body, m.Retain, m.Number, m.Form, m.Encoded = key, []byte(body), true, 1, core.FormMQTT, encoded
	_, err = p.Route(target, m)
	f.must(err)
	var touched core.Touched
	p.Publish(ms, &touched)
	touched.Flush()
}

func TestRetainedTree(t *testing.T) {
	f := newFixture(t)
	f.keep("home.kitchen.temp", "21", 1)
	f.keep("home.kitchen", "ok", 0)
	f.keep("home.hall.temp", "19", 2)
	f.keep("v1/2", "dotted", 0)
	show := func(query string) string {
		t.Helper()
		out := ""
		for _, r := range f.want(200, "GET", "/api/retained/%2F?sort=topic&"+query, "").([]any) {
			o := r.(map[string]any)
			out += fmt.Sprintf("%v(%v) %v", o["topic"], o["level"], o["children"])
			if m, ok := o["message"].(map[string]any); ok {
				out += fmt.Sprintf(" %v@%v", m["size"], m["qos"])
			}
			out += "; "
		}
		return out
	}
	for query, want := range map[string]string{
		"":                    "home(home) 2; v1.2(v1.2) 0 6@0; ",
		"under=home":          "home/hall(hall) 1; home/kitchen(kitchen) 1 2@0; ",
		"under=home/kitchen":  "home/kitchen/temp(temp) 0 2@1; ",
		"under=home/attic":    "",
		"under=":              "",
		"search=TEMP":         "home/hall/temp(temp) 0 2@2; home/kitchen/temp(temp) 0 2@1; ",
		"search=e&under=home": "home/hall/temp(temp) 0 2@2; home/kitchen(kitchen) 1 2@0; home/kitchen/temp(temp) 0 2@1; ",
		"exchange=amq.direct": "",
	} {
		if got := show(query); got != want {
			t.Errorf("%s:\n got %s\nwant %s", query, got, want)
		}
	}
	m := f.want(200, "GET", "/api/retained/%2F/message?topic=home/kitchen/temp", "").(map[string]any)
	if m["payload"] != "21" || m["topic"] != "home/kitchen/temp" || m["qos"] != 1.0 || m["routing_key"] != "home.kitchen.temp" || m["truncated"] != false {
		t.Errorf("%v", m)
	}
	f.want(400, "GET", "/api/retained/%2F/message", "")
	f.want(404, "GET", "/api/retained/%2F/message?topic=none", "")
	f.want(404, "GET", "/api/retained/%2F/message?topic=x&exchange=none", "")

	f.user("eve", "management")
	f.must(f.broker.SetPermission("eve", "/", permission("", "^$", "^$")))
	for _, path := range []string{"", "/message?topic=home/kitchen", "?exchange=none"} {
		if a := f.do("GET", "/api/retained/%2F"+path, "eve", ""); a.status != 401 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	f.must(f.broker.SetPermission("eve", "/", permission("", "^$", ".*")))
	if a := f.do("DELETE", "/api/retained/%2F/message?topic=home/kitchen", "eve", ""); a.status != 401 {
		t.Errorf("%d", a.status)
	}
	f.want(204, "DELETE", "/api/retained/%2F/message?topic=home/kitchen", "")
	f.want(404, "DELETE", "/api/retained/%2F/message?topic=home/kitchen", "")
	if got := show("under=home"); got != "home/hall(hall) 1; home/kitchen(kitchen) 1; " {
		t.Error(got)
	}
}
