package meta_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"leveret/core"
	"leveret/persist/meta"
	"leveret/persist/vfs"
	"leveret/persist/vfs/faultfs"
)

// history is a file, and what it must hold wherever it ends.
type history struct {
	file   []byte
	ends   []int64             // Where each commit's group ended, synced.
	states []map[string]string // After each commit; states[0] is empty.
	nextID []core.QueueID      // After each commit, the last queue id given.
}

// record makes commits of all sorts and notes what each of them led to.
func record(t testing.TB, dir string, commits int) *history {
	t.Helper()
	s := open(t, dir, meta.Options{BallastBytes: -1, ShrinkMinBytes: -1})
	h := &history{states: []map[string]string{{}}, ends: []int64{s.SyncedSize()}, nextID: []core.QueueID{0}}
	rng := rand.New(rand.NewPCG(42, 0))
	state := map[string]string{}
	var last core.QueueID
	for i := range commits {
		var changes []core.Change
		for range 1 + rng.IntN(3)*rng.IntN(2) {
			name := fmt.Sprint("name-", rng.IntN(6))
			if rng.IntN(3) == 0 {
				changes = append(changes, away(name))
				delete(state, name)
				continue
			}
			value := strings.Repeat(fmt.Sprint(i, ","), 1+rng.IntN(4)*rng.IntN(60))
			changes = append(changes, global(name, value))
			state[name] = value
		}
		must(t, s.Commit(changes))
		if i == commits/2 {
			id, err := s.NextQueueID()
			must(t, err)
			last = id
		}
		h.ends = append(h.ends, s.SyncedSize())
		h.states = append(h.states, maps.Clone(state))
		h.nextID = append(h.nextID, last)
	}
	// As it is while the store is open: a crash, not a Close.
	var err error
	h.file, err = os.ReadFile(filepath.Join(dir, meta.FileName))
	must(t, err)
	must(t, s.Close())
	return h
}

// reopen opens a store on the content of a file and returns what it holds.
func reopen(t testing.TB, dir string, file []byte) (map[string]string, []meta.Damage, core.QueueID) {
	t.Helper()
	must(t, os.RemoveAll(dir))
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, meta.FileName), file, 0o600))
	checked := make(map[string]string)
	foreseen, err := meta.Check(vfs.OS, dir, func(c core.Change) { checked[c.Key[0]] = c.Value.(core.GlobalDef).Value })
	must(t, err)
	state, damage, id := openAndRead(t, dir)
	if !maps.Equal(checked, state) || len(foreseen) != len(damage) {
		t.Fatalf("Check found %v and %v, Open %v and %v", checked, foreseen, state, damage)
	}
	return state, damage, id
}

func openAndRead(t testing.TB, dir string) (map[string]string, []meta.Damage, core.QueueID) {
	t.Helper()
	var damage []meta.Damage
	s, err := meta.Open(vfs.OS, dir, meta.Options{BallastBytes: -1, OnDamage: func(d meta.Damage) { damage = append(damage, d) }})
	must(t, err)
	state := globals(t, s)
	id, err := s.NextQueueID()
	must(t, err)
	must(t, s.Close())
	return state, damage, id
}

// memoryDir returns a directory in memory where there is one: these tests open
// thousands of stores and do not cut the machine's power.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "leveret-meta-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func equalsOneOf(state map[string]string, states []map[string]string) bool {
	for _, s := range states {
		if maps.Equal(state, s) {
			return true
		}
	}
	return false
}

// Cut anywhere, a file holds each commit whole or not at all, in order, and
// all that ended before the cut.
func TestFileCutAtEveryByte(t *testing.T) {
	h := record(t, t.TempDir(), 12)
	dir := filepath.Join(memoryDir(t), "cut")
	done := 0
	for n := int(h.ends[0]); n <= len(h.file); n++ {
		for done+1 < len(h.ends) && h.ends[done+1] <= int64(n) {
			done++
		}
		state, damage, id := reopen(t, dir, h.file[:n])
		// Groups end with a record that is not needed, hence one more.
		if !equalsOneOf(state, h.states[done:min(done+2, len(h.states))]) {
			t.Fatalf("cut at %d, behind commit %d: %v", n, done, state)
		}
		if len(damage) > 0 {
			t.Fatalf("cut at %d: damage %v", n, damage)
		}
		if id <= h.nextID[done] {
			t.Fatalf("cut at %d: queue id %d again", n, id)
		}
	}
}

