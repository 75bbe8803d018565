package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"leveret/adapters/access"
	"leveret/cmd/internal/config"
	"leveret/core"
)

// accessSteps makes the backends of users that are asked for. run keeps them
// up to date until its context ends.
func accessSteps(s *config.Serve, set *config.Settings, log *slog.Logger) (steps []core.AccessStep, run func(context.Context), err error) {
	run = func(context.Context) {}
	var web *access.HTTP
	if set.Uses(config.BackendHTTP) {
		if web, err = access.NewHTTP(httpOptions(s, log)); err != nil {
			return nil, nil, fmt.Errorf("--auth-backends http: %w", err)
		}
	}
	var tokens *access.JWT
	if set.Uses(config.BackendOAuth2) {
		o, err := jwtOptions(s, log)
		if err == nil {
			tokens, err = access.NewJWT(o)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("--auth-backends oauth2: %w", err)
		}
		run = tokens.Run
	}
	backend := func(name string) core.AccessBackend {
		switch name {
		case config.BackendHTTP:
			return web
		case config.BackendOAuth2:
			return tokens
		}
		return nil // The directory.
	}
	for _, names := range set.AuthSteps {
		step := core.AccessStep{Authenticator: backend(names[0])}
		for _, name := range names[1:] {
			step.Authorisers = append(step.Authorisers, backend(name))
		}
		steps = append(steps, step)
	}
	return steps, run, nil
}

func httpOptions(s *config.Serve, log *slog.Logger) access.HTTPOptions {
	return access.HTTPOptions{
		Method: s.AuthHTTPMethod, UserPath: s.AuthHTTPUser, VHostPath: s.AuthHTTPVHost, ResourcePath: s.AuthHTTPResource, TopicPath: s.AuthHTTPTopic,
		ConnectTimeout: s.AuthHTTPConnect, Timeout: s.AuthHTTPTimeout, HoldFor: max(0, s.AuthHold),
		TLS:    access.TLSOptions{CA: s.AuthHTTPCA, Cert: s.AuthHTTPCert, Key: s.AuthHTTPKey, ServerName: s.AuthHTTPName, NoVerify: !s.AuthHTTPVerify},
		Logger: log,
	}
}

func jwtOptions(s *config.Serve, log *slog.Logger) (access.JWTOptions, error) {
	o := access.JWTOptions{
		ResourceServerID: s.OAuthServer, ScopePrefix: s.OAuthPrefix, AdditionalScopesKey: s.OAuthScopesKey, UsernameClaims: s.OAuthClaims,
		Issuer: s.OAuthIssuer, NoAudience: !s.OAuthVerifyAud, NoExpiry: !s.OAuthRequireExp, RegexScopes: s.OAuthSyntax == "regex",
		Keys: access.KeyOptions{
			JWKS: s.OAuthJWKS, DefaultKey: s.OAuthDefaultKey, Refresh: max(time.Second, s.OAuthJWKSRefresh),
			TLS: access.TLSOptions{CA: s.OAuthCA, NoVerify: !s.OAuthVerify},
		},
		Logger: log,
	}
	if len(s.OAuthAlgorithms) > 0 {
		o.Algorithms = s.OAuthAlgorithms
	}
	if s.OAuthPrefix == "none" {
		o.ScopePrefix, o.NoPrefix = "", true
	}
	var err error
	if o.Keys.Files, err = namedValues("--oauth2-signing-keys", s.OAuthKeys); err != nil {
		return o, err
	}
	aliases, err := namedValues("--oauth2-scope-aliases", s.OAuthAliases)
	if err != nil {
		return o, err
	}
	o.ScopeAliases = make(map[string][]string)
	for name, scopes := range aliases {
		o.ScopeAliases[name] = strings.Fields(scopes)
	}
	return o, nil
}

// namedValues reads a list of NAME=VALUE.
func namedValues(flag string, list []string) (map[string]string, error) {
	out := make(map[string]string)
	for _, one := range list {
		name, value, ok := strings.Cut(one, "=")
		if !ok || name == "" || value == "" {
			return nil, fmt.Errorf("%s: %q is not NAME=VALUE", flag, one)
		}
		out[name] = value
	}
	return out, nil
}
