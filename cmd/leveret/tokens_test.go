package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/go-stomp/stomp/v3/frame"
	"github.com/golang-jwt/jwt/v5"
	amqp "github.com/rabbitmq/amqp091-go"
)

// issuer signs tokens.
type issuer struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	file string // The JWK set.
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	i := &issuer{t, key, filepath.Join(t.TempDir(), "keys.json")}
	set := fmt.Sprintf(`{"keys":[{"kty":"EC","kid":"k1","crv":"P-256","x":%q,"y":%q}]}`, b64(point[1:33]), b64(point[33:]))
	if err := os.WriteFile(i.file, []byte(set), 0o600); err != nil {
		t.Fatal(err)
	}
	return i
}

// token is good until expires.
func (i *issuer) token(user string, expires time.Time, scopes ...string) string {
	i.t.Helper()
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"sub": user, "aud": "broker", "exp": expires.Unix(), "scope": strings.Join(scopes, " ")})
	t.Header["kid"] = "k1"
	text, err := t.SignedString(i.key)
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}

// everywhere are scopes for all there is.
var everywhere = []string{"broker.configure:*/*", "broker.read:*/*/*", "broker.write:*/*/*"}

// holder is a client that is connected with a token.
type holder interface {
	renew(token string) error // Refused or not.
	use(topic string) error   // Publishes and waits for the confirm.
	ended() (why string)      // Waits for the broker to end it.
}

// shown is what a client logs in with, and where.
type shown struct{ user, password, token, vhost string }

// secret is the token or the password.
func (s shown) secret() string { return s.token + s.password }

func tokenOnly(token string) shown { return shown{user: "whoever", token: token, vhost: "/"} }

var holders = map[string]func(t *testing.T, p *process, s shown) (holder, error){
	"amqp": holdAMQP, "mqtt": holdMQTT, "stomp": holdSTOMP,
}

type amqpHolder struct {
	c      *amqp.Connection
	ch     *amqp.Channel
	closed chan *amqp.Error
}

func holdAMQP(t *testing.T, p *process, s shown) (holder, error) {
	c, err := amqp.DialConfig("amqp://"+p.addrs["amqp"], amqp.Config{SASL: []amqp.Authentication{&amqp.PlainAuth{Username: s.user, Password: s.secret()}}, Vhost: s.vhost})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	h := &amqpHolder{c: c, closed: c.NotifyClose(make(chan *amqp.Error, 1))}
	if h.ch, err = c.Channel(); err == nil {
		err = h.ch.Confirm(false)
	}
	return h, err
}

func (h *amqpHolder) renew(token string) error { return h.c.UpdateSecret(token, "test") }

func (h *amqpHolder) use(topic string) error {
	key := strings.ReplaceAll(topic, "/", ".")
	d, err := h.ch.PublishWithDeferredConfirm("amq.topic", key, false, false, amqp.Publishing{Body: []byte("x")})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = d.WaitContext(ctx)
	if err == nil && h.ch.IsClosed() {
		err = errors.New("the channel was closed")
	}
	return err
}

func (h *amqpHolder) ended() string {
	select {
	case err := <-h.closed:
		return err.Error()
	case <-time.After(patience):
		return "not ended"
	}
}

type mqttHolder struct {
	c       *paho.Client
	failed  chan *paho.Disconnect
	timeout context.Context
}

const mqttAuthMethod = "OAUTH2-JWT"

func holdMQTT(t *testing.T, p *process, s shown) (holder, error) {
	nc, err := net.Dial("tcp", p.addrs["mqtt"])
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(func() { cancel(); nc.Close() })
	h := &mqttHolder{failed: make(chan *paho.Disconnect, 1), timeout: ctx}
	h.c = paho.NewClient(paho.ClientConfig{Conn: nc, PacketTimeout: patience, AuthHandler: noChallenge{}, OnServerDisconnect: func(d *paho.Disconnect) {
		h.failed <- d
		cancel() // paho would wait on for the answer to an AUTH.
	}})
	connect := &paho.Connect{ClientID: fmt.Sprint("holder-", time.Now().UnixNano()), CleanStart: true, KeepAlive: 60}
	if s.token != "" {
		connect.Properties = &paho.ConnectProperties{AuthMethod: mqttAuthMethod, AuthData: []byte(s.token)}
	} else {
		connect.UsernameFlag, connect.Username = true, s.vhost+":"+s.user
		connect.PasswordFlag, connect.Password = true, []byte(s.password)
	}
	ack, err := h.c.Connect(ctx, connect)
	if err == nil && s.token != "" && ack.Properties.AuthMethod != mqttAuthMethod {
		err = fmt.Errorf("CONNACK with authentication method %q", ack.Properties.AuthMethod)
	}
	return h, err
}

// noChallenge is for a method that asks nothing back.
type noChallenge struct{}

