package core

import (
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"leveret/core/wheel"
)

// A client is known by an id that it chose, and may outlive its connections:
// then its subscriptions, the queue that they lead to, what it holds of that
// and its will wait for it to come back.
//
//	Session.Attach ----> claim the identity; who has it is told, and waited for
//	                       |
//	                     Client: subscribes, consumes, until Detach
//	                       |
//	                     identity, owned by nobody: the lease runs, a will waits
//	                       |                                  |
//	                     Attach again                    the lease is over: end
//
// Whoever owns an identity may change it and what belongs to it; nobody else
// does, so that these changes need no lock while they wait for the disk. What
// happens by time claims it like a connection does.

// ClientOptions are the arguments of Session.Attach.
type ClientOptions struct {
	ID string
	// Clean ends what an earlier connection left behind.
	Clean bool
	// ExpiryMS is how long the client outlives its connection: 0 for not at
	// all, and then nothing of it is stored; negative for ever.
	ExpiryMS int64
	// KeepAliveMS is how often the client promises to be heard, 0 for no
	// promise. A will that outlives a restart gives it time accordingly.
	KeepAliveMS int64
	// Queue and DirectQueue are what its own queues are called: that for
	// subscriptions of a grade above 0, and that of a client without any.
	Queue, DirectQueue string
	// Arguments are those of Queue, when it is made.
	Arguments Table
	Will      *Will // Or nil. It is kept.
	// Displaced is called once, by any goroutine that holds no lock, when
	// another connection wants the identity (reason is "" then), or an operator
	// ends the client. It must not block and must lead to Detach soon, because
	// the other one waits for that.
	Displaced func(reason string)
}

// Client is an identity in the hands of one connection, from Attach to Detach.
// Its methods belong to that connection's goroutine, but for Detach.
type Client struct {
	session *Session
	broker  *Broker
	options ClientOptions
	*identity

	told     bool // That it is displaced. Guarded by the registry's lock.
	detached atomic.Bool
}

// identity is a client, connected or not.
type identity struct {
	vhost *VHost
	id    string
	timer wheel.Timer // For the lease and the will, while nobody owns it.

	// Guarded by the lock of the registry's shard.
	owner *Client       // nil while nobody has it.
	freed chan struct{} // Closed when the owner lets go; nil unless someone waits.

	// Of the owner. What is stored is in def as it is stored.
	def       ClientDef
	stored    bool
	owned     bool // It has a queue of its own,
	direct    bool // which is the direct one.
	subs      []Subscription
	received  map[uint16]struct{} // See Client.Received.
	will      *will
	leaseEnds int64 // 0 for never, or not running.

	// looks is held by the owner while it changes def, subs, owned, direct or
	// will, and by operators who look at them. A leaf.
	looks sync.Mutex
}

// ClientInfo is what operators see of a client.
type ClientInfo struct {
	ID            string
	Attached      *Session // nil between connections.
	Subscriptions int      // As of its last connection, while it has one.
}

// clientRegistry holds the identities of a virtual host. It is the one place
// that is asked who has one.
type clientRegistry struct {
	shards [clientShards]clientShard

	shares struct {
		sync.Mutex
		members map[string]int // Subscriptions by shared queue. Changed under the queue's name lock.
	}
}

type clientShard struct {
	sync.Mutex
	byID map[string]*identity
	most int // Of byID; see deleteFrom.
}

const clientShards = 32

func (r *clientRegistry) shard(id string) *clientShard {
	return &r.shards[maphash.String(nameSeed, id)%clientShards]
}

