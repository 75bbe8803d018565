package wheel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// task runs fn when it fires.
type task struct {
	Timer
	fn func(nowMS int64)
}

func (t *task) Fire(nowMS int64) { t.fn(nowMS) }

func newTask(fn func(nowMS int64)) *task {
	t := &task{fn: fn}
	t.Init(t)
	return t
}

const year = 365 * 24 * 3600 * 1000

// The model: the same timers in a map, searched from end to end.
func TestRandomAgainstModel(t *testing.T) {
	for seed := range uint64(16) {
		rng := rand.New(rand.NewPCG(seed, 11))
		now := []int64{0, 1_700_000_000_000, -5000, math.MinInt64 + 100}[seed%4]
		w := New(now)
		due := make(map[int]int64) // By timer, the time at which it is to fire.
		var fired []int64          // What fired in this Advance, as the times asked for.
		lateBefore := now

		var timers [50]*task
		for i := range timers {
			timers[i] = newTask(func(nowMS int64) {
				at, ok := due[i]
				if !ok || at > nowMS || nowMS != now {
					t.Fatalf("seed %d: timer %d fired at %d (now %d), due %d %v", seed, i, nowMS, now, at, ok)
				}
				delete(due, i)
				fired = append(fired, max(at, lateBefore))
				// A callback sets and stops timers, its own or others.
				for range rng.IntN(3) {
					switch k := rng.IntN(len(timers)); rng.IntN(3) {
					case 0:
						_, set := due[k]
						if w.Stop(&timers[k].Timer) != set {
							t.Fatalf("seed %d: Stop said %v", seed, !set)
						}
						delete(due, k)
					case 1:
						due[k] = now + 1 + rng.Int64N(100)
						w.Schedule(&timers[k].Timer, due[k])
					}
				}
			})
		}
		for step := range 3000 {
			k := rng.IntN(len(timers))
			switch rng.IntN(4) {
			case 0, 1:
				// Any magnitude of distance, past times too.
				distance := rng.Int64N(1 << rng.IntN(44))
				due[k] = now + distance - min(distance, 20)
				w.Schedule(&timers[k].Timer, due[k])
			case 2:
				_, set := due[k]
				if w.Stop(&timers[k].Timer) != set {
					t.Fatalf("seed %d: Stop said %v", seed, !set)
				}
				delete(due, k)
			case 3:
				lateBefore = now
				next, ok := w.NextMS()
				if ok != (len(due) > 0) {
					t.Fatalf("seed %d: NextMS says %v with %d timers", seed, ok, len(due))
				}
				for i, at := range due {
					if max(at, now) < next {
						t.Fatalf("seed %d: NextMS %d, timer %d is due %d", seed, next, i, at)
					}
				}
				if ok && rng.IntN(2) == 0 {
					now = max(now, next)
				} else {
					now += rng.Int64N(1 << rng.IntN(44))
				}
				fired = fired[:0]
				w.Advance(now)
				if !slices.IsSorted(fired) {
					t.Fatalf("seed %d: fired in the order %v", seed, fired)
				}
				for i, at := range due {
					if at <= now {
						t.Fatalf("seed %d: timer %d, due %d, did not fire at %d", seed, i, at, now)
					}
				}
			}
			if w.Len() != len(due) {
				t.Fatalf("seed %d: %d timers, want %d", seed, w.Len(), len(due))
			}
			if step%20 == 0 {
				w.mu.Lock()
				w.checkLocked()
				w.mu.Unlock()
			}
		}
	}
}

func TestFiresNeitherEarlyNorTwice(t *testing.T) {
	for _, distance := range []int64{1, 63, 64, 65, 4095, 4096, 100_000, year, 10 * year, math.MaxInt64 - 1000} {
		const start = 1000
		w := New(start)
		count := 0
		timer := newTask(func(int64) { count++ })
		w.Schedule(&timer.Timer, start+distance)
		w.Advance(start + distance - 1)
		if count != 0 {
			t.Errorf("distance %d: fired early", distance)
		}
		w.Advance(start + distance)
		w.Advance(start + distance)
		if count != 1 || w.Len() != 0 {
			t.Errorf("distance %d: fired %d times, %d left", distance, count, w.Len())
		}
	}
}

