package meta_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"leveret/core"
	"leveret/persist/meta"
	"leveret/persist/persisttest"
	"leveret/persist/vfs"
	"leveret/persist/vfs/faultfs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func appendToFile(t testing.TB, dir string, b []byte) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, meta.FileName), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.Write(b)
	must(t, errors.Join(err, f.Close()))
}

func global(name, value string) core.Change {
	return core.Change{Kind: core.DefGlobal, Key: []string{name}, Was: core.AnyRevision, Value: core.GlobalDef{Name: name, Value: value}}
}

func away(name string) core.Change {
	return core.Change{Kind: core.DefGlobal, Key: []string{name}, Was: core.AnyRevision}
}

// globals returns all global parameters that the watch reports.
func globals(t testing.TB, s *meta.Store) map[string]string {
	t.Helper()
	out := make(map[string]string)
	must(t, s.Watch(func(changes []core.Change) {
		for _, c := range changes {
			if g, ok := c.Value.(core.GlobalDef); ok {
				out[c.Key[0]] = g.Value
			}
		}
	}))
	return out
}

// eventually waits until ok is true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long until %s", what)
		}
	}
}

func TestWatchReplaysInOrderOfKinds(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, meta.Options{})
	examples := persisttest.Examples()
	for i := range examples {
		must(t, s.Commit([]core.Change{examples[len(examples)-1-i]}))
	}
	fill(t, s, 3000, 5000)
	must(t, s.Close())

	s = open(t, dir, meta.Options{})
	var last core.DefinitionKind
	n := 0
	seen := make(map[core.DefinitionKind]any)
	must(t, s.Watch(func(changes []core.Change) {
		for _, c := range changes {
			if c.Kind < last {
				t.Fatalf("kind %d after %d", c.Kind, last)
			}
			last = c.Kind
			n++
			for _, e := range examples {
				if e.Kind == c.Kind && reflect.DeepEqual(e.Key, c.Key) {
					seen[c.Kind] = c.Value
				}
			}
		}
	}))
	if n != len(examples)+8000 {
		t.Errorf("%d definitions", n)
	}
	for _, e := range examples {
		if !reflect.DeepEqual(seen[e.Kind], e.Value) {
			t.Errorf("kind %d:\nstored %+v\nread   %+v", e.Kind, e.Value, seen[e.Kind])
		}
	}
	if err := s.Watch(func([]core.Change) {}); err == nil {
		t.Error("watched twice")
	}
}

func TestTransientIsGoneAfterRestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, meta.Options{})
	transient := func(c core.Change) core.Change { c.Transient = true; return c }
	must(t, s.Commit([]core.Change{global("a", "durable"), transient(global("b", "transient"))}))
	must(t, s.Commit([]core.Change{global("c", "durable")}))
	must(t, s.Commit([]core.Change{transient(global("c", "now transient"))}))
	must(t, s.Commit([]core.Change{global("d", "durable")}))
	must(t, s.Commit([]core.Change{transient(away("d"))}))
	must(t, s.Commit([]core.Change{transient(global("e", "transient"))}))
	must(t, s.Commit([]core.Change{global("e", "now durable")}))
	must(t, s.Close())
	must(t, s.Close())
	if err := s.Commit([]core.Change{global("f", "")}); !errors.Is(err, meta.ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}

	s = open(t, dir, meta.Options{})
	want := map[string]string{"a": "durable", "e": "now durable"}
	if got := globals(t, s); !maps.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
}

func TestQueueIDsAreNotUsedAgainAfterRestart(t *testing.T) {
	dir := t.TempDir()
	var last core.QueueID
	for round := range 5 {
		s := open(t, dir, meta.Options{})
		for range 700 {
			id, err := s.NextQueueID()
			must(t, err)
			if id <= last {
				t.Fatalf("round %d: id %d after %d", round, id, last)
			}
			last = id
		}
		if round == 2 {
			must(t, s.Shrink())
		}
		// Whatever a crash leaves of the file's end.
		must(t, s.Close())
	}
	if last > 5*2048 {
		t.Errorf("id %d after 3500 queues", last)
	}
}

