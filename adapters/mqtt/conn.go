package mqtt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"leveret/adapters/internal/netx"
	"leveret/adapters/mqtt/wire"
	"leveret/core"
	"leveret/core/wheel"
)

const codeShutdown = wire.ServerShuttingDown

// connState is how far a connection has come.
type connState uint8

const (
	awaitConnect connState = iota
	running
	finished // Nothing more is read.
)

// conn is one client's connection. Its reader goroutine, serve, does nearly
// everything; fields without another note are its own. Other goroutines deliver
// into out (under out's lock), complete publishes (inbound), or force its end.
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
	ws       bool // Over WebSocket.

	state   connState
	version byte // Of the protocol; fixed by CONNECT, as the following.
	client  clientInfo
	shown   core.Credentials // What it logged in with, but for the password.
	session *core.Session
	holds   *core.Client // The identity, with its subscriptions and queues.
	row     *core.Row

	publisher *core.Publisher
	published uint64 // Number of the last QoS 1 or 2 publish.
	props     propsCache
	lastTopic lastTopic
	aliases   []string // Routing keys by the client's topic alias, from 1 on.

	own     *outlet            // Consumes the session's queue; nil while there is none.
	shares  map[string]*outlet // Those of shared subscriptions, by queue.
	limiter *core.Limiter      // Over all consumers that need a packet id.
	feeds   []*feed            // Retained messages on their way, one after the other.
	waker   *feedWaker         // Waits for room for them.

	work    work // Of the read under way.
	partial partial

	departure core.Departure
	saidBye   bool        // The client sent DISCONNECT.
	connected atomic.Bool // CONNECT was accepted.

	publishes atomic.Bool // Has published: held while memory is short.
	busy      bool        // Its reads come back full; counted in srv.busy.

	clock    wheel.Timer
	lastRead atomic.Int64 // When something was last read, in the server's ms.
	paused   atomic.Bool  // Not reading, so that silence says nothing of the client.

	// What is guarded by out's lock.
	underOut struct {
		closed  bool // Nothing may follow what is in the buffer.
		leaving bool // What is delivered now goes back to its queue.
		unheld  bool // Wake the reader when something is delivered that needs an ack.
		ring    ring
		filters filters
		alias   outAliases
		packets uint64 // PUBLISHes sent.
		scratch []byte
	}

	inbound inbound

	wake chan struct{} // Tells a held reader to look again.

	ended struct {
		mu      sync.Mutex
		failure *failure // Why; the first word counts.
		level   slog.Level
		silent  bool
		forced  bool
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
	defer c.cancel()
	s.stats.connectsTotal.Add(1)
	c.clock.Init(c)
	s.clocks.Schedule(&c.clock, s.now()+s.opts.ConnectTimeout.Milliseconds())
	c.run()
}

