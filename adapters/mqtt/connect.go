package mqtt

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"net"
	"strings"
	"time"

	"leveret/adapters/internal/netx"
	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// clientInfo is what a client's CONNECT came to.
type clientInfo struct {
	id            string
	user          string
	vhost         string
	origin        uint64
	clean         bool
	lasting       bool // The session may outlive the connection.
	keepAlive     uint16
	window        int    // How much may be sent unacknowledged.
	maxPacket     uint32 // Of the client; 0 for none.
	noProblemInfo bool
	will          bool
	authMethod    bool // It may show a fresh token in an AUTH.
}

// Names of queues, as RabbitMQ makes them.
const (
	queuePrefix  = "mqtt-subscription-"
	queueStored  = "qos1"
	queueDirect  = "qos0"
	clientIDMax  = 255 - len(queuePrefix) - len(queueStored)
	sharedPrefix = "mqtt-shared-"
)

// connect handles CONNECT: who it is, where it goes, what it left behind.
func (c *conn) connect(body []byte) error {
	p, err := wire.ParseConnect(body)
	c.version = p.Version
	if err != nil {
		return err
	}
	if p.HasAuthMethod {
		if p.AuthMethod != authMethod {
			return fail(wire.BadAuthenticationMethod, "enhanced authentication by %q", p.AuthMethod)
		}
		if p.AuthData != nil {
			p.Password, p.HasPassword = string(p.AuthData), true
		}
		c.client.authMethod = true
	}
	assigned, err := c.clientID(p)
	if err != nil {
		return err
	}
	loopback := netx.IsLoopback(c.nc.RemoteAddr())
	user, err := c.login(p, loopback)
	if err != nil {
		return err
	}
	c.loggedIn()
	s, err := c.srv.broker.OpenSession(core.SessionOptions{
		VHost: c.client.vhost, Principal: user, Loopback: loopback, Vars: map[string]string{"client_id": c.client.id},
		Meter: c.srv.broker.Meter(meterNames[c.version]), Name: netx.ConnName(c.nc),
	})
	if err != nil {
		return err
	}
	c.session = s
	s.OnClose(func(reason string) {
		code := wire.AdministrativeAction
		if s.Expired() {
			code = wire.MaximumConnectTime
		}
		c.force(&failure{code, reason})
	})
	expiryMS := c.sessionExpiry(p)
	c.client.lasting = expiryMS != 0
	c.client.clean = p.Clean
	c.client.maxPacket = p.MaximumPacket
	c.client.noProblemInfo = p.NoProblemInfo
	c.client.window = min(int(p.ReceiveMaximum), c.srv.opts.Prefetch)
	c.limiter = new(core.Limiter)
	c.limiter.SetLimit(min(int(p.ReceiveMaximum), ringMax), &c.work.touched)
	c.keepAlive(p.KeepAlive)

	will, err := c.willOf(p.Will)
	if err != nil {
		return err
	}
	present, err := c.attach(p, expiryMS, will)
	if err != nil {
		return err
	}
	if p.Version == wire.V5 {
		c.underOut.alias.max = min(int(p.TopicAliasMax), c.srv.opts.TopicAliasMax)
	}
	c.state = running
	c.connected.Store(true)
	c.row = c.addRow()
	c.srv.stats.connected()
	c.acceptConnect(p, assigned, present, expiryMS)
	return c.resume()
}

// clientID checks the client identifier or makes one.
func (c *conn) clientID(p *wire.ConnectPacket) (assigned bool, err error) {
	c.client.id = p.ClientID
	switch {
	case len(p.ClientID) > clientIDMax:
		return false, fail(wire.ClientIDNotValid, "client identifier of %d bytes, %d are allowed", len(p.ClientID), clientIDMax)
	case p.ClientID != "":
		return false, nil
	case p.Version == wire.V31, p.Version == wire.V311 && !p.Clean:
		return false, fail(wire.ClientIDNotValid, "empty client identifier of a session that is to last")
	}
	var b [16]byte
	rand.Read(b[:])
	c.client.id = "auto-" + base64.RawURLEncoding.EncodeToString(b[:])
	return true, nil
}

