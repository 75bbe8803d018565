package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"leveret/core/auth"
	"leveret/core/hamt"
	"leveret/core/wheel"
)

// Options says how a Broker is made. The zero value makes one in memory with
// the defaults of RabbitMQ.
type Options struct {
	// Definitions and Log are closed by the Broker. Nil keeps nothing.
	Definitions Definitions
	Log         MessageLog
	// Streams keeps what is in streams, and is closed by the Broker. It goes
	// with Log: what is published into a stream is in the log first. Nil keeps
	// streams in memory.
	Streams StreamStore
	// Now returns the time in ms since 1970; nil takes the machine's.
	Now         func() int64
	Logger      *slog.Logger // Nil logs nowhere.
	NodeName    string       // "" for "leveret".
	MemoryLimit int64        // In bytes of live messages and their upkeep; 0 for none.
	// RefuseAfter is how long publishers are held by an alarm before publishes
	// are refused instead; 0 for ever.
	RefuseAfter time.Duration
	// QueueMemory is how many bytes of messages one queue keeps in memory when
	// Log can hold the rest; 0 for 16 MiB.
	QueueMemory int64
	// ConsumerTimeoutMS is how long a consumer may take to settle a delivery
	// where neither its queue nor a policy says it; 0 for ever.
	ConsumerTimeoutMS int64
	// MaxConnections is how many sessions the broker admits; 0 for any number.
	MaxConnections int
	// MaxVHosts is how many virtual hosts there may be; 0 for any number.
	MaxVHosts int
	// MaxQueues is how many queues there may be for one more to be declared; 0 for
	// any number.
	MaxQueues int
	// DefaultQueueType is what queues declared without a type are where their
	// virtual host does not say it. [QueueClassic]
	DefaultQueueType QueueType
	// MaxClients is how many clients (see Session.Attach) there may be,
	// connected or not; 0 for any number.
	MaxClients int

	// SystemExchanges are predeclared, like those called amq., and take messages
	// from Announcers only.
	SystemExchanges []SystemExchange

	// KeepUnknownQueues is asked, once Definitions have been read, whether
	// messages of queues that they do not know are to be kept in the log, out
	// of sight: for a store of definitions that is damaged. Nil means no.
	KeepUnknownQueues func() bool

	// A store without users and virtual hosts gets these: "" for "guest",
	// "guest" and "/". SkipDefaults leaves it empty.
	DefaultUser, DefaultPassword, DefaultVHost string
	SkipDefaults                               bool
	// What that user is and may: nil for an administrator who may do everything.
	DefaultTags       []string
	DefaultPermission *auth.Permission
	// NewVHost is called after a virtual host was made, by whoever made it; nil
	// for nothing. It holds no lock, so others may see the virtual host before.
	NewVHost func(o Operator, name string) error
	// LoopbackUsers may only log in from this machine; nil for guest.
	LoopbackUsers []string
	// Access is where users are looked for; nil for the directory alone.
	Access []AccessStep
}

// Operator is a Broker in the hands of one user: what is changed through it is
// known to be that user's doing. It is made by Broker.As.
type Operator struct {
	*Broker
	user string // "" for nobody in particular.
}

// commit is Broker.commit for what the user asks for.
func (o Operator) commit(changes ...Change) error { return o.Broker.commit(by(o.user, changes)...) }

// As returns b in the hands of a user, for whom it is called.
func (b *Broker) As(user string) Operator { return Operator{b, user} }

