package stream_test

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"leveret/core"
	"leveret/persist"
	"leveret/persist/stream"
	"leveret/persist/vfs"
	"leveret/persist/vfs/faultfs"
)

var (
	long  = flag.Bool("long", false, "crash tests take minutes and look at every point")
	quiet = slog.New(slog.DiscardHandler)
)

// broker is a broker over a file system of the test's, whose clock stands
// still.
type broker struct {
	*core.Broker
	t       testing.TB
	session *core.Session
	now     int64
}

// start starts one. Its definitions are not on fs: other tests cut them off.
func start(t testing.TB, fs vfs.FS, defs core.Definitions) *broker {
	t.Helper()
	return startAt(t, fs, "/", defs)
}

func startAt(t testing.TB, fs vfs.FS, dir string, defs core.Definitions) *broker {
	t.Helper()
	o, memory := persist.LogOptions{Logger: quiet}, int64(0)
	if dir == "/" {
		o.SegmentBytes, memory = 64<<10, 64<<10
	}
	log, err := persist.OpenLog(fs, filepath.Join(dir, "log"), o)
	if err != nil {
		t.Fatal(err)
	}
	streams, err := stream.Open(fs, filepath.Join(dir, "streams"), quiet)
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{t: t, now: 1_700_000_000_000}
	b.Broker, err = core.New(core.Options{
		Definitions: defs, Log: log, Streams: streams, QueueMemory: memory, Now: func() int64 { return b.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	user, _ := b.Auth().User("guest")
	b.session, err = b.OpenSession(core.SessionOptions{VHost: "/", User: user, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *broker) declare(name string, args ...core.Field) {
	b.t.Helper()
	if _, err := b.session.DeclareQueue(core.QueueDeclare{Name: name, Durable: true, Arguments: args}); err != nil {
		b.t.Fatal(err)
	}
}

// publisher publishes and remembers what was confirmed, and when.
type publisher struct {
	p    *core.Publisher
	now  func() int
	mu   sync.Mutex
	last uint64
	done map[uint64]int
	idle *sync.Cond
}

func (b *broker) publisher(now func() int) *publisher {
	p := &publisher{now: now, done: make(map[uint64]int)}
	p.idle = sync.NewCond(&p.mu)
	p.p = b.session.NewPublisher(p)
	return p
}

// Completed is core.Completer.
func (p *publisher) Completed(first, last uint64, k core.Kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := first; n <= last; n++ {
		if k == core.OK {
			p.done[n] = p.now()
		} else {
			p.done[n] = -1
		}
	}
	p.idle.Broadcast()
}

// publish publishes each body to exchange with key; the first one's number is
// returned.
func (p *publisher) publish(t testing.TB, exchange, key string, bodies ...string) uint64 {
	t.Helper()
	return p.publishWith(t, exchange, key, &core.Properties{}, bodies)
}

// publishFiltered publishes to amq.fanout with a filter value.
func (p *publisher) publishFiltered(t testing.TB, value string, bodies ...string) {
	t.Helper()
	headers := core.Table{{Name: "x-stream-filter-value", Value: value}}
	p.publishWith(t, "amq.fanout", "", &core.Properties{Headers: headers, HeadersSet: true}, bodies)
}

func (p *publisher) publishWith(t testing.TB, exchange, key string, properties *core.Properties, bodies []string) uint64 {
	t.Helper()
	target, err := p.p.Target(exchange)
	if err != nil {
		t.Fatal(err)
	}
	batch := make([]core.Publication, len(bodies))
	first := p.last + 1
	for i, body := range bodies {
		m := &batch[i]
		m.Reset()
		m.RoutingKey, m.Body = key, []byte(body)
		m.SetProperties(properties)
		if _, err := p.p.Route(target, m); err != nil {
			t.Fatal(err)
		}
		p.last++
		m.Number = p.last
	}
	var touched core.Touched
	p.p.Publish(batch, &touched)
	return first
}

// wait waits until everything is confirmed or refused.
func (p *publisher) wait() { p.waitUntil(0) }

// waitUntil waits until no more than n are outstanding.
func (p *publisher) waitUntil(n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for uint64(len(p.done))+n < p.last {
		p.idle.Wait()
	}
}

// reader notes what it is shown, and when.
type reader struct {
	now  func() int
	c    *core.Consumer
	mu   sync.Mutex
	seen []sight
	more *sync.Cond
}

type sight struct {
	offset uint64
	body   string
	at     int
}

func (b *broker) read(queue string, now func() int, args ...core.Field) *reader {
	b.t.Helper()
	r := &reader{now: now}
	r.more = sync.NewCond(&r.mu)
	var err error
	r.c, err = b.session.Consume(core.ConsumeOptions{Queue: queue, Tag: "r", Prefetch: 1 << 30, Outlet: r, Arguments: args})
	if err != nil {
		b.t.Fatal(err)
	}
	var t core.Touched
	r.c.Start(&t)
	t.Flush()
	return r
}

func first() core.Field { return core.Field{Name: "x-stream-offset", Value: "first"} }

// Room is core.Outlet.
func (r *reader) Room(*core.Waiter) bool { return true }

// Deliver is core.Outlet.
func (r *reader) Deliver(_ *core.Consumer, ds []core.Delivery) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range ds {
		r.seen = append(r.seen, sight{uint64(d.Seq), string(d.Message.Body), r.now()})
	}
	r.more.Broadcast()
	return false
}

// Flush is core.Outlet.
func (r *reader) Flush() {}

// upTo waits until the reader has seen n messages and returns them.
func (r *reader) upTo(n int) []sight {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.seen) < n {
		r.more.Wait()
	}
	return r.seen
}

// all returns everything in a stream now, in order.
func (b *broker) all(queue string) []sight {
	b.t.Helper()
	b.Advance(b.now) // Until the copier is idle.
	r := b.read(queue, func() int { return 0 }, first())
	b.Advance(b.now)
	r.mu.Lock()
	defer r.mu.Unlock()
	var t core.Touched
	r.c.Cancel(&t)
	return r.seen
}

// history is what happened to a stream until the test stopped looking.
type history struct {
	bodies    []string // By publish number - 1.
	confirmed map[uint64]int
	seen      []sight
}

// check holds what a broker that was cut off at time at finds against h: every
// confirmed message once and in order, and no offset that somebody has seen
// given to another message.
func (h *history) check(got []sight, at int) error {
	where := make(map[string]uint64)
	byOffset := make(map[uint64]string)
	for i, s := range got {
		if _, twice := where[s.body]; twice {
			return fmt.Errorf("%s is there twice", s.body)
		}
		if i > 0 && s.offset <= got[i-1].offset {
			return fmt.Errorf("offset %d behind %d", s.offset, got[i-1].offset)
		}
		where[s.body], byOffset[s.offset] = s.offset, s.body
	}
	before := -1
	for n := uint64(1); n <= uint64(len(h.bodies)); n++ {
		body := h.bodies[n-1]
		offset, there := where[body]
		if done := h.confirmed[n]; done > 0 && done <= at && !there {
			return fmt.Errorf("%s was confirmed at %d, cut at %d, and is not there", body, done, at)
		}
		if there && int(offset) <= before {
			return fmt.Errorf("%s at offset %d comes before one published earlier", body, offset)
		}
		if there {
			before = int(offset)
		}
	}
	for _, s := range h.seen {
		if s.at <= at && byOffset[s.offset] != s.body {
			return fmt.Errorf("offset %d was %s when somebody saw it, and is %q", s.offset, s.body, byOffset[s.offset])
		}
	}
	return nil
}

// TestPowerCut cuts the power after every write, sync and change of a name
// while a stream is published into and read, together with a classic queue, and
// again while what was left is recovered.
func TestPowerCut(t *testing.T) {
	scenarios, rounds, cuts := 3, 25, 120
	if *long {
		scenarios, rounds, cuts = 30, 60, 1<<30
	}
	for seed := range uint64(scenarios) {
		disk := faultfs.New(faultfs.Options{})
		rng := rand.New(rand.NewPCG(seed, 7))
		defs := core.NewMemoryDefinitions()
		b := start(t, disk, defs)
		b.declare("s", core.Field{Name: "x-queue-type", Value: "stream"}, core.Field{Name: "x-stream-max-segment-size-bytes", Value: int64(4096)})
		b.declare("q")
		for _, q := range []string{"s", "q"} {
			if err := b.session.Bind(core.Binding{Source: "amq.fanout", Destination: q}); err != nil {
				t.Fatal(err)
			}
		}
		declared := disk.Ops()
		h := &history{}
		p := b.publisher(disk.Ops)
		r := b.read("s", disk.Ops, first())
		for range rounds {
			var bodies []string
			for range 1 + rng.IntN(8) {
				bodies = append(bodies, fmt.Sprintf("message %d %s", len(h.bodies)+len(bodies), strings.Repeat("x", rng.IntN(1500))))
			}
			exchange, key := "amq.fanout", ""
			if rng.IntN(2) == 0 {
				exchange, key = "", "s"
			}
			p.publish(t, exchange, key, bodies...)
			h.bodies = append(h.bodies, bodies...)
			if rng.IntN(3) == 0 {
				p.wait()
			}
		}
		p.wait()
		h.confirmed = p.done
		h.seen = r.upTo(len(h.bodies))
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		ops := disk.Ops()
		stride := max(1, (ops-declared)/cuts)
		for at := declared; at <= ops; at += 1 + rng.IntN(stride) {
			cut := rng.Uint64()
			left := disk.CrashAt(at, cut)
			again := start(t, left, defs)
			got := again.all("s")
			if err := h.check(got, at); err != nil {
				t.Fatalf("scenario %d, cut after %d of %d operations with seed %d: %v", seed, at, ops, cut, err)
			}
			// What is published now must not take an offset that was seen.
			np := again.publisher(left.Ops)
			np.publish(t, "", "s", "new")
			np.wait()
			got = again.all("s")
			if err := h.check(got, at); err != nil {
				t.Fatalf("scenario %d, cut after %d of %d operations with seed %d, one more published: %v", seed, at, ops, cut, err)
			}
			if n := len(got); n == 0 || got[n-1].body != "new" {
				t.Fatalf("scenario %d, cut after %d: what was published then is not the last", seed, at)
			}
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
			// And once more, somewhere in recovery or behind it.
			twice := left.CrashAt(rng.IntN(left.Ops()+1), cut)
			again = start(t, twice, defs)
			if err := h.check(again.all("s"), at); err != nil {
				t.Fatalf("scenario %d, cut after %d of %d operations with seed %d, and again: %v", seed, at, ops, cut, err)
			}
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
			// Killed, the process leaves everything that it wrote.
			killed := start(t, disk.KillAt(at), defs)
			if err := h.check(killed.all("s"), at); err != nil {
				t.Fatalf("scenario %d, killed after %d of %d operations: %v", seed, at, ops, err)
			}
			if err := killed.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
