//go:build clients

package clients

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// asks sends a request as the visitor and returns the status and the reason of
// an error.
func (v *visitor) asks(method, path, body string, headers ...string) (status int, reason string) {
	u := *broker.http
	u.User = url.UserPassword(v.user, visitorPassword)
	r, err := http.NewRequest(method, u.String()+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := (&http.Client{Timeout: patience}).Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	var e struct{ Reason any }
	if json.Unmarshal(b, &e) == nil && e.Reason != nil {
		reason = fmt.Sprint(e.Reason)
	}
	return resp.StatusCode, reason
}

// TestMissingRightsHTTP is the table of the management API: who lacks the right
// to an object, by AMQP's permissions. In a virtual host that one may enter the
// API lists what there is, whatever one may do to it, so that of names alone no
// secret is made: some requests are told 404 first, as in RabbitMQ.
func TestMissingRightsHTTP(t *testing.T) {
	t.Parallel()
	v := newVisitor(t)
	request := func(method, path, body string, good ...int) func(*visitor, string) string {
		return func(v *visitor, name string) string {
			v.tag("management")
			fill := strings.NewReplacer("{v}", url.PathEscape(v.vhost), "NAME", name)
			status, reason := v.asks(method, "/api"+fill.Replace(path), fill.Replace(body))
			for _, g := range good {
				if status == g {
					return ""
				}
			}
			return fmt.Sprintf("%d %s", status, reason)
		}
	}
	const refused = "401 Access refused."
	const publish = `{"properties":{},"routing_key":"key","payload":"x","payload_encoding":"string"}`
	const get = `{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}`
	v.run([]refusal{
		{"PUT queue", configureQ, request("PUT", "/queues/{v}/NAME-q", "{}", 201, 204), refused, false},
		{"DELETE queue", configureQ, request("DELETE", "/queues/{v}/NAME-q", "", 204), refused, true},
		{"purge", readQ, request("DELETE", "/queues/{v}/NAME-q/contents", "", 204), refused, true},
		{"get", readQ, request("POST", "/queues/{v}/NAME-q/get", get, 200), refused, false},
		{"peek", readQ, request("GET", "/queues/{v}/NAME-q/messages", "", 200), refused, false},
		{"PUT exchange", configureX, request("PUT", "/exchanges/{v}/NAME-x", `{"type":"topic"}`, 201, 204), refused, false},
		{"DELETE exchange", configureX, request("DELETE", "/exchanges/{v}/NAME-x", "", 204), refused, true},
		{"publish", writeX, request("POST", "/exchanges/{v}/NAME-x/publish", publish, 200), refused, false},
		{"publish", topicWrite, request("POST", "/exchanges/{v}/there-x/publish", publish, 200), refused, true},
		{"publish to the default exchange", writeDefault, request("POST", "/exchanges/{v}/amq.default/publish", publish, 200), refused, true},
		{"bind a queue", writeQ, request("POST", "/bindings/{v}/e/mine-x/q/NAME-q", `{"routing_key":"new"}`, 201), refused, true},
		{"bind a queue", readX, request("POST", "/bindings/{v}/e/NAME-x/q/mine-q", `{"routing_key":"new"}`, 201), refused, true},
		{"bind a queue", topicRead, request("POST", "/bindings/{v}/e/there-x/q/mine-q", `{"routing_key":"new"}`, 201), refused, true},
		{"unbind a queue", writeQ, request("DELETE", "/bindings/{v}/e/mine-x/q/NAME-q/key", "", 204), refused, true},
		{"unbind a queue", readX, request("DELETE", "/bindings/{v}/e/NAME-x/q/mine-q/key", "", 204), refused, true},
		{"bind an exchange", writeX, request("POST", "/bindings/{v}/e/mine-x/e/NAME-x", `{"routing_key":"new"}`, 201), refused, true},
		{"bind an exchange", readX, request("POST", "/bindings/{v}/e/NAME-x/e/mine-x", `{"routing_key":"new"}`, 201), refused, true},
		{"unbind an exchange", writeX, request("DELETE", "/bindings/{v}/e/mine-x/e/NAME-x/xkey", "", 204), refused, true},
		{"unbind an exchange", readX, request("DELETE", "/bindings/{v}/e/NAME-x/e/mine-x/xkey", "", 204), refused, true},
	})
}

// TestMissingTags is the rest of that table: who lacks a tag, or the virtual
// host. Nobody is told what there is, and nothing is changed.
func TestMissingTags(t *testing.T) {
	t.Parallel()
	v := newVisitor(t)
	// What users of lesser tags are told, by what a resource needs.
	type who struct{ tags, told string }
	const (
		notManagement = "401 Not management user"
		notVHost      = "401 User not authorised to access virtual host"
		notPolicy     = "401 Not policymaker user"
		notMonitor    = "401 Not monitor user"
		notAdmin      = "401 Not administrator user"
		notObject     = "401 User not authorised to access object"
	)
	needs := map[string][]who{
		"management":    {{"", notManagement}, {"impersonator", notManagement}},
		"vhost":         {{"", notManagement}, {"management", notVHost}, {"policymaker", notVHost}, {"monitoring", notVHost}},
		"policymaker":   {{"", notManagement}, {"management", notPolicy}, {"monitoring", notPolicy}, {"policymaker", notVHost}},
		"monitoring":    {{"", notManagement}, {"management", notMonitor}, {"policymaker", notMonitor}},
		"administrator": {{"", notManagement}, {"management", notAdmin}, {"policymaker,monitoring", notAdmin}},
		"own":           {{"", notManagement}, {"management", notObject}, {"policymaker", notObject}},
	}
	somebody := newVisitor(t) // Whose connection can be looked at.
	somebody.grant(nothingMissing)
	conn, err := amqp.Dial(somebody.amqpURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Channel(); err != nil {
		t.Fatal(err)
	}
	there := map[string]string{"{v}": v.vhost, "{user}": v.user, "{x}": "amq.topic", "{q}": "there-q", "{connection}": conn.LocalAddr().String() + " -> " + conn.RemoteAddr().String()}
	for _, r := range []struct{ needs, method, path, body string }{
		{"management", "GET", "/overview", ""}, {"management", "GET", "/whoami", ""}, {"management", "GET", "/cluster-name", ""},
		{"administrator", "PUT", "/cluster-name", `{"name":"x"}`},
		{"monitoring", "GET", "/nodes", ""}, {"monitoring", "GET", "/nodes/{user}", ""}, {"monitoring", "GET", "/nodes/{user}/memory", ""},
		{"management", "GET", "/vhosts", ""}, {"administrator", "GET", "/vhosts/{v}", ""}, {"administrator", "PUT", "/vhosts/{v}", "{}"},
		{"administrator", "DELETE", "/vhosts/{v}", ""}, {"administrator", "GET", "/vhosts/{v}/permissions", ""},
		{"administrator", "GET", "/vhosts/{v}/topic-permissions", ""}, {"vhost", "GET", "/vhosts/{v}/connections", ""}, {"vhost", "GET", "/vhosts/{v}/channels", ""},
		{"administrator", "GET", "/users", ""}, {"administrator", "GET", "/users/{user}", ""}, {"administrator", "PUT", "/users/{user}", `{"password":"x","tags":"administrator"}`},
		{"administrator", "DELETE", "/users/{user}", ""}, {"administrator", "POST", "/users/bulk-delete", `{"users":["{user}"]}`},
		{"administrator", "GET", "/users/{user}/permissions", ""}, {"administrator", "GET", "/users/{user}/topic-permissions", ""},
		{"administrator", "GET", "/permissions", ""}, {"administrator", "GET", "/permissions/{v}/{user}", ""},
		{"administrator", "PUT", "/permissions/{v}/{user}", `{"configure":".*","write":".*","read":".*"}`}, {"administrator", "DELETE", "/permissions/{v}/{user}", ""},
		{"administrator", "GET", "/topic-permissions", ""}, {"administrator", "GET", "/topic-permissions/{v}/{user}", ""},
		{"administrator", "PUT", "/topic-permissions/{v}/{user}", `{"exchange":"amq.topic","write":".*","read":".*"}`},
		{"administrator", "DELETE", "/topic-permissions/{v}/{user}/{x}", ""},
		{"vhost", "GET", "/vhost-limits/{v}", ""}, {"administrator", "PUT", "/vhost-limits/{v}/max-queues", `{"value":1}`}, {"administrator", "DELETE", "/vhost-limits/{v}/max-queues", ""},
		{"administrator", "GET", "/user-limits", ""}, {"administrator", "GET", "/user-limits/{user}", ""}, {"administrator", "PUT", "/user-limits/{user}/max-channels", `{"value":1}`},
		{"administrator", "DELETE", "/user-limits/{user}/max-channels", ""},
		{"management", "GET", "/queues", ""}, {"vhost", "GET", "/queues/{v}", ""}, {"vhost", "GET", "/queues/{v}/{q}", ""}, {"vhost", "PUT", "/queues/{v}/{q}", "{}"},
		{"vhost", "DELETE", "/queues/{v}/{q}", ""}, {"vhost", "DELETE", "/queues/{v}/{q}/contents", ""}, {"vhost", "GET", "/queues/{v}/{q}/bindings", ""},
		{"vhost", "POST", "/queues/{v}/{q}/get", `{"count":1,"ackmode":"ack_requeue_false","encoding":"auto"}`}, {"vhost", "GET", "/queues/{v}/{q}/messages", ""},
		{"administrator", "POST", "/queues/{v}/{q}/actions", `{"action":"sync"}`},
		{"management", "GET", "/exchanges", ""}, {"vhost", "GET", "/exchanges/{v}", ""}, {"vhost", "GET", "/exchanges/{v}/{x}", ""}, {"vhost", "PUT", "/exchanges/{v}/{x}", `{"type":"topic"}`},
		{"vhost", "DELETE", "/exchanges/{v}/{x}", ""}, {"vhost", "GET", "/exchanges/{v}/{x}/bindings/source", ""},
		{"vhost", "POST", "/exchanges/{v}/{x}/publish", `{"properties":{},"routing_key":"key","payload":"x","payload_encoding":"string"}`},
		{"vhost", "POST", "/exchanges/{v}/{x}/route", `{"routing_key":"key"}`},
		{"management", "GET", "/bindings", ""}, {"vhost", "GET", "/bindings/{v}", ""}, {"vhost", "GET", "/bindings/{v}/e/{x}/q/{q}", ""}, {"vhost", "POST", "/bindings/{v}/e/{x}/q/{q}", "{}"},
		{"vhost", "GET", "/bindings/{v}/e/{x}/q/{q}/key", ""}, {"vhost", "DELETE", "/bindings/{v}/e/{x}/q/{q}/key", ""},
		{"management", "GET", "/connections", ""}, {"own", "GET", "/connections/{connection}", ""}, {"own", "GET", "/connections/{connection}/channels", ""},
		{"own", "DELETE", "/connections/{connection}", ""}, {"own", "GET", "/channels/{connection}%20(1)", ""},
		{"management", "GET", "/channels", ""}, {"management", "GET", "/consumers", ""}, {"vhost", "GET", "/consumers/{v}", ""},
		{"administrator", "GET", "/definitions", ""}, {"administrator", "POST", "/definitions", `{"users":[]}`},
		{"administrator", "GET", "/definitions/{v}", ""}, {"administrator", "POST", "/definitions/{v}", `{"queues":[]}`},
		{"management", "GET", "/policies", ""}, {"vhost", "GET", "/policies/{v}", ""}, {"policymaker", "GET", "/policies/{v}/p", ""},
		{"policymaker", "PUT", "/policies/{v}/p", `{"pattern":".*","definition":{"max-length":1}}`}, {"policymaker", "DELETE", "/policies/{v}/p", ""},
		{"vhost", "GET", "/operator-policies/{v}", ""}, {"administrator", "PUT", "/operator-policies/{v}/p", `{"pattern":".*","definition":{"max-length":1}}`},
		{"administrator", "DELETE", "/operator-policies/{v}/p", ""},
		{"policymaker", "GET", "/parameters/shovel/{v}", ""}, {"policymaker", "GET", "/parameters/shovel/{v}/p", ""}, {"policymaker", "PUT", "/parameters/shovel/{v}/p", `{"value":{}}`},
		{"vhost", "GET", "/aliveness-test/{v}", ""}, {"administrator", "POST", "/rebalance/queues", ""},
	} {
		for _, w := range needs[r.needs] {
			v.tag(w.tags)
			v.grant(vhostAccess)
			if r.needs == "policymaker" && w.told == notPolicy {
				v.grant(nothingMissing) // The virtual host is not what is missing.
				v.tag(w.tags)
			}
			for _, gone := range []bool{false, true} {
				path, body := r.path, r.body
				for key, value := range there {
					if gone {
						value = "gone-" + value
					}
					path = strings.ReplaceAll(path, key, url.PathEscape(value))
					body = strings.ReplaceAll(body, key, value)
				}
				status, reason := v.asks(r.method, "/api"+path, body)
				if told := fmt.Sprintf("%d %s", status, reason); told != w.told {
					t.Errorf("%s %s, gone %v, tags %q: told %q, want %q", r.method, r.path, gone, w.tags, told, w.told)
				}
			}
		}
	}
	// The header x-vhost is a virtual host's name too.
	v.tag("management")
	v.grant(vhostAccess)
	for _, vhost := range []string{v.vhost, "gone-" + v.vhost} {
		if status, reason := v.asks("GET", "/api/queues", "", "x-vhost", vhost); fmt.Sprintf("%d %s", status, reason) != notVHost {
			t.Errorf("x-vhost %s: told %d %s", vhost, status, reason)
		}
	}
	if conn.IsClosed() {
		t.Error("somebody's connection was closed")
	}
	if who := api(t, "GET", "/api/users/"+url.PathEscape(v.user), "", 200); !strings.Contains(who, `"tags":["management"]`) {
		t.Errorf("the user has become %s", who)
	}
}
