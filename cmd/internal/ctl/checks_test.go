package ctl

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leveret/adapters/mgmt"
	"leveret/core"
)

// TestChecks: what rabbitmq-diagnostics prints, and its exit codes.
func TestChecks(t *testing.T) {
	r := newRig(t)
	go r.broker.Run(t.Context()) // Ends with the test's context.
	r.wants(0, "check_running", "Checking if RabbitMQ is running on node rabbit@test ...\nRabbitMQ on node rabbit@test is fully booted and running\n")
	r.wants(0, "-q is_running", "RabbitMQ on node rabbit@test is fully booted and running\n")
	r.wants(0, "check_alarms", "Asking node rabbit@test to report any local resource alarms ...\nNode rabbit@test reported no alarms, local or clusterwide\n")
	r.wants(0, "-q check_local_alarms", "Node rabbit@test reported no local alarms\n")
	r.wants(0, "-q check_port_listener 5672", "A listener for port 5672 is running on node rabbit@test.\n")
	r.wants(69, "check_port_listener 1", "")
	r.wants(64, "check_port_listener x", "")
	r.wants(0, "-q check_protocol_listener amqp091", "A listener for protocol amqp091 is running on node rabbit@test.\n")
	r.wants(69, "check_protocol_listener nope", "")
	r.wants(0, "-q check_virtual_hosts", "Node rabbit@test reported all vhosts as running\n")
	r.wants(0, "-q check_certificate_expiration --within 2 --unit weeks", "No certificates are expiring within 2 weeks.\n")
	r.wants(64, "check_certificate_expiration --unit fortnights", "")
	r.wants(0, "-q node_health_check", "Health check passed\n")
	r.wants(0, "-q server_version", mgmt.RabbitVersion+"\n")
	r.wants(0, "listeners", "Asking node rabbit@test to report its protocol listeners ...\nInterface: [::], port: 5672, protocol: amqp, purpose: AMQP 0-9-1\n")
	r.wants(0, "-q eval rabbit:is_running().", "true\n")
	r.wants(0, "-q eval node().", "rabbit@test\n")
	r.wants(69, "eval 'os:cmd(\"id\").'", "")
	r.wants(0, "-q wait /var/run/pid", "")
	r.wants(69, "rotate_logs", "")
	r.wants(0, "-q enable_feature_flag quorum_queue", "")
	r.wants(69, "enable_feature_flag nonsense", "")
	r.wants(69, "quorum_status nope", "")

	for _, line := range []string{"cluster_status --formatter json", "listeners --formatter json", "status --formatter json"} {
		out, errs, code := ctl(line, "")
		if code != 0 || !json.Valid([]byte(out)) || !strings.Contains(out, "5672") {
			t.Errorf("%s: %d %s%s", line, code, out, errs)
		}
	}
	out, errs, code := ctl("report", "")
	if code != 0 || !strings.HasSuffix(out, "End of server status report\n") {
		t.Errorf("report: %d %s%s", code, out, errs)
	}
	for _, part := range []string{"Queues in vhost /", "amq.topic", "guest\t[administrator]", "Feature flags"} {
		if !strings.Contains(out, part) {
			t.Errorf("the report lacks %q:\n%s", part, out)
		}
	}

	changed := make(chan bool, 2)
	defer r.broker.Alarms().Watch(func() { changed <- true })()
	r.wants(0, "-q set_disk_free_limit 2GB", "")
	r.broker.Alarms().SetDiskFree(1)
	<-changed
	r.wants(69, "check_alarms", "")
	r.wants(69, "node_health_check", "")
	if out, _, _ := ctl("-q list_alarms", ""); !strings.Contains(out, "disk\t1\t2000000000\t0\t") {
		t.Errorf("alarms: %s", out)
	}
	if out, _, _ := ctl("-q alarms", ""); !strings.HasPrefix(out, "disk alarm on node rabbit@test: ") {
		t.Errorf("alarms: %s", out)
	}
	r.wants(0, "-q set_vm_memory_high_watermark absolute 1GiB", "")
	if got := r.broker.Memory().Limit(); got != 1<<30 {
		t.Errorf("the limit is %d", got)
	}
	for _, line := range []string{"set_vm_memory_high_watermark 2", "set_vm_memory_high_watermark absolute much", "set_disk_free_limit much", "set_disk_free_limit mem_relative x", "set_disk_free_limit 1 2 3"} {
		r.wants(64, line, "")
	}
}

// TestStopApp: the verbs of a tutorial that makes a node new.
func TestStopApp(t *testing.T) {
	r := newRig(t)
	r.wants(0, "-q add_vhost shop", "")
	r.wants(69, "reset", "") // Not while clients may be there.
	r.wants(0, "stop_app", "Stopping rabbit application on node rabbit@test ...\n")
	r.wants(69, "check_running", "")
	r.wants(0, "-q is_running", "RabbitMQ on node rabbit@test is stopped\n")
	r.wants(75, "await_startup -t 1", "")
	r.wants(0, "reset", "Resetting node rabbit@test ...\n")
	r.wants(0, "start_app", "Starting node rabbit@test ...\n")
	r.wants(0, "-q await_startup", "")
	r.wants(0, "-q list_vhosts", "name\n/\n")
}

