package core_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"leveret/core"
	"leveret/core/coretest"
)

// streamBroker is a broker with a log and a store of streams that the test
// controls.
type streamBroker struct {
	*core.Broker
	t       *testing.T
	log     *coretest.Log
	streams *flakyStreams
	session *core.Session
	now     int64
	queue   core.Queue
	seen    []string
	mu      sync.Mutex
	done    map[uint64]core.Kind
	p       *core.Publisher
	last    uint64
}

// flakyStreams fails when told to.
type flakyStreams struct {
	core.MemoryStreams
	mu  sync.Mutex
	err error
}

func (s *flakyStreams) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *flakyStreams) OpenStream(q core.QueueID, o core.StreamOptions) (core.StreamLog, error) {
	l, err := s.MemoryStreams.OpenStream(q, o)
	return &flakyStream{l, s}, err
}

type flakyStream struct {
	core.StreamLog
	store *flakyStreams
}

func (s *flakyStream) Append(ms []core.StreamMessage) error {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if s.store.err != nil {
		return s.store.err
	}
	return s.StreamLog.Append(ms)
}

func newStreamBroker(t *testing.T) *streamBroker {
	t.Helper()
	b := &streamBroker{t: t, log: coretest.NewLog(), streams: &flakyStreams{}, now: 1_000_000, done: make(map[uint64]core.Kind)}
	var err error
	b.Broker, err = core.New(core.Options{Log: b.log, Streams: b.streams, Now: func() int64 { return b.now }})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	t.Cleanup(func() { b.Close() })
	user, _ := b.Auth().User("guest")
	b.session, err = b.OpenSession(core.SessionOptions{VHost: "/", User: user, Loopback: true})
	must(err)
	_, err = b.session.DeclareQueue(core.QueueDeclare{Name: "s", Durable: true, Arguments: core.Table{{Name: "x-queue-type", Value: "stream"}}})
	must(err)
	b.queue, _ = b.session.VHost().Queue("s")
	b.p = b.session.NewPublisher(b)
	c, err := b.session.Consume(core.ConsumeOptions{Queue: "s", Tag: "c", Prefetch: 1000, Outlet: b})
	must(err)
	var touched core.Touched
	c.Start(&touched)
	return b
}

// Completed is core.Completer.
func (b *streamBroker) Completed(first, last uint64, k core.Kind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n := first; n <= last; n++ {
		b.done[n] = k
	}
}

// Room is core.Outlet.
func (b *streamBroker) Room(*core.Waiter) bool { return true }

// Deliver is core.Outlet.
func (b *streamBroker) Deliver(_ *core.Consumer, ds []core.Delivery) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range ds {
		offset, _ := d.Message.Properties().Headers.Get("x-stream-offset")
		b.seen = append(b.seen, fmt.Sprintf("%v:%s", offset, d.Message.Body[:min(5, len(d.Message.Body))]))
	}
	return false
}

// Flush is core.Outlet.
func (b *streamBroker) Flush() {}

func (b *streamBroker) publish(bodies ...string) {
	b.t.Helper()
	target, err := b.p.Target("")
	if err != nil {
		b.t.Fatal(err)
	}
	batch := make([]core.Publication, len(bodies))
	for i, body := range bodies {
		m := &batch[i]
		m.Reset()
		m.RoutingKey, m.Body = "s", []byte(body)
		if _, err := b.p.Route(target, m); err != nil {
			b.t.Fatal(err)
		}
		b.last++
		m.Number = b.last
	}
	var touched core.Touched
	b.p.Publish(batch, &touched)
}

// sees waits until the copier is idle and compares what was delivered, and how
// many references the log holds.
func (b *streamBroker) sees(inLog int, want ...string) {
	b.t.Helper()
	b.Advance(b.now)
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := strings.Join(b.seen, " "); got != strings.Join(want, " ") {
		b.t.Errorf("saw %s, want %s", got, strings.Join(want, " "))
	}
	if n := b.log.Len(b.queue.Options().ID); n != inLog {
		b.t.Errorf("the log holds %d messages, want %d", n, inLog)
	}
}

// TestStreamWaitsForTheLog: a reader sees a message when the log has written it
// and the stream has it; then the log lets go of it.
func TestStreamWaitsForTheLog(t *testing.T) {
	b := newStreamBroker(t)
	b.publish("one")
	b.sees(0, "0:one")
	b.log.Hold(true)
	b.publish("two", "three")
	b.sees(2, "0:one")
	if i := b.queue.Info().Stream; i.Next != 1 || i.Uncommitted != 2 {
		t.Errorf("info %+v", i)
	}
	b.log.Hold(false)
	b.sees(0, "0:one", "1:two", "2:three")
	if i := b.queue.Info(); i.Ready != 3 || i.Stream.Next != 3 || i.Stream.Uncommitted != 0 || b.done[3] != core.OK {
		t.Errorf("info %+v %+v", i, i.Stream)
	}
}

// TestStreamTriesAgain: while there is no room messages stay in the log, and
// are copied in order when there is.
func TestStreamTriesAgain(t *testing.T) {
	b := newStreamBroker(t)
	b.streams.fail(fmt.Errorf("%w: disk full", core.ErrStreamFull))
	b.publish("one")
	b.publish("two")
	b.sees(2)
	if b.done[2] != core.OK {
		t.Error("what the log has is not confirmed")
	}
	b.now += 1000
	b.sees(2)
	b.streams.fail(nil)
	b.now += 1000
	b.sees(0, "0:one", "1:two")
}

// TestStreamFails: a stream that cannot be written any more refuses messages.
func TestStreamFails(t *testing.T) {
	b := newStreamBroker(t)
	b.publish("one")
	b.sees(0, "0:one")
	b.streams.fail(errors.New("sync failed"))
	b.publish("two")
	b.sees(1, "0:one")
	b.publish("three")
	b.sees(1, "0:one")
	if b.done[2] != core.OK || b.done[3] != core.Unavailable {
		t.Errorf("completed %v", b.done)
	}
}

// TestStreamLag: publishers wait while too much is not copied.
func TestStreamLag(t *testing.T) {
	b := newStreamBroker(t)
	b.log.Hold(true)
	large := strings.Repeat("x", 1<<20)
	n := 0
	for ; !b.p.AheadOfLog(); n++ {
		if n > 100 {
			t.Fatal("100 MB wait and nobody is asked to pause")
		}
		b.publish(large)
	}
	stop := make(chan struct{})
	close(stop)
	b.p.Pace(stop) // It would wait.
	b.publish("more")
	if !b.p.AheadOfLog() {
		t.Error("nobody is asked to pause any more")
	}
	paced := make(chan struct{})
	go func() { // Ends when the log has written.
		b.p.Pace(nil)
		close(paced)
	}()
	b.log.Hold(false)
	<-paced
	b.Advance(b.now)
	if got := b.queue.Info().Ready; got != n+1 {
		t.Errorf("%d messages, want %d", got, n+1)
	}
}
