package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"leveret/core"
)

// JWTOptions say which tokens are good and what they allow.
type JWTOptions struct {
	ResourceServerID string // Must be in aud, unless NoAudience; scopes begin with it and a dot.
	// ScopePrefix is what scopes begin with; NoPrefix if with nothing.
	ScopePrefix         string
	NoPrefix            bool
	AdditionalScopesKey string              // Claims with scopes besides scope, by path, with spaces between.
	ScopeAliases        map[string][]string // Scopes that others' names stand for.
	UsernameClaims      []string            // The first that is there names the user. [sub, client_id]
	Issuer              string              // Must be iss, if set.
	NoAudience          bool
	NoExpiry            bool     // Tokens without exp are good.
	Algorithms          []string // Nil for all that are safe.
	RegexScopes         bool     // Scopes are regular expressions, not wildcards.

	Keys   KeyOptions
	Logger *slog.Logger     // Nil logs nowhere.
	Now    func() time.Time // Nil for the machine's clock.
}

// JWT lets in who shows a signed token in place of a password, as
// rabbitmq_auth_backend_oauth2 does.
type JWT struct {
	opts   JWTOptions
	parser *jwt.Parser
	keys   *keys
	log    *slog.Logger
}

// JWTName is what the backend is called.
const JWTName = "oauth2"

// algorithms are those with which a token may be signed: none is not.
var algorithms = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512",
}

// NewJWT makes a backend and reads the keys that are in files. Those of a URL
// are fetched by Run, and when a token needs them.
func NewJWT(o JWTOptions) (*JWT, error) {
	if o.ResourceServerID == "" {
		return nil, errors.New("tokens need a resource server id")
	}
	if o.ScopePrefix == "" && !o.NoPrefix {
		o.ScopePrefix = o.ResourceServerID + "."
	}
	if len(o.UsernameClaims) == 0 {
		o.UsernameClaims = []string{"sub", "client_id"}
	}
	if o.Algorithms == nil {
		o.Algorithms = algorithms
	}
	for _, a := range o.Algorithms {
		if !slices.Contains(algorithms, a) {
			return nil, fmt.Errorf("%q is not one of %s", a, strings.Join(algorithms, ", "))
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	log := orDiscard(o.Logger)
	k, err := newKeys(o.Keys, o.Issuer, log)
	if err != nil {
		return nil, err
	}
	return &JWT{
		opts: o, keys: k, log: log,
		// The claims are looked at here, with our clock and without leeway: what
		// a token allows ends when it says so.
		parser: jwt.NewParser(jwt.WithValidMethods(o.Algorithms), jwt.WithoutClaimsValidation()),
	}, nil
}

// Run fetches keys again from time to time, until ctx ends.
func (j *JWT) Run(ctx context.Context) { j.keys.run(ctx) }

// Name implements core.AccessBackend.
func (j *JWT) Name() string { return JWTName }

// Hold implements core.AccessBackend: a token says the same as long as it lives.
func (j *JWT) Hold() time.Duration { return -1 }

// Authenticate implements core.AccessBackend. The token is the password; the
// user's name is in it.
func (j *JWT) Authenticate(ctx context.Context, c *core.Credentials) (core.Identity, error) {
	if c.External {
		return core.Identity{}, errors.New("no token was shown")
	}
	return j.Identify(ctx, c.Password)
}

// Authorise implements core.AccessBackend.
func (j *JWT) Authorise(ctx context.Context, _ string, c *core.Credentials) (core.Identity, error) {
	return j.Authenticate(ctx, c)
}

// tokenLenMax bounds tokens: more does not come from honest issuers.
const tokenLenMax = 256 << 10

// Identify says whose token it is, and what it allows until when.
func (j *JWT) Identify(ctx context.Context, token string) (core.Identity, error) {
	if len(token) > tokenLenMax || strings.Count(token, ".") != 2 {
		return core.Identity{}, errors.New("the password is no token")
	}
	claims := jwt.MapClaims{}
	_, err := j.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		kid, ok := t.Header["kid"].(string)
		if !ok {
			kid = j.opts.Keys.DefaultKey
		}
		return j.keys.find(ctx, kid, t.Method.Alg())
	})
	if err != nil {
		return core.Identity{}, refusal(err)
	}
	expires, err := j.check(claims)
	if err != nil {
		return core.Identity{}, err
	}
	scopes := j.opts.scopesOf(claims)
	if len(scopes) > scopesMax {
		return core.Identity{}, fmt.Errorf("the token has more than %d scopes", scopesMax)
	}
	id := core.Identity{User: j.username(claims), ExpiresAt: expires}
	g := &grants{regex: j.opts.RegexScopes}
	for _, text := range scopes {
		if tag, ok := strings.CutPrefix(text, "tag:"); ok {
			id.Tags = append(id.Tags, tag)
		} else if s, ok := parseScope(text, g.regex); ok {
			g.scopes = append(g.scopes, s)
		}
	}
	g.claims = textClaims(claims, g.scopes)
	id.Note = g
	return id, nil
}

