//go:build clients

package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestRabbitmqadmin runs the tool that came with RabbitMQ's management plugin
// through its verbs. It sends every value as a string.
func TestRabbitmqadmin(t *testing.T) {
	t.Parallel()
	const tool = "/usr/bin/rabbitmqadmin"
	if _, err := os.Stat(tool); err != nil {
		t.Fatalf("%v: run make prepare", err)
	}
	dir := t.TempDir()
	run := func(stdin string, words ...string) (out string, code int) {
		t.Helper()
		cmd := exec.Command("python3", append([]string{tool, "-H", broker.http.Hostname(), "-P", broker.http.Port()}, words...)...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
		b, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		return string(b), code
	}
	must := func(want string, words ...string) string {
		t.Helper()
		out, code := run("", words...)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("rabbitmqadmin %q: exit code %d, want 0 and %q:\n%s", words, code, want, out)
		}
		return out
	}
	refused := func(want string, words ...string) {
		t.Helper()
		if out, code := run("", words...); code != 1 || !strings.Contains(out, want) {
			t.Errorf("rabbitmqadmin %q: exit code %d, want 1 and %q:\n%s", words, code, want, out)
		}
	}

	must("vhost declared", "declare", "vhost", "name=admin1")
	t.Cleanup(func() { run("", "delete", "vhost", "name=admin1") })
	must("user declared", "declare", "user", "name=ann", "password=secret", "tags=management")
	t.Cleanup(func() { run("", "delete", "user", "name=ann") })
	must("permission declared", "declare", "permission", "vhost=admin1", "user=ann", "configure=.*", "write=.*", "read=.*")
	v := func(words ...string) []string { return append([]string{"-V", "admin1"}, words...) }
	must("exchange declared", v("declare", "exchange", "name=logs", "type=topic", "durable=true", "auto_delete=false")...)
	must("queue declared", v("declare", "queue", "name=q", "durable=true", `arguments={"x-max-length":10}`)...)
	must("queue declared", v("declare", "queue", "name=quorum", "queue_type=quorum")...)
	must("queue declared", v("declare", "queue", "name=q", "durable=true", `arguments={"x-max-length":10}`)...)
	refused("inequivalent arg", v("declare", "queue", "name=q", "durable=true", `arguments={"x-max-length":11}`)...)
	must("binding declared", v("declare", "binding", "source=logs", "destination=q", "destination_type=queue", "routing_key=a.#")...)
	must("policy declared", v("declare", "policy", "name=p", "pattern=^q$", `definition={"max-length-bytes":1000}`, "priority=3", "apply-to=queues")...)
	must("operator_policy declared", v("declare", "operator_policy", "name=op", "pattern=^q$", `definition={"max-length":5}`)...)
	must("vhost_limit declared", "declare", "vhost_limit", "vhost=admin1", "name=max-queues", "value=7")

	must("Message published", v("publish", "exchange=logs", "routing_key=a.b", "payload=hello", `properties={"delivery_mode":2,"headers":{"x":1}}`)...)
	if out, code := run("from stdin", v("publish", "routing_key=q", "exchange=amq.default")...); code != 0 || !strings.Contains(out, "Message published") {
		t.Errorf("publish from standard input: %d %s", code, out)
	}
	must("NOT routed", v("publish", "exchange=logs", "routing_key=nowhere", "payload=x")...)
	var got []map[string]any
	if err := json.Unmarshal([]byte(must("", v("-f", "raw_json", "get", "queue=q", "count=2", "ackmode=ack_requeue_true")...)), &got); err != nil || len(got) != 2 || got[0]["payload"] != "hello" {
		t.Errorf("got %v, %v", got, err)
	}
	must("a.b", v("get", "queue=q", "ackmode=ack_requeue_false", "payload_file=body")...)
	if b, err := os.ReadFile(filepath.Join(dir, "body")); err != nil || !bytes.Equal(b, []byte("hello")) {
		t.Errorf("the file has %q, %v", b, err)
	}

	for what, want := range map[string]string{
		"exchanges": "logs", "queues": "quorum", "bindings": "a.#", "policies": "max-length-bytes", "operator_policies": "op", "vhost_limits": "max-queues",
		"users": "ann", "vhosts": "admin1", "permissions": "ann", "nodes": "disc", "parameters": "", "connections": "", "channels": "", "consumers": "",
	} {
		must(want, v("list", what)...)
	}
	must("rabbitmq_version", "show", "overview")
	for _, format := range []string{"long", "kvp", "pretty_json"} {
		must("quorum", v("-f", format, "list", "queues", "name")...)
	}
	must("name", v("-f", "tsv", "list", "queues", "name", "messages")...)
	must("q\t10", v("-f", "tsv", "--sort", "name", "--sort-reverse", "list", "queues", "name", "arguments.x-max-length")...)
	must("logs", "-u", "ann", "-p", "secret", "-V", "admin1", "list", "exchanges")
	refused("Access refused", "-u", "ann", "-p", "wrong", "list", "queues")
	refused("Not found", v("delete", "queue", "name=nope")...)

	c, err := amqp.DialConfig(broker.amqp.String(), amqp.Config{Vhost: "admin1", SASL: []amqp.Authentication{&amqp.PlainAuth{Username: "ann", Password: "secret"}}, Properties: amqp.Table{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	closed := c.NotifyClose(make(chan *amqp.Error, 1))
	must("closed", "close", "connection", "name="+strings.TrimSpace(strings.Split(must("->", v("-f", "tsv", "list", "connections", "name")...), "\n")[1]))
	if e := <-closed; e == nil || e.Code != amqp.ConnectionForced {
		t.Errorf("the client was told %v", e)
	}

	must("Exported definitions", v("export", "defs.json")...)
	must("purged", v("purge", "queue", "name=q")...)
	must("binding deleted", v("delete", "binding", "source=logs", "destination_type=queue", "destination=q", "properties_key=a.%23")...)
	must("policy deleted", v("delete", "policy", "name=p")...)
	must("operator_policy deleted", v("delete", "operator_policy", "name=op")...)
	must("queue deleted", v("delete", "queue", "name=q")...)
	must("exchange deleted", v("delete", "exchange", "name=logs")...)
	must("Uploaded definitions", v("import", "defs.json")...)
	must("a.#", v("list", "bindings")...)
	must("max-length-bytes", v("list", "policies")...)
	must("vhost_limit deleted", "delete", "vhost_limit", "vhost=admin1", "name=max-queues")
	must("permission deleted", "delete", "permission", "vhost=admin1", "user=ann")
	must("user deleted", "delete", "user", "name=ann")
	must("vhost deleted", "delete", "vhost", "name=admin1")
}
