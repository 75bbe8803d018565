package wheel

import (
	"fmt"
	"math/bits"
	"sync"

	"leveret/core/invariant"
)

const (
	levelBits = 6
	slotCount = 1 << levelBits
	slotMask  = slotCount - 1
	// Eleven base-64 digits hold any 64-bit time.
	levelCount = (64 + levelBits - 1) / levelBits

	// So many timers are dealt out at a time before others get the lock.
	dealMax = 512
)

// Task is what a Timer is for.
type Task interface {
	// Fire is called when the timer is due, with the time that the wheel was
	// advanced to. It runs on the goroutine that advances the wheel, which
	// holds no lock of the wheel's; what Fire takes long to do delays all other
	// timers. It may set and stop any timer, its own too.
	Fire(nowMS int64)
}

// Timer is one point in time at which its Task fires. It is a part of its
// user's struct, must not be copied once set, and belongs to one Wheel. The
// Wheel's lock guards it.
type Timer struct {
	next, prev *Timer // In the list that place names.
	task       Task
	at         uint64 // Due time, as ticks.
	place      place
}

// Init says what t is for. It must be called before anything else, while t is
// not set.
func (t *Timer) Init(task Task) { t.task = task }

// place names the list that a timer is in.
type place uint16

const (
	unset place = iota
	late        // Wheel.mu.late; late and late+1.
	_
	slots // From here on: slots + level*slotCount + slot, of Wheel.mu.slots.
)

// list is a doubly linked list of timers.
type list struct{ head, tail *Timer }

// Wheel fires timers. Any goroutine may call its methods.
type Wheel struct {
	wake chan struct{} // Tells Run to look again; holds one.

	mu struct {
		sync.Mutex
		now   uint64 // Every timer due before has fired or is in late.
		count int    // Timers set.

		// A bit of occupied is set if the slot's list is not empty.
		slots    [levelCount][slotCount]list
		occupied [levelCount]uint64

		// Timers that were already due when they were set. Those of lateTurn
		// wait for the next Advance, the others are being fired by this one.
		late     [2]list
		lateTurn place

		// The slot of an upper level at which now has arrived, while its timers
		// are dealt out; else unset. None comes in meanwhile: what is due within
		// its span differs from now in a lower digit only.
		dealing place

		advancing bool
		target    uint64 // Where Advance is going.

		asleep bool   // Run sleeps,
		wakeAt uint64 // until this tick.
	}
}

// ticks maps a time to an unsigned number in the same order.
func ticks(ms int64) uint64 { return uint64(ms) ^ 1<<63 }

func millis(ticks uint64) int64 { return int64(ticks ^ 1<<63) }

// New returns a Wheel without timers that stands at nowMS.
func New(nowMS int64) *Wheel {
	w := &Wheel{wake: make(chan struct{}, 1)}
	w.mu.now = ticks(nowMS)
	return w
}

// Len returns the number of timers that are set.
func (w *Wheel) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.count
}

// Schedule sets t to fire at atMS, instead of when it was to fire before if it
// is set already. A time that the wheel has reached means the next Advance, also
// when a Task says so during one. The cost is constant; nothing is allocated.
//
// A callback of t that has begun is not undone: it runs, and t fires again.
func (w *Wheel) Schedule(t *Timer, atMS int64) {
	if t.task == nil {
		panic("wheel: Schedule before Init")
	}
	w.mu.Lock()
	if t.place == unset {
		w.mu.count++
	} else {
		w.unlinkLocked(t)
	}
	t.at = ticks(atMS)
	w.placeLocked(t)
	wake := w.mu.asleep && t.at < w.mu.wakeAt
	if wake {
		w.mu.asleep = false
	}
	w.mu.Unlock()
	if wake {
		w.wakeRun()
	}
}

// Stop makes t fire no more and reports whether it was set. It does not wait:
// false also means that the callback may just be running, or about to run, on
// the goroutine that advances the wheel. A Task that must not act after Stop
// looks at its own state, under its own lock.
func (w *Wheel) Stop(t *Timer) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.place == unset {
		return false
	}
	w.unlinkLocked(t)
	w.mu.count--
	return true
}

// Advance moves the wheel to nowMS and calls the Task of each timer that is due
// by then: first those whose time had passed when they were set, then the
// others in the order of their due times, and in no particular order within a
// millisecond. A time before the wheel's own counts as that.
//
// One Advance works at a time. A second one, from another goroutine or from a
// Task, only moves the goal of the first and returns.
func (w *Wheel) Advance(nowMS int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.target = max(w.mu.target, w.mu.now, ticks(nowMS))
	if w.mu.advancing {
		return
	}
	w.mu.advancing = true
	defer func() { w.mu.advancing = false }()

	w.mu.lateTurn ^= 1
	for {
		if t := w.mu.late[w.mu.lateTurn^1].head; t != nil {
			w.fireLocked(t)
		} else if w.mu.dealing != unset {
			w.dealLocked()
		} else if t := w.mu.slots[0][w.mu.now&slotMask].head; t != nil {
			w.fireLocked(t)
		} else if !w.stepLocked() {
			return
		}
	}
}

