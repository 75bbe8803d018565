package stomp

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-stomp/stomp/v3/frame"

	"leveret/adapters/internal/netx"
	"leveret/adapters/stomp/wire"
	"leveret/core"
)

// handshake handles a client's first frame, which b begins with.
func (c *conn) handshake(b, body []byte) error {
	if c.scan.Command != wire.Connect {
		if !c.srv.opts.ImplicitConnect || c.web != nil {
			return closing("Illegal command", "You must log in using CONNECT first")
		}
		o := &c.srv.opts
		users, passwords := []string{o.DefaultUser}, []string{o.DefaultPassword}
		if c.certified() {
			users, passwords = nil, nil
		}
		if err := c.login(users, passwords, o.DefaultVHost); err != nil {
			return err
		}
		return c.handle(b, body, false)
	}
	version, ok := c.negotiate(b)
	if !ok {
		return closing("Version mismatch", "Supported versions are %s\n", supported)
	}
	c.version = version
	// In these headers nothing is escaped, but some clients do it nevertheless.
	sendMS, receiveMS, err := heartBeats(c.plain(b, frame.HeartBeat, "0,0"))
	if err != nil {
		return err
	}
	users, passwords, err := c.credentials(b)
	if err != nil {
		return err
	}
	if err := c.login(users, passwords, c.plain(b, frame.Host, c.srv.opts.DefaultVHost)); err != nil {
		return err
	}
	c.beat.sendMS.Store(sendMS)
	c.beat.receiveMS.Store(receiveMS)
	f := frame.New(frame.CONNECTED, frame.Version, c.version.String(), frame.Session, c.name,
		frame.HeartBeat, fmt.Sprintf("%d,%d", sendMS, receiveMS))
	if !c.srv.opts.HideServer {
		f.Header.Add(frame.Server, c.srv.opts.ServerName)
	}
	c.tell(f)
	return nil
}

// plain is the value of a header of CONNECT as it was sent, or what stands in
// for one that is absent.
func (c *conn) plain(b []byte, name, absent string) string {
	v, ok := c.scan.Raw(b, name)
	if !ok {
		return absent
	}
	if c.version == wire.V10 {
		return strings.TrimLeft(string(v), " ")
	}
	return string(v)
}

// negotiate chooses the highest version that both sides speak. A client that
// names none speaks 1.0.
func (c *conn) negotiate(b []byte) (v wire.Version, ok bool) {
	raw, given := c.scan.Raw(b, frame.AcceptVersion)
	if !given {
		return wire.V10, true
	}
	for one := range strings.SplitSeq(string(raw), ",") {
		one = strings.TrimSpace(one)
		for _, w := range [...]wire.Version{wire.V10, wire.V11, wire.V12} {
			if one == w.String() && (!ok || w > v) {
				v, ok = w, true
			}
		}
	}
	return v, ok
}

// heartBeats reads the header heart-beat: what the client can send and wants to
// receive. It returns how often we send and how often we want to hear from it,
// in ms, whole seconds.
func heartBeats(s string) (sendMS, receiveMS int64, err error) {
	can, wants, err := frame.ParseHeartBeat(strings.ReplaceAll(s, " ", ""))
	if err != nil || can < 0 || wants < 0 {
		return 0, 0, closing("Bad CONNECT", "'%s' is not a heart-beat", s)
	}
	whole := func(d time.Duration) int64 {
		if d == 0 {
			return 0
		}
		return max(d.Milliseconds()/1000, 1) * 1000
	}
	return whole(wants), whole(can), nil
}

// certified reports whether the client has shown a certificate that may log it
// in.
func (c *conn) certified() bool {
	return c.srv.opts.CertificateUser != nil && netx.PeerCertificate(c.nc) != nil
}

// credentials are the names and passwords to try, in order; none if the client's
// certificate says who it is.
func (c *conn) credentials(b []byte) (users, passwords []string, err error) {
	o := &c.srv.opts
	user, hasUser := c.scan.Raw(b, frame.Login)
	password, hasPassword := c.scan.Raw(b, frame.Passcode)
	if c.web != nil && o.Web.BasicAuth {
		if u, p, ok := c.web.BasicAuth(); ok {
			return []string{u}, []string{p}, nil
		}
		hasUser, hasPassword = false, false
	}
	if !hasUser && c.certified() {
		return nil, nil, nil
	}
	if o.NoDefaultUser && (!hasUser || !hasPassword) {
		return nil, nil, closing("Bad CONNECT", "Access refused for user '%s'\n", user)
	}
	users, passwords = c.readings(user), c.readings(password)
	if !hasUser {
		users = []string{o.DefaultUser}
	}
	if !hasPassword {
		passwords = []string{o.DefaultPassword}
	}
	return users, passwords, nil
}