// Attach makes s the connection of a client. Who is it at present is told, and
// Attach waits until that has let go or ctx ends. present says that something
// of an earlier connection was there.
//
// Errors: Limit when Options.MaxClients are there, Unavailable when the client
// cannot be stored, and ctx's.
func (s *Session) Attach(ctx context.Context, o ClientOptions) (c *Client, present bool, err error) {
	c = &Client{session: s, broker: s.broker, options: o}
	if present, err = s.vhost.clients.claim(ctx, c); err != nil {
		return nil, false, err
	}
	if present && (o.Clean || !c.queueThere()) {
		if err := c.wipe(); err != nil {
			c.rest()
			return nil, false, err
		}
		present = false
	}
	if err := c.begin(); err != nil {
		c.rest()
		return nil, false, err
	}
	return c, present, nil
}

// claim makes c the owner of its identity, which is made if need be.
func (r *clientRegistry) claim(ctx context.Context, c *Client) (present bool, err error) {
	v, id := c.session.vhost, c.options.ID
	s := r.shard(id)
	for {
		s.Lock()
		i := s.byID[id]
		switch {
		case i == nil:
			err := c.broker.admitClient()
			if err == nil {
				i = v.newIdentity(s, strings.Clone(id))
				i.owner, c.identity = c, i
			}
			s.Unlock()
			return false, err
		case i.owner == nil:
			i.owner, c.identity = c, i
			s.Unlock()
			c.broker.wheel.Stop(&i.timer)
			return true, nil
		}
		owner, tell := i.owner, !i.owner.told
		owner.told = true
		if i.freed == nil {
			i.freed = make(chan struct{})
		}
		freed := i.freed
		s.Unlock()
		if tell && owner.options.Displaced != nil {
			owner.options.Displaced("")
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return false, fmt.Errorf("waiting for the client's former connection: %w", ctx.Err())
		}
	}
}

// claimFree makes c the owner of i if nobody has it, and it is still there.
func (c *Client) claimFree(i *identity) bool {
	s := i.vhost.clients.shard(i.id)
	s.Lock()
	defer s.Unlock()
	if i.owner != nil || s.byID[i.id] != i {
		return false
	}
	i.owner, c.identity = c, i
	return true
}

// newIdentity makes an identity that nobody owns. The shard is locked.
func (v *VHost) newIdentity(s *clientShard, id string) *identity {
	i := &identity{vhost: v, id: id}
	i.timer.Init(i)
	if s.byID == nil {
		s.byID = make(map[string]*identity)
	}
	s.byID[id] = i
	return i
}

// admitClient counts one client more, if that is allowed.
func (b *Broker) admitClient() error {
	if n := b.clientCount.Add(1); b.maxClients > 0 && n > int64(b.maxClients) {
		b.clientCount.Add(-1)
		return errorf(Limit, "client refused: the limit of %d clients is reached", b.maxClients)
	}
	return nil
}

// release lets go of the identity, which is forgotten if it has ended.
func (c *Client) release(ended bool) {
	s := c.vhost.clients.shard(c.identity.id)
	s.Lock()
	c.owner = nil
	freed := c.freed
	c.freed = nil
	if ended {
		s.byID = deleteFrom(s.byID, c.identity.id, &s.most)
		c.broker.clientCount.Add(-1)
	}
	s.Unlock()
	if freed != nil {
		close(freed)
	}
}

// queueThere reports whether nobody deleted the queue that the client's
// subscriptions lead to.
func (c *Client) queueThere() bool {
	name, _ := c.Queue()
	return name == "" || c.vhost.declared(name) != nil
}

