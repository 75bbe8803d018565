package mgmt

import (
	"net/http"
	"strings"

	"leveret/core"
	"leveret/core/auth"
)

func (c *call) listVHosts() error {
	vhosts, err := c.vhosts()
	if err != nil {
		return err
	}
	var traffic map[string]*traffic
	if !c.noStats() {
		traffic = c.s.trafficByVHost()
	}
	rows := []row{}
	for _, v := range vhosts {
		rows = append(rows, row{"", v.Name(), func() object { return c.vhostObject(v, traffic[v.Name()]) }})
	}
	return c.list(rows)
}

// namedVHost finds the virtual host that the path names as an object.
func (c *call) namedVHost() (*core.VHost, error) {
	if v, ok := c.s.broker.VHost(c.param("name")); ok {
		return v, nil
	}
	return nil, errNotFound
}

func (c *call) getVHost() error {
	v, err := c.namedVHost()
	if err != nil {
		return err
	}
	return c.one(c.vhostObject(v, c.s.trafficByVHost()[v.Name()]))
}

// vhostObject is a virtual host in JSON; traffic, if any, is what its
// connections received and sent.
func (c *call) vhostObject(v *core.VHost, traffic *traffic) object {
	s := c.s
	d := v.Definition()
	tags := append([]string{}, d.Tags...)
	queueType := d.DefaultQueueType
	if queueType == "" {
		queueType = string(s.broker.DefaultQueueType())
	}
	out := object{
		"name": v.Name(), "description": d.Description, "tags": tags, "default_queue_type": queueType, "tracing": d.Tracing,
		"metadata":                object{"description": d.Description, "tags": tags, "default_queue_type": queueType},
		"cluster_state":           object{s.node(): "running"},
		"protected_from_deletion": d.Protected,
	}
	if c.noStats() {
		if c.queueTotals() {
			out["messages"], out["messages_ready"], out["messages_unacknowledged"] = totals(v)
		}
		return out
	}
	key := rateKey{ratedVHost, v.Name(), ""}
	is := s.vhostValues(v)
	s.rates.put(out, key, is, levels, len(is), c.spans.lengths)
	if stats := s.rates.messageStats(key, is, c.spans.messages); stats != nil {
		out["message_stats"] = stats
	}
	if traffic != nil {
		out["recv_oct"], out["send_oct"] = traffic.bytes[0], traffic.bytes[1]
		out["recv_oct_details"], out["send_oct_details"] = object{"rate": traffic.rates[0]}, object{"rate": traffic.rates[1]}
	}
	return out
}

// totals sums the messages of virtual hosts.
func totals(vhosts ...*core.VHost) (messages, ready, unacked int) {
	for _, v := range vhosts {
		for q := range v.Queues() {
			i := q.Summary()
			ready += i.Ready
			unacked += i.Unacked
		}
	}
	return ready + unacked, ready, unacked
}

// vhostValues sums the queues and exchanges of v, and those it had.
func (s *Server) vhostValues(v *core.VHost) values {
	sum := make(values, len(ratedNames[ratedVHost]))
	for q := range v.Queues() {
		i := q.Summary()
		sum.addQueue(queueValues(&i))
	}
	for x := range v.Exchanges() {
		i := x.Info()
		sum.addExchange(exchangeValues(&i))
	}
	sum.addRetired(v)
	return sum
}

func (c *call) putVHost() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	name := c.param("name")
	d := core.VHostDef{Name: name}
	v, existed := c.s.broker.VHost(name)
	if existed {
		d = v.Definition()
	}
	if b.has("description") {
		if d.Description, err = b.text("description"); err != nil {
			return err
		}
	}
	if b.has("tags") {
		if d.Tags, err = b.words("tags"); err != nil {
			return err
		}
	}
	if b.has("default_queue_type") {
		if d.DefaultQueueType, err = b.text("default_queue_type"); err != nil {
			return err
		}
		if d.DefaultQueueType == "undefined" {
			d.DefaultQueueType = ""
		}
	}
	if d.Tracing, err = b.boolean("tracing", d.Tracing); err != nil {
		return err
	}
	if err := c.acting().PutVHost(d); err != nil {
		return err
	}
	if !existed {
		// Who makes a virtual host may use it, as in RabbitMQ.
		all := auth.Permission{Configure: ".*", Write: ".*", Read: ".*"}
		if _, ok := c.s.broker.Auth().User(c.user.Name); !ok {
			return c.done(true) // Somebody from elsewhere, who has other rules.
		}
		if err := c.acting().SetPermission(c.user.Name, name, all); err != nil {
			return err
		}
	}
	return c.done(!existed)
}

func (c *call) deleteVHost() error {
	if _, err := c.namedVHost(); err != nil {
		return err
	}
	if v, err := c.namedVHost(); err == nil && v.Definition().Protected {
		return &failure{http.StatusPreconditionFailed, "precondition_failed", "virtual host '" + v.Name() + "' is protected from deletion"}
	}
	if err := c.acting().DeleteVHost(c.param("name")); err != nil {
		return err
	}
	return c.done(false)
}

func (c *call) protectVHost() error { return c.setProtected(true) }

func (c *call) unprotectVHost() error { return c.setProtected(false) }

func (c *call) setProtected(is bool) error {
	v, err := c.namedVHost()
	if err != nil {
		return err
	}
	d := v.Definition()
	d.Protected = is
	if err := c.acting().PutVHost(d); err != nil {
		return err
	}
	return c.done(false)
}

// startVHost has nothing to start: a virtual host that exists runs.
func (c *call) startVHost() error {
	if _, err := c.namedVHost(); err != nil {
		return err
	}
	if c.param("node") != c.s.node() {
		return errNotFound
	}
	return c.done(false)
}

// words reads "a,b" or ["a","b"].
func (b body) words(key string) ([]string, error) {
	out := []string{}
	switch v := b[key].(type) {
	case []any:
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, badRequest([]any{"not_string", key})
			}
			if s = strings.TrimSpace(s); s != "" {
				out = append(out, s)
			}
		}
		return out, nil
	default:
		s, err := b.text(key)
		if err != nil {
			return nil, err
		}
		for w := range strings.SplitSeq(s, ",") {
			if w = strings.TrimSpace(w); w != "" {
				out = append(out, w)
			}
		}
		return out, nil
	}
}
