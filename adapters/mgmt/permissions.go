package mgmt

import (
	"errors"

	"leveret/core"
	"leveret/core/auth"
	"leveret/core/pattern"
)

func permissionObject(p auth.PermissionRow) object {
	return object{"user": p.User, "vhost": p.VHost, "configure": p.Configure, "write": p.Write, "read": p.Read}
}

// permissionRows lists the permissions that keep agrees to.
func (c *call) permissionRows(keep func(p auth.PermissionRow) bool) error {
	rows := []row{}
	for _, p := range c.s.broker.Auth().Permissions() {
		if keep(p) {
			rows = append(rows, row{p.VHost, p.User, func() object { return permissionObject(p) }})
		}
	}
	return c.list(rows)
}

func (c *call) listPermissions() error {
	return c.permissionRows(func(auth.PermissionRow) bool { return true })
}

func (c *call) listVHostPermissions() error {
	v, err := c.namedVHost()
	if err != nil {
		return err
	}
	return c.permissionRows(func(p auth.PermissionRow) bool { return p.VHost == v.Name() })
}

func (c *call) listUserPermissions() error {
	u, err := c.namedUser()
	if err != nil {
		return err
	}
	return c.permissionRows(func(p auth.PermissionRow) bool { return p.User == u.Name })
}

// grantee is the virtual host and user of a permission's path. What is missing
// is a 400 when it is to be written and a 404 otherwise.
func (c *call) grantee(missing error) (vhost, user string, err error) {
	vhost, user = c.param("perm-vhost"), c.param("user")
	if _, ok := c.s.broker.VHost(vhost); !ok {
		return "", "", missing
	}
	if _, ok := c.s.broker.Auth().User(user); !ok {
		return "", "", missing
	}
	return vhost, user, nil
}

var errGranteeNotFound = badRequest("vhost_or_user_not_found")

func (c *call) getPermission() error {
	vhost, user, err := c.grantee(errNotFound)
	if err != nil {
		return err
	}
	p, ok := c.s.broker.Auth().Permission(user, vhost)
	if !ok {
		return errNotFound
	}
	return c.one(permissionObject(auth.PermissionRow{User: user, VHost: vhost, Permission: p}))
}

func (c *call) putPermission() error {
	vhost, user, err := c.grantee(errGranteeNotFound)
	if err != nil {
		return err
	}
	b, err := c.body()
	if err != nil {
		return err
	}
	var p auth.Permission
	if err := b.patterns(map[string]*string{"configure": &p.Configure, "write": &p.Write, "read": &p.Read}, "configure", "write", "read"); err != nil {
		return err
	}
	_, existed := c.s.broker.Auth().Permission(user, vhost)
	if err := c.acting().SetPermission(user, vhost, p); err != nil {
		return err
	}
	return c.done(!existed)
}

// patterns reads the regular expressions called names, all of them mandatory.
func (b body) patterns(to map[string]*string, names ...string) error {
	if err := b.need(names...); err != nil {
		return err
	}
	for _, name := range names {
		s, err := b.text(name)
		if err != nil {
			return err
		}
		if _, err := pattern.Compile(s); err != nil {
			// RabbitMQ prints texts as lists of characters here; nobody parses those.
			return badRequest([]string{"invalid_regexp", s, err.Error()})
		}
		*to[name] = s
	}
	return nil
}

// notFoundAs404 turns core's NotFound into what a missing object is here.
func notFoundAs404(err error) error {
	var ce *core.Error
	if errors.As(err, &ce) && ce.Kind == core.NotFound {
		return errNotFound
	}
	return err
}

func (c *call) deletePermission() error {
	vhost, user, err := c.grantee(errNotFound)
	if err != nil {
		return err
	}
	if err := c.acting().ClearPermission(user, vhost); err != nil {
		return notFoundAs404(err)
	}
	return c.done(false)
}

func topicPermissionObject(p auth.TopicPermissionRow) object {
	return object{"user": p.User, "vhost": p.VHost, "exchange": p.Exchange, "write": p.Write, "read": p.Read}
}

// topicPermissions are those that keep agrees to.
func (c *call) topicPermissions(keep func(p auth.TopicPermissionRow) bool) []row {
	rows := []row{}
	for _, p := range c.s.broker.Auth().TopicPermissions() {
		if keep(p) {
			rows = append(rows, row{p.VHost, p.User + "\x00" + p.Exchange, func() object { return topicPermissionObject(p) }})
		}
	}
	return rows
}

func (c *call) listTopicPermissions() error {
	return c.list(c.topicPermissions(func(auth.TopicPermissionRow) bool { return true }))
}

func (c *call) listVHostTopicPermissions() error {
	v, err := c.namedVHost()
	if err != nil {
		return err
	}
	return c.list(c.topicPermissions(func(p auth.TopicPermissionRow) bool { return p.VHost == v.Name() }))
}

func (c *call) listUserTopicPermissions() error {
	u, err := c.namedUser()
	if err != nil {
		return err
	}
	return c.list(c.topicPermissions(func(p auth.TopicPermissionRow) bool { return p.User == u.Name }))
}

func (c *call) getTopicPermissions() error {
	vhost, user, err := c.grantee(errNotFound)
	if err != nil {
		return err
	}
	rows := c.topicPermissions(func(p auth.TopicPermissionRow) bool { return p.VHost == vhost && p.User == user })
	if len(rows) == 0 {
		return errNotFound
	}
	return c.list(rows)
}

func (c *call) getTopicPermission() error {
	vhost, user, err := c.grantee(errNotFound)
	if err != nil {
		return err
	}
	exchange := c.exchangeName("exchange")
	rows := c.topicPermissions(func(p auth.TopicPermissionRow) bool {
		return p.VHost == vhost && p.User == user && p.Exchange == exchange
	})
	if len(rows) == 0 {
		return errNotFound
	}
	return c.one(rows[0].object())
}

func (c *call) putTopicPermission() error {
	vhost, user, err := c.grantee(errGranteeNotFound)
	if err != nil {
		return err
	}
	b, err := c.body()
	if err != nil {
		return err
	}
	var p auth.TopicPermission
	if err := b.need("exchange"); err != nil {
		return err
	}
	if p.Exchange, err = b.text("exchange"); err != nil {
		return err
	}
	if err := b.patterns(map[string]*string{"write": &p.Write, "read": &p.Read}, "write", "read"); err != nil {
		return err
	}
	existed := len(c.topicPermissions(func(q auth.TopicPermissionRow) bool {
		return q.VHost == vhost && q.User == user && q.Exchange == p.Exchange
	})) > 0
	if err := c.acting().SetTopicPermission(user, vhost, p); err != nil {
		return err
	}
	return c.done(!existed)
}

func (c *call) deleteTopicPermissions() error {
	vhost, user, err := c.grantee(errNotFound)
	if err != nil {
		return err
	}
	if err := c.acting().ClearTopicPermissions(user, vhost); err != nil {
		return notFoundAs404(err)
	}
	return c.done(false)
}

func (c *call) deleteTopicPermission() error {
	vhost, user, err := c.grantee(errNotFound)
	if err != nil {
		return err
	}
	if err := c.acting().ClearTopicPermission(user, vhost, c.exchangeName("exchange")); err != nil {
		return notFoundAs404(err)
	}
	return c.done(false)
}
