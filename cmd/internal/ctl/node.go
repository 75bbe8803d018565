package ctl

import (
	"encoding/json"
	"fmt"
	"net"
	"sort"
	"strconv"
	"time"
)

type ping struct{}

func (v *ping) Run(t *tool) error {
	t.print.banner("Will ping the broker at %s ...", t.where())
	// The version is told to everybody: a ping needs no user.
	if err := t.get("/version", nil); err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.print.line("Ping succeeded")
	return nil
}

type awaitStartup struct{}

// retryEvery is how often await_startup looks.
const retryEvery = 100 * time.Millisecond

func (v *awaitStartup) Run(t *tool) error {
	t.print.banner("Waiting for the broker at %s ...", t.where())
	return t.await("ready-to-serve-clients")
}

type showVersion struct{}

func (v *showVersion) Run(t *tool) error {
	var o overview
	if err := t.get("/overview", &o); err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.print.line("%s", o.ProductVersion)
	return nil
}

// openPort is a listener.
type openPort struct {
	Protocol string      `json:"protocol"`
	Address  string      `json:"ip_address"`
	Port     json.Number `json:"port"`
}

func (t *tool) listeners() ([]openPort, error) {
	var o overview
	err := t.get("/overview", &o)
	return o.Listeners, t.explain(err, exitUnavailable)
}

// text is the listener as rabbitmqctl shows it.
func (l openPort) text() string {
	return fmt.Sprintf("interface: %s, port: %s, protocol: %s, purpose: %s", bracketed(l.Address), l.Port, l.Protocol, purpose(l.Protocol))
}

func (l openPort) object(node string) map[string]any {
	return map[string]any{"node": node, "protocol": l.Protocol, "interface": bracketed(l.Address), "port": l.Port, "purpose": purpose(l.Protocol)}
}

type overview struct {
	ProductName    string                 `json:"product_name"`
	ProductVersion string                 `json:"product_version"`
	RabbitVersion  string                 `json:"rabbitmq_version"`
	ClusterName    string                 `json:"cluster_name"`
	Node           string                 `json:"node"`
	Runtime        string                 `json:"erlang_full_version"`
	QueueTotals    map[string]any         `json:"queue_totals"`
	ObjectTotals   map[string]json.Number `json:"object_totals"`
	Listeners      []openPort             `json:"listeners"`
}

type node struct {
	PID       string      `json:"os_pid"`
	UptimeMS  json.Number `json:"uptime"`
	MemUsed   json.Number `json:"mem_used"`
	MemLimit  json.Number `json:"mem_limit"`
	MemAlarm  bool        `json:"mem_alarm"`
	DiskAlarm bool        `json:"disk_free_alarm"`
	FDUsed    json.Number `json:"fd_used"`
	FDTotal   json.Number `json:"fd_total"`
}

type status struct{}

func (v *status) Run(t *tool) error {
	var o overview
	if err := t.get("/overview", &o); err != nil {
		return t.explain(err, exitUnavailable)
	}
	var n node
	if err := t.get(path("nodes", o.Node), &n); err != nil {
		return t.explain(err, exitUnavailable)
	}
	alarms := []string{}
	if n.MemAlarm {
		alarms = append(alarms, "memory")
	}
	if n.DiskAlarm {
		alarms = append(alarms, "disk")
	}
	if t.print.format == "json" {
		listeners := []map[string]any{}
		for _, l := range o.Listeners {
			listeners = append(listeners, l.object(o.Node))
		}
		pid, _ := strconv.Atoi(n.PID)
		uptime, _ := n.UptimeMS.Int64()
		t.print.document(map[string]any{
			"rabbitmq_version": o.RabbitVersion, "product_name": o.ProductName, "product_version": o.ProductVersion,
			"runtime": o.Runtime, "cluster_name": o.ClusterName, "pid": pid, "uptime": uptime / 1000,
			"alarms": alarms, "listeners": listeners, "totals": o.ObjectTotals, "queue_totals": o.QueueTotals,
			"memory":           map[string]any{"total": map[string]any{"rss": n.MemUsed}, "strategy": "rss"},
			"memory_limit":     n.MemLimit,
			"file_descriptors": map[string]any{"total_used": n.FDUsed, "total_limit": n.FDTotal},
		})
		return nil
	}
	t.print.banner("Status of node %s ...", o.Node)
	t.print.line("Runtime\n")
	t.print.line("OS PID: %s\nUptime (seconds): %s\nProduct: %s %s\nSpeaks as RabbitMQ: %s\nRuntime: %s\nCluster name: %s",
		n.PID, seconds(n.UptimeMS), o.ProductName, o.ProductVersion, o.RabbitVersion, o.Runtime, o.ClusterName)
	t.print.line("\nAlarms\n")
	if len(alarms) == 0 {
		t.print.line("(none)")
	}
	for _, a := range alarms {
		t.print.line("%s", a)
	}
	t.print.line("\nMemory\n\nUsed: %s bytes\nLimit: %s bytes", n.MemUsed, n.MemLimit)
	t.print.line("\nFile Descriptors\n\nTotal: %s, limit: %s", n.FDUsed, n.FDTotal)
	t.print.line("\nTotals\n")
	names := make([]string, 0, len(o.ObjectTotals))
	for name := range o.ObjectTotals {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		t.print.line("%s: %s", name, o.ObjectTotals[name])
	}
	t.print.line("\nListeners\n")
	for _, l := range o.Listeners {
		t.print.line("I%s", l.text()[1:])
	}
	return nil
}

func seconds(ms json.Number) string {
	n, _ := ms.Int64()
	return fmt.Sprint(n / 1000)
}

// bracketed writes an IPv6 address as addresses with a port have it.
func bracketed(addr string) string {
	if ip := net.ParseIP(addr); ip != nil && ip.To4() == nil {
		return "[" + addr + "]"
	}
	return addr
}

// purpose says what a listener is for.
func purpose(protocol string) string {
	if p, ok := purposes[protocol]; ok {
		return p
	}
	return protocol
}

var purposes = map[string]string{
	"amqp": "AMQP 0-9-1", "amqp/ssl": "AMQP 0-9-1 over TLS", "http": "HTTP API", "https": "HTTP API over TLS (HTTPS)",
	"mqtt": "MQTT", "mqtt/ssl": "MQTT over TLS", "stomp": "STOMP", "stomp/ssl": "STOMP over TLS",
	"http/web-mqtt": "MQTT over WebSockets", "https/web-mqtt": "MQTT over WebSockets and TLS (HTTPS)",
	"http/web-stomp": "STOMP over WebSockets", "https/web-stomp": "STOMP over WebSockets and TLS (HTTPS)",
	"http/prometheus": "Prometheus exporter API over HTTP", "https/prometheus": "Prometheus exporter API over TLS (HTTPS)",
}

type setClusterName struct {
	Name string `arg:"" name:"name"`
}

func (v *setClusterName) Run(t *tool) error {
	t.print.banner("Setting cluster name to %s ...", v.Name)
	return t.explain(t.put("/cluster-name", map[string]any{"name": v.Name}), exitUnavailable)
}
