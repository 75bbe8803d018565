package mqtt

import (
	"log/slog"
	"time"

	"leveret/adapters/internal/netx"
	"leveret/adapters/mqtt/wire"
)

// silenceMax is how long, in ms, a client may say nothing: one and a half times
// the keep alive.
func (c *conn) silenceMax() int64 { return int64(c.client.keepAlive) * 1500 }

// Fire is part of wheel.Task: the time for CONNECT, or of silence, is over,
// unless something has been read since it was set.
func (c *conn) Fire(int64) {
	now := c.srv.now()
	if !c.connected.Load() {
		c.end(slog.LevelWarn, &failure{wire.MaximumConnectTime, "no CONNECT in time"})
		c.giveUp()
		return
	}
	if c.paused.Load() {
		c.lastRead.Store(now)
	}
	due := c.lastRead.Load() + c.silenceMax()
	if now < due {
		c.srv.clocks.Schedule(&c.clock, due)
		return
	}
	c.force(&failure{wire.KeepAliveTimeout, "nothing from the client for one and a half times its keep alive"})
}

// giveUp drops the connection without a word.
func (c *conn) giveUp() {
	c.cancel()
	c.out.Abort(nil)
}

// hold keeps a connection that publishes from being read while an alarm
// holds publishers. One that has deliveries to acknowledge is read on: its acks are what
// frees memory; a delivery to a held one resumes it.
func (c *conn) hold() {
	alarms := c.srv.broker.Alarms()
	if !alarms.Held() {
		return
	}
	c.flushAll()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for alarms.Held() && c.ctx.Err() == nil {
		c.out.Lock()
		goOn := c.underOut.ring.live > 0
		c.underOut.unheld = !goOn
		c.out.Unlock()
		if goOn {
			return
		}
		c.paused.Store(true)
		select {
		case <-c.wake:
		case <-c.ctx.Done():
		case <-look.C:
			if netx.PeerGone(c.nc) {
				c.end(slog.LevelWarn, &failure{wire.Success, "the client closed its socket while it was held back: " + alarms.Reason()})
				c.cancel()
			}
		}
		c.paused.Store(false)
	}
}
