package coretest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"leveret/core"
	"leveret/core/auth"
)

// Env is a broker under test: its clock stands still but for Advance, and what
// its consumers get is written down.
type Env struct {
	tb     testing.TB
	Broker *core.Broker
	nowMS  int64

	definitions *core.MemoryDefinitions
	log         *Log

	sessions map[string]*client
	current  *client

	mu   sync.Mutex // Workers of queues deliver too.
	seen []string
}

// client is a session with its publisher and consumers.
type client struct {
	env       *Env
	name      string
	session   *core.Session
	publisher *core.Publisher
	shared    core.Limiter
	consumers map[string]*consumer
	number    uint64
	client    *core.Client

	mu     sync.Mutex
	done   map[uint64]core.Kind
	bodies map[uint64]string
}

// held is a delivery that waits to be settled.
type held struct {
	holder *core.Holder
	seq    core.Seq
	body   string

	data     uint32
	released bool
	key      string
	props    *core.Properties
}

// consumer is a core.Outlet that writes down what it gets.
type consumer struct {
	client *client
	tag    string
	c      *core.Consumer
	noAck  bool
	room   int // Messages it still takes; negative for any number.
	waiter *core.Waiter
	held   []held
	slots  uint32 // Numbers for what is handed to it.
}

// NewEnv starts a broker with the user guest and the virtual host "/", and a
// session called "main". Its stores are in memory, and outlive it: see the
// command restart.
func NewEnv(tb testing.TB) *Env {
	e := &Env{tb: tb, nowMS: 1_000_000, definitions: core.NewMemoryDefinitions(), log: NewLog()}
	e.start()
	tb.Cleanup(func() { e.Broker.Close() })
	return e
}

func (e *Env) start() {
	b, err := core.New(core.Options{Definitions: e.definitions, Log: e.log, Now: func() int64 { return e.nowMS }})
	if err != nil {
		e.tb.Fatal(err)
	}
	e.Broker, e.sessions = b, map[string]*client{}
	if err := e.openSession(&arguments{words: []string{"main"}}); err != nil {
		e.tb.Fatal(err)
	}
}

// Advance moves the clock by d, firing what falls due on the way.
func (e *Env) Advance(d time.Duration) {
	e.nowMS += d.Milliseconds()
	e.Broker.Advance(e.nowMS)
}

// Session is the current session.
func (e *Env) Session() *core.Session { return e.current.session }

