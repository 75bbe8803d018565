package core

import (
	"maps"
	"slices"

	"leveret/core/auth"
)

// Limits that virtual hosts can have; those of users are in package auth.
const (
	LimitConnections = "max-connections"
	LimitQueues      = "max-queues"
)

func noUser(name string) error  { return errorf(NotFound, "user '%s' not found", name) }
func noVHost(name string) error { return errorf(NotFound, "vhost '%s' not found", name) }

// Changes to users and permissions are tried on an empty directory first: what
// it takes, ours will.

// PutUser creates or replaces a user.
func (b Operator) PutUser(u auth.User) error {
	if u.Name == "" {
		return errorf(Invalid, "a user needs a name")
	}
	if err := new(auth.Directory).PutUser(u); err != nil {
		return errorf(Invalid, "%v", err)
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	return b.commit(Change{Kind: DefUser, Key: []string{u.Name}, Value: u, Was: AnyRevision})
}

// DeleteUser deletes a user with its permissions, and ends its sessions.
func (b Operator) DeleteUser(name string) error {
	if err := b.deleteUser(name); err != nil {
		return err
	}
	for _, s := range b.sessionsOf(func(s *Session) bool { return s.User().Name == name }) {
		s.End("user '" + name + "' is deleted")
	}
	return nil
}

func (b Operator) deleteUser(name string) error {
	b.changing.Lock()
	defer b.changing.Unlock()
	if _, ok := b.directory.User(name); !ok {
		return noUser(name)
	}
	changes := permissionChanges(b.directory.PermissionsOf(name), b.directory.TopicPermissionsOf(name))
	return b.commit(append(changes, Change{Kind: DefUser, Key: []string{name}, Was: AnyRevision})...)
}

// permissionChanges removes permissions.
func permissionChanges(ps []auth.PermissionRow, ts []auth.TopicPermissionRow) []Change {
	var changes []Change
	for _, p := range ps {
		changes = append(changes, Change{Kind: DefPermission, Key: []string{p.VHost, p.User}, Was: AnyRevision})
	}
	for _, t := range ts {
		changes = append(changes, Change{Kind: DefTopicPermission, Key: []string{t.VHost, t.User, t.Exchange}, Was: AnyRevision})
	}
	return changes
}

// userLimit returns a limit of a user, if it has one.
func (b *Broker) userLimit(user, limit string) (int64, bool) {
	u, _ := b.directory.User(user)
	return u.Limit(limit)
}

// SetUserLimit sets a limit of a user; negative is none.
func (b Operator) SetUserLimit(user, limit string, value int64) error {
	if limit != auth.LimitConnections && limit != auth.LimitChannels {
		return errorf(Invalid, "unknown user limit '%s'", limit)
	}
	return b.changeUser(user, func(u *auth.User) {
		if u.Limits = maps.Clone(u.Limits); u.Limits == nil {
			u.Limits = make(map[string]int64)
		}
		u.Limits[limit] = value
	})
}

// ClearUserLimit removes a limit of a user.
func (b Operator) ClearUserLimit(user, limit string) error {
	return b.changeUser(user, func(u *auth.User) {
		u.Limits = maps.Clone(u.Limits)
		delete(u.Limits, limit)
	})
}

func (b Operator) changeUser(name string, change func(*auth.User)) error {
	b.changing.Lock()
	defer b.changing.Unlock()
	u, ok := b.directory.User(name)
	if !ok {
		return noUser(name)
	}
	change(&u)
	return b.commit(Change{Kind: DefUser, Key: []string{name}, Value: u, Was: AnyRevision})
}

// exist refuses permissions for who or what is not there. b.changing is held.
func (b *Broker) exist(user, vhost string) error {
	if _, ok := b.directory.User(user); !ok {
		return noUser(user)
	}
	if b.vhost(vhost) == nil {
		return noVHost(vhost)
	}
	return nil
}

// SetPermission gives a user access to a virtual host.
func (b Operator) SetPermission(user, vhost string, p auth.Permission) error {
	if err := new(auth.Directory).SetPermission(user, vhost, p); err != nil {
		return errorf(Invalid, "%v", err)
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	if err := b.exist(user, vhost); err != nil {
		return err
	}
	row := auth.PermissionRow{User: user, VHost: vhost, Permission: p}
	return b.commit(Change{Kind: DefPermission, Key: []string{vhost, user}, Value: row, Was: AnyRevision})
}

// ClearPermission takes a user's access to a virtual host away. It is NotFound
// if there is none.
func (b Operator) ClearPermission(user, vhost string) error {
	b.changing.Lock()
	defer b.changing.Unlock()
	p, ok := b.directory.Permission(user, vhost)
	if !ok {
		return errorf(NotFound, "user '%s' has no permissions in vhost '%s'", user, vhost)
	}
	return b.commit(permissionChanges([]auth.PermissionRow{{User: user, VHost: vhost, Permission: p}}, nil)...)
}

// SetTopicPermission restricts a user to some routing keys of a topic exchange.
func (b Operator) SetTopicPermission(user, vhost string, p auth.TopicPermission) error {
	if err := new(auth.Directory).SetTopicPermission(user, vhost, p); err != nil {
		return errorf(Invalid, "%v", err)
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	if err := b.exist(user, vhost); err != nil {
		return err
	}
	row := auth.TopicPermissionRow{User: user, VHost: vhost, TopicPermission: p}
	return b.commit(Change{Kind: DefTopicPermission, Key: []string{vhost, user, p.Exchange}, Value: row, Was: AnyRevision})
}

// ClearTopicPermission removes a user's restriction for one exchange. It is
// NotFound if there is none.
func (b Operator) ClearTopicPermission(user, vhost, exchange string) error {
	return b.clearTopicPermissions(user, vhost, func(x string) bool { return x == exchange })
}

// ClearTopicPermissions removes a user's restrictions for all exchanges of a
// virtual host. It is NotFound if there are none.
func (b Operator) ClearTopicPermissions(user, vhost string) error {
	return b.clearTopicPermissions(user, vhost, func(string) bool { return true })
}

func (b Operator) clearTopicPermissions(user, vhost string, which func(exchange string) bool) error {
	b.changing.Lock()
	defer b.changing.Unlock()
	var rows []auth.TopicPermissionRow
	for _, r := range b.directory.TopicPermissionsOf(user) {
		if r.VHost == vhost && which(r.Exchange) {
			rows = append(rows, r)
		}
	}
	if rows == nil {
		return errorf(NotFound, "user '%s' has no such topic permissions in vhost '%s'", user, vhost)
	}
	return b.commit(permissionChanges(nil, rows)...)
}

// applyAccess passes users and permissions on to the directory.
func (b *Broker) applyAccess(c *Change) {
	var err error
	var old *auth.User
	if c.Kind == DefUser {
		if u, ok := b.directory.User(c.Key[0]); ok {
			old = &u
		}
	}
	switch v := c.Value.(type) {
	case UserDef:
		if err = b.directory.PutUser(v); err == nil {
			b.userEvents(v.Name, old, &v, c.By)
		}
	case PermissionDef:
		err = b.directory.SetPermission(v.User, v.VHost, v.Permission)
	case TopicPermissionDef:
		err = b.directory.SetTopicPermission(v.User, v.VHost, v.TopicPermission)
	case nil:
		switch c.Kind {
		case DefUser:
			b.directory.DeleteUser(c.Key[0])
			b.userEvents(c.Key[0], old, nil, c.By)
		case DefPermission:
			b.directory.ClearPermission(c.Key[1], c.Key[0])
		case DefTopicPermission:
			b.directory.ClearTopicPermission(c.Key[1], c.Key[0], c.Key[2])
		}
	}
	if err != nil {
		b.logger.Error("definition not loaded", "key", c.Key, "error", err)
	} else if c.Kind != DefUser {
		b.definitionEvent(c)
	}
}

// PutVHost creates a virtual host with its predeclared exchanges, or changes
// the description of one.
func (b Operator) PutVHost(d VHostDef) error {
	if d.Name == "" {
		return errorf(Invalid, "a virtual host needs a name")
	}
	if why := checkQueueType(d.DefaultQueueType, nil); why != "" {
		return errorf(Invalid, "default queue type of vhost '%s': %s", d.Name, why)
	}
	b.changing.Lock()
	isNew := b.vhost(d.Name) == nil
	var err error
	if isNew && b.maxVHosts > 0 && b.vhosts.Load().Len() >= b.maxVHosts {
		err = errorf(Limit, "cannot create vhost '%s': vhost limit of %d is reached", d.Name, b.maxVHosts)
	} else {
		err = b.commit(Change{Kind: DefVHost, Key: []string{d.Name}, Value: d, Was: AnyRevision})
	}
	b.changing.Unlock()
	if err == nil && isNew && b.newVHost != nil {
		err = b.newVHost(b, d.Name)
	}
	return err
}

// SetVHostLimit sets a limit of a virtual host; negative is none.
func (b Operator) SetVHostLimit(vhost, limit string, value int64) error {
	if limit != LimitConnections && limit != LimitQueues {
		return errorf(Invalid, "unknown vhost limit '%s'", limit)
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	if b.vhost(vhost) == nil {
		return noVHost(vhost)
	}
	return b.commit(Change{
		Kind: DefVHostLimit, Key: []string{vhost, limit}, Was: AnyRevision,
		Value: VHostLimitDef{VHost: vhost, Name: limit, Value: value},
	})
}

// ClearVHostLimit removes a limit of a virtual host.
func (b Operator) ClearVHostLimit(vhost, limit string) error {
	b.changing.Lock()
	defer b.changing.Unlock()
	if b.vhost(vhost) == nil {
		return noVHost(vhost)
	}
	return b.commit(Change{Kind: DefVHostLimit, Key: []string{vhost, limit}, Was: AnyRevision})
}

// Limits returns the limits that are set.
func (v *VHost) Limits() map[string]int64 {
	limits := make(map[string]int64)
	if n := v.maxConnections.Load(); n >= 0 {
		limits[LimitConnections] = n
	}
	if n := v.maxQueues.Load(); n >= 0 {
		limits[LimitQueues] = n
	}
	return limits
}

// DeleteVHost deletes a virtual host with all that is in it, and ends its
// sessions.
func (b Operator) DeleteVHost(name string) error {
	if v := b.vhost(name); v != nil && v.Definition().Protected {
		return errorf(InUse, "vhost '%s' is protected from deletion", name)
	}
	b.changing.Lock()
	v := b.vhost(name)
	if v == nil {
		b.changing.Unlock()
		return noVHost(name)
	}
	queues, err := b.deleteVHost(v)
	b.changing.Unlock()
	if err != nil {
		return err
	}
	v.dropClients()
	reason := "vhost '" + name + "' is deleted"
	for _, s := range b.sessionsOf(func(s *Session) bool { return s.vhost == v }) {
		s.End(reason)
	}
	var t Touched
	for _, q := range queues {
		q.dropConsumers(reason, &t)
	}
	t.Flush()
	return nil
}

// deleteVHost returns the queues, closed, whose consumers are still to be
// told. b.changing is held.
func (b Operator) deleteVHost(v *VHost) ([]Queue, error) {
	v.topology.Lock()
	defer v.topology.Unlock()
	queues := slices.Collect(v.Queues())
	changes := permissionChanges(b.directory.PermissionsIn(v.name), b.directory.TopicPermissionsIn(v.name))
	changes = append(changes, b.settingChanges(v.name)...)
	for limit := range v.Limits() {
		changes = append(changes, Change{Kind: DefVHostLimit, Key: []string{v.name, limit}, Was: AnyRevision})
	}
	changes = v.clientChanges(changes)
	v.tables.Lock()
	for x := range v.Exchanges() {
		changes = v.bindingChanges(changes, x.sourceOf.all())
	}
	v.tables.Unlock()
	for _, q := range queues {
		o := q.Options()
		changes = append(changes, Change{Kind: DefQueue, Key: []string{v.name, o.Name}, Was: AnyRevision, Transient: !o.Durable})
	}
	for x := range v.Exchanges() {
		changes = v.retentionChanges(changes, x)
		if reservedName("exchange", x.name) == nil && x.name != "" {
			changes = append(changes, Change{Kind: DefExchange, Key: []string{v.name, x.name}, Was: AnyRevision, Transient: !x.durable})
		}
	}
	changes = append(changes, Change{Kind: DefVHost, Key: []string{v.name}, Was: AnyRevision})
	if err := b.commit(changes...); err != nil {
		return nil, err
	}
	for x := range v.Exchanges() {
		x.deleted.Store(true) // The predeclared ones have no definition that was removed.
	}
	for _, q := range queues {
		q.closeIf(always)
	}
	return queues, nil
}
