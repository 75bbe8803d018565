package core

// apply changes the tables as the definitions have changed. It is the watch on
// them: called for what is stored at first, then before each commit returns,
// one call at a time. What it builds is read by routing without a lock, and
// tables are changed before versions are raised, so that a route remembered
// with the new version was found in the new tables.
func (b *Broker) apply(changes []Change) {
	b.applying.Lock()
	defer b.applying.Unlock()
	for i := range changes {
		b.applyOne(&changes[i])
	}
}

func (b *Broker) applyOne(c *Change) {
	switch c.Kind {
	case DefVHost:
		b.applyVHost(c)
	case DefUser, DefPermission, DefTopicPermission:
		b.applyAccess(c)
	case DefPolicy, DefOperatorPolicy, DefParameter, DefGlobal:
		b.applySetting(c)
		b.definitionEvent(c)
		if v := b.vhost(c.Key[0]); v != nil && (c.Kind == DefPolicy || c.Kind == DefOperatorPolicy) {
			v.policyChanged(c)
		}
	default:
		v := b.vhost(c.Key[0])
		if v == nil {
			return // A leftover of a virtual host that is gone.
		}
		switch c.Kind {
		case DefExchange:
			v.applyExchange(c)
		case DefQueue:
			v.applyQueue(c)
		case DefBinding:
			v.applyBinding(c)
		case DefVHostLimit:
			v.applyLimit(c)
		case DefClient, DefSubscription, DefWill:
			v.applyClient(c)
		case DefRetained:
			v.applyRetained(c)
		}
	}
}

func (b *Broker) applyVHost(c *Change) {
	name := c.Key[0]
	vhosts := *b.vhosts.Load()
	v, exists := vhosts.Get(name)
	if c.Value == nil {
		if exists {
			v.deleted.Store(true)
			vhosts = vhosts.Without(name)
			b.vhosts.Store(&vhosts)
			v.endTaps(func(*Tap) bool { return true })
			b.definitionEvent(c)
		}
		return
	}
	d := c.Value.(VHostDef)
	d.Tracing = d.Tracing && b.loaded // It does not outlive a restart.
	if exists {
		traced := v.definition.Load().Tracing
		v.definition.Store(&d)
		if d.Tracing != traced {
			v.retap()
		}
		return
	}
	v = newVHost(b, d)
	vhosts = vhosts.With(name, v)
	b.vhosts.Store(&vhosts)
	v.retap()
	b.definitionEvent(c)
}

func (v *VHost) applyLimit(c *Change) {
	limit := int64(-1)
	if c.Value != nil {
		limit = c.Value.(VHostLimitDef).Value
	}
	switch c.Key[1] {
	case LimitQueues:
		v.maxQueues.Store(limit)
	case LimitConnections:
		v.maxConnections.Store(limit)
	}
	v.broker.definitionEvent(c)
}

func (v *VHost) applyExchange(c *Change) {
	name := c.Key[1]
	x, exists := v.exchanges.Load().Get(name)
	switch {
	case exists == (c.Value != nil):
		return // Exchanges do not change once declared.
	case exists:
		if x.history != nil {
			x.history.forget()
		}
		if x.dedup != nil {
			x.dedup.seen.forget()
		}
		if x.delayer != nil {
			x.delayer.forget()
		}
	default:
		d := c.Value.(ExchangeDef)
		if !canMake(&d) {
			v.broker.logger.Error("exchange not loaded: unknown type", "vhost", v.name, "exchange", name, "type", d.Type)
			return
		}
		x = newExchange(v, d)
	}
	v.tables.Lock() // Before a sweep of policies can find it.
	defer v.tables.Unlock()
	xs := *v.exchanges.Load()
	n := 1
	if exists {
		n = -1
		xs = xs.Without(name)
		v.retireExchange(x)
	} else {
		xs = xs.With(name, x)
	}
	v.exchanges.Store(&xs)
	x.deleted.Store(exists)
	if alternate := x.alternate.Load(); alternate != nil {
		v.leadsToLocked(x, *alternate, n)
	}
	v.reachChangedLocked(x)
	v.reroutedLocked(name)
	x.version.Add(1)
	if exists {
		v.endTaps(func(t *Tap) bool { return t.exchange == x })
	}
	v.broker.definitionEvent(c)
}

func (v *VHost) applyQueue(c *Change) {
	name := c.Key[1]
	d := v.destination(name)
	if c.Value == nil {
		if d != nil {
			v.dropQueue(name)
			v.retireQueue(d.queue)
			v.broker.stats.deleted.Add(1)
			v.queueCount.Add(-1)
			v.queuesChanged()
			v.endTaps(func(t *Tap) bool { return t.queue == d.queue })
			v.broker.definitionEvent(c)
		}
		return
	}
	if d != nil {
		return // Queues do not change once declared.
	}
	def := c.Value.(QueueDef)
	d = &destination{id: destinationIDs.Add(1), name: def.Name, durable: def.Durable}
	if def.Exclusive {
		d.owner = v.broker.session(def.Owner)
	}
	d.queue = newQueue(v, queueOptions(def))
	d.update(v.policies.Load())
	v.putQueue(name, d)
	v.queueCount.Add(1)
	if v.broker.loaded {
		v.broker.stats.created.Add(1)
	}
	v.tables.Lock()
	delete(v.tables.undeleted, name)
	v.reroutedLocked("")
	v.tables.Unlock()
	v.broker.definitionEvent(c)
}

