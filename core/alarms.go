package core

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Alarms watches over what a broker must not run out of: memory for messages
// and room on the disk. While one is set publishers are held, which means that
// adapters stop reading from them; those that must be read on, because they owe
// acks, have their publishes refused where there is nothing to keep them with.
// Consumers always go on: they are what ends an alarm.
//
// Somebody who would rather have an answer than wait lets the broker refuse
// after a time (Options.RefuseAfter): then nobody is held any longer, and every
// publish is refused until the alarm is cleared.
type Alarms struct {
	memory      *Memory
	logger      *slog.Logger
	clock       func() int64
	refuseAfter time.Duration
	poke        chan struct{}
	event       func(resource string, set bool) // Makes an event of it.

	logError  atomic.Pointer[error] // Why the log takes no publishes.
	diskFree  atomic.Int64          // -1 while nobody has looked.
	diskLimit atomic.Int64          // 0 for none.

	over    atomic.Bool // The memory alarm.
	low     atomic.Bool // The disk alarm.
	expired atomic.Bool // One of them has lasted for refuseAfter.
	held    atomic.Bool

	mu struct {
		sync.Mutex
		watchers map[int]func()
		next     int
		since    [2]int64 // When each was set, in ms since 1970.
	}
}

// Resource is what a broker can run short of.
type Resource int

// The resources that have an alarm.
const (
	MemoryResource Resource = iota
	DiskResource
)

// String returns the name that operators know the resource by.
func (r Resource) String() string {
	return [...]string{"memory", "disk"}[r]
}

// Alarm is an alarm that is set.
type Alarm struct {
	Resource Resource
	Since    int64 // In ms since 1970.
	// Value and Limit are in bytes: of live messages, or free on the disk. Of a
	// log that takes no publishes for another reason Limit is 0.
	Value, Limit int64
	Reason       string // In a sentence, for people.
}

// An alarm is cleared a little on the good side of its limit, so that it does
// not flutter.
const (
	memoryClearedAt = 0.95
	diskClearedAt   = 1.05
)

func newAlarms(m *Memory, logger *slog.Logger, clock func() int64, refuseAfter time.Duration, event func(resource string, set bool)) *Alarms {
	a := &Alarms{memory: m, logger: logger, clock: clock, refuseAfter: refuseAfter, poke: make(chan struct{}, 1), event: event}
	a.diskFree.Store(-1)
	a.mu.watchers = make(map[int]func())
	m.alarms = a
	return a
}

// Set reports whether an alarm is set.
func (a *Alarms) Set() bool { return a.over.Load() || a.low.Load() }

// Held reports whether publishing connections are to be held.
func (a *Alarms) Held() bool { return a.held.Load() }

// Refusing reports whether publishes of connections that cannot be held are to
// be refused: memory is exceeded by more than a tenth, or the log takes none.
func (a *Alarms) Refusing() bool {
	return a.memory.exceeded() || a.logError.Load() != nil || a.expired.Load()
}

// RefusingAll reports whether every publish is to be refused: an alarm has
// lasted for as long as publishers are to wait.
func (a *Alarms) RefusingAll() bool { return a.expired.Load() }

// Reason says which alarms are set: "low on memory", "low on disk" or "low on
// disk & memory".
func (a *Alarms) Reason() string {
	switch over, low := a.over.Load(), a.low.Load(); {
	case over && low:
		return "low on disk & memory"
	case low:
		return "low on disk"
	}
	return "low on memory"
}

// List returns the alarms that are set.
func (a *Alarms) List() []Alarm {
	a.mu.Lock()
	since := a.mu.since
	a.mu.Unlock()
	var list []Alarm
	if a.over.Load() {
		list = append(list, Alarm{
			Resource: MemoryResource, Since: since[MemoryResource], Value: a.memory.Live(), Limit: a.memory.Limit(),
			Reason: "messages take as much memory as they may; consume or purge some, or raise the limit",
		})
	}
	if a.low.Load() {
		alarm := Alarm{
			Resource: DiskResource, Since: since[DiskResource], Value: a.diskFree.Load(), Limit: a.diskLimit.Load(),
			Reason: "the disk of the data directory has less room than the broker is to leave free; make room, or lower the limit",
		}
		if err := a.LogError(); err != nil {
			alarm.Limit = 0
			alarm.Reason = "the message log takes no publishes: " + err.Error()
		}
		list = append(list, alarm)
	}
	return list
}

