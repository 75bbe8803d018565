package perf

import (
	"sync/atomic"
	"time"
)

// pacer says when the messages of one producer are due: message n at start +
// (n + offset) * interval, whatever became of the ones before. A producer that
// was held up sends all that is overdue, stamped with the times they were due.
type pacer struct {
	clock    clock
	start    int64   // ns
	interval float64 // ns between two messages; exact to the ns for 100 days.
	offset   float64 // Of this producer among those that share the rate, in intervals.
	next     uint64  // The first message not yet handed out.
}

// newPacer paces producer i of n, which together send rate messages a second
// from start (ns) on.
func newPacer(c clock, start int64, rate float64, i, n int) *pacer {
	return &pacer{
		clock: c, start: start,
		interval: 1e9 * float64(n) / rate,
		offset:   float64(i) / float64(n),
	}
}

// due returns when message n is due, in ns.
func (p *pacer) due(n uint64) int64 {
	return p.start + int64((float64(n)+p.offset)*p.interval)
}

// overdue returns how many messages, at most limit, are due at now.
func (p *pacer) overdue(now int64, limit int) int {
	n := max(0, int64(float64(now-p.start)/p.interval-p.offset)+1-int64(p.next))
	// The division may be off by one from due, whose word counts.
	if n > 0 && p.due(p.next+uint64(n)-1) > now {
		n--
	} else if p.due(p.next+uint64(n)) <= now {
		n++
	}
	return int(min(n, int64(limit)))
}

// stopCheck bounds how long a paced producer sleeps without looking at stop.
const stopCheck = 50 * time.Millisecond

// wait sleeps until messages are due and returns how many, at most limit, or 0
// once stop is set. The caller must be locked to its thread by preciseSleep.
func (p *pacer) wait(limit int, stop *atomic.Bool) int {
	for !stop.Load() {
		now := p.clock.now()
		if n := p.overdue(now, limit); n > 0 {
			return n
		}
		sleep(min(time.Duration(p.due(p.next)-now), stopCheck))
	}
	return 0
}

// clock gives wall time in nanoseconds that never steps back, so that stamps of
// two generators on one machine can be compared.
type clock struct{ base time.Time }

func newClock() clock { return clock{time.Now()} }

func (c clock) now() int64 { return c.base.UnixNano() + int64(time.Since(c.base)) }