// run serves and tears down. A panic, which would be our own mistake, ends this
// connection only.
func (c *conn) run() {
	defer func() {
		if r := recover(); r != nil {
			c.srv.log.Error("MQTT connection failed", "conn", c.id, "peer", c.peer, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			c.end(slog.LevelError, &failure{wire.ImplementationSpecific, "internal error"})
			c.departure = core.Lost
		}
		c.teardown()
	}()
	c.serve()
}

func newConn(s *Server, nc net.Conn, loggedIn func()) *conn {
	c := &conn{
		srv: s, nc: nc, in: netx.NewIn(nc), id: s.lastConn.Add(1), peer: nc.RemoteAddr().String(),
		loggedIn: loggedIn, since: time.Now(), wake: make(chan struct{}, 1), departure: core.Lost,
	}
	_, c.ws = nc.(interface{ Subprotocol() string })
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.out = netx.NewOut(nc, netx.OutOptions{OnError: c.writeFailed, WriteTimeout: s.opts.WriteTimeout})
	c.out.SetBeforeWrite(c.writeAcks)
	c.in.SetBeforePark(c.flushAll)
	return c
}

// serve reads until the connection ends.
func (c *conn) serve() {
	for c.state != finished {
		if !c.mayRead() {
			return
		}
		if len(c.feeds) > 0 {
			c.feedRetained()
		}
		_, full, err := c.in.Read()
		if err != nil {
			if c.nudged(err) {
				continue
			}
			c.readFailed(err)
			return
		}
		c.lastRead.Store(c.srv.now())
		err = c.process()
		c.endOfRead(full && err == nil)
		if err != nil {
			return
		}
		if c.work.ahead {
			c.pace()
		}
		if c.work.behind != nil {
			c.paceDirect(full)
		}
		c.yield(full)
	}
}

// yield lets others run if more clients keep their readers busy than there are
// processors: see package amqp, which measured it.
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

// endForeign notes that the client speaks something else, if the first bytes b
// or err of the first read say so.
func (c *conn) endForeign(err error, b []byte) bool {
	here := "mqtt"
	if c.ws {
		here = "http/web-mqtt"
	} else if c.secure() {
		here = "mqtt/ssl"
	}
	what := netx.Places(c.srv.opts.Places).Explain(err, b, here)
	if what == "" {
		return false
	}
	c.end(slog.LevelWarn, &failure{wire.ProtocolError, "the client does not speak MQTT: " + what})
	return true
}

// secure reports whether the connection is over TLS.
func (c *conn) secure() bool { return netx.TLSOf(c.nc) != nil }

// process takes the packets of the read buffer as far as they are complete.
func (c *conn) process() error {
	b := c.in.Bytes()
	n, need, err := c.packets(b)
	c.finishWork() // Also what came before an error.
	c.in.Discard(n)
	if err != nil {
		if err != errEnd {
			c.failed(failureOf(err))
		}
		return errEnd
	}
	if need > 0 {
		c.in.Grow(need)
	}
	return nil
}

// bigPacket is the size from which a packet is gathered in memory of its own as
// it arrives, instead of in a read buffer that is made large enough for it.
const bigPacket = 64 << 10

// packets handles the packets at the beginning of b. It returns how many bytes
// it has used up, also in case of an error, and how long the packet that follows
// is, 0 if that is not known.
func (c *conn) packets(b []byte) (n, need int, err error) {
	for n < len(b) && c.state != finished {
		if c.partial.open {
			used, err := c.morePartial(b[n:])
			n += used
			if err != nil {
				return n, 0, err
			}
			continue
		}
		if c.state == awaitConnect && b[n] != wire.Connect<<4 && c.endForeign(nil, b[n:]) {
			return len(b), 0, errEnd
		}
		h, err := wire.ParseHeader(b[n:])
		if err != nil {
			return len(b), 0, err
		}
		if h.Size == 0 {
			return n, wire.HeaderMax, nil
		}
		size := h.Size + h.Length
		if limit := c.packetMax(h); size > limit {
			return len(b), 0, fail(wire.PacketTooLarge, "%s of %d bytes, %d are allowed", wire.TypeName(h.Type()), size, limit)
		}
		if n+size > len(b) {
			if size <= bigPacket {
				return n, size, nil
			}
			c.beginPartial(h)
			n += h.Size
			continue
		}
		body := b[n+h.Size : n+size : n+size]
		n += size
		if err := c.packet(h, body, false); err != nil {
			return n, 0, err
		}
	}
	return n, 0, nil
}

// packetMax bounds a packet at this time.
func (c *conn) packetMax(h wire.Header) int {
	if c.state == awaitConnect {
		return connectMax
	}
	return c.srv.opts.MaxPacket
}

// packet handles one packet. Its body may lie in the read buffer, or, with own,
// in memory that is its own for ever.
func (c *conn) packet(h wire.Header, body []byte, own bool) error {
	typ := h.Type()
	if c.state == awaitConnect {
		if typ != wire.Connect {
			c.quietly()
			return fail(wire.ProtocolError, "%s before CONNECT", wire.TypeName(typ))
		}
		return aside(func() error { return c.connect(body) })
	}
	switch typ {
	case wire.Publish:
		return c.publish(h, body, own)
	case wire.Puback, wire.Pubrec, wire.Pubrel, wire.Pubcomp:
		return c.acknowledged(typ, body)
	case wire.Pingreq:
		if len(body) != 0 {
			return fail(wire.MalformedPacket, "PINGREQ with a body")
		}
		c.answer(func(b []byte) []byte { return wire.AppendEmpty(b, wire.Pingresp) })
		return nil
	}
	c.finishWork()
	switch typ {
	case wire.Subscribe:
		return aside(func() error { return c.subscribe(body) })
	case wire.Unsubscribe:
		return c.unsubscribe(body)
	case wire.Disconnect:
		return c.disconnect(body)
	case wire.Auth:
		if c.version == wire.V5 {
			return aside(func() error { return c.reAuthenticate(body) })
		}
	case wire.Connect:
		return fail(wire.ProtocolError, "a second CONNECT")
	}
	return fail(wire.ProtocolError, "%s from a client", wire.TypeName(typ))
}

// aside runs f on a stack of its own and waits for it: what needs a deep one
// shall not leave it with a connection that is idle afterwards. A panic in f is
// one of the caller.
func aside(f func() error) error {
	type result struct {
		err    error
		caught any
	}
	done := make(chan result, 1)
	go func() { // Ends with f.
		var r result
		defer func() {
			if v := recover(); v != nil {
				r.caught = fmt.Sprintf("%v\n%s", v, debug.Stack())
			}
			done <- r
		}()
		r.err = f()
	}()
	r := <-done
	if r.caught != nil {
		panic(r.caught)
	}
	return r.err
}

// partial is a large packet that arrives in pieces.
type partial struct {
	open    bool
	h       wire.Header
	body    []byte
	charged int64
}

// beginPartial begins one, whose header has been used up.
func (c *conn) beginPartial(h wire.Header) { c.partial = partial{open: true, h: h} }

// morePartial takes more of it. Memory is taken as it arrives, not as it is
// announced: at most twice of what is there.
func (c *conn) morePartial(b []byte) (used int, err error) {
	p := &c.partial
	used = min(p.h.Length-len(p.body), len(b))
	if need := len(p.body) + used; need > cap(p.body) {
		size := min(max(2*need, bigPacket), p.h.Length)
		c.chargePartial(int64(size - cap(p.body)))
		body := make([]byte, len(p.body), size)
		copy(body, p.body)
		p.body = body
	}
	p.body = append(p.body, b[:used]...)
	if p.h.Type() == wire.Publish && !c.publishes.Load() {
		c.publishes.Store(true) // It may be held before its first publish is whole.
	}
	c.work.sawPublish = true
	if len(p.body) < p.h.Length {
		return used, nil
	}
	h, body := p.h, p.body
	c.dropPartial()
	err = c.packet(h, body, true)
	c.finishWork() // A batch of these would be large, and core charges for what it keeps.
	return used, err
}

// chargePartial accounts for n more bytes.
func (c *conn) chargePartial(n int64) {
	c.partial.charged += n
	c.srv.broker.Memory().Charge(n)
}

// dropPartial forgets the packet under way.
func (c *conn) dropPartial() {
	if n := c.partial.charged; n != 0 {
		c.srv.broker.Memory().Charge(-n)
	}
	c.partial = partial{}
}

// answer appends something that the client asked for.
func (c *conn) answer(f func(b []byte) []byte) {
	c.out.Lock()
	if !c.underOut.closed {
		before := len(c.out.B)
		c.out.B = f(c.out.B)
		c.out.Asked(len(c.out.B) - before)
	}
	if c.out.Unlock() {
		c.work.flushOwn = true
	}
	c.work.answers++
	if c.work.answers >= answersMax {
		c.finishWork()
		c.waitAsked()
	}
}

// answersMax is how many answers may pass before it is looked whether the
// client reads them.
const answersMax = 4096

// failed ends the connection because of f, which the client is told if it can
// be.
func (c *conn) failed(f *failure) {
	c.finishWork()
	level := slog.LevelWarn
	c.end(level, f)
	if c.state == awaitConnect {
		c.refuse(f)
	}
	c.state = finished
}

// disconnect handles the client's goodbye.
func (c *conn) disconnect(body []byte) error {
	d, err := wire.ParseDisconnect(body, c.version)
	if err != nil {
		return err
	}
	if d.HasSessionExpiry {
		if d.SessionExpiry != 0 && !c.holds.Lasting() {
			return fail(wire.ProtocolError, "session expiry in DISCONNECT of a session that had none")
		}
		if err := c.holds.SetExpiry(c.srv.expiryMS(d.SessionExpiry)); err != nil {
			c.srv.log.Warn("MQTT session expiry not changed", append(c.who(), "error", err)...)
		}
	}
	c.saidBye = true
	if d.Code == wire.Success {
		c.departure = core.Left
	}
	c.end(slog.LevelInfo, &failure{d.Code, "closed by the client"})
	c.state = finished
	return errEnd
}

// teardown releases everything, however the connection ended.
func (c *conn) teardown() {
	c.state = finished
	c.srv.clocks.Stop(&c.clock)
	c.yield(false)
	c.dropPartial()
	c.endOfRead(false)
	c.endTurn()
	c.endSession()
	c.in.Release()
	c.sayBye()
	c.out.Abort(nil)
	c.nc.Close()
	c.srv.stats.sent.Add(c.underOut.packets)
	c.srv.stats.bytesReceived.Add(uint64(c.in.Received()))
	c.srv.stats.bytesSent.Add(uint64(c.out.Written()))
	c.logEnd()
}

// sayBye tells a client of MQTT 5 why, and leaves it a moment to take what is
// unsent and to close its side.
func (c *conn) sayBye() {
	c.ended.mu.Lock()
	f := c.ended.failure
	c.ended.mu.Unlock()
	if c.out.Err() != nil {
		return
	}
	c.out.Lock()
	if !c.underOut.closed && c.version == wire.V5 && !c.saidBye && f != nil && f.code.IsError() {
		why := f.why
		if c.client.noProblemInfo {
			why = ""
		}
		c.out.B = wire.AppendDisconnect(c.out.B, f.code, why, c.client.maxPacket)
	}
	c.underOut.closed = true
	c.out.Unlock()
	c.out.Flush()
	c.out.CloseAfterFlush(c.srv.opts.ShutdownTimeout)
}

// force closes the connection from outside: take-over, an operator, a deleted
// virtual host, the end of the broker. Any goroutine may call it.
func (c *conn) force(f *failure) {
	c.ended.mu.Lock()
	if c.ended.failure == nil {
		c.ended.failure, c.ended.level = f, slog.LevelInfo
	}
	c.ended.forced = true
	c.nc.SetReadDeadline(past)
	c.ended.mu.Unlock()
	c.cancel()
}

// past is a deadline that fetches the reader out of Read.
var past = time.Unix(1, 0)

// nudged reports whether err only means that the reader is wanted for something
// else than reading.
func (c *conn) nudged(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.ended.mu.Lock()
	defer c.ended.mu.Unlock()
	if c.ended.forced {
		return false
	}
	c.nc.SetReadDeadline(time.Time{})
	return true
}

func (c *conn) forced() bool {
	c.ended.mu.Lock()
	defer c.ended.mu.Unlock()
	return c.ended.forced
}

// wakeUp has a held reader look again.
func (c *conn) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// mayRead waits until the client may be read from: while memory is short and
// it is one that publishes, and while it does not read what it asked for. It
// reports false if the connection has ended meanwhile.
func (c *conn) mayRead() bool {
	if c.work.sawPublish {
		c.work.sawPublish = false
		c.hold()
	}
	if c.ctx.Err() != nil {
		c.state = finished
		return false
	}
	if c.out.WaitAsked(expired) == nil || c.waitAsked() {
		return true
	}
	if err := c.out.Err(); err != nil && !c.forced() {
		c.end(slog.LevelWarn, &failure{wire.UnspecifiedError, fmt.Sprintf("writing failed: %v", err)})
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
	c.flushAll()
	f := &failure{wire.Success, ""}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && c.forced():
		return
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		if c.state == awaitConnect && c.in.Received() == 0 {
			c.quietly()
		}
		f.why = "the client closed its socket without DISCONNECT"
	case errors.Is(err, net.ErrClosed):
		f.why = "the socket was closed"
	case c.state == awaitConnect && c.endForeign(err, nil):
		return
	default:
		f.why = fmt.Sprintf("reading failed: %v", err)
	}
	c.end(slog.LevelWarn, f)
}

// writeFailed is called by whoever wrote.
func (c *conn) writeFailed(err error) {
	c.end(slog.LevelWarn, &failure{wire.UnspecifiedError, fmt.Sprintf("writing failed: %v", err)})
	c.cancel()
}

// end notes why the connection ends; the first word counts.
func (c *conn) end(level slog.Level, f *failure) {
	c.ended.mu.Lock()
	defer c.ended.mu.Unlock()
	if c.ended.failure == nil {
		c.ended.failure, c.ended.level = f, level
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
	if c.client.id != "" {
		attrs = append(attrs, "client_id", c.client.id)
	}
	if c.client.user != "" {
		attrs = append(attrs, "user", c.client.user, "vhost", c.client.vhost)
	}
	return attrs
}

func (c *conn) logEnd() {
	c.ended.mu.Lock()
	f, level, silent := c.ended.failure, c.ended.level, c.ended.silent
	c.ended.mu.Unlock()
	if f == nil {
		f = &failure{wire.Success, "ended"}
	}
	if silent || level == slog.LevelInfo {
		level = slog.LevelDebug
	}
	attrs := append(c.who(), "why", f.why)
	if f.code != wire.Success {
		attrs = append(attrs, "code", fmt.Sprintf("0x%02X", byte(f.code)))
	}
	c.srv.log.Log(context.Background(), level, "MQTT connection ended", attrs...)
}
