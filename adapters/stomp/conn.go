package stomp

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-stomp/stomp/v3/frame"

	"leveret/adapters/internal/netx"
	"leveret/adapters/internal/websocket"
	"leveret/adapters/stomp/wire"
	"leveret/core"
)

// connState is how far a connection has come.
type connState uint8

const (
	awaitConnect connState = iota
	running
	finished // Nothing more is read.
)

// conn is one client. Its reader goroutine, serve, does nearly everything;
// fields without another note are its own. Other goroutines deliver into out
// (under out's lock), complete publishes (confirms), post requests (control).
type conn struct {
	// Fixed by newConn.
	srv      *Server
	nc       net.Conn
	web      *websocket.Conn // nc, if it is one.
	in       *netx.In
	out      *netx.Out
	id       uint64
	peer     string
	loggedIn func() // Tells the listener that the client has logged in.
	ctx      context.Context
	cancel   context.CancelFunc // Ends waits of the reader.
	since    time.Time

	state connState

	// Known once the client has logged in, fixed then.
	version   wire.Version
	user      core.Principal
	shown     core.Credentials // What it logged in with, but for the password.
	vhost     string
	name      string // session:… of CONNECTED.
	session   *core.Session
	publisher *core.Publisher
	rows      rows

	scan   wire.Scanner
	gather gather
	repeat repeat // The SEND before, in case the next one is like it.
	props  checkedProps

	destinations map[string]*destination // By how the client writes them.
	declared     map[string]queueParams  // Queues this session has declared.
	replyQueues  map[string]*subscription
	transactions map[string]*transaction

	subs    map[string]*subscription // By tag; also ended ones of which something is unacked.
	lastSub *subscription

	work work // Of the read under way.

	number uint64 // Of the last publish that wants to be confirmed.

	logged struct {
		since         time.Time
		n, suppressed int
	}

	linger time.Duration // How long to wait for the client to close its side.

	publishes atomic.Bool // Has published: held while memory is short.
	busy      bool        // Its reads come back full; counted in srv.busy.

	// Clocks, in ms since since; see tick.
	deadlineMS  atomic.Int64 // When to give up the connection; 0 for never.
	deadlineWhy atomic.Pointer[string]
	paused      atomic.Bool // Not reading, so that silence says nothing of the client.
	held        atomic.Bool // Not reading because memory is short.
	beat        heartBeat

	counters struct {
		published, unroutable       atomic.Uint64
		subscriptions, transactions atomic.Int64
		delivered, acked            uint64 // Guarded by out's lock.
	}

	// What is guarded by out's lock.
	underOut struct {
		closed bool   // Nothing may follow what is in the buffer.
		unheld bool   // Wake the reader when something is delivered that needs an ack.
		outs   int    // Deliveries unacked on all subscriptions.
		total  uint64 // Deliveries so far.
	}

	confirms receipts

	control struct {
		mu     sync.Mutex
		posted []func()
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

// Limits of frames.
const (
	headersMax     = 100
	headerBytesMax = 64 << 10
	strangerBody   = 64 << 10 // Of the body before login.
)

// ownBodyMin is the size from which a body is kept by reference and leaves by
// writev, if it has memory of its own. It gets that when it comes in pieces or
// goes to several queues; one that lies whole in the read buffer and goes to
// one queue is cheaper copied.
const ownBodyMin = 16 << 10

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
	c.deadline(s.opts.LoginTimeout, "the client did not log in in time")
	c.serve()
	c.teardown()
}

func newConn(s *Server, nc net.Conn, loggedIn func()) *conn {
	c := &conn{
		srv: s, nc: nc, in: netx.NewIn(nc), id: s.lastConn.Add(1), peer: nc.RemoteAddr().String(),
		loggedIn: loggedIn, since: time.Now(),
	}
	c.web, _ = nc.(*websocket.Conn)
	c.out = netx.NewOut(nc, netx.OutOptions{OnError: c.writeFailed})
	c.out.SetBeforeWrite(c.writeReceipts)
	c.in.SetBeforePark(c.flushAll)
	c.control.wake = make(chan struct{}, 1)
	c.scan.Limits = wire.Limits{Headers: headersMax, HeaderBytes: headerBytesMax, Body: strangerBody}
	return c
}

// randomName is prefix and 22 random characters.
func randomName(prefix string) string {
	var b [16]byte
	rand.Read(b[:])
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

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
		if c.work.ahead {
			c.pace()
		}
		c.yield(full)
	}
}

