package mqtt

import "leveret/core"

// hasReceived reports whether a QoS 2 PUBLISH with this identifier was taken
// and its flow has not ended.
func (c *conn) hasReceived(id uint16) bool { return c.received.has(id) }

// forget ends inbound QoS 2 flows.
func (c *conn) forget(ids []uint16) {
	for _, id := range ids {
		c.received.clear(id)
	}
}

// requeue puts back what the client has not acknowledged.
func (c *conn) requeue(k *outlet, held []slot) {
	for _, s := range held {
		c.work.settles.add(&k.core.Holder, core.Requeue, s.seq)
	}
}