func (noChallenge) Authenticate(*paho.Auth) *paho.Auth { return nil }
func (noChallenge) Authenticated()                     {}

func (h *mqttHolder) renew(token string) error {
	r, err := h.c.Authenticate(h.timeout, &paho.Auth{ReasonCode: 0x19, Properties: &paho.AuthProperties{AuthMethod: mqttAuthMethod, AuthData: []byte(token)}})
	if err == nil && r.ReasonCode != 0 {
		err = fmt.Errorf("reason code 0x%02x", r.ReasonCode)
	}
	return err
}

func (h *mqttHolder) use(topic string) error {
	_, err := h.c.Publish(h.timeout, &paho.Publish{QoS: 1, Topic: topic, Payload: []byte("x")})
	return err
}

func (h *mqttHolder) ended() string {
	select {
	case d := <-h.failed:
		return fmt.Sprintf("0x%02x", d.ReasonCode)
	case <-time.After(patience):
		return "not ended"
	}
}

type stompHolder struct {
	nc net.Conn
	r  *frame.Reader
	n  int
}

func holdSTOMP(t *testing.T, p *process, s shown) (holder, error) {
	nc, err := net.Dial("tcp", p.addrs["stomp"])
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(2 * patience))
	h := &stompHolder{nc: nc, r: frame.NewReader(nc)}
	return h, h.ask("CONNECTED", frame.New("CONNECT", "accept-version", "1.2", "host", s.vhost, "login", s.user, "passcode", s.secret()))
}

// ask sends f and expects an answer.
func (h *stompHolder) ask(want string, f *frame.Frame) error {
	if want == "RECEIPT" {
		h.n++
		f.Header.Add("receipt", fmt.Sprint(h.n))
	}
	var b bytes.Buffer
	if err := frame.NewWriter(&b).Write(f); err != nil {
		return err
	}
	if _, err := h.nc.Write(b.Bytes()); err != nil {
		return err
	}
	got, err := h.next()
	if err == nil && got.Command != want {
		err = fmt.Errorf("%s %v %s", got.Command, got.Header, got.Body)
	}
	return err
}

func (h *stompHolder) next() (*frame.Frame, error) {
	for {
		if f, err := h.r.Read(); f != nil || err != nil {
			return f, err
		}
	}
}

// renew sends REFRESH, which go-stomp has no name for.
func (h *stompHolder) renew(token string) error {
	return h.ask("RECEIPT", frame.New("REFRESH", "passcode", token))
}

func (h *stompHolder) use(topic string) error {
	f := frame.New("SEND", "destination", "/topic/"+strings.ReplaceAll(topic, "/", "."))
	f.Body = []byte("x")
	return h.ask("RECEIPT", f)
}

func (h *stompHolder) ended() string {
	f, err := h.next()
	if err != nil {
		return err.Error()
	}
	return f.Command + " " + string(f.Body)
}

