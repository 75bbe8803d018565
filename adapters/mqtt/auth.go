package mqtt

import (
	"leveret/adapters/mqtt/wire"
	"leveret/core"
)

// authMethod is the one authentication method of MQTT 5 (4.12): the
// authentication data is what is the password otherwise, a token as a rule.
// There is no challenge: CONNECT is answered by CONNACK. A client that has
// connected with it may show fresh data in an AUTH while it is connected, and
// stays when what it showed before expires.
const authMethod = "OAUTH2-JWT"

// reAuthenticate handles an AUTH (4.12.1). A client that is refused is
// disconnected.
func (c *conn) reAuthenticate(body []byte) error {
	a, err := wire.ParseAuth(body)
	switch {
	case err != nil:
		return err
	case !c.client.authMethod:
		return fail(wire.ProtocolError, "AUTH without an authentication method in CONNECT")
	case a.Code != wire.ReAuthenticate:
		return fail(wire.ProtocolError, "AUTH with reason code 0x%02x from a client", byte(a.Code))
	case a.Method != authMethod:
		return fail(wire.ProtocolError, "AUTH with another authentication method than CONNECT")
	}
	fresh := c.shown
	fresh.Password = string(a.Data)
	if err := c.srv.broker.Renew(c.ctx, c.session, fresh); err != nil {
		return fail(wire.NotAuthorized, "a renewal of the login of user '%s' is refused", c.client.user)
	}
	if err := c.endRefused(); err != nil {
		return err
	}
	c.out.Lock()
	c.out.B = wire.AppendAuth(c.out.B, &wire.AuthPacket{Code: wire.Success, Method: authMethod}, c.client.maxPacket)
	if c.out.Unlock() {
		c.work.flushOwn = true
	}
	return nil
}

// endRefused ends the subscriptions that a renewed login does not allow. MQTT has
// no packet to tell the client which: it is disconnected, as one that asks for
// what it may not have, and finds them gone when it comes back. Where such
// clients are kept, this one stays without them.
func (c *conn) endRefused() error {
	ended, err := c.holds.Renewed(func(s *core.Subscription) {
		if k := c.shares[s.Shared]; k != nil {
			k.ending.Store(true)
		}
	})
	for i := range ended {
		s := &ended[i]
		c.srv.log.Warn("MQTT subscription ended by a renewed login", append(c.who(), "filter", s.Filter)...)
		if s.Shared == "" {
			c.out.Lock()
			c.underOut.filters.remove(s.Filter)
			c.out.Unlock()
		} else if k := c.shares[s.Shared]; k != nil {
			k.core.Cancel(&c.work.touched)
			delete(c.shares, s.Shared)
		}
	}
	if err != nil {
		return err
	}
	if len(ended) > 0 && !c.srv.opts.KeepUnauthorized {
		return fail(wire.NotAuthorized, "the renewed login does not allow the subscription to '%s'", ended[0].Filter)
	}
	return nil
}
