package access

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"leveret/core"
	"leveret/core/auth"
)

// service is a web service as RabbitMQ's users write them. It answers what
// answers says, by the path and the form as it came.
type service struct {
	*httptest.Server
	mu      sync.Mutex
	asked   []string
	answers map[string]string
	status  atomic.Int32
	peers   map[string]bool
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	form := r.URL.RawQuery
	if r.Method == http.MethodPost {
		var b bytes.Buffer
		b.ReadFrom(r.Body)
		form = b.String()
		if got := r.Header.Get("Content-Type"); got != "application/x-www-form-urlencoded" {
			form = "content type " + got
		}
	}
	question := r.URL.Path + "?" + form
	s.mu.Lock()
	s.asked = append(s.asked, question)
	answer, ok := s.answers[question]
	s.peers[r.RemoteAddr] = true
	s.mu.Unlock()
	if code := s.status.Load(); code != 0 {
		w.WriteHeader(int(code))
	}
	if !ok {
		answer = "deny"
	}
	fmt.Fprint(w, answer)
}

func newService(t *testing.T, secure bool) *service {
	s := &service{answers: make(map[string]string), peers: make(map[string]bool)}
	if secure {
		s.Server = httptest.NewTLSServer(s)
	} else {
		s.Server = httptest.NewServer(s)
	}
	t.Cleanup(s.Close)
	return s
}

func (s *service) set(question, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[question] = answer
}

func (s *service) takeAsked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

func (s *service) options(method string) HTTPOptions {
	return HTTPOptions{
		Method: method, UserPath: s.URL + "/auth/user", VHostPath: s.URL + "/auth/vhost",
		ResourcePath: s.URL + "/auth/resource", TopicPath: s.URL + "/auth/topic", Timeout: 30 * time.Second,
	}
}

func backend(t *testing.T, o HTTPOptions) *HTTP {
	t.Helper()
	h, err := NewHTTP(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.client.CloseIdleConnections)
	return h
}

