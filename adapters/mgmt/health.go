package mgmt

import (
	"net/http"
	"slices"
	"strconv"
	"time"
)

// healthy answers a check that holds whenever we can answer.
func (c *call) healthy() error { return c.ok(object{"status": "ok"}) }

// singleNode answers checks about other nodes: there are none to be lost.
func (c *call) singleNode() error {
	return c.ok(object{"status": "ok", "reason": "single node cluster"})
}

// failed answers a check that does not hold.
func (c *call) failed(reason string, more object) error {
	out := object{"status": "failed", "reason": reason}
	for k, v := range more {
		out[k] = v
	}
	c.json(http.StatusServiceUnavailable, out)
	return nil
}

// aliveness has found the virtual host on its way here, which is what there is
// to find out about one.
func (c *call) aliveness() error { return c.healthy() }

func (c *call) checkAlarms() error {
	return c.alarms("There are alarms in effect in the cluster")
}

func (c *call) checkLocalAlarms() error {
	return c.alarms("There are alarms in effect on the node")
}

func (c *call) alarms(reason string) error {
	set := []object{}
	for _, a := range c.s.broker.Alarms().List() {
		set = append(set, object{"node": c.s.node(), "resource": a.Resource.String()})
	}
	if len(set) == 0 {
		return c.healthy()
	}
	return c.failed(reason, object{"alarms": set})
}

// checkReady fails while there is no listener that a client of a messaging
// protocol could use.
func (c *call) checkReady() error {
	if c.s.suspended() {
		return c.failed("this node is suspended", nil)
	}
	if slices.ContainsFunc(c.s.opts.Listeners, func(l Listener) bool { return l.Protocol != "http" }) {
		return c.healthy()
	}
	return c.failed("no protocol listeners", nil)
}

func (c *call) checkPort() error {
	port, err := strconv.Atoi(c.param("port"))
	if err != nil {
		return badRequest("Not a port number: " + c.param("port"))
	}
	ports := []int{}
	for _, l := range c.s.opts.Listeners {
		_, p := hostPort(l.Addr)
		if p == port {
			return c.ok(object{"status": "ok", "port": port})
		}
		ports = append(ports, p)
	}
	return c.failed("No active listener", object{"missing": port, "ports": ports})
}

// protocolAliases are other names for the protocols of listeners.
var protocolAliases = map[string]string{
	"amqp091": "amqp", "amqp0.9.1": "amqp", "amqps": "amqp/ssl", "https": "https", "web-mqtt": "http/web-mqtt", "web-stomp": "http/web-stomp",
	"mqtts": "mqtt/ssl", "stomps": "stomp/ssl", "prometheus": "http/prometheus",
}

func (c *call) checkProtocol() error {
	protocol := c.param("protocol")
	if alias, ok := protocolAliases[protocol]; ok {
		protocol = alias
	}
	protocols := []string{}
	for _, l := range c.s.opts.Listeners {
		if l.Protocol == protocol {
			return c.ok(object{"status": "ok", "protocol": protocol})
		}
		if !slices.Contains(protocols, l.Protocol) {
			protocols = append(protocols, l.Protocol)
		}
	}
	return c.failed("No active listener", object{"missing": protocol, "protocols": protocols})
}

// checkCertificates fails if a certificate that listeners show expires soon.
func (c *call) checkCertificates() error {
	n, err := strconv.Atoi(c.param("within"))
	if err != nil || n < 0 || n > 10_000 {
		return badRequest("Invalid expiration period")
	}
	now := time.UnixMilli(c.s.broker.Now())
	var until time.Time
	switch c.param("unit") {
	case "days":
		until = now.AddDate(0, 0, n)
	case "weeks":
		until = now.AddDate(0, 0, 7*n)
	case "months":
		until = now.AddDate(0, n, 0)
	case "years":
		until = now.AddDate(n, 0, 0)
	default:
		return badRequest("Time unit not recognised. Supported units: days, weeks, months, years.")
	}
	expired := []object{}
	if c.s.opts.Certificates != nil {
		for _, cert := range c.s.opts.Certificates() {
			if cert.NotAfter.Before(until) {
				expired = append(expired, object{
					"node": c.s.node(), "cert_expires_on": cert.NotAfter.UTC().Format("2006-01-02 15:04:05"), "certfile": cert.File, "subject": cert.Subject,
				})
			}
		}
	}
	if len(expired) > 0 {
		return c.failed("Certificates expiring", object{"expired": expired})
	}
	return c.healthy()
}

// checkConnectionLimit fails when no more connection is admitted.
func (c *call) checkConnectionLimit() error {
	now, limit := c.s.broker.Connections()
	if limit > 0 && now >= limit {
		return c.failed("node connection limit is reached", object{"connections": now, "limit": limit})
	}
	return c.ok(object{"status": "ok", "connections": now, "limit": limitOrInfinity(limit)})
}

func limitOrInfinity(n int) any {
	if n > 0 {
		return n
	}
	return "infinity"
}

// getNothing lists what there is none of.
func (c *call) getNothing() error { return c.list(nil) }

// nothingToDo answers an act that one node has always done already.
func (c *call) nothingToDo() error { return c.done(false) }