// begin notes what the new connection asks for.
func (c *Client) begin() error {
	o := &c.options
	d := c.def
	d.VHost, d.ID = c.vhost.name, c.identity.id
	var left *will
	if o.Will != nil {
		var err error
		if left, err = newWill(c.session, o.Will); err != nil {
			return err
		}
	}
	stores := left != nil && o.ExpiryMS != 0 && !c.stored
	if stores {
		if err := c.number(&d); err != nil {
			left.drop(c.broker)
			return err
		}
	}
	d.ExpiryMS, d.KeepAliveMS = max(o.ExpiryMS, -1), o.KeepAliveMS
	if !c.owned {
		d.Queue, d.DirectQueue = strings.Clone(o.Queue), strings.Clone(o.DirectQueue)
	}
	var changes []Change
	if stores || c.stored && d != c.def {
		changes = append(changes, c.change(d))
	}
	old := c.will
	c.setWill(left)
	if c.will != nil {
		if stores || c.stored {
			changes = append(changes, c.will.change(c.identity, d.Number))
			c.will.stored = true
		}
	} else if old != nil && old.stored {
		changes = append(changes, Change{Kind: DefWill, Key: c.key(), Was: AnyRevision})
	}
	if err := c.vhost.commit(changes...); err != nil {
		c.will.drop(c.broker)
		c.setWill(old)
		return err
	}
	old.drop(c.broker)
	c.looks.Lock()
	c.def, c.stored, c.leaseEnds = d, c.stored || stores, 0
	c.looks.Unlock()
	return nil
}

func (i *identity) key() []string { return []string{i.vhost.name, i.id} }

// change stores d as the client's definition.
func (i *identity) change(d ClientDef) Change {
	return Change{Kind: DefClient, Key: i.key(), Value: d, Was: AnyRevision}
}

// number gives d the number that tells what belongs to this client from what
// belonged to an earlier one of its name.
func (c *Client) number(d *ClientDef) error {
	n, err := c.broker.definitions.NextQueueID()
	if err != nil {
		return errorf(Unavailable, "the broker cannot number the client: %v", err)
	}
	d.Number = n
	return nil
}

// store returns the change that stores the client, if it is to be and is not
// yet. A client is stored when there is something to be remembered of it. The
// caller, once it has committed the change, sets stored.
func (c *Client) store() ([]Change, error) {
	if c.stored || !c.Lasting() {
		return nil, nil
	}
	if err := c.number(&c.def); err != nil {
		return nil, err
	}
	return []Change{c.change(c.def)}, nil
}

// ID is what the client calls itself.
func (c *Client) ID() string { return c.identity.id }

// Origin is the Message.Origin of what the client publishes.
func (c *Client) Origin() uint64 { return OriginOf(c.identity.id) }

// Lasting reports whether the client outlives its connection.
func (c *Client) Lasting() bool { return c.def.ExpiryMS != 0 }

// SetExpiry changes how long the client outlives its connection. That a client
// which does not may not change its mind is the adapter's to see to.
func (c *Client) SetExpiry(ms int64) error {
	d := c.def
	if d.ExpiryMS = max(ms, -1); d == c.def {
		return nil
	}
	if c.stored {
		if err := c.vhost.commit(c.change(d)); err != nil {
			return err
		}
	}
	c.looks.Lock()
	c.def = d
	c.looks.Unlock()
	return nil
}

// Departure is how a connection came to its end.
type Departure uint8

// The ways in which a connection ends.
const (
	Left    Departure = iota // The client said goodbye: its will is forgotten.
	Lost                     // Its will is sent, after its delay or when the client ends.
	Stopped                  // The broker stops: the will is neither sent nor forgotten.
)

// Detach lets go of the identity. A client that does not outlive its connection
// ends, with its queues and subscriptions. Consumers of one that does are
// detached before. Any goroutine may call it; twice is harmless. It may wait
// for a disk.
func (c *Client) Detach(d Departure) {
	if c.detached.Swap(true) {
		return
	}
	now := c.broker.now()
	switch {
	case d == Left && c.will != nil:
		if c.will.stored && c.Lasting() { // Otherwise it goes with the client.
			c.forget(Change{Kind: DefWill, Key: c.key(), Was: AnyRevision})
		}
		c.will.drop(c.broker)
		c.setWill(nil)
	case d == Lost && c.will != nil:
		c.will.by = c.session.principal.Load()
		c.will.author = authorOf(c.will.by)
		c.will.dueMS = now + c.will.DelayMS
		if c.will.DelayMS == 0 {
			c.sendWill()
		}
	}
	if !c.Lasting() {
		if d != Stopped {
			c.end()
			return
		}
		// What is stored of it goes at the next start, as after a crash.
		c.unshare()
		c.will.drop(c.broker)
		c.release(true)
		return
	}
	if c.def.ExpiryMS > 0 {
		c.leaseEnds = now + c.def.ExpiryMS
	}
	c.rest()
}

