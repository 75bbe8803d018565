package amqp

import (
	"log/slog"
	"sync/atomic"

	"leveret/adapters/amqp/wire"
	"leveret/adapters/internal/settle"
	"leveret/core"
)

// channel is one AMQP channel. Fields without another note belong to the
// connection's reader.
type channel struct {
	// Fixed by openChannel.
	conn *conn
	id   uint16
	user string // Whose limit counts it.
	row  *core.Row

	publisher *core.Publisher
	props     checkedProps
	content   *content // The publish that arrives frame by frame.

	confirming bool
	published  uint64       // The last publish number given out.
	tx         *transaction // Of a transactional channel.

	consumers  map[string]*consumer
	lastQueue  string // Declared last; what an empty queue name means.
	prefetch   int    // For consumers to come.
	shared     *core.Limiter
	replyQueue string // Direct reply-to: where replies are published to.
	replyTag   string // The consumer that gets them.

	// closing is true from our channel.close until its close-ok.
	closing   bool
	answered  bool // While closing: the client has closed it too.
	ackFailed bool // An ack named an unknown delivery tag.

	tracker tracker // Guarded by the connection's confirms.mu.

	// Guarded by out's lock.
	unacked settle.Unacked
	mute    bool // Nothing more is sent on this channel object.

	counters struct {
		published, returned atomic.Uint64
		numbered            atomic.Uint64 // The last publish number handed to core.
		delivered, acked    uint64        // Guarded by out's lock.
		globalPrefetch      atomic.Int64
		prefetch            atomic.Int64
		confirming, tx      atomic.Bool
		txPublished         atomic.Int64 // Messages that wait for a commit.
		txAcked             atomic.Int64 // Acks that do.
		consumers           atomic.Int64
	}
}

// frameOnChannel handles what is not on the hot path. ch is nil if the channel
// is not open.
func (c *conn) frameOnChannel(ch *channel, f wire.Frame) error {
	if f.Type == wire.FrameHeartbeat {
		return raise(wire.ReplyUnexpectedFrame, 0, "type %d, %s", f.Type, wire.Octets(f.Payload))
	}
	if ch == nil {
		return c.frameOnClosed(f)
	}
	if ch.closing {
		return c.frameWhileClosing(ch, f)
	}
	if ch.content != nil {
		return c.contentFrame(ch, f)
	}
	if f.Type != wire.FrameMethod {
		return raise(wire.ReplyUnexpectedFrame, 0, "expected method frame, got non method frame instead")
	}
	c.finishWork()
	if ch.closing { // An ack that came before was in error.
		return c.frameWhileClosing(ch, f)
	}
	m, err := decodeMethod(f.Payload)
	if err != nil {
		return err
	}
	if err := c.method(ch, m); err != nil {
		return c.raiseOn(ch, exceptionOf(err, m.ID()))
	}
	return nil
}

// frameOnClosed handles a frame on a channel that is not open.
func (c *conn) frameOnClosed(f wire.Frame) error {
	if f.Type != wire.FrameMethod {
		return raise(wire.ReplyChannelError, 0, "expected 'channel.open'")
	}
	c.finishWork()
	m, err := decodeMethod(f.Payload)
	if err != nil {
		return err
	}
	switch m.(type) {
	case *wire.ChannelOpen:
		return c.openChannel(f.Channel)
	case *wire.ChannelCloseOk:
		return nil // We closed it, the client closed it, and both have been answered.
	}
	return raise(wire.ReplyChannelError, m.ID(), "expected 'channel.open'")
}

// frameWhileClosing ignores everything but the end of the close handshake:
// publishes and acks that were under way when the channel was closed.
func (c *conn) frameWhileClosing(ch *channel, f wire.Frame) error {
	if f.Type != wire.FrameMethod {
		return nil
	}
	switch wire.MethodID(f.Payload) {
	case wire.IDChannelCloseOk:
		c.forgetChannel(ch)
	case wire.IDChannelClose:
		ch.answered = true
		c.reply(ch.id, &wire.ChannelCloseOk{})
	case wire.IDChannelOpen:
		if ch.answered { // It takes its own close for the end of ours.
			c.forgetChannel(ch)
			return c.openChannel(ch.id)
		}
	}
	return nil
}

func (c *conn) openChannel(id uint16) error {
	if max := int(c.channelMax); max > 0 && len(c.channels) >= max {
		return raise(wire.ReplyNotAllowed, 0,
			"number of channels opened (%d) has reached the negotiated channel_max (%d)", len(c.channels), max)
	}
	if e := c.srv.addChannel(c.user.name); e != nil {
		return e
	}
	ch := &channel{conn: c, id: id, user: c.user.name}
	ch.publisher = c.session.NewPublisher(ch)
	c.channelCount.Add(1)
	if c.channels == nil {
		c.channels = make(map[uint16]*channel)
	}
	c.channels[id] = ch
	ch.row = c.addChannelRow(ch)
	ch.publisher.SetScope(ch.row.Name)
	c.reply(id, &wire.ChannelOpenOk{})
	return nil
}

