package core

import (
	"slices"
	"strings"

	"leveret/core/auth"
)

// Subscription is a client's wish for messages, kept with it. What it means is
// a binding to a queue; the rest is the adapter's, for when it hands messages on.
type Subscription struct {
	Filter   string // Identifies it among the client's; the adapter's own text.
	Exchange string
	Key      string // The binding's.
	// Shared, if not "", is the durable queue that this subscription shares with
	// others of any client's. It is made with the first and deleted with the
	// last of them.
	Shared string
	// Grade is how much the client cares, in the adapter's scale. Those of grade
	// 0 get what nobody need keep: a client with no others has a direct queue.
	Grade       uint8
	NoLocal     bool // Not what the client itself publishes; see Message.Origin.
	AsPublished bool // The adapter's, like all that follows.
	Handling    uint8
	Identifier  uint32
}

func (s *Subscription) binding(queue string) Binding {
	return Binding{Source: s.Exchange, Destination: queue, Key: s.Key}
}

func (s *Subscription) clone() Subscription {
	c := *s
	c.Filter, c.Exchange, c.Key, c.Shared = strings.Clone(s.Filter), strings.Clone(s.Exchange), strings.Clone(s.Key), strings.Clone(s.Shared)
	return c
}

// Subscriptions returns the client's subscriptions, sorted by their filters.
func (c *Client) Subscriptions() []Subscription { return slices.Clone(c.subs) }

// Queue names the queue that the client's own subscriptions lead to, "" while
// there is none. One that is direct is to be consumed without acks.
//
// The first subscription of a grade above 0 moves all from the direct queue to
// the other, for good: the direct one's consumers end then without being told,
// and who asked for the subscription consumes anew.
func (c *Client) Queue() (name string, direct bool) {
	switch {
	case c.direct:
		return c.def.DirectQueue, true
	case c.owned:
		return c.def.Queue, false
	}
	return "", false
}

// Subscribe adds subscriptions, or replaces those with the same filters. Each
// needs configure permission on its queue if that is to be made, write on the
// queue, read on the exchange and the topic, and read on the queue; refused in
// that order. What a lasting client subscribes to is stored when it returns.
//
// errs has, in the order of subs, why one was refused, or nil; replaced, whether
// there was one with this filter. After Unavailable the client should end: its
// consumer may be gone.
func (c *Client) Subscribe(subs []Subscription) (replaced []bool, errs []error) {
	replaced, errs = make([]bool, len(subs)), make([]error, len(subs))
	var own []int
	for k := range subs {
		if subs[k].Shared == "" {
			own = append(own, k)
		} else {
			replaced[k], errs[k] = c.subscribeShared(&subs[k])
		}
	}
	if len(own) > 0 {
		c.subscribeOwn(subs, own, replaced, errs)
	}
	return replaced, errs
}

// subscribeOwn adds those of subs that which names to the client's own queue.
func (c *Client) subscribeOwn(subs []Subscription, which []int, replaced []bool, errs []error) {
	direct := c.direct || !c.owned
	for _, k := range which {
		direct = direct && subs[k].Grade == 0
	}
	name := c.def.Queue
	if direct {
		name = c.def.DirectQueue
	}
	var wanted []Subscription
	var places []int
	fail := func(err error) {
		for _, k := range places {
			errs[k] = err
		}
	}
	for _, k := range which {
		if errs[k] = c.permitSubscription(&subs[k], name); errs[k] == nil {
			wanted = append(wanted, subs[k].clone())
			places = append(places, k)
		}
	}
	if len(wanted) == 0 {
		return
	}
	moves := c.direct && !direct
	if moves {
		// A message is rather lost than doubled meanwhile.
		c.cancelConsumers(c.def.DirectQueue)
	}
	all := wanted
	if moves {
		all = slices.Clone(wanted)
		for _, s := range c.subs {
			if s.Shared == "" {
				all = append(all, s)
			}
		}
	}
	if err := c.bindOwn(name, direct, all, wanted); err != nil {
		fail(err)
		return
	}
	for n, s := range wanted {
		old, found := c.subscription(s.Filter)
		replaced[places[n]] = found
		c.addSubscription(s)
		if found {
			c.unbind(&old)
		}
	}
	c.looks.Lock()
	c.owned, c.direct = true, direct
	c.looks.Unlock()
	if moves {
		if q := c.vhost.queue(c.def.DirectQueue); q != nil {
			var t Touched
			c.vhost.deleteQueueIf(q, always, "moved", c.session.User().Name, &t)
			t.Flush()
		}
	}
}

