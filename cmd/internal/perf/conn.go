package perf

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	dialTimeout  = 10 * time.Second
	callTimeout  = 60 * time.Second // A broker may take long over one declare among 100,000 bindings.
	frameMaxWant = 131072
	channelID    = 1 // Every connection has this one channel.
)

// ServerError is a channel.close or connection.close from the broker.
type ServerError struct {
	Scope  string // "channel" or "connection"
	Code   int
	Text   string
	Method uint32 // The method it objects to, class in the upper half; 0 if none.
}

func (e *ServerError) Error() string {
	s := fmt.Sprintf("broker closed the %s: %d %s", e.Scope, e.Code, e.Text)
	if e.Method != 0 {
		s += fmt.Sprintf(" (method %d.%d)", e.Method>>16, e.Method&0xFFFF)
	}
	return s
}

var errCancelled = errors.New("broker cancelled the consumer: was its queue deleted?")

// conn is an AMQP connection with one open channel. One goroutine reads it; any
// may write whole frames with send.
type conn struct {
	nc       net.Conn
	in       frameReader
	frameMax int
	product  string // The broker's name and version.

	out     *spillWriter // Set for consumers, which must never block in a write.
	blocked *blockMeter

	closing   atomic.Bool // channel.close was sent.
	isBlocked bool        // The reader's: the broker holds this connection's publishes.

	heartbeat time.Duration // 0 if off.
	beat      struct {
		sync.Mutex
		timer *time.Timer
		ended bool
	}
}

// dial connects, logs in and opens the channel. A negative heartbeat takes what
// the broker offers. With spill, sends on the connection never block.
func dial(ctx context.Context, t *target, name string, heartbeat time.Duration, spill bool, blocked *blockMeter) (*conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	nc, err := d.DialContext(ctx, "tcp", t.address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", t.address, err)
	}
	c := &conn{nc: nc, frameMax: 4096, blocked: blocked}
	c.in.grow(4096 + frameOverhead)
	if err := c.login(t, name, heartbeat); err != nil {
		nc.Close()
		return nil, fmt.Errorf("log in to %s: %w", t.address, err)
	}
	if spill {
		c.out = newSpillWriter(nc)
	}
	c.startHeartbeat()
	if _, err := c.call(channelOpenOK, appendMethod(nil, channelID, channelOpen, "")); err != nil {
		c.kill()
		return nil, fmt.Errorf("open a channel: %w", err)
	}
	return c, nil
}

func (c *conn) login(t *target, name string, heartbeat time.Duration) error {
	c.nc.SetDeadline(time.Now().Add(dialTimeout))
	defer c.nc.SetDeadline(time.Time{})

	if _, err := io.WriteString(c.nc, "AMQP\x00\x00\x09\x01"); err != nil {
		return err
	}
	start, err := c.expect(connectionStart)
	if err != nil {
		return err
	}
	start.take(2)
	properties := start.long()
	c.product = strings.TrimSpace(stringField(properties, "product") + " " + stringField(properties, "version"))

	startOK := appendMethod(nil, 0, connectionStartOK,
		table{
			{"product", "leveret perf"},
			{"connection_name", name},
			{"capabilities", table{
				{"publisher_confirms", true},
				{"consumer_cancel_notify", true},
				{"connection.blocked", true},
				{"basic.nack", true},
				{"authentication_failure_close", true},
			}},
		},
		"PLAIN", longString("\x00"+t.user+"\x00"+t.password), "en_US")
	if _, err := c.nc.Write(startOK); err != nil {
		return err
	}
	tune, err := c.expect(connectionTune)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("broker hung up: are user %q and its password right?", t.user)
	} else if err != nil {
		return err
	}
	channelMax, frameMax, offered := tune.u16(), tune.u32(), time.Duration(tune.u16())*time.Second
	if frameMax == 0 || frameMax > frameMaxWant {
		frameMax = frameMaxWant
	}
	if frameMax < 4096 {
		return fmt.Errorf("broker offers frame_max %d, the least that AMQP allows is 4096", frameMax)
	}
	c.frameMax = int(frameMax)
	c.heartbeat = offered
	if heartbeat >= 0 {
		c.heartbeat = heartbeat
	}

	b := appendMethod(nil, 0, connectionTuneOK, channelMax, frameMax, uint16(c.heartbeat/time.Second))
	b = appendMethod(b, 0, connectionOpen, t.vhost, "", byte(0))
	if _, err := c.nc.Write(b); err != nil {
		return err
	}
	_, err = c.expect(connectionOpenOK)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("broker hung up on opening vhost %q", t.vhost)
	}
	return err
}

