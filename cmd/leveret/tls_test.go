package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"leveret/cmd/internal/certs/certstest"
)

// pki is an authority and files of it.
type pki struct {
	*certstest.Authority
	dir     string
	caFile  string
	trusts  *tls.Config // A client that trusts it and expects localhost.
	app     tls.Certificate
	subject string // The user of app.
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	p := &pki{Authority: certstest.NewAuthority(t, "ours"), dir: t.TempDir(), subject: "CN=app,O=shop"}
	p.caFile = filepath.Join(p.dir, "ca.pem")
	certstest.WriteFile(t, p.caFile, p.PEM)
	p.trusts = &tls.Config{RootCAs: p.Pool(), ServerName: "localhost"}
	p.app = p.Issue(t, certstest.Leaf{Name: "app", Change: inShop})
	return p
}

func inShop(c *x509.Certificate) {
	c.Subject = pkix.Name{CommonName: c.Subject.CommonName, Organization: []string{"shop"}}
}

// server are arguments that serve every protocol over TLS on host, with a
// certificate.
func (p *pki) server(t *testing.T, host string, l certstest.Leaf, more ...string) []string {
	t.Helper()
	cert, key := p.Write(t, p.dir, l.Name, l)
	return append(everyPort(host, true), append([]string{"--tls-cert", cert, "--tls-key", key, "--tls-ca", p.caFile}, more...)...)
}

// with is the client with a certificate, whatever the server asks for.
func (p *pki) with(c tls.Certificate) *tls.Config {
	client := p.trusts.Clone()
	client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }
	return client
}

// secured is the API's name of a protocol over TLS.
func secured(protocol string) string {
	if rest, ok := strings.CutPrefix(protocol, "http"); ok {
		return "https" + rest
	}
	return protocol + "/ssl"
}

// tries logs a client in over TLS by every protocol at once and returns what
// came of it.
func (p *process) tries(client *tls.Config, l login) map[string]error {
	got := make(map[string]error)
	var mu sync.Mutex
	var all sync.WaitGroup
	for protocol, try := range logins {
		all.Go(func() {
			nc, err := dialed(p.addrs[secured(protocol)])
			if err == nil {
				err = try(tls.Client(nc, client), l)
			}
			mu.Lock()
			defer mu.Unlock()
			got[protocol] = err
		})
	}
	all.Wait()
	return got
}

// addUser makes a user who may do everything.
func (p *process) addUser(name string) {
	p.t.Helper()
	for _, c := range [][2]string{
		{"/api/users/", `{"password":"secret","tags":"administrator"}`},
		{"/api/permissions/%2F/", `{"configure":".*","write":".*","read":".*"}`},
	} {
		r, err := http.NewRequest("PUT", p.httpURL()+c[0]+url.PathEscape(name), strings.NewReader(c[1]))
		if err != nil {
			p.t.Fatal(err)
		}
		r.SetBasicAuth("guest", "guest")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			p.t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			p.t.Fatalf("%s: %s", c[0], resp.Status)
		}
	}
}

