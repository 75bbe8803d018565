package core

import (
	"sync"
	"time"
)

// A publisher that runs ahead of consumers which do their best gains nothing:
// its messages come to rest, are copied, and take the very processor that the
// consumers need. So a queue that has consumers and more than paceAbove ready
// messages asks its publishers, between two reads, to wait until it is down to
// paceBelow. If the consumers do not manage that within paceMax they are slow by
// nature and waiting for them is no use: the queue then lets so many batches
// pass without a word, twice as many each time, up to paceSkipMax. Publishing
// into a queue without consumers is never slowed down.
const (
	paceAbove   = 1024
	paceBelow   = 256
	paceMax     = 5 * time.Millisecond
	paceSkipMax = 4096
)

// pace is a queue's part of it, guarded by the queue's lock.
type pace struct {
	waiting []chan struct{}
	pass    int // Batches that may pass without waiting.
	skip    int // What pass is set to when waiting was no use.
}

// paceLocked notes in p that its publisher should wait for q.
func (q *classic) paceLocked(p *Publisher) {
	if len(q.mu.consumers) == 0 || q.mu.entries.ready < paceAbove {
		return
	}
	if q.mu.pace.pass > 0 {
		q.mu.pace.pass--
		return
	}
	p.ahead = q
}

// releasePaceLocked lets waiting publishers go on once the queue is short.
func (q *classic) releasePaceLocked() {
	if q.mu.entries.ready > paceBelow && len(q.mu.consumers) != 0 {
		return
	}
	for i, ch := range q.mu.pace.waiting {
		select {
		case ch <- struct{}{}:
		default:
		}
		q.mu.pace.waiting[i] = nil
	}
	q.mu.pace.waiting = q.mu.pace.waiting[:0]
	q.mu.pace.skip /= 2
}

// gate is closed while the log has more outstanding than it wants.
type gate struct {
	mu struct {
		sync.Mutex
		opened chan struct{} // Closed when the gate opens; nil while it is open.
	}
}

func (g *gate) set(closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case closed && g.mu.opened == nil:
		g.mu.opened = make(chan struct{})
	case !closed && g.mu.opened != nil:
		close(g.mu.opened)
		g.mu.opened = nil
	}
}

// closed returns a channel that is closed when the gate opens, nil if it is
// open.
func (g *gate) closed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.opened
}

// Ahead reports whether the publisher is ahead of the consumers of a queue, so
// that it should Pace itself before it publishes more, but for one that owes
// acks: the consumers may wait for just those.
func (p *Publisher) Ahead() bool { return p.ahead != nil || p.leaving != nil }

// Crowded returns the outlet that some of what was published since the last call
// went to, and to it alone, without finding room, so that it was dropped; nil if
// there is none. An adapter that finds one of its own may have the publisher wait
// for room there: nobody else misses anything meanwhile.
func (p *Publisher) Crowded() Outlet {
	o := p.crowded
	p.crowded = nil
	return o
}

// AheadOfLog reports whether the publisher is ahead of the disk, so that it
// must Pace itself, whatever else it owes: the disk waits for nobody.
func (p *Publisher) AheadOfLog() bool { return p.logAhead || p.lag != nil }

// Pace waits until the log has room again if it has none; and, a few
// milliseconds at most, until the consumers that the publisher is ahead of have
// caught up; or until stop is closed. Nothing may wait for a flush by this
// goroutine meanwhile.
func (p *Publisher) Pace(stop <-chan struct{}) {
	if p.logAhead {
		p.logAhead = false
		if opened := p.broker.logGate.closed(); opened != nil {
			select {
			case <-opened:
			case <-stop:
			}
		}
	}
	if lag := p.lag; lag != nil {
		p.lag = nil
		if opened := lag.closed(); opened != nil {
			select {
			case <-opened:
			case <-stop:
			}
		}
	}
	if p.leaving != nil {
		select {
		case <-p.leaving:
		case <-stop:
		}
		p.leaving = nil
	}
	q := p.ahead
	p.ahead = nil
	if q == nil {
		return
	}
	if p.paced == nil {
		p.paced = make(chan struct{}, 1)
		p.paceTimer = time.NewTimer(paceMax)
	} else {
		p.paceTimer.Reset(paceMax)
	}
	select {
	case <-p.paced: // Of a wait that was given up.
	default:
	}
	q.mu.Lock()
	if q.mu.entries.ready <= paceBelow || len(q.mu.consumers) == 0 {
		q.mu.Unlock()
		p.paceTimer.Stop()
		return
	}
	q.mu.pace.waiting = append(q.mu.pace.waiting, p.paced)
	q.mu.Unlock()
	select {
	case <-p.paced:
		p.paceTimer.Stop()
		return
	case <-stop:
		p.paceTimer.Stop()
	case <-p.paceTimer.C:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, ch := range q.mu.pace.waiting {
		if ch == p.paced {
			last := len(q.mu.pace.waiting) - 1
			q.mu.pace.waiting[i] = q.mu.pace.waiting[last]
			q.mu.pace.waiting[last] = nil
			q.mu.pace.waiting = q.mu.pace.waiting[:last]
			q.mu.pace.skip = min(2*q.mu.pace.skip+1, paceSkipMax)
			q.mu.pace.pass = q.mu.pace.skip
			return
		}
	}
}
