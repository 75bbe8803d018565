package amqp

import (
	"sync/atomic"

	"leveret/adapters/amqp/wire"
	"leveret/adapters/internal/settle"
	"leveret/core"
)

// transactionMax bounds what a transaction holds, in bytes.
const transactionMax = 32 << 20

// transaction is what a transactional channel has published and acked since
// its last commit.
type transaction struct {
	publisher *core.Publisher // Apart from the channel's: its numbers are ours alone.
	last      uint64          // The last publish number.

	messages []txMessage
	acks     []txAck
	bytes    int64

	// One more than publishes under way, while a commit is; done is closed, or
	// gets a value, when it comes to 0.
	open    atomic.Int64
	refused atomic.Bool
	done    chan struct{}
}

type txMessage struct {
	message *core.Publication
	keys    []string
}

type txAck struct {
	tag uint64
	op  core.Settlement
	d   settle.Delivered
}

// txMessageOverhead is what a buffered message takes beside its bytes.
const txMessageOverhead = 384

func (c *conn) txSelect(ch *channel) error {
	if ch.confirming {
		return raise(wire.ReplyPreconditionFailed, 0, "cannot switch from confirm to tx mode")
	}
	if ch.tx == nil {
		ch.tx = &transaction{done: make(chan struct{}, 1)}
		ch.tx.publisher = c.session.NewPublisher(ch.tx)
		ch.tx.publisher.SetScope(ch.row.Name)
		ch.counters.tx.Store(true)
	}
	c.reply(ch.id, &wire.TxSelectOk{})
	return nil
}

// grow accounts for n more bytes, which may be negative.
func (c *conn) growTransaction(ch *channel, n int64) {
	ch.tx.bytes += n
	c.srv.broker.Memory().Charge(n)
}

// publishInTx keeps a message, which has passed all checks, until the commit.
func (c *conn) publishInTx(ch *channel, m *core.Publication) error {
	ch.publisher.Discard() // It is routed anew at the commit.
	tx := ch.tx
	size := int64(len(m.RoutingKey)+len(m.Encoded)+len(m.Body)) + txMessageOverhead
	if tx.bytes+size > transactionMax {
		return c.publishFailed(ch, tooLargeTransaction())
	}
	c.growTransaction(ch, size)
	tx.messages = append(tx.messages, txMessage{m.Clone(), ch.props.keys})
	ch.counters.txPublished.Store(int64(len(tx.messages)))
	return nil
}

func tooLargeTransaction() *exception {
	return raise(wire.ReplyPreconditionFailed, 0, "transaction is larger than %d bytes", transactionMax)
}

// settleInTx keeps an ack until the commit. Its tag has left the list of the
// unacked.
func (ch *channel) settleInTx(tag uint64, op core.Settlement, d settle.Delivered) {
	ch.tx.acks = append(ch.tx.acks, txAck{tag, op, d})
	ch.counters.txAcked.Store(int64(len(ch.tx.acks)))
}

