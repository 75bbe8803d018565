package stomp

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"leveret/adapters/internal/netx"
)

// heartBeat is what was agreed on, and what the server's ticker has seen.
// Intervals are in ms, 0 for none.
type heartBeat struct {
	sendMS, receiveMS atomic.Int64

	// Of the ticker.
	read, readAtMS, written, writtenMS int64
}

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
	b := &c.beat
	if interval := b.receiveMS.Load(); interval > 0 {
		// Any byte is a sign of life, in the midst of a frame too.
		if n := c.in.Received(); n != b.read || b.readAtMS == 0 || c.paused.Load() {
			b.read, b.readAtMS = n, nowMS
		}
		if nowMS-b.readAtMS > interval*5/2 {
			c.giveUp(fmt.Sprintf("missed heart-beats from client, timeout: %d ms", interval))
			return
		}
	}
	if interval := b.sendMS.Load(); interval > 0 {
		if n := c.out.Written(); n != b.written || b.writtenMS == 0 {
			b.written, b.writtenMS = n, nowMS
		}
		if nowMS-b.writtenMS >= interval/2 && c.out.Pending() == 0 {
			b.writtenMS = nowMS
			c.out.Lock()
			if !c.underOut.closed {
				c.out.B = append(c.out.B, '\n')
			}
			if c.out.Unlock() {
				c.out.Flush()
			}
		}
	}
}

// giveUp drops the connection without a word.
func (c *conn) giveUp(why string) {
	c.end(slog.LevelWarn, why)
	c.cancel()
	c.out.Abort(nil)
}

// hold keeps a connection that publishes from being read while an alarm
// holds publishers. One that has deliveries to ack is read on: its acks are what frees
// memory; a delivery to a held one resumes it.
func (c *conn) hold() {
	alarms := c.srv.broker.Alarms()
	if !alarms.Held() || c.state != running {
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
}

// outstanding is the number of deliveries on the connection that wait for an
// ack.
func (c *conn) outstanding() int {
	c.out.Lock()
	defer c.out.Unlock()
	return c.underOut.outs
}
