package core

import (
	"fmt"
	"hash/maphash"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"leveret/core/hamt"
)

// VHost is a virtual host: a name space of exchanges, queues and bindings.
//
// Everything declared in it is a definition. A method that changes one takes
// the topology lock, looks whether the change makes sense, commits it, and the
// watch on the definitions then changes the tables (apply.go). Routing reads
// the tables without any lock.
//
// Lock order: topology, names, the store of definitions, Broker.applying,
// tables, then the locks of queues.
type VHost struct {
	// Fixed by newVHost.
	name   string
	broker *Broker
	nobody *Exchange // The default exchange.

	definition atomic.Pointer[VHostDef]
	policies   atomic.Pointer[policySet] // Never nil.
	exchanges  atomic.Pointer[hamt.Map[string, *Exchange]]
	queues     [queueShards]queueShard // Also hidden queues.
	clients    clientRegistry
	retentions sync.Map // *retention by the exchange's name.

	taps           atomic.Pointer[tapSet] // nil while nobody listens in; written under tapping.
	tapping        sync.Mutex             // A leaf, but for the inboxes of taps.
	deleted        atomic.Bool
	queueCount     atomic.Int64 // Declared queues.
	sessionCount   atomic.Int64
	maxQueues      atomic.Int64 // Negative for no limit.
	maxConnections atomic.Int64 // Negative for no limit.

	// topology is held for reading by changes to one queue or one exchange,
	// together with the lock of its name, and for writing by changes to
	// several objects: so declares of different queues wait for the disk
	// together, and none sees half of an exchange's end.
	topology sync.RWMutex
	names    [nameLocks]sync.Mutex
	limited  sync.Mutex // Behind names: held while a queue is declared below a limit.

	compiled map[settingKey]*policy // Those in policies; belongs to Broker.apply.
	sweeping sync.Mutex             // Held by sweep, before tables and the locks of queues.
	swept    *policySet             // That which is in force everywhere; guarded by sweeping.

	// retired is what was deleted has done.
	retired struct {
		sync.Mutex
		VHostTotals
	}

	// tables guards what only changes and operators look at: the bindings of
	// each destination, the sources of each exchange. Changes hold it for
	// moments only.
	tables struct {
		sync.Mutex
		// upstream has, by an exchange's name, those that lead to it by a
		// binding or as their alternate, and by how many ways. The name need
		// not exist.
		upstream map[string]map[*Exchange]int
		// undeleted has, by a queue's name, the changes that should have
		// removed it from the store when that failed.
		undeleted map[string][]Change
	}
}

const (
	queueShards = 32
	nameLocks   = 64
)

type queueShard struct {
	mu     sync.RWMutex
	byName map[string]*destination
}

var nameSeed = maphash.MakeSeed()

// predeclared are the exchanges that every virtual host has.
var predeclared = []ExchangeDef{
	{Name: "", Type: "direct"},
	{Name: "amq.direct", Type: "direct"},
	{Name: "amq.fanout", Type: "fanout"},
	{Name: "amq.topic", Type: "topic"},
	{Name: "amq.headers", Type: "headers"},
	{Name: "amq.match", Type: "headers"},
	{Name: TraceExchange, Type: "topic", Internal: true},
}

// TraceExchange is where a virtual host's tracing is published, for whoever
// publishes it: see Broker.Trace.
const TraceExchange = "amq.rabbitmq.trace"

// SystemExchange is an internal topic exchange that a virtual host has besides
// those that all have. Its name begins with "amq.".
type SystemExchange struct{ VHost, Name string }

// predeclared are the exchanges that v has without anybody's doing.
func (v *VHost) predeclared() []ExchangeDef {
	all := slices.Clone(predeclared)
	for _, x := range v.broker.systemExchanges {
		if x.VHost == v.name {
			all = append(all, ExchangeDef{Name: x.Name, Type: "topic", Internal: true})
		}
	}
	return all
}

func newVHost(b *Broker, d VHostDef) *VHost {
	v := &VHost{name: d.Name, broker: b}
	v.definition.Store(&d)
	v.policies.Store(newPolicySet(nil, nil))
	v.swept = v.policies.Load()
	v.maxQueues.Store(-1)
	v.maxConnections.Store(-1)
	v.tables.upstream = make(map[string]map[*Exchange]int)
	v.tables.undeleted = make(map[string][]Change)
	var xs hamt.Map[string, *Exchange]
	for _, d := range v.predeclared() {
		d.VHost, d.Durable = v.name, true
		xs = xs.With(d.Name, newExchange(v, d))
	}
	v.nobody, _ = xs.Get("")
	v.exchanges.Store(&xs)
	return v
}

