package meta_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"leveret/core"
	"leveret/persist/meta"
	"leveret/persist/vfs"
)

func open(t testing.TB, dir string, o meta.Options) *meta.Store {
	t.Helper()
	s, err := meta.Open(vfs.OS, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// fill stores queues and bindings as a broker would declare them.
func fill(t testing.TB, s *meta.Store, queues, bindings int) {
	t.Helper()
	var changes []core.Change
	flush := func() {
		if err := s.Commit(changes); err != nil {
			t.Fatal(err)
		}
		changes = changes[:0]
	}
	for i := range queues {
		name := fmt.Sprintf("queue-%08d", i)
		changes = append(changes, core.Change{Kind: core.DefQueue, Key: []string{"/", name}, Value: core.QueueDef{
			VHost: "/", Name: name, Type: core.QueueClassic, Durable: true, ID: core.QueueID(i + 1),
			Arguments: core.Table{{Name: "x-max-length", Value: int32(1000)}},
		}})
		if len(changes) == 10_000 {
			flush()
		}
	}
	for i := range bindings {
		name, key := fmt.Sprintf("queue-%08d", i%max(queues, 1)), fmt.Sprintf("device.%08d.temperature", i)
		changes = append(changes, core.Change{Kind: core.DefBinding, Key: []string{"/", "amq.topic", "q", name, key, ""}, Value: core.BindingDef{
			VHost: "/", Binding: core.Binding{Source: "amq.topic", Destination: name, Key: key},
		}})
		if len(changes) == 10_000 {
			flush()
		}
	}
	flush()
}

// BenchmarkLoad is Open and Watch of 100,000 queues and a million bindings.
func BenchmarkLoad(b *testing.B) {
	const queues, bindings = 100_000, 1_000_000
	dir := b.TempDir()
	s := open(b, dir, meta.Options{})
	fill(b, s, queues, bindings)
	if err := s.Shrink(); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	b.ResetTimer()
	for b.Loop() {
		s := open(b, dir, meta.Options{})
		seen := 0
		if err := s.Watch(func(changes []core.Change) { seen += len(changes) }); err != nil {
			b.Fatal(err)
		}
		if seen != queues+bindings {
			b.Fatalf("%d definitions", seen)
		}
		b.StopTimer()
		s.Close()
		b.StartTimer()
	}
}

// BenchmarkCommit declares queues, each by a commit of its own.
func BenchmarkCommit(b *testing.B) {
	for _, committers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("committers=%d", committers), func(b *testing.B) {
			s := open(b, b.TempDir(), meta.Options{})
			var next atomic.Int64
			b.SetParallelism(max(committers/runtime.GOMAXPROCS(0), 1))
			if committers == 1 {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					name := fmt.Sprint("queue-", next.Add(1))
					err := s.Commit([]core.Change{{Kind: core.DefQueue, Key: []string{"/", name}, Value: core.QueueDef{
						VHost: "/", Name: name, Type: core.QueueClassic, Durable: true}}})
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkCommitTransient declares queues that are not stored.
func BenchmarkCommitTransient(b *testing.B) {
	s := open(b, b.TempDir(), meta.Options{})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		name := fmt.Sprint("queue-", i)
		err := s.Commit([]core.Change{{Kind: core.DefQueue, Key: []string{"/", name}, Transient: true, Value: core.QueueDef{
			VHost: "/", Name: name, Type: core.QueueClassic}}})
		if err != nil {
			b.Fatal(err)
		}
	}
}
