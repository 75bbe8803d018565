package shovel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"leveret/core"
)

// component is what parameters of shovels are called.
const component = "shovel"

func init() { core.RegisterComponent(component, check) }

// ackMode says when a message is let go of at its source.
type ackMode string

const (
	onConfirm ackMode = "on-confirm" // When the destination has confirmed it: nothing is lost.
	onPublish ackMode = "on-publish" // When it has been sent.
	noAck     ackMode = "no-ack"     // When it has come.
)

// What src-delete-after can be beside a number.
const (
	deleteNever       = -1
	deleteQueueLength = -2 // After as many as the queue holds when the shovel starts.
)

// Defaults of RabbitMQ's dynamic shovels.
const (
	defaultPrefetch       = 1000
	defaultReconnectDelay = 5 * time.Second
)

// config is a shovel as its parameter describes it.
type config struct {
	vhost, name, user string

	src struct {
		uris        []URI
		queue       string
		exchange    string
		key         string
		queueArgs   core.Table // It is declared with, if it does not exist.
		args        core.Table // Of the consumer.
		predeclared bool       // A queue that does not exist is an error.
		prefetch    int        // 0 for no limit.
		deleteAfter int64      // Messages, deleteNever or deleteQueueLength.
		// remember has the parameter keep up with the offset that a stream was
		// read to. Our own: RabbitMQ begins again.
		remember bool
	}
	dest struct {
		uris           []URI
		queue          string
		exchange, key  *string // nil for the message's own.
		queueArgs      core.Table
		predeclared    bool
		forwardHeaders bool
		timestamp      bool
		properties     map[string]any // To set, by name.
		// keepOrigin leaves messages the exchange and key that they were once
		// published with, though they go straight to the queue. Our own, and for
		// a local destination only: no client could do it.
		keepOrigin bool
	}
	ack       ackMode
	reconnect time.Duration // 0: it is not tried again.
}

// problems are what is wrong with a parameter, in RabbitMQ's words.
type problems []string

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

// check is how core asks whether a parameter can be a shovel.
func check(b *core.Broker, d core.ParameterDef) error {
	c, err := parse(d)
	if err != nil {
		return err
	}
	if d.User == "" {
		return nil // Of a file, which an administrator brought.
	}
	for _, u := range append(slices.Clone(c.src.uris), c.dest.uris...) {
		if u.Local() && u.User == "" && !b.Auth().HasVHost(d.User, u.VHost) {
			return invalid(problems{fmt.Sprintf("user %q may not connect to vhost %q", d.User, u.VHost)})
		}
	}
	return nil
}

func invalid(p problems) error {
	return core.Errorf(core.Invalid, "Validation failed\n\n%s\n", strings.Join(p, "\n"))
}

// parse reads a parameter. Its error is of kind Invalid.
func parse(d core.ParameterDef) (*config, error) {
	dec := json.NewDecoder(strings.NewReader(d.Value))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, invalid(problems{"the value is no JSON"})
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, invalid(problems{fmt.Sprintf("%s not a list", d.Name)})
	}
	c := &config{vhost: d.VHost, name: d.Name, user: d.User, ack: onConfirm, reconnect: defaultReconnectDelay}
	r := &reader{name: d.Name, left: maps.Clone(m)}
	r.combinations(m)
	for _, key := range []string{"src-protocol", "dest-protocol"} {
		r.protocol(key)
	}
	if n, ok := r.number("reconnect-delay"); ok {
		c.reconnect = time.Duration(n * float64(time.Second))
	}
	if s, ok := r.enum("ack-mode", string(noAck), string(onPublish), string(onConfirm)); ok {
		c.ack = ackMode(s)
	}
	c.readSource(r)
	c.readDestination(r)
	if len(r.left) > 0 {
		var terms []string
		for _, k := range slices.Sorted(maps.Keys(r.left)) {
			terms = append(terms, fmt.Sprintf("{%s,%s}", erlang(k), erlang(r.left[k])))
		}
		r.problems.add("Unrecognised terms [%s] in %s", strings.Join(terms, ","), d.Name)
	}
	if len(r.problems) > 0 {
		return nil, invalid(r.problems)
	}
	return c, nil
}