// readings are what a header of CONNECT can mean: what is written there, and
// that without its escapes.
func (c *conn) readings(raw []byte) []string {
	s := string(raw)
	if c.version == wire.V10 {
		s = strings.TrimLeft(s, " ")
	}
	list := []string{s}
	if plain, ok := wire.Unescape([]byte(s), wire.V12); ok && plain != s {
		list = append(list, plain)
	}
	return list
}

// login opens the session. Without users the client's certificate names it.
func (c *conn) login(users, passwords []string, vhost string) error {
	loopback := netx.IsLoopback(c.nc.RemoteAddr())
	broker := c.srv.broker
	c.shown = core.Credentials{VHost: vhost, Protocol: core.ProtocolSTOMP, Peer: netx.IP(c.nc.RemoteAddr()), Loopback: loopback}
	if len(users) == 0 {
		user, err := c.enterByCertificate()
		if err != nil {
			return closing("Bad CONNECT", "Access refused for user '%s'\n", user)
		}
	} else if !c.enter(users, passwords) {
		c.pause()
		return closing("Bad CONNECT", "Access refused for user '%s'\n", users[0])
	}
	s, err := broker.OpenSession(core.SessionOptions{
		VHost: vhost, Principal: c.user, Loopback: loopback, Meter: broker.Meter(MeterName), Name: c.rowName(),
	})
	if err != nil {
		c.end(slog.LevelWarn, err.Error())
		return closing("Bad CONNECT", "Virtual host '%s' access denied", vhost)
	}
	c.loggedIn()
	c.session, c.vhost, c.name = s, vhost, randomName("session-")
	c.publisher = s.NewPublisher(c)
	c.publisher.SetScope(c.scope())
	c.state = running
	c.scan.Limits.Body = c.srv.opts.MaxMessageSize
	c.deadline(0, "")
	c.addRows()
	s.OnClose(func(reason string) { c.force(reason, forcedWithin) })
	return nil
}

// enterByCertificate logs in as the user that the client's certificate is for.
func (c *conn) enterByCertificate() (user string, err error) {
	if user, err = c.srv.opts.CertificateUser(netx.PeerCertificate(c.nc)); err != nil {
		c.end(slog.LevelWarn, "login by certificate: "+err.Error())
		return user, err
	}
	c.shown.User, c.shown.External = user, true
	c.user, err = c.srv.broker.Login(c.ctx, c.shown)
	return user, err
}

// pause keeps a refused client waiting, so that guessing takes its time. Those
// that wait are among the strangers, of whom there are so many at most.
func (c *conn) pause() {
	t := time.NewTimer(c.srv.opts.FailedLoginDelay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.control.wake: // Something else is wanted, an end as a rule.
	case <-c.ctx.Done():
	}
}

// enter logs in with the first of the users and passwords that is right.
func (c *conn) enter(users, passwords []string) bool {
	for _, u := range users {
		for _, p := range passwords {
			shown := c.shown
			shown.User, shown.Password = u, p
			if user, err := c.srv.broker.Login(c.ctx, shown); err == nil {
				c.user, c.shown.User = user, u
				return true
			}
		}
	}
	return false
}

// refresh handles a REFRESH, a frame of ours: it shows a fresh passcode, a token
// as a rule, before what was shown in CONNECT expires. The header receipt asks
// for an answer. What is refused ends the connection.
func (c *conn) refresh(f *frame.Frame) error {
	passcode, ok := f.Header.Contains(frame.Passcode)
	if !ok {
		return closing("Bad REFRESH", "a header passcode is needed\n")
	}
	fresh := c.shown
	fresh.Password = passcode
	if err := c.srv.broker.Renew(c.ctx, c.session, fresh); err != nil {
		return closing("Bad REFRESH", "Access refused for user '%s'\n", c.user.Name)
	}
	return nil
}

// disconnect handles a DISCONNECT. When its receipt comes, what was sent before
// it is where it must be, and what the connection held is back: nothing that is
// published from then on is for a client that has said it will not look.
func (c *conn) disconnect(f *frame.Frame) error {
	if _, ok := f.Header.Contains(frame.Receipt); ok && !c.waitReceipts() {
		return errEnd
	}
	c.closeAll()
	c.answer(f)
	c.end(slog.LevelInfo, "the client disconnected")
	c.finish(c.goodbyeTimeout())
	return errEnd
}