// TestTLSLogins has clients of every protocol log in over TLS, with and without
// certificates.
func TestTLSLogins(t *testing.T) {
	ca := newPKI(t)
	stranger := newPKI(t)
	p := serving(t, ca.server(t, "127.0.0.1", certstest.Leaf{Name: "localhost"}, "--tls-verify", "peer", "--mqtt-cert-login", "--stomp-cert-login",
		"--http-cert-login", "--no-mqtt-anonymous", "--stomp-default-user", "none")...)
	p.addUser(ca.subject)
	guest := login{"guest", "guest"}
	for _, c := range []struct {
		name   string
		client *tls.Config
		l      login
		// What comes of it: nothing bad, a refusal by the broker, or the end of the
		// handshake.
		refused, broken bool
	}{
		{name: "a certificate is the login", client: ca.with(ca.app)},
		{name: "user and password win", client: ca.with(ca.app), l: guest},
		{name: "a wrong password is not made good by a certificate", client: ca.with(ca.app), l: login{"guest", "wrong"}, refused: true},
		{name: "no certificate, but a password", client: ca.trusts, l: guest},
		{name: "nothing at all", client: ca.trusts, refused: true},
		{name: "a certificate of nobody here", client: ca.with(ca.Issue(t, certstest.Leaf{Name: "nobody"})), refused: true},
		{name: "an expired certificate", client: ca.with(ca.Issue(t, certstest.Leaf{Name: "app", Change: inShop, Expired: true})), l: guest, broken: true},
		{name: "one of another authority", client: ca.with(stranger.app), l: guest, broken: true},
		{name: "a client that trusts another authority", client: stranger.trusts, l: guest, broken: true},
		{name: "a client that expects another host", client: &tls.Config{RootCAs: ca.Pool(), ServerName: "example.org"}, l: guest, broken: true},
	} {
		for protocol, err := range p.tries(c.client, c.l) {
			refused, broken := errors.Is(err, errRefused), err != nil && !errors.Is(err, errRefused)
			if refused != c.refused || broken != c.broken {
				t.Errorf("%s, %s: %v", c.name, protocol, err)
			}
		}
	}
	for site, want := range map[string]int{"same-origin": http.StatusOK, "cross-site": http.StatusUnauthorized, "same-site": http.StatusUnauthorized} {
		web := http.Client{Transport: &http.Transport{TLSClientConfig: ca.with(ca.app), DisableKeepAlives: true}}
		r, err := http.NewRequest("GET", "https://"+p.addrs[secured("http")]+"/api/whoami", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Sec-Fetch-Site", site)
		resp, err := web.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("a page that is %s: %s", site, resp.Status)
		}
	}
	var host x509.HostnameError
	for protocol, err := range p.tries(&tls.Config{RootCAs: ca.Pool(), ServerName: "example.org"}, guest) {
		if !errors.As(err, &host) {
			t.Errorf("%s: another host: %v", protocol, err)
		}
	}
}

// TestStrictTLS is of a server that wants certificates and the newest version.
func TestStrictTLS(t *testing.T) {
	ca := newPKI(t)
	p := serving(t, ca.server(t, "127.0.0.1", certstest.Leaf{Name: "localhost"}, "--tls-verify", "require", "--tls-min", "1.3")...)
	guest := login{"guest", "guest"}
	old := ca.with(ca.app)
	old.MaxVersion = tls.VersionTLS12
	for _, c := range []struct {
		name   string
		client *tls.Config
		fails  string
	}{
		{"a certificate", ca.with(ca.app), ""},
		{"no certificate", ca.trusts, "certificate required"},
		{"an old client", old, "protocol version not supported"},
	} {
		for protocol, err := range p.tries(c.client, guest) {
			// What the alert says may be lost to a reset.
			if (err == nil) != (c.fails == "") || errors.Is(err, errRefused) ||
				err != nil && !strings.Contains(err.Error(), c.fails) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
				t.Errorf("%s, %s: %v", c.name, protocol, err)
			}
		}
	}
	until(t, "the log says why", func() bool {
		return strings.Contains(p.stderr.String(), "client didn't provide a certificate") && strings.Contains(p.stderr.String(), "unsupported versions")
	})
}

// TestExpiredServer is what clients see of a certificate that has expired.
func TestExpiredServer(t *testing.T) {
	ca := newPKI(t)
	p := serving(t, ca.server(t, "127.0.0.1", certstest.Leaf{Name: "localhost", Expired: true})...)
	for protocol, err := range p.tries(ca.trusts, login{"guest", "guest"}) {
		var invalid x509.CertificateInvalidError
		if !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
			t.Errorf("%s: %v", protocol, err)
		}
	}
}

// TestServerNames gives clients the certificate of the server they ask for, by
// IPv6 too.
func TestServerNames(t *testing.T) {
	ca := newPKI(t)
	only := func(name string) certstest.Leaf {
		return certstest.Leaf{Name: name, Change: func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{name}, nil }}
	}
	second, key := ca.Write(t, ca.dir, "second", only("second.example"))
	p := serving(t, ca.server(t, "::1", only("first.example"), "--tls-cert", second, "--tls-key", key)...)
	for asked, want := range map[string]string{"first.example": "first.example", "second.example": "second.example", "third.example": "first.example", "": "first.example"} {
		for protocol := range logins {
			nc, err := dialed(p.addrs[secured(protocol)])
			if err != nil {
				t.Fatal(err)
			}
			c := tls.Client(nc, &tls.Config{ServerName: asked, InsecureSkipVerify: true})
			if err := c.Handshake(); err != nil {
				t.Fatalf("%s: %v", protocol, err)
			}
			if got := c.ConnectionState().PeerCertificates[0].Subject.CommonName; got != want {
				t.Errorf("%s: asked for %q, met %s", protocol, asked, got)
			}
			nc.Close()
		}
		client := ca.trusts.Clone()
		client.ServerName = asked
		if asked != want {
			continue
		}
		for protocol, err := range p.tries(client, login{"guest", "guest"}) {
			if err != nil {
				t.Errorf("%s: logging in at %s: %v", protocol, asked, err)
			}
		}
	}
}

