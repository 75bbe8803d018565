package mgmt

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"leveret/core"
	"leveret/core/auth"
)

// fakeShovels is one shovel.
type fakeShovels struct{ restarted int }

func (f *fakeShovels) Status() []map[string]any {
	return []map[string]any{{"vhost": "/", "name": "s", "state": "running"}}
}

func (f *fakeShovels) Restart(vhost, name string) bool {
	f.restarted++
	return vhost == "/" && name == "s"
}

// TestShovels asks for shovels under the paths that RabbitMQ has had for them,
// as an administrator and as somebody who may only look.
func TestShovels(t *testing.T) {
	b, err := core.New(core.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	hash, err := auth.HashPassword("guest", "")
	if err == nil {
		err = b.PutUser(auth.User{Name: "looker", PasswordHash: hash, Tags: []string{auth.TagMonitoring}})
	}
	if err == nil {
		err = b.SetPermission("looker", "/", auth.Permission{})
	}
	if err == nil {
		err = b.PutParameter(core.ParameterDef{Component: "shovel", VHost: "/", Name: "s", Value: `{"src-uri":"amqp://","src-queue":"q","dest-uri":"amqp://"}`})
	}
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeShovels{}
	h := NewServer(Options{Broker: b, Shovels: f}).Handler()
	for _, c := range []struct {
		user, method, path string
		status             int
		body               string
	}{
		{"guest", "GET", "/shovels", 200, `"name":"s"`},
		{"guest", "GET", "/shovels/%2F", 200, `[{`},
		{"guest", "GET", "/shovels/nope", 404, ""},
		{"guest", "GET", "/shovels/%2F/s", 200, `"state":"running"`},
		{"looker", "GET", "/shovels/vhost/%2F/s", 200, `"state":"running"`},
		{"guest", "GET", "/shovels/%2F/nope", 404, ""},
		{"guest", "DELETE", "/shovels/vhost/%2F/nope/restart", 404, ""},
		{"looker", "DELETE", "/shovels/vhost/%2F/s/restart", 401, "Not policymaker user"},
		{"guest", "DELETE", "/shovels/vhost/%2F/s/restart", 204, ""},
		{"looker", "DELETE", "/shovels/vhost/%2F/s", 401, "Not policymaker user"},
		{"guest", "DELETE", "/shovels/vhost/%2F/s", 204, ""},
		{"guest", "DELETE", "/shovels/%2F/s", 404, ""},
	} {
		req := httptest.NewRequest(c.method, "/api"+c.path, http.NoBody)
		req.RemoteAddr = "127.0.0.1:9"
		req.SetBasicAuth(c.user, "guest")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.user, c.method, c.path, w.Code, w.Body, c.status, c.body)
		}
	}
	if f.restarted != 2 {
		t.Errorf("restarted %d times", f.restarted)
	}
}