// login finds out who the client is and which virtual host it wants.
func (c *conn) login(p *wire.ConnectPacket, loopback bool) (u core.Principal, err error) {
	o := &c.srv.opts
	c.client.vhost = c.srv.vhostOfPort(c.nc.LocalAddr())
	c.shown = core.Credentials{
		ClientID: c.client.id, Protocol: core.ProtocolMQTT, Peer: netx.IP(c.nc.RemoteAddr()), Loopback: loopback,
	}
	if cert := c.certificate(); cert != nil && !p.HasUser && !p.HasPassword {
		name, err := o.CertificateUser(cert)
		if err != nil {
			return u, fail(wire.BadUserNameOrPassword, "login by certificate: %v", err)
		}
		c.client.user, c.shown.User, c.shown.External = name, name, true
		c.client.vhost = c.srv.vhostOfCertificate(name, c.client.vhost)
		if u, err = c.enter(""); err != nil {
			return u, fail(wire.BadUserNameOrPassword, "login of user '%s' by certificate refused", name)
		}
		return u, c.findVHost(&u)
	}
	if !p.HasUser && !p.HasPassword {
		if o.NoAnonymous {
			return u, fail(wire.BadUserNameOrPassword, "no credentials, and anonymous clients are not let in")
		}
		c.client.user = o.AnonymousUser
		c.shown.User, c.shown.External = o.AnonymousUser, true
		if u, err = c.enter(""); err != nil {
			return u, fail(wire.NotAuthorized, "anonymous clients are user '%s', who may not log in from here", o.AnonymousUser)
		}
		return u, c.findVHost(&u)
	}
	name := p.User
	if i := strings.LastIndexByte(name, ':'); i >= 0 && !o.IgnoreColons {
		c.client.vhost, name = name[:i], name[i+1:]
	}
	c.client.user, c.shown.User = name, name
	if p.HasPassword && p.Password != "" {
		if u, err = c.enter(p.Password); err == nil {
			c.client.user = u.Name // A token may know better.
			return u, c.findVHost(&u)
		}
		// As RabbitMQ: a user that may log in from this machine only is known, but
		// not authorized. Core does not say which it was, on purpose.
	}
	return u, fail(wire.BadUserNameOrPassword, "login of user '%s' refused", name)
}

// certificate is one that may log the client in.
func (c *conn) certificate() *x509.Certificate {
	if c.srv.opts.CertificateUser == nil {
		return nil
	}
	return netx.PeerCertificate(c.nc)
}

// enter logs in with what the client has shown and a password.
func (c *conn) enter(password string) (core.Principal, error) {
	c.shown.VHost = c.client.vhost
	shown := c.shown
	shown.Password = password
	return c.srv.broker.Login(c.ctx, shown)
}

// findVHost fails if the virtual host that the client wants is not there, and it
// may know that. To others it is one that they may not enter.
func (c *conn) findVHost(u *core.Principal) error {
	if _, ok := c.srv.broker.VHost(c.client.vhost); !ok && u.SeesVHosts() {
		return fail(wire.BadUserNameOrPassword, "no virtual host '%s'", c.client.vhost)
	}
	return nil
}

// portMapping is the global parameter that gives listeners' ports a virtual
// host each, as in RabbitMQ: {"1883": "devices"}.
const portMapping = "mqtt_port_to_vhost_mapping"

// certificateMapping is the global parameter that gives users of certificates a
// virtual host each, as in RabbitMQ: {"CN=app,O=shop": "devices"}.
const certificateMapping = "mqtt_default_vhosts"

// vhostOfCertificate is the virtual host of clients that log in by certificate,
// or absent.
func (s *Server) vhostOfCertificate(user, absent string) string {
	var users map[string]json.RawMessage
	value := s.broker.Global(certificateMapping)
	if value == nil {
		return absent
	}
	if err := json.Unmarshal(value, &users); err != nil {
		s.log.Warn("global parameter is no object of users and virtual hosts", "name", certificateMapping, "error", err)
		return absent
	}
	var vhost string
	if json.Unmarshal(users[user], &vhost) != nil || vhost == "" {
		return absent
	}
	return vhost
}

// vhostOfPort is the virtual host of clients that connect to local and whose
// user name does not begin with one. What is set while the broker runs counts
// for those who connect from then on.
func (s *Server) vhostOfPort(local net.Addr) string {
	value := s.broker.Global(portMapping)
	if value == nil {
		return s.opts.VHost
	}
	var ports map[string]json.RawMessage
	if err := json.Unmarshal(value, &ports); err != nil {
		s.log.Warn("global parameter is no object of ports and virtual hosts", "name", portMapping, "error", err)
		return s.opts.VHost
	}
	_, port := hostPort(local)
	var vhost string
	if json.Unmarshal(ports[port], &vhost) != nil || vhost == "" {
		return s.opts.VHost
	}
	return vhost
}

// forEver is a session expiry interval without end (3.1.2.11.2).
const forEver = math.MaxUint32

