package mqtt

import (
	"leveret/adapters/mqtt/wire"
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
	c.out.Lock()
	c.out.B = wire.AppendAuth(c.out.B, &wire.AuthPacket{Code: wire.Success, Method: authMethod}, c.client.maxPacket)
	if c.out.Unlock() {
		c.work.flushOwn = true
	}
	return nil
}