func TestPastTimeFiresAtOnce(t *testing.T) {
	w := New(1000)
	var fired []int
	for i, at := range []int64{1000, 5, math.MinInt64} {
		timer := newTask(func(int64) { fired = append(fired, i) })
		w.Schedule(&timer.Timer, at)
	}
	if next, ok := w.NextMS(); !ok || next != 1000 {
		t.Errorf("next %d %v", next, ok)
	}
	w.Advance(1000)
	if !slices.Equal(fired, []int{0, 1, 2}) {
		t.Errorf("fired %v", fired)
	}
}

func TestTaskThatSetsItselfForNowFiresOncePerAdvance(t *testing.T) {
	w := New(0)
	count := 0
	var timer *task
	timer = newTask(func(nowMS int64) {
		count++
		w.Schedule(&timer.Timer, nowMS-5)
	})
	w.Schedule(&timer.Timer, 10)
	for i := range 3 {
		w.Advance(100)
		if count != i+1 {
			t.Fatalf("fired %d times after %d", count, i+1)
		}
	}
	if next, ok := w.NextMS(); !ok || next != 100 {
		t.Errorf("next %d %v", next, ok)
	}
}

func TestPeriodicTaskOverYears(t *testing.T) {
	w := New(0)
	count := 0
	var timer *task
	timer = newTask(func(nowMS int64) {
		count++
		w.Schedule(&timer.Timer, nowMS+year/100)
	})
	w.Schedule(&timer.Timer, year/100)
	for now := int64(0); now <= 50*year; now += year / 100 {
		w.Advance(now)
	}
	if count != 5000 {
		t.Errorf("fired %d times, want 5000", count)
	}
}

// A jump is cheap when it passes no slot one by one: this test would not end.
func TestJumpByAgesIsCheap(t *testing.T) {
	w := New(math.MinInt64)
	var at []int64
	for i := range 62 {
		timer := newTask(func(int64) { at = append(at, math.MinInt64+1<<i) })
		w.Schedule(&timer.Timer, math.MinInt64+1<<i)
	}
	w.Advance(math.MaxInt64)
	if len(at) != 62 || !slices.IsSorted(at) {
		t.Errorf("fired %v", at)
	}
}

func TestClockThatGoesBackIsIgnored(t *testing.T) {
	w := New(1000)
	fired := false
	timer := newTask(func(nowMS int64) { fired = nowMS == 1010 })
	w.Advance(1005)
	w.Schedule(&timer.Timer, 1010)
	w.Advance(3)
	if fired {
		t.Fatal("fired at 3")
	}
	w.Advance(1010)
	if !fired {
		t.Fatal("did not fire at 1010")
	}
}

func TestTaskMayStopOthersDueWithIt(t *testing.T) {
	for _, start := range []int64{0, 5000} {
		w := New(start)
		var a, b *task
		count := 0
		a = newTask(func(int64) { count++; w.Stop(&b.Timer) })
		b = newTask(func(int64) { count++; w.Stop(&a.Timer) })
		w.Schedule(&a.Timer, 4000)
		w.Schedule(&b.Timer, 4000)
		w.Advance(6000)
		if count != 1 || w.Len() != 0 {
			t.Errorf("start %d: %d fired, %d left", start, count, w.Len())
		}
	}
}

func TestAdvanceFromTaskMovesTheGoal(t *testing.T) {
	w := New(0)
	var fired []int64
	a := newTask(func(nowMS int64) { fired = append(fired, nowMS); w.Advance(30) })
	b := newTask(func(nowMS int64) { fired = append(fired, nowMS) })
	w.Schedule(&a.Timer, 10)
	w.Schedule(&b.Timer, 20)
	w.Advance(10)
	if !slices.Equal(fired, []int64{10, 30}) {
		t.Errorf("fired at %v", fired)
	}
}

