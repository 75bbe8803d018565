package stomp

import (
	"github.com/go-stomp/stomp/v3/frame"

	"leveret/adapters/stomp/wire"
	"leveret/core"
)

// What a connection may have of transactions.
const (
	transactionsMax = 16
	actionsMax      = 1024
	transactionMax  = 32 << 20 // Bytes.
)

// messageOverhead is what a message of a transaction takes beside its bytes.
const messageOverhead = 384

// transaction is what was sent, acked and nacked between BEGIN and COMMIT.
type transaction struct {
	name     string
	messages []txMessage
	acks     []ackOp
	bytes    int64
}

// txMessage is a SEND, which has passed all checks.
type txMessage struct {
	message *core.Publication
	receipt []byte // nil for none.
}

func (t *transaction) actions() int { return len(t.messages) + len(t.acks) }

// transactionOf finds the one that a frame names.
func (c *conn) transactionOf(f *frame.Frame) (*transaction, error) {
	name, ok := f.Header.Contains(frame.Transaction)
	if !ok {
		return nil, open("Missing header", "'%s' must include a 'transaction' header.", f.Command)
	}
	t := c.transactions[name]
	if t == nil {
		return nil, badTransaction(name)
	}
	return t, nil
}

func badTransaction(name string) error {
	return open("Bad transaction", "There is no transaction '%s'.", name)
}

// begin handles a BEGIN.
func (c *conn) begin(f *frame.Frame) error {
	name, ok := f.Header.Contains(frame.Transaction)
	switch {
	case !ok:
		return open("Missing header", "'BEGIN' must include a 'transaction' header.")
	case c.transactions[name] != nil:
		return open("Bad transaction", "There is a transaction '%s' already.", name)
	case len(c.transactions) >= transactionsMax:
		return open("Transaction limit exceeded", "A connection may have %d transactions.", transactionsMax)
	}
	if c.transactions == nil {
		c.transactions = make(map[string]*transaction)
	}
	c.transactions[name] = &transaction{name: name}
	c.counters.transactions.Store(int64(len(c.transactions)))
	return nil
}

// abort handles an ABORT. What was acked in the transaction stays unacked.
func (c *conn) abort(f *frame.Frame) error {
	t, err := c.transactionOf(f)
	if err != nil {
		return err
	}
	c.dropTransaction(t)
	return nil
}

// dropTransaction forgets t.
func (c *conn) dropTransaction(t *transaction) {
	c.srv.broker.Memory().Charge(-t.bytes)
	delete(c.transactions, t.name)
	c.counters.transactions.Store(int64(len(c.transactions)))
}

// grow accounts for one more action of t with n bytes.
func (c *conn) grow(t *transaction, n int64) error {
	if t.actions() >= actionsMax || t.bytes+n > transactionMax {
		return open("Transaction too large", "A transaction may hold %d actions and %d bytes.", actionsMax, transactionMax)
	}
	t.bytes += n
	c.srv.broker.Memory().Charge(n)
	return nil
}

// named finds the transaction that a hot frame names.
func (c *conn) named(raw []byte) (*transaction, error) {
	name, _ := wire.Unescape(raw, c.version)
	if t := c.transactions[name]; t != nil {
		return t, nil
	}
	return nil, badTransaction(name)
}

// sendInTransaction keeps a message until the COMMIT.
func (c *conn) sendInTransaction(d *destination, p *checkedProps, h *wire.SendHead, body []byte, own bool) error {
	t, err := c.named(h.Transaction)
	if err != nil {
		return err
	}
	if _, err := c.publisher.Target(d.exchange); err != nil {
		return err
	}
	m := core.Publication{TTLMS: p.ttlMS}
	m.Exchange, m.RoutingKey = d.exchange, d.key
	m.Form, m.Encoded = core.FormSTOMP, h.Form
	m.Body, m.OwnBody, m.Persistent = body, own, p.persistent
	m.Priority, m.HasPriority = p.priority, p.hasPriority
	if err := c.grow(t, int64(len(d.key)+len(h.Form)+len(body)+len(h.Receipt))+messageOverhead); err != nil {
		return err
	}
	t.messages = append(t.messages, txMessage{m.Clone(), clone(h.Receipt)})
	return nil
}

