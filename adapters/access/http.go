package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"leveret/core"
)

// TLSOptions say how a server is talked to over TLS.
type TLSOptions struct {
	CA         string // PEM file of authorities; "" for those of the system.
	Cert, Key  string // PEM files, for servers that ask for a certificate.
	ServerName string // In place of the address's host.
	NoVerify   bool   // Take any certificate.
}

func (o *TLSOptions) config() (*tls.Config, error) {
	c := &tls.Config{ServerName: o.ServerName, InsecureSkipVerify: o.NoVerify, MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no PEM certificate", o.CA)
		}
	}
	if o.Cert != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// client makes an HTTP client that keeps connections open and follows no
// redirects: who moved the service says so in the settings.
func (o *TLSOptions) client(connect, whole time.Duration) (*http.Client, error) {
	secure, err := o.config()
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Timeout: whole,
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: connect}).DialContext,
			TLSClientConfig:     secure,
			TLSHandshakeTimeout: connect,
			MaxIdleConns:        128,
			MaxIdleConnsPerHost: 64,
			MaxConnsPerHost:     256,
			IdleConnTimeout:     90 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// HTTPOptions say how the web service is asked. The paths are whole URLs.
type HTTPOptions struct {
	Method                                       string // "get" or "post".
	UserPath, VHostPath, ResourcePath, TopicPath string
	ConnectTimeout                               time.Duration // Of a TCP connection; 0 for Timeout.
	Timeout                                      time.Duration // Of a request; 0 for 10 s.
	// HoldFor is how long a session remembers an answer; 0 has it ask each time.
	HoldFor time.Duration
	TLS     TLSOptions
	Logger  *slog.Logger // Nil logs nowhere.
}

// HTTP asks a web service, as rabbitmq_auth_backend_http does.
type HTTP struct {
	opts   HTTPOptions
	client *http.Client
	log    *slog.Logger
	downAt atomic.Int64 // When the service was last said to be down, in ns; 0 while it is up.
}

// HTTPName is what the backend is called.
const HTTPName = "http"

// NewHTTP makes a backend. Nothing is asked yet.
func NewHTTP(o HTTPOptions) (*HTTP, error) {
	if o.Method != "get" && o.Method != "post" {
		return nil, fmt.Errorf("%q is no method; write get or post", o.Method)
	}
	for _, path := range []string{o.UserPath, o.VHostPath, o.ResourcePath, o.TopicPath} {
		if u, err := url.Parse(path); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("%q is not an address of a web service, such as http://localhost:8000/auth/user", path)
		}
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.ConnectTimeout == 0 || o.ConnectTimeout > o.Timeout {
		o.ConnectTimeout = o.Timeout
	}
	client, err := o.TLS.client(o.ConnectTimeout, o.Timeout)
	if err != nil {
		return nil, err
	}
	return &HTTP{opts: o, client: client, log: orDiscard(o.Logger)}, nil
}

