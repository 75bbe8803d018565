package mgmt

import (
	"fmt"
	"slices"

	"leveret/core"
	"leveret/core/auth"
)

// limitsObject lists the limits of one user or virtual host.
func limitsObject(who, name string, limits map[string]int64) object {
	value := object{}
	for k, v := range limits {
		value[k] = v
	}
	return object{who: name, "value": value}
}

func (c *call) listVHostLimits() error {
	vhosts, err := c.vhosts()
	if err != nil {
		return err
	}
	rows := []row{}
	for _, v := range vhosts {
		if limits := v.Limits(); len(limits) > 0 {
			rows = append(rows, row{"", v.Name(), func() object { return limitsObject("vhost", v.Name(), limits) }})
		}
	}
	return c.list(rows)
}

// limitValue reads {"value": n}.
func (c *call) limitValue() (int64, error) {
	b, err := c.body()
	if err != nil {
		return 0, err
	}
	if err := b.need("value"); err != nil {
		return 0, err
	}
	return b.integer("value")
}

var vhostLimits = []string{core.LimitConnections, core.LimitQueues}

func (c *call) putVHostLimit() error {
	n, err := c.limitValue()
	if err != nil {
		return err
	}
	limit := c.param("limit")
	if !slices.Contains(vhostLimits, limit) {
		return badRequest(fmt.Sprintf("Validation failed\n\nUnrecognised terms [{<<%q>>,%d}] in limits\n", limit, n))
	}
	if err := c.acting().SetVHostLimit(c.param("vhost"), limit, n); err != nil {
		return err
	}
	return c.done(false)
}

func (c *call) deleteVHostLimit() error {
	if !slices.Contains(vhostLimits, c.param("limit")) {
		return errNotFound
	}
	if err := c.acting().ClearVHostLimit(c.param("vhost"), c.param("limit")); err != nil {
		return notFoundAs404(err)
	}
	return c.done(false)
}

func (c *call) listUserLimits() error {
	only := c.param("user")
	if only != "" {
		if _, err := c.namedUser(); err != nil {
			return err
		}
	}
	rows := []row{}
	for _, u := range c.s.broker.Auth().Users() {
		if len(u.Limits) > 0 && (only == "" || u.Name == only) {
			rows = append(rows, row{"", u.Name, func() object { return limitsObject("user", u.Name, u.Limits) }})
		}
	}
	return c.list(rows)
}

var userLimits = []string{auth.LimitConnections, auth.LimitChannels}

func (c *call) putUserLimit() error {
	if _, err := c.namedUser(); err != nil {
		return err
	}
	n, err := c.limitValue()
	if err != nil {
		return err
	}
	limit := c.param("limit")
	if !slices.Contains(userLimits, limit) {
		return badRequest(fmt.Sprintf("Unrecognised terms [{<<%q>>,%d}] in user-limits", limit, n))
	}
	if err := c.acting().SetUserLimit(c.param("user"), limit, n); err != nil {
		return err
	}
	return c.done(false)
}

func (c *call) deleteUserLimit() error {
	if !slices.Contains(userLimits, c.param("limit")) {
		return errNotFound
	}
	if err := c.acting().ClearUserLimit(c.param("user"), c.param("limit")); err != nil {
		return notFoundAs404(err)
	}
	return c.done(false)
}
