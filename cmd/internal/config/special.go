package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// special is a key, or a family of them, that takes more than a tag.
type special struct {
	pattern []string
	do      func(l *loader, e Entry, stars []string, at Origin) error
}

func onKey(pattern string, do func(l *loader, e Entry, stars []string, at Origin) error) special {
	return special{strings.Split(pattern, "."), do}
}

var specials = []special{
	onKey("loopback_users", func(l *loader, e Entry, _ []string, at Origin) error {
		if e.Value != "none" {
			return fmt.Errorf("%q is not none; write loopback_users.NAME = true", e.Value)
		}
		l.loopback = nil
		return l.assign("loopback-users", "none", at)
	}),
	onKey("loopback_users.*", func(l *loader, e Entry, stars []string, at Origin) error {
		is, err := parseBool(e.Value)
		if err != nil {
			return err
		}
		l.loopback = slices.DeleteFunc(l.loopback, func(u string) bool { return u == stars[0] })
		if is {
			l.loopback = append(l.loopback, stars[0])
		}
		if len(l.loopback) == 0 {
			return l.assign("loopback-users", "none", at)
		}
		return l.assign("loopback-users", strings.Join(l.loopback, ","), at)
	}),

	onKey("auth_backends.*", func(l *loader, e Entry, stars []string, at Origin) error {
		return l.backend(e, at, stars[0], 0)
	}),
	onKey("auth_backends.*.authn", func(l *loader, e Entry, stars []string, at Origin) error {
		return l.backend(e, at, stars[0], 0)
	}),
	onKey("auth_backends.*.authz", func(l *loader, e Entry, stars []string, at Origin) error {
		return l.backend(e, at, stars[0], 1)
	}),
	onKey("auth_oauth2.signing_keys.*", func(l *loader, e Entry, stars []string, at Origin) error {
		return l.pair(&l.signingKeys, "oauth2-signing-keys", stars[0], e.Value, at)
	}),
	onKey("auth_oauth2.scope_aliases.*", func(l *loader, e Entry, stars []string, at Origin) error {
		return l.pair(&l.scopeAliases, "oauth2-scope-aliases", stars[0], e.Value, at)
	}),
	onKey("auth_oauth2.scope_aliases.*.*", func(l *loader, e Entry, stars []string, at Origin) error {
		if l.aliases == nil {
			l.aliases = make(map[string][2]string)
		}
		a := l.aliases[stars[0]]
		switch stars[1] {
		case "alias":
			a[0] = e.Value
		case "scope":
			a[1] = e.Value
		default:
			l.unknown(e)
			return nil
		}
		l.aliases[stars[0]] = a
		if a[0] == "" || a[1] == "" {
			return l.remember(e, at)
		}
		return l.pair(&l.scopeAliases, "oauth2-scope-aliases", a[0], a[1], at)
	}),

	onKey("ssl_options.verify", func(l *loader, e Entry, _ []string, at Origin) (err error) {
		if e.Value != "verify_peer" && e.Value != "verify_none" {
			return fmt.Errorf("%q is neither verify_peer nor verify_none", e.Value)
		}
		l.verifyPeer, l.verifyAt = e.Value == "verify_peer", at
		return nil
	}),
	onKey("ssl_options.fail_if_no_peer_cert", func(l *loader, e Entry, _ []string, at Origin) (err error) {
		if l.needCert, err = parseBool(e.Value); l.verifyAt.Kind == "" {
			l.verifyAt = at
		}
		return err
	}),
	onKey("ssl_options.versions.*", func(l *loader, e Entry, _ []string, at Origin) error {
		switch e.Value {
		case "tlsv1.3", "tlsv1.2":
			l.tlsVersions = append(l.tlsVersions, strings.TrimPrefix(e.Value, "tlsv"))
		case "tlsv1.1", "tlsv1":
			l.report.Missing = append(l.report.Missing, Note{Problem{at.At, "TLS before 1.2: its clients are refused"}, e.Key})
			return nil
		default:
			return fmt.Errorf("%q is not one of tlsv1.2, tlsv1.3", e.Value)
		}
		return l.assign("tls-min", slices.Min(l.tlsVersions), at)
	}),

	onKey("management.listener.ssl", func(l *loader, e Entry, _ []string, at Origin) (err error) {
		l.listenerSSL, err = parseBool(e.Value)
		return err
	}),

	// In RabbitMQ log.console and log.console.stdio are two settings, here one.
	onKey("log.console", func(l *loader, e Entry, _ []string, at Origin) error {
		is, err := parseBool(e.Value)
		switch a := l.assigned["log-console"]; {
		case err != nil:
			return err
		case !is:
			l.consoleOff = true
			return l.assign("log-console", "none", at)
		case l.consoleOff || a == nil:
			l.consoleOff = false
			return l.assign("log-console", cmp.Or(l.consoleTo, "stderr"), at)
		}
		return nil
	}),
	onKey("log.console.stdio", func(l *loader, e Entry, _ []string, at Origin) error {
		if e.Value != "stdout" && e.Value != "stderr" {
			return fmt.Errorf("%q is neither stdout nor stderr", e.Value)
		}
		if l.consoleTo = e.Value; l.consoleOff {
			return nil
		}
		return l.assign("log-console", e.Value, at)
	}),
	onKey("log.connection.level", logLevel),
	onKey("log.queue.level", logLevel),
	onKey("log.default.level", logLevel),

	onKey("definitions.import_backend", func(l *loader, e Entry, _ []string, at Origin) error {
		switch e.Value {
		case "local_filesystem", "rabbit_definitions_import_local_filesystem":
			l.importFrom = "local"
		case "https", "rabbit_definitions_import_https":
			l.importFrom = "https"
		default:
			return fmt.Errorf("%q is neither local_filesystem nor https", e.Value)
		}
		l.importAt = at
		return nil
	}),

	onKey("default_user_tags.*", func(l *loader, e Entry, stars []string, at Origin) error {
		is, err := parseBool(e.Value)
		if err != nil {
			return err
		}
		b := &l.s.Boot
		if b.UserTags == nil {
			b.UserTags = []string{}
		}
		b.UserTags = slices.DeleteFunc(b.UserTags, func(t string) bool { return t == stars[0] })
		if is {
			b.UserTags = append(b.UserTags, stars[0])
		}
		return l.remember(e, at)
	}),
	onKey("default_permissions.*", func(l *loader, e Entry, stars []string, at Origin) error {
		if _, err := regexp.Compile(e.Value); err != nil {
			return fmt.Errorf("%q is no regular expression: %w", e.Value, err)
		}
		p := l.s.Boot.Permission
		if p == nil {
			p = &Permission{".*", ".*", ".*"}
			l.s.Boot.Permission = p
		}
		switch stars[0] {
		case "configure":
			p.Configure = e.Value
		case "write":
			p.Write = e.Value
		case "read":
			p.Read = e.Value
		default:
			l.unknown(e)
			return nil
		}
		return l.remember(e, at)
	}),
	onKey("default_users.*.*", func(l *loader, e Entry, stars []string, at Origin) error {
		u := findOrAdd(&l.s.Boot.Users, stars[0], func(u *DefaultUser) *string { return &u.Name })
		if stars[1] != "password" && stars[1] != "tags" {
			if _, err := regexp.Compile(e.Value); err != nil {
				return fmt.Errorf("%q is no regular expression: %w", e.Value, err)
			}
		}
		switch stars[1] {
		case "vhost_pattern":
			u.VHosts = e.Value
		case "password":
			u.Password = e.Value
		case "configure":
			u.Permission.Configure = e.Value
		case "write":
			u.Permission.Write = e.Value
		case "read":
			u.Permission.Read = e.Value
		case "tags":
			u.Tags = splitList(e.Value)
		default:
			l.unknown(e)
			return nil
		}
		return l.remember(e, at)
	}),
	onKey("default_limits.vhosts.*.*", func(l *loader, e Entry, stars []string, at Origin) (err error) {
		d := findOrAdd(&l.s.Boot.Limits, stars[0], func(d *DefaultLimit) *string { return &d.ID })
		switch stars[1] {
		case "pattern":
			d.VHosts = e.Value
			_, err = regexp.Compile(e.Value)
		case "max_connections":
			d.MaxConnections, err = positive(e.Value)
		case "max_queues":
			d.MaxQueues, err = positive(e.Value)
		default:
			l.unknown(e)
			return nil
		}
		return errors.Join(err, l.remember(e, at))
	}),
	onKey("default_policies.operator.*.*", func(l *loader, e Entry, stars []string, at Origin) (err error) {
		p := findOrAdd(&l.s.Boot.OperatorPolicies, stars[0], func(p *DefaultPolicy) *string { return &p.ID })
		var n int64
		switch stars[1] {
		case "vhost_pattern":
			p.VHosts = e.Value
			_, err = regexp.Compile(e.Value)
		case "queue_pattern":
			p.Queues = e.Value
			_, err = regexp.Compile(e.Value)
		case "apply_to":
			p.ApplyTo = e.Value
		case "expires", "message_ttl":
			d, bad := parseDuration(e.Value, 1e6)
			n, err = d.Milliseconds(), bad
		case "max_length", "delivery_limit":
			n, err = positive(e.Value)
		case "max_length_bytes":
			n, err = ParseSize(e.Value)
		case "max_in_memory_bytes", "max_in_memory_length":
			l.report.Idle = append(l.report.Idle, Note{Problem{at.At, otherEngine}, e.Key})
			return nil
		default:
			l.unknown(e)
			return nil
		}
		if err == nil && n > 0 {
			p.Definition[strings.ReplaceAll(stars[1], "_", "-")] = n
		}
		return errors.Join(err, l.remember(e, at))
	}),
}

