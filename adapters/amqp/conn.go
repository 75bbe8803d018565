package amqp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"leveret/adapters/amqp/wire"
	"leveret/adapters/internal/netx"
	"leveret/core"
)

// connState is how far a connection has come.
type connState uint8

const (
	awaitHeader connState = iota // Nothing received yet.
	awaitStartOk
	awaitTuneOk
	awaitOpen
	running
	closing  // We sent connection.close and wait for close-ok.
	finished // Nothing more is read.
)

// conn is one client. Its reader goroutine, serve, does nearly everything;
// fields without another note are its own. Other goroutines deliver into out
// (under out's lock), complete publishes (confirms), post requests (control).
type conn struct {
	// Fixed by newConn.
	srv      *Server
	nc       net.Conn
	in       *netx.In
	out      *netx.Out
	id       uint64
	peer     string
	loggedIn func() // Tells the listener that the client has logged in.
	ctx      context.Context
	cancel   context.CancelFunc // Ends waits of the reader.
	since    time.Time

	state      connState
	maxPayload uint32 // Of a frame from the client.

	// Known once the client has logged in, fixed then.
	client     clientInfo
	session    *core.Session
	frameMax   uint32
	channelMax uint16
	heartbeat  uint16
	row        *core.Row

	user          *userInfo        // Changes with update-secret.
	authenticated core.Principal   // Until the session is open.
	shown         core.Credentials // What it logged in with, but for the password.

	channels     map[uint16]*channel
	channelCount atomic.Int64 // Of those that are open.
	lastCh       *channel     // Of channels, used last.

	work work // Of the read under way.

	exceptions struct {
		since         time.Time
		n, suppressed int
	}

	linger  time.Duration // How long to wait for the client to close its side.
	silence time.Duration // How long to keep the client waiting before the socket is closed.

	publishes atomic.Bool // Has published: held while memory is short.
	blocked   bool        // connection.blocked went out.
	busy      bool        // Its reads come back full; counted in srv.busy.
	assembled int64       // Bytes of content received in part.

	// Clocks, in ms since since; see tick.
	deadlineMS  atomic.Int64 // When to give up the connection; 0 for never.
	deadlineWhy atomic.Pointer[string]
	paused      atomic.Bool // Not reading, so that silence says nothing of the client.
	held        atomic.Bool // Not reading because memory is short.
	beat        struct {    // Of the server's ticker.
		intervalMS atomic.Int64
		read       int64
		readAtMS   int64
		written    int64
		writtenMS  int64
	}

	// What is guarded by out's lock.
	underOut struct {
		closed bool // connection.close or close-ok is in the buffer: nothing may follow it.
		unheld bool // Wake the reader when something is delivered that needs an ack.
		outs   int  // Deliveries unacked on all channels.
	}

	confirms struct {
		mu    sync.Mutex
		dirty []*channel // With confirms to write.
		// attended is true while the reader will flush before it parks, so that
		// completions need not wake the writer.
		attended bool
	}

	control struct {
		mu     sync.Mutex
		posted []func()
		ended  []*consumer // By the broker; their tags are free.
		wake   chan struct{}
		gone   bool
	}

	ended struct {
		mu     sync.Mutex
		why    string
		level  slog.Level
		silent bool
	}
}

// errEnd ends the reader; why was noted with end.
var errEnd = errors.New("connection ended")

// serveConn serves one client until it is gone.
func (s *Server) serveConn(ctx context.Context, nc net.Conn, loggedIn func()) {
	c := newConn(s, nc, loggedIn)
	if !s.add(c) {
		nc.Close()
		return
	}
	defer s.remove(c)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	defer c.cancel()
	c.deadline(s.opts.HandshakeTimeout, "the handshake took too long")
	c.serve()
	c.teardown()
}

func newConn(s *Server, nc net.Conn, loggedIn func()) *conn {
	c := &conn{
		srv: s, nc: nc, in: netx.NewIn(nc), id: s.lastConn.Add(1), peer: nc.RemoteAddr().String(),
		loggedIn: loggedIn, since: time.Now(), maxPayload: initialFrameMax, frameMax: initialFrameMax,
	}
	c.out = netx.NewOut(nc, netx.OutOptions{OnError: c.writeFailed})
	c.out.SetBeforeWrite(c.writeConfirms)
	c.in.SetBeforePark(c.flushAll)
	c.control.wake = make(chan struct{}, 1)
	return c
}