// txCommit publishes and settles what the transaction holds, in this order,
// and answers when all of it is where it must be. The connection waits for it:
// the log decides how long. A crash before that leaves all of the publishes and
// acks, or none.
func (c *conn) txCommit(ch *channel) error {
	tx := ch.tx
	if tx == nil {
		return raise(wire.ReplyPreconditionFailed, 0, "channel is not transactional")
	}
	messages := tx.messages
	tx.messages = nil
	ch.counters.txPublished.Store(0)
	ms := make([]core.Publication, len(messages))
	var returned []*core.Message
	tx.open.Store(1)
	tx.refused.Store(false)
	routed := 0
	for i := range messages {
		from := messages[i].message
		m := &ms[i]
		refill(m, from, messages[i].keys)
		t, err := tx.publisher.Target(from.Exchange)
		if err != nil {
			return err
		}
		route, err := tx.publisher.Route(t, m)
		if err != nil {
			return err
		}
		if route.Unroutable() {
			if m.Mandatory {
				returned = append(returned, &from.Message)
			}
			continue // Without a number: it is complete as it is.
		}
		if m.Mandatory && route.Later() {
			returned = append(returned, &from.Message)
		}
		tx.last++
		m.Number = tx.last
		routed++
	}
	tx.last++
	tx.open.Add(int64(routed) + 1) // And the acks.
	c.publishes.Store(true)
	c.work.sawPublish = true
	tx.publisher.Commit(ms, c.commitAcks(ch), tx.last, &c.work.touched)
	ch.counters.published.Add(uint64(len(ms)))
	for _, m := range returned {
		c.sendReturn(ch, m)
	}
	c.work.groups.Settle(&c.work.touched)
	c.growTransaction(ch, -tx.bytes)
	if tx.open.Add(-1) > 0 {
		c.flushAll()
		c.paused.Store(true)
		select {
		case <-tx.done:
		case <-c.ctx.Done():
			c.paused.Store(false)
			return nil
		}
		c.paused.Store(false)
	}
	if tx.refused.Load() {
		return raise(wire.ReplyPreconditionFailed, 0, "partial tx completion")
	}
	c.reply(ch.id, &wire.TxCommitOk{})
	return nil
}

// refill makes m what from was when it was published.
func refill(m, from *core.Publication, keys []string) {
	m.Reset()
	m.Exchange, m.RoutingKey, m.Encoded, m.Body = from.Exchange, from.RoutingKey, from.Encoded, from.Body
	m.Form, m.TTLMS, m.Persistent = from.Form, from.TTLMS, from.Persistent
	m.Priority, m.HasPriority = from.Priority, from.HasPriority
	m.OwnBody, m.Mandatory = from.OwnBody, from.Mandatory
	if keys != nil {
		m.SetExtraKeys(keys)
	}
}

// commitAcks ends what the transaction holds of settlements. It returns the acks,
// which belong to its publishes; what was rejected or requeued is left in
// c.work.groups.
func (c *conn) commitAcks(ch *channel) (acks []core.Acked) {
	tx := ch.tx
	if len(tx.acks) == 0 {
		return nil
	}
	c.out.Lock()
	c.underOut.outs -= len(tx.acks)
	ch.counters.acked += uint64(len(tx.acks))
	c.out.Unlock()
	of := make(map[*core.Holder]int)
	for _, a := range tx.acks {
		if a.op != core.Ack {
			c.work.groups.Add(a.d.Holder, a.op, a.d.Seq)
			continue
		}
		i, ok := of[a.d.Holder]
		if !ok {
			i = len(acks)
			of[a.d.Holder] = i
			acks = append(acks, core.Acked{Holder: a.d.Holder})
		}
		acks[i].Seqs = append(acks[i].Seqs, a.d.Seq)
	}
	tx.acks = nil
	ch.counters.txAcked.Store(0)
	return acks
}

// Completed is part of core.Completer.
func (tx *transaction) Completed(first, last uint64, k core.Kind) {
	if k != core.OK {
		tx.refused.Store(true)
	}
	if tx.open.Add(-int64(last-first+1)) == 0 {
		tx.done <- struct{}{}
	}
}

// txRollback forgets what was published and makes what was acked unacked again.
func (c *conn) txRollback(ch *channel) error {
	if ch.tx == nil {
		return raise(wire.ReplyPreconditionFailed, 0, "channel is not transactional")
	}
	c.dropTransaction(ch)
	c.reply(ch.id, &wire.TxRollbackOk{})
	return nil
}

// dropTransaction is a rollback without the answer.
func (c *conn) dropTransaction(ch *channel) {
	tx := ch.tx
	c.out.Lock()
	for _, a := range tx.acks {
		ch.unacked.Put(a.tag, a.d)
	}
	c.out.Unlock()
	tx.acks, tx.messages = nil, nil
	ch.counters.txPublished.Store(0)
	ch.counters.txAcked.Store(0)
	c.growTransaction(ch, -tx.bytes)
}