// After a power cut sectors of what was not synced are there or not, or are
// something else.
func TestPowerCut(t *testing.T) {
	h := record(t, t.TempDir(), 60)
	dir := filepath.Join(memoryDir(t), "cut")
	const seeds = 8
	for i := range len(h.ends) - 1 {
		synced, end := h.ends[i], h.ends[i+1]
		disk := faultfs.New(faultfs.Options{})
		f, err := disk.Create("/defs")
		must(t, err)
		for _, part := range [][]byte{h.file[:synced], h.file[synced:end]} {
			_, err = f.Write(part)
			must(t, err)
			if len(part) == int(synced) {
				must(t, errors.Join(f.Sync(), disk.SyncDir("/")))
			}
		}
		for seed := range uint64(seeds) {
			file, err := vfs.ReadFile(disk.Crash(seed), "/defs")
			must(t, err)
			state, _, id := reopen(t, dir, file)
			if !equalsOneOf(state, h.states[i:i+2]) {
				t.Fatalf("commit %d, seed %d: %v\nbefore %v\nafter  %v", i, seed, state, h.states[i], h.states[i+1])
			}
			if id <= h.nextID[i] {
				t.Fatalf("commit %d, seed %d: queue id %d again", i, seed, id)
			}
			again, damage, _ := openAndRead(t, dir)
			if !maps.Equal(again, state) || len(damage) > 0 {
				t.Fatalf("commit %d, seed %d: different when opened again: %v, damage %v", i, seed, again, damage)
			}
		}
	}
}

// A flipped bit anywhere makes no wrong value: a definition is as it was or
// missing and reported, and everything else is served. Bits behind the last
// mark cannot be told from an unfinished write: there all may be as before the
// last commit.
func TestFlippedBits(t *testing.T) {
	h := record(t, t.TempDir(), 40)
	dir := filepath.Join(memoryDir(t), "flip")
	final := h.states[len(h.states)-1]
	lastID := h.nextID[len(h.nextID)-1]
	rng := rand.New(rand.NewPCG(1, 1))
	missing, reported := 0, 0
	for n := 0; n < len(h.file); n++ {
		if n > 300 && n%5 != 0 && !bytes.Contains(h.file[n:min(n+20, len(h.file))], []byte("\r\n")) {
			continue // Inside long values they are all alike.
		}
		file := bytes.Clone(h.file)
		file[n] ^= 1 << rng.IntN(8)
		state, damage, id := reopen(t, dir, file)
		for name, value := range state {
			// The flip may have hit the key of a newer state or of a deletion: then
			// an older one comes back, and the damage is reported.
			if final[name] != value && (len(damage) == 0 || !h.had(name, value)) {
				t.Fatalf("bit flipped at %d: %s is %.50q, was %.50q; damage %v", n, name, value, final[name], damage)
			}
		}
		lost := len(final) - len(state)
		if lost > 1 || lost == 1 && len(damage) == 0 {
			t.Fatalf("bit flipped at %d: %d definitions are missing; damage %v", n, lost, damage)
		}
		missing += max(lost, 0)
		if id <= lastID {
			t.Fatalf("bit flipped at %d: queue id %d again", n, id)
		}
		if len(damage) == 0 {
			continue
		}
		reported++
		kept, err := os.ReadFile(damage[0].SideFile)
		must(t, err)
		d := damage[0]
		if !bytes.Contains(kept, file[d.Offset:d.Offset+d.Length]) {
			t.Fatalf("bit flipped at %d: %v is not in %s", n, d, d.SideFile)
		}
		again, damage, _ := openAndRead(t, dir)
		if !maps.Equal(again, state) || len(damage) > 0 {
			t.Fatalf("bit flipped at %d: different when opened again: %v, damage %v", n, again, damage)
		}
	}
	if missing == 0 || reported == 0 {
		t.Fatalf("%d missing, %d reported: the test tests nothing", missing, reported)
	}
}

// had reports whether name ever had value.
func (h *history) had(name, value string) bool {
	return slices.ContainsFunc(h.states, func(s map[string]string) bool { return s[name] == value })
}