// LogError is why the log takes no publishes, or nil.
func (a *Alarms) LogError() error {
	if p := a.logError.Load(); p != nil {
		return *p
	}
	return nil
}

// setLog notes that the log takes no publishes, or nil that it does again.
func (a *Alarms) setLog(err error) {
	if err == nil {
		a.logError.Store(nil)
	} else {
		a.logError.Store(&err)
	}
	a.wake()
}

// DiskFree is the room on the disk in bytes as it was last looked at, negative
// if it is not known; limit is what is to be left of it, 0 for any.
func (a *Alarms) DiskFree() (free, limit int64) { return a.diskFree.Load(), a.diskLimit.Load() }

// SetDiskFree notes how many bytes are free on the disk. Whoever owns the disk
// calls it now and then.
func (a *Alarms) SetDiskFree(n int64) {
	a.diskFree.Store(n)
	a.wake()
}

// SetDiskLimit changes how many bytes are to be left free; 0 for any.
func (a *Alarms) SetDiskLimit(n int64) {
	a.diskLimit.Store(n)
	a.wake()
}

func (a *Alarms) wake() {
	select {
	case a.poke <- struct{}{}:
	default:
	}
}

// Watch has fn called, by one goroutine that holds no lock, after each change
// of what Set, Held and RefusingAll report. The result ends that.
func (a *Alarms) Watch(fn func()) (stop func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := a.mu.next
	a.mu.next++
	a.mu.watchers[id] = fn
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.mu.watchers, id)
	}
}

// run sets and clears alarms until ctx ends.
func (a *Alarms) run(ctx context.Context) {
	expire := time.NewTimer(0)
	expire.Stop()
	defer expire.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-expire.C:
			a.expired.Store(true)
			a.logger.Warn("publishes are refused: an alarm has lasted too long", "why", a.Reason(), "after", a.refuseAfter)
		case <-a.poke:
			was := a.Set()
			changed := a.look(MemoryResource, &a.over, a.memory.alarmed(a.over.Load()))
			changed = a.look(DiskResource, &a.low, a.diskLow()) || changed
			if !changed {
				continue
			}
			switch set := a.Set(); {
			case set && !was && a.refuseAfter > 0:
				expire.Reset(a.refuseAfter)
			case !set:
				expire.Stop()
				a.expired.Store(false)
			}
		}
		a.held.Store(a.Set() && !a.expired.Load())
		a.tell()
	}
}

func (a *Alarms) diskLow() bool {
	if a.logError.Load() != nil {
		return true
	}
	free, limit := a.diskFree.Load(), a.diskLimit.Load()
	if a.low.Load() {
		limit = int64(float64(limit) * diskClearedAt)
	}
	return free >= 0 && free < limit
}

// look notes that the alarm of r is to be as now says, and reports whether it
// was not.
func (a *Alarms) look(r Resource, set *atomic.Bool, now bool) bool {
	if set.Load() == now {
		return false
	}
	a.mu.Lock()
	a.mu.since[r] = a.clock()
	a.mu.Unlock()
	set.Store(now)
	a.event(r.String(), now)
	if !now {
		a.logger.Info("alarm cleared", "resource", r.String())
		return true
	}
	for _, alarm := range a.List() {
		if alarm.Resource == r {
			a.logger.Warn("alarm set: publishers have to wait", "resource", r.String(), "bytes", alarm.Value, "limit", alarm.Limit, "why", alarm.Reason)
		}
	}
	return true
}

func (a *Alarms) tell() {
	a.mu.Lock()
	fns := make([]func(), 0, len(a.mu.watchers))
	for _, fn := range a.mu.watchers {
		fns = append(fns, fn)
	}
	a.mu.Unlock()
	for _, fn := range fns {
		fn()
	}
}