// fireLocked calls t's Task without the lock. Should the Task panic, the lock
// is held again on the way up, as Advance expects.
func (w *Wheel) fireLocked(t *Timer) {
	if invariant.Enabled && t.at > w.mu.target {
		panic(fmt.Sprintf("wheel: timer due %d fires at %d", millis(t.at), millis(w.mu.target)))
	}
	w.unlinkLocked(t)
	w.mu.count--
	nowMS := millis(w.mu.target)
	w.mu.Unlock()
	defer w.mu.Lock()
	t.task.Fire(nowMS)
}

// dealLocked moves some timers of the slot at which now has arrived to where
// they belong, and lets others have the lock in between: a million sessions that
// expire within the hour share one slot.
func (w *Wheel) dealLocked() {
	from := w.listLocked(w.mu.dealing)
	for range dealMax {
		t := from.head
		if t == nil {
			w.mu.dealing = unset
			return
		}
		w.unlinkLocked(t)
		w.linkSlotLocked(t)
	}
	w.mu.Unlock()
	w.mu.Lock()
}

// stepLocked moves now to the next slot that has timers. If there is none by
// target, it moves now there and returns false.
func (w *Wheel) stepLocked() bool {
	level, slot, start := w.nextLocked()
	if level < 0 || start > w.mu.target {
		// No timer lies between, so each still differs from now in the same
		// digit first.
		w.mu.now = w.mu.target
		return false
	}
	w.mu.now = start
	if level > 0 {
		w.mu.dealing = slotPlace(level, slot)
	}
	return true
}

// nextLocked returns the first slot with timers and the tick at which it
// begins, or level -1 if there is none.
func (w *Wheel) nextLocked() (level, slot int, start uint64) {
	for level, occupied := range w.mu.occupied {
		if occupied != 0 {
			slot := bits.TrailingZeros64(occupied)
			shift := uint(level * levelBits)
			above := ^uint64(0) << (shift + levelBits) // 0 at the last level.
			return level, slot, w.mu.now&above | uint64(slot)<<shift
		}
	}
	return -1, 0, 0
}

// NextMS returns a time before which no timer is due, and whether one is set at
// all. It is exact for the near ones; Advance at the time it returns brings the
// next answer closer, eleven times at most.
func (w *Wheel) NextMS() (int64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next, ok := w.dueLocked()
	return millis(next), ok
}

func (w *Wheel) dueLocked() (uint64, bool) {
	if w.mu.late[0].head != nil || w.mu.late[1].head != nil || w.mu.dealing != unset {
		return w.mu.now, true
	}
	level, _, start := w.nextLocked()
	return start, level >= 0
}

// placeLocked links t where its due time says.
func (w *Wheel) placeLocked(t *Timer) {
	reached := w.mu.now
	if w.mu.advancing {
		// A Task that sets itself again for now must not keep Advance busy.
		reached = w.mu.target
	}
	if t.at <= reached {
		w.linkLocked(t, late+w.mu.lateTurn)
	} else {
		w.linkSlotLocked(t)
	}
}

// levelAt returns the level of a timer due at the tick at, which is not before
// now.
func levelAt(at, now uint64) int {
	return (63 - bits.LeadingZeros64(at^now|1)) / levelBits
}

func slotPlace(level, slot int) place { return slots + place(level*slotCount+slot) }

func (w *Wheel) linkSlotLocked(t *Timer) {
	level := levelAt(t.at, w.mu.now)
	slot := int(t.at >> (level * levelBits) & slotMask)
	w.linkLocked(t, slotPlace(level, slot))
	w.mu.occupied[level] |= 1 << slot
}

func (w *Wheel) listLocked(p place) *list {
	if p < slots {
		return &w.mu.late[p-late]
	}
	return &w.mu.slots[(p-slots)/slotCount][(p-slots)%slotCount]
}

func (w *Wheel) linkLocked(t *Timer, p place) {
	l := w.listLocked(p)
	t.place, t.prev, t.next = p, l.tail, nil
	if l.tail == nil {
		l.head = t
	} else {
		l.tail.next = t
	}
	l.tail = t
}

func (w *Wheel) unlinkLocked(t *Timer) {
	l := w.listLocked(t.place)
	if t.prev == nil {
		l.head = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		l.tail = t.prev
	} else {
		t.next.prev = t.prev
	}
	if l.head == nil && t.place >= slots {
		w.mu.occupied[(t.place-slots)/slotCount] &^= 1 << ((t.place - slots) % slotCount)
	}
	t.place, t.prev, t.next = unset, nil, nil
}