// initialFrameMax bounds frames until connection.tune-ok.
const initialFrameMax = 8192

// serve reads until the connection ends.
func (c *conn) serve() {
	for c.state != finished {
		c.runPosted()
		if c.state == finished || !c.mayRead() {
			return
		}
		_, full, err := c.in.Read()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.flushAll()
				continue // Somebody has posted something.
			}
			c.readFailed(err)
			return
		}
		err = c.process()
		c.endOfRead(full && err == nil)
		if err != nil {
			return
		}
		if c.work.ahead != nil {
			c.pace()
		}
		c.yield(full)
	}
}

// yield lets others run if more clients keep their readers busy than there are
// processors. A reader that always finds more would keep its thread until it is
// preempted, after 10 ms: behind a hundred of them everybody else would wait for
// half a second. While there are processors for all, yielding costs more than
// it gives.
func (c *conn) yield(full bool) {
	if full != c.busy {
		c.busy = full
		if full {
			c.srv.busy.Add(1)
		} else {
			c.srv.busy.Add(-1)
		}
	}
	if full && c.srv.busy.Load() >= c.srv.processors {
		runtime.Gosched()
	}
}

// process takes the frames of the read buffer, and what they ask for, as far
// as they are complete.
func (c *conn) process() error {
	b := c.in.Bytes()
	n, need, err := c.frames(b)
	c.finishWork() // Also what came before an error.
	if err != nil {
		var e *exception
		if errors.As(err, &e) {
			c.raise(e)
			err = nil
			if c.state == finished {
				err = errEnd
			}
			// What follows in the buffer is read as a closing connection reads.
			if c.state == closing {
				var rest int
				rest, need, err = c.frames(b[n:])
				n += rest
				if errors.As(err, &e) {
					c.end(slog.LevelWarn, e.replyText())
					err = errEnd
				}
			}
		}
	}
	c.in.Discard(n)
	if err == nil && need > 0 {
		c.in.Grow(need)
	}
	return err
}

// frames handles the frames at the beginning of b. It returns how many bytes
// it has used up, also in case of an error, and how long the unit that follows
// them must be to be handled, 0 if that is not known.
func (c *conn) frames(b []byte) (n, need int, err error) {
	if c.state == awaitHeader {
		if n, err = c.protocolHeader(b); n == 0 || err != nil {
			return n, 0, err
		}
	}
	for n < len(b) && c.state != finished {
		if c.work.partial.open {
			used, err := c.partialBody(b[n:])
			n += used
			if err != nil {
				return n, 0, err
			}
			if used == 0 {
				return n, 0, nil
			}
			continue
		}
		f, size, err := wire.ParseFrame(b[n:], c.maxPayload)
		if err != nil {
			return len(b), 0, frameException(err)
		}
		if size == 0 {
			if len(b)-n >= wire.FrameHeaderSize && c.beginPartialBody(b[n:]) {
				n += wire.FrameHeaderSize
				continue
			}
			return n, wire.FrameSize(b[n:]), nil
		}
		if c.state != running {
			n += size
			if err := c.negotiate(f); err != nil {
				return n, 0, err
			}
			continue
		}
		used, need, err := c.frame(f, b[n:], size)
		n += used
		if err != nil {
			return n, 0, err
		}
		if used == 0 {
			return n, need, nil
		}
	}
	return n, 0, nil
}

func frameException(err error) *exception {
	e := raise(wire.ReplyFrameError, 0, "%v", err)
	e.drop = true
	return e
}