// raiseOn ends ch because of e, or passes e on if it ends the connection.
func (c *conn) raiseOn(ch *channel, e *exception) error {
	if e.fatal {
		return e
	}
	c.channelException(ch, e)
	return nil
}

// channelException closes a channel: its consumers are removed and its
// deliveries requeued before channel.close goes out.
func (c *conn) channelException(ch *channel, e *exception) {
	if ch.closing {
		return
	}
	c.logException(slog.LevelWarn, ch, e)
	c.endChannel(ch)
	ch.closing = true
	c.reply(ch.id, &wire.ChannelClose{
		Code: e.code, Text: e.replyText(), Class: wire.ClassOf(e.method), Method: wire.MethodOf(e.method),
	})
}

// endChannel takes everything down that hangs on ch. It may be called twice.
func (c *conn) endChannel(ch *channel) {
	if ch.row == nil {
		return
	}
	ch.row.Remove()
	ch.row = nil
	c.srv.removeChannel(ch.user)
	c.channelCount.Add(-1)
	if c.work.ch == ch && c.work.n > 0 {
		c.publishBatch()
	}
	if c.work.partial.ch == ch {
		c.work.partial.ch = nil // The rest of the frame is read and forgotten.
	}
	c.dropContent(ch)
	c.cancelConsumers(ch)
	c.dropReplyQueue(ch)
	if ch.tx != nil {
		c.dropTransaction(ch)
	}
	c.out.Lock()
	c.writeConfirms() // Those that are complete are told.
	ch.mute = true
	if c.out.Unlock() {
		c.work.flushOwn = true
	}
	c.requeueAll(ch, core.Fail)
	ch.publisher.End()
	if ch.tx != nil {
		ch.tx.publisher.End()
	}
	ch.publisher = nil
	ch.props = checkedProps{}
}

func (c *conn) cancelConsumers(ch *channel) {
	for _, k := range ch.consumers {
		k.core.Leave(&c.work.touched)
	}
	ch.consumers = nil
}

// forgetChannel frees the channel's number.
func (c *conn) forgetChannel(ch *channel) {
	delete(c.channels, ch.id)
	if c.lastCh == ch {
		c.lastCh = nil
	}
}

// method carries out one method on an open channel. Errors that end only the
// channel are told from others by their code.
func (c *conn) method(ch *channel, m wire.Method) error {
	switch m := m.(type) {
	case *wire.ExchangeDeclare:
		return c.exchangeDeclare(ch, m)
	case *wire.ExchangeDelete:
		return c.exchangeDelete(ch, m)
	case *wire.ExchangeBind:
		return c.exchangeBind(ch, m)
	case *wire.ExchangeUnbind:
		return c.exchangeUnbind(ch, m)
	case *wire.QueueDeclare:
		return c.queueDeclare(ch, m)
	case *wire.QueueBind:
		return c.queueBind(ch, m)
	case *wire.QueueUnbind:
		return c.queueUnbind(ch, m)
	case *wire.QueuePurge:
		return c.queuePurge(ch, m)
	case *wire.QueueDelete:
		return c.queueDelete(ch, m)
	case *wire.BasicQos:
		return c.basicQos(ch, m)
	case *wire.BasicConsume:
		return c.basicConsume(ch, m)
	case *wire.BasicCancel:
		return c.basicCancel(ch, m)
	case *wire.BasicGet:
		return c.basicGet(ch, m)
	case *wire.BasicRecover:
		return c.basicRecover(ch, m.Requeue, true)
	case *wire.BasicRecoverAsync:
		return c.basicRecover(ch, m.Requeue, false)
	case *wire.ConfirmSelect:
		return c.confirmSelect(ch, m)
	case *wire.TxSelect:
		return c.txSelect(ch)
	case *wire.TxCommit:
		return c.txCommit(ch)
	case *wire.TxRollback:
		return c.txRollback(ch)
	case *wire.ChannelFlow:
		if !m.Active {
			return raise(wire.ReplyNotImplemented, 0, "active=false")
		}
		c.reply(ch.id, &wire.ChannelFlowOk{Active: true})
		return nil
	case *wire.ChannelClose:
		c.endChannel(ch)
		c.forgetChannel(ch)
		c.reply(ch.id, &wire.ChannelCloseOk{})
		return nil
	case *wire.ChannelOpen:
		return raise(wire.ReplyChannelError, 0, "second 'channel.open' seen")
	case *wire.AccessRequest:
		c.reply(ch.id, &wire.AccessRequestOk{Ticket: 1})
		return nil
	case *wire.BasicCancelOk, *wire.ChannelFlowOk, *wire.ChannelCloseOk:
		return nil // Answers to what we may have asked.
	}
	return raise(wire.ReplyCommandInvalid, 0, "unimplemented method")
}

func (c *conn) confirmSelect(ch *channel, m *wire.ConfirmSelect) error {
	if ch.tx != nil {
		return raise(wire.ReplyPreconditionFailed, 0, "cannot switch from tx to confirm mode")
	}
	ch.confirming = true
	ch.counters.confirming.Store(true)
	if !m.NoWait {
		c.reply(ch.id, &wire.ConfirmSelectOk{})
	}
	return nil
}
