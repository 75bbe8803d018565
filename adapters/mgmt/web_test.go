package mgmt

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"leveret/core"
)

// ask sends a request with headers, "name: value" each, and returns the answer.
func ask(h http.Handler, method, path string, headers ...string) *http.Response {
	req := httptest.NewRequest(method, "http://broker.test"+path, nil)
	req.RemoteAddr = "127.0.0.1:1"
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Result()
}

const guestLogin = "Authorization: Basic Z3Vlc3Q6Z3Vlc3Q="

func newWebServer(t *testing.T, web WebOptions) http.Handler {
	t.Helper()
	b, err := core.New(core.Options{NodeName: "rabbit@localhost"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return NewServer(Options{Broker: b, Version: "test", Web: web}).Handler()
}

// TestCORS: pages of listed origins may use the API, others learn nothing.
func TestCORS(t *testing.T) {
	h := newWebServer(t, WebOptions{CORSOrigins: []string{"https://ops.example"}, CORSMaxAge: time.Minute})
	r := ask(h, "OPTIONS", "/api/queues/%2F/q", "Origin: https://ops.example", "Access-Control-Request-Headers: authorization")
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://ops.example", "Access-Control-Allow-Credentials": "true", "Access-Control-Max-Age": "60",
		"Access-Control-Allow-Methods": "HEAD, GET, PUT, DELETE, OPTIONS", "Access-Control-Allow-Headers": "authorization",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if r.StatusCode != 200 {
		t.Errorf("status %d", r.StatusCode)
	}
	if r := ask(h, "GET", "/api/overview", "Origin: https://ops.example", guestLogin); r.StatusCode != 200 || r.Header.Get("Access-Control-Allow-Origin") != "https://ops.example" {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
	for _, method := range []string{"GET", "OPTIONS"} {
		if r := ask(h, method, "/api/overview", "Origin: https://evil.example", guestLogin); r.StatusCode != 200 || r.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d %v", method, r.StatusCode, r.Header)
		}
	}
	any := newWebServer(t, WebOptions{CORSOrigins: []string{"*"}})
	if r := ask(any, "GET", "/api/version", "Origin: https://x.example"); r.Header.Get("Access-Control-Allow-Origin") != "*" || r.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("any origin: %v", r.Header)
	}
}

// TestPathPrefix: everything is below it, redirects too; segments keep their
// escapes.
func TestPathPrefix(t *testing.T) {
	h := newWebServer(t, WebOptions{PathPrefix: "broker/"})
	for path, want := range map[string]int{
		"/broker/api/overview": 200, "/broker/api/exchanges/%2F/amq.topic": 200, "/broker/api/exchanges/%2F//bindings/source": 200,
		"/api/overview": 404, "/brokers/api/overview": 404, "/broker": 301, "/": 301, "/broker/api": 301, "/broker/": 200,
	} {
		r := ask(h, "GET", path, guestLogin)
		if r.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, r.StatusCode, want)
		}
		if to := r.Header.Get("Location"); want == 301 && !strings.HasPrefix(to, "/broker/") {
			t.Errorf("%s leads to %q", path, to)
		}
	}
}

// TestProtectedVHost: it is deleted only after protection has ended.
func TestProtectedVHost(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/vhosts/safe", "")
	f.want(204, "POST", "/api/vhosts/safe/deletion/protection", "")
	f.want(412, "DELETE", "/api/vhosts/safe", "")
	f.want(204, "PUT", "/api/vhosts/safe", `{"description":"still"}`)
	if got := f.want(200, "GET", "/api/vhosts/safe", "").(map[string]any); got["protected_from_deletion"] != true || got["description"] != "still" {
		t.Errorf("got %v", got)
	}
	f.want(404, "POST", "/api/vhosts/nope/deletion/protection", "")
	f.want(204, "DELETE", "/api/vhosts/safe/deletion/protection", "")
	f.want(204, "DELETE", "/api/vhosts/safe", "")
}

// TestOneNodeAnswers: what asks about members of a cluster is told of one.
func TestOneNodeAnswers(t *testing.T) {
	f := newFixture(t)
	f.want(201, "PUT", "/api/queues/%2F/quorum", `{"arguments":{"x-queue-type":"quorum"}}`)
	f.want(201, "PUT", "/api/queues/%2F/plain", `{}`)
	if got := f.want(200, "GET", "/api/queues/quorum/%2F/quorum/status", "").([]any); len(got) != 1 {
		t.Errorf("got %v", got)
	}
	f.want(400, "GET", "/api/queues/quorum/%2F/plain/status", "")
	f.want(404, "GET", "/api/queues/quorum/%2F/nope/status", "")
	f.want(400, "POST", "/api/queues/quorum/%2F/quorum/replicas/add", `{"node":"rabbit@other"}`)
	f.want(404, "POST", "/api/queues/quorum/%2F/quorum/replicas/nonsense", "")
	for _, check := range []string{
		"below-node-connection-limit", "reached-target-cluster-size", "metadata-store/initialized/", "metadata-store/initialized/with-data",
		"quorum-queues-without-elected-leaders/all-vhosts/", "quorum-queues-without-elected-leaders/vhost/%2F/pattern/.*",
	} {
		f.want(200, "GET", "/api/health/checks/"+check, "")
	}
	f.want(200, "GET", "/api/traces", "")
	f.want(200, "GET", "/api/users/guest/queues", "")
	f.want(404, "GET", "/api/users/nope/queues", "")
}

// TestCertificateExpiration: the check fails for one that ends within the time.
func TestCertificateExpiration(t *testing.T) {
	f := newFixture(t)
	f.want(200, "GET", "/api/health/checks/certificate-expiration/1/years", "")
	now := time.UnixMilli(f.broker.Now())
	f.server.opts.Certificates = func() []Certificate {
		return []Certificate{{File: "a.pem", Subject: "CN=a", NotAfter: now.AddDate(0, 0, 10)}}
	}
	f.want(200, "GET", "/api/health/checks/certificate-expiration/9/days", "")
	got := f.want(503, "GET", "/api/health/checks/certificate-expiration/2/weeks", "").(map[string]any)
	if list, _ := got["expired"].([]any); len(list) != 1 {
		t.Errorf("got %v", got)
	}
	for _, bad := range []string{"x/days", "1/fortnights", "-1/days"} {
		f.want(400, "GET", "/api/health/checks/certificate-expiration/"+bad, "")
	}
}
