package core

import (
	"slices"
	"strings"
)

// deathReason says why a message left its queue for a dead-letter exchange.
type deathReason uint8

const (
	deathRejected deathReason = iota
	deathExpired
	deathMaxLength
	deathDeliveryLimit
)

func (r deathReason) String() string {
	return [4]string{"rejected", "expired", "maxlen", "delivery_limit"}[r]
}

// Headers that tell of a message's deaths.
const (
	headerDeaths     = "x-death"
	headerFirstDeath = "x-first-death-"
	headerLastDeath  = "x-last-death-"
	headerCC         = "CC"
)

// deaths is the history of a message: a row for each queue and reason, the most
// recent first, as the x-death header has it.
type deaths []any

// deathsOf returns what m went through. What a publisher says in such a header
// is no history: only a message that the broker itself wrote it into has one.
func deathsOf(m *Message, headers Table) deaths {
	if !m.Died {
		return nil
	}
	v, _ := headers.Get(headerDeaths)
	rows, _ := v.([]any)
	return rows
}

func rowText(row any, name string) string {
	t, _ := row.(Table)
	v, _ := t.Get(name)
	s, _ := v.(string)
	return s
}

// with returns d with one more death in queue for reason. The first of its kind
// gives its row everything but the count.
func (d deaths) with(first Table, queue, reason string) deaths {
	out := make(deaths, 1, len(d)+1)
	for _, row := range d {
		if rowText(row, "queue") != queue || rowText(row, "reason") != reason || out[0] != nil {
			out = append(out, row)
			continue
		}
		t, _ := row.(Table)
		n, _ := t.Get("count")
		count, _ := Integer(n)
		out[0] = t.With("count", count+1)
	}
	if out[0] == nil {
		out[0] = first
	}
	return out
}

// cycle reports whether the history shows that a message on its way to queue
// would go round for ever: it has been there, and nobody rejected it since.
func (d deaths) cycle(queue string) bool {
	for _, row := range d {
		if rowText(row, "reason") == deathRejected.String() {
			return false
		}
		if rowText(row, "queue") == queue {
			return true
		}
	}
	return false
}

// textsOf returns the strings of an array in a header.
func textsOf(headers Table, name string) (texts []string) {
	v, _ := headers.Get(name)
	list, _ := v.([]any)
	for _, e := range list {
		if s, ok := e.(string); ok {
			texts = append(texts, s)
		}
	}
	return texts
}

// obituary says how messages died. What does not depend on the message is made
// once for all those that died of the same, where they had come the same way.
type obituary struct {
	queue, reason string
	nowMS         int64
	newKey        bool // Further routing keys go, as another key takes their place.

	// Of messages that died for the first time, published with exchange and key,
	// with no further keys and no expiration.
	exchange, key string
	headers       Table
	history       deaths
}

// write returns the properties of m after its death, and its history.
func (o *obituary) write(m *Message) (*Properties, deaths) {
	p := *m.Properties()
	p.HeadersSet = true
	if !m.Died && p.Expiration == nil && !slices.ContainsFunc(p.Headers, func(f Field) bool {
		return f.Name == headerCC || strings.HasPrefix(f.Name, "x-")
	}) {
		if o.headers == nil || o.exchange != m.Exchange || o.key != m.RoutingKey {
			o.exchange, o.key = m.Exchange, strings.Clone(m.RoutingKey)
			o.headers, o.history = o.died(&Message{Exchange: o.exchange, RoutingKey: o.key}, &Properties{})
		}
		p.Headers = append(append(make(Table, 0, len(p.Headers)+len(o.headers)), p.Headers...), o.headers...)
		return &p, o.history
	}
	var history deaths
	p.Headers, history = o.died(m, &p)
	p.Expiration = nil
	return &p, history
}

// died returns the headers of m, whose properties are p, after its death.
func (o *obituary) died(m *Message, p *Properties) (Table, deaths) {
	cc := textsOf(p.Headers, headerCC)
	keys := []any{m.RoutingKey}
	for _, k := range cc {
		keys = append(keys, k)
	}
	var first Table
	if p.Expiration != nil {
		first = Table{{"original-expiration", *p.Expiration}}
	}
	first = append(first, Table{
		{"count", int64(1)}, {"reason", o.reason}, {"queue", o.queue}, {"time", Timestamp(o.nowMS / 1000)},
		{"exchange", m.Exchange}, {"routing-keys", keys},
	}...)
	history := deathsOf(m, p.Headers).with(first, o.queue, o.reason)

	headers := make(Table, 0, len(p.Headers)+7)
	headers = append(headers, p.Headers...)
	if o.newKey && len(cc) > 0 {
		headers = headers.Without(headerCC)
	}
	set := func(name string, value any) {
		i := slices.IndexFunc(headers, func(f Field) bool { return f.Name == name })
		if i < 0 {
			headers = append(headers, Field{name, value})
		} else {
			headers[i].Value = value
		}
	}
	for _, f := range [...]Field{{"reason", o.reason}, {"queue", o.queue}, {"exchange", m.Exchange}} {
		if !m.Died {
			set(headerFirstDeath+f.Name, f.Value)
		}
		set(headerLastDeath+f.Name, f.Value)
	}
	set(headerDeaths, []any(history))
	return headers, history
}
