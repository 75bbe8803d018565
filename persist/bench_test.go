package persist_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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

// reopenDir makes the test binary a process that opens a log, for
// BenchmarkReopen, and says what that took.
const (
	reopenDir = "LEVERET_TEST_REOPEN_DIR"
	fillCount = "LEVERET_TEST_FILL_COUNT" // How many messages to store instead.
)

func reopened(dir string) {
	if n, err := strconv.Atoi(os.Getenv(fillCount)); err == nil {
		l, err := persist.OpenLog(vfs.OS, dir, persist.LogOptions{Logger: quiet})
		if err != nil {
			panic(err)
		}
		start := time.Now()
		fill(l, 1, n, 1024)
		fmt.Println(float64(n) / time.Since(start).Seconds())
		return // Without closing it.
	}
	start := time.Now()
	l, err := persist.OpenLog(vfs.OS, dir, persist.LogOptions{Logger: quiet})
	if err != nil {
		panic(err)
	}
	n := 0
	err = l.Recover(func(core.QueueID) bool { return true }, func(r core.RecoveredLevel) error {
		n += len(r.Entries)
		return nil
	})
	if err != nil {
		panic(err)
	}
	took := time.Since(start)
	status, _ := os.ReadFile("/proc/self/status")
	field := func(name string) (kb int) {
		_, rest, _ := strings.Cut(string(status), name+":")
		fmt.Sscan(rest, &kb)
		return kb
	}
	fmt.Println(n, took.Seconds(), field("VmHWM"), field("VmRSS"))
	if err := l.Close(); err != nil {
		panic(err)
	}
}

// BenchmarkReopen has a process fill a log and end without closing it, and
// another one open it: the first time after that crash, then after a clean
// stop. peak-MB and rss-MB are of the process that opens, which holds the index
// and nothing else. Ten million messages only with -long: they take 11 GB of
// disk.
func BenchmarkReopen(b *testing.B) {
	sizes := []int{1_000_000}
	if *long {
		sizes = append(sizes, 10_000_000)
	}
	for _, n := range sizes {
		for _, how := range []string{"crash", "clean"} {
			b.Run(fmt.Sprintf("messages=%d/%s", n, how), func(b *testing.B) {
				var seconds, peak, rss, filled float64
				for range b.N {
					dir := filepath.Join(b.TempDir(), "log")
					var got int
					var s, p, r, f float64
					child(b, dir, fmt.Sprint(n), &f)
					if how == "clean" {
						child(b, dir, "", &got, &s, &p, &r)
					}
					child(b, dir, "", &got, &s, &p, &r)
					if got != n {
						b.Fatalf("%d messages of %d", got, n)
					}
					seconds, peak, rss, filled = seconds+s, max(peak, p), max(rss, r), f
					if err := os.RemoveAll(dir); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(seconds/float64(b.N), "s/open")
				b.ReportMetric(peak/1024, "peak-MB")
				b.ReportMetric(rss/1024, "rss-MB")
				b.ReportMetric(filled, "filled/s")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// child runs the test binary to fill or open the log in dir and reads what it
// says.
func child(b *testing.B, dir, fill string, into ...any) {
	b.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), reopenDir+"="+dir, fillCount+"="+fill)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err == nil {
		_, err = fmt.Sscan(string(out), into...)
	}
	if err != nil {
		b.Fatalf("%s: %v", out, err)
	}
}

// fill stores n messages in queue id, which is new.
func fill(l *persist.Log, id core.QueueID, n, body int) {
	q := l.OpenQueue(id)
	slots := make(chan struct{}, 64)
	m := persisttest.NewMessage(make([]byte, body))
	origins := make([]core.Message, 50)
	for i := 0; i < n; i += len(origins) {
		slots <- struct{}{}
		set := l.Begin()
		for k := range origins {
			q.Add(set, core.Seq(i+k), m, &origins[k])
		}
		set.Close(func(err error) {
			if err != nil {
				panic(err)
			}
			<-slots
		})
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
}

// BenchmarkPublish10 stores one message in ten queues at once.
func BenchmarkPublish10(b *testing.B) {
	l := openLog(b, vfs.OS, filepath.Join(b.TempDir(), "log"), persist.LogOptions{})
	defer l.Close()
	queues := make([]core.QueueLog, 10)
	for i := range queues {
		queues[i] = l.OpenQueue(core.QueueID(i))
	}
	m := persisttest.NewMessage(make([]byte, 1024))
	origins := make([]core.Message, 10)
	slots := make(chan struct{}, 80)
	b.ReportAllocs()
	s := core.Seq(0)
	for b.Loop() {
		slots <- struct{}{}
		set := l.Begin()
		for _, q := range queues {
			for k := range origins {
				q.Add(set, s+core.Seq(k), m, &origins[k])
			}
		}
		set.Close(func(error) { <-slots })
		if s += core.Seq(len(origins)); s%5000 == 0 {
			for _, q := range queues {
				q.Purge(0, s-1000, nil)
			}
		}
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
	b.ReportMetric(float64(b.N*len(origins))/b.Elapsed().Seconds(), "msgs/s")
}

// BenchmarkRead drains a queue whose messages are on disk, 512 at a time, and
// settles them.
func BenchmarkRead(b *testing.B) {
	for _, body := range []int{128, 1024} {
		b.Run(fmt.Sprintf("body=%d", body), func(b *testing.B) {
			l := openLog(b, vfs.OS, filepath.Join(b.TempDir(), "log"), persist.LogOptions{})
			defer l.Close()
			const n = 400_000
			b.SetBytes(int64(body))
			b.ReportAllocs()
			b.StopTimer()
			seqs := make([]core.Seq, 512)
			for at, id := b.N, core.QueueID(1); at > 0; at, id = at-n, id+1 {
				fill(l, id, n, body)
				q := l.OpenQueue(id)
				b.StartTimer()
				for s := 0; s < min(at, n); s += len(seqs) {
					seqs := seqs[:min(len(seqs), n-s)]
					for k := range seqs {
						seqs[k] = core.Seq(s + k)
					}
					l.Read(id, seqs, func(_ int, m *core.Message, err error) {
						if err != nil || len(m.Body) != body {
							panic(err)
						}
					})
					q.Settle(seqs)
				}
				b.StopTimer()
				q.Drop()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

// BenchmarkPurge lets go of a million messages; ms/purge is the call, ms/durable
// is until it is on disk. The rest of an op is filling the queue.
func BenchmarkPurge(b *testing.B) {
	l := openLog(b, vfs.OS, filepath.Join(b.TempDir(), "log"), persist.LogOptions{})
	defer l.Close()
	const n = 1_000_000
	var call, durable time.Duration
	for i := range b.N {
		fill(l, core.QueueID(i), n, 16)
		q := l.OpenQueue(core.QueueID(i))
		start := time.Now()
		q.Purge(0, n, nil)
		call += time.Since(start)
		persisttest.Store(b, l, q, func(core.Seq) []byte { return nil }, n)
		durable += time.Since(start)
	}
	b.ReportMetric(call.Seconds()*1000/float64(b.N), "ms/purge")
	b.ReportMetric(durable.Seconds()*1000/float64(b.N), "ms/durable")
}
