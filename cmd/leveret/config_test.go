package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"leveret/cmd/internal/config"

	amqp "github.com/rabbitmq/amqp091-go"
)

// confFile makes a configuration file.
func confFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rabbitmq.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// said runs leveret to its end and returns what it says and its exit code.
func said(env []string, args ...string) (stdout, stderr string, code int) {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), asLeveret+"=1"), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestServesByConfigurationFile(t *testing.T) {
	file := confFile(t, "default_user = app\ndefault_pass = 'se#cret'\ndefault_vhost = shop\nhearbeat = 1\nauth_ldap.servers.1 = x\nheartbeat = 30\n")
	p := serving(t, "--config", file)
	c, err := amqp.Dial("amqp://app:se%23cret@" + p.addrs["amqp"] + "/shop")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, want := range []string{"rabbitmq.conf:4", "did you mean heartbeat?", "LDAP"} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, p.stderr)
		}
	}
	if strings.Contains(p.stderr.String(), "se#cret") {
		t.Errorf("the log has the password:\n%s", p.stderr)
	}
}

func TestPrintConfig(t *testing.T) {
	file := confFile(t, "heartbeat = 30\ndefault_pass = sesame\n")
	env := []string{"LEVERET_CONFIG=" + file, "RABBITMQ_DEFAULT_USER=app", "LEVERET_QUEUE_MEMORY=1MiB"}
	out, errs, code := said(env, "--print-config=json", "--sync", "none")
	var values []config.Value
	if err := json.Unmarshal([]byte(out), &values); code != exitOK || err != nil {
		t.Fatalf("exit code %d, %v: %s", code, err, errs)
	}
	want := map[string][2]string{
		"leveret.heartbeat": {"30s", file + ":1 heartbeat"}, "leveret.default_user": {"app", "RABBITMQ_DEFAULT_USER"}, "leveret.default_pass": {"********", file + ":2 default_pass"},
		"leveret.queue_memory": {"1MiB", "LEVERET_QUEUE_MEMORY"}, "leveret.sync": {"none", "--sync"}, "leveret.frame_max": {"131072", ""},
	}
	for _, v := range values {
		if w, ok := want[v.Key]; ok && (v.Value != w[0] || v.Source != w[1]) {
			t.Errorf("%+v, want %v", v, w)
		}
		delete(want, v.Key)
	}
	if len(want) > 0 {
		t.Errorf("not there: %v", want)
	}
	out, _, code = said(env, "--print-config")
	if code != exitOK || !strings.Contains(out, "leveret.heartbeat = 30s") || !strings.Contains(out, "# file: "+file+":1 heartbeat") || strings.Contains(out, "sesame") {
		t.Errorf("exit code %d: %s", code, out)
	}
}

func TestConfigurationRefused(t *testing.T) {
	file := confFile(t, "hearbeat = 30\nauth_ldap.port = 389\n")
	for _, c := range []struct {
		env  string
		args []string
		code int
		says []string
	}{
		{"", []string{"--config", file, "--strict"}, exitConf, []string{"rabbitmq.conf:1: hearbeat", "rabbitmq.conf:2: auth_ldap.port", "did you mean heartbeat"}},
		{"", []string{"--config", confFile(t, "\nheartbeat = soon\nfrom here = 1\n")}, exitConf, []string{"rabbitmq.conf:2: heartbeat", "rabbitmq.conf:3:"}},
		{"", []string{"--config", confFile(t, "frame_max = 10\n")}, exitConf, []string{"rabbitmq.conf:1: frame_max", "4096"}},
		{"", []string{"--config", file + ".missing"}, exitConf, []string{"--config", "no such file"}},
		{"RABBITMQ_VM_MEMORY_HIGH_WATERMARK=0.4", nil, exitConf, []string{"RABBITMQ_VM_MEMORY_HIGH_WATERMARK", "vm_memory_high_watermark.relative"}},
		{"LEVERET_HEARTBEAT=soon", nil, exitUsage, []string{"LEVERET_HEARTBEAT"}},
		{"", []string{"--print-config=xml"}, exitUsage, []string{"--print-config"}},
	} {
		out, errs, code := said([]string{c.env}, c.args...)
		for _, want := range c.says {
			if code != c.code || !strings.Contains(errs, want) {
				t.Errorf("%s %q: exit code %d, want %d with %q; it says %s%s", c.env, c.args, code, c.code, want, out, errs)
			}
		}
	}
}