func (c *config) readSource(r *reader) {
	s := &c.src
	s.uris = r.uris("src-uri")
	s.exchange, _ = r.text("src-exchange")
	s.key, _ = r.text("src-exchange-key")
	s.queue, _ = r.text("src-queue")
	s.queueArgs = r.table("src-queue-args")
	s.args = r.table("src-consumer-args")
	s.predeclared = r.boolean("src-predeclared")
	s.remember = r.boolean("src-remember-offset")
	s.prefetch = defaultPrefetch
	for _, key := range []string{"prefetch-count", "src-prefetch-count"} {
		if n, ok := r.number(key); ok {
			s.prefetch = int(min(max(n, 0), 65535))
		}
	}
	s.deleteAfter = deleteNever
	for _, key := range []string{"delete-after", "src-delete-after"} {
		r.deleteAfter(key, &s.deleteAfter)
	}
}

func (c *config) readDestination(r *reader) {
	d := &c.dest
	d.uris = r.uris("dest-uri")
	if s, ok := r.text("dest-exchange"); ok {
		d.exchange = &s
	}
	if s, ok := r.text("dest-exchange-key"); ok {
		d.key = &s
	}
	if s, ok := r.text("dest-queue"); ok {
		d.queue = s
		d.exchange, d.key = new(string), &s
	}
	d.queueArgs = r.table("dest-queue-args")
	d.predeclared = r.boolean("dest-predeclared")
	d.keepOrigin = r.boolean("dest-keep-origin")
	for _, prefix := range []string{"", "dest-"} { // The old names come first: the new ones win.
		d.forwardHeaders = r.boolean(prefix+"add-forward-headers") || d.forwardHeaders
		d.timestamp = r.boolean(prefix+"add-timestamp-header") || d.timestamp
		if p := r.properties(prefix + "publish-properties"); p != nil {
			d.properties = p
		}
	}
}

// reader takes keys out of a parameter and collects what is wrong with them.
type reader struct {
	name     string
	left     map[string]any // Not yet read.
	problems problems
}

// take removes key. It reports false if it is not there.
func (r *reader) take(key string) (any, bool) {
	v, ok := r.left[key]
	delete(r.left, key)
	return v, ok
}

// combinations checks what only shows in several keys together.
func (r *reader) combinations(m map[string]any) {
	has := func(key string) bool { s, ok := m[key].(string); return ok && s != "none" }
	both := func(a, b string, must bool) {
		switch {
		case has(a) && has(b):
			r.problems.add("Cannot specify '%s' and '%s'", a, b)
		case must && !has(a) && !has(b):
			r.problems.add("Must specify '%s' or '%s'", a, b)
		}
	}
	both("src-exchange", "src-queue", true)
	both("dest-exchange", "dest-queue", false)
	after, ok := m["src-delete-after"]
	if !ok {
		after = m["delete-after"]
	}
	if _, number := after.(json.Number); number && m["ack-mode"] == string(noAck) {
		r.problems.add("Cannot specify 'no-ack' and numerical 'delete-after'")
	}
}

// protocol refuses what is not AMQP 0-9-1.
func (r *reader) protocol(key string) {
	v, ok := r.take(key)
	switch {
	case !ok || v == "amqp091":
	case v == "amqp10":
		r.problems.add("%s amqp10: this broker does not speak AMQP 1.0; use amqp091", key)
	default:
		r.problems.add("%s should be one of [amqp091], actually was %s", key, erlang(v))
	}
}

func (r *reader) number(key string) (float64, bool) {
	v, ok := r.take(key)
	if !ok {
		return 0, false
	}
	if n, is := v.(json.Number); is {
		if f, err := n.Float64(); err == nil && f >= 0 && f < 1<<31 {
			return f, true
		}
	}
	r.problems.add("%s should be number, actually was %s", key, erlang(v))
	return 0, false
}

