package shovel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"leveret/core"
)

// patience is how long a test waits for what ought to happen at once.
const patience = 60 * time.Second

// source is a queue at a broker that is not there: what is not acked comes again.
type source struct {
	mu     sync.Mutex
	ready  []string
	given  map[string]bool // Handed out before.
	acked  []string
	opened int
}

func newSource(n int) *source {
	s := &source{given: map[string]bool{}}
	for i := range n {
		s.ready = append(s.ready, fmt.Sprint("m", i))
	}
	return s
}

// fakeInlet is a connection to a source.
type fakeInlet struct {
	*source
	signal   chan struct{}
	prefetch int
	out      []string // Taken and not acked, in order.
	err      error
}

func (s *source) open(prefetch int) *fakeInlet {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	return &fakeInlet{source: s, signal: make(chan struct{}, 1), prefetch: prefetch}
}

func (f *fakeInlet) more() <-chan struct{} { return f.signal }

func (f *fakeInlet) wake() {
	select {
	case f.signal <- struct{}{}:
	default:
	}
}

func (f *fakeInlet) take(ms []*message, room int) ([]*message, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ; room > 0 && len(f.ready) > 0 && len(f.out) < f.prefetch; room-- {
		body := f.ready[0]
		f.ready = f.ready[1:]
		m := &message{Message: &core.Message{Body: []byte(body)}, redelivered: f.given[body], offset: -1}
		f.given[body] = true
		f.out = append(f.out, body)
		ms = append(ms, m)
	}
	return ms, f.err
}

func (f *fakeInlet) ack(ms []*message, through bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range ms {
		i := slices.Index(f.out, string(m.Body))
		if i < 0 || through && i != 0 {
			return fmt.Errorf("ack of %s, which is not next of %v", m.Body, f.out)
		}
		f.out = slices.Delete(f.out, i, i+1)
		f.acked = append(f.acked, string(m.Body))
	}
	f.wake()
	return nil
}

func (f *fakeInlet) length() (int64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.ready)), true
}

func (f *fakeInlet) initial() (int64, bool) { return f.length() }

func (f *fakeInlet) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ready = append(f.out, f.ready...)
	f.out = nil
}

// broken ends the connection as a lost network would.
func (f *fakeInlet) broken() {
	f.mu.Lock()
	f.err = errors.New("connection lost")
	f.mu.Unlock()
	f.wake()
}

// fakeOutlet is a connection to a destination whose answers the test gives.
type fakeOutlet struct {
	signal chan struct{}
	sent   chan string // What was published, in order.

	mu      sync.Mutex
	answers []answer
	err     error
	all     []string
	auto    func(n uint64, body string) error // Answers at once, unless nil.
}

func newOutlet(auto func(uint64, string) error) *fakeOutlet {
	return &fakeOutlet{signal: make(chan struct{}, 1), sent: make(chan string, 10_000), auto: auto}
}

func (f *fakeOutlet) more() <-chan struct{} { return f.signal }
func (f *fakeOutlet) blocked() string       { return "" }
func (f *fakeOutlet) close()                {}

func (f *fakeOutlet) publish(ms []*message) (int, error) {
	for _, m := range ms {
		f.mu.Lock()
		f.all = append(f.all, string(m.Body))
		n := uint64(len(f.all))
		f.mu.Unlock()
		f.sent <- string(m.Body)
		if f.auto != nil {
			f.answer(answer{first: n, last: n, err: f.auto(n, string(m.Body))})
		}
	}
	return len(ms), nil
}

func (f *fakeOutlet) answer(as ...answer) {
	f.mu.Lock()
	f.answers = append(f.answers, as...)
	f.mu.Unlock()
	select {
	case f.signal <- struct{}{}:
	default:
	}
}

func (f *fakeOutlet) take(as []answer) ([]answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	as = append(as, f.answers...)
	f.answers = nil
	return as, f.err
}

