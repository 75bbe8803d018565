package mgmt

import (
	"leveret/core"
)

// Who may do what, and who tried:
//
//	POST   /auth/explain               {"user"|"token", "operation", "vhost", "name", …}
//	GET    /auth/attempts/NODE         logins by protocol
//	GET    /auth/attempts/NODE/source  by where they come from
//	DELETE either                      begin to count anew

// explainAccess answers which rule allows or refuses something to a user or to
// who shows a token.
func (c *call) explainAccess() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	c.sent = nil // There may be a token in it.
	text := func(key, absent string) string {
		s, e := b.text(key)
		if e != nil && err == nil {
			err = e
		}
		if s == "" {
			return absent
		}
		return s
	}
	e := core.Explain{
		Credentials: core.Credentials{
			User: text("user", ""), Password: text("token", text("password", "")), VHost: text("vhost", "/"), ClientID: text("client_id", ""),
			Protocol: core.ProtocolHTTP, Peer: text("peer", ""),
		},
		VHost: text("vhost", "/"), Act: core.Act(text("operation", string(core.ActEnter))), Name: text("name", ""), Key: text("routing_key", ""),
	}
	remote, wrong := b.boolean("remote", false)
	kind := text("resource", "queue")
	switch {
	case err != nil:
		return err
	case wrong != nil:
		return wrong
	case kind == "queue":
		e.Kind = core.OnQueue
	case kind == "exchange":
		e.Kind = core.OnExchange
	default:
		return badRequest("resource is neither queue nor exchange")
	}
	if e.Credentials.User == "" && e.Credentials.Password == "" {
		return badRequest("user or token is needed")
	}
	e.Credentials.Loopback = !remote
	if id := e.Credentials.ClientID; id != "" {
		e.Vars = map[string]string{"client_id": id}
		e.Credentials.Protocol = core.ProtocolMQTT
	}
	x := c.s.broker.Explain(c.r.Context(), e)
	reasons := []object{}
	for _, r := range x.Reasons {
		reasons = append(reasons, object{"allowed": r.Allowed, "what": r.What, "backend": r.Backend, "rule": r.Rule})
	}
	out := object{"allowed": x.Allowed, "user": x.User, "tags": orEmpty(x.Tags), "operation": e.Act, "reasons": reasons}
	if x.ExpiresAtMS != 0 {
		out["expires_at"] = x.ExpiresAtMS
	}
	return c.ok(out)
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (c *call) listAttempts() error { return c.attempts((*core.LoginAttempts).Protocols) }

func (c *call) listAttemptSources() error { return c.attempts((*core.LoginAttempts).Sources) }

func (c *call) attempts(rows func(*core.LoginAttempts) []core.LoginAttemptRow) error {
	if err := c.thisNode(); err != nil {
		return err
	}
	out := []object{}
	for _, r := range rows(c.s.broker.LoginAttempts()) {
		if r.Succeeded+r.Failed == 0 {
			continue
		}
		o := object{"protocol": r.Protocol, "auth_attempts": r.Succeeded + r.Failed, "auth_attempts_succeeded": r.Succeeded, "auth_attempts_failed": r.Failed}
		if r.Peer != "" || r.User != "" {
			o["remote_address"], o["username"] = r.Peer, r.User
		}
		out = append(out, o)
	}
	return c.ok(out)
}

func (c *call) resetAttempts() error {
	if err := c.thisNode(); err != nil {
		return err
	}
	c.s.broker.LoginAttempts().Reset()
	return c.done(false)
}

func (c *call) resetAttemptSources() error {
	if err := c.thisNode(); err != nil {
		return err
	}
	c.s.broker.LoginAttempts().ResetSources()
	return c.done(false)
}