// rest lets go of an identity that lives on, or ends one that has nothing to
// live for.
func (c *Client) rest() {
	if !c.Lasting() || c.vhost.deleted.Load() {
		c.end()
		return
	}
	// While the shard is locked: nobody must own it before its timer is set.
	s := c.vhost.clients.shard(c.identity.id)
	s.Lock()
	if at := c.nextDue(); at != 0 {
		c.broker.wheel.Schedule(&c.timer, at)
	}
	s.Unlock()
	c.release(false)
}

// nextDue is when something is to be done about an identity without owner, or 0.
func (i *identity) nextDue() int64 {
	at := i.leaseEnds
	if i.will != nil && i.will.dueMS != 0 && (at == 0 || i.will.dueMS < at) {
		at = i.will.dueMS
	}
	return at
}

// Fire sees to what is due. The wheel calls it, and must not wait.
func (i *identity) Fire(int64) {
	b := i.vhost.broker
	b.spawn(func() {
		c := &Client{broker: b}
		if !c.claimFree(i) {
			return // Its owner decides.
		}
		now := b.now()
		if i.will != nil && i.will.dueMS != 0 && i.will.dueMS <= now {
			c.sendWill()
		}
		if i.leaseEnds != 0 && i.leaseEnds <= now {
			c.end()
		} else {
			c.rest()
		}
	})
}

// end ends the client: nothing of it is left.
func (c *Client) end() {
	if err := c.wipe(); err != nil {
		// It comes back with the next start, and its lease with it.
		c.broker.logger.Error("client ended in memory only", "vhost", c.vhost.name, "client", c.identity.id, "error", err)
	}
	c.release(true)
}

// wipe removes everything that belongs to the client. A will that waits to be
// sent is sent.
func (c *Client) wipe() error {
	if c.will != nil && c.will.dueMS != 0 {
		c.sendWill()
	}
	if c.stored {
		changes := make([]Change, 0, 2+len(c.subs))
		for k := range c.subs {
			changes = append(changes, Change{Kind: DefSubscription, Key: append(c.key(), c.subs[k].Filter), Was: AnyRevision})
		}
		if c.will != nil && c.will.stored {
			changes = append(changes, Change{Kind: DefWill, Key: c.key(), Was: AnyRevision})
		}
		changes = append(changes, Change{Kind: DefClient, Key: c.key(), Was: AnyRevision})
		if err := c.vhost.commit(changes...); err != nil {
			return err
		}
	}
	if name, _ := c.Queue(); name != "" {
		if q := c.vhost.queue(name); q != nil {
			var t Touched
			c.vhost.deleteQueueIf(q, always, "client ended", "", &t)
			t.Flush()
		}
	}
	c.unshare()
	c.forgetAll()
	c.will.drop(c.broker)
	c.looks.Lock()
	defer c.looks.Unlock()
	c.def, c.stored, c.owned, c.direct, c.subs, c.will, c.leaseEnds = ClientDef{}, false, false, false, nil, nil, 0
	return nil
}

// forget commits deletions that are no great loss if they fail.
func (c *Client) forget(changes ...Change) {
	if err := c.vhost.commit(changes...); err != nil {
		c.broker.logger.Warn("a client's definition was not removed", "vhost", c.vhost.name, "client", c.identity.id, "error", err)
	}
}

// Clients lists the clients that are there, in no particular order.
func (v *VHost) Clients() iter.Seq[ClientInfo] {
	return func(yield func(ClientInfo) bool) {
		for k := range v.clients.shards {
			s := &v.clients.shards[k]
			s.Lock()
			infos := make([]ClientInfo, 0, len(s.byID))
			for _, i := range s.byID {
				info := ClientInfo{ID: i.id}
				if i.owner == nil {
					info.Subscriptions = len(i.subs)
				} else {
					info.Attached = i.owner.session
				}
				infos = append(infos, info)
			}
			s.Unlock()
			for _, info := range infos {
				if !yield(info) {
					return
				}
			}
		}
	}
}

