package amqp

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"leveret/adapters/amqp/wire"
	"leveret/adapters/internal/netx"
	"leveret/core"
	"leveret/core/auth"
)

// clientInfo is what a client says about itself.
type clientInfo struct {
	name       string // connection_name
	properties core.Table
	mechanism  string
	vhost      string

	closesOnAuthFailure bool
	blocked             bool // Understands connection.blocked.
	cancelNotify        bool
}

// userInfo is what publishing needs to know of the user.
type userInfo struct {
	name         string
	impersonator bool // May set user-id to any name.
}

func newUserInfo(u auth.User) *userInfo {
	return &userInfo{name: u.Name, impersonator: u.HasTag(auth.TagImpersonator)}
}

// protocolHeader takes the first 8 bytes. 0 used up means: not all there yet.
func (c *conn) protocolHeader(b []byte) (n int, err error) {
	const size = len(wire.ProtocolHeader)
	for i := range min(len(b), size) {
		if b[i] != wire.ProtocolHeader[i] && b[i] != protocolHeader09[i] {
			return len(b), c.wrongProtocol(b)
		}
	}
	if len(b) < size {
		return 0, nil
	}
	if h := string(b[:size]); h != wire.ProtocolHeader && h != protocolHeader09 {
		return len(b), c.wrongProtocol(b)
	}
	c.state = awaitStartOk
	c.reply(0, &wire.ConnectionStart{
		VersionMajor: 0, VersionMinor: 9,
		ServerProperties: c.srv.properties(),
		Mechanisms:       strings.Join(c.mechanisms(), " "),
		Locales:          "en_US",
	})
	return size, nil
}

// mechanisms are those that the client may log in by: EXTERNAL only if it has
// shown a certificate.
func (c *conn) mechanisms() []string {
	if c.srv.opts.CertificateUser != nil && netx.PeerCertificate(c.nc) != nil {
		return c.srv.opts.Mechanisms
	}
	return slices.DeleteFunc(slices.Clone(c.srv.opts.Mechanisms), func(m string) bool { return m == external })
}

const external = "EXTERNAL"

// protocolHeader09 is what clients of AMQP 0-9 send.
const protocolHeader09 = "AMQP\x01\x01\x00\x09"

// wrongProtocol answers something else than AMQP 0-9-1 with the header of what
// is spoken here.
func (c *conn) wrongProtocol(b []byte) error {
	c.endForeign(nil, b)
	c.out.Lock()
	c.out.B = append(c.out.B, wire.ProtocolHeader...)
	c.out.Unlock()
	c.finish(c.srv.opts.FailedLoginDelay)
	return errEnd
}

// endForeign notes that the client speaks something else, as the first bytes b
// or err of the first read say.
func (c *conn) endForeign(err error, b []byte) bool {
	here := "amqp"
	if c.secure() {
		here = "amqp/ssl"
	}
	what := netx.Places(c.srv.opts.Places).Explain(err, b, here)
	if what == "" && err != nil {
		return false
	} else if what == "" {
		what = fmt.Sprintf("it began with %q", b[:min(len(b), 8)])
	}
	c.end(slog.LevelWarn, "the client does not speak AMQP 0-9-1: "+what)
	return true
}

func (c *conn) secure() bool { return netx.TLSOf(c.nc) != nil }

// properties are connection.start's server-properties.
func (s *Server) properties() wire.Table {
	capabilities := wire.Table{}
	for _, name := range []string{
		"publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify", "connection.blocked",
		"consumer_priorities", "authentication_failure_close", "per_consumer_qos", "direct_reply_to",
	} {
		capabilities = append(capabilities, wire.Field{Name: name, Value: true})
	}
	return wire.Table{
		{Name: "capabilities", Value: capabilities},
		{Name: "cluster_name", Value: s.opts.ClusterName},
		{Name: "copyright", Value: "Copyright the Leveret authors"},
		{Name: "information", Value: "Licensed under the Apache License 2.0"},
		{Name: "platform", Value: platform()},
		{Name: "product", Value: s.opts.ServerProduct},
		{Name: "version", Value: s.opts.ServerVersion},
	}
}