func (v *VHost) applyBinding(c *Change) {
	end := Binding{Destination: c.Key[3]}
	if c.Key[2] != bindingToQueue {
		end.DestinationKind = ToExchange
	}
	source, dest := v.exchange(c.Key[1]), v.bindingDestination(&end)
	key, argsID := c.Key[4], c.Key[5]
	if source == nil || source.table == nil || dest == nil {
		return // A leftover of an end that is gone.
	}
	v.tables.Lock()
	defer v.tables.Unlock()
	b, _ := dest.bindings.find(source.name, key, argsID)
	switch {
	case c.Value != nil && b == nil:
		def := c.Value.(BindingDef)
		b = &binding{source: source, dest: dest, key: def.Key, args: def.Arguments, argsID: argsID}
		if dest.exchange != nil {
			// Publishers learn that this leads to an exchange that reads
			// messages before they can get there.
			v.leadsToLocked(source, dest.name, 1)
			source.countNext(dest.exchange, 1)
			v.reachChangedLocked(source)
		}
		source.sourceOf.add(b)
		source.everBound = true
		source.table.add(b, dest.bindings.add(b))
		source.bound.Store(true)
		v.bindingEvent(BindingCreated, b, c.By)

	case c.Value == nil && b != nil:
		source.table.remove(b, dest.bindings.remove(b))
		source.sourceOf.remove(b)
		source.bound.Store(source.sourceOf.n > 0)
		v.bindingEvent(BindingDeleted, b, c.By)
		if dest.exchange != nil {
			v.leadsToLocked(source, dest.name, -1)
			source.countNext(dest.exchange, -1)
			v.reachChangedLocked(source)
		}
	default:
		return
	}
	source.version.Add(1)
	v.reroutedUpstreamLocked(source.name)
}

func (x *Exchange) countNext(to *Exchange, n int) {
	if x.next == nil {
		x.next = make(map[*Exchange]int)
	}
	if x.next[to] += n; x.next[to] == 0 {
		delete(x.next, to)
	}
}

// leadsToLocked notes n more ways from x to the exchange called name.
func (v *VHost) leadsToLocked(x *Exchange, name string, n int) {
	from := v.tables.upstream[name]
	if from == nil {
		from = make(map[*Exchange]int)
		v.tables.upstream[name] = from
	}
	if from[x] += n; from[x] == 0 {
		if delete(from, x); len(from) == 0 {
			delete(v.tables.upstream, name)
		}
	}
}

// reroutedLocked raises the version of the exchange called name, if it exists,
// and of all that lead to it.
func (v *VHost) reroutedLocked(name string) {
	if x := v.exchange(name); x != nil {
		x.version.Add(1)
	}
	v.reroutedUpstreamLocked(name)
}

// reroutedUpstreamLocked raises the versions of all that lead to name. Mostly
// there are none, and a bind costs no more than that look-up.
func (v *VHost) reroutedUpstreamLocked(name string) {
	if len(v.tables.upstream[name]) == 0 {
		return
	}
	for x := range v.upstreamLocked(name) {
		x.version.Add(1)
	}
}

// upstreamLocked returns every exchange from which name can be reached.
func (v *VHost) upstreamLocked(name string) map[*Exchange]struct{} {
	seen := make(map[*Exchange]struct{})
	names := []string{name}
	for len(names) > 0 {
		name, names = names[len(names)-1], names[:len(names)-1]
		for x := range v.tables.upstream[name] {
			if _, ok := seen[x]; !ok {
				seen[x] = struct{}{}
				names = append(names, x.name)
			}
		}
	}
	return seen
}

// reachChangedLocked finds out anew whether x, and those that lead to it, lead
// to an exchange that reads messages.
func (v *VHost) reachChangedLocked(x *Exchange) {
	x.readsMessages.Store(v.readsMessagesLocked(x))
	if len(v.tables.upstream[x.name]) == 0 {
		return
	}
	for up := range v.upstreamLocked(x.name) {
		up.readsMessages.Store(v.readsMessagesLocked(up))
	}
}

func (v *VHost) readsMessagesLocked(x *Exchange) bool {
	seen := map[*Exchange]struct{}{x: {}}
	todo := []*Exchange{x}
	reach := func(y *Exchange) {
		if _, ok := seen[y]; !ok && y != nil {
			seen[y] = struct{}{}
			todo = append(todo, y)
		}
	}
	for len(todo) > 0 {
		x, todo = todo[len(todo)-1], todo[:len(todo)-1]
		if x.reads {
			return true
		}
		for y := range x.next {
			reach(y)
		}
		if alternate := x.alternate.Load(); alternate != nil {
			reach(v.exchange(*alternate))
		}
	}
	return false
}