// process takes the frames of the read buffer, and what they ask for, as far
// as they are complete.
func (c *conn) process() error {
	b := c.in.Bytes()
	n, need, err := c.frames(b)
	c.finishWork() // Also what came before an error.
	c.in.Discard(n)
	if err == nil && need > 0 {
		c.in.Grow(need)
	}
	return err
}

// frames handles the frames at the beginning of b. It returns how many bytes
// it has used up, and how long the unit that follows them must be to be
// handled, 0 if there is none. An error ends the connection.
func (c *conn) frames(b []byte) (n, need int, err error) {
	for n < len(b) {
		if c.state == finished {
			return n, 0, errEnd
		}
		if c.gather.open {
			used, err := c.gatherMore(b[n:])
			n += used
			if err != nil {
				return n, 0, c.fail(err, "")
			}
			continue
		}
		used, need, err := c.frame(b[n:])
		n += used
		if err != nil {
			if err = c.fail(err, ""); err != nil {
				return n, 0, err
			}
		}
		if used == 0 {
			return n, need, nil
		}
	}
	if c.state == finished {
		err = errEnd
	}
	return n, 0, err
}

// frame handles the frame that b begins with. 0 bytes used means: come again
// with need bytes. Errors of the frame's own have been told to the client;
// those returned are about the stream.
func (c *conn) frame(b []byte) (used, need int, err error) {
	if used, need, ok := c.sendAgain(b); ok {
		return used, need, nil
	}
	s := &c.scan
	if s.Fresh() {
		if c.state == awaitConnect && c.endForeign(nil, b) {
			c.finish(0)
			return len(b), 0, errEnd
		}
		noise, err := wire.Skip(b)
		if err != nil {
			return len(b), 0, framing(err)
		}
		if noise > 0 {
			return noise, 0, nil
		}
		if b[0] == '\r' {
			return 0, 2, nil
		}
	}
	done, err := s.Head(b)
	if err != nil {
		return len(b), 0, framing(err)
	}
	if !done {
		return 0, len(b) + 1, nil
	}
	body, size, err := s.Body(b)
	if err != nil {
		return len(b), 0, framing(err)
	}
	if size == 0 {
		arrived := len(b) - s.HeadLen
		if s.ContentLength >= ownBodyMin || arrived >= ownBodyMin {
			c.beginGather(b[:s.HeadLen])
			return s.HeadLen, 0, nil
		}
		return 0, max(len(b)+1, s.HeadLen+int(s.ContentLength)+1), nil
	}
	if err := c.handle(b[:size], body, false); err != nil {
		if err = c.fail(err, c.receiptOf(b)); err != nil {
			return size, 0, err
		}
	}
	s.Reset()
	return size, 0, nil
}

// receiptOf is the receipt that the frame scanned asks for, "" for none.
func (c *conn) receiptOf(b []byte) string {
	raw, ok := c.scan.Raw(b, frame.Receipt)
	if !ok {
		return ""
	}
	id, _ := wire.Unescape(raw, c.version)
	return id
}

// handle handles one whole frame, which the scanner has been over. The body is
// good for ever if own.
func (c *conn) handle(b, body []byte, own bool) error {
	if c.state == awaitConnect {
		return aside(func() error { return c.handshake(b, body) })
	}
	switch c.scan.Command {
	case wire.Send:
		return c.send(b, body, own)
	case wire.Ack, wire.Nack:
		return c.settlement(b)
	}
	c.finishWork()
	return aside(func() error { return c.cold(b) })
}

// aside calls f on a goroutine of its own and waits for it. What is done there
// needs a deep stack, which the reader would keep for as long as its client is
// connected: 8 KiB where 4 suffice for one that is idle.
func aside(f func() error) error {
	done := make(chan error)
	go func() { done <- f() }()
	return <-done
}

// cold handles a frame that is not a hot one, and answers it.
func (c *conn) cold(b []byte) error {
	if c.scan.Command == wire.Unknown {
		return open("Bad command", "Could not interpret command %q", c.scan.CommandText(b))
	}
	f, err := c.scan.Frame(b, c.version)
	if err != nil {
		return err
	}
	switch c.scan.Command {
	case wire.Connect:
		return closing("Illegal command", "You are connected already")
	case wire.Subscribe:
		return c.subscribe(f) // It answers itself, before the first MESSAGE.
	case wire.Unsubscribe:
		err = c.unsubscribe(f)
	case wire.Begin:
		err = c.begin(f)
	case wire.Commit:
		return c.commit(f) // It answers when all is where it must be.
	case wire.Abort:
		err = c.abort(f)
	case wire.Disconnect:
		return c.disconnect(f)
	case wire.Refresh:
		err = c.refresh(f)
	}
	if err != nil {
		return err
	}
	c.answer(f)
	return nil
}

