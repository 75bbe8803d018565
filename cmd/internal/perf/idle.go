package perf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// IdleReport is the outcome of --idle-connections, as written with --json.
type IdleReport struct {
	Broker       string  `json:"broker"`
	Address      string  `json:"address"`
	Connections  int     `json:"connections"`
	Seconds      float64 `json:"connect_s"`
	PerSecond    float64 `json:"connects_per_second"`
	MemoryBefore *Memory `json:"broker_memory_before,omitempty"`
	Memory       *Memory `json:"broker_memory,omitempty"` // While the connections were held.
	HeldSeconds  float64 `json:"held_s"`
	Dropped      int64   `json:"dropped"` // Connections that the broker ended.
}

// idle opens connections with a channel each and holds them until the duration
// is over, if there is one, or ctx ends. A connection that the broker ends
// meanwhile is an error, with its reason.
func idle(ctx context.Context, o *options, log io.Writer) (*IdleReport, error) {
	rep := &IdleReport{Address: o.target.address, Connections: o.idle, MemoryBefore: memoryOf(o.pid)}
	if o.pid > 0 && rep.MemoryBefore == nil {
		_, _, err := memory(o.pid)
		return nil, err
	}
	var blocked blockMeter
	conns := make([]*conn, o.idle)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.kill()
			}
		}
	}()
	start := time.Now()
	g, dialCtx := errgroup.WithContext(ctx)
	g.SetLimit(dialersMax)
	for i := range conns {
		g.Go(func() (err error) {
			conns[i], err = dial(dialCtx, o.target, fmt.Sprintf("leveret perf idle %d", i), o.heartbeat, false, &blocked)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		opened := 0
		for _, c := range conns {
			if c != nil {
				opened++
			}
		}
		return nil, fmt.Errorf("connection %d of %d: %w", opened+1, o.idle, explain(err))
	}
	rep.Seconds = time.Since(start).Seconds()
	rep.PerSecond = float64(o.idle) / rep.Seconds
	rep.Broker = conns[0].product
	if !o.quiet {
		fmt.Fprintf(log, "%d connections opened in %.3f s, %.0f/s\n", o.idle, rep.Seconds, rep.PerSecond)
	}

	var dropped atomic.Int64
	var over atomic.Bool
	var first error
	var once sync.Once
	var reading sync.WaitGroup
	for _, c := range conns {
		reading.Go(func() { // Ends when the connection is killed or dropped.
			_, err := c.expect(channelCloseOK)
			if !over.Load() {
				dropped.Add(1)
				once.Do(func() { first = explain(err) })
			}
		})
	}
	held := time.Now()
	var end <-chan time.Time
	if o.duration > 0 {
		end = time.After(o.duration)
	}
	select {
	case <-end:
	case <-ctx.Done():
	}
	over.Store(true)
	rep.Memory = memoryOf(o.pid)
	rep.HeldSeconds = time.Since(held).Seconds()
	for _, c := range conns {
		// A polite end for those that are still there; the answer is not awaited.
		c.nc.SetWriteDeadline(time.Now().Add(time.Second))
		_ = c.send(appendMethod(nil, 0, connectionClose, uint16(200), "done", uint32(0)))
		c.kill()
	}
	reading.Wait()
	if rep.Dropped = dropped.Load(); rep.Dropped > 0 {
		return rep, errors.Join(fmt.Errorf("broker ended %d of %d idle connections", rep.Dropped, o.idle), first)
	}
	return rep, nil
}

func (rep *IdleReport) writeText(w io.Writer) {
	fmt.Fprintf(w, "%s at %s: %d idle connections with a channel each\n", rep.Broker, rep.Address, rep.Connections)
	fmt.Fprintf(w, "%-12s in %.3f s, %.0f/s\n", "connected", rep.Seconds, rep.PerSecond)
	fmt.Fprintf(w, "%-12s for %.1f s, %d dropped by the broker\n", "held", rep.HeldSeconds, rep.Dropped)
	if rep.Memory != nil {
		fmt.Fprintf(w, "%-12s resident %.1f MB, before %.1f MB, peak %.1f MB\n", "broker RAM", float64(rep.Memory.ResidentBytes)/1e6,
			float64(rep.MemoryBefore.ResidentBytes)/1e6, float64(rep.Memory.PeakBytes)/1e6)
	}
}