// Committers that come while a group is synced share the next sync.
func TestCommittersShareASync(t *testing.T) {
	in := faultfs.Inject(vfs.OS)
	s, err := meta.Open(in, t.TempDir(), meta.Options{})
	must(t, err)
	defer s.Close()
	var applied atomic.Int32
	must(t, s.Watch(func([]core.Change) { applied.Add(1) }))

	release := make(chan struct{})
	entered := make(chan struct{}, 100)
	in.SetBefore(func(op faultfs.Op, _ string) {
		if op == faultfs.OpSync {
			entered <- struct{}{}
			<-release
		}
	})
	before := in.Count(faultfs.OpSync)
	const committers = 64
	var all sync.WaitGroup
	commit := func(i int) {
		all.Go(func() {
			if err := s.Commit([]core.Change{global(fmt.Sprint(i), "")}); err != nil {
				t.Error(err)
			}
		})
	}
	commit(0)
	<-entered
	for i := 1; i < committers; i++ {
		commit(i)
	}
	eventually(t, "all are queued", func() bool { return s.Queued() == committers-1 })
	if n := applied.Load(); n != 0 {
		t.Errorf("the watch saw %d commits before their sync", n)
	}
	if v, _, _ := s.Get(core.DefGlobal, []string{"0"}); v != nil {
		t.Error("Get shows what is not synced")
	}
	// What needs no disk does not wait for it.
	temporary := global("t", "")
	temporary.Transient = true
	must(t, s.Commit([]core.Change{temporary}))
	close(release)
	all.Wait()
	if n := in.Count(faultfs.OpSync) - before; n != 2 {
		t.Errorf("%d syncs for %d commits", n, committers)
	}
	if n := applied.Load(); n != committers+1 {
		t.Errorf("the watch saw %d commits", n)
	}
}

// A conflict with a commit that is being synced is reported once its outcome is known.
func TestConflictWaitsForTheCommitItLostTo(t *testing.T) {
	in := faultfs.Inject(vfs.OS)
	s, err := meta.Open(in, t.TempDir(), meta.Options{})
	must(t, err)
	defer s.Close()
	release, entered := make(chan struct{}), make(chan struct{}, 10)
	in.SetBefore(func(op faultfs.Op, _ string) {
		if op == faultfs.OpSync {
			entered <- struct{}{}
			<-release
		}
	})
	first := global("a", "1")
	first.Was = 0
	done := make(chan error, 2)
	go func() { done <- s.Commit([]core.Change{first}) }()
	<-entered
	lost := make(chan any, 1)
	go func() {
		second := global("a", "2")
		second.Was = 0
		err := s.Commit([]core.Change{second})
		v, _, _ := s.Get(core.DefGlobal, []string{"a"})
		lost <- v
		done <- err
	}()
	close(release)
	errs := []error{<-done, <-done}
	if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), core.ErrConflict) {
		t.Fatalf("%v", errs)
	}
	if v := <-lost; v == nil {
		t.Fatal("who lost could not read what it lost to")
	}
}

// A failed sync confirms nothing, and nothing is stored from then on.
func TestFailedSyncPoisons(t *testing.T) {
	dir := t.TempDir()
	in := faultfs.Inject(vfs.OS)
	s, err := meta.Open(in, dir, meta.Options{})
	must(t, err)
	must(t, s.Commit([]core.Change{global("a", "1"), global("b", "1")}))
	seen := 0
	must(t, s.Watch(func([]core.Change) { seen++ }))
	seen = 0
	in.Add(faultfs.Fault{Op: faultfs.OpSync})
	if err := s.Commit([]core.Change{global("a", "2"), away("b")}); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Commit with a failed sync: %v", err)
	}
	if err := s.Commit([]core.Change{global("c", "1")}); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Commit after that: %v", err)
	}
	temporary := global("t", "")
	temporary.Transient = true
	if err := s.Commit([]core.Change{temporary}); !errors.Is(err, syscall.EIO) {
		t.Fatalf("transient Commit after that: %v", err)
	}
	if _, err := s.NextQueueID(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("NextQueueID after that: %v", err)
	}
	for _, name := range []string{"a", "b"} {
		if v, _, err := s.Get(core.DefGlobal, []string{name}); err != nil || v.(core.GlobalDef).Value != "1" {
			t.Fatalf("%s is %v, %v", name, v, err)
		}
	}
	if seen != 0 {
		t.Fatalf("the watch saw %d", seen)
	}
	s.Close()

	s = open(t, dir, meta.Options{})
	got := globals(t, s)
	if want := (map[string]string{"a": "1", "b": "1"}); !maps.Equal(got, want) && !maps.Equal(got, map[string]string{"a": "2"}) {
		t.Fatalf("after the restart: %v", got)
	}
}

// A write that fails poisons too, unless the disk is full.
func TestFailedWritePoisons(t *testing.T) {
	s := open(t, t.TempDir(), meta.Options{})
	s.SetBeforeWrite(func() error { return syscall.EIO })
	if err := s.Commit([]core.Change{global("a", "1")}); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	s.SetBeforeWrite(nil)
	if err := s.Commit([]core.Change{global("a", "1")}); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
}