// negotiate handles a frame before the connection runs, and after we have
// closed it.
func (c *conn) negotiate(f wire.Frame) error {
	if c.state == closing {
		return c.frameWhenClosing(f)
	}
	if f.Type == wire.FrameHeartbeat && c.state == awaitOpen && f.Channel == 0 {
		return nil
	}
	if f.Type != wire.FrameMethod || f.Channel != 0 {
		return raise(wire.ReplyUnexpectedFrame, 0, "type %d, %s", f.Type, wire.Octets(f.Payload))
	}
	if c.state == awaitStartOk && wire.MethodID(f.Payload) == wire.IDConnectionStartOk {
		return c.startOk(f.Payload)
	}
	m, err := decodeMethod(f.Payload)
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *wire.ConnectionTuneOk:
		if c.state == awaitTuneOk {
			return c.tuneOk(m)
		}
	case *wire.ConnectionOpen:
		if c.state == awaitOpen {
			return c.open(m)
		}
	case *wire.ConnectionClose:
		c.clientCloses(m)
		return nil
	}
	return raise(wire.ReplyChannelError, m.ID(), "unexpected method in connection state %s", c.stateName())
}

func (c *conn) stateName() string {
	switch c.state {
	case awaitStartOk:
		return "starting"
	case awaitTuneOk:
		return "tuning"
	case awaitOpen:
		return "opening"
	case closing:
		return "closing"
	}
	return "running"
}

// frameWhenClosing ignores everything but the end of the close handshake.
func (c *conn) frameWhenClosing(f wire.Frame) error {
	if f.Type != wire.FrameMethod || f.Channel != 0 {
		return nil
	}
	switch wire.MethodID(f.Payload) {
	case wire.IDConnectionClose:
		c.out.Lock()
		c.out.B = wire.AppendMethod(c.out.B, 0, &wire.ConnectionCloseOk{})
		c.out.Unlock()
		c.out.Flush()
	case wire.IDConnectionCloseOk:
		c.state = finished
	}
	return nil
}

// startOk logs the client in. Until it is, no more of what it says about
// itself is decoded than we need.
func (c *conn) startOk(payload []byte) error {
	properties, mechanism, response, err := wire.ParseStartOk(payload)
	if err != nil {
		return raise(wire.ReplyFrameError, wire.IDConnectionStartOk, "cannot decode connection.start-ok")
	}
	c.client.mechanism = mechanism
	if letter, v, ok := wire.FindField(properties, "connection_name"); ok && letter == 'S' {
		c.client.name = string(v)
	}
	if letter, capabilities, ok := wire.FindField(properties, "capabilities"); ok && letter == 'F' {
		has := func(name string) bool {
			letter, v, ok := wire.FindField(capabilities, name)
			return ok && letter == 't' && v[0] != 0
		}
		c.client.closesOnAuthFailure = has("authentication_failure_close")
		c.client.blocked = has("connection.blocked")
		c.client.cancelNotify = has("consumer_cancel_notify")
	}
	name, password, err := c.credentials(mechanism, response)
	if err != nil {
		return err
	}
	c.shown = core.Credentials{
		User: name, Password: password, External: mechanism == external, Protocol: core.ProtocolAMQP,
		Peer: netx.IP(c.nc.RemoteAddr()), Loopback: netx.IsLoopback(c.nc.RemoteAddr()),
	}
	user, err := c.srv.broker.Login(c.ctx, c.shown)
	c.shown.Password = ""
	if err != nil {
		return c.loginFailed(name)
	}
	table, err := wire.DecodeTable(properties)
	if err != nil {
		return raise(wire.ReplyFrameError, wire.IDConnectionStartOk, "connection.start-ok: %v", err)
	}
	c.client.properties = tableFromWire(table)
	c.user = newUserInfo(user.User)
	c.authenticated = user
	c.loggedIn()
	c.state = awaitTuneOk
	c.reply(0, &wire.ConnectionTune{ChannelMax: c.srv.opts.ChannelMax, FrameMax: c.srv.opts.FrameMax, Heartbeat: c.srv.opts.Heartbeat})
	return nil
}

// credentials reads the response of a mechanism.
func (c *conn) credentials(mechanism string, response []byte) (user, password string, err error) {
	if !slices.Contains(c.mechanisms(), mechanism) {
		mechanism = "" // None of ours.
	}
	switch mechanism {
	case external:
		// As in RabbitMQ what the client says does not count.
		if user, err = c.srv.opts.CertificateUser(netx.PeerCertificate(c.nc)); err != nil {
			c.end(slog.LevelWarn, err.Error())
		}
		return user, "", nil
	case "PLAIN":
		for i := 1; i < len(response); i++ {
			if response[i] == 0 && response[0] == 0 {
				return string(response[1:i]), string(response[i+1:]), nil
			}
		}
		return "", "", raise(wire.ReplySyntaxError, wire.IDConnectionStartOk, "PLAIN response is not of the form NUL user NUL password")
	case "AMQPLAIN":
		letter, u, okUser := wire.FindField(response, "LOGIN")
		letter2, p, okPassword := wire.FindField(response, "PASSWORD")
		if okUser && okPassword && (letter == 'S' || letter == 'x') && (letter2 == 'S' || letter2 == 'x') {
			return string(u), string(p), nil
		}
		return "", "", raise(wire.ReplySyntaxError, wire.IDConnectionStartOk, "AMQPLAIN response lacks LOGIN or PASSWORD")
	case "ANONYMOUS":
		return "guest", "guest", nil
	}
	return "", "", raise(wire.ReplyCommandInvalid, wire.IDConnectionStartOk, "unknown authentication mechanism '%s'", c.client.mechanism)
}