// Do runs one command and returns what was seen.
func (e *Env) Do(line string) []string {
	e.mu.Lock()
	e.seen = nil
	e.mu.Unlock()
	words := strings.Fields(line)
	a := arguments{words: words[1:]}
	run, ok := commands[words[0]]
	if !ok {
		e.tb.Fatalf("unknown command %q", line)
	}
	err := run(e, &a)
	e.Broker.Advance(e.nowMS) // Waits for what goes on beside the command.
	if err != nil {
		// Some of RabbitMQ's texts have line ends, which end a script's step.
		e.say("error: %s: %s", kindOf(err), strings.Join(strings.Fields(err.Error()), " "))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen
}

func kindOf(err error) string {
	if ce, ok := err.(*core.Error); ok {
		return ce.Kind.String()
	}
	return "other"
}

func (e *Env) say(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = append(e.seen, fmt.Sprintf(format, args...))
}

// arguments are a command's words.
type arguments struct{ words []string }

// next takes the next word that is neither k=v nor a flag taken before.
func (a *arguments) next() string {
	for i, w := range a.words {
		if !strings.Contains(w, "=") {
			a.words = slices.Delete(a.words, i, i+1)
			return unquote(w)
		}
	}
	return ""
}

// unquote lets a script write the empty string as "".
func unquote(w string) string {
	if w == `""` {
		return ""
	}
	return w
}

func (a *arguments) flag(name string) bool {
	if i := slices.Index(a.words, name); i >= 0 {
		a.words = slices.Delete(a.words, i, i+1)
		return true
	}
	return false
}

func (a *arguments) value(name, absent string) string {
	for i, w := range a.words {
		if v, ok := strings.CutPrefix(w, name+"="); ok {
			a.words = slices.Delete(a.words, i, i+1)
			return unquote(v)
		}
	}
	return absent
}

func (a *arguments) number(name string, absent int) int {
	n, err := strconv.Atoi(a.value(name, strconv.Itoa(absent)))
	if err != nil {
		return absent
	}
	return n
}

// table takes the remaining k=v words that begin with prefix, which is cut off
// unless it is to be kept.
func (a *arguments) table(prefix string, keep ...string) core.Table {
	var t core.Table
	var rest []string
	for _, w := range a.words {
		k, v, ok := strings.Cut(w, "=")
		if !ok || !strings.HasPrefix(k, prefix) {
			rest = append(rest, w)
			continue
		}
		t = append(t, core.Field{Name: strings.Join(keep, "") + strings.TrimPrefix(k, prefix), Value: scalar(v)})
	}
	a.words = rest
	return t
}

func scalar(v string) any {
	switch n, err := strconv.ParseInt(v, 10, 64); {
	case err == nil:
		return n
	case v == "true", v == "false":
		return v == "true"
	case v == "void":
		return nil
	}
	return unquote(v)
}

var commands = map[string]func(e *Env, a *arguments) error{
	"session":     (*Env).openSession,
	"use":         (*Env).use,
	"close":       (*Env).closeSession,
	"user":        (*Env).user,
	"vhost":       (*Env).vhost,
	"allow":       (*Env).allow,
	"allow-topic": (*Env).allowTopic,
	"exchange":    (*Env).exchange,
	"delete-exchange": func(e *Env, a *arguments) error {
		return e.current.session.DeleteExchange(a.next(), a.flag("if-unused"))
	},
	"queue":         (*Env).queue,
	"delete":        (*Env).delete,
	"purge":         (*Env).purge,
	"bind":          func(e *Env, a *arguments) error { return e.current.session.Bind(binding(a)) },
	"unbind":        func(e *Env, a *arguments) error { return e.current.session.Unbind(binding(a)) },
	"publish":       (*Env).publish,
	"consume":       (*Env).consume,
	"cancel":        (*Env).cancel,
	"room":          (*Env).setRoom,
	"prefetch":      (*Env).setPrefetch,
	"shared":        (*Env).setShared,
	"ack":           func(e *Env, a *arguments) error { return e.settle(core.Ack, a) },
	"requeue":       func(e *Env, a *arguments) error { return e.settle(core.Requeue, a) },
	"reject":        (*Env).reject,
	"get":           (*Env).get,
	"headers":       (*Env).headers,
	"advance":       (*Env).advance,
	"show":          (*Env).show,
	"info":          (*Env).info,
	"info-exchange": (*Env).exchangeInfo,

	"limit": func(e *Env, a *arguments) error {
		return e.Broker.SetVHostLimit(e.vhostName(), a.next(), int64(a.number("to", -1)))
	},
	"limit-user": func(e *Env, a *arguments) error {
		return e.Broker.SetUserLimit(a.next(), a.next(), int64(a.number("to", -1)))
	},

	"policy":                (*Env).policy,
	"operator-policy":       (*Env).operatorPolicy,
	"clear-policy":          func(e *Env, a *arguments) error { return e.Broker.ClearPolicy(e.vhostName(), a.next()) },
	"clear-operator-policy": func(e *Env, a *arguments) error { return e.Broker.ClearOperatorPolicy(e.vhostName(), a.next()) },
	"queues":                (*Env).queues,
	"consumers":             (*Env).consumersOf,
	"exchanges":             (*Env).exchanges,
	"bindings":              (*Env).bindings,

	"attach":      (*Env).attach,
	"detach":      (*Env).detach,
	"subscribe":   (*Env).subscribe,
	"unsubscribe": (*Env).unsubscribe,
	"clients":     (*Env).clients,
	"restart":     (*Env).restart,
	"hold":        func(e *Env, a *arguments) error { return e.hold(a, false) },
	"release":     func(e *Env, a *arguments) error { return e.hold(a, true) },
	"received":    (*Env).received,
	"forget":      (*Env).forget,
	"retained":    (*Env).retained,
	"feed":        (*Env).feed,
	"peek":        (*Env).peek,
	"move":        (*Env).move,
}

func (e *Env) openSession(a *arguments) error {
	name := a.next()
	user, ok := e.Broker.Auth().User(a.value("user", "guest"))
	if !ok {
		e.tb.Fatalf("session %s: no such user", name)
	}
	s, err := e.Broker.OpenSession(core.SessionOptions{VHost: a.value("vhost", "/"), User: user, Loopback: true})
	if err != nil {
		return err
	}
	c := &client{env: e, name: name, session: s, consumers: map[string]*consumer{}, done: map[uint64]core.Kind{}, bodies: map[uint64]string{}}
	c.publisher = s.NewPublisher(c)
	c.consumers["got"] = &consumer{client: c, tag: "got"}
	e.sessions[name] = c
	e.current = c
	return nil
}

func (e *Env) use(a *arguments) error {
	c, ok := e.sessions[a.next()]
	if !ok {
		e.tb.Fatal("use: no such session")
	}
	e.current = c
	return nil
}

func (e *Env) closeSession(a *arguments) error {
	name := a.next()
	c, ok := e.sessions[name]
	if !ok {
		e.tb.Fatalf("close: no session %s", name)
	}
	var t core.Touched
	tags := slices.Sorted(maps.Keys(c.consumers))
	for _, tag := range tags {
		if o := c.consumers[tag]; o.c != nil {
			o.c.Leave(&t)
		}
	}
	for _, tag := range tags {
		o := c.consumers[tag]
		for _, h := range o.held {
			h.holder.Settle(core.Fail, []core.Seq{h.seq}, &t)
		}
	}
	c.session.Close()
	t.Flush()
	delete(e.sessions, name)
	return nil
}

func (e *Env) user(a *arguments) error {
	name := a.next()
	return e.Broker.PutUser(core.UserDef{Name: name, Tags: a.words})
}

func (e *Env) allow(a *arguments) error {
	user, vhost := a.next(), a.value("vhost", e.current.session.VHost().Name())
	return e.Broker.SetPermission(user, vhost, auth.Permission{Configure: a.next(), Write: a.next(), Read: a.next()})
}

func (e *Env) allowTopic(a *arguments) error {
	user := a.next()
	return e.Broker.SetTopicPermission(user, e.current.session.VHost().Name(), auth.TopicPermission{Exchange: a.next(), Write: a.next(), Read: a.next()})
}

func (e *Env) exchange(a *arguments) error {
	d := core.ExchangeDeclare{Passive: a.flag("passive"), Durable: a.flag("durable"), AutoDelete: a.flag("auto-delete"), Internal: a.flag("internal"), Arguments: a.table("")}
	d.Name, d.Type = a.next(), a.next()
	return e.current.session.DeclareExchange(d)
}

func (e *Env) queue(a *arguments) error {
	d := core.QueueDeclare{Passive: a.flag("passive"), Durable: a.flag("durable"), Exclusive: a.flag("exclusive"), AutoDelete: a.flag("auto-delete"), Arguments: a.table("")}
	d.Name = a.next()
	q, err := e.current.session.DeclareQueue(d)
	if err == nil && d.Passive {
		e.say("%s: ready %d, consumers %d", q.Name, q.Ready, q.Consumers)
	}
	return err
}

func (e *Env) delete(a *arguments) error {
	unused, empty := a.flag("if-unused"), a.flag("if-empty")
	n, err := e.current.session.DeleteQueue(a.next(), unused, empty)
	if err == nil {
		e.say("deleted %d", n)
	}
	return err
}

func (e *Env) purge(a *arguments) error {
	n, err := e.current.session.PurgeQueue(a.next())
	if err == nil {
		e.say("purged %d", n)
	}
	return err
}

func binding(a *arguments) core.Binding {
	b := core.Binding{}
	if a.value("to", "queue") == "exchange" {
		b.DestinationKind = core.ToExchange
	}
	b.Arguments = a.table("")
	b.Source, b.Destination, b.Key = a.next(), a.next(), a.next()
	return b
}

// publish publishes each body as a message of its own, all in one batch.
func (e *Env) publish(a *arguments) error {
	c := e.current
	exchange, key := a.value("x", "\x00"), a.value("key", "")
	persistent := a.flag("persistent")
	ttl, priority := a.number("expiration", -1), a.number("priority", -1)
	cc := a.value("cc", "")
	once, retain := a.number("once", 0), a.flag("retain")
	headers := a.table("h:")
	if cc != "" {
		headers = append(headers, core.Field{Name: "CC", Value: []any{cc}})
	}
	if exchange == "\x00" {
		exchange, key = "", a.next()
	}
	target, err := c.publisher.Target(exchange)
	if err != nil {
		return err
	}
	batch := make([]core.Publication, len(a.words))
	for i, body := range a.words {
		m := &batch[i]
		m.Reset()
		m.RoutingKey, m.Body, m.Persistent, m.TTLMS = key, []byte(body), persistent, int64(ttl)
		if m.Retain = retain; len(body) == 2 && body == `""` {
			m.Body = nil
		}
		if once > 0 {
			m.Once = uint16(once + i)
		}
		if priority >= 0 {
			m.Priority, m.HasPriority = uint8(priority), true
		}
		if headers != nil || ttl >= 0 {
			p := &core.Properties{Headers: headers, HeadersSet: headers != nil}
			if ttl >= 0 {
				expiration := strconv.Itoa(ttl)
				p.Expiration = &expiration
			}
			m.SetProperties(p)
		}
		if cc != "" {
			m.SetExtraKeys([]string{cc})
		}
		r, err := c.publisher.Route(target, m)
		if err != nil {
			return err
		}
		if r.Unroutable() {
			e.say("unroutable %s", body)
		}
		if !m.Tracked() {
			continue
		}
		c.number++
		m.Number = c.number
		c.bodies[m.Number] = body
	}
	var t core.Touched
	c.publisher.Publish(batch, &t)
	t.Flush()
	for i := range batch {
		n := batch[i].Number
		if n == 0 {
			continue
		}
		c.mu.Lock()
		k, ok := c.done[n]
		c.mu.Unlock()
		switch {
		case !ok:
			e.say("unconfirmed %s", c.bodies[n])
		case k != core.OK:
			e.say("refused %s: %s", c.bodies[n], k)
		}
	}
	return nil
}

// Completed is core.Completer.
func (c *client) Completed(first, last uint64, k core.Kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := first; n <= last; n++ {
		if _, twice := c.done[n]; twice {
			c.env.tb.Errorf("publish %d completed twice", n)
		}
		c.done[n] = k
	}
}

func (e *Env) consume(a *arguments) error {
	c := e.current
	queue, tag := a.next(), a.next()
	o := &consumer{client: c, tag: tag, noAck: a.flag("noack"), room: a.number("room", -1)}
	opts := core.ConsumeOptions{
		Queue: queue, Tag: tag, NoAck: o.noAck, Exclusive: a.flag("exclusive"),
		Priority: a.number("priority", 0), Prefetch: a.number("prefetch", 0), Outlet: o, Arguments: a.table("x-", "x-"),
		Cancelled: func(_ *core.Consumer, reason string) { e.say("%s cancelled: %s", tag, reason) },
		TimedOut:  func(_ *core.Consumer, ms int64) { e.say("%s timed out after %dms", tag, ms) },
	}
	if n := a.number("shared", 0); n > 0 {
		var t core.Touched
		c.shared.SetLimit(n, &t)
		opts.Shared = &c.shared
	}
	consume := c.session.Consume
	if c.client != nil {
		consume = c.client.Consume
	}
	cons, err := consume(opts)
	if err != nil {
		return err
	}
	o.c = cons
	c.consumers[tag] = o
	var t core.Touched
	cons.Start(&t)
	t.Flush()
	e.Broker.Advance(e.nowMS) // What is in the log only is read meanwhile.
	return nil
}

func (e *Env) consumer(a *arguments) *consumer {
	tag := a.next()
	o := e.current.consumers[tag]
	if o == nil {
		e.tb.Fatalf("no consumer %s in session %s", tag, e.current.name)
	}
	return o
}

func (e *Env) cancel(a *arguments) error {
	var t core.Touched
	e.consumer(a).c.Cancel(&t)
	t.Flush()
	return nil
}

func (e *Env) setRoom(a *arguments) error {
	o := e.consumer(a)
	o.room, _ = strconv.Atoi(a.next())
	if w := o.waiter; w != nil {
		o.waiter = nil
		w.Wake()
	}
	return nil
}

func (e *Env) setPrefetch(a *arguments) error {
	o := e.consumer(a)
	n, _ := strconv.Atoi(a.next())
	var t core.Touched
	o.c.SetPrefetch(n, &t)
	t.Flush()
	return nil
}

func (e *Env) setShared(a *arguments) error {
	n, _ := strconv.Atoi(a.next())
	var t core.Touched
	e.current.shared.SetLimit(n, &t)
	t.Flush()
	return nil
}

// Room is core.Outlet.
func (o *consumer) Room(w *core.Waiter) bool {
	if o.room == 0 {
		o.waiter = w
		return false
	}
	return true
}

// Deliver is core.Outlet. Like a connection's buffer, it may overshoot its
// room by what one pass hands it.
func (o *consumer) Deliver(_ *core.Consumer, ds []core.Delivery) bool {
	for _, d := range ds {
		if o.room > 0 {
			o.room--
		}
		mark := ""
		if d.Redelivered {
			mark = " redelivered"
		}
		h := held{holder: &o.c.Holder, seq: d.Seq}
		if d.Resumed {
			mark = fmt.Sprintf(" resumed %d", d.Slot())
			h.data = d.Slot()
		} else {
			o.slots++
			h.data = o.slots
		}
		if h.released = d.Message == nil; h.released {
			h.body = fmt.Sprint("#", d.Slot())
		} else {
			h.body = string(d.Message.Body)
		}
		o.client.env.say("%s <- %s%s", o.tag, h.body, mark)
		if !o.noAck {
			if d.Message != nil {
				h.key, h.props = strings.Clone(d.Message.RoutingKey), d.Message.Properties()
			}
			o.held = append(o.held, h)
		}
	}
	return false
}

// Flush is core.Outlet.
func (o *consumer) Flush() {}

func (e *Env) settle(op core.Settlement, a *arguments) error {
	o := e.consumer(a)
	var t core.Touched
	type group struct {
		h    *core.Holder
		seqs []core.Seq
	}
	var groups []group
	for _, body := range a.words {
		i := slices.IndexFunc(o.held, func(h held) bool { return h.body == body || body == "all" })
		if i < 0 {
			e.tb.Fatalf("%s does not hold %s", o.tag, body)
		}
		h := o.held[i]
		o.held = slices.Delete(o.held, i, i+1)
		if n := len(groups); n > 0 && groups[n-1].h == h.holder {
			groups[n-1].seqs = append(groups[n-1].seqs, h.seq)
		} else {
			groups = append(groups, group{h.holder, []core.Seq{h.seq}})
		}
	}
	for _, g := range groups {
		g.h.Settle(op, g.seqs, &t)
	}
	t.Flush()
	return nil
}

func (e *Env) reject(a *arguments) error {
	if a.flag("requeue") {
		return e.settle(core.Fail, a)
	}
	return e.settle(core.Discard, a)
}

func (e *Env) get(a *arguments) error {
	noAck := a.flag("noack")
	found, err := e.current.session.Get(a.next(), noAck, func(h *core.Holder, d *core.Delivery, remaining int) {
		mark := ""
		if d.Redelivered {
			mark = " redelivered"
		}
		e.say("got %s%s, %d left", d.Message.Body, mark, remaining)
		if !noAck {
			o := e.current.consumers["got"]
			o.held = append(o.held, held{holder: h, seq: d.Seq, body: string(d.Message.Body), key: strings.Clone(d.Message.RoutingKey), props: d.Message.Properties()})
		}
	})
	if err == nil && !found {
		e.say("empty")
	}
	return err
}

// headers prints the routing key and the headers of a message that is held.
func (e *Env) headers(a *arguments) error {
	o, body := e.consumer(a), a.next()
	i := slices.IndexFunc(o.held, func(h held) bool { return h.body == body })
	if i < 0 {
		e.tb.Fatalf("%s does not hold %s", o.tag, body)
	}
	h := o.held[i]
	e.say("key %q", h.key)
	if h.props.Expiration != nil {
		e.say("expiration %s", *h.props.Expiration)
	}
	for _, f := range h.props.Headers {
		rows, ok := f.Value.([]any)
		if !ok {
			e.say("%s: %v", f.Name, f.Value)
			continue
		}
		e.say("%s:", f.Name)
		for _, row := range rows {
			t, ok := row.(core.Table)
			if !ok {
				e.say("  %v", row)
				continue
			}
			var parts []string
			for _, f := range t {
				parts = append(parts, fmt.Sprintf("%s=%v", f.Name, f.Value))
			}
			e.say("  %s", strings.Join(parts, " "))
		}
	}
	return nil
}

func (e *Env) advance(a *arguments) error {
	d, err := time.ParseDuration(a.next())
	if err != nil {
		e.tb.Fatal(err)
	}
	e.Advance(d)
	return nil
}

func (e *Env) show(a *arguments) error {
	name := a.next()
	q, ok := e.current.session.VHost().Queue(name)
	if !ok {
		e.say("no queue %s", name)
		return nil
	}
	i := q.Info()
	more := ""
	if i.Delayed != 0 {
		more += fmt.Sprintf(", delayed %d", i.Delayed)
	}
	if i.Leaving != 0 {
		more += fmt.Sprintf(", leaving %d", i.Leaving)
	}
	e.say("%s: ready %d, unacked %d, consumers %d, bytes %d+%d%s", name, i.Ready, i.Unacked, i.Consumers, i.ReadyBytes, i.UnackedBytes, more)
	return nil
}

// consumersOf lists the consumers of a queue.
func (e *Env) consumersOf(a *arguments) error {
	q, ok := e.current.session.VHost().Queue(a.next())
	if !ok {
		e.tb.Fatal("consumers: no such queue")
	}
	list := q.Info().ConsumerList
	slices.SortFunc(list, func(a, b core.ConsumerInfo) int { return cmp.Compare(a.Tag, b.Tag) })
	for _, i := range list {
		state := "active"
		if !i.Active {
			state = "waiting"
		}
		e.say("%s: priority %d, unacked %d, %s", i.Tag, i.Priority, i.Unacked, state)
	}
	return nil
}

func (e *Env) queues(*arguments) error {
	var names []string
	for q := range e.current.session.VHost().Queues() {
		names = append(names, q.Options().Name)
	}
	slices.Sort(names)
	for _, n := range names {
		e.say("%s", n)
	}
	return nil
}

func (e *Env) exchanges(*arguments) error {
	var names []string
	for x := range e.current.session.VHost().Exchanges() {
		if n := x.Info().Name; n != "" && !strings.HasPrefix(n, "amq.") {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		e.say("%s", n)
	}
	return nil
}

func (e *Env) bindings(*arguments) error {
	var rows []string
	for _, b := range e.current.session.VHost().Bindings(core.BindingFilter{}) {
		rows = append(rows, fmt.Sprintf("%s -> %s %q", b.Source, b.Destination, b.Key))
	}
	slices.Sort(rows)
	for _, r := range rows {
		e.say("%s", r)
	}
	return nil
}
