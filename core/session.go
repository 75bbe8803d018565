package core

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"leveret/core/auth"
)

// SessionOptions says who wants to open a Session.
type SessionOptions struct {
	VHost string
	// Principal is who Login let in. Without one the session acts for User, of
	// the directory, who needs no login here.
	Principal Principal
	User      auth.User
	// Loopback is true when the peer is on this machine.
	Loopback bool
	// Vars are what topic permissions may name besides username and vhost.
	Vars map[string]string
	// Meter counts what the session does; nil does not.
	Meter *Meter
	// Name is what operators call the client's connection; "" if it has none.
	Name string
	// Internal sessions (the management API acting for a user) do not count
	// against connection limits and are not listed.
	Internal bool
}

// Session is one authenticated client in one virtual host. It owns exclusive
// queues and carries the permissions cache. Its methods check permissions
// before existence shows, and may block: on the definitions' disk now, on a
// queue's other node later. They return *Error for the client's mistakes.
//
// Any goroutine may call it.
type Session struct {
	// Fixed by openSession.
	id        uint64
	broker    *Broker
	vhost     *VHost
	loopback  bool
	vars      map[string]string
	name      string
	internal  bool
	tally     *tally
	countedAs string // The user whose limit counts it; guarded by the broker's lock.

	principal atomic.Pointer[Principal]
	// renewals and the directory's epoch together tell what permissions were
	// looked up under: it grows with each change of the principal, and when the
	// answers of others than the directory get old.
	renewals atomic.Uint64
	askedMS  atomic.Int64 // When the answers of others began to be remembered.
	// ctx ends questions to others when the session does. It is nil while the
	// directory alone is asked.
	ctx    context.Context
	cancel context.CancelFunc
	expiry sessionExpiry

	mu struct {
		sync.Mutex
		closed     bool
		onClose    func(reason string)
		ended      string                    // Why it was asked to end before onClose was set.
		owned      map[*destination]struct{} // Its exclusive queues.
		consumers  map[*Consumer]struct{}
		publishers int64 // Those that have published and not ended.
	}

	// access remembers what the user may do, for one epoch.
	access struct {
		sync.Mutex
		epoch   uint64
		answers map[accessQuestion]bool
	}
}

type accessQuestion struct {
	kind     AccessKind
	action   auth.Action
	resource string
	key      string // Of topics.
}

// accessMax bounds how many answers a session remembers: of the directory,
// which is quick to ask, and of others.
const (
	accessMax      = 256
	accessMaxAsked = 4096
)

// ExchangeDeclare are the arguments of Session.DeclareExchange.
type ExchangeDeclare struct {
	Name       string
	Type       string
	Passive    bool
	Durable    bool
	AutoDelete bool
	Internal   bool
	Arguments  Table
}

// QueueDeclare are the arguments of Session.DeclareQueue. An empty name asks
// for a server-made one.
type QueueDeclare struct {
	Name       string
	Passive    bool
	Durable    bool
	Exclusive  bool
	AutoDelete bool
	Arguments  Table
}

// QueueDeclared is what a declare answers.
type QueueDeclared struct {
	Name      string
	Ready     int
	Consumers int
}

// Binding connects a source exchange with a queue or another exchange.
type Binding struct {
	Source          string
	Destination     string
	DestinationKind DestinationKind
	Key             string
	Arguments       Table
}

// DestinationKind tells a queue from an exchange.
type DestinationKind uint8

// The kinds of a binding's destination.
const (
	ToQueue DestinationKind = iota
	ToExchange
)

