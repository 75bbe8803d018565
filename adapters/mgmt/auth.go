package mgmt

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"

	"leveret/adapters/internal/netx"
	"leveret/core"
	"leveret/core/auth"
)

// right is what a resource asks of a user.
type right int

const (
	noLogin       right = iota // Anyone, even without a name.
	management                 // Any of the four tags.
	inVHost                    // That, and a permission entry in the path's virtual host.
	policymaker                // The policymaker tag.
	monitoring                 // The monitoring tag.
	administrator              // The administrator tag, which includes the others.
)

// principal is who makes a request.
type principal struct {
	core.Principal
}

func (p *principal) tagged(tags ...string) bool {
	return slices.ContainsFunc(tags, p.HasTag)
}

func (p *principal) isAdministrator() bool { return p.HasTag(auth.TagAdministrator) }
func (p *principal) isMonitor() bool       { return p.tagged(auth.TagMonitoring, auth.TagAdministrator) }
func (p *principal) isManager() bool {
	return p.tagged(auth.TagManagement, auth.TagPolicymaker, auth.TagMonitoring, auth.TagAdministrator)
}

// The challenge that makes browsers ask for a password.
const challenge = `Basic realm="RabbitMQ Management"`

// admit logs the client in and checks that it has the right need. If not, it
// has answered and reports false.
func (c *call) admit(need right) bool {
	if need == noLogin {
		return true
	}
	name, password, ok := c.r.BasicAuth()
	if token, bearer := bearerToken(c.r); bearer {
		name, password, ok = "", token, true
	}
	switch {
	case ok:
		if err := c.login(name, password); err != nil {
			c.fail(err)
			return false
		}
	case c.certificate() != nil:
		if err := c.loginByCertificate(); err != nil {
			c.fail(err)
			return false
		}
	case c.overSocket():
		c.user = principal{core.Superuser(operatorName)}
	default:
		c.w.Header().Set("Www-Authenticate", challenge)
		c.w.WriteHeader(http.StatusUnauthorized)
		return false
	}
	if err := c.authorise(need); err != nil {
		c.fail(err)
		return false
	}
	return true
}

// certificate is one that may log the client in, or nil. Browsers show theirs to
// whoever has them ask: a page of another site must not act with it.
func (c *call) certificate() *x509.Certificate {
	if c.s.opts.CertificateUser == nil {
		return nil
	}
	switch c.r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return nil
	}
	nc, ok := c.r.Context().Value(connKey{}).(net.Conn)
	if !ok {
		return nil
	}
	return netx.PeerCertificate(nc)
}

// loginByCertificate logs in the user of the client's certificate.
func (c *call) loginByCertificate() error {
	name, err := c.s.opts.CertificateUser(c.certificate())
	if err != nil {
		c.s.log.Warn("login by certificate refused", "protocol", core.ProtocolHTTP, "error", err)
		return &failure{http.StatusUnauthorized, "not_authorized", "Login failed"}
	}
	return c.enter(core.Credentials{User: name, External: true})
}

// untilExpired ends the request when what the user was let in with expires: one
// that is a stream of events could go on for ever. end is called behind it.
func (c *call) untilExpired() (end func()) {
	if c.user.ExpiresAt.IsZero() {
		return func() {}
	}
	ctx, cancel := context.WithDeadline(c.r.Context(), c.user.ExpiresAt)
	c.r = c.r.WithContext(ctx)
	return cancel
}

// bearerToken is the token that a request shows in place of a name and password.
func bearerToken(r *http.Request) (token string, ok bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(token), true
}

// AdmitMonitor answers those who may not look at figures of the broker, and
// reports whether r comes from somebody who may.
func (s *Server) AdmitMonitor(w http.ResponseWriter, r *http.Request) bool {
	return s.newCall(w, r).admit(monitoring)
}

// login finds out who the client is.
func (c *call) login(name, password string) error {
	return c.enter(core.Credentials{User: name, Password: password})
}

