package mgmt

import (
	"context"
	"strings"
	"time"

	"leveret/core"
)

// Clients of MQTT that have a session, connected or not. Monitors see all of
// them, others those that they are connected as.

// sessionRows lists the sessions of a virtual host that the user may see.
func (c *call) sessionRows(rows []row, v *core.VHost) []row {
	for i := range v.Clients() {
		if c.maySee(i.Attached) {
			rows = append(rows, row{v.Name(), i.ID, func() object { return c.sessionObject(v, i.ID) }})
		}
	}
	return rows
}

func (c *call) listSessions() error {
	vhosts, err := c.vhosts()
	if err != nil {
		return err
	}
	rows := []row{}
	for _, v := range vhosts {
		rows = c.sessionRows(rows, v)
	}
	return c.list(rows)
}

// sessionObject is a client in JSON; one that has ended meanwhile has only a
// name.
func (c *call) sessionObject(v *core.VHost, id string) object {
	d, _ := v.Client(id)
	out := object{
		"client_id": id, "vhost": v.Name(), "user": nil, "protocol": nil, "connected": d.Attached != nil, "connection": nil,
		"expires_at": nil, "expiry_interval": nil, "messages": d.Messages, "message_bytes": d.MessagesBytes, "queues": append([]string{}, d.Queues...), "will": nil,
	}
	if d.ExpiresMS != 0 {
		out["expires_at"] = d.ExpiresMS
	}
	if d.ExpiryMS >= 0 {
		out["expiry_interval"] = d.ExpiryMS / 1000
	}
	if d.Attached != nil {
		out["user"] = d.Attached.User().Name
		if r := c.rowOf(d.Attached); r != nil {
			out["connection"], out["protocol"] = r.Name, attributes(r)["protocol"]
		}
	}
	subs := []object{}
	for i := range d.Subscribed {
		s := &d.Subscribed[i]
		one := object{
			"filter": s.Filter, "qos": s.Grade, "no_local": s.NoLocal, "retain_as_published": s.AsPublished, "retain_handling": s.Handling,
			"share": nil, "identifier": nil,
		}
		if rest, shared := strings.CutPrefix(s.Filter, "$share/"); shared && s.Shared != "" {
			one["share"], _, _ = strings.Cut(rest, "/")
		}
		if s.Identifier != 0 {
			one["identifier"] = s.Identifier
		}
		subs = append(subs, one)
	}
	out["subscriptions"] = subs
	if w := d.Will; w != nil {
		out["will"] = object{
			"topic": topicKey.Replace(w.RoutingKey), "exchange": w.Exchange, "routing_key": w.RoutingKey, "payload_bytes": len(w.Body),
			"qos": formQoS(w.Form, w.Encoded), "retain": w.Retain, "delay": w.DelayMS / 1000,
		}
	}
	return out
}

// formQoS reads the QoS in the form that MQTT's properties are kept in: the low
// two bits of its first byte. Of a message that came otherwise it is unknown.
func formQoS(f core.Form, encoded []byte) any {
	if f != core.FormMQTT || len(encoded) == 0 {
		return nil
	}
	return encoded[0] & 3
}

// mqttSession finds the session of the path.
func (c *call) mqttSession() (*core.VHost, *core.ClientDetail, error) {
	v := c.vhost()
	if v == nil {
		return nil, nil, errNotFound
	}
	d, ok := v.Client(c.param("client"))
	if !ok || !c.maySee(d.Attached) {
		return nil, nil, errNotFound
	}
	return v, &d, nil
}

func (c *call) getSession() error {
	v, d, err := c.mqttSession()
	if err != nil {
		return err
	}
	return c.one(c.sessionObject(v, d.ID))
}

// sessionEndWait is how long a client's connection may take to end.
const sessionEndWait = 30 * time.Second

// deleteSession ends a client, its connection and all that it has left behind.
func (c *call) deleteSession() error {
	v, d, err := c.mqttSession()
	if err != nil {
		return err
	}
	if !c.user.isAdministrator() && (d.Attached == nil || d.Attached.User().Name != c.user.Name) {
		return errAccessRefused
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), sessionEndWait)
	defer cancel()
	if err := v.EndClient(ctx, d.ID, c.closeReason()); err != nil {
		return core.Errorf(core.Unavailable, "%v", err)
	}
	return c.done(false)
}
