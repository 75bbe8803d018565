package core

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"leveret/core/auth"
)

// EventKind says what has happened: to which kind of object, and what.
type EventKind string

// The kinds of events. Rows of the Registry that come and go are events too, of
// kinds made of theirs: see rowEvent.
const (
	QueueCreated           EventKind = "queue.created"
	QueueDeleted           EventKind = "queue.deleted"
	QueuePolicyUpdated     EventKind = "queue.policy.updated"
	QueuePolicyCleared     EventKind = "queue.policy.cleared"
	ExchangeCreated        EventKind = "exchange.created"
	ExchangeDeleted        EventKind = "exchange.deleted"
	BindingCreated         EventKind = "binding.created"
	BindingDeleted         EventKind = "binding.deleted"
	ConsumerCreated        EventKind = "consumer.created"
	ConsumerDeleted        EventKind = "consumer.deleted"
	VHostCreated           EventKind = "vhost.created"
	VHostDeleted           EventKind = "vhost.deleted"
	VHostLimitsSet         EventKind = "vhost.limits.set"
	VHostLimitsCleared     EventKind = "vhost.limits.cleared"
	UserCreated            EventKind = "user.created"
	UserDeleted            EventKind = "user.deleted"
	UserPasswordChanged    EventKind = "user.password.changed"
	UserPasswordCleared    EventKind = "user.password.cleared"
	UserTagsSet            EventKind = "user.tags.set"
	UserLimitsSet          EventKind = "user.limits.set"
	UserLimitsCleared      EventKind = "user.limits.cleared"
	LoginSucceeded         EventKind = "user.authentication.success"
	LoginFailed            EventKind = "user.authentication.failure"
	PermissionCreated      EventKind = "permission.created"
	PermissionDeleted      EventKind = "permission.deleted"
	TopicPermissionCreated EventKind = "topic.permission.created"
	TopicPermissionDeleted EventKind = "topic.permission.deleted"
	PolicySet              EventKind = "policy.set"
	PolicyCleared          EventKind = "policy.cleared"
	ParameterSet           EventKind = "parameter.set"
	ParameterCleared       EventKind = "parameter.cleared"
	AlarmSet               EventKind = "alarm.set"
	AlarmCleared           EventKind = "alarm.cleared"
)

// Event is something that has happened in the broker.
type Event struct {
	Kind   EventKind
	AtMS   int64  // Since 1970.
	By     string // The user who brought it about; "" for the broker itself.
	VHost  string // Where the object is; "" if it is in none.
	Name   string // The object's name; "" if Fields says which it is.
	Fields Table  // What else is known of it. Never a secret.
}

// eventsMax is how many events a stream keeps for a listener that is behind.
const eventsMax = 65_536

// EventStream is what one listener hears of the broker's events from its start
// on, in the order in which they happened to each object. Nobody waits for it:
// past some ten thousand events that it has not taken, further ones are lost.
type EventStream struct {
	broker *Broker
	wanted func() bool
	inbox  *inbox[*Event]
	once   sync.Once
}

// Events begins a stream. wanted, unless nil, is asked before each event is
// made: it is quick, takes no lock, and may be called with any lock held; while
// it says no, events pass without being counted as lost. Close the stream.
func (b *Broker) Events(wanted func() bool) *EventStream {
	s := &EventStream{broker: b, wanted: wanted, inbox: newInbox[*Event](eventsMax, 64<<20)}
	b.listeners.change(func(all []*EventStream) []*EventStream { return append(slices.Clip(all), s) })
	return s
}

// Ready has a token when there may be something to take.
func (s *EventStream) Ready() <-chan struct{} { return s.inbox.ready }

// Take returns the events that have come. They are shared: read only.
func (s *EventStream) Take() []*Event {
	es, _ := s.inbox.take()
	return es
}

// Lost is how many events were lost, as they came faster than they were taken.
func (s *EventStream) Lost() uint64 { return s.inbox.lost.Load() }

