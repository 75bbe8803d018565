package config

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Origin says where a value comes from.
type Origin struct {
	Kind string // One of the kinds below.
	At   string // "rabbitmq.conf:12", "RABBITMQ_DEFAULT_USER", "--heartbeat"; "" for a default.
	Key  string // The key in a file, as written.
}

// The kinds of origins; each beats those before it.
const (
	FromDefault     = "default"
	FromFile        = "file"
	FromEnvironment = "environment"
	FromFlag        = "flag"
)

func (o Origin) String() string {
	switch o.Kind {
	case FromDefault:
		return "default"
	case FromFile:
		return o.At + " " + o.Key
	}
	return o.Kind + " " + o.At
}

// Note is a line of the configuration that changes nothing, and why.
type Note struct {
	Problem
	Key string
}

// Report is what was found while settings were collected.
type Report struct {
	Files   []string  // That were read, in order.
	Unknown []Problem // Keys and variables that nobody knows: --strict refuses them.
	Missing []Note    // What is asked for and not there: --strict refuses it too.
	Idle    []Note    // What has nothing to change here.
	Odd     []Problem // What may not be meant as it is written.

	origins map[string]Origin // By flag; those that are not there are defaults.
	boot    []Value           // Settings that are no flags, as printed.
}

// Refusal is a configuration that must not be served.
type Refusal struct{ Problems []Problem }

func (r *Refusal) Error() string {
	var b strings.Builder
	b.WriteString("the configuration is not accepted:")
	for _, p := range r.Problems {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

// The places where a configuration is looked for if none is named.
const (
	defaultFile = "/etc/leveret/leveret.conf"
	defaultDir  = "/etc/leveret/conf.d"
)

// Load adds to s, which holds flags, LEVERET_ variables and defaults, what
// configuration files and RABBITMQ_ variables say. given has the names of the
// flags that stand on the command line: those, and LEVERET_ variables, win.
// The error is a *Refusal that lists all that is wrong.
func Load(s *Serve, given map[string]bool) (*Report, error) {
	l := &loader{
		s: s, given: given, environ: os.Environ(),
		report: &Report{origins: map[string]Origin{}}, assigned: map[string]*assigned{}, parts: map[string]*addrParts{},
	}
	l.files()
	for _, e := range l.entries {
		l.entry(e)
	}
	l.finishFiles()
	l.environment()
	l.plugins()
	l.apply()
	if s.Strict {
		l.wrong = append(l.wrong, l.report.Unknown...)
		for _, n := range l.report.Missing {
			l.wrong = append(l.wrong, Problem{n.At, n.Key + " asks for what is not there: " + n.Text})
		}
	}
	if len(l.wrong) > 0 {
		return l.report, &Refusal{l.wrong}
	}
	return l.report, nil
}

// assigned is what files and RABBITMQ_ variables say about one setting.
type assigned struct {
	text   string
	origin Origin
	// Of a list made by numbered keys: which they are, and what each says.
	pattern string
	members []string
	items   []string
}

// addrParts is an address whose IP and port have keys of their own.
type addrParts struct{ ip, port string }

// loader is one run of Load.
type loader struct {
	s       *Serve
	given   map[string]bool
	environ []string
	report  *Report

	entries  []Entry
	assigned map[string]*assigned
	parts    map[string]*addrParts
	wrong    []Problem

	// What takes more than one key to know.
	verifyPeer, needCert bool
	verifyAt             Origin
	listenerSSL          bool // management.listener.ssl
	listenerFiles        []Entry
	loopback             []string
	tlsVersions          []string
	backends             map[int][2]string // auth_backends: authn and authz
	signingKeys          map[string]string
	scopeAliases         map[string]string
	aliases              map[string][2]string // auth_oauth2.scope_aliases.N: alias and scope
	importFrom           string               // definitions.import_backend
	importAt             Origin
	consoleOff           bool
	consoleTo            string // log.console.stdio
}

func (l *loader) getenv(name string) (string, bool) {
	for _, e := range slices.Backward(l.environ) {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v, true
		}
	}
	return "", false
}

// refuse notes what is wrong at a place.
func (l *loader) refuse(at string, err error) {
	l.wrong = append(l.wrong, Problem{at, err.Error()})
}

// files reads the files: those of --config or LEVERET_CONFIG, else those of
// RABBITMQ_CONFIG_FILE and _FILES, else ours in /etc. Only files that were
// asked for with a flag or variable of ours have to exist.
func (l *loader) files() {
	var r reader
	must := func(at, name string) {
		info, err := os.Stat(name)
		switch {
		case err != nil:
		case info.IsDir():
			if err = r.dir(name); err == nil {
				err = r.dir(filepath.Join(name, "conf.d"))
			}
		default:
			err = r.file(name)
		}
		if err != nil {
			l.refuse(at, err)
		}
	}
	may := func(at, name string) {
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
			must(at, name)
		}
	}
	named, given := l.s.Config, "--config"
	if !l.given["config"] {
		given = "LEVERET_CONFIG"
	}
	file, hasFile := l.getenv("RABBITMQ_CONFIG_FILE")
	more, hasMore := l.getenv("RABBITMQ_CONFIG_FILES")
	switch {
	case len(named) > 0:
		for _, name := range named {
			must(given, name)
		}
	case hasFile && file != "" || hasMore && more != "":
		if file != "" {
			// RabbitMQ puts .conf behind the name itself.
			if _, err := os.Stat(file); err != nil && filepath.Ext(file) != ".conf" {
				file += ".conf"
			}
			may("RABBITMQ_CONFIG_FILE", file)
		}
		switch {
		case more == "":
			may("RABBITMQ_CONFIG_FILE", filepath.Join(filepath.Dir(file), "conf.d"))
		case strings.ContainsAny(more, "*?["):
			names, err := filepath.Glob(more)
			for _, name := range names {
				if err == nil {
					err = r.file(name)
				}
			}
			if err != nil {
				l.refuse("RABBITMQ_CONFIG_FILES", err)
			}
		default:
			may("RABBITMQ_CONFIG_FILES", more)
		}
	default:
		may(defaultFile, defaultFile)
		may(defaultDir, defaultDir)
	}
	l.entries, l.report.Files, l.report.Odd = r.entries, r.files, r.odd
	l.wrong = append(l.wrong, r.problems...)

	var advanced []string
	if a, ok := l.getenv("RABBITMQ_ADVANCED_CONFIG_FILE"); ok && a != "" {
		advanced = append(advanced, a)
	}
	for _, name := range r.files {
		advanced = append(advanced, filepath.Join(filepath.Dir(name), "advanced.config"))
	}
	slices.Sort(advanced)
	for _, name := range slices.Compact(advanced) {
		if _, err := os.Stat(name); err == nil {
			l.report.Missing = append(l.report.Missing, Note{Problem{name, "advanced.config is NOT read: write what it says as keys of rabbitmq.conf"}, "advanced.config"})
		}
	}
}

