//go:build clients

package clients

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"leveret/tests/internal/brokertest"
)

// Tracing is for a look, not for good: it is off after a restart, however the
// broker ended.
func TestTracingIsOffAfterARestart(t *testing.T) {
	t.Parallel()
	if broker.binary == "" {
		t.Log("a broker that is not ours is not ours to restart")
		return
	}
	o := brokertest.Options{Binary: broker.binary, Log: filepath.Join(t.TempDir(), "broker.log"), DataDir: filepath.Join(t.TempDir(), "data")}
	tracing := func(b *brokertest.Broker, method, body string) bool {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+b.HTTP+"/api/vhosts/%2F", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("guest", "guest")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var vhost struct{ Tracing bool }
		if resp.StatusCode >= 300 || method == "GET" && json.NewDecoder(resp.Body).Decode(&vhost) != nil {
			t.Fatalf("%s: %s", method, resp.Status)
		}
		return vhost.Tracing
	}
	for _, end := range []func(*brokertest.Broker){(*brokertest.Broker).Kill, func(b *brokertest.Broker) {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	}} {
		b, err := brokertest.Start(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Kill)
		if tracing(b, "GET", "") {
			t.Error("traced from the start")
		}
		tracing(b, "PUT", `{"tracing":true}`)
		if !tracing(b, "GET", "") {
			t.Error("not traced")
		}
		end(b)
	}
	b, err := brokertest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Kill)
	if tracing(b, "GET", "") {
		t.Error("still traced after a restart")
	}
}
