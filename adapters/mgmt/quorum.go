package mgmt

import "leveret/core"

// Endpoints about the members of quorum queues: there is one, this node.

// quorumQueue finds the quorum queue that the path names.
func (c *call) quorumQueue() (core.Queue, error) {
	v := c.vhost()
	if v == nil {
		return nil, errNotFound
	}
	q, ok := v.Queue(c.param("queue"))
	if !ok {
		return nil, errNotFound
	}
	if q.Options().Type != core.QueueQuorum {
		return nil, badRequest("queue '" + c.param("queue") + "' is not of type quorum")
	}
	return q, nil
}

func (c *call) getQuorumStatus() error {
	if _, err := c.quorumQueue(); err != nil {
		return err
	}
	return c.ok([]object{{"Node Name": c.s.node(), "Raft State": "leader", "Membership": "voter"}})
}

// changeReplicas refuses what another node would be needed for.
func (c *call) changeReplicas() error {
	switch c.param("act") {
	case "add", "delete", "grow", "shrink":
	default:
		return errNotFound
	}
	if _, err := c.quorumQueue(); err != nil {
		return err
	}
	return badRequest("there is one node, which has the queue's only replica")
}

// listUserQueues lists the exclusive queues of a user's connections: of others
// nobody notes who declared them.
func (c *call) listUserQueues() error {
	user := c.param("user")
	if _, ok := c.s.broker.Auth().User(user); !ok {
		return errNotFound
	}
	rows := []row{}
	for _, v := range c.s.broker.VHosts() {
		for q := range v.Queues() {
			if owner := v.ExclusiveOwner(q); owner != nil && owner.User().Name == user {
				rows = append(rows, row{v.Name(), q.Options().Name, func() object {
					return object{"name": q.Options().Name, "vhost": v.Name(), "type": string(q.Options().Type), "exclusive": true}
				}})
			}
		}
	}
	return c.list(rows)
}
