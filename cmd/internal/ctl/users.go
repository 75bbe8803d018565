package ctl

import (
	"net/http"
	"strings"
)

// user is what the API says of one.
type user struct {
	Name             string   `json:"name"`
	PasswordHash     string   `json:"password_hash"`
	HashingAlgorithm string   `json:"hashing_algorithm"`
	Tags             []string `json:"tags"`
}

// find returns the user called name, or exit code 67.
func (t *tool) find(name string) (*user, error) {
	var u user
	err := t.get(path("users", name), &u)
	if statusOf(err) == http.StatusNotFound {
		return nil, noUser(name)
	}
	return &u, t.explain(err, exitUnavailable)
}

func noUser(name string) error { return exitf(exitNoUser, "User \"%s\" does not exist", name) }

type addUser struct {
	Name      string `arg:"" name:"username"`
	Password  string `arg:"" name:"password" optional:""`
	PreHashed bool   `name:"pre-hashed-password" help:"The password is given as its hash, in base64."`
}

func (v *addUser) Run(t *tool) error {
	there, err := t.exists(path("users", v.Name))
	if err != nil {
		return t.explain(err, exitUnavailable)
	}
	if there {
		return exitf(exitSoftware, "User \"%s\" already exists", v.Name)
	}
	password, err := t.password(v.Password)
	if err != nil {
		return err
	}
	t.print.banner("Adding user \"%s\" ...", v.Name)
	u := map[string]any{"tags": ""}
	if v.PreHashed {
		u["password_hash"] = password
	} else {
		u["password"] = password
	}
	if err := t.put(path("users", v.Name), u); err != nil {
		return t.explain(err, exitData)
	}
	t.print.banner("Done. Don't forget to grant the user permissions to some virtual hosts! See 'help set_permissions' to learn more.")
	return nil
}

type deleteUser struct {
	Name string `arg:"" name:"username"`
}

func (v *deleteUser) Run(t *tool) error {
	t.print.banner("Deleting user \"%s\" ...", v.Name)
	err := t.delete(path("users", v.Name))
	if statusOf(err) == http.StatusNotFound {
		return noUser(v.Name)
	}
	return t.explain(err, exitUnavailable)
}

type changePassword struct {
	Name     string `arg:"" name:"username"`
	Password string `arg:"" name:"password" optional:""`
}

func (v *changePassword) Run(t *tool) error {
	u, err := t.find(v.Name)
	if err != nil {
		return err
	}
	password, err := t.password(v.Password)
	if err != nil {
		return err
	}
	t.print.banner("Changing password for user \"%s\" ...", v.Name)
	return t.explain(t.put(path("users", v.Name), map[string]any{"password": password, "tags": u.Tags}), exitData)
}

type clearPassword struct {
	Name string `arg:"" name:"username"`
}

func (v *clearPassword) Run(t *tool) error {
	u, err := t.find(v.Name)
	if err != nil {
		return err
	}
	t.print.banner("Clearing password for user \"%s\" ...", v.Name)
	return t.explain(t.put(path("users", v.Name), map[string]any{"password_hash": "", "tags": u.Tags}), exitData)
}

type authenticateUser struct {
	Name     string `arg:"" name:"username"`
	Password string `arg:"" name:"password" optional:""`
}

func (v *authenticateUser) Run(t *tool) error {
	password, err := t.password(v.Password)
	if err != nil {
		return err
	}
	t.print.banner("Authenticating user \"%s\" ...", v.Name)
	c := *t.client
	c.user, c.pass = v.Name, password
	err = c.get("/whoami", nil)
	if e, ok := err.(*apiError); ok && e.status == http.StatusUnauthorized {
		// Who gets as far as being told that a tag is missing has logged in.
		if e.reason != "Not management user" {
			return exitf(exitData, "failed to authenticate user \"%s\": %s", v.Name, e.reason)
		}
		err = nil
	}
	if err != nil {
		return t.explain(err, exitUnavailable)
	}
	t.print.line("Success")
	return nil
}

type setUserTags struct {
	Name string   `arg:"" name:"username"`
	Tags []string `arg:"" name:"tag" optional:""`
}

func (v *setUserTags) Run(t *tool) error {
	u, err := t.find(v.Name)
	if err != nil {
		return err
	}
	t.print.banner("Setting tags for user \"%s\" to [%s] ...", v.Name, strings.Join(v.Tags, ", "))
	return t.explain(t.put(path("users", v.Name), map[string]any{
		"password_hash": u.PasswordHash, "hashing_algorithm": u.HashingAlgorithm, "tags": append([]string{}, v.Tags...),
	}), exitData)
}

type listUsers struct{}

func (v *listUsers) Run(t *tool) error {
	t.print.banner("Listing users ...")
	return t.listing("/users", []column{{"user", "name"}, {"tags", "tags"}}, nil)
}