// The forms are those of rabbitmq_auth_backend_http 4.
func TestQuestionsAreRabbitMQs(t *testing.T) {
	for _, method := range []string{"get", "post"} {
		s := newService(t, false)
		h := backend(t, s.options(method))
		user := auth.User{Name: "an na", Tags: []string{"management", "x"}}
		vars := map[string]string{"client_id": "c1"}
		s.set("/auth/user?username=an+na&password=p%26w", "allow management x")
		s.set("/auth/user?username=an+na&password=p%26w&vhost=%2F&client_id=c1", "Allow")
		s.set("/auth/user?username=an+na", "allow\n")
		id, err := h.Authenticate(t.Context(), &core.Credentials{User: "an na", Password: "p&w", VHost: "/", Protocol: core.ProtocolSTOMP})
		if err != nil || id.User != "an na" || !slices.Equal(id.Tags, user.Tags) || !id.ExpiresAt.IsZero() {
			t.Errorf("%s: %+v, %v", method, id, err)
		}
		if id, err = h.Authenticate(t.Context(), &core.Credentials{User: "an na", Password: "p&w", VHost: "/", ClientID: "c1", Protocol: core.ProtocolMQTT}); err != nil || len(id.Tags) != 0 {
			t.Errorf("%s: MQTT: %+v, %v", method, id, err)
		}
		if _, err = h.Authorise(t.Context(), "an na", &core.Credentials{User: "an na", External: true}); err != nil {
			t.Errorf("%s: without a password: %v", method, err)
		}
		if _, err = h.Authenticate(t.Context(), &core.Credentials{User: "an na", Password: "wrong"}); err == nil {
			t.Errorf("%s: a wrong password", method)
		}
		s.takeAsked()
		for _, c := range []struct {
			q    core.AccessQuestion
			want string
		}{
			{core.AccessQuestion{Kind: core.OnVHost, VHost: "/", Peer: "10.1.2.3"},
				"/auth/vhost?username=an+na&vhost=%2F&ip=10.1.2.3&tags=management+x"},
			{core.AccessQuestion{Kind: core.OnVHost, VHost: "/", Peer: "::1", Vars: vars},
				"/auth/vhost?username=an+na&vhost=%2F&ip=%3A%3A1&tags=management+x&client_id=c1"},
			{core.AccessQuestion{Kind: core.OnQueue, VHost: "v", Action: auth.Configure, Name: "q/1"},
				"/auth/resource?username=an+na&vhost=v&resource=queue&name=q%2F1&permission=configure&tags=management+x"},
			{core.AccessQuestion{Kind: core.OnExchange, VHost: "v", Action: auth.Write, Name: "amq.default", Vars: vars},
				"/auth/resource?username=an+na&vhost=v&resource=exchange&name=amq.default&permission=write&tags=management+x&client_id=c1"},
			{core.AccessQuestion{Kind: core.OnTopic, VHost: "v", Action: auth.Read, Name: "x", Key: "a.#", Vars: vars},
				"/auth/topic?username=an+na&vhost=v&resource=topic&name=x&permission=read&tags=management+x&routing_key=a.%23" +
					"&variable_map.username=an+na&variable_map.vhost=v&variable_map.client_id=c1"},
		} {
			c.q.User = user
			if yes, err := h.Allows(t.Context(), nil, &c.q); yes || err != nil {
				t.Errorf("%s: denied, but %v, %v", method, yes, err)
			}
			if got := s.takeAsked(); !slices.Equal(got, []string{c.want}) {
				t.Errorf("%s: asked %q\nwant %q", method, got, c.want)
			}
			s.set(c.want, "allow")
			if yes, err := h.Allows(t.Context(), nil, &c.q); !yes || err != nil {
				t.Errorf("%s: allowed, but %v, %v", method, yes, err)
			}
			s.takeAsked()
		}
		if n := len(s.peers); n != 1 {
			t.Errorf("%s: %d connections for questions one after the other", method, n)
		}
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	s := newService(t, false)
	var log lockedBuffer
	o := s.options("post")
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	h := backend(t, o)
	q := core.AccessQuestion{Kind: core.OnVHost, VHost: "/", User: auth.User{Name: "u"}}
	const asked = "/auth/vhost?username=u&vhost=%2F&ip=&tags="
	for answer, allowed := range map[string]bool{
		"allow": true, " ALLOW\n": true, "allow because": true, "deny": false, "Deny no money": false,
		"": false, "allowed": false, "yes": false, "<html>allow": false, "deny allow": false,
	} {
		s.set(asked, answer)
		if yes, _ := h.Allows(t.Context(), nil, &q); yes != allowed {
			t.Errorf("%q: %v", answer, yes)
		}
	}
	s.set(asked, "allow")
	for _, code := range []int32{http.StatusNoContent, http.StatusFound, http.StatusForbidden, http.StatusInternalServerError} {
		s.status.Store(code)
		if yes, err := h.Allows(t.Context(), nil, &q); yes || err == nil {
			t.Errorf("status %d: %v, %v", code, yes, err)
		}
	}
	s.status.Store(http.StatusCreated)
	if yes, err := h.Allows(t.Context(), nil, &q); !yes || err != nil {
		t.Errorf("status 201: %v, %v", yes, err)
	}
	if text := log.String(); !strings.Contains(text, "neither allow nor deny") || strings.Count(text, "does not answer") != 1 || !strings.Contains(text, "answers again") || !strings.Contains(text, `reason="no money"`) {
		t.Errorf("logged:\n%s", text)
	}
}

func TestServiceThatIsDownLetsNobodyIn(t *testing.T) {
	s := newService(t, false)
	var log lockedBuffer
	o := s.options("get")
	o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h := backend(t, o)
	s.Close()
	_, err := h.Authenticate(t.Context(), &core.Credentials{User: "u", Password: "very-secret"})
	if err == nil {
		t.Fatal("let in")
	}
	if text := log.String() + err.Error(); strings.Contains(text, "very-secret") || !strings.Contains(text, "does not answer; who needs it is refused") {
		t.Errorf("logged: %s", text)
	}
}

func TestSlowServiceIsNotWaitedForLonger(t *testing.T) {
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer slow.Close()
	defer close(release)
	h := backend(t, HTTPOptions{Method: "get", UserPath: slow.URL, VHostPath: slow.URL, ResourcePath: slow.URL, TopicPath: slow.URL, Timeout: 50 * time.Millisecond})
	if _, err := h.Authenticate(t.Context(), &core.Credentials{User: "u", Password: "p"}); err == nil {
		t.Error("let in")
	}
	// A client that goes away ends its question.
	h.client.Timeout = 0
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if yes, err := h.Allows(ctx, nil, &core.AccessQuestion{}); yes || err == nil {
		t.Error("allowed")
	}
}

func TestServiceOverTLS(t *testing.T) {
	s := newService(t, true)
	s.set("/auth/user?username=u&password=p", "allow")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	for name, c := range map[string]struct {
		tls TLSOptions
		ok  bool
	}{
		"authority":            {TLSOptions{CA: ca}, true},
		"without":              {TLSOptions{}, false},
		"another name":         {TLSOptions{CA: ca, ServerName: "other.test"}, false},
		"whatever certificate": {TLSOptions{NoVerify: true}, true},
	} {
		o := s.options("post")
		o.TLS = c.tls
		_, err := backend(t, o).Authenticate(t.Context(), &core.Credentials{User: "u", Password: "p"})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := s.options("post")
	o.TLS.CA = filepath.Join(t.TempDir(), "none.pem")
	if _, err := NewHTTP(o); err == nil {
		t.Error("a missing file is accepted")
	}
}

func TestBadAddressesAreRefused(t *testing.T) {
	for _, path := range []string{"", "localhost:8000/auth/user", "/auth/user", "ftp://x/", "http://"} {
		_, err := NewHTTP(HTTPOptions{Method: "get", UserPath: path, VHostPath: "http://x", ResourcePath: "http://x", TopicPath: "http://x"})
		if err == nil {
			t.Errorf("%q is accepted", path)
		}
	}
}

// FuzzForm holds that whatever a client says, a form decodes to just that.
func FuzzForm(f *testing.F) {
	f.Add("u", "p&username=admin", "c\x00;=")
	f.Fuzz(func(t *testing.T, user, password, id string) {
		values, err := url.ParseQuery(fields{{"username", user}, {"password", password}}.with("", map[string]string{"client_id": id, "username": "x"}).encode())
		if err != nil || len(values) != 3 || values.Get("username") != user || values.Get("password") != password || values.Get("client_id") != id {
			t.Errorf("%q, %q, %q: %q, %v", user, password, id, values, err)
		}
	})
}

// lockedBuffer is a log that any goroutine may write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
