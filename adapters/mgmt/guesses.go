package mgmt

import (
	"context"
	"sync"
	"time"
)

// defaultFailedLoginDelay is how long who fails to log in waits.
const defaultFailedLoginDelay = time.Second

// guessesMax is how many failed logins of one address wait at a time: while so
// many do, no other from there is looked at. guessesMaxAll is the same for all
// addresses together.
const (
	guessesMax    = 8
	guessesMaxAll = 1024
)

// guesses slows guessing of passwords down, without keeping more requests
// waiting than that. The zero value is ready; any goroutine may use it.
type guesses struct {
	mu      sync.Mutex
	waiting map[string]int // By address.
	all     int
}

// busy reports whether too many logins from peer have failed just now.
func (g *guesses) busy(peer string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting[peer] >= guessesMax || g.all >= guessesMaxAll
}

// wait keeps a failed login from peer waiting for d, or until ctx ends.
func (g *guesses) wait(ctx context.Context, peer string, d time.Duration) {
	g.mu.Lock()
	if g.waiting == nil {
		g.waiting = make(map[string]int)
	}
	g.waiting[peer]++
	g.all++
	g.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.waiting[peer]--; g.waiting[peer] == 0 {
		delete(g.waiting, peer)
	}
}
