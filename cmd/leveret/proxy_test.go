package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestProxyProtocol has clients of all protocols come through a proxy: who they
// are and where they are is what it says.
func TestProxyProtocol(t *testing.T) {
	p := serving(t, append(everyPort("127.0.0.1", false), "--proxy-protocol", "all")...)
	guest := login{"guest", "guest"}
	var all sync.WaitGroup
	for protocol, try := range logins {
		for _, c := range []struct {
			name, header string
			refused      bool // guest may come from this machine only.
			stranger     bool // The connection is closed.
		}{
			{"a client on this machine", "PROXY TCP4 127.0.0.1 127.0.0.1 40001 5672\r\n", false, false},
			{"one of another", "PROXY TCP4 192.0.2.1 198.51.100.7 40002 5672\r\n", true, false},
			{"one of another by IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 40002 5672\r\n", true, false},
			{"one that the proxy does not know", "PROXY UNKNOWN\r\n", true, false},
			{"the proxy itself", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", false, false},
			{"no header", "", false, true},
		} {
			all.Go(func() { // Refused clients are kept waiting.
				nc, err := dialed(p.addrs[protocol])
				if err != nil {
					t.Error(err)
					return
				}
				io.WriteString(nc, c.header)
				err = try(nc, guest)
				if c.stranger && (err == nil || errors.Is(err, errRefused)) ||
					!c.stranger && (errors.Is(err, errRefused) != c.refused || err != nil && !c.refused) {
					t.Errorf("%s, %s: logging in: %v", protocol, c.name, err)
				}
			})
		}
	}
	all.Wait()
	until(t, "a line in the log for each client without a header", func() bool {
		return strings.Count(p.stderr.String(), "the proxy sent no good PROXY header") == len(logins)
	})
}

// TestProxiedConnectionsAreCalledByTheirClients looks at the API's list, which
// it asks for through the proxy too.
func TestProxiedConnectionsAreCalledByTheirClients(t *testing.T) {
	p := serving(t, "--proxy-protocol", "amqp,http")
	const header = "PROXY TCP4 127.0.0.1 198.51.100.7 40001 5671\r\n"
	nc, err := dialed(p.addrs["amqp"])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, header)
	c, err := amqp.Open(nc, amqp.Config{SASL: []amqp.Authentication{&amqp.PlainAuth{Username: "guest", Password: "guest"}}, Vhost: "/"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	api, err := dialed(p.addrs["http"])
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	io.WriteString(api, header)
	req, err := http.NewRequest("GET", "http://broker/api/connections", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("guest", "guest")
	if err := req.Write(api); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(api), req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var rows []struct {
		Name     string `json:"name"`
		PeerHost string `json:"peer_host"`
		PeerPort int    `json:"peer_port"`
		Host     string `json:"host"`
		Port     int    `json:"port"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&rows); err != nil || len(rows) != 1 {
		t.Fatalf("%v, %v", rows, err)
	}
	row := rows[0]
	if row.Name != "127.0.0.1:40001 -> 198.51.100.7:5671" || row.PeerHost != "127.0.0.1" || row.PeerPort != 40001 ||
		row.Host != "198.51.100.7" || row.Port != 5671 {
		t.Errorf("the connection is %+v", row)
	}
}