// Broker is a whole broker. Any goroutine may use it.
type Broker struct {
	// Operator is b in nobody's hands: it gives b the methods that change users,
	// permissions, virtual hosts and settings.
	Operator

	// Fixed by New.
	node              string
	definitions       Definitions
	log               MessageLog
	streams           StreamStore
	keepsStreams      bool // streams is not one in memory.
	clock             func() int64
	logger            *slog.Logger
	wheel             *wheel.Wheel
	memory            *Memory
	alarms            *Alarms
	directory         *auth.Directory
	registry          *Registry
	listeners         listeners
	tracer            atomic.Pointer[Tap] // nil while nobody traces.
	systemExchanges   []SystemExchange
	loopbackUsers     []string
	maxConnections    int
	maxVHosts         int
	maxQueues         int64
	declaring         sync.Mutex // While maxQueues is looked at and until the queue counts. Before VHost.limited.
	defaultQueueType  QueueType
	queueMemory       int64
	consumerTimeoutMS atomic.Int64
	newVHost          func(o Operator, name string) error
	maxClients        int
	defaults          defaults
	access            []AccessStep
	attempts          LoginAttempts

	meters meters
	stats  stats
	// undated are queues of which it is to be found out when their heads arrived.
	undated struct {
		sync.Mutex
		queues  []*classic
		running bool
	}

	vhosts     atomic.Pointer[hamt.Map[string, *VHost]]
	sessionIDs atomic.Uint64
	closing    atomic.Bool
	stopping   chan struct{} // Closed by Close.
	// started says that what was stored has been read, into the tables and
	// these. Written by New.
	started     bool
	leftovers   []Change     // What no longer belongs to anything.
	clientCount atomic.Int64 // Identities of clients.
	remembered  atomic.Int64 // Bytes of messages that exchanges remember.

	logGate  gate           // Closed while the log has more than it wants.
	tasks    sync.WaitGroup // What spawn started.
	applying sync.Mutex     // Held by apply.
	loaded   bool           // What was stored has been applied; guarded by applying.
	// loading is what routing tables are filled under by New, nil afterwards.
	loading *hamt.Edit
	// changing is held by changes to users, permissions and virtual hosts
	// while they look and commit. It comes before every other lock.
	changing sync.Mutex

	mu struct {
		sync.Mutex
		sessions  map[uint64]*Session
		connected int            // Sessions that count against limits.
		byUser    map[string]int // The same, by user.
	}

	// stored has the policies and parameters, as the definitions do.
	stored struct {
		sync.RWMutex
		settings map[settingKey]any
		// changed has, by component, whom to tell of its parameters.
		changed map[string]func()
	}
}

// New makes a broker from what is stored. It starts no goroutine, for which see
// Run, but where very many retained messages are to be read: that ends by itself,
// or by Close.
func New(o Options) (*Broker, error) {
	b := &Broker{
		node: o.NodeName, definitions: o.Definitions, log: o.Log, clock: o.Now, logger: o.Logger,
		directory: new(auth.Directory), systemExchanges: o.SystemExchanges,
		loopbackUsers: o.LoopbackUsers, maxConnections: o.MaxConnections, maxVHosts: o.MaxVHosts, maxQueues: int64(o.MaxQueues),
		defaultQueueType: cmp.Or(o.DefaultQueueType, QueueClassic), maxClients: o.MaxClients,
	}
	b.Operator = Operator{Broker: b}
	b.registry = newRegistry(b.rowEvent)
	b.SetConsumerTimeout(o.ConsumerTimeoutMS)
	b.newVHost = o.NewVHost
	if len(o.Access) > 1 || len(o.Access) == 1 && (o.Access[0].Authenticator != nil || len(o.Access[0].Authorisers) > 0) {
		b.access = o.Access
	}
	if b.queueMemory = o.QueueMemory; b.queueMemory == 0 {
		b.queueMemory = 16 << 20
	}
	if b.node == "" {
		b.node = "leveret"
	}
	if b.definitions == nil {
		b.definitions = NewMemoryDefinitions()
	}
	if b.log == nil {
		b.log = MemoryLog{}
	}
	if b.streams, b.keepsStreams = o.Streams, o.Streams != nil; !b.keepsStreams {
		b.streams = MemoryStreams{}
	}
	if b.clock == nil {
		b.clock = func() int64 { return time.Now().UnixMilli() }
	}
	if b.logger == nil {
		b.logger = slog.New(slog.DiscardHandler)
	}
	if b.loopbackUsers == nil {
		b.loopbackUsers = []string{"guest"}
	}
	b.stopping = make(chan struct{})
	b.vhosts.Store(new(hamt.Map[string, *VHost]))
	b.mu.sessions = make(map[uint64]*Session)
	b.mu.byUser = make(map[string]int)
	b.stored.settings = make(map[settingKey]any)
	b.defaults = defaults{
		orDefault(o.DefaultUser, "guest"), orDefault(o.DefaultPassword, "guest"), orDefault(o.DefaultVHost, "/"),
		[]string{auth.TagAdministrator}, auth.Permission{Configure: ".*", Write: ".*", Read: ".*"},
	}
	if o.DefaultTags != nil {
		b.defaults.tags = o.DefaultTags
	}
	if o.DefaultPermission != nil {
		b.defaults.may = *o.DefaultPermission
	}
	b.memory = new(Memory)
	b.memory.limit.Store(o.MemoryLimit)
	b.alarms = newAlarms(b.memory, b.logger, b.now, o.RefuseAfter, b.alarmEvent)
	b.wheel = wheel.New(b.now())

	b.loading = new(hamt.Edit)
	if err := b.definitions.Watch(b.apply); err != nil {
		return nil, fmt.Errorf("read definitions: %w", err)
	}
	b.applying.Lock()
	b.loaded = true
	b.endLoading()
	b.applying.Unlock()
	for _, v := range b.vhosts.Load().All() {
		v.sweep()
	}
	if err := b.recover(o.KeepUnknownQueues != nil && o.KeepUnknownQueues()); err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	b.startClients()
	b.log.OnPressure(b.logGate.set)
	b.log.OnState(func(err error) {
		if err != nil {
			b.logger.Error("the message log takes no publishes", "error", err)
		} else {
			b.logger.Info("the message log takes publishes again")
		}
		b.alarms.setLog(err)
	})
	if !o.SkipDefaults && b.vhosts.Load().Len() == 0 && len(b.directory.Users()) == 0 {
		if err := b.makeDefaults(); err != nil {
			close(b.stopping)
			b.tasks.Wait()
			return nil, err
		}
	}
	return b, nil
}

