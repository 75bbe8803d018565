package auth

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"leveret/core/pattern"
)

// Permission is what a user may do in one virtual host: for each action, an
// expression that must match somewhere in the name of the exchange or queue.
// The empty expression matches the empty name only.
type Permission struct {
	Configure, Write, Read string
}

// TopicPermission is which routing keys a user may write to one topic exchange,
// and which binding keys may be used to read from it. The expressions may
// contain {username}, {vhost} and {client_id}.
type TopicPermission struct {
	Exchange    string
	Write, Read string
}

// PermissionRow is a Permission with whose it is and where.
type PermissionRow struct {
	User, VHost string
	Permission
}

// TopicPermissionRow is a TopicPermission with whose it is and where.
type TopicPermissionRow struct {
	User, VHost string
	TopicPermission
}

// permission is a Permission ready to be checked.
type permission struct {
	Permission
	regexes [3]*pattern.Regex // By Action.
}

// compiledMax is how many expressions a Directory remembers.
const compiledMax = 1024

// compile compiles expr, or returns what it made of the same expression before.
func (d *Directory) compile(expr string) (*pattern.Regex, error) {
	if expr == "" {
		expr = "^$"
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if re, ok := d.mu.compiled[expr]; ok {
		return re, nil
	}
	re, err := pattern.Compile(expr)
	if err != nil {
		return nil, err
	}
	if d.mu.compiled == nil || len(d.mu.compiled) >= compiledMax {
		d.mu.compiled = make(map[string]*pattern.Regex)
	}
	d.mu.compiled[expr] = re
	return re, nil
}

// SetPermission makes p what user may do in vhost. It fails if an expression
// is not valid, and then changes nothing.
func (d *Directory) SetPermission(user, vhost string, p Permission) error {
	row := &permission{Permission: p}
	for action, expr := range [...]string{Configure: p.Configure, Write: p.Write, Read: p.Read} {
		re, err := d.compile(expr)
		if err != nil {
			return fmt.Errorf("%v permission: %w", Action(action), err)
		}
		row.regexes[action] = re
	}
	d.change(func(s *state) {
		a := s.accessOf(user)
		a.vhosts = a.vhosts.With(vhost, row)
		s.setAccess(user, a)
	})
	return nil
}

// ClearPermission takes the access to vhost from user and reports whether there
// was any. Topic permissions stay.
func (d *Directory) ClearPermission(user, vhost string) (existed bool) {
	d.change(func(s *state) {
		a := s.accessOf(user)
		_, existed = a.vhosts.Get(vhost)
		a.vhosts = a.vhosts.Without(vhost)
		s.setAccess(user, a)
	})
	return existed
}

// Permission returns what user may do in vhost, and whether there is a row.
func (d *Directory) Permission(user, vhost string) (Permission, bool) {
	if row, ok := d.state().permission(user, vhost); ok {
		return row.Permission, true
	}
	return Permission{}, false
}

func (s *state) permission(user, vhost string) (*permission, bool) {
	a, ok := s.access.Get(user)
	if !ok {
		return nil, false
	}
	return a.vhosts.Get(vhost)
}

// Permissions returns all rows by virtual host and user.
func (d *Directory) Permissions() []PermissionRow {
	return d.permissions(d.state().access.All(), "", true)
}

// PermissionsOf returns the rows of user by virtual host.
func (d *Directory) PermissionsOf(user string) []PermissionRow {
	return d.permissions(one(d.state(), user), "", true)
}

// PermissionsIn returns the rows in vhost by user.
func (d *Directory) PermissionsIn(vhost string) []PermissionRow {
	return d.permissions(d.state().access.All(), vhost, false)
}

// one yields what user may do, if anything.
func one(s *state, user string) iter.Seq2[string, *access] {
	return func(yield func(string, *access) bool) {
		if a, ok := s.access.Get(user); ok {
			yield(user, a)
		}
	}
}

func (d *Directory) permissions(of iter.Seq2[string, *access], vhost string, everywhere bool) []PermissionRow {
	rows := []PermissionRow{}
	for user, a := range of {
		if !everywhere {
			if row, ok := a.vhosts.Get(vhost); ok {
				rows = append(rows, PermissionRow{user, vhost, row.Permission})
			}
			continue
		}
		for vhost, row := range a.vhosts.All() {
			rows = append(rows, PermissionRow{user, vhost, row.Permission})
		}
	}
	slices.SortFunc(rows, func(a, b PermissionRow) int {
		return cmp.Or(cmp.Compare(a.VHost, b.VHost), cmp.Compare(a.User, b.User))
	})
	return rows
}

// SetTopicPermission makes p what user may do with the topic exchange it names.
// It fails if an expression is not valid, and then changes nothing.
func (d *Directory) SetTopicPermission(user, vhost string, p TopicPermission) error {
	row := &topicPermission{TopicPermission: p}
	var err error
	if row.write, err = d.compileTemplate(p.Write, user, vhost); err != nil {
		return fmt.Errorf("write topic permission: %w", err)
	}
	if row.read, err = d.compileTemplate(p.Read, user, vhost); err != nil {
		return fmt.Errorf("read topic permission: %w", err)
	}
	d.change(func(s *state) {
		a := s.accessOf(user)
		a.topics = a.topics.With(topicKey{vhost, p.Exchange}, row)
		s.setAccess(user, a)
	})
	return nil
}

// ClearTopicPermission removes the row for one exchange and reports whether
// there was one.
func (d *Directory) ClearTopicPermission(user, vhost, exchange string) (existed bool) {
	d.change(func(s *state) {
		a := s.accessOf(user)
		key := topicKey{vhost, exchange}
		_, existed = a.topics.Get(key)
		a.topics = a.topics.Without(key)
		s.setAccess(user, a)
	})
	return existed
}

// ClearTopicPermissions removes the rows of user for all exchanges of vhost and
// reports whether there were any.
func (d *Directory) ClearTopicPermissions(user, vhost string) (existed bool) {
	d.change(func(s *state) {
		a := s.accessOf(user)
		for key := range a.topics.All() {
			if key.vhost == vhost {
				existed = true
				a.topics = a.topics.Without(key)
			}
		}
		s.setAccess(user, a)
	})
	return existed
}

// TopicPermissions returns all rows by virtual host, user and exchange.
func (d *Directory) TopicPermissions() []TopicPermissionRow {
	return d.topicPermissions(d.state().access.All(), "", true)
}

// TopicPermissionsOf returns the rows of user by virtual host and exchange.
func (d *Directory) TopicPermissionsOf(user string) []TopicPermissionRow {
	return d.topicPermissions(one(d.state(), user), "", true)
}

// TopicPermissionsIn returns the rows in vhost by user and exchange.
func (d *Directory) TopicPermissionsIn(vhost string) []TopicPermissionRow {
	return d.topicPermissions(d.state().access.All(), vhost, false)
}

func (d *Directory) topicPermissions(of iter.Seq2[string, *access], vhost string, everywhere bool) []TopicPermissionRow {
	rows := []TopicPermissionRow{}
	for user, a := range of {
		for key, row := range a.topics.All() {
			if everywhere || key.vhost == vhost {
				rows = append(rows, TopicPermissionRow{user, key.vhost, row.TopicPermission})
			}
		}
	}
	slices.SortFunc(rows, func(a, b TopicPermissionRow) int {
		return cmp.Or(cmp.Compare(a.VHost, b.VHost), cmp.Compare(a.User, b.User), cmp.Compare(a.Exchange, b.Exchange))
	})
	return rows
}
