package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// plugin is one of RabbitMQ's that listens somewhere or is not there.
type plugin struct {
	flags []string // Of the listeners it has.
	needs []string // Plugins that are on with it.
}

// listening are the plugins that open listeners, besides AMQP's own.
var listening = map[string]plugin{
	"rabbitmq_management": {flags: []string{"http-addr", "https-addr"}},
	"rabbitmq_mqtt":       {flags: []string{"mqtt-addr", "mqtt-tls-addr"}},
	"rabbitmq_web_mqtt":   {flags: []string{"web-mqtt-addr", "web-mqtt-tls-addr"}, needs: []string{"rabbitmq_mqtt"}},
	"rabbitmq_stomp":      {flags: []string{"stomp-addr", "stomp-tls-addr"}},
	"rabbitmq_web_stomp":  {flags: []string{"web-stomp-addr", "web-stomp-tls-addr"}, needs: []string{"rabbitmq_stomp"}},
	"rabbitmq_prometheus": {flags: []string{"prometheus-addr", "prometheus-tls-addr"}},
}

// builtIn are plugins whose work is done anyway, or has nothing to do here.
var builtIn = regexp.MustCompile(`^(rabbitmq_(management_agent|web_dispatch|.*_management|peer_discovery_.*|shovel|consistent_hash_exchange|random_exchange|recent_history_exchange|` +
	`sharding|event_exchange|auth_mechanism_ssl|web_(stomp|mqtt)_examples|amqp_client|delayed_message_exchange|message_deduplication|top|auth_backend_(internal_loopback|http|oauth2|cache)|oauth2_client)|amqp_client|cowboy|cowlib)$`)

// notHere are plugins that are missed, and what is instead.
var notHere = map[string]string{
	"rabbitmq_stream":              "the stream protocol of port 5552: streams are read and written over AMQP 0-9-1, MQTT and STOMP",
	"rabbitmq_amqp1_0":             "AMQP 1.0: its clients are refused; AMQP 0-9-1 is served on the same port",
	"rabbitmq_auth_backend_ldap":   "LDAP: auth_backends knows internal, http and oauth2",
	"rabbitmq_federation":          "federation: use a shovel",
	"rabbitmq_exchange_federation": "federation: use a shovel",
	"rabbitmq_queue_federation":    "federation: use a shovel",
	"rabbitmq_trust_store":         "the trust store plugin: clients' certificates are held against ssl_options.cacertfile",
	"rabbitmq_tracing":             "the tracing plugin writes no files here; the firehose exchange does its work",
	"rabbitmq_jms_topic_exchange":  "the exchange type x-jms-topic",
}

// parsePlugins reads the file enabled_plugins, an Erlang list of names:
//
//	[rabbitmq_management,rabbitmq_mqtt].
//
// and returns them with commas.
func parsePlugins(text string) (string, error) {
	var plain strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "%")
		plain.WriteString(line)
	}
	body := strings.TrimSuffix(strings.TrimSpace(plain.String()), ".")
	inside, ok := strings.CutPrefix(strings.TrimSpace(body), "[")
	if ok {
		inside, ok = strings.CutSuffix(inside, "]")
	}
	if !ok {
		return "", fmt.Errorf("this is no list of plugins; write [rabbitmq_management,rabbitmq_mqtt]")
	}
	var list []string
	for _, name := range splitList(inside) {
		name = strings.Trim(name, "'")
		if !pluginName.MatchString(name) {
			return "", fmt.Errorf("%q is no name of a plugin", shorten(name))
		}
		list = append(list, name)
	}
	if len(list) == 0 {
		return "none", nil
	}
	return strings.Join(list, ","), nil
}

var pluginName = regexp.MustCompile(`^[a-z][a-zA-Z0-9_]*$`)

// plugins closes the listeners of plugins that are not enabled, as far as
// neither a flag nor a LEVERET_ variable opens them.
func (l *loader) plugins() {
	f := fieldNamed("enabled-plugins")
	list, at := l.s.EnabledPlugins, Origin{FromFlag, "--enabled-plugins", ""}
	if a := l.assigned[f.flag]; a != nil && !l.explicit(f) {
		list, at = splitList(a.text), a.origin
	} else if !l.given[f.flag] {
		at = Origin{FromEnvironment, f.env, ""}
	}
	if only(list, "all") || only(list, "ALL") {
		return
	}
	on := map[string]bool{}
	for _, name := range list {
		on[name] = true
		for _, other := range listening[name].needs {
			on[other] = true
		}
		text, missing := notHere[name]
		switch {
		case missing:
			l.report.Missing = append(l.report.Missing, Note{Problem{at.At, text}, name})
		case listening[name].flags == nil && name != "none" && !builtIn.MatchString(name):
			l.report.Unknown = append(l.report.Unknown, Problem{at.At, "there is no plugin " + name})
		}
	}
	names := make([]string, 0, len(listening))
	for name := range listening {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if on[name] {
			continue
		}
		for _, flag := range listening[name].flags {
			f := fieldNamed(flag)
			if f == nil || l.explicit(f) {
				continue
			}
			l.assigned[flag] = &assigned{text: "none", origin: Origin{at.Kind, at.At, "without " + name}}
		}
	}
}