// settleInTransaction keeps an ACK or NACK until the COMMIT. What it is about
// must be unacked now, and still be then.
func (c *conn) settleInTransaction(a ackOp, h *wire.SettleHead) error {
	c.finishWork()
	t, err := c.named(h.Transaction)
	if err != nil {
		return err
	}
	if !c.isOutstanding(&a) {
		return c.notFound(h.ID)
	}
	if err := c.grow(t, messageOverhead); err != nil {
		return err
	}
	t.acks = append(t.acks, a)
	if h.Receipt != nil {
		c.reply(h.Receipt)
	}
	return nil
}

// isOutstanding reports whether what a is about waits for an ack.
func (c *conn) isOutstanding(a *ackOp) bool {
	c.out.Lock()
	defer c.out.Unlock()
	for s := a.sub; s != nil; s = s.older {
		if s.unacked.Has(a.number) {
			return true
		}
	}
	return false
}

// commit handles a COMMIT: all of the transaction or, if anything of it cannot
// be, nothing. Messages and acks reach the log as one. Its receipt comes when
// all of them are where they must be. Only a queue that others fill in this very
// moment can still refuse a part: then an ERROR says so.
func (c *conn) commit(f *frame.Frame) error {
	t, err := c.transactionOf(f)
	if err != nil {
		return err
	}
	defer c.dropTransaction(t)
	for i := range t.acks {
		if !c.isOutstanding(&t.acks[i]) {
			a := &t.acks[i]
			return open("Message not found", "Message %d of subscription '%s' was acknowledged outside of the transaction.", a.number, a.sub.tag)
		}
	}
	ms, err := c.route(t)
	if err != nil {
		c.publisher.Discard()
		return err
	}

	done := &committing{open: len(ms) + 2} // The messages, the acks, and we.
	if id, ok := f.Header.Contains(frame.Receipt); ok {
		done.wanted = true
		done.receipt = wire.AppendEscaped(nil, id, c.version)
	}
	c.attended()
	for i := range ms {
		c.number++
		ms[i].Number = c.number
		c.expectFor(t.messages[i].receipt, t.messages[i].receipt != nil, done)
	}
	c.number++
	c.expectFor(nil, false, done)
	if len(ms) > 0 {
		c.work.sawPublish = true
		c.publishes.Store(true)
	}
	c.publisher.Commit(ms, c.resolveAcks(t), c.number, &c.work.touched)
	c.counters.published.Add(uint64(len(ms)))
	for i := range ms {
		if ms[i].Route.Unroutable() {
			c.counters.unroutable.Add(1)
			c.confirm(ms[i].Number)
		}
	}
	c.work.groups.Settle(&c.work.touched) // What was nacked.
	for i := range t.acks {
		c.forgetSettled(t.acks[i].sub)
	}
	c.out.Lock()
	c.confirms.mu.Lock()
	c.commitDone(done)
	c.confirms.mu.Unlock()
	c.out.Unlock()
	c.work.flushOwn = true
	return nil
}

// route makes publications of t's messages, as long as there is room for all
// of them. After an error the publisher's batch is to be discarded.
func (c *conn) route(t *transaction) ([]core.Publication, error) {
	if alarms := c.srv.broker.Alarms(); len(t.messages) > 0 && (alarms.RefusingAll() || alarms.Refusing() && c.outstanding() > 0) {
		return nil, c.refused()
	}
	ms := make([]core.Publication, len(t.messages))
	for i := range t.messages {
		m, from := &ms[i], t.messages[i].message
		m.Reset()
		m.RoutingKey, m.Encoded, m.Body = from.RoutingKey, from.Encoded, from.Body
		m.Form, m.TTLMS, m.Persistent, m.OwnBody = from.Form, from.TTLMS, from.Persistent, from.OwnBody
		m.Priority, m.HasPriority = from.Priority, from.HasPriority
		target, err := c.publisher.Target(from.Exchange)
		if err == nil {
			_, err = c.publisher.Route(target, m)
		}
		if err != nil {
			return nil, err
		}
	}
	if !c.publisher.Fits(ms) {
		r := replies[core.Full]
		return nil, open(r.message, "%s - a queue has no room for the transaction, nothing of it was done: %s", r.name, core.Full)
	}
	return ms, nil
}

// resolveAcks takes what was acked in t off the lists of the unacked; what was
// nacked is left in c.work.groups. One that an earlier one has settled with it
// is no error.
func (c *conn) resolveAcks(t *transaction) []core.Acked {
	if len(t.acks) == 0 {
		return nil
	}
	c.out.Lock()
	for i := range t.acks {
		c.resolveLocked(&t.acks[i])
	}
	c.out.Unlock()
	return c.work.groups.TakeAcks()
}
