package mgmt

import (
	"slices"

	"leveret/core"
)

// The kinds of rows that adapters put into core's registry for us.
const (
	rowConnection = "connection"
	rowChannel    = "channel"
)

// trafficValues are a connection's bytes in the order of ratedNames.
func trafficValues(r *core.Row) values {
	v := make(values, 2)
	if r.Traffic != nil {
		received, sent := r.Traffic()
		v[0], v[1] = int64(received), int64(sent)
	} else if r.Counters != nil {
		n := r.Counters()
		v[0], v[1] = int64(n["recv_oct"]), int64(n["send_oct"])
	}
	return v
}

// connections are the rows of all connections.
func (s *Server) connections() []*core.Row {
	return slices.Collect(s.broker.Registry().Rows(rowConnection))
}

// traffic is what connections received and sent: bytes, and bytes a second.
type traffic struct {
	bytes values
	rates [2]float64
}

// trafficByVHost sums the connections there are by virtual host.
func (s *Server) trafficByVHost() map[string]*traffic {
	out := map[string]*traffic{}
	for _, r := range s.connections() {
		if r.Session == nil {
			continue
		}
		name := r.Session.VHost().Name()
		if out[name] == nil {
			out[name] = &traffic{bytes: values{0, 0}}
		}
		out[name].bytes.add(trafficValues(r))
		sample := s.rates.sample(rateKey{ratedConnection, "", r.Name})
		for i := range out[name].rates {
			out[name].rates[i] += sample.rate(i)
		}
	}
	return out
}

// attributes is what an adapter says of a row, fit for JSON.
func attributes(r *core.Row) object {
	out := object{}
	if r.Attributes != nil {
		for k, v := range r.Attributes() {
			out[k] = clean(v)
		}
	}
	return out
}

// clean replaces numbers that JSON does not have: clients choose some values.
func clean(v any) any {
	switch v := v.(type) {
	case float64:
		return finite(v)
	case float32:
		return finite(float64(v))
	case map[string]any:
		for k, e := range v {
			v[k] = clean(e)
		}
	case []any:
		for i, e := range v {
			v[i] = clean(e)
		}
	}
	return v
}

func (c *call) connectionObject(r *core.Row) object {
	s := c.s
	out := attributes(r)
	out["name"], out["node"] = r.Name, s.node()
	if _, ok := out["client_properties"]; !ok {
		out["client_properties"] = object{}
	}
	if u, ok := out["user"]; ok {
		out["user_who_performed_action"] = u
	}
	if !c.noStats() {
		s.rates.put(out, rateKey{ratedConnection, "", r.Name}, trafficValues(r), 0, 2, c.spans.data)
	}
	return out
}

// maySee reports whether the user may see what a session does: monitors see
// everything, others their own.
func (c *call) maySee(s *core.Session) bool {
	return c.user.isMonitor() || s != nil && s.User().Name == c.user.Name
}

// connectionRows lists the connections that keep, if not nil, agrees to.
func (c *call) connectionRows(keep func(r *core.Row) bool) error {
	rows := []row{}
	for _, r := range c.s.connections() {
		if !c.maySee(r.Session) || !c.inPath(r) || keep != nil && !keep(r) {
			continue
		}
		rows = append(rows, row{"", r.Name, func() object { return c.connectionObject(r) }})
	}
	return c.list(rows)
}

// inPath reports whether r is in the path's virtual host, if that has one.
func (c *call) inPath(r *core.Row) bool {
	vhost := c.param("vhost")
	return vhost == "" || r.Session != nil && r.Session.VHost().Name() == vhost
}

func (c *call) listConnections() error { return c.connectionRows(nil) }

func (c *call) listUserConnections() error {
	user := c.param("user")
	return c.connectionRows(func(r *core.Row) bool { return r.Session != nil && r.Session.User().Name == user })
}

// connection finds the connection of the path. It is there for its own user
// and for who has the right others; somebody else cannot tell it from none.
func (c *call) connection(others bool) (*core.Row, error) {
	r := c.s.broker.Registry().Find(rowConnection, c.param("connection"))
	if !others && (r == nil || r.Session == nil || r.Session.User().Name != c.user.Name) {
		return nil, notAuthorised("User not authorised to access object")
	}
	if r == nil {
		return nil, errNotFound
	}
	return r, nil
}

func (c *call) getConnection() error {
	r, err := c.connection(c.user.isMonitor())
	if err != nil {
		return err
	}
	return c.one(c.connectionObject(r))
}

// closeReason is what the client of a closed connection is told.
func (c *call) closeReason() string {
	if why := c.r.Header.Get("X-Reason"); why != "" {
		return why
	}
	return "Closed via management plugin"
}

func (c *call) deleteConnection() error {
	r, err := c.connection(c.user.isAdministrator())
	if err != nil {
		return err
	}
	closeRow(r, c.closeReason())
	return c.done(false)
}

