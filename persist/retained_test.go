package persist_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"leveret/core"
	"leveret/core/invariant"
	"leveret/persist"
	"leveret/persist/persisttest"
	"leveret/persist/vfs"
)

// retainer publishes retained messages, some batches at a time.
type retainer struct {
	t         testing.TB
	session   *core.Session
	publisher *core.Publisher
	window    chan struct{} // Holds one for each message under way.
	refused   atomic.Int64
	number    uint64
}

func (r *retainer) Completed(first, last uint64, k core.Kind) {
	if k != core.OK {
		r.refused.Add(1)
	}
	for range last - first + 1 {
		<-r.window
	}
}

const (
	retainBatch  = 64
	retainWindow = 64 * retainBatch
)

func newRetainer(t testing.TB, b *core.Broker) *retainer {
	t.Helper()
	user, _ := b.Auth().User("guest")
	s, err := b.OpenSession(core.SessionOptions{VHost: "/", User: user, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	r := &retainer{t: t, session: s, window: make(chan struct{}, retainWindow)}
	r.publisher = s.NewPublisher(r)
	return r
}

// deviceKey is the topic of one of many devices.
func deviceKey(i int) string { return fmt.Sprintf("site.%d.device.%d.state", i%100, i) }

// retain publishes body under the keys of devices [from, to). Messages are under
// way at its end: see wait.
func (r *retainer) retain(from, to int, body []byte) {
	target, err := r.publisher.Target("amq.topic")
	if err != nil {
		r.t.Fatal(err)
	}
	ms := make([]core.Publication, retainBatch)
	var touched core.Touched
	for from < to {
		n := min(retainBatch, to-from)
		for i := range ms[:n] {
			m := &ms[i]
			m.Reset()
			r.number++
			m.RoutingKey, m.Body, m.Persistent, m.Retain, m.Number = deviceKey(from+i), body, true, true, r.number
			if _, err := r.publisher.Route(target, m); err != nil {
				r.t.Fatal(err)
			}
			r.window <- struct{}{}
		}
		r.publisher.Publish(ms[:n], &touched)
		from += n
	}
}

// wait waits for what is under way.
func (r *retainer) wait() {
	r.t.Helper()
	for range cap(r.window) {
		select {
		case r.window <- struct{}{}:
		case <-time.After(persisttest.Deadline):
			r.t.Fatal("no confirm")
		}
	}
	for range cap(r.window) {
		<-r.window
	}
	if n := r.refused.Load(); n > 0 {
		r.t.Fatalf("%d refused", n)
	}
}

func heap() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// Retained messages by the hundred thousand: their bodies do not stay in memory,
// neither for themselves nor for a subscriber that has begun to walk them and is
// slow; who walks while they are replaced finds each once; they survive a
// restart, all of them.
func TestManyRetained(t *testing.T) {
	const bodySize = 512
	messages := 100_000
	if invariant.Enabled {
		messages = 20_000
	}
	// What they take without their bodies, and the caches of the broker.
	heapMax := int64(messages*450 + 40<<20)
	dir := filepath.Join(t.TempDir(), "log")
	definitions := core.NewMemoryDefinitions()
	open := func() *core.Broker {
		l := openLog(t, vfs.OS, dir, persist.LogOptions{Sync: persist.SyncNone})
		b, err := core.New(core.Options{Definitions: definitions, Log: l, QueueMemory: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := open()
	r := newRetainer(t, b)
	before := heap()
	small := func(when string) {
		t.Helper()
		if n := heap() - before; n > heapMax {
			t.Errorf("%s, they take %d bytes of memory", when, n)
		}
	}
	r.retain(0, messages, bytes.Repeat([]byte("a"), bodySize))
	r.wait()
	small("at first")

	slow := r.session.Retained("amq.topic", "#", nil)
	seen := make(map[string]bool, messages)
	see := func(m *core.Message) {
		if seen[m.RoutingKey] || len(m.Body) != bodySize || !m.Retained {
			t.Errorf("%s: %d bytes, retained %v, seen %v", m.RoutingKey, len(m.Body), m.Retained, seen[m.RoutingKey])
		}
		seen[strings.Clone(m.RoutingKey)] = true
	}
	for len(seen) < messages/10 {
		slow.Next(64, see)
	}
	session := newRetainer(t, b).session
	walked := make(chan int)
	go func() { // Ends with its walk.
		n := 0
		c := session.Retained("amq.topic", "site.*.#", nil)
		for c.Next(64, func(*core.Message) { n++ }) {
		}
		walked <- n
	}()
	r.retain(0, messages, bytes.Repeat([]byte("b"), bodySize))
	r.wait()
	if n := wait(t, walked); n != messages {
		t.Errorf("walked %d while they were replaced", n)
	}
	walks := len(seen)
	clear(seen)
	small("with a slow subscriber")
	for slow.Next(64, see) {
	}
	if walks += len(seen); walks != messages {
		t.Errorf("the slow subscriber was given %d", walks)
	}
	steps, found := 0, 0
	rare := r.session.Retained("amq.topic", "#.777.state", nil)
	for more := true; more; steps++ {
		more = rare.Next(10, func(m *core.Message) { found++ })
	}
	if found != 1 || steps < 100 {
		t.Errorf("found %d of 1 rare one, in %d steps", found, steps)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	// A stop while they are still being read loses nothing, and what is cleared
	// then is gone.
	if err := open().Close(); err != nil {
		t.Fatal(err)
	}
	b = open()
	defer b.Close()
	r = newRetainer(t, b)
	r.retain(messages-1, messages, nil)
	r.wait()
	n := 0
	c := r.session.Retained("amq.topic", "#", nil)
	for c.Next(512, func(m *core.Message) {
		if n++; m.Body[0] != 'b' || m.RoutingKey == deviceKey(messages-1) {
			t.Errorf("%s is an old one", m.RoutingKey)
		}
	}) {
	}
	if count, _ := r.session.VHost().RetainedCount(); n != messages-1 || count != n {
		t.Errorf("walked %d after a restart, counted %d", n, count)
	}
	small("after a restart")
}

// BenchmarkRetained is the life of a million retained messages: they are set,
// replaced, walked by a subscriber to everything, and there after a restart.
func BenchmarkRetained(b *testing.B) {
	const messages = 1_000_000
	body := []byte(strings.Repeat("x", 128))
	for range b.N {
		dir := filepath.Join(b.TempDir(), "log")
		definitions := core.NewMemoryDefinitions()
		open := func() *core.Broker {
			l := openLog(b, vfs.OS, dir, persist.LogOptions{})
			broker, err := core.New(core.Options{Definitions: definitions, Log: l})
			if err != nil {
				b.Fatal(err)
			}
			return broker
		}
		broker := open()
		r := newRetainer(b, broker)
		before := heap()
		start := time.Now()
		lap := func(what string, n int) {
			b.ReportMetric(float64(n)/time.Since(start).Seconds(), what+"/s")
			start = time.Now()
		}
		r.retain(0, messages, body)
		r.wait()
		lap("set", messages)
		b.ReportMetric(float64(heap()-before)/messages, "B/msg")
		start = time.Now()
		r.retain(0, messages/10, body)
		r.wait()
		lap("replace", messages/10)
		walk := func(what string) {
			cursor := r.session.Retained("amq.topic", "#", nil)
			start = time.Now()
			n := 0
			for cursor.Next(64, func(m *core.Message) { n++ }) {
			}
			if n != messages {
				b.Fatalf("walked %d", n)
			}
			lap(what, messages)
		}
		walk("walk")
		if err := broker.Close(); err != nil {
			b.Fatal(err)
		}
		broker, r = nil, nil
		start = time.Now()
		l := openLog(b, vfs.OS, dir, persist.LogOptions{})
		b.ReportMetric(time.Since(start).Seconds()*1000, "open-log-ms")
		start = time.Now()
		broker, err := core.New(core.Options{Definitions: definitions, Log: l})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds()*1000, "start-ms")
		r = newRetainer(b, broker)
		r.session.Retained("amq.topic", deviceKey(0), nil).Next(1, func(*core.Message) {}) // It waits for all.
		b.ReportMetric(time.Since(start).Seconds()*1000, "loaded-ms")
		b.ReportMetric(float64(heap()-before)/messages, "restarted-B/msg")
		walk("rewalk")
		broker.Close()
	}
}