// Close ends the stream. Closing twice is harmless.
func (s *EventStream) Close() {
	s.once.Do(func() {
		s.broker.listeners.change(func(all []*EventStream) []*EventStream {
			return slices.DeleteFunc(slices.Clone(all), func(o *EventStream) bool { return o == s })
		})
		s.inbox.close()
	})
}

// listeners are the streams there are; nil while there is none.
type listeners struct {
	streams atomic.Pointer[[]*EventStream]
	mu      sync.Mutex // Held by change.
}

func (l *listeners) change(f func([]*EventStream) []*EventStream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*EventStream
	if p := l.streams.Load(); p != nil {
		all = *p
	}
	if all = f(all); len(all) == 0 {
		l.streams.Store(nil)
	} else {
		l.streams.Store(&all)
	}
}

// heard reports whether anyone wants events now. Whoever would have to build
// one asks first. It takes no lock.
func (b *Broker) heard() bool {
	all := b.listeners.streams.Load()
	if all == nil {
		return false
	}
	for _, s := range *all {
		if s.wanted == nil || s.wanted() {
			return true
		}
	}
	return false
}

// Emit tells everyone who listens of an event; AtMS is set if it is 0. Any lock
// may be held. It is for what happens in adapters: core emits its own.
func (b *Broker) Emit(e Event) {
	all := b.listeners.streams.Load()
	if all == nil {
		return
	}
	told := new(Event)
	*told = e
	if e.AtMS == 0 {
		told.AtMS = b.now()
	}
	for _, s := range *all {
		if s.wanted == nil || s.wanted() {
			s.inbox.put(told, 256)
		}
	}
}

// rowEvent tells of a row that has come or gone. Its event is called by its
// kind. No lock is held.
func (b *Broker) rowEvent(row *Row, what string, describe bool) {
	if !b.heard() {
		return
	}
	e := Event{Kind: EventKind(row.Kind + what), Name: row.Name}
	if s := row.Session; s != nil {
		e.VHost, e.By = s.vhost.name, s.User().Name
	}
	if describe && row.Attributes != nil {
		e.Fields = tableOfAny(row.Attributes())
	}
	if row.Parent != nil {
		e.Fields = append(e.Fields, Field{row.Parent.Kind, row.Parent.Name})
	}
	b.Emit(e)
}

// event tells of a consumer that has come or gone.
func (c *Consumer) event(kind EventKind) {
	s, o := c.session, c.queue.Options()
	if !s.broker.heard() {
		return
	}
	e := Event{Kind: kind, By: s.User().Name, VHost: s.vhost.name, Fields: Table{
		{"tag", c.opts.Tag}, {"queue", o.Name},
	}}
	if c.opts.Scope != "" {
		e.Fields = append(e.Fields, Field{"scope", c.opts.Scope})
	}
	if s.name != "" {
		e.Fields = append(e.Fields, Field{"connection", s.name})
	}
	if kind == ConsumerCreated {
		e.Fields = append(e.Fields, Field{"exclusive", c.opts.Exclusive}, Field{"ack_required", !c.opts.NoAck},
			Field{"prefetch_count", int64(c.opts.Prefetch)}, Field{"arguments", orEmpty(c.opts.Arguments)})
	}
	s.broker.Emit(e)
}

// tableOfAny is m as a table sorted by name; what a table cannot hold is left
// out.
func tableOfAny(m map[string]any) Table {
	t := make(Table, 0, len(m)+1)
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if v := valueOfAny(m[name]); v != nil {
			t = append(t, Field{name, v})
		}
	}
	return t
}

func valueOfAny(v any) any {
	if n, ok := Integer(v); ok {
		return n
	}
	switch v := v.(type) {
	case string, bool, float64, Table:
		return v
	case uint64:
		return int64(v)
	case map[string]any:
		return tableOfAny(v)
	case []any:
		out := make([]any, 0, len(v))
		for _, e := range v {
			if e = valueOfAny(e); e != nil {
				out = append(out, e)
			}
		}
		return out
	}
	return nil
}

