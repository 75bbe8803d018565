package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/go-stomp/stomp/v3/frame"
	"github.com/gorilla/websocket"
	amqp "github.com/rabbitmq/amqp091-go"
)

// errRefused is what logins return when the broker says no; other errors are of
// the connection.
var errRefused = errors.New("refused")

// login is who a client says it is. A zero one says nothing: the certificate
// must do.
type login struct{ user, password string }

// logins log a client in over an open connection, one for each protocol as the
// API calls it without TLS. They close it.
var logins = map[string]func(nc net.Conn, l login) error{
	"amqp": loginAMQP,
	"mqtt": loginMQTT, "http/web-mqtt": overWebSocket("mqtt", loginMQTT),
	"stomp": loginSTOMP, "http/web-stomp": overWebSocket("v12.stomp", loginSTOMP),
	"http": loginHTTP,
}

func loginAMQP(nc net.Conn, l login) error {
	defer nc.Close()
	sasl := []amqp.Authentication{&amqp.PlainAuth{Username: l.user, Password: l.password}}
	if l == (login{}) {
		sasl = []amqp.Authentication{&amqp.ExternalAuth{}}
	}
	c, err := amqp.Open(nc, amqp.Config{SASL: sasl, Vhost: "/", Heartbeat: 10 * time.Second})
	if errors.Is(err, amqp.ErrSASL) || errors.Is(err, amqp.ErrCredentials) || errors.Is(err, amqp.ErrVhost) {
		return fmt.Errorf("%w: %w", errRefused, err)
	} else if err != nil {
		return err
	}
	return c.Close()
}

func loginMQTT(nc net.Conn, l login) error {
	defer nc.Close()
	text := func(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }
	flags, fields := byte(2), text("client")
	if l != (login{}) {
		flags, fields = flags|0xC0, fields+text(l.user)+text(l.password)
	}
	body := text("MQTT") + string([]byte{4, flags, 0, 60}) + fields
	if _, err := io.WriteString(nc, string([]byte{0x10, byte(len(body))})+body); err != nil {
		return err
	}
	var ack [4]byte
	if _, err := io.ReadFull(nc, ack[:]); err != nil {
		return err
	}
	if !bytes.Equal(ack[:], []byte{0x20, 2, 0, 0}) {
		return fmt.Errorf("%w: CONNACK % x", errRefused, ack)
	}
	return nil
}

func loginSTOMP(nc net.Conn, l login) error {
	defer nc.Close()
	f := frame.New("CONNECT", "accept-version", "1.2", "host", "/")
	if l != (login{}) {
		f.Header.Add("login", l.user)
		f.Header.Add("passcode", l.password)
	}
	var b bytes.Buffer
	if err := frame.NewWriter(&b).Write(f); err != nil {
		return err
	}
	if _, err := nc.Write(b.Bytes()); err != nil {
		return err
	}
	f, err := frame.NewReader(nc).Read()
	if err != nil {
		return err
	}
	if f.Command != "CONNECTED" {
		return fmt.Errorf("%w: %s %s", errRefused, f.Header.Get("message"), f.Body)
	}
	return nil
}

func loginHTTP(nc net.Conn, l login) error {
	defer nc.Close()
	r, err := http.NewRequest("GET", "http://broker/api/whoami", nil)
	if err != nil {
		return err
	}
	if l != (login{}) {
		r.SetBasicAuth(l.user, l.password)
	}
	if err := r.Write(nc); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%w: %s %s", errRefused, resp.Status, body)
	}
	return nil
}

// overWebSocket is f over the binary messages of a WebSocket.
func overWebSocket(subprotocol string, f func(net.Conn, login) error) func(net.Conn, login) error {
	return func(nc net.Conn, l login) error {
		d := websocket.Dialer{Subprotocols: []string{subprotocol}, NetDialContext: func(context.Context, string, string) (net.Conn, error) { return nc, nil }}
		ws, _, err := d.Dial("ws://broker/ws", nil)
		if err != nil {
			nc.Close()
			return err
		}
		return f(&webStream{Conn: nc, ws: ws}, l)
	}
}

// webStream is the stream that the messages of a WebSocket carry.
type webStream struct {
	net.Conn
	ws   *websocket.Conn
	rest io.Reader
}

func (s *webStream) Write(p []byte) (int, error) {
	return len(p), s.ws.WriteMessage(websocket.BinaryMessage, p)
}

func (s *webStream) Read(p []byte) (int, error) {
	for {
		if s.rest == nil {
			_, r, err := s.ws.NextReader()
			if err != nil {
				return 0, err
			}
			s.rest = r
		}
		n, err := s.rest.Read(p)
		if err == io.EOF {
			s.rest, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// dialed is an open connection to addr that fails when anything takes too long.
func dialed(addr string) (net.Conn, error) {
	nc, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(patience))
	return nc, nil
}

// everyPort are arguments that open each protocol's port on host, with TLS if
// secure, besides those without TLS that launch opens.
func everyPort(host string, secure bool) []string {
	var args []string
	for _, name := range []string{"amqp", "mqtt", "web-mqtt", "stomp", "web-stomp", "http"} {
		if !secure && (name == "amqp" || name == "http") {
			continue
		}
		flag := "--" + name
		if secure && name == "http" {
			flag = "--https"
		} else if secure {
			flag += "-tls"
		}
		args = append(args, flag+"-addr", net.JoinHostPort(host, "0"))
	}
	return args
}