func closeRow(r *core.Row, reason string) {
	if r.Close != nil {
		r.Close(reason)
	}
}

func (c *call) deleteUserConnections() error {
	user := c.param("user")
	if !c.user.isAdministrator() && user != c.user.Name {
		return notAuthorised("User not authorised to access object")
	}
	for _, r := range c.s.connections() {
		if r.Session != nil && r.Session.User().Name == user {
			closeRow(r, c.closeReason())
		}
	}
	return c.done(false)
}

// channelRows lists the channels that keep, if not nil, agrees to.
func (c *call) channelRows(keep func(r *core.Row) bool) error {
	rows := []row{}
	for r := range c.s.broker.Registry().Rows(rowChannel) {
		if !c.maySee(r.Session) || !c.inPath(r) || keep != nil && !keep(r) {
			continue
		}
		rows = append(rows, row{"", r.Name, func() object { return c.channelObject(r) }})
	}
	return c.list(rows)
}

func (c *call) listChannels() error { return c.channelRows(nil) }

func (c *call) listConnectionChannels() error {
	of, err := c.connection(c.user.isMonitor())
	if err != nil {
		return err
	}
	return c.channelRows(func(r *core.Row) bool { return r.Parent == of })
}

func (c *call) getChannel() error {
	r := c.s.broker.Registry().Find(rowChannel, c.param("channel"))
	switch {
	case r == nil && c.user.isMonitor():
		return errNotFound
	case r == nil || !c.maySee(r.Session):
		return notAuthorised("User not authorised to access object")
	}
	out := c.channelObject(r)
	consumers := []object{}
	for _, v := range c.s.broker.VHosts() {
		if r.Session == nil || v != r.Session.VHost() {
			continue
		}
		for q := range v.Queues() {
			i := q.Info()
			for k := range i.ConsumerList {
				if one := &i.ConsumerList[k]; one.Session == r.Session && one.Scope == r.Name {
					consumers = append(consumers, c.consumerObject(i.Options, one))
				}
			}
		}
	}
	out["consumer_details"] = consumers
	out["publishes"], out["deliveries"] = []object{}, []object{}
	return c.one(out)
}

// channelStats are a channel's counters as message_stats calls them.
var channelStats = []string{"publish", "confirm", "return_unroutable", "deliver", "deliver_no_ack", "get", "get_no_ack", "get_empty", "deliver_get", "redeliver", "ack"}

// channelLevels are what changes all the time of what adapters say of channels.
var channelLevels = []string{"messages_unacknowledged", "messages_unconfirmed", "messages_uncommitted", "acks_uncommitted", "consumer_count"}

func (c *call) channelObject(r *core.Row) object {
	s := c.s
	out := attributes(r)
	out["name"], out["node"] = r.Name, s.node()
	if r.Parent != nil {
		out["connection_details"] = peerDetails(r.Parent, "name")
	}
	if u, ok := out["user"]; ok {
		out["user_who_performed_action"] = u
	}
	if c.noStats() {
		for _, name := range channelLevels {
			delete(out, name)
		}
		return out
	}
	if r.Counters != nil {
		counters := r.Counters()
		key, is := rateKey{ratedChannel, "", r.Name}, channelValues(counters)
		stats := object{}
		for i, name := range channelStats {
			if _, ok := counters[name]; ok {
				s.rates.put(stats, key, is, i, i+1, c.spans.messages)
			}
		}
		if !is.zero() && !s.opts.NoRates {
			out["message_stats"] = stats
		}
	}
	return out
}

// peerDetails says which connection something hangs on; nameAs is what the
// connection's name is called there. user_provided_name is ours: people know their
// clients by it.
func peerDetails(connection *core.Row, nameAs string) object {
	a := attributes(connection)
	out := object{nameAs: connection.Name, "peer_host": a["peer_host"], "peer_port": a["peer_port"]}
	if n, _ := a["user_provided_name"].(string); n != "" {
		out["user_provided_name"] = n
	}
	return out
}

// rowOf finds the connection of a session.
func (c *call) rowOf(s *core.Session) *core.Row {
	if c.bySession == nil {
		c.bySession = map[*core.Session]*core.Row{}
		for _, r := range c.s.connections() {
			if r.Session != nil {
				c.bySession[r.Session] = r
			}
		}
	}
	return c.bySession[s]
}

// channelDetails says what a consumer hangs on; scope is its channel's name.
func (c *call) channelDetails(s *core.Session, scope string) object {
	out := object{}
	if s != nil {
		if r := c.rowOf(s); r != nil {
			out = peerDetails(r, "connection_name")
		}
		out["user"] = s.User().Name
	}
	out["name"], out["number"], out["node"] = scope, channelNumber(scope), c.s.node()
	return out
}
