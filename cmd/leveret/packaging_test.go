package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"leveret/cmd/internal/config"
)

// packaged reads a file of those that package the broker.
func packaged(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// instruction finds one of the Dockerfile's last stage, with its continuations.
func instruction(t *testing.T, name string) string {
	t.Helper()
	text := strings.ReplaceAll(packaged(t, "Dockerfile"), "\\\n", " ")
	m := regexp.MustCompile(`(?m)^`+name+` (.*)$`).FindAllStringSubmatch(text, -1)
	if len(m) != 1 {
		t.Fatalf("the Dockerfile has %d of %s", len(m), name)
	}
	return m[0][1]
}

// TestImageServesByRabbitMQsHabits resolves the configuration as the image has it.
func TestImageServesByRabbitMQsHabits(t *testing.T) {
	defaults := filepath.Join("../..", "packaging/docker/10-defaults.conf")
	for _, pair := range strings.Fields(instruction(t, "ENV")) {
		name, value, _ := strings.Cut(pair, "=")
		if name != "PATH" {
			t.Setenv(name, value)
		}
	}
	t.Setenv("RABBITMQ_CONFIG_FILE", defaults)
	t.Setenv("RABBITMQ_DEFAULT_USER", "app")
	_, kctx, cl, err := parse([]string{"serve", "--strict"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &cl.Serve.Serve
	report, err := config.Load(s, given(kctx))
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Files) != 1 || s.DataDir != "/var/lib/rabbitmq/leveret" || s.DefaultUser != "app" || !slices.Equal(s.LoopbackUsers, []string{"none"}) {
		t.Errorf("files %v, data in %s, user %s, loopback users %v", report.Files, s.DataDir, s.DefaultUser, s.LoopbackUsers)
	}
	set, err := s.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	exposed := strings.Fields(instruction(t, "EXPOSE"))
	for _, l := range set.Listeners {
		if port := l.Addr[strings.LastIndexByte(l.Addr, ':')+1:]; !slices.Contains(exposed, port) {
			t.Errorf("port %s of %s is not exposed", port, l.Flag)
		}
	}
	user, _, _ := strings.Cut(instruction(t, "USER"), ":")
	if n, err := strconv.Atoi(user); err != nil || n == 0 {
		t.Errorf("the image runs as %s", user)
	}
}

func TestImagesHealthCheckWorks(t *testing.T) {
	p := serving(t)
	_, list, _ := strings.Cut(instruction(t, "HEALTHCHECK"), "CMD ")
	var args []string
	if err := json.Unmarshal([]byte(list), &args); err != nil || len(args) < 2 || !strings.HasPrefix(instruction(t, "ENTRYPOINT"), `["`+args[0]+`"`) {
		t.Fatalf("%s: %v", list, err)
	}
	if _, errs, code := said([]string{"LEVERET_URL=" + p.httpURL()}, args[1:]...); code != exitOK {
		t.Errorf("healthy: exit code %d: %s", code, errs)
	}
	p.signal(9)
	p.wait()
	if _, _, code := said([]string{"LEVERET_URL=" + p.httpURL()}, args[1:]...); code == exitOK {
		t.Error("healthy without a broker")
	}
}

func TestServiceIsNotRestartedForItsConfiguration(t *testing.T) {
	unit := packaged(t, "packaging/systemd/leveret.service")
	if want := "\nRestartPreventExitStatus=" + strconv.Itoa(exitUsage) + " " + strconv.Itoa(exitConf) + "\n"; !strings.Contains(unit, want) {
		t.Errorf("the unit has no %q", want)
	}
	for _, want := range []string{"\nType=notify\n", "\nExecStart=/usr/bin/leveret\n", "\nNoNewPrivileges=yes\n", "\nStateDirectory=leveret\n", "\nEnvironment=LEVERET_DATA_DIR=/var/lib/leveret\n"} {
		if !strings.Contains(unit, want) {
			t.Errorf("the unit has no %q", want)
		}
	}
}
