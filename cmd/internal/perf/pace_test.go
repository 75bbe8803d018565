package perf

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPacerHandsOutWhatIsDue(t *testing.T) {
	const start = 1_000_000_000_000
	p := newPacer(clock{}, start, 1000, 0, 1)
	for _, step := range []struct {
		at   int64 // After start, ns.
		want int
	}{
		{-1, 0}, {0, 1}, {1, 0}, {999_999, 0}, {1_000_000, 1},
		{10_500_000, 9},           // Held up for 9 messages: all of them are overdue.
		{1_000_000_000_000, 1000}, // No more than the limit at once.
	} {
		n := p.overdue(start+step.at, 1000)
		if n != step.want {
			t.Fatalf("at %d ns %d are due, want %d", step.at, n, step.want)
		}
		p.next += uint64(n)
	}
	if due := p.due(5); due != start+5_000_000 {
		t.Errorf("message 5 is due at %d", due-start)
	}
}

func TestPacersShareTheRate(t *testing.T) {
	a, b := newPacer(clock{}, 0, 1000, 0, 2), newPacer(clock{}, 0, 1000, 1, 2)
	if a.due(3) != 6_000_000 || b.due(3) != 7_000_000 {
		t.Errorf("message 3 of each is due at %d and %d", a.due(3), b.due(3))
	}
}

// Rates whose interval is no whole number of nanoseconds must neither stick nor
// hand out a message early.
func TestPacerIsExactAtOddRates(t *testing.T) {
	for _, rate := range []float64{3, 7, 1234.5, 999_983, 3e6} {
		p := newPacer(clock{}, 0, rate, 0, 1)
		for range 10_000 {
			due := p.due(p.next)
			if n := p.overdue(due, 1); n != 1 {
				t.Fatalf("rate %v: message %d is not handed out when due", rate, p.next)
			}
			if p.interval > 2 && p.overdue(due-1, 1) != 0 {
				t.Fatalf("rate %v: message %d is handed out early", rate, p.next)
			}
			p.next++
		}
	}
}

func TestClockDoesNotStepBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock()
		a := c.now()
		time.Sleep(time.Second)
		if d := c.now() - a; d != 1e9 {
			t.Errorf("a second took %d ns", d)
		}
	})
}