// OpenSession admits a client to a virtual host: it must exist, the user must
// have a permission entry there, and the limits of user, virtual host and node
// must allow one more. Errors are NotAllowed with RabbitMQ's text.
func (b *Broker) OpenSession(o SessionOptions) (*Session, error) {
	p := o.Principal
	if p.Name == "" {
		p.User = o.User
	}
	v := b.vhost(o.VHost)
	if v == nil && p.SeesVHosts() {
		return nil, errorf(NotAllowed, "vhost %s not found", o.VHost)
	} else if v == nil { // As for one that is there and not for the user.
		return nil, errorf(NotAllowed, "access to vhost '%s' refused for user '%s'", o.VHost, p.Name)
	}
	s := &Session{id: b.sessionIDs.Add(1), broker: b, vhost: v, loopback: o.Loopback, vars: o.Vars, name: o.Name, internal: o.Internal, tally: o.Meter.tally()}
	s.principal.Store(&p)
	if p.asked() {
		s.ctx, s.cancel = context.WithCancel(context.Background())
	}
	if !s.mayEnter() {
		s.endQuestions()
		return nil, errorf(NotAllowed, "access to vhost '%s' refused for user '%s'", v.name, p.Name)
	}
	if err := b.addSession(s); err != nil {
		s.endQuestions()
		return nil, err
	}
	// Who deletes a virtual host or user ends the sessions it finds then.
	if b.vhost(v.name) != v || !p.asked() && !b.directory.HasVHost(p.Name, v.name) {
		b.removeSession(s)
		s.endQuestions()
		return nil, errorf(NotAllowed, "access to vhost '%s' refused for user '%s'", v.name, p.Name)
	}
	s.expiry.set(s, &p)
	return s, nil
}

// mayEnter asks whether the session's user may be where it is.
func (s *Session) mayEnter() bool {
	return s.broker.Allowed(s.context(), s.principal.Load(), AccessQuestion{Kind: OnVHost, VHost: s.vhost.name, Vars: s.vars})
}

// context is what questions to others end with.
func (s *Session) context() context.Context {
	if s.ctx == nil {
		return context.Background()
	}
	return s.ctx
}

// endQuestions ends questions to others that are under way.
func (s *Session) endQuestions() {
	if s.cancel != nil {
		s.cancel()
	}
}

// ID is a number that no other session of this broker has.
func (s *Session) ID() uint64 { return s.id }

// Name is what operators call the client's connection; "" if it has none.
func (s *Session) Name() string { return s.name }

// commit is VHost.commit for what the session's user asks for.
func (s *Session) commit(changes ...Change) error {
	return s.vhost.commit(by(s.User().Name, changes)...)
}

// User returns who the session acts for.
func (s *Session) User() auth.User { return s.principal.Load().User }

// Principal returns who the session acts for, with what it was let in with.
func (s *Session) Principal() Principal { return *s.principal.Load() }

// SetUser is SetPrincipal with a user of the directory.
func (s *Session) SetUser(u auth.User) { s.SetPrincipal(Principal{User: u}) }

// SetPrincipal changes who the session acts for, after a client has
// authenticated anew. Consumers that the user may not have are cancelled;
// exclusive queues stay. It may take a network trip; no lock is held by the
// caller. See Broker.Renew.
func (s *Session) SetPrincipal(p Principal) {
	s.principal.Store(&p)
	s.renewals.Add(1)
	s.expiry.set(s, &p)

	var t Touched
	for _, c := range s.Consumers() {
		o := c.queue.Options()
		if o.hidden || s.allowed(OnQueue, auth.Read, o.Name, "") {
			continue
		}
		c.Cancel(&t)
		if c.opts.Cancelled != nil {
			c.opts.Cancelled(c, "read permission revoked")
		}
	}
	t.Flush()
}

// VHost returns the virtual host that the session is in.
func (s *Session) VHost() *VHost { return s.vhost }

// OnClose has fn called, by any goroutine that holds no lock, when the broker
// wants the session to end: its user or virtual host was deleted, or an
// operator says so. fn must not block; whoever opened the session closes it.
// If that was asked before, fn is called at once.
func (s *Session) OnClose(fn func(reason string)) {
	s.mu.Lock()
	s.mu.onClose = fn
	ended := s.mu.ended
	s.mu.Unlock()
	if ended != "" {
		fn(ended)
	}
}