// A sector that reads as zeros takes its records along and nothing else.
func TestLostSector(t *testing.T) {
	h := record(t, t.TempDir(), 60)
	dir := filepath.Join(memoryDir(t), "sector")
	for at := 0; at+faultfs.SectorBytes < len(h.file); at += faultfs.SectorBytes {
		file := bytes.Clone(h.file)
		clear(file[at:][:faultfs.SectorBytes])
		state, damage, id := reopen(t, dir, file)
		// What reaches to the end cannot be told from an unfinished write.
		atEnd := int64(at+faultfs.SectorBytes) > h.ends[len(h.ends)-2]
		if len(damage) == 0 && !atEnd || id <= h.nextID[len(h.nextID)-1] {
			t.Fatalf("sector at %d: damage %v, queue id %d", at, damage, id)
		}
		// Each value is one that its definition has had.
		for name, value := range state {
			had := false
			for _, s := range h.states {
				had = had || s[name] == value
			}
			if !had {
				t.Fatalf("sector at %d: %s is %q", at, name, value)
			}
		}
		again, damage, _ := openAndRead(t, dir)
		if !maps.Equal(again, state) || len(damage) > 0 {
			t.Fatalf("sector at %d: different when opened again", at)
		}
	}
}

func TestDamageIsNamed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, meta.Options{})
	must(t, s.Commit([]core.Change{global("good", "1")}))
	must(t, s.Commit([]core.Change{global("bad", "the first value")}))
	must(t, s.Commit([]core.Change{global("bad", "the second value")}))
	must(t, s.Commit([]core.Change{global("last", "1")}))
	must(t, s.Close())
	name := filepath.Join(dir, meta.FileName)
	file, err := os.ReadFile(name)
	must(t, err)
	at := bytes.Index(file, []byte("second value"))
	file[at] ^= 1
	must(t, os.WriteFile(name, file, 0o600))

	var damaged *meta.DamagedError
	_, err = meta.Open(vfs.OS, dir, meta.Options{RefuseDamage: true})
	if !errors.As(err, &damaged) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "bad") ||
		damaged.First.Offset > int64(at) || damaged.First.Offset+damaged.First.Length <= int64(at) {
		t.Fatalf("damage refused: %v", err)
	}
	if now, _ := os.ReadFile(name); !bytes.Equal(now, file) {
		t.Fatal("the refused file has been changed")
	}

	checked := make(map[string]string)
	foreseen, err := meta.Check(vfs.OS, dir, func(c core.Change) { checked[c.Key[0]] = c.Value.(core.GlobalDef).Value })
	must(t, err)
	if now, _ := os.ReadFile(name); !bytes.Equal(now, file) {
		t.Fatal("Check has changed the file")
	}

	state, damage, _ := openAndRead(t, dir)
	if !maps.Equal(checked, state) || len(foreseen) != len(damage) {
		t.Fatalf("Check found %v and %v, Open %v and %v", checked, foreseen, state, damage)
	}
	if !maps.Equal(state, map[string]string{"good": "1", "last": "1"}) {
		t.Fatalf("%v", state)
	}
	if len(damage) != 2 || damage[0].Kind != core.DefGlobal || damage[0].Key[0] != "bad" {
		t.Fatalf("%v", damage)
	}
	kept, err := os.ReadFile(damage[0].SideFile)
	must(t, err)
	for _, text := range []string{"the first value", string(file[at : at+12])} {
		if !bytes.Contains(kept, []byte(text)) {
			t.Errorf("%q is not in %s", text, damage[0].SideFile)
		}
	}
}

// After a power cut the end of the file may be blocks that belonged to it before
// a Shrink. Their records are good ones, and old.
func TestStaleEndAfterShrink(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, meta.Options{ShrinkMinBytes: -1})
	for i := range 60 {
		must(t, s.Commit([]core.Change{global("a", fmt.Sprint("old ", i)), global(fmt.Sprint("k", i%7), strings.Repeat("x", i*10))}))
		must(t, s.Commit([]core.Change{away(fmt.Sprint("k", i%7))}))
	}
	name := filepath.Join(dir, meta.FileName)
	before, err := os.ReadFile(name)
	must(t, err)
	must(t, s.Shrink())
	must(t, s.Commit([]core.Change{global("a", "new")}))
	after, err := os.ReadFile(name)
	must(t, err)
	synced := s.SyncedSize()
	must(t, s.Close())
	if int64(len(before)) < 2*synced {
		t.Fatal("the file did not become smaller")
	}
	want := map[string]string{"a": "new"}
	for _, end := range []int64{synced, int64(len(after))} {
		for _, gap := range []string{"", "torn"} {
			for _, from := range []int64{0, end, end + 100, end + 1000} {
				file := append(append(bytes.Clone(after[:end]), gap...), before[from:]...)
				if state, _, _ := reopen(t, dir, file); !maps.Equal(state, want) {
					t.Fatalf("end %d of %d, gap %q, old file from %d: %v", end, len(after), gap, from, state)
				}
			}
		}
	}
}

