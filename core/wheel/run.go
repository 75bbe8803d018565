package wheel

import (
	"context"
	"time"
)

// sleepMax bounds how long Run sleeps at a time, in case the caller's clock and
// the machine's drift apart or one is set.
const sleepMax = time.Hour

// Run advances w to now() whenever a timer is due, until ctx ends. It sleeps in
// between, and a timer set for an earlier time wakes it. The clock's unit is the
// millisecond, any origin will do. One Run serves a Wheel.
func (w *Wheel) Run(ctx context.Context, now func() int64) {
	sleep := time.NewTimer(0)
	defer sleep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-sleep.C:
		}
		nowMS := now()
		w.Advance(nowMS)
		if d, ok := w.fallAsleep(nowMS); ok {
			sleep.Reset(d)
		} else {
			sleep.Stop()
		}
	}
}

// fallAsleep returns how long Run may sleep, if not for ever, and makes Schedule
// wake it for anything earlier.
func (w *Wheel) fallAsleep(nowMS int64) (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.asleep = true
	next, ok := w.dueLocked()
	if !ok {
		w.mu.wakeAt = ^uint64(0)
		return 0, false
	}
	w.mu.wakeAt = next
	if next <= ticks(nowMS) {
		return 0, true
	}
	waitMS := next - ticks(nowMS)
	return time.Duration(min(waitMS, uint64(sleepMax/time.Millisecond))) * time.Millisecond, true
}

// wakeRun makes Run look at the wheel again. A wake-up already waiting will do.
func (w *Wheel) wakeRun() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
