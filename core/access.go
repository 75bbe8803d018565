package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"leveret/core/auth"
)

// Credentials are what a client shows to log in.
type Credentials struct {
	User     string
	Password string // Or the token.
	// External is true if the name needs no password: a certificate proves it,
	// or the operator lets clients without a name be this user.
	External bool

	VHost    string // The virtual host it wants; "" where that is not known yet.
	ClientID string // What it calls itself apart from the user, "" if it does not.

	Protocol string // What login attempts are counted under; see LoginAttempts.
	Peer     string // The client's IP address, "" if it has none.
	Loopback bool   // The client is on this machine.
}

// Principal is who Login let in. As a value it is never changed.
type Principal struct {
	auth.User

	// ExpiresAt is when everything that the login allows ends; zero is never.
	ExpiresAt time.Time

	// grants say what it may do: all of them must agree. Nil leaves that to the
	// directory alone.
	grants []Grant
	// proof is who knows the user, for renewals; nil is the directory.
	proof AccessBackend
	// holdMS is how long an answer of grants may be remembered; negative for as
	// long as the principal is the same.
	holdMS int64
	// peer goes with questions.
	peer string
}

// SeesVHosts reports whether p may know which virtual hosts there are, in which
// it may not be itself.
func (p *Principal) SeesVHosts() bool {
	return p.HasTag(auth.TagAdministrator) || p.HasTag(auth.TagMonitoring)
}

// Grant is what a backend has noted of a principal at its login.
type Grant struct {
	Backend AccessBackend
	Note    any
}

// InternalBackend is what the directory is called among backends.
const InternalBackend = "internal"

// AccessBackend knows users, or what they may do, from elsewhere than the
// broker's own directory. Any goroutine may call it. Calls may take a network
// trip, hold no lock, and end when ctx does. An error is no permission; the
// backend logs what its operator should know, never a password or token.
type AccessBackend interface {
	// Name is what it is called in settings and explanations.
	Name() string
	// Authenticate finds out who shows c, and with which tags.
	Authenticate(ctx context.Context, c *Credentials) (Identity, error)
	// Authorise says the same of a user whom another backend has authenticated
	// and for whom this one is to answer Allows.
	Authorise(ctx context.Context, user string, c *Credentials) (Identity, error)
	// Allows answers a question about a principal that it noted n about.
	Allows(ctx context.Context, n any, q *AccessQuestion) (bool, error)
	// Hold is how long an answer may be remembered for a session; negative for
	// as long as the session's login lasts.
	Hold() time.Duration
}

// Identity is what a backend knows of a user.
type Identity struct {
	User      string
	Tags      []string
	ExpiresAt time.Time // Zero is never.
	Note      any       // Handed back to the backend with each question.
}

// AccessStep is one place where Login looks for a user. The first step that
// knows it wins; its Authorisers then answer for what the user may do.
type AccessStep struct {
	Authenticator AccessBackend   // Nil for the directory.
	Authorisers   []AccessBackend // All must agree; nil entries stand for the directory. Empty for Authenticator alone.
}

// AccessKind is what a question is about.
type AccessKind uint8

// The kinds of questions.
const (
	OnVHost    AccessKind = iota // May the user enter VHost?
	OnExchange                   // May it do Action to the exchange Name?
	OnQueue                      // May it do Action to the queue Name?
	OnTopic                      // May it do Action with Key on the topic exchange Name?
)

