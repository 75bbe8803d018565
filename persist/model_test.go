package persist_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"leveret/core"
	"leveret/persist"
	"leveret/persist/persisttest"
	"leveret/persist/vfs"
)

// modelQueue is a queue and what ought to be in it.
type modelQueue struct {
	mu   sync.Mutex
	id   core.QueueID
	log  core.QueueLog
	next core.Seq
	live map[core.Seq][]byte
	gone bool
}

// TestModel does random things from several goroutines, some of it to the same
// queues, and compares the log with maps each time it is opened again.
func TestModel(t *testing.T) {
	rounds, steps := 6, 150
	if testing.Short() {
		rounds = 2
	}
	if *long {
		rounds, steps = 60, 600
	}
	const seed = 11
	dir := filepath.Join(t.TempDir(), "log")
	o := persist.LogOptions{SegmentBytes: 256 << 10}
	queues := make(map[core.QueueID]*modelQueue)
	var nextID core.QueueID
	for round := range rounds {
		l := openLog(t, vfs.OS, dir, o)
		got := persisttest.Recover(t, l, nil)
		for id, q := range queues {
			if q.gone {
				if len(got.Seqs(id, 0)) != 0 {
					t.Fatalf("round %d: queue %d was dropped", round, id)
				}
				delete(queues, id)
				continue
			}
			want := slices.Sorted(maps.Keys(q.live))
			if !slices.Equal(got.Seqs(id, 0), want) {
				t.Fatalf("round %d, seed %d: queue %d holds %v, want %v", round, seed, id, got.Seqs(id, 0), want)
			}
			persisttest.CheckBodies(t, l, id, func(s core.Seq) []byte { return q.live[s] }, want)
			if q.next > 0 && got[id][0].Next > q.next {
				t.Fatalf("round %d: queue %d goes on at %d, want %d", round, id, got[id][0].Next, q.next)
			}
			q.log = l.OpenQueue(id)
		}
		for len(queues) < 5 {
			queues[nextID] = &modelQueue{id: nextID, log: l.OpenQueue(nextID), live: make(map[core.Seq][]byte)}
			nextID++
		}
		list := slices.Collect(maps.Values(queues))
		slices.SortFunc(list, func(a, b *modelQueue) int { return int(a.id) - int(b.id) })
		var all sync.WaitGroup
		for g := range 4 {
			all.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(round*10+g)))
				for range steps {
					modelStep(t, l, rng, list)
				}
			})
		}
		all.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if r, err := persist.Check(vfs.OS, dir); err != nil || !r.Sound() {
			t.Fatalf("round %d: check: %+v, %v", round, r, err)
		}
	}
}

func modelStep(t *testing.T, l *persist.Log, rng *rand.Rand, queues []*modelQueue) {
	q := queues[rng.IntN(len(queues))]
	switch n := rng.IntN(100); {
	case n < 40:
		modelPublish(t, l, rng, queues)
	case n < 55:
		modelMove(t, l, rng, q, queues)
	case n < 90:
		q.mu.Lock()
		defer q.mu.Unlock()
		var seqs []core.Seq
		for s := range q.live {
			if len(seqs) == 40 {
				break
			}
			seqs = append(seqs, s)
		}
		if rng.IntN(2) == 0 {
			slices.Sort(seqs)
		}
		for _, s := range seqs {
			delete(q.live, s)
		}
		if !q.gone {
			q.log.Settle(seqs)
		}
	case n < 93:
		q.mu.Lock()
		defer q.mu.Unlock()
		var survivors []core.Seq
		for s := range q.live {
			if rng.IntN(3) == 0 {
				survivors = append(survivors, s)
			} else {
				delete(q.live, s)
			}
		}
		slices.Sort(survivors)
		if !q.gone {
			q.log.Purge(0, q.next, survivors)
		}
	case n == 93:
		q.mu.Lock()
		defer q.mu.Unlock()
		if !q.gone && rng.IntN(8) == 0 {
			q.gone = true
			clear(q.live)
			q.log.Drop()
		}
	default:
		modelRead(t, l, q)
	}
}

func modelPublish(t *testing.T, l *persist.Log, rng *rand.Rand, queues []*modelQueue) {
	set := l.Begin()
	ms := make([]*core.Message, 1+rng.IntN(10))
	for i := range ms {
		body := make([]byte, rng.IntN(3000))
		for k := range body {
			body[k] = byte(rng.Uint32())
		}
		ms[i] = persisttest.NewMessage(body)
	}
	for _, q := range queues {
		if rng.IntN(3) == 0 {
			continue
		}
		q.mu.Lock()
		for _, m := range ms {
			if q.gone {
				break
			}
			q.log.Add(set, q.next, m, m)
			q.live[q.next] = m.Body
			q.next++
			if rng.IntN(4) == 0 { // Consumed at once.
				s := q.next - 1
				delete(q.live, s)
				q.log.Settle([]core.Seq{s})
			}
		}
		q.mu.Unlock()
	}
	done := make(chan error, 1)
	set.Close(func(err error) { done <- err })
	if rng.IntN(2) == 0 {
		if err := <-done; err != nil {
			t.Errorf("set: %v", err)
		}
	}
}