// buntdb's DEL has no checksum. One that names another definition after damage
// does not delete it.
func TestDamagedDeleteDeletesNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, meta.Options{})
	must(t, s.Commit([]core.Change{global("name-2", "1"), global("name-3", "1")}))
	must(t, s.Commit([]core.Change{away("name-2")}))
	must(t, s.Commit([]core.Change{global("later", "1")}))
	must(t, s.Close())
	name := filepath.Join(dir, meta.FileName)
	file, err := os.ReadFile(name)
	must(t, err)
	at := bytes.Index(file, []byte("del\r\n"))
	at += bytes.Index(file[at:], []byte("name-2")) + 5
	file[at] = '3'
	must(t, os.WriteFile(name, file, 0o600))
	state, damage, _ := openAndRead(t, dir)
	if !maps.Equal(state, map[string]string{"name-3": "1", "later": "1"}) || len(damage) != 1 {
		t.Fatalf("%v, damage %v", state, damage)
	}
}

// Queue ids are not given again if the record of the reservation is lost.
func TestLostReservationOfQueueIDs(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, meta.Options{})
	must(t, s.Commit([]core.Change{global("a", "1")}))
	before := s.SyncedSize()
	_, err := s.NextQueueID()
	must(t, err)
	file, err := os.ReadFile(filepath.Join(dir, meta.FileName))
	must(t, err)
	must(t, s.Close())
	clear(file[before+10:])
	if _, _, id := reopen(t, dir, file); id <= 1024 {
		t.Fatalf("queue id %d may have been given before", id)
	}
}

// TestMain runs a child that commits until it is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LEVERET_META_CHILD"); dir != "" {
		child(dir)
		return
	}
	os.Exit(m.Run())
}

// child commits pairs of definitions from several goroutines and says which
// have been confirmed. Each writer has its own names.
func child(dir string) {
	s, err := meta.Open(vfs.OS, dir, meta.Options{ShrinkMinBytes: 100_000})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	if err := s.Watch(func([]core.Change) {}); err != nil {
		fmt.Println("error", err)
		return
	}
	var out sync.Mutex
	say := func(text string) {
		out.Lock()
		defer out.Unlock()
		os.Stdout.WriteString(text + "\n")
	}
	for w := range 4 {
		go func() {
			start := 0
			if v, _, _ := s.Get(core.DefGlobal, []string{fmt.Sprint("w", w, "a")}); v != nil {
				fmt.Sscan(v.(core.GlobalDef).Value, &start)
			}
			for i := start + 1; ; i++ {
				value := fmt.Sprint(i, " ", strings.Repeat("x", i%500))
				changes := []core.Change{global(fmt.Sprint("w", w, "a"), value), global(fmt.Sprint("w", w, "b"), value)}
				if i%7 == 0 {
					id, err := s.NextQueueID()
					if err != nil {
						say("error " + err.Error())
						return
					}
					say(fmt.Sprint("id ", id))
				}
				changes = append(changes, global(fmt.Sprint("w", w, "-", i), "1"), away(fmt.Sprint("w", w, "-", i-3)))
				if err := s.Commit(changes); err != nil {
					say("error " + err.Error())
					return
				}
				say(fmt.Sprint("confirmed ", w, " ", i))
			}
		}()
	}
	select {}
}

// Whatever was confirmed to a process that is killed is there, each commit
// whole, and no queue id comes twice.
func TestKill(t *testing.T) {
	const rounds = 6
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	ids := make(map[int]bool)
	confirmed := [4]int{}
	total := 0
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "LEVERET_META_CHILD="+dir)
		stdout, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(stdout)
		killAfter := 50 + rng.IntN(400)
		for n := 0; lines.Scan(); n++ {
			line := lines.Text()
			var w, i int
			switch {
			case strings.HasPrefix(line, "error"):
				t.Fatalf("round %d: %s", round, line)
			case strings.HasPrefix(line, "id "):
				fmt.Sscanf(line, "id %d", &i)
				if ids[i] {
					t.Fatalf("round %d: queue id %d again", round, i)
				}
				ids[i] = true
			default:
				fmt.Sscanf(line, "confirmed %d %d", &w, &i)
				confirmed[w] = i
				total++
			}
			if n == killAfter {
				must(t, cmd.Process.Kill())
			}
		}
		if _, err := io.Copy(io.Discard, stdout); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Fatal(err)
		}
		_ = cmd.Wait() // It was killed.

		state, damage, id := openAndRead(t, dir)
		if len(damage) > 0 {
			t.Fatalf("round %d: damage %v", round, damage)
		}
		if ids[int(id)] {
			t.Fatalf("round %d: queue id %d again", round, id)
		}
		ids[int(id)] = true
		for w, least := range confirmed {
			a, b := state[fmt.Sprint("w", w, "a")], state[fmt.Sprint("w", w, "b")]
			i := 0
			fmt.Sscan(a, &i)
			if a != b || i < least || i > least+1 {
				t.Fatalf("round %d, writer %d: %.20q and %.20q, %d confirmed", round, w, a, b, least)
			}
			for j := max(i-2, 1); j <= i; j++ {
				if state[fmt.Sprint("w", w, "-", j)] != "1" {
					t.Fatalf("round %d, writer %d: commit %d is there in part", round, w, i)
				}
			}
			if _, there := state[fmt.Sprint("w", w, "-", i-3)]; there {
				t.Fatalf("round %d, writer %d: what commit %d deleted is there", round, w, i)
			}
		}
	}
	t.Logf("%d commits confirmed in %d rounds", total, rounds)
}