// String names k as RabbitMQ does.
func (k AccessKind) String() string {
	switch k {
	case OnVHost:
		return "vhost"
	case OnExchange:
		return "exchange"
	case OnQueue:
		return "queue"
	case OnTopic:
		return "topic"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// AccessQuestion is what a principal wants to do. The default exchange is called
// amq.default.
type AccessQuestion struct {
	Kind   AccessKind
	VHost  string
	Action auth.Action
	Name   string
	Key    string            // The routing key, of OnTopic.
	User   auth.User         // Who asks.
	Peer   string            // Its IP address, of OnVHost.
	Vars   map[string]string // See SessionOptions.Vars.
}

// ErrLoopbackOnly is in the error of Login for users whose password is right,
// but who may log in from this machine only.
var ErrLoopbackOnly = errors.New("may log in from this machine only")

// LoginRefused is the error of Login. Its text is the same for every reason and
// may be shown to the client; the reason may not.
type LoginRefused struct {
	User   string
	Reason error
}

func (e *LoginRefused) Error() string { return fmt.Sprintf("user '%s': %v", e.User, auth.ErrRefused) }

// Unwrap makes errors.As find an *Error, as for all that a client did wrong.
func (e *LoginRefused) Unwrap() []error {
	return []error{&Error{AccessRefused, e.Error()}, e.Reason}
}

// Login finds out who shows c: the first of the backends that knows it decides.
// The log has the reason of a refusal, which is a *LoginRefused. It may take a
// network trip; no lock is held by the caller.
func (b *Broker) Login(ctx context.Context, c Credentials) (Principal, error) {
	p, err := b.login(ctx, &c)
	if err == nil && !b.mayLogin(p.Name, c.Loopback) {
		err = ErrLoopbackOnly
	}
	if err == nil {
		c.User = p.Name // A token may know better.
	}
	b.attempts.count(&c, err == nil)
	b.loginEvent(&c, err)
	if err != nil {
		b.logger.Warn("login refused", "user", c.User, "protocol", c.Protocol, "peer", c.Peer, "reason", err)
		return Principal{}, &LoginRefused{c.User, err}
	}
	return p, nil
}

// mayLogin reports whether a user may log in from where it is.
func (b *Broker) mayLogin(user string, loopback bool) bool {
	return loopback || !slices.Contains(b.loopbackUsers, user)
}

// errNoBackend is why a login fails when there is nobody to ask.
var errNoBackend = errors.New("no backend knows the user")

func (b *Broker) login(ctx context.Context, c *Credentials) (Principal, error) {
	if len(b.access) == 0 {
		return b.fromDirectory(c)
	}
	err := errNoBackend
	for i := range b.access {
		var p Principal
		if p, err = b.tryStep(ctx, &b.access[i], c); err == nil {
			return p, nil
		}
		if len(b.access) > 1 {
			b.logger.Debug("login not accepted by a backend", "backend", backendName(b.access[i].Authenticator), "user", c.User, "reason", err)
		}
	}
	return Principal{}, err
}

func backendName(a AccessBackend) string {
	if a == nil {
		return InternalBackend
	}
	return a.Name()
}

// fromDirectory logs in a user of our own.
func (b *Broker) fromDirectory(c *Credentials) (Principal, error) {
	if c.External {
		u, ok := b.directory.User(c.User)
		if !ok {
			return Principal{}, errors.New(auth.UnknownUser.String())
		}
		return Principal{User: u, peer: c.Peer}, nil
	}
	u, err := b.directory.Authenticate(c.User, c.Password)
	var le *auth.LoginError
	if errors.As(err, &le) {
		return Principal{}, errors.New(le.Reason.String())
	}
	return Principal{User: u, peer: c.Peer}, err
}

// tryStep logs c in where s says.
func (b *Broker) tryStep(ctx context.Context, s *AccessStep, c *Credentials) (Principal, error) {
	if s.Authenticator == nil && len(s.Authorisers) == 0 {
		return b.fromDirectory(c)
	}
	p := Principal{proof: s.Authenticator, peer: c.Peer, holdMS: -1}
	var id Identity
	if s.Authenticator == nil {
		own, err := b.fromDirectory(c)
		if err != nil {
			return p, err
		}
		p.User = own.User
	} else {
		if c.Password == "" && !c.External {
			return p, errors.New(auth.EmptyPassword.String())
		}
		var err error
		if id, err = s.Authenticator.Authenticate(ctx, c); err != nil {
			return p, err
		}
		p.User = auth.User{Name: id.User, Tags: id.Tags}
		p.expires(id.ExpiresAt)
	}
	if len(s.Authorisers) == 0 {
		p.grant(s.Authenticator, id.Note)
		return p, nil
	}
	for _, a := range s.Authorisers {
		if a == nil {
			own, ok := b.directory.User(p.Name)
			if !ok {
				return p, fmt.Errorf("%s: %v", InternalBackend, auth.UnknownUser)
			}
			p.tag(own.Tags)
			p.grants = append(p.grants, Grant{})
			continue
		}
		if a == s.Authenticator {
			p.grant(a, id.Note)
			continue
		}
		z, err := a.Authorise(ctx, p.Name, c)
		if err != nil {
			return p, fmt.Errorf("%s: %w", a.Name(), err)
		}
		p.tag(z.Tags)
		p.expires(z.ExpiresAt)
		p.grant(a, z.Note)
	}
	if len(p.grants) == 1 && p.grants[0].Backend == nil {
		p.grants, p.holdMS = nil, 0 // The directory answers without being asked twice.
	}
	return p, nil
}

func (p *Principal) grant(a AccessBackend, note any) {
	p.grants = append(p.grants, Grant{a, note})
	if hold := a.Hold().Milliseconds(); hold >= 0 && (p.holdMS < 0 || hold < p.holdMS) {
		p.holdMS = hold
	}
}

// expires makes p end at t, if that is sooner than it did.
func (p *Principal) expires(t time.Time) {
	if !t.IsZero() && (p.ExpiresAt.IsZero() || t.Before(p.ExpiresAt)) {
		p.ExpiresAt = t
	}
}

func (p *Principal) tag(tags []string) {
	p.Tags = slices.Clip(p.Tags)
	for _, t := range tags {
		if !slices.Contains(p.Tags, t) {
			p.Tags = append(p.Tags, t)
		}
	}
}

// asked reports whether others than the directory say what p may do.
func (p *Principal) asked() bool { return p.grants != nil }

// Internal reports whether the directory alone says what p may do.
func (p *Principal) Internal() bool { return p.grants == nil }

// Expired reports whether what p was let in with has expired.
func (p *Principal) expired(nowMS int64) bool {
	return !p.ExpiresAt.IsZero() && p.ExpiresAt.UnixMilli() <= nowMS
}

// Allowed reports whether p may do what q asks, whose User and Peer it sets. It
// may take a network trip. Sessions remember answers, this does not.
func (b *Broker) Allowed(ctx context.Context, p *Principal, q AccessQuestion) bool {
	if p.expired(b.now()) {
		return false
	}
	if !p.asked() {
		return b.directoryAllows(p.Name, &q)
	}
	q.User, q.Peer = p.User, p.peer
	for _, g := range p.grants {
		if g.Backend == nil {
			if !b.directoryAllows(p.Name, &q) {
				return false
			}
			continue
		}
		if yes, err := g.Backend.Allows(ctx, g.Note, &q); err != nil || !yes {
			return false
		}
	}
	return true
}

func (b *Broker) directoryAllows(user string, q *AccessQuestion) bool {
	switch q.Kind {
	case OnVHost:
		return b.directory.HasVHost(user, q.VHost)
	case OnTopic:
		return b.directory.TopicAllowed(user, q.VHost, q.Name, q.Action, q.Key, q.Vars)
	}
	return b.directory.Allowed(user, q.VHost, q.Action, q.Name)
}

// MayEnter reports whether p may enter a virtual host, whether that exists or
// not. It may take a network trip.
func (b *Broker) MayEnter(ctx context.Context, p *Principal, vhost string) bool {
	return b.Allowed(ctx, p, AccessQuestion{Kind: OnVHost, VHost: vhost})
}

// Renew logs the client of s in anew, with c for what it showed before, so that
// it stays when that expires. It must be the same user. Users of our own need
// not show anything: what they may do is looked up again, as for everybody.
// Consumers that the user may no longer have are cancelled.
func (b *Broker) Renew(ctx context.Context, s *Session, c Credentials) error {
	old := s.Principal()
	if old.proof == nil && !old.asked() {
		u, ok := b.directory.User(old.Name)
		if !ok {
			return &LoginRefused{old.Name, errors.New(auth.UnknownUser.String())}
		}
		s.SetPrincipal(Principal{User: u, peer: old.peer})
		return nil
	}
	if c.User == "" {
		c.User = old.Name
	}
	p, err := b.login(ctx, &c)
	if err == nil && p.Name != old.Name {
		err = fmt.Errorf("a renewal may not change the user, which is '%s'", p.Name)
	}
	if err == nil && !b.Allowed(ctx, &p, AccessQuestion{Kind: OnVHost, VHost: s.vhost.name, Vars: s.vars}) {
		err = fmt.Errorf("access to vhost '%s' refused", s.vhost.name)
	}
	if err != nil {
		b.logger.Warn("renewal refused", "user", old.Name, "protocol", c.Protocol, "peer", c.Peer, "reason", err)
		return &LoginRefused{old.Name, err}
	}
	s.SetPrincipal(p)
	return nil
}

// AccessExplainer is an AccessBackend that can say why it answers as it does,
// for people.
type AccessExplainer interface {
	// Explain says what in the backend made q's answer, which it was given.
	Explain(note any, q *AccessQuestion, yes bool, err error) string
}