// subscription returns the one with this filter.
func (c *Client) subscription(filter string) (Subscription, bool) {
	if k, found := c.findSubscription(filter); found {
		return c.subs[k], true
	}
	return Subscription{}, false
}

// permitSubscription refuses what the session's user may not subscribe to.
func (c *Client) permitSubscription(s *Subscription, queue string) error {
	if c.vhost.declared(queue) == nil {
		if err := c.session.permitQueue(auth.Configure, queue); err != nil {
			return err
		}
	}
	b := s.binding(queue)
	if err := c.session.permitBinding(&b); err != nil {
		return err
	}
	if c.vhost.exchange(s.Exchange) == nil {
		return c.vhost.noExchange(s.Exchange)
	}
	return c.session.permitQueue(auth.Read, queue)
}

// cancelConsumers ends the session's consumers of a queue, without telling them.
func (c *Client) cancelConsumers(queue string) {
	var t Touched
	for _, o := range c.session.Consumers() {
		if o.QueueName() == queue {
			o.Cancel(&t)
		}
	}
	t.Flush()
}

// bindOwn makes the client's queue called name, unless it is there, binds it as
// bound asks, and stores the client and wanted, all in one commit.
func (c *Client) bindOwn(name string, direct bool, bound, wanted []Subscription) error {
	lasting := c.Lasting()
	changes, err := c.store()
	if err != nil {
		return err
	}
	stores := len(changes) > 0
	d := QueueDef{VHost: c.vhost.name, Name: name, Durable: lasting, Exclusive: !lasting, Arguments: c.options.Arguments}
	d.Type = queueTypeOf(d.Arguments, QueueClassic)
	if direct {
		d.Type, d.Arguments = QueueDirect, nil
	}
	if c.stored || stores {
		for k := range wanted {
			changes = append(changes, c.subscriptionChange(&wanted[k]))
		}
	}
	if err := c.bind(d, bound, changes); err != nil {
		if stores {
			c.def.Number = 0
		}
		return err
	}
	c.stored = c.stored || stores
	return nil
}

func (c *Client) subscriptionChange(s *Subscription) Change {
	return Change{Kind: DefSubscription, Key: append(c.key(), s.Filter), Was: AnyRevision,
		Value: SubscriptionDef{VHost: c.vhost.name, Client: c.identity.id, Number: c.def.Number, Subscription: *s}}
}

// bind makes the queue d, unless it is there, with the bindings of subs, and
// commits changes with that. It counts a member more of a shared queue.
func (c *Client) bind(d QueueDef, subs []Subscription, changes []Change) (err error) {
	v, s := c.vhost, c.session
	if err := c.checkQueue(&d); err != nil {
		return err
	}
	unlock := v.lockName(d.Name)
	made := false
	defer func() {
		unlock()
		if made && d.Exclusive && err == nil && !s.own(v.destination(d.Name)) {
			err = errorf(Unavailable, "the session has ended") // The client's end deletes the queue.
		}
	}()
	if err := v.gone(); err != nil {
		return err
	}
	dest := v.declared(d.Name)
	durable := d.Durable
	if dest != nil {
		if err := s.exclusiveTo(dest); err != nil {
			return err
		}
		durable = dest.durable
	} else {
		release, err := s.numberQueue(&d)
		if err != nil {
			return err
		}
		defer release()
		if d.Exclusive {
			d.Owner = s.id
		}
		made = true
		changes = append(changes, v.queueChanges(d)...)
	}
	histories, changes, err := c.bindingChanges(dest, d.Name, durable, subs, changes)
	if err != nil {
		return err
	}
	if err := s.commit(changes...); err != nil {
		return err
	}
	if len(subs) > 0 && subs[0].Shared != "" {
		v.clients.shares.Lock()
		v.clients.countMember(d.Name, 1)
		v.clients.shares.Unlock()
	}
	for _, x := range histories {
		x.history.bound()
	}
	return nil
}