// Name returns the virtual host's name.
func (v *VHost) Name() string { return v.name }

// Definition returns how v is described; read only.
func (v *VHost) Definition() VHostDef { return *v.definition.Load() }

// SessionCount returns how many clients are connected to v.
func (v *VHost) SessionCount() int { return int(v.sessionCount.Load()) }

// exchange returns an exchange, or nil. "" is the default exchange. name may
// alias a buffer; no lock is taken.
func (v *VHost) exchange(name string) *Exchange {
	x, _ := v.exchanges.Load().Get(name)
	return x
}

// Exchange returns an exchange by its name, "" for the default exchange.
func (v *VHost) Exchange(name string) (*Exchange, bool) {
	x := v.exchange(name)
	return x, x != nil
}

// Exchanges yields every exchange, in no particular order.
func (v *VHost) Exchanges() iter.Seq[*Exchange] {
	return func(yield func(*Exchange) bool) {
		for _, x := range v.exchanges.Load().All() {
			if !yield(x) {
				return
			}
		}
	}
}

func (v *VHost) shard(name string) *queueShard {
	return &v.queues[maphash.String(nameSeed, name)%queueShards]
}

// destination returns the queue of that name as an end of bindings, hidden
// ones too, or nil. name may alias a buffer; nothing is allocated.
func (v *VHost) destination(name string) *destination {
	s := v.shard(name)
	s.mu.RLock()
	d := s.byName[name]
	s.mu.RUnlock()
	return d
}

// declared is destination without the hidden queues.
func (v *VHost) declared(name string) *destination {
	if d := v.destination(name); d != nil && !d.queue.Options().hidden {
		return d
	}
	return nil
}

// queue returns a queue, hidden ones too, or nil. name may alias a buffer.
func (v *VHost) queue(name string) Queue {
	if d := v.destination(name); d != nil {
		return d.queue
	}
	return nil
}

// Queue returns a declared queue by its name.
func (v *VHost) Queue(name string) (Queue, bool) {
	if d := v.declared(name); d != nil {
		return d.queue, true
	}
	return nil, false
}

// Queues yields every declared queue, in no particular order. Those that come
// and go meanwhile may be missing.
func (v *VHost) Queues() iter.Seq[Queue] {
	return func(yield func(Queue) bool) {
		for d := range v.declaredQueues() {
			if !yield(d.queue) {
				return
			}
		}
	}
}

// declaredQueues is Queues for their ends of bindings.
func (v *VHost) declaredQueues() iter.Seq[*destination] {
	return func(yield func(*destination) bool) {
		var batch []*destination
		for i := range v.queues {
			s := &v.queues[i]
			batch = batch[:0]
			s.mu.RLock()
			for _, d := range s.byName {
				if !d.queue.Options().hidden {
					batch = append(batch, d)
				}
			}
			s.mu.RUnlock()
			for _, d := range batch {
				if !yield(d) {
					return
				}
			}
		}
	}
}

// keepers yields whatever holds messages: the queues, and what exchanges delay.
func (v *VHost) keepers() iter.Seq[Queue] {
	return func(yield func(Queue) bool) {
		for q := range v.Queues() {
			if !yield(q) {
				return
			}
		}
		for x := range v.Exchanges() {
			if x.delayer != nil && !yield(x.delayer) {
				return
			}
		}
	}
}

// QueueCount returns how many queues are declared.
func (v *VHost) QueueCount() int { return int(v.queueCount.Load()) }

// ExclusiveOwner returns the session whose exclusive queue q is, or nil.
func (v *VHost) ExclusiveOwner(q Queue) *Session {
	if d := v.destination(q.Options().Name); d != nil && d.queue == q {
		return d.owner
	}
	return nil
}

func (v *VHost) putQueue(name string, d *destination) {
	s := v.shard(name)
	s.mu.Lock()
	if s.byName == nil {
		s.byName = make(map[string]*destination)
	}
	s.byName[name] = d
	s.mu.Unlock()
}

func (v *VHost) dropQueue(name string) {
	s := v.shard(name)
	s.mu.Lock()
	delete(s.byName, name)
	s.mu.Unlock()
}

// addTransient makes q reachable by its name through the default exchange. It
// is neither declared nor listed and has no other bindings.
func (v *VHost) addTransient(name string, q Queue) {
	v.putQueue(name, &destination{id: destinationIDs.Add(1), name: name, queue: q})
	v.queuesChanged()
}

