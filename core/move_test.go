package core_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"leveret/core"
	"leveret/core/coretest"
)

func TestMoveWhatIsOnDisk(t *testing.T) {
	log := coretest.NewLog()
	x := stored(t, core.NewMemoryDefinitions(), log)
	defer x.b.Close()
	for _, name := range []string{"q", "to"} {
		if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: name, Durable: true}); err != nil {
			t.Fatal(err)
		}
	}
	const n = 20_000
	x.fill("q", 0, n, true)
	even := func(m *core.Peeked) bool { return m.Message.Body[7]%2 == 0 }
	var last core.MoveProgress
	p, err := x.s.Move(t.Context(), core.MoveOptions{Queue: "q", To: core.MoveTo{Queue: "to"}, Match: even}, func(p core.MoveProgress) { last = p })
	want := core.MoveProgress{Total: n, Scanned: n, Matched: n / 2, Moved: n / 2}
	if err != nil || p != want || last != want {
		t.Fatalf("%+v %v, at last %+v", p, err, last)
	}
	x.b.Advance(x.b.Now())
	for name, first := range map[string]int{"q": 1, "to": 0} {
		if i := x.info(name); i.Ready != n/2 || i.Leaving != 0 || i.Persistent != n/2 || i.ReadyBytes != n/2*108 || log.Len(i.Options.ID) != n/2 {
			t.Errorf("%s: %+v, %d in the log", name, i, log.Len(i.Options.ID))
		}
		r, err := x.s.Peek(name, everything(core.PeekAll))
		if err != nil || len(r.Messages) != n/2 {
			t.Fatalf("%s: %d %v", name, len(r.Messages), err)
		}
		for k, m := range r.Messages {
			if got, want := string(m.Message.Body[:8]), fmt.Sprintf("%08d", 2*k+first); got != want {
				t.Fatalf("%s: %s at %d, want %s", name, got, k, want)
			}
		}
	}
}

// What a full queue refuses goes back to where it was, on disk too, and a queue
// that is deleted meanwhile takes what has not moved with it.
func TestMoveRefused(t *testing.T) {
	log := coretest.NewLog()
	x := stored(t, core.NewMemoryDefinitions(), log)
	defer x.b.Close()
	declare := func(name string, args core.Table) {
		if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: name, Durable: true, Arguments: args}); err != nil {
			t.Fatal(err)
		}
	}
	declare("q", nil)
	declare("small", core.Table{{Name: "x-max-length", Value: int64(5100)}, {Name: "x-overflow", Value: "reject-publish"}})
	const n = 10_000
	x.fill("q", 0, n, true)
	p, err := x.s.Move(t.Context(), core.MoveOptions{Queue: "q", To: core.MoveTo{Queue: "small"}}, nil)
	if err == nil || p.Moved != 5100 || p.Refused != core.Full {
		t.Fatalf("%+v %v", p, err)
	}
	x.b.Advance(x.b.Now())
	if i := x.info("q"); i.Ready != n-5100 || i.Leaving != 0 || i.ReadyBytes != (n-5100)*108 || log.Len(i.Options.ID) != n-5100 {
		t.Errorf("%+v, %d in the log", i, log.Len(i.Options.ID))
	}
	x.take("q", 5100, n-5100, false)
	x.take("small", 0, 5100, false)
	if i := x.info("q"); i.Ready != 0 || i.ReadyBytes != 0 || i.Persistent != 0 {
		t.Errorf("%+v", i)
	}
}

func TestMoveEndsWhenItIsTold(t *testing.T) {
	log := coretest.NewLog()
	x := stored(t, core.NewMemoryDefinitions(), log)
	defer x.b.Close()
	for _, name := range []string{"q", "to"} {
		if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: name, Durable: true}); err != nil {
			t.Fatal(err)
		}
	}
	x.fill("q", 0, 5000, true)
	ctx, cancel := context.WithCancel(t.Context())
	p, err := x.s.Move(ctx, core.MoveOptions{Queue: "q", To: core.MoveTo{Queue: "to"}}, func(p core.MoveProgress) {
		if p.Moved >= 1000 {
			cancel()
		}
	})
	if err != context.Canceled || p.Moved < 1000 || p.Moved == 5000 {
		t.Errorf("%+v %v", p, err)
	}
	if q, to := x.info("q").Ready, x.info("to").Ready; q+to != 5000 || to != p.Moved {
		t.Errorf("%d and %d after %+v", q, to, p)
	}
	// A poisoned log leaves everything as it is.
	log.Hold(true)
	done := make(chan error, 1)
	go func() {
		_, err := x.s.Move(t.Context(), core.MoveOptions{Queue: "q", To: core.MoveTo{Queue: "to"}, Limit: 10}, nil)
		done <- err
	}()
	x.b.Close()
	if err := <-done; err == nil {
		t.Error("moved without the log")
	}
}

// A move beside publishers, consumers, purges and other moves loses nothing and
// doubles nothing. Run it under the race detector.
func TestMoveBesideOthers(t *testing.T) {
	log := coretest.NewLog()
	x := stored(t, core.NewMemoryDefinitions(), log)
	defer x.b.Close()
	for _, name := range []string{"q", "to"} {
		if _, err := x.s.DeclareQueue(core.QueueDeclare{Name: name, Durable: true}); err != nil {
			t.Fatal(err)
		}
	}
	const n = 6000
	x.fill("q", 0, n, true)
	seen := make(map[string]int)
	var mu sync.Mutex
	var all sync.WaitGroup
	user, _ := x.b.Auth().User("guest")
	session := func() *core.Session {
		s, err := x.b.OpenSession(core.SessionOptions{VHost: "/", User: user, Loopback: true})
		if err != nil {
			t.Error(err)
		}
		return s
	}
	for i := range 2 {
		all.Go(func() { // Moves there and back.
			s := session()
			defer s.Close()
			for range 5 {
				from, to := "q", "to"
				if i == 1 {
					from, to = to, from
				}
				if _, err := s.Move(t.Context(), core.MoveOptions{Queue: from, To: core.MoveTo{Queue: to}}, nil); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() { // Gets, half of them in vain.
			s := session()
			defer s.Close()
			for k := range 1000 {
				var t core.Touched
				s.Get([]string{"q", "to"}[k/2%2], false, func(h *core.Holder, d *core.Delivery, _ int) {
					if k%3 == 0 {
						defer func(seq core.Seq) { go h.Settle(core.Requeue, []core.Seq{seq}, &t) }(d.Seq)
						return
					}
					mu.Lock()
					seen[string(d.Message.Body[:8])]++
					mu.Unlock()
					defer func(seq core.Seq) { go h.Settle(core.Ack, []core.Seq{seq}, &t) }(d.Seq)
				})
			}
		})
	}
	all.Wait()
	x.b.Advance(x.b.Now())
	for _, name := range []string{"q", "to"} {
		for {
			found, err := x.s.Get(name, true, func(_ *core.Holder, d *core.Delivery, _ int) { seen[string(d.Message.Body[:8])]++ })
			if err != nil {
				t.Fatal(err)
			}
			if i := x.info(name); !found && i.Unacked == 0 && i.Leaving == 0 {
				break
			}
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d", len(seen), n)
	}
	for body, times := range seen {
		if times != 1 {
			t.Errorf("%s came %d times", body, times)
		}
	}
}
