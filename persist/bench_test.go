package persist_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"leveret/core"
	"leveret/persist"
	"leveret/persist/persisttest"
	"leveret/persist/vfs"
)

// BenchmarkPublish is confirmed publishes to queues of their own. syncs/s is
// what the disk does alone, writing as much as one publisher's window, measured
// in the same run.
func BenchmarkPublish(b *testing.B) {
	for _, c := range []struct{ publishers, window, batch, body int }{
		{1, 1, 1, 1024}, {1, 100, 10, 1024}, {8, 1, 1, 1024}, {8, 100, 10, 1024}, {8, 100, 1, 1024}, {8, 1000, 25, 1024}, {8, 1000, 50, 128}, {64, 100, 10, 1024},
	} {
		b.Run(fmt.Sprintf("publishers=%d/window=%d/batch=%d/body=%d", c.publishers, c.window, c.batch, c.body), func(b *testing.B) {
			dir := b.TempDir()
			raw := rawSyncs(b, dir, c.body)
			l := openLog(b, vfs.OS, filepath.Join(dir, "log"), persist.LogOptions{})
			defer l.Close()
			b.ReportAllocs()
			b.SetBytes(int64(c.body))
			b.ResetTimer()
			var all sync.WaitGroup
			for p := range c.publishers {
				n := b.N / c.publishers
				if p == 0 {
					n += b.N % c.publishers
				}
				all.Go(func() { publish(l, core.QueueID(p), n, c.window, c.batch, c.body) })
			}
			all.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
			b.ReportMetric(raw, "disk-syncs/s")
		})
	}
}

// publish adds n messages to q in sets of batch, with at most window of them
// not complete. What is stored is settled 100 at a time, long after, so that
// the disk does not fill up and files are recycled.
func publish(l *persist.Log, id core.QueueID, n, window, batch, body int) {
	q := l.OpenQueue(id)
	slots := make(chan struct{}, window/batch)
	m := persisttest.NewMessage(make([]byte, body))
	origins := make([]core.Message, batch)
	done := func(err error) {
		if err != nil {
			panic(err)
		}
		<-slots
	}
	var settled core.Seq
	seqs := make([]core.Seq, 100)
	for i := 0; i < n; i += batch {
		slots <- struct{}{}
		set := l.Begin()
		for k := range min(batch, n-i) {
			q.Add(set, core.Seq(i+k), m, &origins[k])
		}
		set.Close(done)
		for i-int(settled) > 2*window+100 {
			for k := range seqs {
				seqs[k] = settled
				settled++
			}
			q.Settle(seqs)
		}
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
}

// rawSyncs is how often a second the disk writes and syncs n bytes.
func rawSyncs(b *testing.B, dir string, n int) float64 {
	f, err := vfs.OS.Create(filepath.Join(dir, "raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := f.Preallocate(0, 64<<20); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, n)
	syncs := 0
	start := time.Now()
	for at := int64(0); time.Since(start) < 200*time.Millisecond; syncs++ {
		if _, err := f.WriteAt(buf, at); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		at = (at + int64(n)) % (60 << 20)
	}
	return float64(syncs) / time.Since(start).Seconds()
}
