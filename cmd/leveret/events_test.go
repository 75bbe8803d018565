package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leveret/cmd/internal/config"
)

func TestAuditLogHasAFileOfItsOwn(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	for range 2 { // The second one goes on where the first ended.
		log, end, err := auditLog(&config.Serve{AuditLog: name}, slog.New(slog.NewTextHandler(io.Discard, nil)))
		if err != nil {
			t.Fatal(err)
		}
		log.Info("audit", "user", "u")
		if err := end(); err != nil {
			t.Error(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil || strings.Count(string(b), `"msg":"audit","user":"u"}`+"\n") != 2 {
		t.Errorf("%s %v", b, err)
	}
	if i, err := os.Stat(name); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", i, err)
	}
	if _, _, err := auditLog(&config.Serve{AuditLog: filepath.Join(name, "x")}, nil); err == nil || !strings.Contains(err.Error(), "--audit-log") {
		t.Error(err)
	}
}

func TestSystemExchangesOfSettings(t *testing.T) {
	for _, c := range []struct {
		s               config.Serve
		events, logging string
	}{
		{config.Serve{DefaultVHost: "/"}, "/", ""},
		{config.Serve{DefaultVHost: "/", EventVHost: "v", LogExchange: true}, "v", "/"},
		{config.Serve{DefaultVHost: "/", EventVHost: "none"}, "", ""},
	} {
		if e, l := c.s.EventExchangeVHost(), logVHost(&c.s); e != c.events || l != c.logging {
			t.Errorf("events in %q, log in %q", e, l)
		}
	}
}
