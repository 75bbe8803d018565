package core

// Policies take effect on what exists already. A change of them makes a new
// policySet at once, which whatever is declared from then on looks at; what was
// declared before is gone through by a sweep, in the background of everything
// but the change itself, which returns when its sweep is done. A sweep holds no
// lock that a publisher or a declare may want for longer than one queue takes.

// policyChanged makes v's policies anew from those stored. apply calls it.
func (v *VHost) policyChanged(c *Change) {
	k := keyOfSetting(c.Kind, c.Key)
	if v.compiled == nil {
		v.compiled = make(map[settingKey]*policy)
	}
	delete(v.compiled, k)
	if d, ok := c.Value.(PolicyDef); ok {
		p, err := newPolicy(c.Kind, d)
		if err != nil {
			v.broker.logger.Error("policy without effect", "vhost", v.name, "policy", d.Name, "error", err)
		} else {
			v.compiled[k] = p
		}
	}
	var policies, operators []*policy
	for k, p := range v.compiled {
		if k.kind == DefPolicy {
			policies = append(policies, p)
		} else {
			operators = append(operators, p)
		}
	}
	v.policies.Store(newPolicySet(policies, operators))
	if v.broker.loaded {
		v.broker.spawn(v.sweep)
	}
}

// sweep brings all queues and exchanges of v under its policies. When it
// returns, those of the moment of its call are in force.
func (v *VHost) sweep() {
	v.sweeping.Lock()
	defer v.sweeping.Unlock()
	for set := v.policies.Load(); set != v.swept; set = v.policies.Load() {
		if v.sweepTo(set) {
			v.swept = set
		}
	}
}

// sweepTo gives up, and reports false, when there is a newer set.
func (v *VHost) sweepTo(set *policySet) bool {
	for x := range v.Exchanges() {
		v.updateExchange(x, set)
	}
	n := 0
	for d := range v.declaredQueues() {
		if n++; n%256 == 0 && v.policies.Load() != set {
			return false
		}
		if d.update(set) {
			v.queuePolicyEvent(d)
		}
	}
	return true
}

// update brings a queue under the policies of set. It reports whether others
// apply now.
func (d *destination) update(set *policySet) bool {
	o := d.queue.Options()
	a := set.forQueue(o)
	if a.same(d.policy.Load()) {
		return false
	}
	d.policy.Store(a)
	d.queue.applyRules(rulesUnder(o, a))
	return true
}

// updateExchange brings x under the policies of set.
func (v *VHost) updateExchange(x *Exchange, set *policySet) {
	if x.name == "" {
		return // Nothing can be said about the default exchange.
	}
	a := set.forExchange(x.name)
	if a.same(x.policy.Load()) {
		return
	}
	v.tables.Lock()
	defer v.tables.Unlock()
	x.policy.Store(a)
	if x.dedup != nil {
		x.dedup.seen.configure(x.cacheLimits(a))
	}
	old, now := x.alternate.Load(), x.alternateUnder(a)
	if old == nil && now == nil || old != nil && now != nil && *old == *now {
		return
	}
	if x.deleted.Load() {
		return
	}
	// As in applyBinding: publishers learn where x leads before it does, and
	// afterwards that it no longer does.
	if now != nil {
		v.leadsToLocked(x, *now, 1)
	}
	x.alternate.Store(now)
	if old != nil {
		v.leadsToLocked(x, *old, -1)
	}
	v.reachChangedLocked(x)
	x.version.Add(1)
	v.reroutedUpstreamLocked(x.name)
}

// alternateUnder is x's alternate exchange where a applies; nil for none. What
// x was declared with comes first.
func (x *Exchange) alternateUnder(a *appliedPolicy) *string {
	v, ok := x.arguments.Get(argAlternateExchange)
	if !ok {
		v, _ = a.get(argAlternateExchange)
	}
	if name, ok := v.(string); ok {
		return &name
	}
	return nil
}

// QueuePolicy says which policies apply to q.
func (v *VHost) QueuePolicy(q Queue) AppliedPolicy {
	if d := v.destination(q.Options().Name); d != nil && d.queue == q {
		return d.policy.Load().public()
	}
	return AppliedPolicy{}
}
