package ctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// nodeName asks how the broker calls itself.
func (t *tool) nodeName() (string, error) {
	var o overview
	err := t.get("/overview", &o)
	return o.Node, t.explain(err, exitUnavailable)
}

// health asks a health check; what it finds wrong is an error in its own words.
func (t *tool) health(check string, answer any) error {
	err := t.get("/health/checks/"+check, answer)
	if statusOf(err) == http.StatusServiceUnavailable {
		return exitf(exitUnavailable, "%s", err.(*apiError).reason)
	}
	return t.explain(err, exitUnavailable)
}

type checkRunning struct{}

func (v *checkRunning) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("Checking if RabbitMQ is running on node %s ...", node)
	if err := t.health("is-in-service", nil); err != nil {
		return err
	}
	t.print.line("RabbitMQ on node %s is fully booted and running", node)
	return nil
}

type isRunning struct{}

func (v *isRunning) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("Asking node %s for its status ...", node)
	if t.health("is-in-service", nil) != nil {
		t.print.line("RabbitMQ on node %s is stopped", node)
		return nil
	}
	t.print.line("RabbitMQ on node %s is fully booted and running", node)
	return nil
}

type isBooting struct{}

func (v *isBooting) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("Asking node %s for its boot status ...", node)
	t.print.line("RabbitMQ on node %s is fully booted (check with is_running), stopped or has not started booting yet", node)
	return nil
}

// alarm is what the API says of one.
type alarm struct {
	Resource string      `json:"resource"`
	Value    json.Number `json:"value"`
	Limit    json.Number `json:"limit"`
	Blocked  json.Number `json:"blocked_connections"`
	Reason   string      `json:"reason"`
}

func (t *tool) alarms() ([]alarm, error) {
	var list []alarm
	err := t.get("/alarms", &list)
	return list, t.explain(err, exitUnavailable)
}

type checkAlarms struct{}

func (v *checkAlarms) Run(t *tool) error { return t.checkAlarms("no alarms, local or clusterwide") }

type checkLocalAlarms struct{}

func (v *checkLocalAlarms) Run(t *tool) error { return t.checkAlarms("no local alarms") }

func (t *tool) checkAlarms(none string) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("Asking node %s to report any local resource alarms ...", node)
	list, err := t.alarms()
	if err != nil {
		return err
	}
	if len(list) == 0 {
		t.print.line("Node %s reported %s", node, none)
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Node %s reported the following alarms:", node)
	for _, a := range list {
		fmt.Fprintf(&b, "\n%s: %s", a.Resource, a.Reason)
	}
	return exitf(exitUnavailable, "%s", b.String())
}

type showAlarms struct{}

func (v *showAlarms) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("Asking node %s to report any known resource alarms ...", node)
	list, err := t.alarms()
	if err != nil {
		return err
	}
	if len(list) == 0 {
		t.print.line("Node %s reported no alarms, local or clusterwide", node)
	}
	for _, a := range list {
		t.print.line("%s alarm on node %s: %s", a.Resource, node, a.Reason)
	}
	return nil
}

type checkPortListener struct {
	Port int `arg:"" name:"port"`
}

func (v *checkPortListener) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("Asking node %s if there's an active listener on port %d ...", node, v.Port)
	open, err := t.listeners()
	if err != nil {
		return err
	}
	var ports []string
	for _, l := range open {
		if l.Port.String() == strconv.Itoa(v.Port) {
			t.print.line("A listener for port %d is running on node %s.", v.Port, node)
			return nil
		}
		ports = append(ports, l.Port.String())
	}
	return exitf(exitUnavailable, "No listener for port %d is active on node %s. Found listeners that use the following ports: %s", v.Port, node, strings.Join(ports, ", "))
}

type checkProtocolListener struct {
	Protocol string `arg:"" name:"protocol"`
}

func (v *checkProtocolListener) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("Asking node %s if there's an active listener for protocol %s ...", node, v.Protocol)
	err = t.get(path("health", "checks", "protocol-listener", v.Protocol), nil)
	if statusOf(err) == http.StatusServiceUnavailable {
		open, err := t.listeners()
		if err != nil {
			return err
		}
		var protocols []string
		for _, l := range open {
			if !slices.Contains(protocols, l.Protocol) {
				protocols = append(protocols, l.Protocol)
			}
		}
		return exitf(exitUnavailable, "No listener for protocol %s is active on node %s. Found listeners for the following protocols: %s", v.Protocol, node, strings.Join(protocols, ", "))
	} else if err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.print.line("A listener for protocol %s is running on node %s.", v.Protocol, node)
	return nil
}

