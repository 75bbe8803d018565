package mgmt

import (
	"fmt"
	"math"

	"leveret/core"
)

// listAlarms lists the alarms that are set, in words for people.
func (c *call) listAlarms() error {
	blocked := 0
	for r := range c.s.broker.Registry().Rows("connection") {
		if r.Attributes()["state"] == "blocked" {
			blocked++
		}
	}
	rows := []row{}
	for _, a := range c.s.broker.Alarms().List() {
		rows = append(rows, row{"", a.Resource.String(), func() object {
			return object{
				"node": c.s.node(), "resource": a.Resource.String(), "since": a.Since, "reason": a.Reason,
				"value": a.Value, "limit": a.Limit, "blocked_connections": blocked, "refusing": c.s.broker.Alarms().RefusingAll(),
			}
		}})
	}
	return c.list(rows)
}

// putAlarmLimit changes a limit until the broker is started again, given as
// {"absolute": bytes} or {"relative": share of the memory there is}.
func (c *call) putAlarmLimit() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	limit, err := c.byteLimit(b)
	if err != nil {
		return err
	}
	switch c.param("resource") {
	case core.MemoryResource.String():
		if limit = max(limit, 1); c.s.opts.SetMemoryLimit == nil {
			c.s.broker.Memory().SetLimit(limit)
		} else {
			c.s.opts.SetMemoryLimit(limit)
		}
	case core.DiskResource.String():
		c.s.broker.Alarms().SetDiskLimit(limit)
	default:
		return errNotFound
	}
	c.s.log.Info("a limit was changed", "resource", c.param("resource"), "bytes", limit, "by", c.user.Name)
	return c.done(false)
}

func (c *call) byteLimit(b body) (int64, error) {
	if b.has("absolute") == b.has("relative") {
		return 0, badRequest("give either absolute, in bytes, or relative, to the memory there is")
	}
	if b.has("absolute") {
		n, err := b.integer("absolute")
		if err == nil && n < 0 {
			err = badRequest("absolute is negative")
		}
		return n, err
	}
	share, err := b.number("relative")
	if err != nil {
		return 0, err
	}
	total := float64(c.s.opts.MachineBytes)
	switch {
	case !(share >= 0 && share*total < math.MaxInt64):
		return 0, badRequest(fmt.Sprintf("relative: %v is not a share of memory", share))
	case total == 0:
		return 0, badRequest("how much memory this machine has is not known; give absolute")
	}
	return int64(share * total), nil
}