// endLoading makes the routing tables what they are for readers: immutable.
func (b *Broker) endLoading() {
	b.loading = nil
	for _, v := range b.vhosts.Load().All() {
		for x := range v.Exchanges() {
			if t, ok := x.table.(bulkTable); ok {
				t.edit(nil)
			}
		}
	}
}

// recover gives the queues what the log holds of them.
func (b *Broker) recover(keepUnknown bool) error {
	queues := make(map[QueueID]Queue)
	for _, v := range b.vhosts.Load().All() {
		for q := range v.keepers() {
			queues[q.Options().ID] = q
		}
	}
	retentions := make(map[QueueID]*retention)
	for _, v := range b.vhosts.Load().All() {
		for _, r := range v.retentions.Range {
			retentions[r.(*retention).id] = r.(*retention)
		}
	}
	known := func(id QueueID) bool { return keepUnknown || queues[id] != nil || retentions[id] != nil }
	if err := b.streams.Forget(known); err != nil {
		return err
	}
	err := b.log.Recover(known, func(r RecoveredLevel) error {
		if q := queues[r.Queue]; q != nil {
			q.recover(r)
		} else if o := retentions[r.Queue]; o != nil {
			o.recover(r)
		} else {
			b.logger.Error("messages kept of a queue whose definition is lost", "queue_id", r.Queue, "messages", len(r.Entries))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range retentions {
		r.load()
	}
	b.recoverClients()
	return nil
}

func orDefault(s, byDefault string) string {
	if s == "" {
		return byDefault
	}
	return s
}

func (b *Broker) makeDefaults() error {
	user, vhost := b.defaults.user, b.defaults.vhost
	hash, err := auth.HashPassword(b.defaults.password, "")
	if err == nil {
		err = b.PutVHost(VHostDef{Name: vhost, Description: "Default virtual host"})
	}
	if err == nil {
		err = b.PutUser(auth.User{Name: user, PasswordHash: hash, Tags: b.defaults.tags})
	}
	if err == nil {
		err = b.SetPermission(user, vhost, b.defaults.may)
	}
	if err != nil {
		return fmt.Errorf("create the default user and virtual host: %w", err)
	}
	return nil
}

// Run drives what happens by time, and tells adapters when memory is short,
// until ctx ends.
func (b *Broker) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { b.alarms.run(ctx) })
	wg.Go(func() { b.trim(ctx) })
	b.wheel.Run(ctx, b.now)
	wg.Wait()
	return nil
}

// Advance fires what is due by nowMS and waits until that has had its effect.
// It is for those who keep the clock themselves instead of calling Run.
func (b *Broker) Advance(nowMS int64) {
	b.wheel.Advance(nowMS)
	b.tasks.Wait()
}

// spawn runs f beside its caller, which may not block. Close waits for it.
func (b *Broker) spawn(f func()) { b.tasks.Go(f) }

// trimEvery is how often queues that have gone quiet give back what they keep
// for their next message.
const trimEvery = 15 * time.Second

// trim has quiet queues give back memory until ctx ends.
func (b *Broker) trim(ctx context.Context) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, v := range b.vhosts.Load().All() {
			for q := range v.keepers() {
				q.trim()
			}
		}
	}
}

// Close writes what is still to be written and closes the stores. Sessions are
// the adapters' to end before. Closing twice is harmless.
func (b *Broker) Close() error {
	if b.closing.Swap(true) {
		return nil
	}
	close(b.stopping)
	b.tasks.Wait()
	for _, v := range b.vhosts.Load().All() {
		for q := range v.keepers() {
			q.stop()
		}
	}
	return errors.Join(b.log.Close(), b.streams.Close(), b.definitions.Close())
}

// now is the time in ms since 1970.
func (b *Broker) now() int64 { return b.clock() }