// call writes request and waits for the reply want. No other goroutine may be
// reading.
func (c *conn) call(want uint32, request []byte) (cursor, error) {
	c.nc.SetReadDeadline(time.Now().Add(callTimeout))
	defer c.nc.SetReadDeadline(time.Time{})
	if err := c.send(request); err != nil {
		return cursor{}, err
	}
	return c.expect(want)
}

// expect reads until the reply want comes and returns its arguments, which are
// valid until the next read.
func (c *conn) expect(want uint32) (cursor, error) {
	for {
		f, err := c.in.next(c.nc, c.frameMax)
		if err != nil {
			return cursor{}, err
		}
		if f.kind != frameMethod || len(f.payload) < 4 {
			continue
		}
		method := binary.BigEndian.Uint32(f.payload)
		if method == want {
			return cursor{b: f.payload[4:]}, nil
		}
		if err := c.handle(method, f.payload[4:]); err != nil {
			return cursor{}, err
		}
	}
}

// handle answers the methods that may come at any time.
func (c *conn) handle(method uint32, args []byte) error {
	a := cursor{b: args}
	switch method {
	case connectionBlocked:
		c.setBlocked(true, a.short())
	case connectionUnblocked:
		c.setBlocked(false, "")
	case connectionClose, channelClose:
		e := &ServerError{Scope: "channel", Code: int(a.u16()), Text: a.short(), Method: a.u32()}
		reply := uint32(channelCloseOK)
		channel := uint16(channelID)
		if method == connectionClose {
			e.Scope, reply, channel = "connection", connectionCloseOK, 0
		}
		c.nc.SetWriteDeadline(time.Now().Add(time.Second))
		// The error is what matters; the broker may be gone already.
		_ = c.send(appendMethod(nil, channel, reply))
		return e
	case channelFlow:
		return c.send(appendMethod(nil, channelID, channelFlowOK, a.u8()))
	case basicCancel:
		return errCancelled
	}
	return nil
}

func (c *conn) setBlocked(blocked bool, reason string) {
	if blocked != c.isBlocked {
		c.isBlocked = blocked
		c.blocked.set(blocked, reason)
	}
}

// send writes whole frames. A consumer's never blocks.
func (c *conn) send(b []byte) error {
	if c.out != nil {
		return c.out.send(b)
	}
	_, err := c.nc.Write(b)
	return err
}

// closeChannel sends channel.close: when its reply comes, the broker has taken
// all that was sent before.
func (c *conn) closeChannel() error {
	if c.closing.Swap(true) {
		return nil
	}
	return c.send(appendMethod(nil, channelID, channelClose, uint16(200), "done", uint32(0)))
}

// shut ends a connection whose channel is closed, from its reader's goroutine.
func (c *conn) shut() {
	c.nc.SetDeadline(time.Now().Add(2 * time.Second))
	if c.send(appendMethod(nil, 0, connectionClose, uint16(200), "done", uint32(0))) == nil {
		// Nothing depends on the answer.
		_, _ = c.expect(connectionCloseOK)
	}
	c.kill()
}

// kill drops the connection; its reader gets an error. It may be called again.
func (c *conn) kill() {
	c.beat.Lock()
	c.beat.ended = true
	if c.beat.timer != nil {
		c.beat.timer.Stop()
	}
	c.beat.Unlock()
	c.nc.Close()
}

// startHeartbeat sends a heartbeat every half interval from a timer until kill,
// whatever else is sent: 8 bytes are less than knowing whether they are needed.
func (c *conn) startHeartbeat() {
	if c.heartbeat == 0 {
		return
	}
	c.beat.Lock()
	defer c.beat.Unlock()
	if !c.beat.ended {
		c.beat.timer = time.AfterFunc(c.heartbeat/2, func() {
			if c.send([]byte{frameHeartbeat, 0, 0, 0, 0, 0, 0, frameEnd}) == nil {
				c.startHeartbeat()
			}
		})
	}
}

// explain turns the errors of a dropped connection into words.
func explain(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("broker dropped the connection without a close frame")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("broker did not answer in time")
	}
	return err
}

// blockMeter adds up how long the broker held publishers with
// connection.blocked. Any goroutine may use it.
type blockMeter struct {
	mu     sync.Mutex
	now    int // Connections blocked.
	since  time.Time
	total  time.Duration
	events int
	reason string
}

func (m *blockMeter) set(blocked bool, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !blocked {
		if m.now--; m.now == 0 {
			m.total += time.Since(m.since)
		}
		return
	}
	m.events++
	m.reason = reason
	if m.now++; m.now == 1 {
		m.since = time.Now()
	}
}

// read returns the connections blocked now, the time during which any was, and
// the last reason given.
func (m *blockMeter) read() (now int, total time.Duration, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	total = m.total
	if m.now > 0 {
		total += time.Since(m.since)
	}
	return m.now, total, m.reason
}