func orEmpty(t Table) Table {
	if t == nil {
		return Table{}
	}
	return t
}

// definitionEvent tells of a change that was applied: c put what was not there,
// or removed what was, but for users and settings, of which every change is
// told. It is called with the locks of apply held.
func (b *Broker) definitionEvent(c *Change) {
	if b.heard() {
		if e := eventOf(c); e.Kind != "" {
			e.By = c.By
			b.Emit(e)
		}
	}
}

func either(c *Change, put, removed EventKind) EventKind {
	if c.Value != nil {
		return put
	}
	return removed
}

// eventOf has no kind for what is nobody's business.
func eventOf(c *Change) Event {
	var e Event
	switch c.Kind {
	case DefVHost:
		e.Kind, e.Name = either(c, VHostCreated, VHostDeleted), c.Key[0]
		if d, ok := c.Value.(VHostDef); ok {
			e.Fields = Table{{"description", d.Description}, {"tags", texts(d.Tags)}}
		}
	case DefQueue:
		e.Kind, e.VHost, e.Name = either(c, QueueCreated, QueueDeleted), c.Key[0], c.Key[1]
		if d, ok := c.Value.(QueueDef); ok {
			e.Fields = Table{
				{"durable", d.Durable}, {"auto_delete", d.AutoDelete}, {"exclusive", d.Exclusive},
				{"arguments", orEmpty(d.Arguments)}, {"type", string(d.Type)},
			}
		}
	case DefExchange:
		e.Kind, e.VHost, e.Name = either(c, ExchangeCreated, ExchangeDeleted), c.Key[0], c.Key[1]
		if d, ok := c.Value.(ExchangeDef); ok {
			e.Fields = Table{
				{"type", d.Type}, {"durable", d.Durable}, {"auto_delete", d.AutoDelete}, {"internal", d.Internal},
				{"arguments", orEmpty(d.Arguments)},
			}
		}
	case DefPermission:
		e.Kind, e.VHost = either(c, PermissionCreated, PermissionDeleted), c.Key[0]
		e.Fields = Table{{"user", c.Key[1]}}
		if d, ok := c.Value.(PermissionDef); ok {
			e.Fields = append(e.Fields, Field{"configure", d.Configure}, Field{"write", d.Write}, Field{"read", d.Read})
		}
	case DefTopicPermission:
		e.Kind, e.VHost = either(c, TopicPermissionCreated, TopicPermissionDeleted), c.Key[0]
		e.Fields = Table{{"user", c.Key[1]}, {"exchange", c.Key[2]}}
		if d, ok := c.Value.(TopicPermissionDef); ok {
			e.Fields = append(e.Fields, Field{"write", d.Write}, Field{"read", d.Read})
		}
	case DefPolicy, DefOperatorPolicy:
		e.Kind, e.VHost, e.Name = either(c, PolicySet, PolicyCleared), c.Key[0], c.Key[1]
		if d, ok := c.Value.(PolicyDef); ok {
			e.Fields = Table{{"pattern", d.Pattern}, {"apply-to", d.ApplyTo}, {"priority", int64(d.Priority)}, {"definition", jsonTableOf(d.Definition)}}
		}
	case DefParameter:
		e.Kind, e.VHost, e.Name = either(c, ParameterSet, ParameterCleared), c.Key[1], c.Key[2]
		// The value may hold a password: of a shovel's URI, for example.
		e.Fields = Table{{"component", c.Key[0]}}
	case DefGlobal:
		e.Kind, e.Name = either(c, ParameterSet, ParameterCleared), c.Key[0]
	case DefVHostLimit:
		e.Kind, e.Name = either(c, VHostLimitsSet, VHostLimitsCleared), c.Key[0]
		limit := Table{{c.Key[1], int64(-1)}}
		if d, ok := c.Value.(VHostLimitDef); ok {
			limit[0].Value = d.Value
		}
		e.Fields = Table{{"limits", limit}}
	}
	return e
}

