package ctl

import "net/http"

type setPermissions struct {
	User      string `arg:"" name:"username"`
	Configure string `arg:"" name:"conf"`
	Write     string `arg:"" name:"write"`
	Read      string `arg:"" name:"read"`
}

func (v *setPermissions) Run(t *tool) error {
	t.print.banner("Setting permissions for user \"%s\" in vhost \"%s\" ...", v.User, t.vhost)
	return t.granted(v.User, t.put(path("permissions", t.vhost, v.User),
		map[string]any{"configure": v.Configure, "write": v.Write, "read": v.Read}))
}

// granted explains why a change of permissions failed: the API does not tell
// a user that is missing from a virtual host that is.
func (t *tool) granted(user string, err error) error {
	if s := statusOf(err); s != http.StatusBadRequest && s != http.StatusNotFound {
		return t.explain(err, exitUnavailable)
	}
	if there, e := t.exists(path("users", user)); e == nil && !there {
		return noUser(user)
	}
	if there, e := t.exists(path("vhosts", t.vhost)); e == nil && !there {
		return noVHost(t.vhost, exitUnavailable)
	}
	if statusOf(err) == http.StatusNotFound {
		return nil // There was nothing to take away.
	}
	return t.explain(err, exitUnavailable)
}

type clearPermissions struct {
	User string `arg:"" name:"username"`
}

func (v *clearPermissions) Run(t *tool) error {
	t.print.banner("Clearing permissions for user \"%s\" in vhost \"%s\" ...", v.User, t.vhost)
	return t.granted(v.User, t.delete(path("permissions", t.vhost, v.User)))
}

type listPermissions struct{}

func (v *listPermissions) Run(t *tool) error {
	t.print.banner("Listing permissions for vhost \"%s\" ...", t.vhost)
	return t.ofVHost(path("vhosts", t.vhost, "permissions"), same("user", "configure", "write", "read"))
}

// ofVHost lists what a virtual host has; that it is not there is an error.
func (t *tool) ofVHost(path string, columns []column) error {
	list, err := t.fetch(path, columns)
	if statusOf(err) == http.StatusNotFound {
		return noVHost(t.vhost, exitUnavailable)
	} else if err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.show(list, columns, nil)
	return nil
}

type listUserPerms struct {
	User string `arg:"" name:"username"`
}

func (v *listUserPerms) Run(t *tool) error {
	t.print.banner("Listing permissions for user \"%s\" ...", v.User)
	return t.ofUser(v.User, "permissions", same("vhost", "configure", "write", "read"))
}

// ofUser lists what a user has; that there is no such user is code 69 here.
func (t *tool) ofUser(name, what string, columns []column) error {
	list, err := t.fetch(path("users", name, what), columns)
	if statusOf(err) == http.StatusNotFound {
		return exitf(exitUnavailable, "User \"%s\" does not exist", name)
	} else if err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.show(list, columns, nil)
	return nil
}

type setTopicPerms struct {
	User     string `arg:"" name:"username"`
	Exchange string `arg:"" name:"exchange"`
	Write    string `arg:"" name:"write"`
	Read     string `arg:"" name:"read"`
}

func (v *setTopicPerms) Run(t *tool) error {
	t.print.banner("Setting topic permissions on \"%s\" for user \"%s\" in vhost \"%s\" ...", v.Exchange, v.User, t.vhost)
	return t.granted(v.User, t.put(path("topic-permissions", t.vhost, v.User),
		map[string]any{"exchange": v.Exchange, "write": v.Write, "read": v.Read}))
}

type clearTopicPerms struct {
	User     string `arg:"" name:"username"`
	Exchange string `arg:"" name:"exchange" optional:""`
}

func (v *clearTopicPerms) Run(t *tool) error {
	segments := []string{"topic-permissions", t.vhost, v.User}
	if v.Exchange == "" {
		t.print.banner("Clearing topic permissions for user \"%s\" in vhost \"%s\" ...", v.User, t.vhost)
	} else {
		t.print.banner("Clearing topic permissions on \"%s\" for user \"%s\" in vhost \"%s\" ...", v.Exchange, v.User, t.vhost)
		segments = append(segments, v.Exchange)
	}
	return t.granted(v.User, t.delete(path(segments...)))
}

type listTopicPerms struct{}

func (v *listTopicPerms) Run(t *tool) error {
	t.print.banner("Listing topic permissions for vhost \"%s\" ...", t.vhost)
	return t.ofVHost(path("vhosts", t.vhost, "topic-permissions"), same("user", "exchange", "write", "read"))
}

type listUserTopicPerms struct {
	User string `arg:"" name:"username"`
}

func (v *listUserTopicPerms) Run(t *tool) error {
	t.print.banner("Listing topic permissions for user \"%s\" ...", v.User)
	return t.ofUser(v.User, "topic-permissions", same("vhost", "exchange", "write", "read"))
}
