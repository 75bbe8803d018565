package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"leveret/core/auth"
)

// Act is something that a client may want to do, of which Explain says whether
// it may.
type Act string

// The acts. Each begins with logging in and entering the virtual host; those of
// one word after a name are all that RabbitMQ's permissions tell apart.
const (
	ActLogin      Act = "login"
	ActEnter      Act = "vhost"
	ActConfigure  Act = "configure"   // Declare and delete.
	ActWrite      Act = "write"       // Publish to an exchange, bind a queue.
	ActRead       Act = "read"        // Consume, get, purge, bind to an exchange.
	ActLook       Act = "passive"     // Declare passively: one of those three will do.
	ActWriteTopic Act = "write-topic" // Publish with a key to a topic exchange.
	ActReadTopic  Act = "read-topic"  // Bind with a key to a topic exchange.
)

// Acts are all of them.
var Acts = []Act{ActLogin, ActEnter, ActConfigure, ActWrite, ActRead, ActLook, ActWriteTopic, ActReadTopic}

// Explain asks what a client may do, and why.
type Explain struct {
	// Credentials are the client's. With a password or token it is logged in;
	// without one its name is believed.
	Credentials Credentials
	VHost       string
	Act         Act
	Kind        AccessKind // OnQueue or OnExchange, of the acts on a name.
	Name        string     // "" is the default exchange, if Kind is OnExchange.
	Key         string     // Of the acts with a key.
	Vars        map[string]string
}

// Explanation is the answer.
type Explanation struct {
	Allowed     bool
	User        string
	Tags        []string
	ExpiresAtMS int64 // 0 for never.
	// Reasons are what was looked at, in order; the last one decided.
	Reasons []Reason
}

// Reason is one thing that allows or refuses.
type Reason struct {
	Allowed bool
	What    string // "login", "vhost", "read queue 'jobs'".
	Backend string // Who says so; "" for the broker itself.
	Rule    string // What in it: a permission with its expression, a scope, a limit.
}

// Explain says whether a client may do something and which rule decides. It
// changes nothing and counts nothing. It may take a network trip.
func (b *Broker) Explain(ctx context.Context, e Explain) Explanation {
	x := &explainer{b: b, ctx: ctx, e: &e}
	x.out.User = e.Credentials.User
	x.run()
	n := len(x.out.Reasons)
	x.out.Allowed = n > 0 && x.out.Reasons[n-1].Allowed
	return x.out
}

type explainer struct {
	b   *Broker
	ctx context.Context
	e   *Explain
	p   Principal
	out Explanation
}

// say adds a reason and passes on whether it allows.
func (x *explainer) say(allowed bool, what, backend, format string, args ...any) bool {
	x.out.Reasons = append(x.out.Reasons, Reason{allowed, what, backend, fmt.Sprintf(format, args...)})
	return allowed
}

func (x *explainer) run() {
	if !slices.Contains(Acts, x.e.Act) {
		x.say(false, string(x.e.Act), "", "there is no such operation")
		return
	}
	if !x.login() || x.e.Act == ActLogin || !x.enter() || x.e.Act == ActEnter {
		return
	}
	name := x.e.Name
	if name == "" && x.e.Kind == OnExchange {
		name = "amq.default"
	}
	switch x.e.Act {
	case ActConfigure:
		x.resource(auth.Configure, name)
	case ActWrite:
		x.resource(auth.Write, name)
	case ActRead:
		x.resource(auth.Read, name)
	case ActLook:
		for _, a := range []auth.Action{auth.Configure, auth.Write, auth.Read} {
			if x.resource(a, name) {
				return
			}
		}
	case ActWriteTopic:
		x.topic(auth.Write, name)
	case ActReadTopic:
		x.topic(auth.Read, name)
	}
}

// login says who lets the client in.
func (x *explainer) login() bool {
	c := x.e.Credentials
	c.External = c.External || c.Password == ""
	steps := x.b.access
	if len(steps) == 0 {
		steps = []AccessStep{{}}
	}
	in := false
	for i := range steps {
		who := backendName(steps[i].Authenticator)
		p, err := x.b.tryStep(x.ctx, &steps[i], &c)
		if err != nil {
			x.say(false, "login", who, "%v", err)
			continue
		}
		x.p, in = p, true
		x.out.User, x.out.Tags = p.Name, p.Tags
		how := "knows the user"
		switch {
		case !c.External:
			how = "accepts what the user shows"
		case who == InternalBackend:
			how = "has the user"
		}
		if !p.ExpiresAt.IsZero() {
			x.out.ExpiresAtMS = p.ExpiresAt.UnixMilli()
			how += ", until " + p.ExpiresAt.UTC().Format("2006-01-02 15:04:05Z")
		}
		x.say(true, "login", who, "%s", how)
		break
	}
	if !in {
		return false
	}
	if !x.b.mayLogin(x.p.Name, c.Loopback) {
		return x.say(false, "login", "", "loopback_users: '%s' may log in from this machine only", x.p.Name)
	}
	return true
}

