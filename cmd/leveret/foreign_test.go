package main

import (
	"io"
	"strings"
	"sync"
	"testing"

	"leveret/cmd/internal/certs/certstest"
)

// TestWrongProtocol has clients come to ports where something else is spoken:
// the log says what they speak, and where that is.
func TestWrongProtocol(t *testing.T) {
	ca := certstest.NewAuthority(t, "ours")
	cert, key := ca.Write(t, t.TempDir(), "server", certstest.Leaf{Name: "localhost"})
	p := serving(t, append(everyPort("127.0.0.1", false), "--tls-cert", cert, "--tls-key", key,
		"--amqp-tls-addr", "127.0.0.1:0", "--mqtt-tls-addr", "127.0.0.1:0", "--https-addr", "127.0.0.1:0")...)
	const (
		amqp10   = "AMQP\x00\x01\x00\x00"
		amqpSASL = "AMQP\x03\x01\x00\x00"
		amqp091  = "AMQP\x00\x00\x09\x01"
		get      = "GET / HTTP/1.1\r\nHost: broker\r\n\r\n"
		hello    = "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"
		connect  = "\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02xy"
		stomp    = "CONNECT\naccept-version:1.2\nhost:/\n\n\x00"
		proxy    = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
	)
	at := func(protocol string) string { return ", which is spoken at " + p.addrs[protocol] + " (" }
	var all sync.WaitGroup
	var mu sync.Mutex
	says := map[string]string{} // By the client's address.
	for _, c := range []struct{ port, first, answer, says string }{
		{"amqp", amqp10, amqp091, "AMQP 1.0, which is not spoken here: let the client speak AMQP 0-9-1"},
		{"amqp", amqpSASL, amqp091, "AMQP 1.0, which is not spoken here: let the client speak AMQP 0-9-1"},
		{"amqp", get, amqp091, "HTTP" + at("http")},
		{"amqp", hello, amqp091, "TLS" + at("amqp/ssl")},
		{"amqp", connect, amqp091, "MQTT" + at("mqtt")},
		{"amqp", stomp, amqp091, "STOMP" + at("stomp")},
		{"amqp", proxy, amqp091, "the PROXY protocol, which --proxy-protocol turns on"},
		{"mqtt", get, "", "HTTP" + at("http")},
		{"mqtt", hello, "", "TLS" + at("mqtt/ssl")},
		{"mqtt", amqp091, "", "AMQP 0-9-1" + at("amqp")},
		{"mqtt", stomp, "", "STOMP" + at("stomp")},
		{"mqtt", proxy, "", "the PROXY protocol"},
		{"stomp", get, "", "HTTP" + at("http")},
		{"stomp", hello, "", "TLS, for which no port is open here (--stomp-tls-addr)"},
		{"stomp", amqp10, "", "AMQP 1.0, which is not spoken here"},
		{"stomp", connect, "", "MQTT" + at("mqtt")},
		{"http", amqp091, "HTTP/1.1 400 Bad Request", "AMQP 0-9-1" + at("amqp")},
		{"http", hello, "HTTP/1.1 400 Bad Request", "TLS" + at("https")},
		{"http/web-mqtt", connect, "HTTP/1.1 400 Bad Request", "MQTT" + at("mqtt")},
		{"http/web-stomp", stomp, "HTTP/1.1 400 Bad Request", "STOMP" + at("stomp")},
		{"amqp/ssl", amqp091, "", "AMQP 0-9-1 without TLS" + at("amqp")},
		{"mqtt/ssl", connect, "", "MQTT without TLS" + at("mqtt")},
		{"https", get, "", "HTTP without TLS" + at("http")},
	} {
		all.Go(func() {
			nc, err := dialed(p.addrs[c.port])
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			peer := nc.LocalAddr().String()
			io.WriteString(nc, c.first)
			answer, _ := io.ReadAll(nc) // It may be reset behind the answer.
			if !strings.HasPrefix(string(answer), c.answer) {
				t.Errorf("%s, %q: answer %q, want %q", c.port, c.first, answer, c.answer)
			}
			mu.Lock()
			defer mu.Unlock()
			says[peer] = "it seems to speak " + c.says
		})
	}
	all.Wait()
	for peer, want := range says {
		until(t, "a line in the log about "+peer+" with "+want, func() bool {
			for line := range strings.Lines(p.stderr.String()) {
				if strings.Contains(line, peer) && strings.Contains(line, want) {
					return true
				}
			}
			return false
		})
	}
}
