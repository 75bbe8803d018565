package mgmt

import (
	"encoding/json"
	"net"
	"runtime"
	"strconv"

	"leveret/core"
)

func (c *call) getOverview() error {
	vhosts, err := c.vhosts()
	if err != nil {
		return err
	}
	if c.noStats() {
		return c.one(c.plainOverview(vhosts))
	}
	totals := map[string]int{"queues": 0, "exchanges": 0, "consumers": 0, "connections": 0, "channels": 0}
	key, sum := rateKey{kind: ratedVHost}, make(values, len(ratedNames[ratedVHost]))
	for _, v := range vhosts {
		for q := range v.Queues() {
			i := q.Summary()
			totals["queues"]++
			totals["consumers"] += i.Consumers
			sum.addQueue(queueValues(&i))
		}
		for x := range v.Exchanges() {
			i := x.Info()
			totals["exchanges"]++
			sum.addExchange(exchangeValues(&i))
		}
		sum.addRetired(v)
		if len(vhosts) == 1 {
			key.vhost = v.Name() // One virtual host has rates of its own; other parts have none.
		}
	}
	registry := c.s.broker.Registry()
	for kind, name := range map[string]string{rowConnection: "connections", rowChannel: "channels"} {
		for r := range registry.Rows(kind) {
			if c.maySee(r.Session) {
				totals[name]++
			}
		}
	}
	queueTotals := object{}
	c.s.rates.put(queueTotals, key, sum, levels, len(sum), c.spans.lengths)
	out := c.about()
	out["queue_totals"], out["object_totals"] = queueTotals, totals
	stats := c.s.rates.messageStats(key, sum, c.spans.messages)
	if stats == nil {
		stats = object{}
	}
	if len(vhosts) == len(c.s.broker.VHosts()) && !c.s.opts.NoRates {
		is := c.s.brokerValues()
		if len(stats) > 0 || !is.zero() {
			c.s.rates.put(stats, rateKey{kind: ratedBroker}, is, 0, len(is), c.spans.messages)
		}
	}
	out["message_stats"] = stats
	churn, is := object{}, c.s.churnValues()
	c.s.rates.put(churn, rateKey{kind: ratedChurn}, is, 0, len(is), c.spans.node)
	out["churn_rates"] = churn
	return c.one(out)
}

// about is what an overview says of the broker itself.
func (c *call) about() object {
	out := object{
		"management_version": RabbitVersion, "rabbitmq_version": RabbitVersion,
		"product_name": "Leveret", "product_version": c.s.opts.Version,
		"erlang_version": runtime.Version(), "erlang_full_version": runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		"rates_mode": c.s.ratesMode(), "sample_retention_policies": object{"global": ages(globalHistory), "basic": ages(basicHistory), "detailed": ages(basicHistory[:1])},
		"exchange_types": exchangeTypes(), "cluster_name": c.s.ClusterName(), "default_queue_type": string(c.s.broker.DefaultQueueType()),
		"release_series_support_status": "supported", "disable_stats": c.noStats(), "enable_queue_totals": c.queueTotals(),
		"cluster_tags": object{}, "node_tags": object{}, "statistics_db_event_queue": 0, "node": c.s.node(),
	}
	if c.user.isMonitor() {
		out["listeners"], out["contexts"] = c.s.listeners(), c.s.contexts()
	}
	return out
}

// plainOverview is the overview without statistics.
func (c *call) plainOverview(vhosts []*core.VHost) object {
	out, count := c.about(), map[string]int{"queues": 0, "exchanges": 0, "connections": 0}
	for _, v := range vhosts {
		count["queues"] += v.QueueCount()
		for range v.Exchanges() {
			count["exchanges"]++
		}
	}
	for r := range c.s.broker.Registry().Rows(rowConnection) {
		if c.maySee(r.Session) {
			count["connections"]++
		}
	}
	out["object_totals"] = count
	if c.queueTotals() {
		messages, ready, unacked := totals(vhosts...)
		out["queue_totals"] = object{"messages": messages, "messages_ready": ready, "messages_unacknowledged": unacked}
	}
	return out
}

// ratesMode is what RabbitMQ calls it that we keep rates, or not.
func (s *Server) ratesMode() string {
	if s.opts.NoRates {
		return "none"
	}
	return "basic"
}

// ages are for how long history is kept, in seconds.
func ages(all []resolution) []int64 {
	var out []int64
	for _, r := range all {
		out = append(out, r.ageS)
	}
	return out
}

// pluginTypes describes the types that are plugins elsewhere.
var pluginTypes = map[string]string{
	"x-consistent-hash": "Consistent Hashing Exchange",
	"x-local-random":    "Picks one random local binding (queue) to route via (to).",
	"x-modulus-hash":    "Modulus Hashing Exchange",
	"x-random":          "Randomly picks a binding (queue) to route via (to).",
	"x-recent-history":  "Recent History Exchange.",
}

// exchangeTypes are the types of exchanges that can be declared.
func exchangeTypes() []object {
	out := []object{}
	for _, name := range core.ExchangeTypes() {
		what, ok := pluginTypes[name]
		if !ok {
			what = "AMQP " + name + " exchange, as per the AMQP specification"
		}
		out = append(out, object{"name": name, "description": what, "enabled": true})
	}
	return out
}

// hostPort takes an address apart.
func hostPort(a net.Addr) (string, int) {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String(), 0
	}
	n, _ := strconv.Atoi(port)
	return host, n
}

// listeners are the open ports.
func (s *Server) listeners() []object {
	out := []object{}
	for _, l := range s.opts.Listeners {
		host, port := hostPort(l.Addr)
		out = append(out, object{"node": s.node(), "protocol": l.Protocol, "ip_address": host, "port": port, "socket_opts": object{"nodelay": true}})
	}
	return out
}

// contexts are the ports with something for browsers.
func (s *Server) contexts() []object {
	out := []object{}
	for _, l := range s.opts.Listeners {
		if l.Protocol != "http" {
			continue
		}
		host, port := hostPort(l.Addr)
		out = append(out, object{"node": s.node(), "description": "Management API", "path": "/", "ip": host, "port": strconv.Itoa(port)})
	}
	return out
}

// getVersion answers with a bare string, to everybody.
func (c *call) getVersion() error { return c.ok(RabbitVersion) }

// clusterNameKey is the global parameter that holds the name of the cluster.
const clusterNameKey = "cluster_name"

// ClusterName is the name shown for the broker.
func (s *Server) ClusterName() string {
	var name string
	if json.Unmarshal(s.broker.Global(clusterNameKey), &name) == nil && name != "" {
		return name
	}
	return s.node()
}

func (c *call) getClusterName() error { return c.ok(object{"name": c.s.ClusterName()}) }

func (c *call) putClusterName() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	if err := b.need("name"); err != nil {
		return err
	}
	name, err := b.text("name")
	if err != nil {
		return err
	}
	value, err := json.Marshal(name)
	if err != nil {
		return err
	}
	if err := c.acting().SetGlobal(clusterNameKey, value); err != nil {
		return err
	}
	return c.done(false)
}

// getConfig shows every setting in force with its origin.
func (c *call) getConfig() error {
	if c.s.opts.Config == nil {
		return c.ok([]any{})
	}
	return c.ok(c.s.opts.Config())
}