// End asks the client's adapter to end the session, telling it why.
func (s *Session) End(reason string) {
	s.mu.Lock()
	fn := s.mu.onClose
	if s.mu.ended == "" {
		s.mu.ended = reason
	}
	s.mu.Unlock()
	s.endQuestions()
	if fn != nil {
		fn(reason)
	}
}

// Close cancels the session's consumers and deletes its exclusive queues.
// Adapters settle what was delivered first. Closing twice is harmless.
func (s *Session) Close() {
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		return
	}
	s.mu.closed = true
	consumers, owned, publishers := s.mu.consumers, s.mu.owned, s.mu.publishers
	s.mu.consumers, s.mu.owned, s.mu.publishers = nil, nil, 0
	s.mu.Unlock()
	if s.tally != nil {
		s.tally.meter.publishes.Add(-publishers)
	}
	s.expiry.stop(s)
	s.endQuestions()

	var t Touched
	for c := range consumers {
		c.Cancel(&t)
	}
	for d := range owned {
		s.vhost.deleteQueueIf(d.queue, always, "exclusive owner gone", s.User().Name, &t)
	}
	t.Flush()
	s.broker.removeSession(s)
}

func always(QueueInfo) error { return nil }

// own notes an exclusive queue. It fails if the session has ended meanwhile.
func (s *Session) own(d *destination) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return false
	}
	if s.mu.owned == nil {
		s.mu.owned = make(map[*destination]struct{})
	}
	s.mu.owned[d] = struct{}{}
	return true
}

func (s *Session) disown(d *destination) {
	s.mu.Lock()
	delete(s.mu.owned, d)
	s.mu.Unlock()
}

// addConsumer notes a consumer, to be cancelled when the session ends.
func (s *Session) addConsumer(c *Consumer) {
	s.mu.Lock()
	closed := s.mu.closed
	if !closed {
		if s.mu.consumers == nil {
			s.mu.consumers = make(map[*Consumer]struct{})
		}
		s.mu.consumers[c] = struct{}{}
	}
	s.mu.Unlock()
	if closed {
		var t Touched
		c.Cancel(&t)
		t.Flush()
	}
}

func (s *Session) removeConsumer(c *Consumer) {
	s.mu.Lock()
	delete(s.mu.consumers, c)
	s.mu.Unlock()
	if !c.ended.Swap(true) {
		if s.tally != nil {
			s.tally.meter.consumers.Add(-1)
		}
		c.event(ConsumerDeleted)
	}
}

// Consumers returns the session's consumers, in no particular order.
func (s *Session) Consumers() []*Consumer {
	s.mu.Lock()
	defer s.mu.Unlock()
	cs := make([]*Consumer, 0, len(s.mu.consumers))
	for c := range s.mu.consumers {
		cs = append(cs, c)
	}
	return cs
}

// authEpoch changes whenever permissions may have changed.
func (s *Session) authEpoch() uint64 {
	if p := s.principal.Load(); p.holdMS >= 0 && p.asked() {
		s.forgetOld(p)
	}
	return s.broker.directory.Epoch() + s.renewals.Load()
}

// forgetOld has the answers of others forgotten once they are too old.
func (s *Session) forgetOld(p *Principal) {
	now, since := s.broker.now(), s.askedMS.Load()
	if now-since >= p.holdMS && s.askedMS.CompareAndSwap(since, now) {
		s.renewals.Add(1)
	}
}