func (i *identity) setWill(w *will) {
	i.looks.Lock()
	i.will = w
	i.looks.Unlock()
}

// ClientDetail is what operators see of one client.
type ClientDetail struct {
	ClientInfo
	ExpiryMS      int64 // How long it outlives a connection; 0 for not at all, negative for ever.
	ExpiresMS     int64 // When it ends, while it has no connection; 0 for never.
	Subscribed    []Subscription
	Queues        []string // Its own, and those that it shares.
	Will          *Will    // Or nil. Read only.
	Messages      int      // In its own queue, those that it holds among them.
	MessagesBytes int64
}

// Client returns a client by its id, connected or not.
func (v *VHost) Client(id string) (d ClientDetail, ok bool) {
	s := v.clients.shard(id)
	s.Lock()
	i := s.byID[id]
	if i == nil {
		s.Unlock()
		return d, false
	}
	d.ID = i.id
	if i.owner == nil {
		d.ExpiresMS = i.leaseEnds
	} else {
		d.Attached = i.owner.session
	}
	i.looks.Lock()
	d.ExpiryMS, d.Subscribed, d.Subscriptions = i.def.ExpiryMS, slices.Clone(i.subs), len(i.subs)
	if i.will != nil {
		d.Will = &i.will.Will
	}
	if i.owned {
		d.Queues = append(d.Queues, i.def.Queue)
	}
	if i.direct {
		d.Queues = append(d.Queues, i.def.DirectQueue)
	}
	i.looks.Unlock()
	s.Unlock()
	for _, name := range d.Queues {
		if q := v.queue(name); q != nil {
			info := q.Info()
			d.Messages += info.Ready + info.Unacked + info.Delayed
			d.MessagesBytes += info.ReadyBytes + info.UnackedBytes
		}
	}
	for _, sub := range d.Subscribed {
		if sub.Shared != "" && !slices.Contains(d.Queues, sub.Shared) {
			d.Queues = append(d.Queues, sub.Shared)
		}
	}
	return d, true
}

// ClientCount returns how many clients there are, connected or not.
func (b *Broker) ClientCount() int { return int(b.clientCount.Load()) }

// EndClient ends a client: its connection is told, and what it would leave
// behind is removed. One that is not there is no error.
func (v *VHost) EndClient(ctx context.Context, id, reason string) error {
	s := v.clients.shard(id)
	for {
		s.Lock()
		i := s.byID[id]
		if i == nil {
			s.Unlock()
			return nil
		}
		c := &Client{broker: v.broker}
		if i.owner == nil {
			i.owner, c.identity = c, i
			s.Unlock()
			v.broker.wheel.Stop(&i.timer)
			c.end()
			return nil
		}
		owner, tell := i.owner, !i.owner.told
		owner.told = true
		if i.freed == nil {
			i.freed = make(chan struct{})
		}
		freed := i.freed
		s.Unlock()
		if tell && owner.options.Displaced != nil {
			owner.options.Displaced(reason)
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the client's connection: %w", ctx.Err())
		}
	}
}