// expiryMS is the time, in core's terms, that a session lives on when seconds
// are asked for: within the server's limit, negative for ever.
func (s *Server) expiryMS(seconds uint32) int64 {
	limit := s.opts.SessionExpiryMax
	ms := int64(seconds) * 1000
	switch {
	case seconds == forEver && limit < 0:
		return -1
	case limit >= 0 && (seconds == forEver || ms > limit.Milliseconds()):
		return limit.Milliseconds()
	}
	return ms
}

// sessionExpiry is what a CONNECT asks for.
func (c *conn) sessionExpiry(p *wire.ConnectPacket) int64 {
	switch {
	case p.Version == wire.V5:
		return c.srv.expiryMS(p.SessionExpiry)
	case p.Clean:
		return 0
	}
	return c.srv.expiryMS(forEver)
}

// keepAlive begins to watch for silence.
func (c *conn) keepAlive(asked uint16) {
	c.client.keepAlive = asked
	if limit := c.srv.opts.KeepAliveMax; limit > 0 && c.version == wire.V5 && (asked == 0 || asked > limit) {
		c.client.keepAlive = limit
	}
	c.lastRead.Store(c.srv.now())
	if c.client.keepAlive == 0 {
		c.srv.clocks.Stop(&c.clock)
		return
	}
	c.srv.clocks.Schedule(&c.clock, c.srv.now()+c.silenceMax())
}

// attachTimeout bounds how long an earlier connection may take to let go.
const attachTimeout = 30 * time.Second

// attach takes the client identity, from an earlier connection if need be.
func (c *conn) attach(p *wire.ConnectPacket, expiryMS int64, will *core.Will) (present bool, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, attachTimeout)
	defer cancel()
	c.holds, present, err = c.session.Attach(ctx, core.ClientOptions{
		ID: c.client.id, Clean: p.Clean, ExpiryMS: expiryMS, KeepAliveMS: int64(c.client.keepAlive) * 1000,
		Queue: queuePrefix + c.client.id + queueStored, DirectQueue: queuePrefix + c.client.id + queueDirect,
		Will: will, Displaced: c.displaced,
	})
	var ce *core.Error
	switch {
	case err == nil:
		c.client.origin = c.holds.Origin()
		if c.client.lasting {
			// From CONNACK on the client may count on the session, also if it only
			// publishes: it gives up what is in flight when its session is gone.
			if err := c.holds.Remember(); err != nil {
				return false, fail(wire.ServerUnavailable, "the session cannot be stored: %v", err)
			}
		}
		return present, nil
	case errors.As(err, &ce) && ce.Kind == core.Limit:
		return false, fail(wire.QuotaExceeded, "%s", ce.Why)
	case errors.As(err, &ce) && ce.Kind == core.AccessRefused: // Of the will.
		return false, err
	}
	return false, fail(wire.ServerUnavailable, "the session cannot be opened: %v", err)
}

// displaced is called when another connection wants the identity, or an
// operator ends it.
func (c *conn) displaced(reason string) {
	if reason == "" {
		c.force(&failure{wire.SessionTakenOver, "another connection uses this client identifier"})
		return
	}
	c.force(&failure{wire.AdministrativeAction, reason})
}

// acceptConnect writes CONNACK.
func (c *conn) acceptConnect(p *wire.ConnectPacket, assigned, present bool, expiryMS int64) {
	o := &c.srv.opts
	ack := wire.ConnackPacket{SessionPresent: present && !p.Clean}
	if c.version == wire.V5 {
		seconds := uint32(forEver)
		if expiryMS >= 0 {
			seconds = uint32(expiryMS / 1000)
		}
		ack.SessionExpiry, ack.HasSessionExpiry = seconds, seconds != p.SessionExpiry || seconds != 0
		if o.ReceiveMaximum < 65535 {
			ack.ReceiveMaximum = uint16(o.ReceiveMaximum)
		}
		ack.MaximumPacket = uint32(o.MaxPacket)
		ack.TopicAliasMax = uint16(o.TopicAliasMax)
		if c.client.authMethod {
			ack.AuthMethod = authMethod // 4.12.0-5
		}
		if assigned {
			ack.AssignedClientID = c.client.id
		}
		if c.client.keepAlive != p.KeepAlive {
			ack.ServerKeepAlive, ack.HasKeepAlive = c.client.keepAlive, true
		}
	}
	c.out.Lock()
	c.out.B = wire.AppendConnack(c.out.B, &ack, c.version, c.client.maxPacket)
	if c.out.Unlock() {
		c.work.flushOwn = true
	}
}

