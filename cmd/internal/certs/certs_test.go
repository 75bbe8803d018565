package certs

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"leveret/cmd/internal/certs/certstest"
)

// meet connects to s once and returns who the server said it is.
func meet(t *testing.T, s *Store, client *tls.Config) (name string, err error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	go func() {
		ours, err := ln.Accept()
		if err != nil {
			done <- err
			return
		}
		c := tls.Server(ours, s.Config())
		err = c.Handshake()
		if err == nil {
			_, err = c.Write([]byte("x"))
		}
		done <- err
		c.Close()
	}()
	theirs, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	c := tls.Client(theirs, client)
	if err = c.Handshake(); err == nil {
		name = c.ConnectionState().PeerCertificates[0].Subject.CommonName
		_, err = io.ReadFull(c, make([]byte, 1))
	}
	theirs.Close()
	if serverErr := <-done; err == nil {
		err = serverErr
	}
	return name, err
}

func TestHandshakes(t *testing.T) {
	dir := t.TempDir()
	ca := certstest.NewAuthority(t, "ours")
	other := certstest.NewAuthority(t, "others")
	cert, key := ca.Write(t, dir, "server", certstest.Leaf{Name: "localhost"})
	authority := filepath.Join(dir, "ca.pem")
	certstest.WriteFile(t, authority, ca.PEM)
	trusts := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
	with := func(a *certstest.Authority, l certstest.Leaf) *tls.Config {
		c := trusts.Clone()
		cert := a.Issue(t, l)
		// Whatever the server asks for.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
		return c
	}
	old := trusts.Clone()
	old.MaxVersion = tls.VersionTLS12
	for _, c := range []struct {
		name   string
		verify Verify
		min    uint16
		client *tls.Config
		fails  bool
	}{
		{"no client certificate asked for", VerifyNone, tls.VersionTLS12, trusts, false},
		{"none given, none required", VerifyPeer, tls.VersionTLS12, trusts, false},
		{"none given", VerifyRequire, tls.VersionTLS12, trusts, true},
		{"a good one", VerifyRequire, tls.VersionTLS12, with(ca, certstest.Leaf{Name: "app"}), false},
		{"one of others", VerifyPeer, tls.VersionTLS12, with(other, certstest.Leaf{Name: "app"}), true},
		{"an expired one", VerifyRequire, tls.VersionTLS12, with(ca, certstest.Leaf{Name: "app", Expired: true}), true},
		{"an old client", VerifyNone, tls.VersionTLS12, old, false},
		{"too old a client", VerifyNone, tls.VersionTLS13, old, true},
		{"a client that expects another host", VerifyNone, tls.VersionTLS12, &tls.Config{RootCAs: ca.Pool(), ServerName: "example.org"}, true},
	} {
		s, err := Open(Options{Pairs: []Pair{{cert, key}}, CA: authority, Verify: c.verify, Min: c.min})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := meet(t, s, c.client); (err != nil) != c.fails {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// New connections get new certificates soon after their files have changed.
func TestFilesThatChange(t *testing.T) {
	dir := t.TempDir()
	ca := certstest.NewAuthority(t, "ours")
	cert, key := ca.Write(t, dir, "server", certstest.Leaf{Name: "localhost"})
	client := &tls.Config{RootCAs: ca.Pool(), InsecureSkipVerify: true}
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(Options{Pairs: []Pair{{cert, key}}, Min: tls.VersionTLS12})
		if err != nil {
			t.Fatal(err)
		}
		go s.Run(t.Context())
		is := func(want string) {
			t.Helper()
			if got := s.current.Load().Certificates[0].Leaf.Subject.CommonName; got != want {
				t.Errorf("%s is served, want %s", got, want)
			}
		}
		is("localhost")
		ca.Write(t, dir, "server", certstest.Leaf{Name: "renewed and longer"})
		time.Sleep(2 * lookEvery)
		is("renewed and longer")
		certstest.WriteFile(t, key, []byte("half a file"))
		time.Sleep(2 * lookEvery)
		is("renewed and longer")
		if err := s.Reload(); err == nil {
			t.Error("a broken key was read")
		}
	})
	if _, err := Open(Options{Pairs: []Pair{{cert, key}}, Min: tls.VersionTLS12}); err == nil {
		t.Fatal("opened with a broken key")
	}
	ca.Write(t, dir, "server", certstest.Leaf{Name: "third"})
	s, err := Open(Options{Pairs: []Pair{{cert, key}}, Min: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	if name, err := meet(t, s, client); err != nil || name != "third" {
		t.Errorf("met %q, %v", name, err)
	}
	if _, err := os.Stat(cert); err != nil {
		t.Error(err)
	}
	if _, err := Open(Options{Pairs: []Pair{{cert, key}}, CA: key, Verify: VerifyPeer}); err == nil {
		t.Error("a key was taken for certificates of authorities")
	}
	if _, err := x509.ParseCertificate(s.current.Load().Certificates[0].Certificate[0]); err != nil {
		t.Error(err)
	}
}

func TestParseVersion(t *testing.T) {
	for in, want := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13, "1.1": 0, "": 0} {
		if got, err := ParseVersion(in); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v", in, got, err)
		}
	}
}
