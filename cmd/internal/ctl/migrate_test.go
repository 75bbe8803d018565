package ctl

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestChooseDefinitions(t *testing.T) {
	const definitions = `{
		"rabbit_version": "3.10.8", "rabbitmq_version": "3.10.8",
		"users": [{"name": "me", "password_hash": "x"}, {"name": "bob", "password_hash": "bFY19QME"}, {"name": "eve"}],
		"vhosts": [{"name": "/"}, {"name": "shop"}],
		"permissions": [{"user": "bob", "vhost": "shop"}, {"user": "eve", "vhost": "/"}],
		"parameters": [{"component": "shovel", "vhost": "shop", "name": "s"}, {"component": "vhost-limits", "vhost": "shop", "name": "limits", "value": {"max-queues": 12345678901}}],
		"global_parameters": [{"name": "cluster_name", "value": "c"}, {"name": "internal_cluster_id", "value": "i"}],
		"queues": [{"name": "a", "vhost": "/"}, {"name": "b", "vhost": "shop"}]}`
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(definitions), &all); err != nil {
		t.Fatal(err)
	}
	file, notes, err := chooseDefinitions(all, []string{"shop"}, true, "me")
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]string{
		"users": `[{"name":"bob","password_hash":"bFY19QME"}]`, "vhosts": `[{"name":"shop"}]`, "queues": `[{"name":"b","vhost":"shop"}]`,
		"parameters": `[{"component":"vhost-limits","name":"limits","value":{"max-queues":12345678901},"vhost":"shop"}]`, "global_parameters": "", "bindings": "[]",
	} {
		if string(file[kind]) != want {
			t.Errorf("%s: %s, want %s", kind, file[kind], want)
		}
	}
	if said := strings.Join(notes, "\n"); !strings.Contains(said, "User 'me' stays") || !strings.Contains(said, "shovel 's'") {
		t.Errorf("notes: %s", said)
	}
	file, _, err = chooseDefinitions(all, []string{"/", "shop"}, false, "")
	if err != nil || strings.Count(string(file["users"]), "name") != 3 || strings.Contains(string(file["global_parameters"]), "internal") {
		t.Errorf("%s, %v", file, err)
	}
	if _, _, err := chooseDefinitions(map[string]json.RawMessage{"queues": json.RawMessage(`"x"`)}, nil, false, ""); err == nil {
		t.Error("queues that are no list are taken")
	}
}

func TestTemporaryQueues(t *testing.T) {
	for _, q := range []sourceQueue{
		{Name: "x", Exclusive: true}, {Name: "x", Owner: map[string]any{"name": "c"}}, {Name: "x", AutoDelete: true}, {Name: "amq.gen-1"}, {Name: "mqtt-subscription-cqos1"},
	} {
		if q.temporary() == "" {
			t.Errorf("%+v is to be moved", q)
		}
	}
	if q := (sourceQueue{Name: "x", Type: "rabbit_quorum_queue"}); q.temporary() != "" || q.kind() != "quorum" {
		t.Errorf("%+v", q)
	}
	if n := (&sourceQueue{Messages: 10, Bytes: 10 << 20}).prefetch(); n != 15 {
		t.Errorf("%d messages of 1 MiB under way", n)
	}
}

// TestMigrateErrors has what goes wrong at the other side said so that it helps.
func TestMigrateErrors(t *testing.T) {
	r := newRig(t)
	api := http.NewServeMux()
	answers := map[string]string{"/api/overview": `{"rabbitmq_version": "3.10.8", "cluster_name": "c"}`, "/api/vhosts": `[{"name": "/"}, {"name": "shop"}]`, "/api/definitions": `{"vhosts": [{"name": "/"}]}`}
	api.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		user, _, _ := req.BasicAuth()
		a, ok := answers[req.URL.Path]
		switch {
		case user != "guest":
			w.WriteHeader(401)
			w.Write([]byte(`{"error": "not_authorised", "reason": "Not administrator user"}`))
		case !ok:
			w.WriteHeader(404)
		default:
			w.Write([]byte(a))
		}
	})
	web := httptest.NewServer(api)
	defer web.Close()
	as := func(user string) string { return strings.Replace(web.URL, "http://", "http://"+user+":guest@", 1) }
	for _, c := range []struct {
		line, want string
		code       int
	}{
		{"migrate", "missing flags", exitUsage},
		{"migrate --from-amqp http://x --from-api " + as("guest"), "--from-amqp is not an AMQP address", exitUsage},
		{"migrate --from-amqp amqp://127.0.0.1:1 --from-api http://127.0.0.1:1", "rabbitmq-plugins enable rabbitmq_management", exitUnavailable},
		{"migrate --from-amqp amqp://127.0.0.1:1 --from-api " + as("bob"), "rabbitmqctl set_user_tags bob administrator", exitUnavailable},
		{"migrate --from-amqp amqp://127.0.0.1:1 --vhosts nope --from-api " + as("guest"), "there is no virtual host 'nope'", exitData},
		{"migrate --from-amqp amqp://127.0.0.1:1 --include ( --from-api " + as("guest"), "--include", exitUsage},
		{"migrate --from-amqp amqp://127.0.0.1:1 --concurrency 0 --from-api " + as("guest"), "--concurrency", exitUsage},
	} {
		_, errs, code := ctl(c.line, "")
		if code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit %d\n%s\nwant %d, %q", c.line, code, errs, c.code, c.want)
		}
	}
	// Definitions alone need no AMQP.
	out, errs, code := ctl("migrate --definitions-only --from-amqp amqp://127.0.0.1:1 --from-api "+as("guest"), "")
	if code != exitOK || !strings.Contains(out, "Imported 1 vhosts") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	r.wants(exitData, "-q delete_shovel nope", "")
	r.wants(exitData, "-q restart_shovel nope", "")
	r.wants(exitOK, "-q shovel_status", "")
}