// applyClient takes over what is stored of clients when the broker starts.
// Later whoever owns the client made the change, and knows it.
func (v *VHost) applyClient(c *Change) {
	if v.broker.started || c.Value == nil {
		return
	}
	s := v.clients.shard(c.Key[1])
	s.Lock()
	defer s.Unlock()
	i := s.byID[c.Key[1]]
	if c.Kind == DefClient {
		if i == nil {
			i = v.newIdentity(s, c.Key[1])
			v.broker.clientCount.Add(1)
		}
		i.def, i.stored = c.Value.(ClientDef), true
		return
	}
	leftover := i == nil
	switch d := c.Value.(type) {
	case SubscriptionDef:
		if leftover = leftover || d.Number != i.def.Number; leftover {
			break
		}
		i.addSubscription(d.Subscription)
		if d.Shared != "" {
			v.clients.shares.Lock()
			v.clients.countMember(d.Shared, 1)
			v.clients.shares.Unlock()
		}
	case WillDef:
		if leftover = leftover || d.Number != i.def.Number; leftover {
			break
		}
		i.will = &will{Will: d.Will, author: d.Author, vars: d.Vars, stored: true}
		i.will.charge(v.broker)
	}
	if leftover {
		v.broker.leftovers = append(v.broker.leftovers, Change{Kind: c.Kind, Key: c.Key, Was: AnyRevision})
	}
}

// startClients begins the leases of the clients that were stored, and gives
// those that were connected time to come back before their wills are sent.
func (b *Broker) startClients() {
	b.started = true
	if err := b.commit(b.leftovers...); err != nil {
		b.logger.Warn("what is left of clients that are gone was not removed", "error", err)
	}
	b.leftovers = nil
	now := b.now()
	for _, v := range b.vhosts.Load().All() {
		for k := range v.clients.shards {
			s := &v.clients.shards[k]
			for _, i := range s.byID {
				if i.will != nil {
					i.will.dueMS = now + max(i.will.DelayMS, i.def.KeepAliveMS*3/2, willGraceMS)
				}
				i.direct = i.vhost.declared(i.def.DirectQueue) != nil
				// Its queue outlives the last subscription: something may be on its way.
				i.owned = i.direct || i.vhost.declared(i.def.Queue) != nil ||
					slices.ContainsFunc(i.subs, func(s Subscription) bool { return s.Shared == "" })
				switch e := i.def.ExpiryMS; {
				case e > 0:
					i.leaseEnds = now + e
				case e == 0:
					i.leaseEnds = now
				}
				if at := i.nextDue(); at != 0 {
					b.wheel.Schedule(&i.timer, at)
				}
			}
		}
	}
}

// clientChanges returns the changes that remove what is stored of v's clients.
func (v *VHost) clientChanges(changes []Change) []Change {
	for k := range v.clients.shards {
		s := &v.clients.shards[k]
		s.Lock()
		ids := make([]string, 0, len(s.byID))
		for id := range s.byID {
			ids = append(ids, id)
		}
		s.Unlock()
		for _, id := range ids {
			key := []string{v.name, id}
			for _, kind := range []DefinitionKind{DefClient, DefWill} {
				if _, r, err := v.broker.definitions.Get(kind, key); err == nil && r != 0 {
					changes = append(changes, Change{Kind: kind, Key: key, Was: AnyRevision})
				}
			}
		}
	}
	return changes
}

// dropClients forgets the clients of a virtual host that is gone. Those with a
// connection end with that.
func (v *VHost) dropClients() {
	for k := range v.clients.shards {
		s := &v.clients.shards[k]
		s.Lock()
		ids := slices.Collect(maps.Values(s.byID))
		s.Unlock()
		for _, i := range ids {
			if c := (&Client{broker: v.broker}); c.claimFree(i) {
				v.broker.wheel.Stop(&i.timer)
				i.will.drop(v.broker)
				c.release(true)
			}
		}
	}
}

// addSubscription adds or replaces s among i's subscriptions, which are sorted.
func (i *identity) addSubscription(s Subscription) (replaced bool) {
	k, found := i.findSubscription(s.Filter)
	i.looks.Lock()
	defer i.looks.Unlock()
	if found {
		i.subs[k] = s
	} else {
		i.subs = slices.Insert(i.subs, k, s)
	}
	return found
}

func (i *identity) findSubscription(filter string) (int, bool) {
	return slices.BinarySearchFunc(i.subs, filter, func(s Subscription, f string) int { return strings.Compare(s.Filter, f) })
}