// Now is the broker's time in ms since 1970.
func (b *Broker) Now() int64 { return b.clock() }

// SetConsumerTimeout changes Options.ConsumerTimeoutMS for consumers that begin
// from now on.
func (b *Broker) SetConsumerTimeout(ms int64) { b.consumerTimeoutMS.Store(max(0, ms)) }

// NodeName names this broker among others.
func (b *Broker) NodeName() string { return b.node }

// Memory returns the account of live bytes.
func (b *Broker) Memory() *Memory { return b.memory }

// Alarms returns what holds publishers while memory or disk is short.
func (b *Broker) Alarms() *Alarms { return b.alarms }

// Registry returns what operators see of sessions.
func (b *Broker) Registry() *Registry { return b.registry }

// Auth answers who may do what. It is to be read only: changes go through the
// Broker's methods, which store them.
func (b *Broker) Auth() *auth.Directory { return b.directory }

func (b *Broker) vhost(name string) *VHost {
	v, _ := b.vhosts.Load().Get(name)
	return v
}

// VHost returns a virtual host by its name.
func (b *Broker) VHost(name string) (*VHost, bool) {
	v := b.vhost(name)
	return v, v != nil
}

// VHosts lists the virtual hosts by name.
func (b *Broker) VHosts() []*VHost {
	var vs []*VHost
	for _, v := range b.vhosts.Load().All() {
		vs = append(vs, v)
	}
	slices.SortFunc(vs, func(x, y *VHost) int { return strings.Compare(x.name, y.name) })
	return vs
}

// commit makes changes durable and visible, or explains why not.
func (b *Broker) commit(changes ...Change) error {
	if len(changes) == 0 {
		return nil
	}
	err := b.definitions.Commit(changes)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrConflict):
		return errorf(Unavailable, "the definition was changed by someone else at the same time, try again")
	}
	b.logger.Error("definitions not stored", "error", err)
	return errorf(Unavailable, "the broker cannot store definitions now: %v", err)
}

// addSession admits a session if limits allow one more.
func (b *Broker) addSession(s *Session) error {
	user, v := s.User().Name, s.vhost
	b.mu.Lock()
	defer b.mu.Unlock()
	if !s.internal {
		if err := b.roomForLocked(user, v); err != nil {
			return err
		}
		s.countedAs = user
		b.mu.connected++
		b.mu.byUser[user]++
		v.sessionCount.Add(1)
	}
	b.mu.sessions[s.id] = s
	return nil
}

// roomForLocked refuses a further connection of a user if a limit does. b.mu is
// held.
func (b *Broker) roomForLocked(user string, v *VHost) error {
	if b.maxConnections > 0 && b.mu.connected >= b.maxConnections {
		return errorf(NotAllowed, "connection refused: node connection limit (%d) is reached", b.maxConnections)
	}
	if limit := v.maxConnections.Load(); limit >= 0 && v.sessionCount.Load() >= limit {
		return errorf(NotAllowed, "access to vhost '%s' refused for user '%s': connection limit (%d) is reached", v.name, user, limit)
	}
	if limit, ok := b.userLimit(user, auth.LimitConnections); ok && int64(b.mu.byUser[user]) >= limit {
		return errorf(NotAllowed, "connection refused for user '%s': user connection limit (%d) is reached", user, limit)
	}
	return nil
}

func (b *Broker) removeSession(s *Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.sessions[s.id] != s {
		return
	}
	delete(b.mu.sessions, s.id)
	if s.internal {
		return
	}
	b.mu.connected--
	s.vhost.sessionCount.Add(-1)
	if b.mu.byUser[s.countedAs]--; b.mu.byUser[s.countedAs] == 0 {
		delete(b.mu.byUser, s.countedAs)
	}
}

// session returns an open session by its id, or nil.
func (b *Broker) session(id uint64) *Session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.sessions[id]
}

// SessionCount returns how many clients are connected.
func (b *Broker) SessionCount() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.connected
}

// Connections returns how many clients are connected, and how many may be; 0 for
// any number.
func (b *Broker) Connections() (now, limit int) { return b.SessionCount(), b.maxConnections }

// Sessions yields the sessions that are open now, but for internal ones, in no
// particular order.
func (b *Broker) Sessions() iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		for _, s := range b.sessionsOf(func(s *Session) bool { return !s.internal }) {
			if !yield(s) {
				return
			}
		}
	}
}

func (b *Broker) sessionsOf(which func(*Session) bool) []*Session {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ss []*Session
	for _, s := range b.mu.sessions {
		if which(s) {
			ss = append(ss, s)
		}
	}
	return ss
}