// TestTokens holds that a token lets a client in, that it is ended when the
// token expires, and that one which shows a fresh token stays, with what that
// allows: in all protocols, with the settings of RabbitMQ's file.
func TestTokens(t *testing.T) {
	i := newIssuer(t)
	conf := filepath.Join(t.TempDir(), "rabbitmq.conf")
	text := "auth_backends.1 = oauth2\nauth_backends.2 = internal\nauth_oauth2.resource_server_id = broker\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := serving(t, "--config", conf, "--oauth2-jwks", i.file, "--mqtt-addr", "127.0.0.1:0", "--stomp-addr", "127.0.0.1:0", "--log-level", "debug")
	for name, hold := range holders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Tokens count whole seconds; on a slow machine logging in takes its time.
			soon := time.Now().Add(10 * time.Second)
			short, err := hold(t, p, tokenOnly(i.token("anna", soon, everywhere...)))
			if err != nil {
				t.Fatal(err)
			}
			long, err := hold(t, p, tokenOnly(i.token("anna", soon, everywhere...)))
			if err != nil {
				t.Fatal(err)
			}
			stolen, err := hold(t, p, tokenOnly(i.token("anna", time.Now().Add(time.Hour), everywhere...)))
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range []holder{short, long} {
				if err := h.use("a/b"); err != nil {
					t.Fatal(err)
				}
			}
			if err := long.renew(i.token("anna", time.Now().Add(time.Hour), "broker.write:*/amq.topic/a.*", "broker.configure:*/*")); err != nil {
				t.Fatalf("renewal: %v", err)
			}
			if err := stolen.renew(i.token("eve", time.Now().Add(time.Hour), everywhere...)); err == nil {
				t.Error("renewed with the token of another user")
			}
			if _, err := hold(t, p, tokenOnly(i.token("anna", time.Now().Add(-time.Minute), everywhere...))); err == nil {
				t.Error("let in with a token that has expired")
			}
			if _, err := hold(t, p, tokenOnly(i.token("anna", time.Now().Add(time.Hour), "broker.read:other/*"))); err == nil {
				t.Error("let into a virtual host that no scope names")
			}
			other := newIssuer(t)
			if _, err := hold(t, p, tokenOnly(other.token("anna", time.Now().Add(time.Hour), everywhere...))); err == nil {
				t.Error("let in with somebody else's signature")
			}
			why := short.ended()
			if time.Now().Before(soon.Truncate(time.Second)) {
				t.Errorf("ended before its token: %s", why)
			}
			want := map[string]string{"amqp": "CONNECTION_FORCED - credential expired", "mqtt": "0xa0", "stomp": "ERROR CONNECTION_FORCED - credential expired"}[name]
			if !strings.Contains(why, want) {
				t.Errorf("ended by %q, want %q", why, want)
			}
			if err := long.use("a/b"); err != nil {
				t.Errorf("after the first token's end: %v", err)
			}
			if err := long.use("b/b"); err == nil {
				t.Error("the fresh token's scopes do not count")
			}
		})
	}
	t.Run("http", func(t *testing.T) {
		get := func(header string) (status int, body string) {
			r, err := http.NewRequest("GET", p.httpURL()+"/api/whoami", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", header)
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			return resp.StatusCode, string(b)
		}
		status, body := get("Bearer " + i.token("anna", time.Now().Add(time.Hour), "broker.tag:management", "broker.tag:own"))
		var who struct {
			Name string
			Tags []string
		}
		if json.Unmarshal([]byte(body), &who) != nil || status != http.StatusOK || who.Name != "anna" || strings.Join(who.Tags, " ") != "management own" {
			t.Errorf("%d %s", status, body)
		}
		if status, _ := get("Bearer " + i.token("anna", time.Now().Add(time.Hour))); status != http.StatusUnauthorized {
			t.Errorf("without a tag: %d", status)
		}
		if status, _ := get("Bearer nonsense"); status != http.StatusUnauthorized {
			t.Errorf("nonsense: %d", status)
		}
		if status, _ := get("Basic " + base64.StdEncoding.EncodeToString([]byte("guest:guest"))); status != http.StatusOK {
			t.Errorf("the internal user: %d", status)
		}
	})
	t.Cleanup(func() {
		if log := p.stderr.String(); strings.Contains(log, "eyJ") {
			t.Errorf("a token is in the log:\n%s", log)
		}
	})
}

// TestDeletedUsersAndVHostsEndTheirConnections in every protocol, and nobody
// else's.
func TestDeletedUsersAndVHostsEndTheirConnections(t *testing.T) {
	p := serving(t, "--mqtt-addr", "127.0.0.1:0", "--stomp-addr", "127.0.0.1:0")
	ask := func(method, path, body string) {
		t.Helper()
		r, err := http.NewRequest(method, p.httpURL()+"/api"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("guest", "guest")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode >= 300 {
			t.Fatalf("%s %s: %s", method, path, resp.Status)
		}
	}
	const all = `{"configure":".*","write":".*","read":".*"}`
	for _, v := range []string{"kept", "doomed"} {
		ask("PUT", "/vhosts/"+v, "")
		for _, u := range []string{"stays", "goes"} {
			ask("PUT", "/users/"+u, `{"password":"secret","tags":""}`)
			ask("PUT", "/permissions/"+v+"/"+u, all)
		}
	}
	type client struct {
		holder
		name string
		how  string
	}
	var ofUser, ofVHost, others []client
	for name, hold := range holders {
		for _, s := range []shown{{user: "goes", vhost: "kept"}, {user: "stays", vhost: "doomed"}, {user: "stays", vhost: "kept"}} {
			s.password = "secret"
			h, err := hold(t, p, s)
			if err != nil {
				t.Fatalf("%s: %+v: %v", name, s, err)
			}
			switch {
			case s.user == "goes":
				ofUser = append(ofUser, client{h, name, "user 'goes' is deleted"})
			case s.vhost == "doomed":
				ofVHost = append(ofVHost, client{h, name, "vhost 'doomed' is deleted"})
			default:
				others = append(others, client{h, name, ""})
			}
		}
	}
	ask("DELETE", "/users/goes", "")
	ask("DELETE", "/vhosts/doomed", "")
	for _, c := range append(ofUser, ofVHost...) {
		want := c.how
		if c.name == "mqtt" {
			want = "0x98" // Administrative action.
		}
		if why := c.ended(); !strings.Contains(why, want) {
			t.Errorf("%s: ended by %q, want %q", c.name, why, want)
		}
	}
	for _, c := range others {
		if err := c.use("a/b"); err != nil {
			t.Errorf("%s: another client: %v", c.name, err)
		}
	}
}
