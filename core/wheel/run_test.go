package wheel

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func nowMS() int64 { return time.Now().UnixMilli() }

// running starts w.Run in a bubble and ends it with the test.
func running(t *testing.T, w *Wheel) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { // Ends with ctx.
		w.Run(ctx, nowMS)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func TestRunFiresOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(nowMS())
		running(t, w)
		for _, d := range []time.Duration{0, time.Millisecond, 50 * time.Millisecond, time.Second, time.Hour, 24 * 365 * time.Hour} {
			start := time.Now()
			fired := make(chan time.Time, 1)
			timer := newTask(func(int64) { fired <- time.Now() })
			w.Schedule(&timer.Timer, start.Add(d).UnixMilli())
			if took := (<-fired).Sub(start); took != d {
				t.Errorf("timer of %v took %v", d, took)
			}
		}
	})
}

func TestRunWakesForAnEarlierTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(nowMS())
		running(t, w)
		start := time.Now()
		fired := make(chan string, 2)
		slow := newTask(func(int64) { fired <- "slow" })
		quick := newTask(func(int64) { fired <- "quick" })
		w.Schedule(&slow.Timer, nowMS()+10_000)
		synctest.Wait() // Run sleeps for slow now.
		w.Schedule(&quick.Timer, nowMS()+100)
		if got := <-fired; got != "quick" || time.Since(start) != 100*time.Millisecond {
			t.Errorf("%s after %v", got, time.Since(start))
		}
		if got := <-fired; got != "slow" || time.Since(start) != 10*time.Second {
			t.Errorf("%s after %v", got, time.Since(start))
		}
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(nowMS())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { // Ends with ctx.
			w.Run(ctx, nowMS)
			close(done)
		}()
		synctest.Wait()
		cancel()
		<-done
	})
}

// Timers that move all the time must neither be lost nor fire early.
func TestRunWithTimersOnTheMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(nowMS())
		running(t, w)
		fired := make(chan time.Time, 1)
		timer := newTask(func(int64) { fired <- time.Now() })
		start := time.Now()
		tick := time.NewTicker(30 * time.Millisecond)
		defer tick.Stop()
		for range 100 {
			w.Schedule(&timer.Timer, nowMS()+50)
			select {
			case <-fired:
				t.Fatal("fired though it was moved")
			case <-tick.C:
			}
		}
		w.Schedule(&timer.Timer, nowMS()+50)
		if took := (<-fired).Sub(start); took != 3050*time.Millisecond {
			t.Errorf("fired after %v", took)
		}
	})
}