// next waits for what is published.
func (f *fakeOutlet) next(t *testing.T) string {
	t.Helper()
	select {
	case s := <-f.sent:
		return s
	case <-time.After(patience):
		t.Fatal("nothing was published")
		return ""
	}
}

type run struct {
	*pump
	cancel context.CancelFunc
	ended  chan error
	count  *counters
}

func start(t *testing.T, in inlet, out outlet, edit func(*pump)) *run {
	t.Helper()
	c := &counters{}
	c.remaining.Store(-1)
	c.offset.Store(-1)
	p := &pump{in: in, out: out, ack: onConfirm, count: c, now: func() int64 { return 0 }, window: 100, grace: patience}
	if edit != nil {
		edit(p)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &run{pump: p, cancel: cancel, ended: make(chan error, 1), count: p.count}
	go func() { r.ended <- p.run(ctx) }() // Ends with the test's context.
	t.Cleanup(cancel)
	return r
}

func (r *run) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		t.Fatal("the pump goes on")
		return nil
	}
}

func names(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprint("m", i))
	}
	return out
}

func TestConfirmThereBeforeAckHere(t *testing.T) {
	s := newSource(3)
	in, out := s.open(10), newOutlet(nil)
	r := start(t, in, out, func(p *pump) { p.count.remaining.Store(3) })
	for _, want := range names(0, 3) {
		if got := out.next(t); got != want {
			t.Fatalf("published %s, want %s", got, want)
		}
	}
	s.mu.Lock()
	if len(s.acked) != 0 {
		t.Errorf("acked %v before any confirm", s.acked)
	}
	s.mu.Unlock()
	out.answer(answer{first: 2, last: 3}) // Out of order: the first one keeps the others.
	out.answer(answer{first: 1, last: 1})
	if err := r.wait(t); !errors.Is(err, errDone) {
		t.Fatalf("ended with %v", err)
	}
	if !slices.Equal(s.acked, names(0, 3)) {
		t.Errorf("acked %v", s.acked)
	}
	if n := r.count.moved.Load(); n != 3 {
		t.Errorf("moved %d", n)
	}
}

func TestWindowIsKept(t *testing.T) {
	s := newSource(50)
	out := newOutlet(nil)
	r := start(t, s.open(1000), out, func(p *pump) { p.window = 5; p.count.remaining.Store(50) })
	for i := range 50 {
		out.next(t)
		if i >= 4 {
			if n := len(out.sent); n != 0 {
				t.Fatalf("%d more than the window are under way", n)
			}
			out.answer(answer{first: uint64(i - 3), last: uint64(i - 3)})
		}
	}
	out.answer(answer{first: 47, last: 50})
	if err := r.wait(t); !errors.Is(err, errDone) {
		t.Fatal(err)
	}
}

// TestRefusalStops has one message refused in the middle: those before it are
// done with, it and those not yet sent stay at the source, in order.
func TestRefusalStops(t *testing.T) {
	s := newSource(10)
	in := s.open(4)
	out := newOutlet(nil)
	r := start(t, in, out, func(p *pump) { p.window = 4 })
	for range 4 {
		out.next(t)
	}
	out.answer(answer{first: 3, last: 3, err: errors.New("full")}, answer{first: 1, last: 2}, answer{first: 4, last: 4})
	err := r.wait(t)
	if !errors.As(err, new(*refused)) {
		t.Fatalf("ended with %v", err)
	}
	in.close()
	if want := []string{"m0", "m1", "m3"}; !slices.Equal(s.acked, want) {
		t.Errorf("acked %v, want %v", s.acked, want)
	}
	if want := append([]string{"m2"}, names(4, 10)...); !slices.Equal(s.ready, want) {
		t.Errorf("at the source: %v, want %v", s.ready, want)
	}
	if n := r.count.refused.Load(); n != 1 {
		t.Errorf("refused %d", n)
	}
}