// frame handles one frame of a running connection. b begins with the frame,
// which takes size bytes; a publish that lies there whole is taken whole. 0
// bytes used means: come again with need bytes.
func (c *conn) frame(f wire.Frame, b []byte, size int) (used, need int, err error) {
	if f.Channel == 0 {
		return size, 0, c.frameOnZero(f)
	}
	ch := c.channel(f.Channel)
	if ch != nil && !ch.closing && f.Type == wire.FrameMethod && ch.content == nil {
		switch id := wire.MethodID(f.Payload); id {
		case wire.IDBasicPublish:
			return c.publish(ch, f, b, size)
		case wire.IDBasicAck, wire.IDBasicNack, wire.IDBasicReject:
			return size, 0, c.settlement(ch, id, f.Payload)
		}
	}
	return size, 0, c.frameOnChannel(ch, f)
}

// channel finds an open, or closing, channel.
func (c *conn) channel(id uint16) *channel {
	if ch := c.lastCh; ch != nil && ch.id == id {
		return ch
	}
	ch := c.channels[id]
	if ch != nil {
		c.lastCh = ch
	}
	return ch
}

// frameOnZero handles what concerns the whole connection.
func (c *conn) frameOnZero(f wire.Frame) error {
	switch f.Type {
	case wire.FrameHeartbeat:
		if len(f.Payload) != 0 {
			return raise(wire.ReplyFrameError, 0, "type %d, %s", f.Type, wire.Octets(f.Payload))
		}
		return nil
	case wire.FrameMethod:
	default:
		return raise(wire.ReplyUnexpectedFrame, 0, "type %d, %s", f.Type, wire.Octets(f.Payload))
	}
	c.finishWork()
	m, err := decodeMethod(f.Payload)
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *wire.ConnectionClose:
		c.clientCloses(m)
		return nil
	case *wire.ConnectionUpdateSecret:
		return c.updateSecret(m)
	case *wire.ConnectionCloseOk:
		return nil // An answer to a close we never sent harms nobody.
	}
	return raise(wire.ReplyChannelError, m.ID(), "unexpected method in connection state running")
}

// decodeMethod decodes a cold method; whatever is wrong with it closes the
// connection with a word, never without.
func decodeMethod(payload []byte) (wire.Method, error) {
	m, err := wire.DecodeMethod(payload)
	id := wire.MethodID(payload)
	switch {
	case err == nil:
		return m, nil
	case errors.Is(err, wire.ErrUnknownMethod):
		return nil, raise(wire.ReplyCommandInvalid, id, "%v", err)
	case errors.Is(err, wire.ErrUTF8):
		return nil, raise(wire.ReplyFrameError, id, "Malformed UTF-8 in shortstr")
	case errors.Is(err, wire.ErrTable):
		return nil, raise(wire.ReplyFrameError, id, "%v", err)
	case wire.ClassOf(id) == wire.ClassConnection:
		return nil, raise(wire.ReplyFrameError, id, "cannot decode %s", wire.MethodName(id)) // It may hold a password.
	}
	return nil, raise(wire.ReplyFrameError, id, "cannot decode %s", wire.ErlangBinary(payload))
}

// raise closes the connection because of e. A soft error of channel 0 does
// that too.
func (c *conn) raise(e *exception) {
	if c.state < running {
		c.refuse(e)
		return
	}
	if c.state != running {
		return
	}
	c.closeAll()
	c.logException(slog.LevelWarn, nil, e)
	c.end(slog.LevelWarn, e.replyText())
	c.sendClose(e)
	if e.drop {
		c.finish(c.srv.opts.FailedLoginDelay)
	}
}

// finish reads nothing more and leaves the client d to take what is unsent and
// to close its side.
func (c *conn) finish(d time.Duration) {
	c.state = finished
	c.linger = d
}

// sendClose writes connection.close and waits for the answer from then on.
func (c *conn) sendClose(e *exception) {
	c.state = closing
	c.deadline(c.goodbyeTimeout(), "no connection.close-ok from the client")
	c.out.Lock()
	if !c.underOut.closed {
		c.out.B = wire.AppendMethod(c.out.B, 0, &wire.ConnectionClose{
			Code: e.code, Text: e.replyText(), Class: wire.ClassOf(e.method), Method: wire.MethodOf(e.method),
		})
		c.underOut.closed = true
	}
	c.out.Unlock()
	c.out.Flush()
}

