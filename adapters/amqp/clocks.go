package amqp

import (
	"fmt"
	"log/slog"
	"time"

	"leveret/adapters/amqp/wire"
	"leveret/adapters/internal/netx"
)

// deadline gives the connection up after d, for the reason why. 0 means never.
// Any goroutine may call it.
func (c *conn) deadline(d time.Duration, why string) {
	if d <= 0 {
		c.deadlineMS.Store(0)
		return
	}
	c.deadlineWhy.Store(&why)
	c.deadlineMS.Store(int64((time.Since(c.since) + d) / time.Millisecond))
}

// tick looks at the connection's clocks. The server's ticker calls it.
func (c *conn) tick(now time.Time) {
	nowMS := int64(now.Sub(c.since) / time.Millisecond)
	if at := c.deadlineMS.Load(); at != 0 && nowMS >= at {
		c.giveUp(*c.deadlineWhy.Load())
		return
	}
	if c.held.Load() && netx.PeerGone(c.nc) {
		c.giveUp("the client closed its socket while it was held back: " + c.srv.broker.Alarms().Reason())
		return
	}
	interval := c.beat.intervalMS.Load()
	if interval == 0 {
		return
	}
	b := &c.beat
	if n := c.in.Received(); n != b.read || b.readAtMS == 0 || c.paused.Load() {
		b.read, b.readAtMS = n, nowMS
	}
	if nowMS-b.readAtMS > interval*5/2 {
		c.giveUp(fmt.Sprintf("missed heartbeats from client, timeout: %ds", interval/1000))
		return
	}
	if n := c.out.Written(); n != b.written || b.writtenMS == 0 {
		b.written, b.writtenMS = n, nowMS
	}
	if nowMS-b.writtenMS >= interval/2 && c.out.Pending() == 0 {
		b.writtenMS = nowMS
		c.out.Lock()
		if !c.underOut.closed {
			c.out.B = wire.AppendHeartbeat(c.out.B)
		}
		if c.out.Unlock() {
			c.out.Flush()
		}
	}
}

// giveUp drops the connection without a word.
func (c *conn) giveUp(why string) {
	level := slog.LevelWarn
	c.end(level, why)
	c.cancel()
	c.out.Abort(nil)
}

// hold keeps a connection that publishes from being read while an alarm holds
// publishers. One that has deliveries to ack is read on: its acks are what frees
// memory; a delivery to a held one resumes it. Clients that understand
// connection.blocked are told.
func (c *conn) hold() {
	alarms := c.srv.broker.Alarms()
	if !alarms.Set() || c.state != running {
		c.noteAlarms()
		return
	}
	if !c.blocked {
		c.blocked = true
		if c.client.blocked {
			c.tell(&wire.ConnectionBlocked{Reason: alarms.Reason()})
		}
	}
	if !alarms.Held() {
		return
	}
	c.flushAll()
	for alarms.Held() && c.state == running {
		c.out.Lock()
		goOn := c.underOut.outs > 0
		c.underOut.unheld = !goOn
		c.out.Unlock()
		if goOn {
			return
		}
		c.paused.Store(true)
		c.held.Store(true)
		select {
		case <-c.control.wake:
		case <-c.ctx.Done():
			c.state = finished
		}
		c.held.Store(false)
		c.paused.Store(false)
		c.runPosted()
	}
	c.noteAlarms()
}

// noteAlarms tells a client that was blocked when it no longer is.
func (c *conn) noteAlarms() {
	if c.blocked && c.state == running && !c.srv.broker.Alarms().Set() {
		c.blocked = false
		if c.client.blocked {
			c.tell(&wire.ConnectionUnblocked{})
		}
	}
}

// tell sends a method that nobody asked for.
func (c *conn) tell(m wire.Method) {
	c.out.Lock()
	if !c.underOut.closed {
		c.out.B = wire.AppendMethod(c.out.B, 0, m)
	}
	c.out.Unlock()
	c.out.Flush()
}
