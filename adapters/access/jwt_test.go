package access

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"leveret/core"
	"leveret/core/auth"
)

// signer is an issuer with one key of each kind.
type signer struct {
	rsa    *rsa.PrivateKey
	ec     *ecdsa.PrivateKey
	ed     ed25519.PrivateKey
	secret []byte
}

var theSigner = sync.OnceValue(func() *signer {
	s := &signer{secret: []byte("0123456789abcdef0123456789abcdef")}
	var err error
	if s.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		panic(err)
	}
	if s.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		panic(err)
	}
	if _, s.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		panic(err)
	}
	return s
})

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// set is the JWK set of the keys named.
func (s *signer) set(ids ...string) string {
	point, _ := s.ec.PublicKey.Bytes()
	all := map[string]map[string]string{
		"rsa": {"kty": "RSA", "use": "sig", "alg": "RS256", "n": b64(s.rsa.N.Bytes()), "e": b64(big.NewInt(int64(s.rsa.E)).Bytes())},
		"ec":  {"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])},
		"ed":  {"kty": "OKP", "crv": "Ed25519", "x": b64(s.ed.Public().(ed25519.PublicKey))},
		"oct": {"kty": "oct", "k": b64(s.secret)},
	}
	var keys []map[string]string
	for _, id := range ids {
		all[id]["kid"] = id
		keys = append(keys, all[id])
	}
	text, _ := json.Marshal(map[string]any{"keys": keys})
	return string(text)
}

// sign makes a token.
func (s *signer) sign(t testing.TB, method jwt.SigningMethod, kid string, claims map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	if kid != "" {
		token.Header["kid"] = kid
	}
	var key any
	switch method.(type) {
	case *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS:
		key = s.rsa
	case *jwt.SigningMethodECDSA:
		key = s.ec
	case *jwt.SigningMethodEd25519:
		key = s.ed
	case *jwt.SigningMethodHMAC:
		key = s.secret
	default:
		key = jwt.UnsafeAllowNoneSignatureType
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// good are the claims of a token that lasts an hour.
func good(more map[string]any) map[string]any {
	claims := map[string]any{"sub": "anna", "aud": "rabbitmq", "exp": time.Now().Add(time.Hour).Unix(), "scope": "rabbitmq.read:*/*"}
	for k, v := range more {
		if v == nil {
			delete(claims, k)
		} else {
			claims[k] = v
		}
	}
	return claims
}

func keyFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func tokens(t *testing.T, o JWTOptions) *JWT {
	t.Helper()
	if o.ResourceServerID == "" {
		o.ResourceServerID = "rabbitmq"
	}
	if o.Keys.JWKS == "" && o.Keys.Files == nil && o.Issuer == "" {
		o.Keys.JWKS = keyFile(t, theSigner().set("rsa", "ec", "ed", "oct"))
	}
	j, err := NewJWT(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.keys.client.CloseIdleConnections)
	return j
}

func TestTokensOfEachAlgorithm(t *testing.T) {
	s := theSigner()
	j := tokens(t, JWTOptions{})
	for _, c := range []struct {
		method jwt.SigningMethod
		kid    string
		why    string // "" if it is good.
	}{
		{jwt.SigningMethodRS256, "rsa", ""},
		{jwt.SigningMethodES256, "ec", ""},
		{jwt.SigningMethodEdDSA, "ed", ""},
		{jwt.SigningMethodHS256, "oct", ""},
		{jwt.SigningMethodHS512, "oct", ""},
		{jwt.SigningMethodRS512, "rsa", "the key \"rsa\" is for RS256, the token is signed with RS512"},
		{jwt.SigningMethodRS256, "ec", "cannot be verified|signature is not good"},
		{jwt.SigningMethodHS256, "rsa", "the key \"rsa\" is for RS256"},
		{jwt.SigningMethodHS256, "ec", "signature is not good"},
		{jwt.SigningMethodRS256, "other", "the token's key \"other\" is not known"},
		{jwt.SigningMethodRS256, "", "names no key"},
		{jwt.SigningMethodNone, "rsa", "signature is not good"},
	} {
		token := s.sign(t, c.method, c.kid, good(nil))
		id, err := j.Authenticate(t.Context(), &core.Credentials{User: "whoever", Password: token})
		name := fmt.Sprint(c.method.Alg(), " with ", c.kid)
		switch {
		case c.why == "" && (err != nil || id.User != "anna" || id.ExpiresAt.IsZero()):
			t.Errorf("%s: %+v, %v", name, id, err)
		case c.why != "" && (err == nil || !slices.ContainsFunc(strings.Split(c.why, "|"), func(w string) bool { return strings.Contains(err.Error(), w) })):
			t.Errorf("%s: %v, want %s", name, err, c.why)
		}
		if err != nil && strings.Contains(err.Error(), token[len(token)-20:]) {
			t.Errorf("%s: the token is in %v", name, err)
		}
	}
	only := tokens(t, JWTOptions{Algorithms: []string{"ES256"}})
	if _, err := only.Identify(t.Context(), s.sign(t, jwt.SigningMethodRS256, "rsa", good(nil))); err == nil {
		t.Error("an algorithm that is not wanted")
	}
	if _, err := NewJWT(JWTOptions{ResourceServerID: "r", Algorithms: []string{"none"}}); err == nil {
		t.Error("none is an algorithm")
	}
	byDefault := tokens(t, JWTOptions{Keys: KeyOptions{JWKS: keyFile(t, s.set("rsa", "ec")), DefaultKey: "ec"}})
	if _, err := byDefault.Identify(t.Context(), s.sign(t, jwt.SigningMethodES256, "", good(nil))); err != nil {
		t.Errorf("by the default key: %v", err)
	}
}

func TestClaimsThatMustBeRight(t *testing.T) {
	s := theSigner()
	now := time.Now()
	for _, c := range []struct {
		opts   JWTOptions
		claims map[string]any
		why    string
	}{
		{JWTOptions{}, nil, ""},
		{JWTOptions{}, map[string]any{"exp": now.Add(-time.Second).Unix()}, "expired"},
		{JWTOptions{}, map[string]any{"exp": nil}, "has no exp"},
		{JWTOptions{NoExpiry: true}, map[string]any{"exp": nil}, ""},
		{JWTOptions{NoExpiry: true}, map[string]any{"exp": "soon"}, "exp is no number"},
		{JWTOptions{}, map[string]any{"exp": 1e300}, ""},
		{JWTOptions{}, map[string]any{"exp": -1e300}, "expired"},
		{JWTOptions{}, map[string]any{"nbf": now.Add(time.Hour).Unix()}, "not good before"},
		{JWTOptions{}, map[string]any{"nbf": now.Add(10 * time.Second).Unix()}, ""},
		{JWTOptions{}, map[string]any{"nbf": true}, "nbf is no number"},
		{JWTOptions{}, map[string]any{"aud": "other"}, "aud does not name it"},
		{JWTOptions{}, map[string]any{"aud": nil}, "aud does not name it"},
		{JWTOptions{}, map[string]any{"aud": []any{"other", "rabbitmq"}}, ""},
		{JWTOptions{NoAudience: true}, map[string]any{"aud": nil}, ""},
		{JWTOptions{Issuer: "https://idp.test/realm/"}, map[string]any{"iss": "https://idp.test/realm"}, ""},
		{JWTOptions{Issuer: "https://idp.test/realm"}, map[string]any{"iss": "https://idp.test"}, "not from"},
		{JWTOptions{Issuer: "https://idp.test/realm"}, nil, "not from"},
	} {
		c.opts.Keys.JWKS = keyFile(t, s.set("ec"))
		_, err := tokens(t, c.opts).Identify(t.Context(), s.sign(t, jwt.SigningMethodES256, "ec", good(c.claims)))
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%v: %v, want %q", c.claims, err, c.why)
		}
	}
	id, _ := tokens(t, JWTOptions{}).Identify(t.Context(), s.sign(t, jwt.SigningMethodES256, "ec", good(map[string]any{"exp": float64(now.Add(time.Hour).Unix()) + 0.9})))
	if id.ExpiresAt.Nanosecond() != 0 {
		t.Errorf("expires at %v", id.ExpiresAt)
	}
}

func TestUserNames(t *testing.T) {
	s := theSigner()
	for _, c := range []struct {
		preferred []string
		claims    map[string]any
		want      string
	}{
		{nil, nil, "anna"},
		{nil, map[string]any{"sub": nil, "client_id": "app"}, "app"},
		{nil, map[string]any{"sub": 7}, "unknown"},
		{[]string{"email", "sub"}, nil, "anna"},
		{[]string{"email", "sub"}, map[string]any{"email": "a@b"}, "a@b"},
	} {
		id, err := tokens(t, JWTOptions{UsernameClaims: c.preferred}).Identify(t.Context(), s.sign(t, jwt.SigningMethodES256, "ec", good(c.claims)))
		if err != nil || id.User != c.want {
			t.Errorf("%v of %v: %q, %v", c.preferred, c.claims, id.User, err)
		}
	}
}

func TestWhereScopesAre(t *testing.T) {
	s := theSigner()
	o := JWTOptions{
		AdditionalScopesKey: "roles realm.access",
		ScopeAliases:        map[string][]string{"admin-role": {"rabbitmq.tag:administrator", "rabbitmq.read:*/*"}},
	}
	for _, c := range []struct {
		claims map[string]any
		want   string // Scopes, sorted, then tags.
	}{
		{map[string]any{"scope": "rabbitmq.read:a/b other.write:c/d rabbitmq.tag:monitoring openid"}, "read:a/b tag:monitoring"},
		{map[string]any{"scope": []any{"rabbitmq.read:a/b", 7, "rabbitmq.read:a/b"}}, "read:a/b"},
		{map[string]any{"scope": nil}, ""},
		{map[string]any{"scope": 7}, ""},
		{map[string]any{"scope": "admin-role"}, "read:*/* tag:administrator"},
		{map[string]any{"scope": nil, "roles": "rabbitmq.read:x/y"}, "read:x/y"},
		{map[string]any{"scope": nil, "roles": map[string]any{"rabbitmq": []any{"write:x/y"}, "other": []any{"read:x/y"}}}, "write:x/y"},
		{map[string]any{"scope": nil, "realm": map[string]any{"access": []any{"rabbitmq.read:r/a"}}}, "read:r/a"},
		{map[string]any{"scope": nil, "realm.access": []any{"rabbitmq.read:r/a"}}, ""},
		{map[string]any{"scope": nil, "authorization": map[string]any{"permissions": []any{
			map[string]any{"scopes": []any{"rabbitmq.read:p/1"}}, map[string]any{"rsid": "x"}, 7,
			map[string]any{"scopes": []any{"rabbitmq.write:p/2"}},
		}}}, "read:p/1 write:p/2"},
	} {
		id, err := tokens(t, o).Identify(t.Context(), s.sign(t, jwt.SigningMethodES256, "ec", good(c.claims)))
		if err != nil {
			t.Errorf("%v: %v", c.claims, err)
			continue
		}
		var got []string
		for _, one := range id.Note.(*grants).scopes {
			got = append(got, one.text)
		}
		for _, tag := range id.Tags {
			got = append(got, "tag:"+tag)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%v: %q, want %q", c.claims, got, c.want)
		}
	}
	many := make([]any, scopesMax+1)
	for i := range many {
		many[i] = fmt.Sprint("rabbitmq.read:a/", i)
	}
	if _, err := tokens(t, o).Identify(t.Context(), s.sign(t, jwt.SigningMethodES256, "ec", good(map[string]any{"scope": many}))); err == nil {
		t.Error("a token with too many scopes is good")
	}
}

func TestWhatScopesAllow(t *testing.T) {
	s := theSigner()
	for _, c := range []struct {
		scopes string
		q      core.AccessQuestion
		want   bool
	}{
		{"read:*/*", core.AccessQuestion{Kind: core.OnVHost, VHost: "/"}, true},
		{"tag:administrator", core.AccessQuestion{Kind: core.OnVHost, VHost: "/"}, false},
		{"write:%2F/q", core.AccessQuestion{Kind: core.OnVHost, VHost: "/"}, true},
		{"write:prod/q", core.AccessQuestion{Kind: core.OnVHost, VHost: "/"}, false},
		{"read:%2F/q", core.AccessQuestion{Kind: core.OnQueue, VHost: "/", Action: auth.Read, Name: "q"}, true},
		{"read:%2F/q", core.AccessQuestion{Kind: core.OnQueue, VHost: "/", Action: auth.Read, Name: "qq"}, false},
		{"read:%2F/q", core.AccessQuestion{Kind: core.OnQueue, VHost: "/", Action: auth.Write, Name: "q"}, false},
		{"read:%2F/q*", core.AccessQuestion{Kind: core.OnQueue, VHost: "/", Action: auth.Read, Name: "q"}, true},
		{"read:*/a*c*e", core.AccessQuestion{Kind: core.OnQueue, VHost: "/", Action: auth.Read, Name: "abcdcde"}, true},
		{"read:*/a*c*e", core.AccessQuestion{Kind: core.OnQueue, VHost: "/", Action: auth.Read, Name: "aec"}, false},
		{"read:*/*abc", core.AccessQuestion{Kind: core.OnQueue, VHost: "/", Action: auth.Read, Name: "abcabc"}, true},
		{"read:*/ab*ba", core.AccessQuestion{Kind: core.OnQueue, VHost: "/", Action: auth.Read, Name: "aba"}, false},
		{"read:*/%2A", core.AccessQuestion{Kind: core.OnQueue, VHost: "/", Action: auth.Read, Name: "*"}, true},
		{"read:*/%2A", core.AccessQuestion{Kind: core.OnQueue, VHost: "/", Action: auth.Read, Name: "x"}, false},
		{"read:*/%zz", core.AccessQuestion{Kind: core.OnQueue, VHost: "/", Action: auth.Read, Name: "%zz"}, false},
		{"read:a/b/c/d", core.AccessQuestion{Kind: core.OnVHost, VHost: "a"}, false},
		{"write:*/amq.topic", core.AccessQuestion{Kind: core.OnTopic, VHost: "/", Action: auth.Write, Name: "amq.topic", Key: "a.b"}, false},
		{"write:*/*/a.*", core.AccessQuestion{Kind: core.OnTopic, VHost: "/", Action: auth.Write, Name: "amq.topic", Key: "a.b"}, true},
		{"write:*/*/a.*", core.AccessQuestion{Kind: core.OnTopic, VHost: "/", Action: auth.Write, Name: "amq.topic", Key: "b.b"}, false},
		{"write:*/*/a.*", core.AccessQuestion{Kind: core.OnTopic, VHost: "/", Action: auth.Read, Name: "amq.topic", Key: "a.b"}, false},
		{"write:*/*/a.*", core.AccessQuestion{Kind: core.OnExchange, VHost: "/", Action: auth.Write, Name: "amq.topic"}, true},
		{"read:{vhost}/{sub}-*", core.AccessQuestion{Kind: core.OnQueue, VHost: "/", Action: auth.Read, Name: "anna-1"}, true},
		{"read:{vhost}/{sub}-*", core.AccessQuestion{Kind: core.OnQueue, VHost: "/", Action: auth.Read, Name: "eve-1"}, false},
		{"read:{vhost}/{star}", core.AccessQuestion{Kind: core.OnQueue, VHost: "/", Action: auth.Read, Name: "secret"}, false},
		{"read:{vhost}/{star}", core.AccessQuestion{Kind: core.OnQueue, VHost: "/", Action: auth.Read, Name: "*/%"}, true},
		{"read:{vhost}/{nothing}", core.AccessQuestion{Kind: core.OnQueue, VHost: "/", Action: auth.Read, Name: "nothing"}, true},
	} {
		o := JWTOptions{}
		var scopes []string
		for one := range strings.FieldsSeq(c.scopes) {
			scopes = append(scopes, "rabbitmq."+one)
		}
		j := tokens(t, o)
		id, err := j.Identify(t.Context(), s.sign(t, jwt.SigningMethodES256, "ec", good(map[string]any{"scope": strings.Join(scopes, " "), "star": "*/%"})))
		if err != nil {
			t.Fatal(err)
		}
		yes, err := j.Allows(t.Context(), id.Note, &c.q)
		if err != nil || yes != c.want {
			t.Errorf("%s: %v %v %s %s: %v, %v", c.scopes, c.q.Kind, c.q.Action, c.q.Name, c.q.Key, yes, err)
		}
		if why := j.Explain(id.Note, &c.q, yes, nil); yes && !strings.HasPrefix(why, "scope rabbitmq."+c.scopes) || !yes && strings.HasPrefix(why, "scope") {
			t.Errorf("%s: explained by %q", c.scopes, why)
		}
	}
	j := tokens(t, JWTOptions{RegexScopes: true, NoPrefix: true})
	id, err := j.Identify(t.Context(), s.sign(t, jwt.SigningMethodES256, "ec", good(map[string]any{"scope": "read:.*/(jobs|mail)-[0-9]+ read:.*/( write:x/{sub}"})))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"jobs-7": true, "jobs-": false, "my jobs-7": false, "(": false} {
		if yes, _ := j.Allows(t.Context(), id.Note, &core.AccessQuestion{Kind: core.OnQueue, VHost: "/", Action: auth.Read, Name: name}); yes != want {
			t.Errorf("regex: %s: %v", name, yes)
		}
	}
}

func TestKeysFromPEM(t *testing.T) {
	s := theSigner()
	pkix := func(pub any) string {
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	j := tokens(t, JWTOptions{Keys: KeyOptions{DefaultKey: "ec", Files: map[string]string{
		"rsa": keyFile(t, "some text\n"+pkix(&s.rsa.PublicKey)),
		"ec":  keyFile(t, pkix(&s.ec.PublicKey)),
	}}})
	for kid, method := range map[string]jwt.SigningMethod{"rsa": jwt.SigningMethodRS256, "ec": jwt.SigningMethodES256, "": jwt.SigningMethodES256} {
		if _, err := j.Identify(t.Context(), s.sign(t, method, kid, good(nil))); err != nil {
			t.Errorf("%q: %v", kid, err)
		}
	}
	// A public key is no secret: it must not verify what anybody can sign with it.
	forged := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(good(nil)))
	forged.Header["kid"] = "rsa"
	text, err := forged.SignedString([]byte(pkix(&s.rsa.PublicKey)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Identify(t.Context(), text); err == nil {
		t.Error("a token signed with the public key as a secret is good")
	}
	for name, o := range map[string]KeyOptions{
		"no key":     {},
		"no file":    {Files: map[string]string{"k": filepath.Join(t.TempDir(), "none")}},
		"no PEM":     {Files: map[string]string{"k": keyFile(t, "hello")}},
		"no set":     {JWKS: keyFile(t, "hello")},
		"empty set":  {JWKS: keyFile(t, `{"keys":[]}`)},
		"unknown":    {JWKS: keyFile(t, `{"keys":[{"kty":"AKP","kid":"x"}]}`)},
		"private":    {Files: map[string]string{"k": keyFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})))}},
		"small":      {JWKS: keyFile(t, `{"keys":[{"kty":"RSA","kid":"x","n":"AQAB","e":"AQAB"}]}`)},
		"off curve":  {JWKS: keyFile(t, `{"keys":[{"kty":"EC","kid":"x","crv":"P-256","x":"`+b64(make([]byte, 32))+`","y":"`+b64(make([]byte, 32))+`"}]}`)},
		"encryption": {JWKS: keyFile(t, strings.Replace(s.set("rsa"), `"sig"`, `"enc"`, 1))},
	} {
		if _, err := NewJWT(JWTOptions{ResourceServerID: "r", Keys: o}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestKeysAreFetchedAgainForAnUnknownKeyButNotTooOften(t *testing.T) {
	s := theSigner()
	var set atomic.Pointer[string]
	var fetched atomic.Int32
	publish := func(text string) { set.Store(&text) }
	publish(s.set("ec", "oct"))
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, server.URL, server.URL+"/keys")
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		fmt.Fprint(w, *set.Load())
	})
	log := new(lockedBuffer)
	j := tokens(t, JWTOptions{Issuer: server.URL, Keys: KeyOptions{RefreshMin: time.Hour}, Logger: slog.New(slog.NewTextHandler(log, nil))})
	claims := good(map[string]any{"iss": server.URL})
	try := func(method jwt.SigningMethod, kid string) error {
		_, err := j.Identify(t.Context(), s.sign(t, method, kid, claims))
		return err
	}
	if err := try(jwt.SigningMethodES256, "ec"); err != nil || fetched.Load() != 1 {
		t.Fatalf("the first token: %v after %d fetches", err, fetched.Load())
	}
	if err := try(jwt.SigningMethodHS256, "oct"); err == nil {
		t.Error("a secret that anybody can fetch is a key")
	}
	publish(s.set("ec", "rsa"))
	for range 5 {
		if err := try(jwt.SigningMethodRS256, "rsa"); err == nil {
			t.Error("a key that was not fetched")
		}
	}
	if n := fetched.Load(); n != 1 {
		t.Errorf("%d fetches in too short a time", n)
	}
	later := func() {
		j.keys.mu.Lock()
		j.keys.mu.triedAt = time.Time{}
		j.keys.mu.Unlock()
	}
	later()
	if err := try(jwt.SigningMethodRS256, "rsa"); err != nil || fetched.Load() != 2 {
		t.Errorf("the new key: %v after %d fetches", err, fetched.Load())
	}
	publish("sorry")
	later()
	if err := try(jwt.SigningMethodRS256, "newest"); err == nil {
		t.Error("an unknown key is good")
	}
	if err := try(jwt.SigningMethodRS256, "rsa"); err != nil {
		t.Errorf("after a fetch that failed: %v", err)
	}
	if !strings.Contains(log.String(), "those known before stay") {
		t.Errorf("logged: %s", log.String())
	}
	// A key that the issuer has withdrawn is good no longer.
	publish(s.set("rsa"))
	j.keys.refresh(t.Context())
	later()
	if err := try(jwt.SigningMethodES256, "ec"); err == nil {
		t.Error("a withdrawn key is good")
	}
}