func (r *reader) text(key string) (string, bool) {
	v, ok := r.take(key)
	if !ok {
		return "", false
	}
	s, is := v.(string)
	if !is {
		r.problems.add("%s should be binary, actually was %s", key, erlang(v))
	}
	return s, is
}

func (r *reader) boolean(key string) bool {
	v, ok := r.take(key)
	b, is := v.(bool)
	if ok && !is {
		r.problems.add("%s should be boolean, actually was %s", key, erlang(v))
	}
	return b
}

func (r *reader) enum(key string, values ...string) (string, bool) {
	v, ok := r.take(key)
	if !ok {
		return "", false
	}
	if s, is := v.(string); is && slices.Contains(values, s) {
		return s, true
	}
	r.problems.add("%s should be one of ['%s'], actually was %s", key, strings.Join(values, "','"), erlang(v))
	return "", false
}

func (r *reader) deleteAfter(key string, after *int64) {
	v, ok := r.take(key)
	if !ok {
		return
	}
	switch v {
	case "never":
		*after = deleteNever
		return
	case "queue-length":
		*after = deleteQueueLength
		return
	}
	if n, is := v.(json.Number); is {
		if i, err := n.Int64(); err == nil && i >= 0 {
			*after = i
			return
		}
	}
	r.problems.add(`%s should be a number greater than or equal to 0, "never" or "queue-length", actually was %s`, key, erlang(v))
}

// uris reads one URI or a list of them. What is wrong is told without the URI:
// it may hold a password.
func (r *reader) uris(key string) []URI {
	v, ok := r.take(key)
	if !ok {
		r.problems.add("Key %q not found in %s", key, r.name)
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var uris []URI
	for _, v := range list {
		s, ok := v.(string)
		if !ok {
			r.problems.add("%s should be binary, actually was %s", key, erlang(v))
			continue
		}
		u, err := ParseURI(s)
		if err != nil {
			r.problems.add("%s is not a valid URI: %v", key, err)
			continue
		}
		uris = append(uris, u)
	}
	if len(list) == 0 {
		r.problems.add("%s should be a non-empty list of URIs", key)
	}
	return uris
}

func (r *reader) table(key string) core.Table {
	v, ok := r.take(key)
	if !ok {
		return nil
	}
	var t core.Table
	raw, err := json.Marshal(v)
	if err == nil {
		err = t.UnmarshalJSON(raw)
	}
	if err != nil {
		r.problems.add("%s should be a JSON object, actually was %s", key, erlang(v))
	}
	return t
}

// properties reads which properties messages are to get.
func (r *reader) properties(key string) map[string]any {
	v, ok := r.take(key)
	if !ok {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		r.problems.add("%s should be a JSON object, actually was %s", key, erlang(v))
		return nil
	}
	for name, v := range m {
		if err := setProperty(new(core.Properties), name, v); err != nil {
			r.problems.add("%s: %v", key, err)
		}
	}
	return m
}

// erlang writes v as RabbitMQ's error texts have it, but for what looks like an
// address with a password: the texts end up in logs.
func erlang(v any) string {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, "@") {
			return "<<...>>"
		}
		return `<<"` + v + `">>`
	case json.Number:
		return v.String()
	case []any:
		var b strings.Builder
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(erlang(e))
		}
		return "[" + b.String() + "]"
	case map[string]any:
		var b strings.Builder
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(erlang(k) + " => " + erlang(v[k]))
		}
		return "#{" + b.String() + "}"
	}
	return fmt.Sprint(v)
}

// withOffset returns a parameter's value with the stream to be read from offset
// on.
func withOffset(value string, offset int64) (string, error) {
	dec := json.NewDecoder(strings.NewReader(value))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil && err != io.EOF {
		return "", err
	}
	args, _ := m["src-consumer-args"].(map[string]any)
	if args == nil {
		args = map[string]any{}
	}
	args["x-stream-offset"] = offset
	m["src-consumer-args"] = args
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return "", err
	}
	return strings.TrimSpace(b.String()), nil
}