// TestPlugins: what rabbitmq-plugins answers.
func TestPlugins(t *testing.T) {
	newRig(t)
	run := func(line string) (string, int) {
		var out, errs bytes.Buffer
		code := Main("rabbitmq-plugins", strings.Fields(line), strings.NewReader(""), &out, &errs)
		if (code != 0) != (errs.Len() != 0) {
			t.Errorf("%s: exit code %d with errors %q", line, code, &errs)
		}
		return out.String(), code
	}
	if out, code := run("list -m"); code != 0 || !strings.Contains(out, "rabbitmq_mqtt\n") {
		t.Errorf("list: %d %s", code, out)
	}
	if out, code := run("-q list web"); code != 0 || out != "[E*] rabbitmq_web_mqtt\n[E*] rabbitmq_web_stomp\n" {
		t.Errorf("list web: %d %s", code, out)
	}
	for line, want := range map[string]int{
		"is_enabled rabbitmq_mqtt": 0, "is_enabled rabbitmq_prometheus rabbitmq_shovel rabbitmq_event_exchange": 0, "is_enabled rabbitmq_mqtt rabbitmq_stomp": 0, "is_enabled rabbitmq_federation": 69, "is_enabled": 64,
		"enable rabbitmq_management": 0, "enable --offline rabbitmq_mqtt rabbitmq_stomp": 0, "enable nonsense": 65, "disable rabbitmq_mqtt": 69, "list_users": 64,
	} {
		if out, code := run(line); code != want {
			t.Errorf("%s: exit code %d, want %d: %s", line, code, want, out)
		}
	}
}

// TestSocket: over a Unix socket nobody asks for a password, and everything is
// allowed; who logs in all the same is who it says.
func TestSocket(t *testing.T) {
	b, err := core.New(core.Options{NodeName: "rabbit@test"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	dir, err := os.MkdirTemp("", "ctl") // Sockets have short names.
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "leveret.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	web := &httptest.Server{Listener: ln, Config: &http.Server{Handler: mgmt.NewServer(mgmt.Options{Broker: b, Logger: slog.New(slog.DiscardHandler)}).Handler()}}
	web.Start()
	defer web.Close()
	for _, name := range []string{"LEVERET_URL", "LEVERET_USER", "LEVERET_PASSWORD", "LEVERET_CTL_SOCKET"} {
		t.Setenv(name, "")
	}
	r := &rig{t, b, dir}
	r.wants(0, "-q --socket "+path+" list_users", "user\ttags\nguest\t[administrator]\n")
	t.Setenv("LEVERET_DATA_DIR", dir)
	r.wants(0, "-q delete_user guest", "")
	r.wants(0, "-q add_user app secret", "")
	r.wants(0, "-q list_users", "user\ttags\napp\t[]\n")
	r.wants(0, "-q authenticate_user app secret", "Success\n")
	r.wants(65, "-q authenticate_user app wrong", "")
	r.wants(69, "--socket "+path+" --user app --password secret list_users", "") // No administrator.
	session, err := b.OpenSession(core.SessionOptions{VHost: "/", Principal: core.Superuser("test"), Internal: true})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if _, err := session.DeclareQueue(core.QueueDeclare{Name: "q", Durable: true}); err != nil {
		t.Fatal(err)
	}
	r.wants(0, "-q purge_queue q", "")
	r.wants(0, "-q delete_queue q", "")
	if _, errs, code := ctl("--socket "+path+".not list_users", ""); code != 69 || !strings.Contains(errs, path+".not") {
		t.Errorf("no socket: %d %s", code, errs)
	}
}

// TestCompletion: verbs, flags, values of flags and the broker's own names.
func TestCompletion(t *testing.T) {
	r := newRig(t)
	r.wants(0, "-q add_user app secret", "")
	r.wants(0, "-q add_vhost shop", "")
	for _, c := range []struct {
		words string
		want  []string
	}{
		{"list_user", []string{"list_user_limits", "list_user_permissions", "list_user_topic_permissions", "list_users"}},
		{"delete_user ", []string{"app", "guest"}},
		{"-q delete_user a", []string{"app"}},
		{"list_queues -p ", []string{"/", "shop"}},
		{"list_queues --vhost s", []string{"shop"}},
		{"list_queues --formatter ", []string{"csv", "json", "pretty_table", "table"}},
		{"list_queues --no-t", []string{"--no-table-headers"}},
		{"nonsense", nil},
		{"set_permissions -p shop a", []string{"app"}},
	} {
		var out bytes.Buffer
		Complete(strings.Split(c.words, " "), &out)
		if got := strings.Fields(out.String()); !slices.Equal(got, c.want) {
			t.Errorf("%q: %v, want %v", c.words, got, c.want)
		}
	}
	for _, shell := range Shells() {
		if script, err := CompletionScript(shell); err != nil || !strings.Contains(script, "__complete") {
			t.Errorf("%s: %v", shell, err)
		}
	}
	if _, err := CompletionScript("csh"); err == nil {
		t.Error("csh has a script")
	}
	Complete(nil, io.Discard)
}
