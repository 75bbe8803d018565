package main

import (
	"crypto/tls"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"leveret/cmd/internal/certs/certstest"
)

// TestTLS talks to every listener over TLS, with certificates that are renewed
// while clients are connected.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ca := certstest.NewAuthority(t, "ours")
	cert, key := ca.Write(t, dir, "server", certstest.Leaf{Name: "first"})
	authority := filepath.Join(dir, "ca.pem")
	certstest.WriteFile(t, authority, ca.PEM)
	p := serving(t, "--tls-cert", cert, "--tls-key", key, "--tls-ca", authority, "--tls-verify", "require",
		"--amqp-tls-addr", "127.0.0.1:0", "--mqtt-tls-addr", "127.0.0.1:0", "--web-mqtt-tls-addr", "127.0.0.1:0",
		"--stomp-tls-addr", "127.0.0.1:0", "--web-stomp-tls-addr", "127.0.0.1:0", "--https-addr", "127.0.0.1:0")
	client := &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{ca.Issue(t, certstest.Leaf{Name: "app"})}}

	c, err := amqp.DialTLS("amqps://guest:guest@"+p.addrs["amqp/ssl"]+"/", client)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := amqp.DialTLS("amqps://guest:guest@"+p.addrs["amqp/ssl"]+"/", &tls.Config{RootCAs: ca.Pool()}); err == nil {
		t.Error("a client without a certificate was let in")
	}
	get := (&http.Client{Transport: &http.Transport{TLSClientConfig: client}})
	for protocol, path := range map[string]string{"https": "/api/overview", "https/web-mqtt": "/ws", "https/web-stomp": "/ws"} {
		r, err := get.Get("https://" + p.addrs[protocol] + path)
		if err != nil {
			t.Errorf("%s: %v", protocol, err)
			continue
		}
		r.Body.Close()
	}
	met := func(protocol string) string {
		t.Helper()
		nc, err := tls.Dial("tcp", p.addrs[protocol], client)
		if err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		defer nc.Close()
		return nc.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	for _, protocol := range []string{"amqp/ssl", "mqtt/ssl", "stomp/ssl"} {
		if name := met(protocol); name != "first" {
			t.Errorf("%s: met %s", protocol, name)
		}
	}

	ca.Write(t, dir, "server", certstest.Leaf{Name: "second"})
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); met("amqp/ssl") != "second"; {
		if time.Now().After(deadline) {
			t.Fatal("the new certificate is not served")
		}
	}
	if _, err := c.Channel(); err != nil {
		t.Errorf("the connection from before: %v", err)
	}
}