func TestWheelOutlivesPanickingTask(t *testing.T) {
	w := New(0)
	count := 0
	bad := newTask(func(int64) { panic("broken") })
	good := newTask(func(int64) { count++ })
	w.Schedule(&bad.Timer, 10)
	w.Schedule(&good.Timer, 10)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		w.Advance(20)
	}()
	w.Advance(20)
	if count != 1 || w.Len() != 0 {
		t.Errorf("fired %d times, %d left", count, w.Len())
	}
}

func TestScheduleBeforeInitPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	New(0).Schedule(new(Timer), 1)
}

func TestManyTimersInOneUpperSlot(t *testing.T) {
	const n = 5 * dealMax
	w := New(0)
	var fired []int64
	timers := make([]*task, n)
	for i := range timers {
		at := int64(1<<20 + (i*7919)%(1<<18))
		timers[i] = newTask(func(int64) { fired = append(fired, at) })
		w.Schedule(&timers[i].Timer, at)
	}
	w.Advance(1 << 22)
	if len(fired) != n || !slices.IsSorted(fired) {
		t.Errorf("%d fired, sorted %v", len(fired), slices.IsSorted(fired))
	}
}

func TestAnyGoroutine(t *testing.T) {
	w := New(0)
	var fired, stopped, set atomic.Int64
	var clock atomic.Int64
	var users sync.WaitGroup
	for g := range uint64(4) {
		users.Go(func() {
			rng := rand.New(rand.NewPCG(g, 5))
			for range 3000 {
				timer := newTask(func(int64) { fired.Add(1) })
				set.Add(1)
				w.Schedule(&timer.Timer, clock.Load()+rng.Int64N(5000))
				if rng.IntN(3) == 0 && w.Stop(&timer.Timer) {
					stopped.Add(1)
				}
				w.NextMS()
			}
		})
	}
	for range 2 {
		users.Go(func() {
			for range 2000 {
				w.Advance(clock.Add(7))
			}
		})
	}
	users.Wait()
	w.Advance(1 << 40)
	if fired.Load()+stopped.Load() != set.Load() || w.Len() != 0 {
		t.Errorf("%d set, %d fired, %d stopped, %d left", set.Load(), fired.Load(), stopped.Load(), w.Len())
	}
}

func TestNothingAllocates(t *testing.T) {
	w := New(0)
	timer := newTask(func(int64) {})
	now := int64(0)
	if n := testing.AllocsPerRun(100, func() {
		w.Schedule(&timer.Timer, now+100_000)
		w.Schedule(&timer.Timer, now+50)
		w.Stop(&timer.Timer)
		w.Schedule(&timer.Timer, now+50)
		now += 50
		w.Advance(now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// checkLocked panics if w contradicts itself.
func (w *Wheel) checkLocked() {
	count := 0
	walk := func(p place) int {
		n := 0
		var prev *Timer
		for t := w.listLocked(p).head; t != nil; prev, t = t, t.next {
			if t.place != p || t.prev != prev {
				panic(fmt.Sprintf("wheel: timer with place %d, prev %p in list %d behind %p", t.place, t.prev, p, prev))
			}
			n++
		}
		if w.listLocked(p).tail != prev {
			panic(fmt.Sprintf("wheel: tail of list %d is not its last timer", p))
		}
		count += n
		return n
	}
	walk(late)
	walk(late + 1)
	for level := range levelCount {
		for slot := range slotCount {
			p := slotPlace(level, slot)
			if (walk(p) > 0) != (w.mu.occupied[level]>>slot&1 != 0) {
				panic(fmt.Sprintf("wheel: occupied bit of level %d slot %d is wrong", level, slot))
			}
			for t := w.listLocked(p).head; t != nil; t = t.next {
				if t.at < w.mu.now || p != w.mu.dealing && levelAt(t.at, w.mu.now) != level {
					panic(fmt.Sprintf("wheel: timer due %d at level %d, now %d", t.at, level, w.mu.now))
				}
			}
		}
	}
	if count != w.mu.count {
		panic(fmt.Sprintf("wheel: %d timers linked, %d counted", count, w.mu.count))
	}
}