// entry finds out what one line is about.
func (l *loader) entry(e Entry) {
	at := Origin{FromFile, e.Pos.String(), e.Key}
	fail := func(err error) {
		if err != nil {
			l.refuse(at.At, fmt.Errorf("%s: %w", e.Key, err))
		}
	}
	if e.Words[0] == strings.TrimSuffix(ownPrefix, ".") {
		for _, f := range fields() {
			if f.key() == e.Key {
				if f.flag == "config" {
					fail(errors.New("a configuration file cannot name others; write include FILE"))
					return
				}
				if err := l.assign(f.flag, e.Value, at); err != nil {
					fail(err)
				}
				return
			}
		}
		l.unknown(e)
		return
	}
	for i := range specials {
		if stars, ok := matches(specials[i].pattern, e.Words); ok {
			fail(specials[i].do(l, e, stars, at))
			return
		}
	}
	for _, f := range fields() {
		for i := range f.keys {
			k := &f.keys[i]
			if stars, ok := matches(k.pattern, e.Words); ok {
				fail(l.bound(f, k, strings.Join(stars, "."), e.Value, at))
				return
			}
			// listeners.tcp = none, where listeners.tcp.N is the key.
			if n := len(k.pattern) - 1; n > 0 && k.pattern[n] == "*" && e.Value == "none" && slices.Equal(k.pattern[:n], e.Words) {
				fail(l.bound(f, &boundKey{how: k.how}, "", e.Value, at))
				return
			}
		}
	}
	if !isRabbitKey(e.Words) {
		l.unknown(e)
		return
	}
	if hasTLSFile(e.Words) {
		l.listenerFiles = append(l.listenerFiles, e)
		return
	}
	r := ruleFor(e.Words)
	if r == nil { // TestEveryKeyHasItsFate knows none.
		l.unknown(e)
		return
	}
	n := Note{Problem{at.At, r.text}, e.Key}
	if r.fate == Missing && !slices.Contains(r.fine, e.Value) {
		l.report.Missing = append(l.report.Missing, n)
	} else {
		l.report.Idle = append(l.report.Idle, n)
	}
}