// FuzzToken holds that nothing unsigned is ever good, and nothing panics.
func FuzzToken(f *testing.F) {
	s := theSigner()
	set := s.set("rsa", "ec", "ed", "oct")
	all, _, err := parseSet([]byte(set), true)
	if err != nil {
		f.Fatal(err)
	}
	j := &JWT{opts: JWTOptions{ResourceServerID: "rabbitmq", ScopePrefix: "rabbitmq.", UsernameClaims: []string{"sub"}, Now: time.Now},
		parser: jwt.NewParser(jwt.WithValidMethods(algorithms), jwt.WithoutClaimsValidation()), keys: &keys{log: orDiscard(nil)}}
	j.keys.current.Store(&all)
	f.Add("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm5hIn0.")
	f.Add("eyJhbGciOiJIUzI1NiIsImtpZCI6InJzYSJ9.eyJzdWIiOiJhbm5hIn0.AAAA")
	f.Add("eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0.e30.AAAA")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		if id, err := j.Identify(t.Context(), token); err == nil {
			t.Errorf("%q is %+v", token, id)
		}
	})
}

// FuzzClaims holds that no claims break what reads them.
func FuzzClaims(f *testing.F) {
	f.Add(`{"sub":"a","aud":["rabbitmq"],"exp":1e10,"scope":"rabbitmq.read:*/{sub}/x"}`, "v", "n", "k")
	f.Add(`{"scope":{"rabbitmq":{"rabbitmq":["read:a/b"]}},"roles":[[{"x":1}]],"authorization":{"permissions":[{"scopes":"rabbitmq.write:{/}/{"}]}}`, "", "", "")
	f.Fuzz(func(t *testing.T, text, vhost, name, key string) {
		var claims map[string]any
		if json.Unmarshal([]byte(text), &claims) != nil {
			return
		}
		for _, regex := range []bool{false, true} {
			o := JWTOptions{ResourceServerID: "rabbitmq", ScopePrefix: "rabbitmq.", AdditionalScopesKey: "roles a.b.c", UsernameClaims: []string{"sub"}, RegexScopes: regex, Now: time.Now}
			j := &JWT{opts: o}
			j.check(claims)
			j.username(claims)
			g := &grants{regex: regex}
			for _, one := range o.scopesOf(claims) {
				if s, ok := parseScope(one, regex); ok {
					g.scopes = append(g.scopes, s)
				}
			}
			g.claims = textClaims(claims, g.scopes)
			q := core.AccessQuestion{Kind: core.OnTopic, VHost: vhost, Action: auth.Write, Name: name, Key: key}
			if s, ok := g.match(&q); ok && (s.action != auth.Write || len(s.parts) != 3) {
				t.Errorf("%s allows %+v", s.text, q)
			}
		}
	})
}

