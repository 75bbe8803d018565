// Package wheel keeps timers by the hundred thousand: message expiry, delayed
// messages, heartbeats, session and queue expiry, wills.
//
// A runtime timer costs a heap operation and an allocation each; most of ours
// are set, moved and stopped without ever firing. Here a Timer lies inside its
// user's struct, and setting, moving and stopping one is a few pointer writes.
//
//	level 10  …  |    |    |   64 slots of 2^60 ms   |
//	level 1      |    |####|   64 slots of 64 ms     |   lists of timers
//	level 0      |  # |    |   64 slots of 1 ms      |
//	                    │
//	 Advance(now) ──────┴──► Fire(now), one after the other, without the lock
//
// Time is in milliseconds from any origin; package wheel has no clock of its
// own. A timer stands at the level of the highest base-64 digit in which its due
// time differs from the wheel's time, in the slot of that digit. So all timers
// of a level are due before those of the next, and a bitmap per level finds the
// next slot at once: a jump by years costs no more than one by a second. When
// the wheel's time reaches a slot of an upper level, its timers are dealt out to
// the levels below.
//
// Goroutines: none, unless its owner calls Run in one. There is one lock, which
// is a leaf: no callback runs under it.
//
// Read wheel.go, then run.go.
package wheel