// jsonTableOf is a JSON object as a table, empty if it is none.
func jsonTableOf(s string) Table {
	var t Table
	if json.Unmarshal([]byte(s), &t) != nil {
		return Table{}
	}
	return orEmpty(t)
}

func texts(ss []string) []any {
	out := make([]any, len(ss))
	for i, s := range ss {
		out[i] = s
	}
	return out
}

// bindingEvent tells of a binding that was made or removed.
func (v *VHost) bindingEvent(kind EventKind, b *binding, by string) {
	if !v.broker.heard() {
		return
	}
	dest := "queue"
	if b.dest.exchange != nil {
		dest = "exchange"
	}
	v.broker.Emit(Event{Kind: kind, By: by, VHost: v.name, Fields: Table{
		{"source_name", b.source.name}, {"source_kind", "exchange"}, {"destination_name", b.dest.name}, {"destination_kind", dest},
		{"routing_key", b.key}, {"arguments", orEmpty(b.args)},
	}})
}

// userEvents tells how a user has become what it is now; neither is there if it
// is new or deleted.
func (b *Broker) userEvents(name string, old, now *auth.User, by string) {
	if !b.heard() {
		return
	}
	tell := func(kind EventKind, fields ...Field) {
		b.Emit(Event{Kind: kind, By: by, Name: name, Fields: fields})
	}
	if now == nil {
		if old != nil {
			tell(UserDeleted)
		}
		return
	}
	if old == nil {
		tell(UserCreated)
		old = &auth.User{PasswordHash: now.PasswordHash}
	}
	switch {
	case old.PasswordHash == now.PasswordHash:
	case now.PasswordHash == "":
		tell(UserPasswordCleared)
	default:
		tell(UserPasswordChanged)
	}
	if !slices.Equal(old.Tags, now.Tags) {
		tell(UserTagsSet, Field{"tags", texts(now.Tags)})
	}
	for limit, n := range now.Limits {
		if o, ok := old.Limits[limit]; !ok || o != n {
			tell(UserLimitsSet, Field{"limits", Table{{limit, n}}})
		}
	}
	for limit := range old.Limits {
		if _, ok := now.Limits[limit]; !ok {
			tell(UserLimitsCleared, Field{"limits", limit})
		}
	}
}

// queuePolicyEvent tells that other policies apply to a queue.
func (v *VHost) queuePolicyEvent(d *destination) {
	if !v.broker.heard() {
		return
	}
	e := Event{Kind: QueuePolicyCleared, VHost: v.name, Name: d.name}
	if a := d.policy.Load().public(); a.Policy != "" || a.Operator != "" {
		e.Kind, e.Fields = QueuePolicyUpdated, Table{{"policy", a.Policy}, {"operator_policy", a.Operator}}
	}
	v.broker.Emit(e)
}

// loginEvent tells of a login, but for those of the management API: they come
// with each request.
func (b *Broker) loginEvent(c *Credentials, err error) {
	if c.Protocol == ProtocolHTTP || !b.heard() {
		return
	}
	name := strings.Clone(c.User[:min(len(c.User), attemptNameMax)])
	e := Event{Kind: LoginSucceeded, By: name, VHost: strings.Clone(c.VHost), Name: name, Fields: Table{{"protocol", c.Protocol}, {"peer_host", c.Peer}}}
	if err != nil {
		e.Kind = LoginFailed
		e.Fields = append(e.Fields, Field{"error", err.Error()})
	}
	b.Emit(e)
}

// alarmEvent tells of an alarm that was raised or is over.
func (b *Broker) alarmEvent(resource string, on bool) {
	kind := AlarmCleared
	if on {
		kind = AlarmSet
	}
	b.Emit(Event{Kind: kind, Fields: Table{{"source", resource}, {"node", b.node}}})
}
