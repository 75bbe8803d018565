package wheel

import (
	"fmt"
	"testing"
)

func BenchmarkWheel(b *testing.B) {
	for _, n := range []int{100, 1_000_000} {
		w := New(0)
		timers := make([]*task, n)
		for i := range timers {
			timers[i] = newTask(func(int64) {})
			w.Schedule(&timers[i].Timer, int64(1000+i*31%10_000_000))
		}
		b.Run(fmt.Sprint("reschedule/timers=", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				w.Schedule(&timers[i%n].Timer, int64(1000+i*7919%10_000_000))
			}
		})
		b.Run(fmt.Sprint("stop and schedule/timers=", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				w.Stop(&timers[i%n].Timer)
				w.Schedule(&timers[i%n].Timer, int64(1000+i*7919%10_000_000))
			}
		})
	}
	b.Run("schedule and fire", func(b *testing.B) {
		b.ReportAllocs()
		w := New(0)
		timer := newTask(func(int64) {})
		now := int64(0)
		for b.Loop() {
			w.Schedule(&timer.Timer, now+60_000)
			now += 60_000
			w.Advance(now)
		}
	})
	b.Run("advance without timers due", func(b *testing.B) {
		b.ReportAllocs()
		w := New(0)
		timer := newTask(func(int64) {})
		w.Schedule(&timer.Timer, 1<<60)
		now := int64(0)
		for b.Loop() {
			now++
			w.Advance(now)
		}
	})
}