// answer sends the receipt that a frame asks for.
func (c *conn) answer(f *frame.Frame) {
	if id, ok := f.Header.Contains(frame.Receipt); ok {
		c.reply(wire.AppendEscaped(nil, id, c.version))
	}
}

// replyRoom is more than most answers take.
const replyRoom = 256

// reply sends a receipt with an id as it is written.
func (c *conn) reply(id []byte) {
	c.out.Lock()
	c.out.Reserve(replyRoom + len(id))
	at := len(c.out.B)
	if !c.underOut.closed {
		c.out.B = wire.AppendReceipt(c.out.B, id)
	}
	n := len(c.out.B) - at
	c.out.Asked(n)
	if c.out.Unlock() {
		c.work.flushOwn = true
	}
	c.answered(n)
}

// tell sends a frame.
func (c *conn) tell(f *frame.Frame) {
	c.out.Lock()
	c.out.Reserve(replyRoom + len(f.Body))
	at := len(c.out.B)
	if !c.underOut.closed {
		c.out.B = wire.AppendFrame(c.out.B, f, c.version)
	}
	c.out.Asked(len(c.out.B) - at)
	if c.out.Unlock() {
		c.work.flushOwn = true
	}
}

// fail tells the client what is wrong, and ends the connection if that calls
// for it: then it returns errEnd.
func (c *conn) fail(err error, receipt string) error {
	if errors.Is(err, errEnd) {
		return err
	}
	c.finishWork()
	e := faultOf(err)
	c.logFault(e)
	if e.close {
		c.flushAll() // The receipts that are due go first.
	}
	c.tell(e.frame(receipt))
	if !e.close {
		c.answered(len(e.body) + replyRoom)
		return nil
	}
	c.end(slog.LevelWarn, e.Error())
	if c.web != nil && e.drop {
		c.web.SetCloseStatus(closeInvalid, e.message)
	}
	c.finish(c.goodbyeTimeout())
	return errEnd
}

// closeInvalid is the WebSocket close code for a stream that is not STOMP.
const closeInvalid = 1007

// finish reads nothing more and leaves the client d to take what is unsent and
// to close its side.
func (c *conn) finish(d time.Duration) {
	c.state = finished
	c.out.Lock()
	c.underOut.closed = true
	if c.out.Unlock() {
		c.work.flushOwn = true
	}
	c.linger = d
}

// goodbyeTimeout is how long a client may take to leave.
func (c *conn) goodbyeTimeout() time.Duration { return c.srv.opts.ShutdownTimeout }

// gather is a frame whose body is too large for the read buffer.
type gather struct {
	open    bool
	head    []byte // A copy; c.scan's offsets are in it.
	body    []byte
	charged int64 // Accounted for with the broker.
}

// beginGather has the body of the frame scanned, whose head is given, gathered
// as it arrives.
func (c *conn) beginGather(head []byte) {
	c.gather = gather{open: true, head: append([]byte(nil), head...)}
	c.charge(int64(len(head)))
	c.publishes.Store(true) // It may be held before its first publish is whole.
	c.work.sawPublish = true
}

func (c *conn) charge(n int64) {
	c.gather.charged += n
	c.srv.broker.Memory().Charge(n)
}

// gatherMore takes more of the body. Memory is taken as the body arrives, not
// as it is announced: at most four times of what is there.
func (c *conn) gatherMore(b []byte) (used int, err error) {
	g := &c.gather
	c.work.sawPublish = true
	part, ended := b, false
	if n := c.scan.ContentLength; n >= 0 {
		left := n - int64(len(g.body))
		if int64(len(part)) > left {
			part, ended = part[:left], true
			if b[left] != 0 {
				return len(b), framing(wire.ErrNotTerminated)
			}
		}
	} else if i := bytes.IndexByte(part, 0); i >= 0 {
		part, ended = part[:i], true
	}
	if int64(len(g.body)+len(part)) > c.scan.Limits.Body {
		return len(b), framing(wire.ErrBodyTooLong)
	}
	if need := len(g.body) + len(part); need > cap(g.body) {
		size := 2 * need
		if n := c.scan.ContentLength; n >= 0 && n <= int64(4*need) {
			size = int(n) // Most bodies are allocated once.
		}
		c.charge(int64(size - cap(g.body)))
		g.body = append(make([]byte, 0, size), g.body...)
	}
	g.body = append(g.body, part...)
	if !ended {
		return len(part), nil
	}
	head, body := g.head, g.body
	c.dropGather()
	if err = c.handle(head, body, len(body) >= ownBodyMin); err != nil {
		err = c.fail(err, c.receiptOf(head))
	}
	c.finishWork() // A batch of these would be large, and core charges for what it keeps.
	c.scan.Reset()
	return len(part) + 1, err
}

