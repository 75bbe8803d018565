package mgmt

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"leveret/core"
	"leveret/core/auth"
)

// fixture is a broker with its API on a real port.
type fixture struct {
	t      testing.TB
	broker *core.Broker
	server *Server
	url    string
}

// newFixture starts a broker that looks, as far as requests can tell, like the
// RabbitMQ the recorded answers come from.
func newFixture(t testing.TB) *fixture {
	t.Helper()
	return newFixtureAt(t, nil)
}

// newFixtureAt is newFixture with a clock of its own.
func newFixtureAt(t testing.TB, now func() int64) *fixture {
	t.Helper()
	b, err := core.New(core.Options{
		NodeName: "rabbit@localhost", Now: now, SystemExchanges: []core.SystemExchange{{VHost: "/", Name: "amq.rabbitmq.event"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := serveFixture(t, b)
	f.user("admin", "administrator")
	f.must(b.SetPermission("admin", "/", all))
	return f
}

// serveFixture answers requests about b, which it closes.
func serveFixture(t testing.TB, b *core.Broker) *fixture {
	t.Helper()
	listener := func(protocol string, port int) Listener {
		return Listener{protocol, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}}
	}
	s := NewServer(Options{Broker: b, Logger: slog.New(slog.DiscardHandler), Version: "test", FailedLoginDelay: time.Millisecond, MachineBytes: 8 << 30, Listeners: []Listener{listener("amqp", 5672), listener("http", 15672)}})
	web := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		web.Close()
		b.Close()
	})
	return &fixture{t, b, s, web.URL}
}

var all = auth.Permission{Configure: ".*", Write: ".*", Read: ".*"}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// user makes a user whose password is its name and "pw".
func (f *fixture) user(name string, tags ...string) {
	f.t.Helper()
	hash, err := auth.HashPassword(name+"pw", "")
	f.must(err)
	f.must(f.broker.PutUser(auth.User{Name: name, PasswordHash: hash, Tags: tags}))
}

// session opens a session as an AMQP client would.
func (f *fixture) session(user, vhost string) *core.Session {
	f.t.Helper()
	u, ok := f.broker.Auth().User(user)
	if !ok {
		f.t.Fatalf("no user %s", user)
	}
	s, err := f.broker.OpenSession(core.SessionOptions{VHost: vhost, User: u, Loopback: true})
	f.must(err)
	f.t.Cleanup(s.Close)
	return s
}

// answer is what a request came back with.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// json decodes the answer's body.
func (a *answer) json(t testing.TB) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("answer %d is not JSON: %v: %.200s", a.status, err, a.body)
	}
	return v
}

// do sends a request as user, "" for nobody, "name:password" or a name whose
// password is as user makes it.
func (f *fixture) do(method, path, user, body string, headers ...string) *answer {
	f.t.Helper()
	req, err := http.NewRequest(method, f.url+path, strings.NewReader(body))
	f.must(err)
	if user != "" {
		name, password, ok := strings.Cut(user, ":")
		if !ok {
			password = name + "pw"
		}
		req.SetBasicAuth(name, password)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Do(req)
	f.must(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	f.must(err)
	return &answer{res.StatusCode, res.Header, bytes.TrimSpace(b)}
}

// want checks the status of a request by admin and returns its JSON, nil if it
// has no body.
func (f *fixture) want(status int, method, path, body string) any {
	f.t.Helper()
	a := f.do(method, path, "admin", body)
	if a.status != status {
		f.t.Fatalf("%s %s %s: status %d, want %d: %s", method, path, body, a.status, status, a.body)
	}
	if len(a.body) == 0 {
		return nil
	}
	return a.json(f.t)
}

func readFixture(t testing.TB, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