// backend notes who is asked in step n of auth_backends: who the user is, at 0,
// or what it may do, at 1.
func (l *loader) backend(e Entry, at Origin, n string, place int) error {
	name, ok := backendNames[e.Value]
	if !ok {
		l.report.Missing = append(l.report.Missing, Note{Problem{at.At, "users are known to internal, http and oauth2 only"}, e.Key})
		return nil
	}
	number, err := strconv.Atoi(n)
	if err != nil {
		return fmt.Errorf("%q is no number", n)
	}
	if l.backends == nil {
		l.backends = make(map[int][2]string)
	}
	step := l.backends[number]
	step[place] = name
	l.backends[number] = step
	var list []string
	for _, number := range slices.Sorted(maps.Keys(l.backends)) {
		switch step := l.backends[number]; {
		case step[0] == "": // Its authn has yet to come.
		case step[1] == "" || step[1] == step[0]:
			list = append(list, step[0])
		default:
			list = append(list, step[0]+"+"+step[1])
		}
	}
	if len(list) == 0 {
		return l.remember(e, at)
	}
	return l.assign("auth-backends", strings.Join(list, ","), at)
}

// pair adds NAME=VALUE to a flag's list.
func (l *loader) pair(all *map[string]string, flag, name, value string, at Origin) error {
	if strings.Contains(name+value, ",") {
		return fmt.Errorf("%q must have no comma", name+"="+value)
	}
	if *all == nil {
		*all = make(map[string]string)
	}
	(*all)[name] = value
	var list []string
	for _, name := range slices.Sorted(maps.Keys(*all)) {
		list = append(list, name+"="+(*all)[name])
	}
	return l.assign(flag, strings.Join(list, ","), at)
}