// allowed reports whether the user may do a to a queue or exchange, or with a
// key on a topic exchange; the default exchange is "amq.default". resource and
// key may alias a buffer. No lock is held by the caller: others than the
// directory may be asked over the network.
func (s *Session) allowed(k AccessKind, a auth.Action, resource, key string) bool {
	epoch := s.authEpoch()
	p := s.principal.Load()
	limit := accessMax
	if p.asked() {
		limit = accessMaxAsked
	}
	q := accessQuestion{k, a, resource, key}
	s.access.Lock()
	if s.access.epoch != epoch || len(s.access.answers) >= limit {
		s.access.epoch, s.access.answers = epoch, nil
	}
	yes, known := s.access.answers[q]
	s.access.Unlock()
	if known {
		return yes
	}
	yes = s.broker.Allowed(s.context(), p, AccessQuestion{
		Kind: k, VHost: s.vhost.name, Action: a, Name: resource, Key: key, Vars: s.vars,
	})
	s.access.Lock()
	defer s.access.Unlock()
	if s.access.epoch != epoch {
		return yes
	}
	if s.access.answers == nil {
		s.access.answers = make(map[accessQuestion]bool)
	}
	q.resource, q.key = strings.Clone(resource), strings.Clone(key)
	s.access.answers[q] = yes
	return yes
}

// topicAllowed reports whether the user may do a with a routing key of the
// topic exchange x.
func (s *Session) topicAllowed(x *Exchange, a auth.Action, key string) bool {
	if p := s.principal.Load(); !p.asked() {
		return s.broker.directory.TopicAllowed(p.Name, s.vhost.name, x.name, a, key, s.vars)
	}
	return s.allowed(OnTopic, a, x.name, key)
}

// Permit refuses, as the operation would, what the user may not do to a queue or
// exchange, whether that exists or not. It is for adapters to whom one operation
// is several of core's: they ask for all before the first has changed anything.
func (s *Session) Permit(k AccessKind, a auth.Action, name string) error {
	if k == OnQueue {
		return s.permitQueue(a, name)
	}
	return s.permitExchange(a, name)
}

// permitQueue refuses a on a queue without permission.
func (s *Session) permitQueue(a auth.Action, name string) error {
	if s.allowed(OnQueue, a, name, "") {
		return nil
	}
	return s.refusal(a, s.vhost.queueText(name))
}

// permitExchange refuses a on an exchange without permission.
func (s *Session) permitExchange(a auth.Action, name string) error {
	if name == "" {
		name = "amq.default"
	}
	if s.allowed(OnExchange, a, name, "") {
		return nil
	}
	return s.refusal(a, s.vhost.exchangeText(name))
}

// permitAny refuses a passive declare to those who have no permission at all.
func (s *Session) permitAny(k AccessKind, resource, what string) error {
	for _, a := range [...]auth.Action{auth.Configure, auth.Write, auth.Read} {
		if s.allowed(k, a, resource, "") {
			return nil
		}
	}
	return s.refusal(auth.Configure, what)
}

func (s *Session) refusal(a auth.Action, what string) error {
	return errorf(AccessRefused, "%s access to %s refused for user '%s'", a, what, s.User().Name)
}

// permitTopic refuses a routing key of a topic exchange without permission.
func (s *Session) permitTopic(x *Exchange, a auth.Action, key string) error {
	if x.typ != "topic" || s.topicAllowed(x, a, key) {
		return nil
	}
	return s.refusal(a, "topic '"+key+"' in "+s.vhost.exchangeText(x.name))
}

// exclusiveTo refuses the use of another session's exclusive queue.
func (s *Session) exclusiveTo(d *destination) error {
	if d.queue != nil && d.queue.Options().Exclusive && d.owner != s {
		return s.vhost.locked(d.name)
	}
	return nil
}

// queueFor finds a queue to use: the user must be allowed to, the queue must
// exist, and not be another session's; refused in that order.
func (s *Session) queueFor(name string, a auth.Action) (Queue, error) {
	if err := s.permitQueue(a, name); err != nil {
		return nil, err
	}
	d := s.vhost.declared(name)
	if d == nil {
		return nil, s.vhost.noQueue(name)
	}
	if err := s.exclusiveTo(d); err != nil {
		return nil, err
	}
	return d.queue, nil
}
