package main

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"leveret/core"
)

// control does what operators ask of the process over the management API.
type control struct {
	broker    *core.Broker
	stop      context.CancelCauseFunc
	reset     func() error
	suspended atomic.Bool
}

// errStopped is why serving ends when an operator asks for it.
type errStopped struct{ why string }

func (e *errStopped) Error() string { return e.why }

// Stop is part of mgmt.Control.
func (c *control) Stop(why string) { c.stop(&errStopped{why}) }

// Suspend is part of mgmt.Control.
func (c *control) Suspend() {
	c.suspended.Store(true)
	for row := range c.broker.Registry().Rows("connection") {
		if row.Close != nil {
			row.Close("the broker is suspended by its operator")
		}
	}
}

// Resume is part of mgmt.Control.
func (c *control) Resume() { c.suspended.Store(false) }

// Suspended is part of mgmt.Control.
func (c *control) Suspended() bool { return c.suspended.Load() }

// Reset is part of mgmt.Control.
func (c *control) Reset() error { return c.reset() }

// gate is a listener whose connections end at once while clients are kept out.
type gate struct {
	net.Listener
	suspended *atomic.Bool
}

// Accept is part of net.Listener.
func (g *gate) Accept() (net.Conn, error) {
	for {
		nc, err := g.Listener.Accept()
		if err != nil || !g.suspended.Load() {
			return nc, err
		}
		nc.Close()
	}
}

// stopReason is why ctx, which serving ended with, ended.
func stopReason(ctx context.Context) string {
	var asked *errStopped
	if errors.As(context.Cause(ctx), &asked) {
		return asked.why
	}
	return "signal"
}