// dropGather forgets the frame being gathered.
func (c *conn) dropGather() {
	c.srv.broker.Memory().Charge(-c.gather.charged)
	c.gather = gather{}
}

// endForeign notes that the client speaks something else, if the first bytes b
// or err of the first read say so.
func (c *conn) endForeign(err error, b []byte) bool {
	spoken := netx.Spoken(b)
	if spoken == netx.SpeaksSTOMP || spoken == netx.SpeaksHTTP && c.web != nil {
		return false
	}
	here := "stomp"
	if c.web != nil {
		here = "http/web-stomp"
	} else if c.secure() {
		here = "stomp/ssl"
	}
	what := netx.Places(c.srv.opts.Places).Explain(err, b, here)
	if what == "" {
		return false
	}
	c.end(slog.LevelWarn, "the client does not speak STOMP: "+what)
	return true
}

// secure reports whether the connection is over TLS.
func (c *conn) secure() bool { return netx.TLSOf(c.nc) != nil }

// closeAll ends all subscriptions and the session. Doing so twice is harmless.
func (c *conn) closeAll() {
	c.finishWork()
	for _, s := range c.subs { // First all of them: what one requeues is not for another.
		c.endAll(s, func(s *subscription) { s.core.Cancel(&c.work.touched) })
	}
	for _, s := range c.replyQueues {
		s.core.Cancel(&c.work.touched)
	}
	for _, s := range c.subs {
		c.endAll(s, c.requeueAll)
	}
	c.subs, c.lastSub, c.replyQueues = nil, nil, nil
	for _, t := range c.transactions {
		c.dropTransaction(t)
	}
	c.transactions = nil
	c.dropGather()
	c.flushTouched()
	if c.session != nil {
		c.session.Close()
	}
	c.removeRows()
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
	if c.linger > 0 {
		c.deadline(0, "")
		c.out.Flush() // Receipts are made up to here.
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
		switch c.state {
		case running:
			c.end(slog.LevelInfo, reason)
			c.tell(closing("Connection closed", "CONNECTION_FORCED - %s", reason).frame(""))
			c.finish(min(within, c.goodbyeTimeout()))
		case awaitConnect:
			c.end(slog.LevelInfo, reason)
			c.finish(0)
		}
	})
	// One that does not get to run what is posted is dropped.
	c.deadline(within, reason)
}

// forcedWithin is how long a client may take to agree to a forced close.
const forcedWithin = 10 * time.Second

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
	if c.work.sawPublish {
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
	if c.web != nil {
		c.linger = c.goodbyeTimeout() // The close frame is to be answered.
	}
	switch {
	case c.state == finished:
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		if c.state == awaitConnect {
			c.quietly()
		}
		c.end(slog.LevelInfo, "the client closed its socket without DISCONNECT")
	case errors.Is(err, net.ErrClosed):
		c.end(slog.LevelWarn, "the socket was closed")
	case c.state == awaitConnect && c.endForeign(err, nil):
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
	if c.session != nil {
		attrs = append(attrs, "user", c.user.Name, "vhost", c.vhost)
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
	c.srv.log.Log(context.Background(), level, "STOMP connection ended",
		append(c.who(), "why", why, "after", time.Since(c.since).Round(time.Millisecond))...)
}

// faultsLogged is how many faults a connection may log in a second.
const faultsLogged = 10

// logFault logs what a client did wrong. One that does nothing else all the
// time does not fill the disk.
func (c *conn) logFault(e *fault) {
	l := &c.logged
	if now := time.Now(); now.Sub(l.since) >= time.Second {
		l.since, l.n = now, 0
	}
	if l.n++; l.n > faultsLogged && !e.close {
		l.suppressed++
		return
	}
	attrs := c.who()
	if l.suppressed > 0 {
		attrs = append(attrs, "suppressed", l.suppressed)
		l.suppressed = 0
	}
	c.srv.log.Warn("STOMP error", append(attrs, "message", e.message, "why", e.body)...)
}
