package mgmt

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"leveret/core"
)

func TestExplainOverHTTP(t *testing.T) {
	f := newFixture(t)
	f.user("bob", "management")
	got := f.want(http.StatusOK, "POST", "/api/auth/explain", `{"user":"admin","operation":"read","name":"jobs"}`).(map[string]any)
	if got["allowed"] != true || got["user"] != "admin" {
		t.Errorf("%v", got)
	}
	reasons := got["reasons"].([]any)
	last := reasons[len(reasons)-1].(map[string]any)
	if last["what"] != "read queue 'jobs'" || last["backend"] != "internal" || !strings.Contains(last["rule"].(string), `read ".*"`) {
		t.Errorf("%v", last)
	}
	got = f.want(http.StatusOK, "POST", "/api/auth/explain", `{"user":"bob","password":"bobpw","operation":"vhost","vhost":"/"}`).(map[string]any)
	if got["allowed"] != false {
		t.Errorf("%v", got)
	}
	for _, bad := range []string{`{}`, `{"user":"bob","resource":"planet"}`, `{"user":{}}`, `{"user":"bob","remote":"perhaps"}`} {
		f.want(http.StatusBadRequest, "POST", "/api/auth/explain", bad)
	}
	if a := f.do("POST", "/api/auth/explain", "bob", `{"user":"admin"}`); a.status != http.StatusUnauthorized {
		t.Errorf("asked by bob: %d", a.status)
	}
	audit := f.do("GET", "/api/audit", "admin", "")
	if strings.Contains(string(audit.body), "bobpw") {
		t.Errorf("a password is in the audit log: %s", audit.body)
	}
}

func TestLoginAttemptsOverHTTP(t *testing.T) {
	f := newFixture(t)
	f.want(http.StatusNoContent, "DELETE", "/api/auth/attempts/rabbit@localhost", "")
	if a := f.do("GET", "/api/whoami", "admin:wrong", ""); a.status != http.StatusUnauthorized {
		t.Errorf("a wrong password: %d", a.status)
	}
	rows := f.want(http.StatusOK, "GET", "/api/auth/attempts/rabbit@localhost", "").([]any)
	if len(rows) != 1 || rows[0].(map[string]any)["protocol"] != "http" || rows[0].(map[string]any)["auth_attempts_failed"] != float64(1) {
		t.Errorf("%v", rows)
	}
	rows = f.want(http.StatusOK, "GET", "/api/auth/attempts/rabbit@localhost/source", "").([]any)
	if len(rows) != 1 || rows[0].(map[string]any)["remote_address"] != "127.0.0.1" || rows[0].(map[string]any)["username"] != "admin" {
		t.Errorf("%v", rows)
	}
	f.want(http.StatusNotFound, "GET", "/api/auth/attempts/other", "")
}

// shortLived lets in whoever shows "token", for a while.
type shortLived struct{ until time.Time }

func (s *shortLived) Name() string { return "short" }
func (s *shortLived) Authenticate(_ context.Context, c *core.Credentials) (core.Identity, error) {
	if c.Password != "token" {
		return core.Identity{}, errors.New("nobody")
	}
	return core.Identity{User: "anna", Tags: []string{"administrator"}, ExpiresAt: s.until}, nil
}
func (s *shortLived) Authorise(context.Context, string, *core.Credentials) (core.Identity, error) {
	return core.Identity{}, errors.New("nobody")
}
func (s *shortLived) Allows(context.Context, any, *core.AccessQuestion) (bool, error) {
	return true, nil
}
func (s *shortLived) Hold() time.Duration { return -1 }

// A stream of events must not outlive the token that it was asked for with.
func TestStreamEndsWithItsToken(t *testing.T) {
	b, err := core.New(core.Options{NodeName: "rabbit@localhost", Access: []core.AccessStep{{Authenticator: &shortLived{time.Now().Add(2 * time.Second)}}}})
	if err != nil {
		t.Fatal(err)
	}
	f := serveFixture(t, b)
	a := f.do("GET", "/api/live?path=%2Fqueues&every=1", "", "", "Authorization", "Bearer token")
	if a.status != http.StatusOK || !strings.Contains(string(a.body), "event: full") {
		t.Errorf("%d %s", a.status, a.body)
	}
}
