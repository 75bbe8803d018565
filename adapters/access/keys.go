package access

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// KeyOptions say where the keys are that tokens are signed with.
type KeyOptions struct {
	// JWKS is a file or an https (or, for tests and closed networks, http)
	// address of a JWK set. Without one and with an issuer, the issuer's
	// OpenID configuration says where it is.
	JWKS string
	// Files are PEM files (public keys or certificates) by key id.
	Files map[string]string
	// DefaultKey is the id of the key of tokens that name none.
	DefaultKey string
	// Refresh is how often the set is read again; 0 for 15 min. A token with
	// an unknown key has that done at once, but at most every RefreshMin; 0
	// for 10 s.
	Refresh, RefreshMin time.Duration
	Timeout             time.Duration // Of a request; 0 for 10 s.
	TLS                 TLSOptions
}

// keys are those that tokens may be signed with. Any goroutine may use it.
type keys struct {
	opts   KeyOptions
	issuer string
	client *http.Client
	log    *slog.Logger

	current atomic.Pointer[map[string]key] // By id; replaced whole.
	fetches singleflight.Group
	reading atomic.Bool // A fetch is under way.
	mu      struct {
		sync.Mutex
		triedAt time.Time
	}
}

// key is a public key, or a secret shared with the issuer.
type key struct {
	crypto any    // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey or []byte.
	alg    string // The only algorithm it is for; "" for all that fit.
}

// keyError is why there is no key for a token.
type keyError struct{ text string }

func (e *keyError) Error() string { return e.text }

func newKeys(o KeyOptions, issuer string, log *slog.Logger) (*keys, error) {
	if o.Refresh == 0 {
		o.Refresh = 15 * time.Minute
	}
	if o.RefreshMin == 0 {
		o.RefreshMin = 10 * time.Second
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	client, err := o.TLS.client(o.Timeout, o.Timeout)
	if err != nil {
		return nil, err
	}
	k := &keys{opts: o, issuer: issuer, client: client, log: log}
	if o.JWKS == "" && issuer == "" && len(o.Files) == 0 {
		return nil, errors.New("tokens need keys: a JWK set, an issuer, or signing keys")
	}
	if k.remote() {
		files, err := k.files()
		if err != nil {
			return nil, err
		}
		k.current.Store(&files)
		return k, nil
	}
	return k, k.read(context.Background())
}

// remote reports whether the set is fetched over the network.
func (k *keys) remote() bool {
	return isURL(k.opts.JWKS) || k.opts.JWKS == "" && k.issuer != ""
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

// run reads the set again from time to time.
func (k *keys) run(ctx context.Context) {
	tick := time.NewTicker(k.opts.Refresh)
	defer tick.Stop()
	if k.remote() && k.mayTry() {
		k.refresh(ctx)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.refresh(ctx)
		}
	}
}

// find returns the key called kid if it is for tokens signed with alg. One that
// is not known is looked for in the set as it is now.
func (k *keys) find(ctx context.Context, kid, alg string) (any, error) {
	found, ok := k.get(kid)
	if !ok && (k.reading.Load() || k.mayTry()) {
		k.refresh(ctx)
		found, ok = k.get(kid)
	}
	switch {
	case !ok && kid == "":
		return nil, &keyError{"the token names no key, and there is no default key"}
	case !ok:
		return nil, &keyError{fmt.Sprintf("the token's key %.64q is not known", kid)}
	case found.alg != "" && found.alg != alg:
		return nil, &keyError{fmt.Sprintf("the key %.64q is for %s, the token is signed with %s", kid, found.alg, alg)}
	}
	return found.crypto, nil
}

func (k *keys) get(kid string) (key, bool) {
	all := *k.current.Load()
	if kid == "" && len(all) == 1 && k.opts.DefaultKey == "" {
		for _, only := range all {
			return only, true
		}
	}
	found, ok := all[kid]
	return found, ok
}

// mayTry reports whether the last attempt is long enough ago: tokens with made
// up key ids must not have us hammer the issuer.
func (k *keys) mayTry() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.opts.JWKS == "" && k.issuer == "" || time.Since(k.mu.triedAt) < k.opts.RefreshMin && !k.mu.triedAt.IsZero() {
		return false
	}
	k.mu.triedAt = time.Now()
	return true
}

