package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestMetricsFlags holds that what the flags say reaches the metrics, on a port of
// their own.
func TestMetricsFlags(t *testing.T) {
	p := serving(t, "--prometheus-addr", "127.0.0.1:0", "--prometheus-path=/figures", "--prometheus-per-object", "--prometheus-auth")
	get := func(path, password string) (int, string) {
		r, err := http.NewRequest(http.MethodGet, "http://"+p.addrs["http/prometheus"]+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			r.SetBasicAuth("guest", password)
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		body, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode, string(body)
	}
	for _, password := range []string{"", "wrong"} {
		if status, _ := get("/figures", password); status != http.StatusUnauthorized {
			t.Errorf("password %q: %d", password, status)
		}
	}
	if status, _ := get("/metrics", "guest"); status != http.StatusNotFound {
		t.Errorf("/metrics: %d", status)
	}
	status, body := get("/figures", "guest")
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	for _, line := range []string{
		`rabbitmq_exchange_messages_published_total{vhost="/",exchange="amq.direct"} 0`,
		`rabbitmq_global_messages_received_total{protocol="amqp091"} 0`,
		`rabbitmq_global_consumers{protocol="stomp"} 0`,
		`rabbitmq_queues 0`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
}
