package main

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"leveret/cmd/internal/config"

	amqp "github.com/rabbitmq/amqp091-go"
)

// effective is what the API says is in force.
func effective(t *testing.T, p *process) map[string]config.Value {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, p.httpURL()+"/api/config/effective", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("guest", "guest")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var values []config.Value
	if err := json.NewDecoder(res.Body).Decode(&values); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", res.StatusCode, err)
	}
	all := map[string]config.Value{}
	for _, v := range values {
		all[v.Key] = v
	}
	return all
}

func TestHangupReadsTheConfigurationAgain(t *testing.T) {
	file := confFile(t, "log.console.level = info\nheartbeat = 30\n")
	logged := filepath.Join(t.TempDir(), "log", "leveret.log")
	p := serving(t, "--config", file)
	rewrite := func(text, until_ string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p.signal(syscall.SIGHUP)
		until(t, until_, func() bool { return strings.Contains(p.stderr.String(), until_) })
	}

	rewrite("log.console.level = debug\nheartbeat = 40\nvm_memory_high_watermark.absolute = 77MB\nlog.file = "+logged+"\nlog.file.formatter = json\nmqtt.prefetch = 9\n",
		"configuration read again")
	for _, want := range []string{
		"key=leveret.memory_limit from=0.6 to=77MB effect=\"in force\"", "key=leveret.log_level from=info to=debug effect=\"in force\"", "key=leveret.heartbeat from=30s to=40s effect=\"needs a restart\"",
		"key=leveret.mqtt_prefetch from=256 to=9 effect=\"needs a restart\"", "key=leveret.log_file",
	} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("the log has no %s:\n%s", want, p.stderr)
		}
	}
	until(t, "the file is written to", func() bool {
		b, _ := os.ReadFile(logged)
		return strings.Contains(string(b), `"key":"leveret.memory_limit"`)
	})
	now := effective(t, p)
	for key, want := range map[string]string{"leveret.memory_limit": "77MB", "leveret.heartbeat": "30s", "leveret.log_level": "debug", "leveret.default_pass": "********"} {
		if now[key].Value != want {
			t.Errorf("the API says %+v, want %s", now[key], want)
		}
	}
	if at := now["leveret.memory_limit"].Source; at != file+":3 vm_memory_high_watermark.absolute" {
		t.Errorf("its source is %s", at)
	}

	rewrite("log.console.level = loud\nvm_memory_high_watermark.absolute = 88MB\n", "rabbitmq.conf:1: log.console.level")
	rewrite("frame_max = 1\nvm_memory_high_watermark.absolute = 99MB\n", "rabbitmq.conf:1: frame_max")
	if v := effective(t, p)["leveret.memory_limit"]; v.Value != "77MB" {
		t.Errorf("a wrong file changed %+v", v)
	}
	if n := strings.Count(p.stderr.String(), "the configuration stays as it was"); n != 2 {
		t.Errorf("%d refusals in the log:\n%s", n, p.stderr)
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// TestLiveSettings holds what SIGHUP changes against the tags that say so.
func TestLiveSettings(t *testing.T) {
	var can []string
	for _, a := range liveSettings(nil, nil, streams{}) {
		for _, flag := range a.flags {
			can = append(can, "--"+flag)
		}
	}
	_, kctx, cl, err := parse([]string{"serve"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	report, err := config.Load(&cl.Serve.Serve, given(kctx))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range cl.Serve.Values(report) {
		if v.Live != slices.Contains(can, v.Flag) {
			t.Errorf("%s has the tag live: %v", v.Flag, v.Live)
		}
	}
}

func TestDefaultsOfNewVirtualHosts(t *testing.T) {
	file := confFile(t, `
default_user_tags.administrator = true
default_permissions.configure = ^app
default_users.qa.password = sesame
default_users.qa.vhost_pattern = ^qa
default_users.qa.read = ^in
default_limits.vhosts.qa.pattern = ^qa
default_limits.vhosts.qa.max_queues = 1
default_policies.operator.ttl.vhost_pattern = ^qa
default_policies.operator.ttl.message_ttl = 1h
cluster_name = hutch
`)
	p := serving(t, "--config", file)
	get := func(method, path string, into any) int {
		t.Helper()
		req, err := http.NewRequest(method, p.httpURL()+"/api"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("guest", "guest")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if into != nil {
			if err := json.NewDecoder(res.Body).Decode(into); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		}
		return res.StatusCode
	}
	for _, vhost := range []string{"qa1", "other"} {
		if code := get(http.MethodPut, "/vhosts/"+vhost, nil); code != http.StatusCreated {
			t.Fatalf("status %d", code)
		}
	}
	var permissions []struct{ User, VHost, Configure, Read string }
	get(http.MethodGet, "/permissions", &permissions)
	seen := map[string]string{}
	for _, m := range permissions {
		seen[m.User+"@"+m.VHost] = m.Configure + " " + m.Read
	}
	if seen["guest@/"] != "^app .*" || seen["qa@qa1"] != ".* ^in" || seen["qa@other"] != "" || seen["qa@/"] != "" {
		t.Errorf("permissions: %v", seen)
	}
	var limits []struct {
		VHost string
		Value map[string]int
	}
	get(http.MethodGet, "/vhost-limits", &limits)
	if len(limits) != 1 || limits[0].VHost != "qa1" || limits[0].Value["max-queues"] != 1 {
		t.Errorf("limits: %+v", limits)
	}
	var policies []struct {
		VHost, Name string
		Definition  map[string]int
	}
	get(http.MethodGet, "/operator-policies", &policies)
	if len(policies) != 1 || policies[0].VHost != "qa1" || policies[0].Definition["message-ttl"] != 3600000 {
		t.Errorf("policies: %+v", policies)
	}
	var name struct{ Name string }
	if get(http.MethodGet, "/cluster-name", &name); name.Name != "hutch" {
		t.Errorf("cluster name %q", name.Name)
	}
	c, err := amqp.Dial("amqp://qa:sesame@" + p.addrs["amqp"] + "/qa1")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestDefinitionsOfADirectoryOnlyWhenTheyChange(t *testing.T) {
	dir, data := t.TempDir(), t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("1.json", `{"users":[{"name":"guest","password":"guest","tags":"administrator"}],"vhosts":[{"name":"/"}],"permissions":[{"user":"guest","vhost":"/","configure":".*","write":".*","read":".*"}]}`)
	put("2.json", `{"queues":[{"name":"q","vhost":"/","durable":true}]}`)
	start := func() (*process, *amqp.Channel) {
		t.Helper()
		p := serving(t, "--data-dir", data, "--load-definitions", dir, "--skip-unchanged-definitions")
		c, err := amqp.Dial(p.amqpURL())
		if err != nil {
			t.Fatal(err)
		}
		ch, err := c.Channel()
		if err != nil {
			t.Fatal(err)
		}
		return p, ch
	}
	stop := func(p *process) {
		t.Helper()
		p.signal(syscall.SIGTERM)
		p.wait()
	}
	p, ch := start()
	if _, err := ch.QueueDelete("q", false, false, false); err != nil {
		t.Fatal(err)
	}
	stop(p)
	p, ch = start()
	if _, err := ch.QueueDeclarePassive("q", true, false, false, false, nil); err == nil {
		t.Error("definitions that have not changed were imported again")
	}
	if !strings.Contains(p.stderr.String(), "they are those of the last start") {
		t.Errorf("nothing says why:\n%s", p.stderr)
	}
	stop(p)
	put("2.json", `{"queues":[{"name":"q","vhost":"/","durable":true},{"name":"r","vhost":"/","durable":true}]}`)
	_, ch = start()
	for _, q := range []string{"q", "r"} {
		if _, err := ch.QueueDeclarePassive(q, true, false, false, false, nil); err != nil {
			t.Error(err)
		}
	}
}

func TestTellsSystemd(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	ln, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	hear := func() string {
		t.Helper()
		ln.SetReadDeadline(time.Now().Add(patience))
		b := make([]byte, 100)
		n, err := ln.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	pid := filepath.Join(t.TempDir(), "pid")
	p := serving(t, "--pid-file", pid)
	if got := hear(); got != "READY=1" {
		t.Errorf("it says %q first", got)
	}
	if b, err := os.ReadFile(pid); err != nil || strings.TrimSpace(string(b)) != strconv.Itoa(p.cmd.Process.Pid) {
		t.Errorf("the file has %q, %v", b, err)
	}
	p.signal(syscall.SIGTERM)
	if got := hear(); got != "STOPPING=1" {
		t.Errorf("it says %q at the end", got)
	}
	p.wait()
	if _, err := os.Stat(pid); err == nil {
		t.Error("the pid file is still there")
	}
}