// enter logs in with shown, which it completes.
func (c *call) enter(shown core.Credentials) error {
	peer, _, _ := net.SplitHostPort(c.r.RemoteAddr)
	if c.s.guesses.busy(peer) {
		c.w.Header().Set("Retry-After", "1")
		return &failure{http.StatusTooManyRequests, "too_many_requests", "too many logins have failed, try again later"}
	}
	shown.Protocol, shown.Peer, shown.Loopback = core.ProtocolHTTP, peer, c.fromLoopback()
	u, err := c.s.broker.Login(c.r.Context(), shown)
	if err == nil {
		c.user = principal{u}
		return nil
	}
	c.s.guesses.wait(c.r.Context(), peer, c.s.opts.FailedLoginDelay)
	if errors.Is(err, core.ErrLoopbackOnly) {
		return notAuthorised("User can only log in via localhost")
	}
	c.w.Header().Set("Www-Authenticate", challenge)
	return &failure{http.StatusUnauthorized, "not_authorized", "Login failed"}
}

// acting is the broker in the user's hands.
func (c *call) acting() core.Operator { return c.s.broker.As(c.user.Name) }

// operatorName is what RabbitMQ calls who uses its command line.
const operatorName = "rmq-cli"

// overSocket reports whether the request came over a Unix socket, which only
// who runs the broker can open.
func (c *call) overSocket() bool {
	addr, ok := c.r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && addr.Network() == "unix"
}

// fromLoopback reports whether the client is on this machine.
func (c *call) fromLoopback() bool {
	if nc, ok := c.r.Context().Value(connKey{}).(net.Conn); ok {
		return netx.IsLoopback(nc.RemoteAddr())
	}
	if c.overSocket() {
		return true
	}
	peer, err := net.ResolveTCPAddr("tcp", c.r.RemoteAddr)
	return err == nil && netx.IsLoopback(peer)
}

// authorise checks the user's tags and, in a virtual host, access to it. What
// a user may not see does not exist for it, but RabbitMQ calls both 401.
func (c *call) authorise(need right) error {
	if !c.user.isManager() {
		return notAuthorised("Not management user")
	}
	switch need {
	case policymaker:
		if !c.user.tagged(auth.TagPolicymaker, auth.TagAdministrator) {
			return notAuthorised("Not policymaker user")
		}
	case monitoring:
		if !c.user.isMonitor() {
			return notAuthorised("Not monitor user")
		}
	case administrator:
		if !c.user.isAdministrator() {
			return notAuthorised("Not administrator user")
		}
	}
	if vhost := c.param("vhost"); vhost != "" {
		if !c.user.isAdministrator() && !c.mayEnter(vhost) {
			return notAuthorised("User not authorised to access virtual host")
		}
		if _, ok := c.s.broker.VHost(vhost); !ok {
			if c.r.Method == http.MethodGet || c.r.Method == http.MethodHead || c.r.Method == http.MethodDelete {
				return errNotFound
			}
			return errVHostNotFound
		}
	}
	return nil
}

// mayEnter reports whether the user has a permission entry in vhost.
func (c *call) mayEnter(vhost string) bool {
	return c.s.broker.MayEnter(c.r.Context(), &c.user.Principal, vhost)
}

// vhost is the virtual host of the path, which authorise has found.
func (c *call) vhost() *core.VHost {
	v, ok := c.s.broker.VHost(c.param("vhost"))
	if !ok {
		return nil // Deleted a moment ago.
	}
	return v
}

// vhosts are those that a list is about: the path's, else the one of the
// header x-vhost, else all that the user may see.
func (c *call) vhosts() ([]*core.VHost, error) {
	only := c.param("vhost")
	if only == "" {
		only = c.r.Header.Get("X-Vhost")
	}
	if only != "" {
		if !c.user.isMonitor() && !c.mayEnter(only) {
			return nil, notAuthorised("User not authorised to access virtual host")
		}
		v, ok := c.s.broker.VHost(only)
		if !ok {
			return nil, errNotFound
		}
		return []*core.VHost{v}, nil
	}
	all := c.s.broker.VHosts()
	if c.user.isMonitor() {
		return all, nil
	}
	return slices.DeleteFunc(slices.Clone(all), func(v *core.VHost) bool { return !c.mayEnter(v.Name()) }), nil
}

// session opens a session in the path's virtual host that acts for the user,
// with its AMQP permissions. The caller closes it.
func (c *call) session() (*core.Session, error) {
	s, err := c.s.broker.OpenSession(core.SessionOptions{
		VHost: c.param("vhost"), Principal: c.user.Principal, Loopback: c.fromLoopback(), Internal: true, Meter: c.s.broker.Meter("amqp091"), // As RabbitMQ counts it.
	})
	if err != nil {
		return nil, c.asFailure(err)
	}
	return s, nil
}