// TestUnroutableIsNotAcked has a broker return a message and then confirm it.
func TestUnroutableIsNotAcked(t *testing.T) {
	s := newSource(2)
	in := s.open(10)
	out := newOutlet(nil)
	r := start(t, in, out, nil)
	out.next(t)
	out.next(t)
	out.answer(answer{returned: &returned{reason: "NO_ROUTE", body: []byte("m1")}}, answer{first: 1, last: 2})
	if err := r.wait(t); !errors.As(err, new(*refused)) {
		t.Fatalf("ended with %v", err)
	}
	in.close()
	if !slices.Equal(s.acked, names(0, 1)) || !slices.Equal(s.ready, names(1, 2)) {
		t.Errorf("acked %v, left %v", s.acked, s.ready)
	}
}

func TestCarefulAfterRefusal(t *testing.T) {
	s := newSource(20)
	out := newOutlet(nil)
	r := start(t, s.open(20), out, func(p *pump) { p.careful = true; p.count.remaining.Store(20) })
	out.next(t)
	if n := len(out.sent); n != 0 {
		t.Fatalf("%d sent behind the first", n)
	}
	out.answer(answer{first: 1, last: 1})
	for range 19 {
		out.next(t)
	}
	out.answer(answer{first: 2, last: 20})
	if err := r.wait(t); !errors.Is(err, errDone) {
		t.Fatal(err)
	}
}

// TestStopWaitsForConfirms ends a shovel with messages under way: they are acked,
// so that nobody gets them twice.
func TestStopWaitsForConfirms(t *testing.T) {
	s := newSource(100)
	in := s.open(10)
	out := newOutlet(nil)
	r := start(t, in, out, func(p *pump) { p.window = 10 })
	for range 10 {
		out.next(t)
	}
	r.cancel()
	out.answer(answer{first: 1, last: 10})
	if err := r.wait(t); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	in.close()
	out.mu.Lock()
	defer out.mu.Unlock()
	if !slices.Equal(s.acked, out.all) || len(s.ready) != 100-len(out.all) {
		t.Errorf("published %v, acked %v, left %d", out.all, s.acked, len(s.ready))
	}
}

// TestLostConnections loses the source again and again: every message arrives, in
// order, and those that come twice were counted.
func TestLostConnections(t *testing.T) {
	s := newSource(2000)
	var all []string
	count := &counters{}
	count.offset.Store(-1)
	for try := 0; len(s.acked) < 2000; try++ {
		in := s.open(64)
		sent := 0
		out := newOutlet(nil)
		out.auto = func(n uint64, body string) error {
			if sent++; sent == 300 {
				in.broken()
			}
			return nil
		}
		count.remaining.Store(int64(2000 - len(s.acked)))
		r := start(t, in, out, func(p *pump) { p.count, p.window = count, 64 })
		r.wait(t)
		in.close()
		all = append(all, out.all...)
		if try > 100 {
			t.Fatal("it does not get on")
		}
	}
	seen := map[string]bool{}
	var first []string
	for _, b := range all {
		if !seen[b] {
			seen[b] = true
			first = append(first, b)
		}
	}
	if !slices.Equal(first, names(0, 2000)) {
		t.Error("not everything arrived, or not in order")
	}
	if twice, counted := int64(len(all)-2000), count.redelivered.Load(); twice > counted {
		t.Errorf("%d arrived twice, %d were counted", twice, counted)
	}
}

func TestAckModes(t *testing.T) {
	for _, mode := range []ackMode{noAck, onPublish} {
		s := newSource(10)
		out := newOutlet(nil) // Which answers nothing.
		r := start(t, s.open(3), out, func(p *pump) { p.ack = mode; p.count.remaining.Store(10) })
		if err := r.wait(t); !errors.Is(err, errDone) {
			t.Fatalf("%s: %v", mode, err)
		}
		if !slices.Equal(s.acked, names(0, 10)) {
			t.Errorf("%s: acked %v", mode, s.acked)
		}
	}
}