// dialWithin is how long a connection to a listener may take.
const dialWithin = 10 * time.Second

type checkPortConnectivity struct {
	Address string `name:"address" placeholder:"HOST" help:"Where to connect, if not where the management API is."`
}

func (v *checkPortConnectivity) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("Testing TCP connections to all active listeners on node %s ...", node)
	open, err := t.listeners()
	if err != nil {
		return err
	}
	var ports []string
	for _, l := range open {
		host := v.Address
		if host == "" {
			host = t.hostFor(l.Address)
		}
		nc, err := net.DialTimeout("tcp", net.JoinHostPort(host, l.Port.String()), dialWithin)
		if err != nil {
			return exitf(exitUnavailable, "Connection to the listener of protocol %s failed: %v", l.Protocol, err)
		}
		nc.Close()
		if !slices.Contains(ports, l.Port.String()) {
			ports = append(ports, l.Port.String())
		}
	}
	t.print.line("Successfully connected to ports %s on node %s.", strings.Join(ports, ", "), node)
	return nil
}

type checkVirtualHosts struct{}

func (v *checkVirtualHosts) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("Checking if all vhosts are running on node %s ...", node)
	if err := t.health("virtual-hosts", nil); err != nil {
		return err
	}
	t.print.line("Node %s reported all vhosts as running", node)
	return nil
}

type checkCertificateExpiration struct {
	Within int    `name:"within" default:"4" placeholder:"N" help:"How many units ahead to look. [4]"`
	Unit   string `name:"unit" default:"weeks" enum:"days,weeks,months,years" placeholder:"UNIT" help:"days, weeks, months or years. [weeks]"`
}

func (v *checkCertificateExpiration) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("Checking certificate expiration on node %s ...", node)
	if err := t.health(fmt.Sprintf("certificate-expiration/%d/%s", v.Within, v.Unit), nil); err != nil {
		return err
	}
	t.print.line("No certificates are expiring within %d %s.", v.Within, v.Unit)
	return nil
}

type nodeHealthCheck struct{}

func (v *nodeHealthCheck) Run(t *tool) error {
	node, err := t.nodeName()
	if err != nil {
		return err
	}
	t.print.banner("This command is DEPRECATED and will be removed in a future version.\n" +
		"It performs intrusive, opinionated health checks and requires a fully booted node.\n" +
		"Use one of the options covered in https://www.rabbitmq.com/monitoring.html#health-checks instead.")
	t.print.banner("Timeout: %.0f seconds ...", t.http.Timeout.Seconds())
	t.print.banner("Checking health of node %s ...", node)
	for _, check := range []string{"is-in-service", "local-alarms", "virtual-hosts"} {
		if err := t.health(check, nil); err != nil {
			return err
		}
	}
	t.print.line("Health check passed")
	return nil
}

// await waits until the health check called check holds.
func (t *tool) await(check string) error {
	var deadline <-chan time.Time
	if t.http.Timeout > 0 {
		deadline = time.After(t.http.Timeout)
	}
	for {
		err := t.get("/health/checks/"+check, nil)
		var e *exitError
		if err == nil {
			return nil
		} else if !errors.As(err, &e) && statusOf(err) != http.StatusServiceUnavailable {
			return t.explain(err, exitUnavailable)
		}
		select {
		case <-deadline:
			return exitf(exitTimeout, "still waiting after %v:\n%v", t.http.Timeout, err)
		case <-time.After(retryEvery):
		}
	}
}

type wait struct {
	PIDFile string `arg:"" name:"pidfile" optional:"" help:"Taken as rabbitmqctl takes it; the broker itself is asked."`
	PID     int    `name:"pid" short:"P" placeholder:"PID" help:"Taken as rabbitmqctl takes it."`
}

func (v *wait) Run(t *tool) error {
	t.print.banner("Waiting for applications 'rabbit_and_plugins' to start at %s", t.where())
	if err := t.await("ready-to-serve-clients"); err != nil {
		return err
	}
	t.print.line("Applications 'rabbit_and_plugins' are running at %s", t.where())
	return nil
}

type awaitOnline struct {
	Count int `arg:"" name:"count" optional:"" default:"1"`
}

func (v *awaitOnline) Run(t *tool) error {
	if v.Count > 1 {
		return exitf(exitTimeout, "there is one node, which is all there will be; %d were asked for", v.Count)
	}
	t.print.banner("Will wait for at least %d nodes to join the cluster ...", v.Count)
	return t.await("ready-to-serve-clients")
}