// refusal says why a token is not good, without any of it. A library's error
// may quote its input; what its sentinel says is enough.
func refusal(err error) error {
	var ours *keyError
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.Is(err, jwt.ErrTokenMalformed):
		return errors.New("the token is malformed")
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return errors.New("the token's signature is not good")
	case errors.Is(err, jwt.ErrTokenUnverifiable):
		return errors.New("the token cannot be verified")
	}
	return errors.New("the token is not good")
}

// notBeforeLeeway is how far the issuer's clock may be ahead of ours.
const notBeforeLeeway = time.Minute

// check looks at the claims that say for whom and when the token is.
func (j *JWT) check(claims jwt.MapClaims) (expires time.Time, err error) {
	now := j.opts.Now()
	switch exp, there := claims["exp"]; {
	case there:
		if expires, err = moment(exp); err != nil {
			return expires, fmt.Errorf("the token's exp %w", err)
		}
		if !expires.After(now) {
			return expires, fmt.Errorf("the token expired at %s", expires.UTC().Format(time.RFC3339))
		}
	case !j.opts.NoExpiry:
		return expires, errors.New("the token has no exp")
	}
	if nbf, there := claims["nbf"]; there {
		from, err := moment(nbf)
		if err != nil {
			return expires, fmt.Errorf("the token's nbf %w", err)
		}
		if from.After(now.Add(notBeforeLeeway)) {
			return expires, fmt.Errorf("the token is not good before %s", from.UTC().Format(time.RFC3339))
		}
	}
	if !j.opts.NoAudience && !slices.Contains(oneOrMore(claims["aud"]), j.opts.ResourceServerID) {
		return expires, fmt.Errorf("the token is not for '%s': aud does not name it", j.opts.ResourceServerID)
	}
	if want := j.opts.Issuer; want != "" {
		iss, _ := claims["iss"].(string)
		if strings.TrimSuffix(iss, "/") != strings.TrimSuffix(want, "/") {
			return expires, fmt.Errorf("the token is not from %s", want)
		}
	}
	return expires, nil
}

// moment reads a NumericDate (RFC 7519, 2), whole seconds of it as RabbitMQ does.
func moment(v any) (time.Time, error) {
	f, ok := v.(float64)
	if !ok {
		return time.Time{}, errors.New("is no number")
	}
	const farthest = 253402300799 // The end of 9999.
	return time.Unix(int64(math.Trunc(min(max(f, -farthest), farthest))), 0), nil
}

// oneOrMore reads a claim that is text or a list of texts.
func oneOrMore(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// username is the first claim that names the user.
func (j *JWT) username(claims jwt.MapClaims) string {
	for _, name := range j.opts.UsernameClaims {
		if s, ok := claims[name].(string); ok && s != "" {
			return s
		}
	}
	return "unknown"
}

// textClaims are the claims that scopes name.
func textClaims(claims jwt.MapClaims, scopes []scope) map[string]string {
	var out map[string]string
	for name, v := range claims {
		text, ok := v.(string)
		if !ok || !slices.ContainsFunc(scopes, func(s scope) bool { return strings.Contains(s.text, "{"+name+"}") }) {
			continue
		}
		if out == nil {
			out = make(map[string]string)
		}
		out[name] = text
	}
	return out
}

// Allows implements core.AccessBackend.
func (j *JWT) Allows(_ context.Context, note any, q *core.AccessQuestion) (bool, error) {
	g, ok := note.(*grants)
	if !ok {
		return false, errors.New("no token was shown")
	}
	_, ok = g.match(q)
	return ok, nil
}

// Explain implements core.AccessExplainer.
func (j *JWT) Explain(note any, q *core.AccessQuestion, yes bool, err error) string {
	g, ok := note.(*grants)
	switch {
	case err != nil:
		return err.Error()
	case !ok:
		return "no token was shown"
	case yes:
		if s, ok := g.match(q); ok {
			return "scope " + j.opts.ScopePrefix + s.text
		}
	case len(g.scopes) == 0:
		return "the token has no scopes that begin with " + j.opts.ScopePrefix
	}
	if q.Kind == core.OnTopic {
		return fmt.Sprintf("none of the token's %d scopes with a pattern for keys", len(g.scopes))
	}
	return fmt.Sprintf("none of the token's %d scopes", len(g.scopes))
}