// On a full disk nothing new is stored, deletions are, and it ends by itself.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	in := faultfs.Inject(vfs.OS)
	now := time.Unix(1e9, 0)
	s, err := meta.Open(in, dir, meta.Options{Now: func() time.Time { return now }})
	must(t, err)
	must(t, s.Commit([]core.Change{global("a", "1")}))
	must(t, s.Commit([]core.Change{global("b", "1")}))

	// Writes fail until the ballast is gone; it cannot be made again.
	ballast := filepath.Join(dir, meta.BallastName)
	s.SetBeforeWrite(func() error {
		if _, err := os.Stat(ballast); err == nil {
			return fmt.Errorf("write: %w", syscall.ENOSPC)
		}
		return nil
	})
	in.Add(faultfs.Fault{Op: faultfs.OpPreallocate, For: 2, Err: syscall.ENOSPC})
	must(t, s.Commit([]core.Change{global("c", "1")})) // It was accepted before.
	if !s.Full() {
		t.Fatal("not seen that the disk is full")
	}
	for range 3 {
		if err := s.Commit([]core.Change{global("d", "1")}); !errors.Is(err, meta.ErrDiskFull) {
			t.Fatalf("new definition on a full disk: %v", err)
		}
		now = now.Add(900 * time.Millisecond)
	}
	must(t, s.Commit([]core.Change{away("a")}))
	must(t, s.Commit([]core.Change{away("b"), away("c")}))
	temporary := global("t", "")
	temporary.Transient = true
	must(t, s.Commit([]core.Change{temporary}))

	s.SetBeforeWrite(nil)
	for i := 0; ; i++ {
		now = now.Add(2 * time.Second)
		err := s.Commit([]core.Change{global("d", "1")})
		if err == nil {
			break
		}
		if !errors.Is(err, meta.ErrDiskFull) || i > 5 {
			t.Fatal(err)
		}
	}
	must(t, s.Close())
	s = open(t, dir, meta.Options{})
	if got := globals(t, s); !maps.Equal(got, map[string]string{"d": "1"}) {
		t.Fatalf("%v", got)
	}
}

// If not even the ballast helps, a commit fails whole and the store goes on.
func TestFullDiskWithoutBallast(t *testing.T) {
	for failing := 1; failing <= 2; failing++ {
		dir := t.TempDir()
		now := time.Unix(1e9, 0)
		s, err := meta.Open(vfs.OS, dir, meta.Options{BallastBytes: -1, Now: func() time.Time { return now }})
		must(t, err)
		must(t, s.Commit([]core.Change{global("a", "1"), global("b", "1")}))
		_, was, err := s.Get(core.DefGlobal, []string{"a"})
		must(t, err)
		writes := 0
		s.SetBeforeWrite(func() error {
			if writes++; writes == failing { // The intent, or the changes.
				return syscall.ENOSPC
			}
			return nil
		})
		if err := s.Commit([]core.Change{global("a", "2"), away("b")}); !errors.Is(err, meta.ErrDiskFull) {
			t.Fatal(err)
		}
		s.SetBeforeWrite(nil)
		if v, revision, err := s.Get(core.DefGlobal, []string{"a"}); err != nil || revision != was || v.(core.GlobalDef).Value != "1" {
			t.Fatalf("a is %v, %d, %v", v, revision, err)
		}
		now = now.Add(time.Minute)
		must(t, s.Commit([]core.Change{global("c", "1")}))
		must(t, s.Close())
		s = open(t, dir, meta.Options{})
		if got := globals(t, s); !maps.Equal(got, map[string]string{"a": "1", "b": "1", "c": "1"}) {
			t.Fatalf("transaction %d failing: %v", failing, got)
		}
	}
}