// tlsFiles are the flags of what RabbitMQ can have another file of for each
// listener.
var tlsFiles = map[string]string{"certfile": "tls-cert", "keyfile": "tls-key", "cacertfile": "tls-ca"}

// hasTLSFile reports whether words are such a key of a listener.
func hasTLSFile(words []string) bool {
	n := len(words)
	return n > 2 && tlsFiles[words[n-1]] != "" && strings.HasPrefix(words[n-2], "ssl") &&
		slices.Contains([]string{"management", "prometheus", "web_mqtt", "web_stomp"}, words[0])
}

// listenerTLS takes the files of single listeners for all, as far as that
// contradicts nothing.
func (l *loader) listenerTLS() {
	for _, e := range l.listenerFiles {
		flag, at := tlsFiles[e.Words[len(e.Words)-1]], Origin{FromFile, e.Pos.String(), e.Key}
		switch a := l.assigned[flag]; {
		case a == nil:
			if err := l.assign(flag, e.Value, at); err != nil {
				l.refuse(at.At, fmt.Errorf("%s: %w", e.Key, err))
			}
		case a.text != e.Value:
			l.report.Missing = append(l.report.Missing, Note{Problem{at.At, ruleFor(e.Words).text}, e.Key})
		}
	}
}

// unknown notes a key that nobody has, and what may be meant.
func (l *loader) unknown(e Entry) {
	text := e.Key + " is no key that RabbitMQ or leveret knows"
	if near := nearest(e.Key, names(e.Words, ownKeys())); near != "" {
		text += "; did you mean " + near + "?"
	}
	l.report.Unknown = append(l.report.Unknown, Problem{e.Pos.String(), text})
}

// ownKeys yields the keys that are flags' names.
func ownKeys() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, f := range fields() {
			if !yield(f.key()) {
				return
			}
		}
	}
}

// try parses text as f without changing anything.
func (l *loader) try(f *field, text string) error { return f.set(new(Serve), text) }

// bound sets f as one of RabbitMQ's keys says. member is what stood for the
// pattern's *, "" if it has none.
func (l *loader) bound(f *field, k *boundKey, member, text string, at Origin) error {
	switch k.how {
	case "ip", "port":
		return l.part(f, k.how, text, at)
	}
	if k.word != "" {
		return l.word(f, k.word, text, at)
	}
	translate, ok := translations[k.how]
	if !ok {
		return fmt.Errorf("the conf tag of --%s knows no %q", f.flag, k.how)
	}
	text, err := translate(text)
	if err == nil {
		err = l.try(f, text)
	}
	if err != nil {
		return err
	}
	pattern := strings.Join(k.pattern, ".")
	a := l.assigned[f.flag]
	if member == "" || a == nil || a.pattern != pattern {
		a = &assigned{pattern: pattern}
		l.assigned[f.flag] = a
	}
	a.origin = at
	if member == "" {
		a.text = text
		return nil
	}
	if i := slices.Index(a.members, member); i >= 0 {
		a.items[i] = text
	} else {
		a.members, a.items = append(a.members, member), append(a.items, text)
	}
	a.text = strings.Join(a.items, ",")
	return nil
}

// word puts a word into the list f, or takes it out.
func (l *loader) word(f *field, word, text string, at Origin) error {
	is, err := parseBool(text)
	if err != nil {
		return err
	}
	a := l.assigned[f.flag]
	if a == nil || a.pattern != "=" {
		a = &assigned{pattern: "="}
		l.assigned[f.flag] = a
	}
	a.items = slices.DeleteFunc(a.items, func(w string) bool { return w == word })
	if is {
		a.items = append(a.items, word)
	}
	a.origin, a.text = at, strings.Join(a.items, ",")
	if a.text == "" {
		a.text = "none"
	}
	return nil
}