// refresh reads the set again; all that want it at the same time share one
// attempt, which goes on if one of them gives up. If it fails, the keys stay.
func (k *keys) refresh(ctx context.Context) {
	done := k.fetches.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.opts.Timeout)
		defer cancel()
		k.reading.Store(true)
		defer k.reading.Store(false)
		err := k.read(ctx)
		if err != nil {
			k.log.Error("the keys of tokens cannot be read; those known before stay", "from", k.place(), "error", err)
		}
		return nil, err
	})
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// place is where the set is, for logs.
func (k *keys) place() string {
	switch {
	case isURL(k.opts.JWKS):
		return bare(k.opts.JWKS)
	case k.opts.JWKS != "":
		return k.opts.JWKS
	}
	return bare(k.issuer)
}

// setLenMax bounds a JWK set, setKeysMax its keys.
const (
	setLenMax  = 1 << 20
	setKeysMax = 1000
)

// read reads all keys anew.
func (k *keys) read(ctx context.Context) error {
	all, err := k.files()
	if err != nil {
		return err
	}
	text, err := k.set(ctx)
	if err != nil {
		return err
	}
	if text != nil {
		set, skipped, err := parseSet(text, !k.remote())
		if err != nil {
			return err
		}
		if len(set) == 0 {
			return fmt.Errorf("the JWK set has no key that is understood (%d are not)", skipped)
		}
		for id, one := range set {
			if _, ok := all[id]; !ok {
				all[id] = one
			}
		}
		if skipped > 0 {
			k.log.Debug("keys of the JWK set are not understood", "from", k.place(), "keys", skipped)
		}
	}
	k.current.Store(&all)
	return nil
}

// set returns the JWK set's text, nil if there is none.
func (k *keys) set(ctx context.Context) ([]byte, error) {
	if !k.remote() {
		if k.opts.JWKS == "" {
			return nil, nil
		}
		text, err := os.ReadFile(k.opts.JWKS)
		if err == nil && len(text) > setLenMax {
			err = errors.New("the JWK set is too long")
		}
		return text, err
	}
	from := k.opts.JWKS
	if from == "" {
		text, err := k.fetch(ctx, strings.TrimSuffix(k.issuer, "/")+"/.well-known/openid-configuration")
		if err != nil {
			return nil, err
		}
		var d struct {
			JWKS string `json:"jwks_uri"`
		}
		if err := json.Unmarshal(text, &d); err != nil || !isURL(d.JWKS) {
			return nil, errors.New("the issuer's OpenID configuration has no jwks_uri")
		}
		from = d.JWKS
	}
	return k.fetch(ctx, from)
}

func (k *keys) fetch(ctx context.Context, from string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", bare(from), resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, setLenMax+1))
	if err == nil && len(text) > setLenMax {
		err = errors.New("the JWK set is too long")
	}
	return text, err
}

// files reads the keys that have a file each.
func (k *keys) files() (map[string]key, error) {
	all := make(map[string]key)
	for id, name := range k.opts.Files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		pub, err := parsePEM(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[id] = key{crypto: pub}
	}
	return all, nil
}

// parsePEM reads a public key or a certificate.
func parsePEM(text []byte) (crypto.PublicKey, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("no public key and no certificate in PEM")
		}
		var pub any
		var err error
		switch block.Type {
		case "PUBLIC KEY":
			pub, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			pub, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "CERTIFICATE":
			var c *x509.Certificate
			if c, err = x509.ParseCertificate(block.Bytes); err == nil {
				pub = c.PublicKey
			}
		default:
			text = rest
			continue
		}
		if err != nil {
			return nil, err
		}
		return checkPublic(pub)
	}
}

// RSA keys outside of these bounds are unsafe, or a way to waste our time.
const (
	rsaBitsMin = 1024
	rsaBitsMax = 8192
)