// TestCertificatesAreRenewed has connections from before go on, and new ones see
// the new certificate.
func TestCertificatesAreRenewed(t *testing.T) {
	ca := newPKI(t)
	p := serving(t, ca.server(t, "127.0.0.1", certstest.Leaf{Name: "first"})...)
	met := func(protocol string) (*tls.Conn, string) {
		t.Helper()
		nc, err := dialed(p.addrs[secured(protocol)])
		if err != nil {
			t.Fatal(err)
		}
		c := tls.Client(nc, ca.trusts)
		if err := c.Handshake(); err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		return c, c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	before := make(map[string]*tls.Conn)
	for protocol := range logins {
		c, name := met(protocol)
		if before[protocol] = c; name != "first" {
			t.Errorf("%s: met %s", protocol, name)
		}
	}
	renewed := certstest.Leaf{Name: "second"}
	cert, key := ca.Write(t, t.TempDir(), "second", renewed)
	ca.replace(t, "first", cert, key)
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for protocol, try := range logins {
		until(t, "the new certificate at "+protocol, func() bool {
			c, name := met(protocol)
			c.Close()
			return name == "second"
		})
		if err := try(before[protocol], login{"guest", "guest"}); err != nil {
			t.Errorf("%s: the connection from before: %v", protocol, err)
		}
	}
}

// replace writes other files over a certificate and its key.
func (p *pki) replace(t *testing.T, name, cert, key string) {
	t.Helper()
	for from, to := range map[string]string{cert: name + ".pem", key: name + ".key"} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		certstest.WriteFile(t, filepath.Join(p.dir, to), b)
	}
}

// TestCertificateFields is of users named by something else than the subject.
func TestCertificateFields(t *testing.T) {
	ca := newPKI(t)
	for how, user := range map[string]string{"common_name": "app", "subject_alternative_name": "localhost"} {
		t.Run(how, func(t *testing.T) {
			p := serving(t, ca.server(t, "127.0.0.1", certstest.Leaf{Name: "localhost"}, "--tls-verify", "peer", "--mqtt-cert-login", "--stomp-cert-login",
				"--cert-login-from", how, "--cert-login-san-index", "1")...)
			p.addUser(user)
			for protocol, err := range p.tries(ca.with(ca.app), login{}) {
				if err != nil && protocol != "http" {
					t.Errorf("%s: %v", protocol, err)
				}
			}
		})
	}
}

// TestMechanisms looks at what AMQP clients are offered.
func TestMechanisms(t *testing.T) {
	ca := newPKI(t)
	offered := func(p *process, client *tls.Config, protocol string) string {
		t.Helper()
		nc, err := dialed(p.addrs[protocol])
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if client != nil {
			nc = tls.Client(nc, client)
		}
		fmt.Fprint(nc, "AMQP\x00\x00\x09\x01")
		b := make([]byte, 4096)
		n := 0
		for !bytes.Contains(b[:n], []byte("en_US")) {
			m, err := nc.Read(b[n:])
			if n += m; err != nil {
				t.Fatalf("%v after %q", err, b[:n])
			}
		}
		_, rest, _ := bytes.Cut(b[:n], []byte(`PLAIN`))
		rest, _, _ = bytes.Cut(rest, []byte("\x00\x00\x00\x05en_US"))
		return "PLAIN" + string(rest)
	}
	p := serving(t, ca.server(t, "127.0.0.1", certstest.Leaf{Name: "localhost"}, "--tls-verify", "peer")...)
	const all = "PLAIN AMQPLAIN ANONYMOUS"
	if got := offered(p, ca.with(ca.app), "amqp/ssl"); got != all+" EXTERNAL" {
		t.Errorf("with a certificate: %q", got)
	}
	if got := offered(p, ca.trusts, "amqp/ssl"); got != all {
		t.Errorf("without one: %q", got)
	}
	if got := offered(p, nil, "amqp"); got != all {
		t.Errorf("without TLS: %q", got)
	}
	p = serving(t, "--auth-mechanisms", "PLAIN")
	if got := offered(p, nil, "amqp"); got != "PLAIN" {
		t.Errorf("with PLAIN alone: %q", got)
	}
}