// removeTransient undoes addTransient.
func (v *VHost) removeTransient(name string) {
	v.dropQueue(name)
	v.queuesChanged()
}

func (v *VHost) queuesChanged() {
	v.tables.Lock()
	v.reroutedLocked("")
	v.tables.Unlock()
}

// lockName takes the topology lock for a change to one queue or exchange.
func (v *VHost) lockName(name string) (unlock func()) {
	v.topology.RLock()
	mu := &v.names[maphash.String(nameSeed, name)%nameLocks]
	mu.Lock()
	return func() {
		mu.Unlock()
		v.topology.RUnlock()
	}
}

// commit makes changes to v durable and visible.
func (v *VHost) commit(changes ...Change) error { return v.broker.commit(changes...) }

// by notes in changes who asked for them.
func by(user string, changes []Change) []Change {
	for i := range changes {
		changes[i].By = user
	}
	return changes
}

// gone refuses work in a virtual host that was deleted meanwhile. The topology
// lock is held.
func (v *VHost) gone() error {
	if v.deleted.Load() {
		return errorf(NotFound, "vhost '%s' not found", v.name)
	}
	return nil
}

// What error texts call things.

func (v *VHost) queueText(name string) string {
	return fmt.Sprintf("queue '%s' in vhost '%s'", name, v.name)
}

func (v *VHost) exchangeText(name string) string {
	return fmt.Sprintf("exchange '%s' in vhost '%s'", name, v.name)
}

func (v *VHost) noQueue(name string) error    { return errorf(NotFound, "no %s", v.queueText(name)) }
func (v *VHost) noExchange(name string) error { return errorf(NotFound, "no %s", v.exchangeText(name)) }

func (v *VHost) locked(name string) error {
	return errorf(Locked, "cannot obtain exclusive access to locked %s. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.", v.queueText(name))
}

// reservedName refuses names that only the broker gives.
func reservedName(kind, name string) error {
	if strings.HasPrefix(name, "amq.") {
		return errorf(AccessRefused, "%s name '%s' contains reserved prefix 'amq.*'", kind, name)
	}
	return nil
}

// cleanName returns name as declares, deletes and binds read it: without line
// ends, and aliasing nothing.
func cleanName(name string) string {
	if !strings.ContainsAny(name, "\r\n") {
		return strings.Clone(name)
	}
	return strings.NewReplacer("\r", "", "\n", "").Replace(name)
}

// bindingChanges returns the changes that remove every binding of bs.
func (v *VHost) bindingChanges(changes []Change, bs iter.Seq[*binding]) []Change {
	for b := range bs {
		pub := b.public()
		changes = append(changes, Change{
			Kind: DefBinding, Key: bindingKey(v.name, &pub, b.argsID), Was: AnyRevision,
			Transient: !b.durable(),
		})
	}
	return changes
}

// durable reports whether b survives a restart, as both its ends do.
func (b *binding) durable() bool { return b.source.durable && b.dest.durable }

// lostSources collects the exchanges that may have to go when bs are removed.
func lostSources(bs iter.Seq[*binding]) []*Exchange {
	var xs []*Exchange
	for b := range bs {
		if b.source.autoDelete && !slices.Contains(xs, b.source) {
			xs = append(xs, b.source)
		}
	}
	return xs
}

// deleteQueueIf deletes q if cond agrees to its state, with its bindings, and
// tells its consumers why. It returns how many messages were ready. A queue
// that is gone already is no error. user is who asked for it, "" for nobody. No
// lock is held by the caller.
func (v *VHost) deleteQueueIf(q Queue, cond func(QueueInfo) error, reason, user string, t *Touched) (ready int, err error) {
	name := q.Options().Name
	unlock := v.lockName(name)
	d := v.destination(name)
	if d == nil || d.queue != q {
		unlock()
		return 0, nil
	}
	if ready, err = q.closeIf(cond); err != nil {
		unlock()
		return 0, err
	}
	v.tables.Lock()
	sources := lostSources(d.bindings.all())
	changes := v.bindingChanges(nil, d.bindings.all())
	v.tables.Unlock()
	changes = append(changes, Change{
		Kind: DefQueue, Key: []string{v.name, name}, Was: AnyRevision, Transient: !d.durable,
	})
	if err = v.commit(by(user, changes)...); err != nil {
		// The queue takes nothing any more. It comes back with the next start;
		// until then it must not stand in the way of a new one.
		v.broker.logger.Error("queue deleted in memory only", "vhost", v.name, "queue", name, "error", err)
		v.broker.apply(changes)
		v.tables.Lock()
		v.tables.undeleted[name] = changes
		v.tables.Unlock()
	}
	unlock()
	if d.owner != nil {
		d.owner.disown(d)
	}
	v.autoDelete(sources, user)
	q.dropConsumers(reason, t)
	return ready, err
}

