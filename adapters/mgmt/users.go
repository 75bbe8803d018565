package mgmt

import (
	"encoding/base64"
	"net/http"

	"leveret/core/auth"
)

func (c *call) listUsers() error {
	return c.userRows(func(auth.User) bool { return true })
}

func (c *call) listUsersWithoutPermissions() error {
	with := map[string]bool{}
	for _, p := range c.s.broker.Auth().Permissions() {
		with[p.User] = true
	}
	return c.userRows(func(u auth.User) bool { return !with[u.Name] })
}

func (c *call) userRows(keep func(auth.User) bool) error {
	rows := []row{}
	for _, u := range c.s.broker.Auth().Users() {
		if keep(u) {
			rows = append(rows, row{"", u.Name, func() object { return userObject(u) }})
		}
	}
	return c.list(rows)
}

// userObject is a user in JSON. Only administrators see it: it has the hash.
func userObject(u auth.User) object {
	limits := object{}
	for k, v := range u.Limits {
		limits[k] = v
	}
	algorithm := u.Algorithm
	if algorithm == "" {
		algorithm = auth.SHA256
	}
	return object{
		"name": u.Name, "password_hash": u.PasswordHash, "hashing_algorithm": algorithm,
		"tags": append([]string{}, u.Tags...), "limits": limits,
	}
}

func (c *call) namedUser() (auth.User, error) {
	if u, ok := c.s.broker.Auth().User(c.param("user")); ok {
		return u, nil
	}
	return auth.User{}, errNotFound
}

func (c *call) getUser() error {
	u, err := c.namedUser()
	if err != nil {
		return err
	}
	return c.one(userObject(u))
}

func (c *call) putUser() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	name := c.param("user")
	u, existed := c.s.broker.Auth().User(name)
	u.Name = name
	if err := readUser(b, &u); err != nil {
		return err
	}
	if err := c.acting().PutUser(u); err != nil {
		return err
	}
	return c.done(!existed)
}

// readUser changes u as b says. A user written without a password has none.
func readUser(b body, u *auth.User) error {
	var err error
	if !b.has("tags") {
		return badRequest("tags_not_present")
	}
	if u.Tags, err = b.words("tags"); err != nil {
		return err
	}
	if b.has("password") && b.has("password_hash") {
		return badRequest("both_password_and_password_hash_are_provided")
	}
	u.PasswordHash, u.Algorithm = "", ""
	if b.has("hashing_algorithm") {
		if u.Algorithm, err = b.text("hashing_algorithm"); err != nil {
			return err
		}
	}
	switch {
	case b.has("password"):
		password, err := b.text("password")
		if err != nil {
			return err
		}
		// An empty password would let anybody in who knows the name.
		if password == "" {
			break
		}
		if u.PasswordHash, err = auth.HashPassword(password, u.Algorithm); err != nil {
			return badRequest(err.Error())
		}
	case b.has("password_hash"):
		if u.PasswordHash, err = b.text("password_hash"); err != nil {
			return err
		}
		if _, err := base64.StdEncoding.DecodeString(u.PasswordHash); err != nil {
			return badRequest([]string{"not_base64", u.PasswordHash})
		}
	}
	return nil
}

func (c *call) deleteUser() error {
	if _, err := c.namedUser(); err != nil {
		return err
	}
	if err := c.acting().DeleteUser(c.param("user")); err != nil {
		return err
	}
	return c.done(false)
}

// bulkDeleteUsers deletes in order and stops at the first that is not there.
func (c *call) bulkDeleteUsers() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	if err := b.need("users"); err != nil {
		return err
	}
	users, ok := b["users"].([]any)
	if !ok {
		return badRequest([]string{"not_a_list", "users"})
	}
	for _, u := range users {
		name, ok := u.(string)
		if !ok {
			return badRequest([]string{"not_string", "users"})
		}
		if _, ok := c.s.broker.Auth().User(name); !ok {
			return badRequest([]string{"no_such_user", name})
		}
		if err := c.acting().DeleteUser(name); err != nil {
			return err
		}
	}
	return c.done(false)
}

// hashPassword hashes a password for definitions files.
func (c *call) hashPassword() error {
	hash, err := auth.HashPassword(c.param("password"), "")
	if err != nil {
		return badRequest(err.Error())
	}
	return c.ok(object{"ok": hash})
}

// getWhoami tells a user what it is and, beyond RabbitMQ, what its permissions
// are where the directory keeps them: a console offers no more than that.
func (c *call) getWhoami() error {
	out := object{"name": c.user.Name, "tags": append([]string{}, c.user.Tags...), "is_internal_user": c.user.Internal()}
	if c.user.Internal() {
		permissions := []object{}
		for _, p := range c.s.broker.Auth().Permissions() {
			if p.User == c.user.Name {
				permissions = append(permissions, permissionObject(p))
			}
		}
		out["permissions"] = permissions
	}
	return c.ok(out)
}

// postLogin checks a form of username and password and answers with what to
// send as basic authentication from now on.
func (c *call) postLogin() error {
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, c.s.opts.MaxBody)
	name, password := c.r.PostFormValue("username"), c.r.PostFormValue("password")
	if err := c.login(name, password); err != nil {
		return err
	}
	if err := c.authorise(management); err != nil {
		return err
	}
	token := base64.StdEncoding.EncodeToString([]byte(name + ":" + password))
	return c.ok(object{"token": object{"type": "basic", "value": token}, "user": object{"name": c.user.Name, "tags": c.user.Tags}})
}