// bindingChanges appends the changes that bind the queue called name, which is
// dest if it is there, as subs ask. It returns the exchanges that will want to
// know. The name's lock is held.
func (c *Client) bindingChanges(dest *destination, name string, durable bool, subs []Subscription, changes []Change) ([]*Exchange, []Change, error) {
	v := c.vhost
	var histories []*Exchange
	from := len(changes)
	for k := range subs {
		b := subs[k].binding(name)
		x := v.exchange(b.Source)
		if x == nil {
			return nil, nil, v.noExchange(b.Source)
		}
		if dest != nil {
			v.tables.Lock()
			found, _ := dest.bindings.find(b.Source, b.Key, "")
			v.tables.Unlock()
			if found != nil {
				continue
			}
		}
		if err := x.kind.checkBinding(&b, dest); err != nil {
			return nil, nil, err
		}
		key := bindingKey(v.name, &b, "")
		if slices.ContainsFunc(changes[from:], func(o Change) bool { return slices.Equal(o.Key, key) }) {
			continue
		}
		changes = append(changes, Change{
			Kind: DefBinding, Key: key, Value: BindingDef{VHost: v.name, Binding: b}, Transient: !(x.durable && durable),
		})
		if x.history != nil {
			histories = append(histories, x)
		}
	}
	return histories, changes, nil
}

// checkQueue refuses a queue that nobody could declare.
func (c *Client) checkQueue(d *QueueDef) error {
	what := c.vhost.queueText(d.Name)
	if err := reservedName("queue", d.Name); err != nil {
		return err
	}
	if len(d.Arguments) == 0 {
		return nil
	}
	if err := boundedArguments(what, d.Arguments); err != nil {
		return err
	}
	return checkQueueArguments(what, d.Arguments, QueueClassic)
}

// subscribeShared adds or replaces a subscription to a shared queue.
func (c *Client) subscribeShared(s *Subscription) (replaced bool, err error) {
	if err := c.permitSubscription(s, s.Shared); err != nil {
		return false, err
	}
	old, replaced := c.subscription(s.Filter)
	n := s.clone()
	changes, err := c.store()
	if err != nil {
		return false, err
	}
	stores := len(changes) > 0
	if c.stored || stores {
		changes = append(changes, c.subscriptionChange(&n))
	}
	d := QueueDef{VHost: c.vhost.name, Name: n.Shared, Type: QueueClassic, Durable: true}
	if err := c.bind(d, []Subscription{n}, changes); err != nil {
		if stores {
			c.def.Number = 0
		}
		return false, err
	}
	c.stored = c.stored || stores
	c.addSubscription(n)
	if replaced {
		c.unbind(&old)
	}
	return replaced, nil
}

// Unsubscribe removes a subscription. existed is false if there was none with
// this filter. It needs what making it needed, but for configure and read of
// the queue.
func (c *Client) Unsubscribe(filter string) (existed bool, err error) {
	k, found := c.findSubscription(filter)
	if !found {
		return false, nil
	}
	old := c.subs[k]
	queue := old.Shared
	if queue == "" {
		queue, _ = c.Queue()
	}
	b := old.binding(queue)
	if err := c.session.permitBinding(&b); err != nil {
		return true, err
	}
	return true, c.removeSubscription(k)
}

// removeSubscription removes the kth, whatever the user may do.
func (c *Client) removeSubscription(k int) error {
	old := c.subs[k]
	if c.stored {
		if err := c.vhost.commit(Change{Kind: DefSubscription, Key: append(c.key(), old.Filter), Was: AnyRevision}); err != nil {
			return err
		}
	}
	c.looks.Lock()
	c.subs = slices.Delete(c.subs, k, k+1)
	c.looks.Unlock()
	c.unbind(&old)
	return nil
}