// goodbyeTimeout is how long a client may take to finish a close.
func (c *conn) goodbyeTimeout() time.Duration {
	if h := time.Duration(c.heartbeat) * time.Second; h > 0 && h < 30*time.Second {
		return h
	}
	return 30 * time.Second
}

// clientCloses answers connection.close: the channels end first, and exclusive
// queues are deleted before close-ok is sent.
func (c *conn) clientCloses(m *wire.ConnectionClose) {
	c.closeAll()
	why := "closed by the client"
	if m.Code != wire.ReplySuccess && m.Code != 0 {
		why = fmt.Sprintf("closed by the client: %d %s", m.Code, m.Text)
	}
	c.end(slog.LevelInfo, why)
	c.sendCloseOk()
}

func (c *conn) sendCloseOk() {
	c.out.Lock()
	c.out.B = wire.AppendMethod(c.out.B, 0, &wire.ConnectionCloseOk{})
	c.underOut.closed = true
	c.out.Unlock()
	c.finish(c.goodbyeTimeout())
}

// closeAll ends all channels and the session.
func (c *conn) closeAll() {
	c.finishWork()
	for _, ch := range c.channels {
		c.cancelConsumers(ch) // First all of them: what one channel requeues is not for another.
	}
	for _, ch := range c.channels {
		c.endChannel(ch)
	}
	clear(c.channels)
	c.lastCh = nil
	c.flushTouched()
	if c.session != nil {
		c.session.Close()
	}
	if c.row != nil {
		c.row.Remove()
		c.row = nil
	}
}

// teardown releases everything, however the connection ended.
func (c *conn) teardown() {
	c.control.mu.Lock()
	c.control.gone = true
	c.control.posted = nil
	c.control.mu.Unlock()
	c.yield(false)
	c.closeAll()
	c.in.Release()
	if c.silence > 0 {
		t := time.NewTimer(c.silence)
		select {
		case <-t.C:
		case <-c.ctx.Done():
		}
		t.Stop()
	}
	if c.linger > 0 {
		c.deadline(0, "")
		c.out.Flush() // Confirms are made up to here.
		c.out.CloseAfterFlush(c.linger)
	}
	c.out.Abort(nil)
	c.nc.Close()
	c.logEnd()
}

// force closes the connection from outside: an operator, a deleted virtual
// host, the end of the broker. Any goroutine may call it.
func (c *conn) force(reason string, within time.Duration) {
	c.post(func() {
		switch {
		case c.state == running:
			c.closeAll()
			e := raise(wire.ReplyConnectionForced, 0, "%s", reason)
			c.end(slog.LevelInfo, reason)
			c.sendClose(e)
			c.deadline(min(within, c.goodbyeTimeout()), "no connection.close-ok from the client")
		case c.state < running:
			c.end(slog.LevelInfo, reason)
			c.state = finished
		}
	})
	// One that does not get to run what is posted is dropped.
	c.deadline(within, reason)
}

// post has the reader run f, soon: it is fetched out of Read if need be. Any
// goroutine may call it. f is dropped if the connection is gone.
func (c *conn) post(f func()) {
	c.control.mu.Lock()
	defer c.control.mu.Unlock()
	if c.control.gone {
		return
	}
	c.control.posted = append(c.control.posted, f)
	c.nc.SetReadDeadline(time.Unix(1, 0))
	select {
	case c.control.wake <- struct{}{}:
	default:
	}
}

// runPosted runs what others have posted. What is posted after it makes the
// Read that follows fail with a timeout, and so gets here too.
func (c *conn) runPosted() {
	for {
		c.control.mu.Lock()
		posted := c.control.posted
		c.control.posted = nil
		if len(posted) == 0 {
			c.control.mu.Unlock()
			return
		}
		c.nc.SetReadDeadline(time.Time{})
		c.control.mu.Unlock()
		for _, f := range posted {
			f()
		}
		c.flushTouched()
		c.flushOut()
	}
}

