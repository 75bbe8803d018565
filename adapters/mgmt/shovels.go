package mgmt

import "fmt"

// Shovels are the dynamic shovels that run, whose parameters the broker has.
type Shovels interface {
	// Status lists them as the API does, by virtual host and name, without any
	// password. Each has the fields vhost and name. The rows are the caller's.
	Status() []map[string]any
	// Restart has a shovel connect anew. It reports false if there is none of
	// that name.
	Restart(vhost, name string) bool
}

// The component whose parameters are shovels.
const shovelComponent = "shovel"

func (c *call) shovels() []object {
	if c.s.opts.Shovels == nil {
		return nil
	}
	return c.s.opts.Shovels.Status()
}

func (c *call) listShovels() error {
	return inVHosts(c, c.shovels(), func(o *object) (string, string, object) {
		return fmt.Sprint((*o)["vhost"]), fmt.Sprint((*o)["name"]), *o
	})
}

func (c *call) getShovel() error {
	for _, o := range c.shovels() {
		if o["vhost"] == c.param("vhost") && o["name"] == c.param("name") {
			return c.one(o)
		}
	}
	return errNotFound
}

// deleteShovel deletes the parameter: the shovel ends.
func (c *call) deleteShovel() error {
	if err := c.authorise(policymaker); err != nil {
		return err
	}
	return c.deleted(c.s.broker.ClearParameter(shovelComponent, c.param("vhost"), c.param("name")))
}

func (c *call) restartShovel() error {
	if err := c.authorise(policymaker); err != nil {
		return err
	}
	if c.s.opts.Shovels == nil || !c.s.opts.Shovels.Restart(c.param("vhost"), c.param("name")) {
		return errNotFound
	}
	return c.done(false)
}