func TestClearErrorsOfOpen(t *testing.T) {
	t.Run("a second opener", func(t *testing.T) {
		dir := t.TempDir()
		open(t, dir, meta.Options{})
		var locked *vfs.LockedError
		if _, err := meta.Open(vfs.OS, dir, meta.Options{}); !errors.As(err, &locked) || !strings.Contains(err.Error(), "process") {
			t.Fatalf("%v", err)
		}
	})
	t.Run("a later format", func(t *testing.T) {
		dir := t.TempDir()
		b := meta.AppendSet(nil, meta.FormatKey, meta.Seal(meta.FormatKey, []byte{2, 99}))
		must(t, os.WriteFile(filepath.Join(dir, meta.FileName), b, 0o600))
		_, err := meta.Open(vfs.OS, dir, meta.Options{})
		if !errors.Is(err, meta.ErrNewerFormat) || !strings.Contains(err.Error(), dir) {
			t.Fatalf("%v", err)
		}
		if got, _ := os.ReadFile(filepath.Join(dir, meta.FileName)); string(got) != string(b) {
			t.Fatal("the file has been changed")
		}
	})
	t.Run("a foreign file", func(t *testing.T) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, meta.FileName), []byte("my thesis"), 0o600))
		if _, err := meta.Open(vfs.OS, dir, meta.Options{}); err == nil || !strings.Contains(err.Error(), "not a file of definitions") {
			t.Fatalf("%v", err)
		}
		if got, _ := os.ReadFile(filepath.Join(dir, meta.FileName)); string(got) != "my thesis" {
			t.Fatal("the file has been changed")
		}
	})
	t.Run("a read-only directory", func(t *testing.T) {
		in := faultfs.Inject(vfs.OS)
		in.Add(faultfs.Fault{Op: faultfs.OpLock, Err: syscall.EROFS})
		dir := t.TempDir()
		if _, err := meta.Open(in, dir, meta.Options{}); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), dir) {
			t.Fatalf("%v", err)
		}
	})
	t.Run("a directory that is a file", func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "file")
		must(t, os.WriteFile(name, nil, 0o600))
		if _, err := meta.Open(vfs.OS, name, meta.Options{}); !errors.Is(err, syscall.ENOTDIR) {
			t.Fatalf("%v", err)
		}
	})
}

// Any single operation of the file system may fail: Open, Commit and Shrink
// say so or succeed, and nothing that was confirmed is lost.
func TestEveryOperationMayFail(t *testing.T) {
	for _, op := range faultfs.Ops {
		t.Run(string(op), func(t *testing.T) {
			for nth := 1; ; nth++ {
				dir := t.TempDir()
				in := faultfs.Inject(vfs.OS)
				want := map[string]string{"a": "1"}
				s := open(t, dir, meta.Options{})
				must(t, s.Commit([]core.Change{global("a", "1")}))
				must(t, s.Close())

				in.Add(faultfs.Fault{Op: op, Nth: nth, Match: func(string) bool { return true }})
				before := in.Count(op)
				maybe := ""
				if s, err := meta.Open(in, dir, meta.Options{}); err == nil {
					if s.Commit([]core.Change{global("b", "1")}) == nil {
						want["b"] = "1"
					} else {
						maybe = "b"
					}
					if nth%4 == 1 { // It takes a quarter of a second.
						_ = s.Shrink()
					}
					if s.Commit([]core.Change{global("c", "1"), away("a")}) == nil {
						delete(want, "a")
						want["c"] = "1"
					} else if maybe == "" {
						maybe = "c"
					}
					_ = s.Snapshot(filepath.Join(dir, "copy"))
					_ = s.Close()
				}
				reached := in.Count(op)-before >= nth
				s = open(t, dir, meta.Options{})
				got := globals(t, s)
				if maybe == "c" && got["c"] == "1" {
					delete(want, "a")
				}
				if maybe != "" && got[maybe] == "1" {
					want[maybe] = "1"
				}
				if !maps.Equal(got, want) {
					t.Fatalf("failing %d: %v, want %v", nth, got, want)
				}
				must(t, s.Close())
				if !reached {
					return
				}
			}
		})
	}
}

