package mgmt

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestGuessingTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g guesses
		begin := time.Now()
		for range guessesMax {
			go g.wait(t.Context(), "a", time.Second) // Ends when it has waited.
		}
		synctest.Wait()
		if !g.busy("a") || g.busy("b") {
			t.Error("those of a do not count, or do for b")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if g.busy("a") || len(g.waiting) != 0 || g.all != 0 {
			t.Errorf("after a second: %v, %d", g.waiting, g.all)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		g.wait(ctx, "a", time.Hour)
		if time.Since(begin) != time.Second {
			t.Error("waits for a client that has gone")
		}
	})
}

func TestTooManyGuessesAreNotLookedAt(t *testing.T) {
	f := newFixture(t)
	f.server.guesses.mu.Lock()
	f.server.guesses.waiting = map[string]int{"127.0.0.1": guessesMax}
	f.server.guesses.mu.Unlock()
	if a := f.do("GET", "/api/whoami", "admin", ""); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
}