// modelMove moves messages from q to another queue. Somebody else may purge or
// drop either meanwhile, but only once the set is complete.
func modelMove(t *testing.T, l *persist.Log, rng *rand.Rand, q *modelQueue, queues []*modelQueue) {
	to := queues[rng.IntN(len(queues))]
	if to == q {
		return
	}
	first, second := q, to
	if to.id < q.id {
		first, second = to, q
	}
	first.mu.Lock()
	defer first.mu.Unlock()
	second.mu.Lock()
	defer second.mu.Unlock()
	if q.gone || to.gone {
		return
	}
	set := l.Begin()
	var seqs []core.Seq
	for s, body := range q.live {
		if len(seqs) == 10 {
			break
		}
		seqs = append(seqs, s)
		m := persisttest.NewMessage(body)
		to.log.Add(set, to.next, m, m)
		to.live[to.next] = m.Body
		to.next++
		delete(q.live, s)
	}
	q.log.SettleIn(set, seqs)
	done := make(chan error, 1)
	set.Close(func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Errorf("set: %v", err)
	}
}

// modelRead reads what is certainly written: Written says so.
func modelRead(t *testing.T, l *persist.Log, q *modelQueue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return
	}
	written := q.log.Written(0)
	var seqs []core.Seq
	for s := range q.live {
		if s < written && len(seqs) < 50 {
			seqs = append(seqs, s)
		}
	}
	slices.Sort(seqs)
	l.Read(q.id, seqs, func(i int, m *core.Message, err error) {
		if err != nil {
			t.Errorf("queue %d: message %d: %v", q.id, seqs[i], err)
		} else if !slices.Equal(m.Body, q.live[seqs[i]]) {
			t.Errorf("queue %d: message %d has the wrong body", q.id, seqs[i])
		}
	})
}

// TestReadBesideCompaction reads all the time while most of what is stored is
// settled, so that segments are compacted, removed and recycled.
func TestReadBesideCompaction(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openLog(t, vfs.OS, dir, persist.LogOptions{SegmentBytes: 64 << 10})
	q := l.OpenQueue(1)
	body := func(s core.Seq) []byte { return slices.Repeat([]byte{byte(s), byte(s >> 8)}, 200) }
	var mu sync.Mutex
	kept := make([]core.Seq, 0, 1000)
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			mu.Lock()
			seqs := slices.Clone(kept)
			mu.Unlock()
			l.Read(1, seqs, func(i int, m *core.Message, err error) {
				if err != nil {
					t.Errorf("message %d: %v", seqs[i], err)
				} else if !slices.Equal(m.Body, body(seqs[i])) {
					t.Errorf("message %d has the wrong body", seqs[i])
				}
			})
		}
	})
	for n := core.Seq(0); n < 20_000; n += 50 {
		seqs := make([]core.Seq, 50)
		for i := range seqs {
			seqs[i] = n + core.Seq(i)
		}
		persisttest.Store(t, l, q, body, seqs...)
		mu.Lock()
		kept = append(kept, seqs[7], seqs[31])
		mu.Unlock()
		q.Settle(slices.DeleteFunc(seqs, func(s core.Seq) bool { return s%50 == 7 || s%50 == 31 }))
	}
	// 800 messages of 400 bytes in segments of 64 KB, and what is prepared.
	deadline := time.After(persisttest.Deadline)
	for segments := 1000; segments > 40; {
		names, err := vfs.OS.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		segments = len(slices.DeleteFunc(names, func(s string) bool { return filepath.Ext(s) != ".seg" }))
		select {
		case <-deadline:
			t.Fatalf("%d segments for 400 KB", segments)
		case <-time.After(10 * time.Millisecond):
		}
	}
	close(stop)
	reader.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, vfs.OS, dir, persist.LogOptions{SegmentBytes: 64 << 10})
	defer l.Close()
	if got := persisttest.Recover(t, l, nil).Seqs(1, 0); !slices.Equal(got, kept) {
		t.Fatalf("%d messages are left of %d", len(got), len(kept))
	}
	persisttest.CheckBodies(t, l, 1, body, kept)
	l.Read(1, []core.Seq{1}, func(_ int, _ *core.Message, err error) {
		if !errors.Is(err, persist.ErrNotStored) {
			t.Fatalf("reading a settled message: %v", err)
		}
	})
}