// FuzzJWKS holds that whatever a set says, its keys are sound or left out.
func FuzzJWKS(f *testing.F) {
	f.Add([]byte(theSigner().set("rsa", "ec", "ed", "oct")))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"////","e":"AQAB"},{"kty":"EC","crv":"P-521"},null,7,{"kty":"oct","k":"====","kid":3}]}`))
	f.Add([]byte(`{"keys":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, _, err := parseSet(text, false)
		if err != nil {
			return
		}
		for id, k := range all {
			switch p := k.crypto.(type) {
			case []byte:
				t.Errorf("%q is a secret", id)
			case *rsa.PublicKey:
				if n := p.N.BitLen(); n < rsaBitsMin || n > rsaBitsMax {
					t.Errorf("%q has %d bits", id, n)
				}
			case *ecdsa.PublicKey, ed25519.PublicKey:
			default:
				t.Errorf("%q is a %T", id, p)
			}
		}
	})
}

// FuzzWildcard compares with a slow and obvious matcher.
func FuzzWildcard(f *testing.F) {
	f.Add("a*c*e", "abcde")
	f.Add("**", "")
	f.Fuzz(func(t *testing.T, p, s string) {
		if len(p) > 12 || len(s) > 24 || strings.ContainsAny(p, "%+") {
			return
		}
		part, ok := compilePart(p, false)
		if !ok {
			t.Fatalf("%q is no pattern", p)
		}
		if got, want := part.matches(s), slowly(p, s); got != want {
			t.Errorf("%q on %q: %v", p, s, got)
		}
	})
}

func slowly(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == '*':
		return slowly(p[1:], s) || s != "" && slowly(p, s[1:])
	}
	return s != "" && p[0] == s[0] && slowly(p[1:], s[1:])
}