func checkPublic(pub any) (crypto.PublicKey, error) {
	switch p := pub.(type) {
	case *rsa.PublicKey:
		if n := p.N.BitLen(); n < rsaBitsMin || n > rsaBitsMax {
			return nil, fmt.Errorf("an RSA key of %d bits", n)
		}
		return p, nil
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return p, nil
	}
	return nil, fmt.Errorf("a key of type %T", pub)
}

// parseSet reads a JWK set (RFC 7517, 5). Keys that are not understood are
// counted. Shared secrets only come from files: a set that anybody can fetch
// has none that is one.
func parseSet(text []byte, secrets bool) (all map[string]key, skipped int, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, 0, errors.New("the JWK set is not JSON, or its keys are no list")
	}
	all = make(map[string]key)
	for _, raw := range set.Keys {
		id, one, err := parseJWK(raw)
		_, secret := one.crypto.([]byte)
		if err != nil || secret && !secrets || len(all) >= setKeysMax {
			skipped++
			continue
		}
		all[id] = one
	}
	return all, skipped, nil
}

// jwk is one key of a set (RFC 7518, 6).
type jwk struct {
	Type  string  `json:"kty"`
	ID    string  `json:"kid"`
	Use   string  `json:"use"`
	Alg   string  `json:"alg"`
	Curve string  `json:"crv"`
	N     bytes64 `json:"n"`
	E     bytes64 `json:"e"`
	X     bytes64 `json:"x"`
	Y     bytes64 `json:"y"`
	K     bytes64 `json:"k"`
}

// bytes64 is base64url text (RFC 7518, 2); padding is tolerated.
type bytes64 []byte

func (b *bytes64) UnmarshalText(text []byte) error {
	out, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(string(text), "="))
	*b = out
	return err
}

// secretMin is how short a shared secret may be (RFC 7518, 3.2 asks for 32; some
// that work have less).
const secretMin = 16

func parseJWK(text []byte) (id string, k key, err error) {
	var j jwk
	if err := json.Unmarshal(text, &j); err != nil {
		return "", k, err
	}
	if j.Use == "enc" {
		return "", k, errors.New("for encryption")
	}
	k.alg = j.Alg
	switch j.Type {
	case "RSA":
		k.crypto, err = rsaKey(&j)
	case "EC":
		k.crypto, err = ecKey(&j)
	case "OKP":
		if j.Curve != "Ed25519" || len(j.X) != ed25519.PublicKeySize {
			return "", k, errors.New("no Ed25519 key")
		}
		k.crypto = ed25519.PublicKey(j.X)
	case "oct":
		if len(j.K) < secretMin {
			return "", k, errors.New("a secret that is too short")
		}
		k.crypto = []byte(j.K)
	default:
		err = fmt.Errorf("key type %q", j.Type)
	}
	return j.ID, k, err
}

func rsaKey(j *jwk) (crypto.PublicKey, error) {
	if len(j.N) > rsaBitsMax/8+1 || len(j.E) > 4 || len(j.E) == 0 {
		return nil, errors.New("an RSA key out of bounds")
	}
	e := int(new(big.Int).SetBytes(j.E).Int64())
	if e < 3 || e%2 == 0 {
		return nil, errors.New("an RSA exponent out of bounds")
	}
	return checkPublic(&rsa.PublicKey{N: new(big.Int).SetBytes(j.N), E: e})
}

// ecKey checks that the point is on its curve.
func ecKey(j *jwk) (crypto.PublicKey, error) {
	var curve elliptic.Curve
	switch j.Curve {
	case "P-256":
		curve = elliptic.P256()
	case "P-384":
		curve = elliptic.P384()
	case "P-521":
		curve = elliptic.P521()
	default:
		return nil, fmt.Errorf("curve %q", j.Curve)
	}
	size := (curve.Params().BitSize + 7) / 8
	if len(j.X) != size || len(j.Y) != size {
		return nil, errors.New("coordinates of the wrong length")
	}
	point := append([]byte{4}, append(append([]byte(nil), j.X...), j.Y...)...)
	return ecdsa.ParseUncompressedPublicKey(curve, point)
}