// Renewed is called when the session's principal is another: subscriptions that
// it may not have end, and are returned; ending, if not nil, is called before
// each of them does, and perhaps its queue with it. A stored will is from now on
// the new principal's. It may take a network trip for each subscription.
func (c *Client) Renewed(ending func(s *Subscription)) (ended []Subscription, err error) {
	for k := len(c.subs) - 1; k >= 0; k-- {
		s := c.subs[k]
		queue := s.Shared
		if queue == "" {
			queue, _ = c.Queue()
		}
		b := s.binding(queue)
		if c.session.permitBinding(&b) == nil {
			continue
		}
		if ending != nil {
			ending(&s)
		}
		if err := c.removeSubscription(k); err != nil {
			return ended, err
		}
		ended = append(ended, s)
	}
	w := c.will
	if w == nil {
		return ended, nil
	}
	w.by = c.session.principal.Load()
	if a := authorOf(w.by); a != w.author {
		w.author = a
		if w.stored {
			return ended, c.vhost.commit(w.change(c.identity, c.def.Number))
		}
	}
	return ended, nil
}

// unbind undoes what old did, which the client no longer has.
func (c *Client) unbind(old *Subscription) {
	if old.Shared != "" {
		c.vhost.leaveShare(old.Shared)
		return
	}
	queue, _ := c.Queue()
	for k := range c.subs {
		if s := &c.subs[k]; s.Shared == "" && s.Exchange == old.Exchange && s.Key == old.Key {
			return // Another one needs the binding.
		}
	}
	if err := c.vhost.removeBinding(old.binding(queue), c.session.User().Name); err != nil {
		// Messages that come by it match no filter, and are dropped.
		c.broker.logger.Warn("a client's binding was not removed", "vhost", c.vhost.name, "client", c.identity.id, "error", err)
	}
}

// removeBinding removes a binding of a queue without asking who may.
func (v *VHost) removeBinding(b Binding, user string) error {
	unlock := v.lockName(b.Destination)
	defer unlock()
	dest, x := v.declared(b.Destination), v.exchange(b.Source)
	if dest == nil || x == nil {
		return nil
	}
	v.tables.Lock()
	found, _ := dest.bindings.find(b.Source, b.Key, "")
	v.tables.Unlock()
	if found == nil {
		return nil
	}
	return v.commit(Change{Kind: DefBinding, Key: bindingKey(v.name, &b, ""), Was: AnyRevision, Transient: !found.durable(), By: user})
}

// countMember counts n subscriptions more of a shared queue and returns how
// many there are. shares is locked.
func (r *clientRegistry) countMember(queue string, n int) int {
	if r.shares.members == nil {
		r.shares.members = make(map[string]int)
	}
	left := r.shares.members[queue] + n
	if left <= 0 {
		delete(r.shares.members, queue)
	} else {
		r.shares.members[queue] = left
	}
	return left
}

// leaveShare counts a subscription less of a shared queue, and deletes it with
// its last.
func (v *VHost) leaveShare(queue string) {
	unlock := v.lockName(queue)
	v.clients.shares.Lock()
	left := v.clients.countMember(queue, -1)
	v.clients.shares.Unlock()
	unlock()
	if q := v.queue(queue); left == 0 && q != nil {
		var t Touched
		v.deleteQueueIf(q, func(QueueInfo) error {
			v.clients.shares.Lock()
			defer v.clients.shares.Unlock()
			if v.clients.shares.members[queue] > 0 {
				return errorf(InUse, "%s in use", v.queueText(queue))
			}
			return nil
		}, "nobody shares it any more", "", &t)
		t.Flush()
	}
}

// unshare takes the client's subscriptions off the queues that it shares.
func (c *Client) unshare() {
	var t Touched
	for k := range c.subs {
		s := &c.subs[k]
		if s.Shared == "" {
			continue
		}
		if q, ok := c.vhost.queue(s.Shared).(*classic); ok && c.stored {
			q.endHolder(c.def.Number, &t)
		}
		c.vhost.leaveShare(s.Shared)
	}
	t.Flush()
}

// Consume is Session.Consume for a queue that the client's subscriptions lead
// to: its own, which o.Queue may leave empty, or a shared one. If the client
// lasts, the consumer resumes what the one before it held, and Prefetch counts
// that too.
func (c *Client) Consume(o ConsumeOptions) (*Consumer, error) {
	if o.Queue == "" {
		o.Queue, _ = c.Queue()
	}
	if c.stored {
		o.holder = c.def.Number
	}
	return c.session.Consume(o)
}