// queueChanges returns the changes that declare a queue. The name's lock is held.
func (v *VHost) queueChanges(d QueueDef) []Change {
	c := Change{Kind: DefQueue, Key: []string{v.name, d.Name}, Value: d, Transient: !d.Durable}
	v.tables.Lock()
	defer v.tables.Unlock()
	old := v.tables.undeleted[d.Name]
	if len(old) > 0 {
		c.Was = AnyRevision
	}
	return append(slices.Clip(old), c)
}

// autoDelete deletes those of xs that have lost their last binding, and in
// turn those that lose theirs with them. user is who brought that about. No lock
// is held by the caller.
func (v *VHost) autoDelete(xs []*Exchange, user string) {
	if !slices.ContainsFunc(xs, v.outlived) {
		return // Mostly; the lock that follows stops every change.
	}
	v.topology.Lock()
	defer v.topology.Unlock()
	for len(xs) > 0 {
		x := xs[0]
		xs = xs[1:]
		if !v.outlived(x) {
			continue
		}
		more, err := v.deleteExchangeLocked(x, user)
		if err != nil {
			v.broker.logger.Error("exchange not auto-deleted", "vhost", v.name, "exchange", x.name, "error", err)
		}
		xs = append(xs, more...)
	}
}

// outlived reports whether x is to be deleted as its last binding is gone.
func (v *VHost) outlived(x *Exchange) bool {
	v.tables.Lock()
	defer v.tables.Unlock()
	return x.autoDelete && x.everBound && x.sourceOf.n == 0 && !x.deleted.Load()
}

// deleteExchangeLocked deletes x and its bindings in both directions. It
// returns the exchanges that were bound to it and may now have to go. The
// topology lock is held for writing.
func (v *VHost) deleteExchangeLocked(x *Exchange, user string) (sources []*Exchange, err error) {
	v.tables.Lock()
	sources = lostSources(x.self.bindings.all())
	changes := v.bindingChanges(nil, x.self.bindings.all())
	for b := range x.sourceOf.all() {
		if b.dest != x.self { // Bound to itself it is among the former.
			changes = v.bindingChanges(changes, func(yield func(*binding) bool) { yield(b) })
		}
	}
	v.tables.Unlock()
	changes = v.retentionChanges(changes, x)
	changes = append(changes, Change{
		Kind: DefExchange, Key: []string{v.name, x.name}, Was: AnyRevision, Transient: !x.durable,
	})
	return sources, v.commit(by(user, changes)...)
}

// BindingFilter selects bindings; nil fields select all.
type BindingFilter struct {
	Source          *string
	Destination     *string
	DestinationKind *DestinationKind
}

// Bindings lists bindings, in no particular order. Each queue's to the default
// exchange, under its own name, is among them.
func (v *VHost) Bindings(f BindingFilter) []Binding {
	var out []Binding
	queues := f.DestinationKind == nil || *f.DestinationKind == ToQueue
	implicit := func(d *destination) {
		if f.Source == nil || *f.Source == "" {
			out = append(out, Binding{Destination: d.name, Key: d.name})
		}
	}
	add := func(d *destination) {
		v.tables.Lock()
		defer v.tables.Unlock()
		for b := range d.bindings.all() {
			if f.Source == nil || *f.Source == b.source.name {
				out = append(out, b.public())
			}
		}
	}
	if f.Destination != nil {
		if d := v.declared(*f.Destination); d != nil && queues {
			implicit(d)
			add(d)
		}
		if x := v.exchange(*f.Destination); x != nil && (f.DestinationKind == nil || *f.DestinationKind == ToExchange) {
			add(x.self)
		}
		return out
	}
	if queues && (f.Source == nil || *f.Source == "") {
		for q := range v.Queues() {
			name := q.Options().Name
			out = append(out, Binding{Destination: name, Key: name})
		}
	}
	v.tables.Lock()
	defer v.tables.Unlock()
	for _, x := range v.exchanges.Load().All() {
		if f.Source != nil && *f.Source != x.name {
			continue
		}
		for b := range x.sourceOf.all() {
			if f.DestinationKind == nil || *f.DestinationKind == b.dest.kind() {
				out = append(out, b.public())
			}
		}
	}
	return out
}