// enter says whether the client may open a connection in the virtual host.
func (x *explainer) enter() bool {
	v := x.b.vhost(x.e.VHost)
	if v == nil {
		return x.say(false, "vhost", "", "there is no virtual host '%s'", x.e.VHost)
	}
	if !x.ask("vhost '"+v.name+"'", AccessQuestion{Kind: OnVHost, VHost: v.name, Vars: x.e.Vars}) {
		return false
	}
	if x.e.Act != ActEnter {
		return true
	}
	if err := x.b.roomFor(x.p.Name, v); err != nil {
		return x.say(false, "connections", "", "%v", err)
	}
	return true
}

func (x *explainer) resource(a auth.Action, name string) bool {
	return x.ask(fmt.Sprintf("%s %s '%s'", a, x.e.Kind, name), AccessQuestion{Kind: x.e.Kind, VHost: x.e.VHost, Action: a, Name: name, Vars: x.e.Vars})
}

// topic says whether a key may be used; the exchange itself must be allowed too.
func (x *explainer) topic(a auth.Action, name string) {
	x.e.Kind = OnExchange
	if !x.resource(a, name) {
		return
	}
	if exchange := x.b.vhost(x.e.VHost).exchange(x.e.Name); exchange != nil && exchange.typ != "topic" {
		x.say(true, fmt.Sprintf("%s key '%s'", a, x.e.Key), "", "exchange '%s' is %s: keys are not looked at", name, exchange.typ)
		return
	}
	x.ask(fmt.Sprintf("%s key '%s'", a, x.e.Key), AccessQuestion{Kind: OnTopic, VHost: x.e.VHost, Action: a, Name: name, Key: x.e.Key, Vars: x.e.Vars})
}

// ask says what each of those who are asked answers, until one refuses.
func (x *explainer) ask(what string, q AccessQuestion) bool {
	if x.p.expired(x.b.now()) {
		return x.say(false, what, "", "what the client was let in with has expired")
	}
	q.User, q.Peer = x.p.User, x.p.peer
	grants := x.p.grants
	if grants == nil {
		grants = []Grant{{}}
	}
	for _, g := range grants {
		if g.Backend == nil {
			if !x.say(x.b.directoryAllows(x.p.Name, &q), what, InternalBackend, "%s", x.b.directoryRule(x.p.Name, &q)) {
				return false
			}
			continue
		}
		yes, err := g.Backend.Allows(x.ctx, g.Note, &q)
		yes = yes && err == nil
		rule := "refuses"
		switch e, ok := g.Backend.(AccessExplainer); {
		case ok:
			rule = e.Explain(g.Note, &q, yes, err)
		case yes:
			rule = "allows"
		}
		if !x.say(yes, what, g.Backend.Name(), "%s", rule) {
			return false
		}
	}
	return true
}

// directoryRule is the row of the directory that answers q.
func (b *Broker) directoryRule(user string, q *AccessQuestion) string {
	if q.Kind == OnTopic {
		for _, t := range b.directory.TopicPermissionsOf(user) {
			if t.VHost == q.VHost && t.Exchange == q.Name {
				expr := t.Read
				if q.Action == auth.Write {
					expr = t.Write
				}
				return fmt.Sprintf("topic permission of '%s' in vhost '%s' for exchange '%s': %s %q", user, q.VHost, q.Name, q.Action, expr)
			}
		}
		return fmt.Sprintf("no topic permission of '%s' in vhost '%s' for exchange '%s': every key is allowed", user, q.VHost, q.Name)
	}
	p, ok := b.directory.Permission(user, q.VHost)
	switch {
	case !ok:
		return fmt.Sprintf("no permission of '%s' in vhost '%s'", user, q.VHost)
	case q.Kind == OnVHost:
		return fmt.Sprintf("permission of '%s' in vhost '%s'", user, q.VHost)
	}
	expr := [...]string{auth.Configure: p.Configure, auth.Write: p.Write, auth.Read: p.Read}[q.Action]
	return fmt.Sprintf("permission of '%s' in vhost '%s': %s %q", user, q.VHost, q.Action, expr)
}

// roomFor returns which limit allows no further connection of a user, if one does.
func (b *Broker) roomFor(user string, v *VHost) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var e *Error
	if err := b.roomForLocked(user, v); errors.As(err, &e) {
		return errors.New(strings.TrimPrefix(e.Why, "connection refused: "))
	}
	return nil
}