// mayRead waits until the client may be read from: while memory is short and
// it is one that publishes, and while it does not read what it asked for. It
// reports false if the connection has ended meanwhile.
func (c *conn) mayRead() bool {
	if c.work.sawPublish || c.blocked {
		c.work.sawPublish = false
		c.hold()
		if c.state == finished {
			return false
		}
	}
	if c.out.WaitAsked(expired) == nil || c.waitAsked() {
		return true
	}
	if err := c.out.Err(); err != nil {
		c.end(slog.LevelWarn, fmt.Sprintf("writing failed: %v", err))
	}
	return false
}

// expired makes WaitAsked say only whether it would wait.
var expired = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// readFailed notes why reading ended.
func (c *conn) readFailed(err error) {
	switch {
	case c.state == finished:
	case c.state == closing:
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		if c.state == awaitHeader {
			c.quietly()
		}
		c.end(slog.LevelWarn, "the client closed its socket without connection.close")
	case errors.Is(err, net.ErrClosed):
		c.end(slog.LevelWarn, "the socket was closed")
	case c.state == awaitHeader && c.endForeign(err, nil):
	default:
		c.end(slog.LevelWarn, fmt.Sprintf("reading failed: %v", err))
	}
}

// writeFailed is called by whoever wrote.
func (c *conn) writeFailed(err error) {
	c.end(slog.LevelWarn, fmt.Sprintf("writing failed: %v", err))
	c.cancel()
}

// end notes why the connection ends; the first word counts.
func (c *conn) end(level slog.Level, why string) {
	c.ended.mu.Lock()
	defer c.ended.mu.Unlock()
	if c.ended.why == "" {
		c.ended.why, c.ended.level = why, level
	}
}

// quietly keeps the end of a connection on which nothing was said out of the
// log: port scanners and health checks.
func (c *conn) quietly() {
	c.ended.mu.Lock()
	defer c.ended.mu.Unlock()
	c.ended.silent = true
}

// who says in a log line whose connection it is.
func (c *conn) who() []any {
	attrs := []any{"conn", c.id, "peer", c.peer}
	if c.user != nil {
		attrs = append(attrs, "user", c.user.name)
	}
	if c.session != nil {
		attrs = append(attrs, "vhost", c.client.vhost)
	}
	if c.client.name != "" {
		attrs = append(attrs, "name", c.client.name)
	}
	return attrs
}

func (c *conn) logEnd() {
	c.ended.mu.Lock()
	why, level, silent := c.ended.why, c.ended.level, c.ended.silent
	c.ended.mu.Unlock()
	if silent {
		level = slog.LevelDebug
	}
	if why == "" {
		why = "closed"
	}
	c.srv.log.Log(context.Background(), level, "AMQP connection ended",
		append(c.who(), "why", why, "after", time.Since(c.since).Round(time.Millisecond))...)
}

// exceptionsLogged is how many exceptions a connection may log in a second.
const exceptionsLogged = 10

// logException logs what a client did wrong. One that does nothing else all the
// time does not fill the disk.
func (c *conn) logException(level slog.Level, ch *channel, e *exception) {
	l := &c.exceptions
	if now := time.Now(); now.Sub(l.since) >= time.Second {
		l.since, l.n = now, 0
	}
	if l.n++; l.n > exceptionsLogged && !e.fatal {
		l.suppressed++
		return
	}
	attrs := c.who()
	if l.suppressed > 0 {
		attrs = append(attrs, "suppressed", l.suppressed)
		l.suppressed = 0
	}
	if ch != nil {
		attrs = append(attrs, "channel", ch.id)
	}
	if e.method != 0 {
		attrs = append(attrs, "method", wire.MethodName(e.method))
	}
	c.srv.log.Log(context.Background(), level, "AMQP error", append(attrs, "code", e.code, "why", e.replyText())...)
}

// replyRoom is more than most answers take.
const replyRoom = 640

// reply appends a method that answers the client.
func (c *conn) reply(channel uint16, m wire.Method) {
	c.out.Lock()
	c.out.Reserve(replyRoom)
	at := len(c.out.B)
	c.out.B = wire.AppendMethod(c.out.B, channel, m)
	c.out.Asked(len(c.out.B) - at)
	if c.out.Unlock() {
		c.work.flushOwn = true
	}
}