// logLevel sets the level of a category.
func logLevel(l *loader, e Entry, _ []string, at Origin) error {
	level, err := translations["level"](e.Value)
	if err != nil {
		return err
	}
	category := e.Words[1] + "="
	a := l.assigned["log-levels"]
	if a == nil || a.pattern != "log" {
		a = &assigned{pattern: "log"}
		l.assigned["log-levels"] = a
	}
	a.items = slices.DeleteFunc(a.items, func(i string) bool { return strings.HasPrefix(i, category) })
	a.items = append(a.items, category+level)
	a.text, a.origin = strings.Join(a.items, ","), at
	return nil
}

// positive reads a limit.
func positive(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a number from 1", text)
	}
	return n, nil
}

// findOrAdd returns the item called name, new if there is none.
func findOrAdd[T any, P interface {
	*T
	init()
}](list *[]T, name string, nameOf func(*T) *string) *T {
	for i := range *list {
		if *nameOf(&(*list)[i]) == name {
			return &(*list)[i]
		}
	}
	var item T
	P(&item).init()
	*nameOf(&item) = name
	*list = append(*list, item)
	return &(*list)[len(*list)-1]
}

// remember notes a setting that is no flag for --print-config.
func (l *loader) remember(e Entry, at Origin) error {
	v := Value{Key: e.Key, Value: e.Value, Origin: at.Kind, Source: at.At, Secret: e.Words[len(e.Words)-1] == "password"}
	l.report.boot = slices.DeleteFunc(l.report.boot, func(have Value) bool { return have.Key == e.Key })
	l.report.boot = append(l.report.boot, v)
	return nil
}

// finishFiles sets what several keys decide together.
func (l *loader) finishFiles() {
	l.listenerTLS()
	if l.verifyAt.Kind != "" {
		how := "none"
		switch {
		case l.verifyPeer && l.needCert:
			how = "require"
		case l.verifyPeer:
			how = "peer"
		}
		l.assigned["tls-verify"] = &assigned{text: how, origin: l.verifyAt}
	}
	plain, secure := l.assigned["http-addr"], l.assigned["https-addr"]
	if l.listenerSSL && secure == nil {
		if plain == nil {
			plain = &assigned{text: ":15671", origin: Origin{FromFile, "", "management.listener.ssl"}}
		}
		l.assigned["https-addr"], secure, plain = plain, plain, nil
	}
	// As RabbitMQ: who configures only the one with TLS wants no other.
	if plain == nil && secure != nil && strings.HasPrefix(secure.origin.Key, "management.") {
		l.assigned["http-addr"] = &assigned{text: "none", origin: secure.origin}
	}
	if l.importFrom == "https" {
		if a := l.assigned["load-definitions"]; a == nil || a.origin.Key != "definitions.https.url" {
			l.refuse(l.importAt.At, errors.New("definitions.import_backend = https needs definitions.https.url"))
		}
	}
}