// partPorts are the ports of addresses of which only the IP is given.
var partPorts = map[string]string{
	"amqp-addr": "5672", "http-addr": "15672", "https-addr": "15671", "web-mqtt-addr": "15675", "web-mqtt-tls-addr": "15676",
	"web-stomp-addr": "15674", "web-stomp-tls-addr": "15673", "prometheus-addr": "15692", "prometheus-tls-addr": "15691",
}

// part sets the IP or the port of an address.
func (l *loader) part(f *field, which, text string, at Origin) error {
	p := l.parts[f.flag]
	if p == nil {
		p = &addrParts{port: partPorts[f.flag]}
		l.parts[f.flag] = p
	}
	if which == "ip" {
		p.ip = strings.Trim(text, "[]")
	} else {
		p.port = text
	}
	addr := p.ip + ":" + p.port
	if strings.Contains(p.ip, ":") {
		addr = "[" + p.ip + "]:" + p.port
	}
	if _, err := address(f.key(), addr); err != nil {
		return fmt.Errorf("%q is no %s", text, map[string]string{"ip": "IP address", "port": "port"}[which])
	}
	l.assigned[f.flag] = &assigned{text: addr, origin: at}
	return nil
}

// assign sets a field from code rather than from a tag.
func (l *loader) assign(flag, text string, at Origin) error {
	if err := l.try(fieldNamed(flag), text); err != nil {
		return err
	}
	l.assigned[flag] = &assigned{text: text, origin: at}
	return nil
}

// apply sets the fields that neither flags nor LEVERET_ variables have set, and
// notes where everything comes from.
func (l *loader) apply() {
	for _, f := range fields() {
		_, inEnv := l.getenv(f.env)
		a := l.assigned[f.flag]
		switch {
		case l.given[f.flag]:
			l.report.origins[f.flag] = Origin{FromFlag, "--" + f.flag, ""}
		case f.env != "" && inEnv:
			l.report.origins[f.flag] = Origin{FromEnvironment, f.env, ""}
		case a != nil:
			if err := f.set(l.s, a.text); err != nil {
				l.refuse(a.origin.At, fmt.Errorf("%s: %w", a.origin.Key, err))
				continue
			}
			l.report.origins[f.flag] = a.origin
		}
	}
}

// explicit reports whether a flag or LEVERET_ variable decides a setting.
func (l *loader) explicit(f *field) bool {
	_, inEnv := l.getenv(f.env)
	return l.given[f.flag] || inEnv
}

// Explain adds to an error of Resolve, which names flags, where their values
// come from. Those from files and RABBITMQ_ variables make it a *Refusal.
func (r *Report) Explain(err error) error {
	if err == nil {
		return nil
	}
	for flag, o := range r.origins {
		if (o.Kind == FromFile || o.Kind == FromEnvironment) && regexp.MustCompile("--"+flag+`\b([^-]|$)`).MatchString(err.Error()) {
			at := o.At
			if o.Key != "" {
				at += ": " + o.Key
			}
			return &Refusal{[]Problem{{at, err.Error()}}}
		}
	}
	return err
}

// Log says what of the configuration has no effect.
func (r *Report) Log(log *slog.Logger) {
	for _, name := range r.Files {
		log.Debug("configuration read", slog.String("file", name))
	}
	for _, p := range r.Unknown {
		log.Warn("unknown setting, ignored", slog.String("at", p.At), slog.String("what", p.Text))
	}
	for _, p := range r.Odd {
		log.Warn("setting that may not be what was meant", slog.String("at", p.At), slog.String("what", p.Text))
	}
	// One line for each thing that is not there, however many keys are about it.
	var texts []string
	about := map[string][]string{}
	for _, n := range r.Missing {
		if about[n.Text] == nil {
			texts = append(texts, n.Text)
		}
		about[n.Text] = append(about[n.Text], n.Key+" ("+n.At+")")
	}
	for _, text := range texts {
		log.Warn("setting without effect: leveret does not have this", slog.String("instead", text), slog.String("keys", strings.Join(about[text], ", ")))
	}
	if len(r.Idle) > 0 {
		keys := make([]string, 0, len(r.Idle))
		for _, n := range r.Idle {
			keys = append(keys, n.Key)
			log.Debug("setting without effect", slog.String("at", n.At), slog.String("key", n.Key), slog.String("why", n.Text))
		}
		log.Info("settings accepted that have nothing to change here; with the log level debug each is explained", slog.String("keys", strings.Join(keys, ", ")))
	}
}