// refuse answers a CONNECT that is not accepted, late, so that guessing takes
// its time. What is no CONNECT gets no answer.
func (c *conn) refuse(f *failure) {
	code := f.code
	switch {
	case code == wire.UnsupportedVersion:
		c.version = wire.V311
	case c.version == 0, c.version != wire.V5 && (code == wire.MalformedPacket || code == wire.ProtocolError || code == wire.PacketTooLarge):
		return
	}
	if code == wire.BadUserNameOrPassword || code == wire.NotAuthorized {
		t := time.NewTimer(c.srv.opts.FailedLoginDelay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-c.ctx.Done():
		}
	}
	ack := wire.ConnackPacket{Code: code, Reason: f.why}
	if c.version != wire.V5 {
		ack = wire.ConnackPacket{Code: wire.Code(connackCode(code))}
	}
	if c.client.noProblemInfo || code == wire.BadUserNameOrPassword {
		ack.Reason = ""
	}
	c.out.Lock()
	c.out.B = wire.AppendConnack(c.out.B, &ack, c.version, c.client.maxPacket)
	c.underOut.closed = true
	c.out.Unlock()
	c.out.Flush()
}

// resume goes on with what an earlier connection left behind. The session's
// queue may be there without a subscription: what was on its way when the last
// of them went comes to its end (3.10.4-3, 4.4.0-1).
func (c *conn) resume() error {
	subs := c.holds.Subscriptions()
	if len(subs) > 0 {
		c.out.Lock()
		for i := range subs {
			if subs[i].Shared == "" {
				c.underOut.filters.set(storedFilter(&subs[i]))
			}
		}
		c.out.Unlock()
	}
	if err := c.consumeOwn(); err != nil {
		return err
	}
	for i := range subs {
		if subs[i].Shared != "" {
			if err := c.consumeShared(&subs[i]); err != nil {
				return err
			}
		}
	}
	c.startAll()
	return nil
}

// endSession lets go of the session: what the client holds is kept for its next
// connection, or put back.
func (c *conn) endSession() {
	if c.holds == nil {
		if c.session != nil {
			c.session.Close()
		}
		return
	}
	var t core.Touched
	c.out.Lock()
	c.underOut.leaving = true
	c.underOut.closed = c.underOut.closed || c.version != wire.V5
	c.out.Unlock()
	for _, k := range c.outlets() {
		c.letGo(k, &t)
	}
	c.giveBackUnshared()
	c.work.settles.Settle(&t)
	t.Flush()
	c.finishFeeds()
	if c.row != nil {
		c.row.Remove()
		c.row = nil
		c.srv.stats.connections.Add(-1)
	}
	d := c.departure
	if c.srv.stopping.Load() && !c.saidBye {
		d = core.Stopped
	}
	c.holds.Detach(d)
	c.session.Close()
}

// letGo ends a consumer. What the client has not acknowledged waits for its next
// connection, in the order of sending, if the session lasts.
func (c *conn) letGo(k *outlet, t *core.Touched) {
	k.settleLater()
	c.out.Lock()
	held := c.underOut.ring.ordered(k)
	c.out.Unlock()
	switch {
	case c.client.lasting && !k.direct:
		slots := make([]core.Slot, len(held))
		for i, s := range held {
			slots[i] = core.Slot{Seq: s.seq, Data: slotData(s.id, s.qos), Released: s.released}
		}
		k.core.Detach(slots, t)
	default:
		k.core.Cancel(t)
		if k.share == nil {
			return // The queue ends with the session.
		}
		c.giveBack(held)
	}
	k.settleLater() // What came between.
}

// giveBack returns what the client has not acknowledged to those it shares with.
// What it has received they shall not get (4.8.2-5).
func (c *conn) giveBack(held []slot) {
	for _, s := range held {
		op := core.Fail
		if s.released {
			op = core.Ack
		}
		c.work.settles.Add(&s.outlet.core.Holder, op, s.seq)
	}
}

// giveBackUnshared returns what is left in the ring when all outlets are gone:
// it came by shared subscriptions that were unsubscribed. The client would have
// finished it on this connection; another one would not know of that queue.
func (c *conn) giveBackUnshared() {
	c.out.Lock()
	held := c.underOut.ring.ordered(nil)
	c.out.Unlock()
	c.giveBack(held)
}

// outlets are all that the connection consumes with.
func (c *conn) outlets() []*outlet {
	var ks []*outlet
	if c.own != nil {
		ks = append(ks, c.own)
	}
	for _, k := range c.shares {
		ks = append(ks, k)
	}
	return ks
}

func (s *stats) connected() {
	n := s.connections.Add(1)
	for {
		m := s.connectsMax.Load()
		if n <= m || s.connectsMax.CompareAndSwap(m, n) {
			return
		}
	}
}

func hostPort(a net.Addr) (string, string) {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String(), ""
	}
	return host, port
}
