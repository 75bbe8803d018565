package persist_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"leveret/core"
	"leveret/persist"
	"leveret/persist/persisttest"
	"leveret/persist/vfs"
)

// killDir makes the test binary the process that TestKill kills.
const killDir = "LEVERET_TEST_KILL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		victim(dir)
	}
	if dir := os.Getenv(reopenDir); dir != "" {
		reopened(dir)
		return
	}
	os.Exit(m.Run())
}

var killOptions = persist.LogOptions{SegmentBytes: 1 << 20, Logger: quiet}

const killQueues = 2

// victim publishes and settles until it is killed. On standard output it tells
// what it was promised, C for a message that is complete, and what it is about
// to do, A for one that it is about to settle.
func victim(dir string) {
	l, err := persist.OpenLog(vfs.OS, dir, killOptions)
	if err != nil {
		panic(err)
	}
	var next [killQueues]core.Seq
	var mu [killQueues]sync.Mutex
	var live [killQueues][]core.Seq
	err = l.Recover(func(core.QueueID) bool { return true }, func(r core.RecoveredLevel) error {
		next[r.Queue] = r.Next
		for _, e := range r.Entries {
			live[r.Queue] = append(live[r.Queue], e.Seq)
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	queues := [killQueues]core.QueueLog{l.OpenQueue(0), l.OpenQueue(1)}
	var out sync.Mutex
	tell := func(what byte, q int, seqs ...core.Seq) {
		var b []byte
		for _, s := range seqs {
			b = append(b, what, byte(q))
			b = binary.LittleEndian.AppendUint64(b, uint64(s))
		}
		out.Lock()
		defer out.Unlock()
		os.Stdout.Write(b)
	}
	for p := range 4 {
		go func() { // Ends with the process.
			rng := rand.New(rand.NewPCG(rand.Uint64(), uint64(p)))
			slots := make(chan struct{}, 8)
			for {
				slots <- struct{}{}
				set := l.Begin()
				var mine [killQueues][]core.Seq
				for range 1 + rng.IntN(10) {
					var origin core.Message
					for q := range queues {
						if q == 1 && rng.IntN(2) == 0 {
							continue
						}
						mu[q].Lock()
						s := next[q]
						next[q]++
						queues[q].Add(set, s, persisttest.NewMessage(killBody(q, s)), &origin)
						live[q] = append(live[q], s)
						mine[q] = append(mine[q], s)
						mu[q].Unlock()
						break
					}
				}
				set.Close(func(err error) {
					for q := range queues {
						if err == nil {
							tell('C', q, mine[q]...)
						}
					}
					<-slots
				})
			}
		}()
	}
	rng := rand.New(rand.NewPCG(rand.Uint64(), 9))
	for range time.Tick(time.Millisecond) {
		for q := range queues {
			mu[q].Lock()
			var seqs, left []core.Seq
			for _, s := range live[q] {
				// Out of order, and about 2 % are left for long.
				if s%50 != 7 && rng.IntN(3) > 0 || rng.IntN(2000) == 0 {
					seqs = append(seqs, s)
				} else {
					left = append(left, s)
				}
			}
			live[q] = left
			tell('A', q, seqs...)
			queues[q].Settle(seqs)
			mu[q].Unlock()
		}
	}
}

// killBody is a message's body, which tells whose it is.
func killBody(q int, s core.Seq) []byte {
	head := fmt.Appendf(nil, "%d/%d ", q, s)
	sum := crc32.ChecksumIEEE(head)
	return append(head, bytes.Repeat([]byte{byte(sum)}, int(sum%1500))...)
}

// TestKill kills a process that uses a log, again and again, and looks each
// time whether what it was promised is there.
func TestKill(t *testing.T) {
	rounds := 4
	if testing.Short() {
		rounds = 1
	}
	if *long {
		rounds = 100
	}
	dir := filepath.Join(t.TempDir(), "log")
	completed := make(map[[2]uint64]bool)
	for round := range rounds {
		settled := killOne(t, dir, completed, time.Duration(100+rand.IntN(700))*time.Millisecond)
		l := openLog(t, vfs.OS, dir, killOptions)
		if r := l.Opened(); !r.Sound() {
			t.Fatalf("round %d: %+v", round, r)
		}
		got := persisttest.Recover(t, l, nil)
		there := make(map[[2]uint64]bool)
		for q := range core.QueueID(killQueues) {
			seqs := got.Seqs(q, 0)
			persisttest.CheckBodies(t, l, q, func(s core.Seq) []byte { return killBody(int(q), s) }, seqs)
			for _, s := range seqs {
				there[[2]uint64{uint64(q), uint64(s)}] = true
			}
		}
		for m := range completed {
			if !there[m] && !settled[m] {
				t.Fatalf("round %d: message %d of queue %d was complete and is gone", round, m[1], m[0])
			}
		}
		completed = there // All of it is stored, whether that was told or not.
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if r, err := persist.Check(vfs.OS, dir); err != nil || !r.Sound() {
			t.Fatalf("round %d: check: %+v, %v", round, r, err)
		}
	}
	if len(completed) == 0 {
		t.Fatal("the victim did nothing")
	}
}

// killOne runs a victim for a while, adds what it was promised to completed and
// returns what it may have settled.
func killOne(t *testing.T, dir string, completed map[[2]uint64]bool, after time.Duration) (settled map[[2]uint64]bool) {
	t.Helper()
	settled = make(map[[2]uint64]bool)
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), killDir+"="+dir)
	c.Stderr = os.Stderr
	pipe, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(after, func() { c.Process.Kill() })
	in := bufio.NewReader(pipe)
	var b [10]byte
	for {
		if _, err := io.ReadFull(in, b[:]); err != nil {
			break
		}
		m := [2]uint64{uint64(b[1]), binary.LittleEndian.Uint64(b[2:])}
		if b[0] == 'C' {
			completed[m] = true
		} else {
			settled[m] = true
		}
	}
	if err := c.Wait(); c.ProcessState.ExitCode() != -1 {
		t.Fatalf("the victim ended by itself: %v", err)
	}
	return settled
}
