// Package certs keeps the broker's TLS certificates up to date: they are read
// again when their files change or when the process is told to (SIGHUP), and
// connections made from then on use the new ones. A file that cannot be read
// then changes nothing; one that cannot be read at the start is an error.
//
//	files ──load──▶ current ──GetConfigForClient──▶ each new handshake
//	  ▲ Run looks every few seconds; Reload looks now
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Verify says what is asked of clients' certificates.
type Verify string

// The ways to verify clients.
const (
	VerifyNone    Verify = "none"    // Clients are not asked for a certificate.
	VerifyPeer    Verify = "peer"    // One that a client has must be good.
	VerifyRequire Verify = "require" // Every client must have a good one.
)

// Options name the files, all PEM.
type Options struct {
	Pairs  []Pair // At least one; the first is for clients that name no server, or none of theirs.
	CA     string // Whose clients' certificates are good; "" for the system's.
	Verify Verify
	Min    uint16 // The oldest version of TLS, tls.VersionTLS12 for instance.
	Logger *slog.Logger
}

// Pair is a certificate chain, the server's own first, and its key.
type Pair struct{ Cert, Key string }

// files are all that are read.
func (o *Options) files() []string {
	all := []string{o.CA}
	for _, p := range o.Pairs {
		all = append(all, p.Cert, p.Key)
	}
	return all
}

// Store has the current configuration. Any goroutine may use it.
type Store struct {
	o       Options
	current atomic.Pointer[tls.Config]

	mu struct {
		sync.Mutex
		seen []stamp // Of the files, in order.
	}
}

// stamp tells versions of a file apart.
type stamp struct {
	size int64
	at   time.Time
}

// lookEvery is how often Run looks whether files have changed.
const lookEvery = 5 * time.Second

// Open reads the files for the first time.
func Open(o Options) (*Store, error) {
	s := &Store{o: o}
	if o.Logger == nil {
		s.o.Logger = slog.New(slog.DiscardHandler)
	}
	s.mu.seen = s.stamps()
	c, err := s.load()
	if err != nil {
		return nil, err
	}
	s.current.Store(c)
	return s, nil
}

func (s *Store) load() (*tls.Config, error) {
	c := &tls.Config{MinVersion: s.o.Min}
	for _, p := range s.o.Pairs {
		cert, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			return nil, fmt.Errorf("read the certificate %s with the key %s: %w", p.Cert, p.Key, err)
		}
		c.Certificates = append(c.Certificates, cert)
	}
	switch s.o.Verify {
	case VerifyPeer:
		c.ClientAuth = tls.VerifyClientCertIfGiven
	case VerifyRequire:
		c.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		return c, nil
	}
	if s.o.CA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(s.o.CA)
	if err != nil {
		return nil, fmt.Errorf("read the certificates of authorities: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the certificates of authorities: %s holds none", s.o.CA)
	}
	return c, nil
}

func (s *Store) stamps() []stamp {
	files := s.o.files()
	all := make([]stamp, len(files))
	for i, file := range files {
		if info, err := os.Stat(file); err == nil {
			all[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return all
}

// Config is for listeners: each handshake gets what is current then.
func (s *Store) Config() *tls.Config {
	return &tls.Config{
		MinVersion: s.o.Min,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.current.Load(), nil
		},
	}
}

// Shown are the certificates that clients see now, with the files they are from.
func (s *Store) Shown() map[string]*x509.Certificate {
	shown := map[string]*x509.Certificate{}
	for i, cert := range s.current.Load().Certificates {
		if cert.Leaf != nil && i < len(s.o.Pairs) {
			shown[s.o.Pairs[i].Cert] = cert.Leaf
		}
	}
	return shown
}

// Reload reads the files again. If that fails the ones read before stay.
func (s *Store) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.stamps() // Before they are read: a change meanwhile is seen next time.
	c, err := s.load()
	if err != nil {
		s.o.Logger.Error("certificates not read again, the old ones stay", "error", err)
		return err
	}
	s.mu.seen = seen
	s.current.Store(c)
	s.o.Logger.Info("certificates read again", "files", s.o.files()[1:])
	return nil
}

// changed reports whether the files are not those that were read.
func (s *Store) changed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.Equal(s.mu.seen, s.stamps())
}

// Run reads the files again when they change, until ctx ends.
func (s *Store) Run(ctx context.Context) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if s.changed() {
				s.Reload() // An error is logged, and tried again.
			}
		}
	}
}

// ParseVersion reads "1.2" or "1.3".
func ParseVersion(s string) (uint16, error) {
	switch s {
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, errors.New("not a version of TLS that is served; 1.2 or 1.3")
}