// loginFailed says so to a client that can take it, and keeps it waiting.
func (c *conn) loginFailed(user string) error {
	c.end(slog.LevelWarn, fmt.Sprintf("login of user '%s' by %s refused: wrong name or password, or not allowed from this address", user, c.client.mechanism))
	if !c.client.closesOnAuthFailure {
		c.pause()
		return errEnd
	}
	c.sendClose(raise(wire.ReplyAccessRefused, 0,
		"Login was refused using authentication mechanism %s. For details see the broker logfile.", c.client.mechanism))
	c.deadline(c.srv.opts.FailedLoginDelay, "login refused")
	return nil
}

// pause ends the connection and keeps the refused client waiting before it is
// told, so that guessing takes its time.
func (c *conn) pause() {
	c.state = finished
	c.silence = c.srv.opts.FailedLoginDelay
}

// tuneOk checks what the client settles for.
func (c *conn) tuneOk(m *wire.ConnectionTuneOk) error {
	o := &c.srv.opts
	switch {
	case m.FrameMax < wire.FrameMinSize:
		return raise(wire.ReplyNotAllowed, wire.IDConnectionTuneOk,
			"negotiated frame_max = %d is lower than the minimum allowed value (%d)", m.FrameMax, wire.FrameMinSize)
	case m.FrameMax > o.FrameMax:
		return raise(wire.ReplyNotAllowed, wire.IDConnectionTuneOk,
			"negotiated frame_max = %d is higher than the maximum allowed value (%d)", m.FrameMax, o.FrameMax)
	case m.ChannelMax == 0 || m.ChannelMax > o.ChannelMax:
		return raise(wire.ReplyNotAllowed, wire.IDConnectionTuneOk,
			"negotiated channel_max = %d is higher than the maximum allowed value (%d)", m.ChannelMax, o.ChannelMax)
	}
	c.frameMax, c.maxPayload, c.channelMax, c.heartbeat = m.FrameMax, m.FrameMax, m.ChannelMax, m.Heartbeat
	c.beat.intervalMS.Store(int64(m.Heartbeat) * 1000)
	c.state = awaitOpen
	return nil
}

// open enters the virtual host.
func (c *conn) open(m *wire.ConnectionOpen) error {
	s, err := c.srv.broker.OpenSession(core.SessionOptions{
		VHost: m.VirtualHost, Principal: c.authenticated, Loopback: netx.IsLoopback(c.nc.RemoteAddr()),
		Meter: c.srv.broker.Meter(MeterName), Name: c.name(),
	})
	if err != nil {
		return exceptionOf(err, wire.IDConnectionOpen)
	}
	c.client.vhost = m.VirtualHost
	c.session = s
	c.state = running
	c.deadline(0, "")
	c.row = c.addRow()
	c.reply(0, &wire.ConnectionOpenOk{})
	s.OnClose(func(reason string) { c.force(reason, forcedWithin) })
	return nil
}

// forcedWithin is how long a client may take to agree to a forced close.
const forcedWithin = 10 * time.Second

// refuse ends a connection that is not yet open because of e. While its frame
// size is not negotiated, the client gets no frame.
func (c *conn) refuse(e *exception) {
	c.end(slog.LevelWarn, e.replyText())
	if c.state != awaitOpen {
		c.pause()
		return
	}
	c.sendClose(e)
	if e.drop {
		c.finish(c.srv.opts.FailedLoginDelay)
	}
}

// updateSecret takes a fresh password or token, which the client is logged in
// anew with. Users of our own keep the password they have; what they may do is
// looked up anew.
func (c *conn) updateSecret(m *wire.ConnectionUpdateSecret) error {
	fresh := c.shown
	fresh.Password = string(m.NewSecret)
	if err := c.srv.broker.Renew(c.ctx, c.session, fresh); err != nil {
		return raise(wire.ReplyNotAllowed, wire.IDConnectionUpdateSecret, "New secret was refused by one of the backends")
	}
	c.user = newUserInfo(c.session.User())
	for _, ch := range c.channels {
		ch.props = checkedProps{}
	}
	c.reply(0, &wire.ConnectionUpdateSecretOk{})
	return nil
}
