package core_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"leveret/core"
)

func openGuest(tb testing.TB, b *core.Broker) *core.Session {
	tb.Helper()
	user, _ := b.Auth().User("guest")
	s, err := b.OpenSession(core.SessionOptions{VHost: "/", User: user, Loopback: true})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// Many connections want the same few identities at once, some of which expire
// or are ended meanwhile: one has it at a time, and what it finds is whole.
func TestTakeOverOneAtATime(t *testing.T) {
	b, err := core.New(core.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var held [3]atomic.Int32
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := range 60 {
				k := (g + n) % len(held)
				displaced := make(chan struct{})
				s := openGuest(t, b)
				c, _, err := s.Attach(ctx, core.ClientOptions{
					ID: fmt.Sprint("client ", k), Clean: n%7 == 0, ExpiryMS: int64(n%3) * 100,
					Queue: fmt.Sprint("queue ", k), DirectQueue: fmt.Sprint("direct ", k),
					Will:      &core.Will{Exchange: "amq.topic", RoutingKey: "gone", Body: []byte("x"), TTLMS: -1, DelayMS: int64(n % 2 * 50)},
					Displaced: func(string) { close(displaced) },
				})
				if err != nil {
					t.Error(err)
					return
				}
				if held[k].Add(1) != 1 {
					t.Errorf("client %d is held twice", k)
				}
				if _, errs := c.Subscribe([]core.Subscription{{Filter: "f", Exchange: "amq.topic", Key: "k", Grade: uint8(n % 2)}}); errs[0] != nil {
					t.Errorf("subscribe: %v", errs[0])
				}
				cons, err := c.Consume(core.ConsumeOptions{Outlet: discard{}, NoAck: true})
				if err != nil {
					t.Errorf("consume: %v", err)
				}
				if n%2 == 0 {
					select {
					case <-displaced:
					case <-time.After(time.Millisecond):
					}
				}
				var touched core.Touched
				cons.Detach(nil, &touched)
				held[k].Add(-1)
				c.Detach(core.Departure(n % 2))
				s.Close()
			}
		})
	}
	runs, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { b.Run(runs) })
	running.Go(func() { // An operator interferes.
		v, _ := b.VHost("/")
		for runs.Err() == nil {
			if err := v.EndClient(runs, "client 1", "because"); err != nil && runs.Err() == nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	for b.ClientCount() > 0 && ctx.Err() == nil {
		runtime.Gosched() // The last ones expire.
	}
	stop()
	running.Wait()
	if n := b.ClientCount(); n != 0 {
		t.Errorf("%d clients are left", n)
	}
	v, _ := b.VHost("/")
	if n := v.QueueCount(); n != 0 {
		t.Errorf("%d queues are left", n)
	}
	if live := b.Memory().Live(); live != 0 {
		t.Errorf("%d bytes are left", live)
	}
}

// discard is an outlet that takes everything.
type discard struct{}

func (discard) Room(*core.Waiter) bool                       { return true }
func (discard) Deliver(*core.Consumer, []core.Delivery) bool { return false }
func (discard) Flush()                                       {}

// Who waits for an identity gives up when told to, and the limit counts
// identities, not connections.
func TestAttachGivesUp(t *testing.T) {
	b, err := core.New(core.Options{MaxClients: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	first := openGuest(t, b)
	defer first.Close()
	c, _, err := first.Attach(context.Background(), core.ClientOptions{ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	second := openGuest(t, b)
	defer second.Close()
	if _, _, err := second.Attach(ctx, core.ClientOptions{ID: "a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting in vain: %v", err)
	}
	var refused *core.Error
	if _, _, err := second.Attach(context.Background(), core.ClientOptions{ID: "b"}); !errors.As(err, &refused) || refused.Kind != core.Limit {
		t.Errorf("one client too many: %v", err)
	}
	c.Detach(core.Left)
	c.Detach(core.Lost)
	if c, _, err = second.Attach(context.Background(), core.ClientOptions{ID: "b"}); err != nil {
		t.Fatal(err)
	}
	c.Detach(core.Left)
}

// What a client cannot declare is not exported as a definition.
func TestDirectQueuesAreNotExported(t *testing.T) {
	b, err := core.New(core.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s := openGuest(t, b)
	defer s.Close()
	c, _, err := s.Attach(context.Background(), core.ClientOptions{ID: "a", ExpiryMS: -1, Queue: "stored", DirectQueue: "straight"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Detach(core.Left)
	for grade, name := range []string{"straight", "stored"} {
		if _, errs := c.Subscribe([]core.Subscription{{Filter: "f", Exchange: "amq.topic", Key: "k", Grade: uint8(grade)}}); errs[0] != nil {
			t.Fatal(errs[0])
		}
		if _, ok := s.VHost().Queue(name); !ok {
			t.Errorf("no queue %s", name)
		}
		file, err := b.ExportDefinitions("")
		if err != nil {
			t.Fatal(err)
		}
		if want := grade > 0; bytes.Contains(file, []byte(name)) != want {
			t.Errorf("%s exported: %v", name, !want)
		}
	}
}

func BenchmarkConnect(b *testing.B) {
	for _, lasting := range []bool{false, true} {
		b.Run(fmt.Sprintf("lasting=%v", lasting), func(b *testing.B) {
			broker, err := core.New(core.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer broker.Close()
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				s := openGuest(b, broker)
				id := fmt.Sprint("client ", n)
				o := core.ClientOptions{ID: id, Queue: "q" + id, DirectQueue: "d" + id}
				if lasting {
					o.ExpiryMS = -1
				}
				c, _, err := s.Attach(context.Background(), o)
				if err != nil {
					b.Fatal(err)
				}
				c.Subscribe([]core.Subscription{{Filter: id, Exchange: "amq.topic", Key: "dev." + id, Grade: 1}})
			}
		})
	}
}