// Shrink makes the file small while commits go on, and loses none.
func TestShrinkUnderLoad(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, meta.Options{ShrinkMinBytes: -1})
	for i := range 300 {
		changes := []core.Change{global("churn", strings.Repeat("x", 1000))}
		if i%3 == 0 {
			changes = append(changes, away(fmt.Sprint("gone", i-3)), global(fmt.Sprint("gone", i), "1"))
		}
		must(t, s.Commit(changes))
	}
	before := s.FileSize()
	stop := make(chan struct{})
	counts := make([]int, 4)
	var writers sync.WaitGroup
	for w := range counts {
		writers.Go(func() {
			for ; ; counts[w]++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprint("w", w, "-", counts[w])
				if err := s.Commit([]core.Change{global(name, "1"), away(fmt.Sprint("w", w, "-", counts[w]-5))}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 2 {
		must(t, s.Shrink())
	}
	close(stop)
	writers.Wait()
	must(t, s.Shrink())
	if after := s.FileSize(); after >= before/10 {
		t.Errorf("%d bytes before, %d after", before, after)
	}
	must(t, s.Close())

	var damage []meta.Damage
	s = open(t, dir, meta.Options{OnDamage: func(d meta.Damage) { damage = append(damage, d) }})
	got := globals(t, s)
	want := map[string]string{"churn": strings.Repeat("x", 1000), "gone297": "1"}
	for w, n := range counts {
		for i := max(n-5, 0); i < n; i++ {
			want[fmt.Sprint("w", w, "-", i)] = "1"
		}
	}
	if !maps.Equal(got, want) || len(damage) > 0 {
		t.Fatalf("%d definitions, want %d; damage %v", len(got), len(want), damage)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 3 {
		t.Errorf("left in the directory: %v", names)
	}
}

// At every step of a Shrink the power may fail. While the former file has its
// second name nothing is known of the new one.
func TestPowerCutDuringShrink(t *testing.T) {
	dir := t.TempDir()
	in := faultfs.Inject(vfs.OS)
	s, err := meta.Open(in, dir, meta.Options{})
	must(t, err)
	want := make(map[string]string)
	for i := range 50 {
		must(t, s.Commit([]core.Change{global("a", fmt.Sprint(i)), global(fmt.Sprint("k", i), "1")}))
		want["a"], want[fmt.Sprint("k", i)] = fmt.Sprint(i), "1"
	}
	crashes := t.TempDir()
	n := 0
	image := func(spoil bool) {
		n++
		to := filepath.Join(crashes, fmt.Sprint(n))
		must(t, os.Mkdir(to, 0o700))
		_, prevErr := os.Stat(filepath.Join(dir, meta.PrevName))
		for _, name := range []string{meta.FileName, meta.PrevName, meta.FileName + ".tmp"} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			must(t, err)
			if spoil && prevErr == nil && name != meta.PrevName {
				clear(b[len(b)/2:])
			}
			must(t, os.WriteFile(filepath.Join(to, name), b, 0o600))
		}
	}
	in.SetBefore(func(op faultfs.Op, _ string) {
		switch op {
		case faultfs.OpLink, faultfs.OpSyncDir, faultfs.OpSync, faultfs.OpRemove, faultfs.OpOpen:
			image(false)
			image(true)
		}
	})
	must(t, s.Shrink())
	in.SetBefore(nil)
	image(false)
	must(t, s.Close())
	if n < 10 {
		t.Fatalf("%d images", n)
	}
	for i := 1; i <= n; i++ {
		s := open(t, filepath.Join(crashes, fmt.Sprint(i)), meta.Options{BallastBytes: -1})
		if got := globals(t, s); !maps.Equal(got, want) {
			t.Fatalf("image %d: %d definitions, want %d", i, len(got), len(want))
		}
		must(t, s.Close())
	}
}

func TestShrinkByItself(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, meta.Options{ShrinkMinBytes: 100_000, BallastBytes: -1})
	for i := range 300 {
		must(t, s.Commit([]core.Change{global("a", strings.Repeat(fmt.Sprint(i%10), 1000))}))
	}
	must(t, s.Close()) // Waits for it.
	info, err := os.Stat(filepath.Join(dir, meta.FileName))
	must(t, err)
	if info.Size() > 250_000 {
		t.Fatalf("%d bytes", info.Size())
	}
	s = open(t, dir, meta.Options{BallastBytes: -1})
	if got := globals(t, s); got["a"] != strings.Repeat("9", 1000) {
		t.Fatalf("%.20s", got["a"])
	}
}

// A copy of a running store holds everything confirmed before, and no half commit.
func TestSnapshotOfRunningStore(t *testing.T) {
	s := open(t, t.TempDir(), meta.Options{})
	var confirmed atomic.Int64
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := int64(1); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := s.Commit([]core.Change{global("a", fmt.Sprint(i)), global("b", fmt.Sprint(i))}); err != nil {
				t.Error(err)
				return
			}
			confirmed.Store(i)
		}
	})
	for range 5 {
		dst := filepath.Join(t.TempDir(), "copy")
		least := confirmed.Load()
		eventually(t, "something is committed", func() bool { return confirmed.Load() > least })
		least = confirmed.Load()
		must(t, s.Snapshot(dst))
		if err := s.Snapshot(dst); !errors.Is(err, fs.ErrExist) {
			t.Fatalf("second copy to the same place: %v", err)
		}
		c := open(t, dst, meta.Options{BallastBytes: -1, OnDamage: func(d meta.Damage) { t.Error(d.String()) }})
		got := globals(t, c)
		var n int64
		fmt.Sscan(got["a"], &n)
		if got["a"] != got["b"] || n < least {
			t.Fatalf("a is %s, b is %s, %d were confirmed", got["a"], got["b"], least)
		}
		must(t, c.Close())
	}
	close(stop)
	writer.Wait()
}