// FuzzOpen opens files of all sorts. Goroutines of buntdb make its coverage vary:
// run it with -fuzzminimizetime=1x, or it does little else than minimise.
func FuzzOpen(f *testing.F) {
	h := record(f, f.TempDir(), 6)
	f.Add(h.file)
	f.Add(h.file[:len(h.file)-3])
	f.Add(bytes.Replace(h.file, []byte("$1\r\nM"), []byte("$1\r\nI"), 1))
	f.Add(append(bytes.Clone(h.file), make([]byte, 600)...))
	f.Add([]byte("*3\r\n$3\r\nset\r\n$9999999999\r\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		dir := memoryDir(t)
		must(t, os.WriteFile(filepath.Join(dir, meta.FileName), file, 0o600))
		s, err := meta.Open(vfs.OS, dir, meta.Options{BallastBytes: -1})
		if err != nil {
			if now, _ := os.ReadFile(filepath.Join(dir, meta.FileName)); !bytes.Equal(now, file) {
				t.Fatalf("refused (%v), but changed", err)
			}
			return
		}
		state := globals(t, s)
		must(t, s.Commit([]core.Change{global("one more", "1")}))
		must(t, s.Close())
		state["one more"] = "1"
		again, damage, _ := openAndRead(t, dir)
		if !maps.Equal(again, state) || len(damage) > 0 {
			t.Fatalf("different when opened again: %v, damage %v", again, damage)
		}
	})
}

// FuzzDamage edits a good file: each four bytes of edits are a place and what
// happens there. As for FuzzOpen, -fuzzminimizetime=1x helps.
func FuzzDamage(f *testing.F) {
	h := record(f, f.TempDir(), 25)
	f.Add([]byte{0, 100, 0, 1})
	f.Add([]byte{2, 10, 1, 200, 1, 0, 2, 40})
	f.Add([]byte{3, 7, 3, 90})
	f.Fuzz(func(t *testing.T, edits []byte) {
		file := bytes.Clone(h.file)
		for ; len(edits) >= 4 && len(file) > 0; edits = edits[4:] {
			at := (int(edits[0])<<8 | int(edits[1])) % len(file)
			n := min(int(edits[3]), len(file)-at)
			switch edits[2] % 5 {
			case 0:
				file[at] ^= edits[3]
			case 1:
				clear(file[at : at+n])
			case 2: // Bytes are missing.
				file = append(file[:at], file[at+n:]...)
			case 3: // A piece of the file stands somewhere else too.
				copy(file[at:], bytes.Clone(file[len(file)-n:]))
			case 4:
				file = append(file[:at], append(bytes.Clone(file[:n]), file[at:]...)...)
			}
		}
		dir := memoryDir(t)
		must(t, os.WriteFile(filepath.Join(dir, meta.FileName), file, 0o600))
		s, err := meta.Open(vfs.OS, dir, meta.Options{BallastBytes: -1})
		if err != nil {
			if now, _ := os.ReadFile(filepath.Join(dir, meta.FileName)); !bytes.Equal(now, file) {
				t.Fatalf("refused (%v), but changed", err)
			}
			return
		}
		state := globals(t, s)
		must(t, s.Close())
		for name, value := range state {
			had := false
			for _, s := range h.states {
				had = had || s[name] == value
			}
			if !had {
				t.Fatalf("%s is %q", name, value)
			}
		}
		again, damage, _ := openAndRead(t, dir)
		if !maps.Equal(again, state) || len(damage) > 0 {
			t.Fatalf("different when opened again: %v, damage %v", again, damage)
		}
	})
}
