package persist_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"leveret/core"
	"leveret/persist"
	"leveret/persist/persisttest"
	"leveret/persist/vfs/faultfs"
)

// past is what became of one thing that a client keeps, an id or the slot of an
// entry, in the order in which the log was asked.
type past struct {
	states []pastState
}

type pastState struct {
	state string
	asked int // In operations of the disk.
	done  int // 0 for never told.
}

// clientHistory is the past of all of them.
type clientHistory struct {
	mu  sync.Mutex
	now func() int
	of  map[string]*past
}

// ask notes that what is called name becomes state. The result is to be called
// when that is promised.
func (h *clientHistory) ask(name, state string) (done func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.of[name]
	if p == nil {
		p = &past{states: []pastState{{state: "", done: 1}}}
		h.of[name] = p
	}
	i := len(p.states)
	p.states = append(p.states, pastState{state: state, asked: h.now()})
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		p.states[i].done = h.now() + 1
	}
}

// allowed reports whether got can be what is left of name after a cut at at:
// the last state that was promised by then, or one asked for later.
func (h *clientHistory) allowed(name, got string, at int) bool {
	p := h.of[name]
	if p == nil {
		return got == ""
	}
	from := 0
	for i, s := range p.states {
		if s.done != 0 && s.done <= at+1 {
			from = i
		}
	}
	for _, s := range p.states[from:] {
		if s.state == got && s.asked <= at+1 {
			return true
		}
	}
	return false
}

// TestPowerCutClients cuts power in a random history of clients that hold
// messages and publish once, with segments so small that checkpoints and copies
// happen all the time.
func TestPowerCutClients(t *testing.T) {
	scenarios, steps, cuts := 2, 200, 150
	if *long {
		scenarios, steps, cuts = 20, 500, 1<<30
	}
	for seed := range uint64(scenarios) {
		disk := faultfs.New(faultfs.Options{})
		o := persist.LogOptions{SegmentBytes: 4 << 10 << (2 * seed % 4)}
		l := openLog(t, disk, "/log", o)
		persisttest.Recover(t, l, nil)
		h := &clientHistory{now: disk.Ops, of: make(map[string]*past)}
		liveClients(t, l, h, seed, steps)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(seed, 2))
		ops := disk.Ops()
		stride := max(1, ops/cuts)
		for at := 1; at <= ops; at += 1 + rng.IntN(stride) {
			cut := rng.Uint64()
			left := disk.CrashAt(at, cut)
			for range 2 { // Checkpoints of what was recovered say the same.
				l := openLog(t, left, "/log", o)
				if err := h.check(t, l, at); err != nil {
					t.Fatalf("scenario %d, cut after %d of %d operations with seed %d: %v", seed, at, ops, cut, err)
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

const (
	actingClients = 3
	idsMax        = 4
)

// liveClients does random things, some of them before others are promised.
func liveClients(t *testing.T, l *persist.Log, h *clientHistory, seed uint64, steps int) {
	rng := rand.New(rand.NewPCG(seed, 1))
	q := l.OpenQueue(1)
	var waiting []chan struct{}
	var live []core.Seq
	next := core.Seq(0)
	finish := func(set core.ChangeSet, promises []func()) {
		done := make(chan struct{})
		waiting = append(waiting, done)
		set.Close(func(err error) {
			defer close(done)
			if err != nil {
				t.Error(err)
			}
			for _, p := range promises {
				p()
			}
		})
	}
	for range steps {
		set := l.Begin()
		var promises []func()
		switch client := core.QueueID(10 + rng.IntN(actingClients)); rng.IntN(5) {
		case 0, 1: // Publish, some of it once.
			for range 1 + rng.IntN(3) {
				m := persisttest.NewMessage(make([]byte, rng.IntN(300)))
				q.Add(set, next, m, m)
				promises = append(promises, h.ask(fmt.Sprint("message ", next), "there"))
				live = append(live, next)
				next++
				id := uint16(rng.IntN(idsMax))
				l.Receive(set, client, []uint16{id})
				promises = append(promises, h.ask(fmt.Sprint("client ", client, " id ", id), "received"))
			}
		case 2:
			id := uint16(rng.IntN(idsMax))
			l.Forget(set, client, []uint16{id})
			promises = append(promises, h.ask(fmt.Sprint("client ", client, " id ", id), ""))
		case 3:
			for range min(len(live), 3) {
				s := core.Slot{Seq: live[rng.IntN(len(live))], Data: rng.Uint32N(3), Released: rng.IntN(2) == 0}
				q.Hold(set, client, []core.Slot{s}, true)
				promises = append(promises, h.ask(fmt.Sprint("slot ", s.Seq), fmt.Sprint(client, s.Data, s.Released)))
			}
		case 4:
			if len(live) > 0 {
				// It may take a while, and nobody is told.
				i := rng.IntN(len(live))
				q.Settle([]core.Seq{live[i]})
				h.ask(fmt.Sprint("message ", live[i]), "")
				h.ask(fmt.Sprint("slot ", live[i]), "")
				live = append(live[:i], live[i+1:]...)
			}
		}
		finish(set, promises)
		for len(waiting) > rng.IntN(8) {
			<-waiting[0]
			waiting = waiting[1:]
		}
	}
	for _, done := range waiting {
		<-done
	}
}

// check holds what l recovered against the history.
func (h *clientHistory) check(t *testing.T, l *persist.Log, at int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := l.Opened(); !r.Sound() {
		return fmt.Errorf("damage where only power was lost: %+v", r)
	}
	got := make(map[string]string)
	r := persisttest.Recover(t, l, nil)
	for _, levels := range r {
		for _, level := range levels {
			for _, e := range level.Entries {
				got[fmt.Sprint("message ", e.Seq)] = "there"
			}
			for _, s := range level.Held {
				if got[fmt.Sprint("message ", s.Seq)] == "" {
					return fmt.Errorf("slot of message %d, which is gone", s.Seq)
				}
				got[fmt.Sprint("slot ", s.Seq)] = fmt.Sprint(s.Client, s.Data, s.Released)
			}
		}
	}
	l.Received(func(core.QueueID) bool { return true }, func(client core.QueueID, ids []uint16) {
		for _, id := range ids {
			got[fmt.Sprint("client ", client, " id ", id)] = "received"
		}
	})
	for name := range h.of {
		if !h.allowed(name, got[name], at) {
			return fmt.Errorf("%s is %q after the cut; its past: %+v", name, got[name], h.of[name].states)
		}
	}
	for name := range got {
		if h.of[name] == nil {
			return fmt.Errorf("%s is %q and never was anything", name, got[name])
		}
	}
	return nil
}
