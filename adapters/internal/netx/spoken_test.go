package netx

import (
	"strings"
	"testing"
)

func TestSpoken(t *testing.T) {
	for first, want := range map[string]string{
		"AMQP\x00\x00\x09\x01":         SpeaksAMQP,
		"AMQP\x01\x01\x00\x09":         SpeaksAMQP,
		"AMQP\x00\x01\x00\x00":         SpeaksAMQP10,
		"AMQP\x03\x01\x00\x00":         SpeaksAMQP10, // With SASL.
		"AMQP\x02\x01\x00\x00":         SpeaksAMQP10, // With TLS.
		"\x10\x0c\x00\x04MQTT\x04":     SpeaksMQTT,
		"\x10\x8c\x01\x00\x04MQTT\x05": SpeaksMQTT,
		"\x10\x0e\x00\x06MQIsdp\x03":   SpeaksMQTT,
		"\x10\x0c\x00\x04HELO\x04":     "",
		"CONNECT\naccept-version:1.2":  SpeaksSTOMP,
		"STOMP\r\n":                    SpeaksSTOMP,
		"CONNECT example.org:443 HTTP": SpeaksHTTP,
		"GET / HTTP/1.1":               SpeaksHTTP,
		"PRI * HTTP/2.0\r\n":           SpeaksHTTP,
		"\x16\x03\x01\x02\x00":         SpeaksTLS,
		"\x16AB":                       "",
		"PROXY TCP4 ":                  SpeaksProxy,
		proxySignature2:                SpeaksProxy,
		"":                             "",
		"\x10":                         "",
		"\x10\xff\xff\xff\xff\xff":     "",
		"SSH-2.0-OpenSSH":              "",
	} {
		if got := Spoken([]byte(first)); got != want {
			t.Errorf("%q: %q, want %q", first, got, want)
		}
	}
}

func TestAdvice(t *testing.T) {
	p := Places{"amqp": {"port 5672"}, "amqp/ssl": {"port 5671"}, "mqtt": {"127.0.0.1:1883", "[::1]:1883"}, "https": {"port 15671"}}
	for _, c := range []struct{ spoken, here, want string }{
		{SpeaksAMQP10, "amqp", "AMQP 1.0, which is not spoken here: let the client speak AMQP 0-9-1"},
		{SpeaksTLS, "amqp", "TLS, which is spoken at port 5671"},
		{SpeaksTLS, "mqtt", "TLS, for which no port is open here (--mqtt-tls-addr)"},
		{SpeaksTLS, "http/web-mqtt", "TLS, for which no port is open here (--web-mqtt-tls-addr)"},
		{SpeaksTLS, "http", "TLS, which is spoken at port 15671"},
		{SpeaksMQTT, "amqp", "MQTT, which is spoken at 127.0.0.1:1883 and [::1]:1883"},
		{SpeaksAMQP, "amqp/ssl", "AMQP 0-9-1 without TLS, which is spoken at port 5672"},
		{SpeaksHTTP, "stomp", "HTTP, for which no port is open here (--http-addr)"},
		{SpeaksHTTP, "https", "HTTP without TLS, for which"},
		{SpeaksProxy, "amqp", "the PROXY protocol, which --proxy-protocol turns on"},
		{"", "amqp", ""},
	} {
		if got := p.Advice(c.spoken, c.here); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s at %s: %q, want %q", c.spoken, c.here, got, c.want)
		}
	}
}