func orDiscard(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

// Name implements core.AccessBackend.
func (h *HTTP) Name() string { return HTTPName }

// Hold implements core.AccessBackend.
func (h *HTTP) Hold() time.Duration { return h.opts.HoldFor }

var errDenied = errors.New("denied by the HTTP service")

// Authenticate implements core.AccessBackend.
func (h *HTTP) Authenticate(ctx context.Context, c *core.Credentials) (core.Identity, error) {
	return h.user(ctx, c.User, c)
}

// Authorise implements core.AccessBackend. The service is asked the same
// question: it may know the tags.
func (h *HTTP) Authorise(ctx context.Context, user string, c *core.Credentials) (core.Identity, error) {
	return h.user(ctx, user, c)
}

func (h *HTTP) user(ctx context.Context, user string, c *core.Credentials) (core.Identity, error) {
	form := fields{{"username", user}}
	if !c.External {
		form = append(form, field{"password", c.Password})
	}
	if c.Protocol == core.ProtocolMQTT {
		form = append(form, field{"vhost", c.VHost}, field{"client_id", c.ClientID})
	}
	answer, err := h.ask(ctx, h.opts.UserPath, form)
	if err != nil {
		return core.Identity{}, err
	}
	words := strings.Fields(answer)
	if len(words) == 0 || !strings.EqualFold(words[0], "allow") {
		if len(words) > 0 && strings.EqualFold(words[0], "deny") {
			h.denied(h.opts.UserPath, user, answer)
			return core.Identity{}, errDenied
		}
		return core.Identity{}, h.misunderstood(h.opts.UserPath, answer)
	}
	return core.Identity{User: user, Tags: words[1:]}, nil
}

// Allows implements core.AccessBackend.
func (h *HTTP) Allows(ctx context.Context, _ any, q *core.AccessQuestion) (bool, error) {
	path, form := h.question(q)
	answer, err := h.ask(ctx, path, form)
	if err != nil {
		return false, err
	}
	word, _, _ := strings.Cut(answer, " ")
	switch {
	case strings.EqualFold(word, "allow"):
		return true, nil
	case strings.EqualFold(word, "deny"):
		h.denied(path, q.User.Name, answer)
		return false, nil
	}
	return false, h.misunderstood(path, answer)
}

// denied logs the reason that the service gives, if it does.
func (h *HTTP) denied(path, user, answer string) {
	if _, reason, ok := strings.Cut(answer, " "); ok {
		if len(reason) > reasonMax {
			reason = reason[:reasonMax] + "…"
		}
		h.log.Info("denied by the HTTP service", "path", bare(path), "user", user, "reason", reason)
	}
}

// reasonMax bounds what of an answer is logged.
const reasonMax = 200

// question says where q is asked, and with which fields, in RabbitMQ's order.
func (h *HTTP) question(q *core.AccessQuestion) (path string, form fields) {
	form = fields{{"username", q.User.Name}, {"vhost", q.VHost}}
	tags := strings.Join(q.User.Tags, " ")
	if q.Kind == core.OnVHost {
		form = append(form, field{"ip", q.Peer}, field{"tags", tags})
		return h.opts.VHostPath, form.with("", q.Vars)
	}
	form = append(form, field{"resource", q.Kind.String()}, field{"name", q.Name}, field{"permission", q.Action.String()}, field{"tags", tags})
	if q.Kind != core.OnTopic {
		return h.opts.ResourcePath, form.with("", q.Vars)
	}
	form = append(form, field{"routing_key", q.Key}, field{"variable_map.username", q.User.Name}, field{"variable_map.vhost", q.VHost})
	return h.opts.TopicPath, form.with("variable_map.", q.Vars)
}

// field is one parameter of a form.
type field struct{ name, value string }

// fields are a form's parameters in order: services have been seen that read
// only the first of a name.
type fields []field

// with adds vars, by name, unless f has such a field.
func (f fields) with(prefix string, vars map[string]string) fields {
	names := make([]string, 0, len(vars))
	for name := range vars {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !slices.ContainsFunc(f, func(e field) bool { return e.name == prefix+name }) {
			f = append(f, field{prefix + name, vars[name]})
		}
	}
	return f
}

func (f fields) encode() string {
	var b strings.Builder
	for i, e := range f {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(e.name))
		b.WriteByte('=')
		b.WriteString(url.QueryEscape(e.value))
	}
	return b.String()
}

// answerMax bounds what is read of an answer.
const answerMax = 16 << 10

// ask sends form to path and returns the answer, trimmed.
func (h *HTTP) ask(ctx context.Context, path string, form fields) (string, error) {
	req, err := h.request(ctx, path, form)
	if err != nil {
		return "", err
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return "", h.down(ctx, path, withoutURL(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	if err != nil {
		return "", h.down(ctx, path, err)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		return "", h.down(ctx, path, fmt.Errorf("it answers %s", resp.Status))
	}
	if h.downAt.Swap(0) != 0 {
		h.log.Info("the HTTP service for logins and permissions answers again", "path", bare(path))
	}
	return strings.TrimSpace(string(body)), nil
}

func (h *HTTP) request(ctx context.Context, path string, form fields) (*http.Request, error) {
	if h.opts.Method == "post" {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(form.encode()))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return req, err
	}
	between := "?"
	if strings.Contains(path, "?") {
		between = "&"
	}
	return http.NewRequestWithContext(ctx, http.MethodGet, path+between+form.encode(), nil)
}

// withoutURL takes the address out of an error: with GET it has the password.
func withoutURL(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// bare is path without what may be secret in it.
func bare(path string) string {
	u, err := url.Parse(path)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// downEvery is how often it is said that the service is down.
const downEvery = 30 * time.Second

// down notes that the service does not answer, unless only the client went away.
func (h *HTTP) down(ctx context.Context, path string, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	now := time.Now().UnixNano()
	if was := h.downAt.Load(); (was == 0 || now-was >= int64(downEvery)) && h.downAt.CompareAndSwap(was, now) {
		h.log.Error("the HTTP service for logins and permissions does not answer; who needs it is refused", "path", bare(path), "error", err)
	}
	return fmt.Errorf("the HTTP service does not answer: %w", err)
}

func (h *HTTP) misunderstood(path, answer string) error {
	if len(answer) > 100 {
		answer = answer[:100] + "…"
	}
	h.log.Error("the HTTP service for logins and permissions answers neither allow nor deny", "path", bare(path), "answer", answer)
	return errors.New("the HTTP service answers neither allow nor deny")
}

// Explain implements core.AccessExplainer.
func (h *HTTP) Explain(_ any, q *core.AccessQuestion, yes bool, err error) string {
	path, _ := h.question(q)
	switch {
	case err != nil:
		return fmt.Sprintf("%s: %v", bare(path), err)
	case yes:
		return bare(path) + " answers allow"
	}
	return bare(path) + " answers deny"
}
