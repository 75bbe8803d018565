package persist_test

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"

	"leveret/persist"
	"leveret/persist/persisttest"
	"leveret/persist/vfs"
	"leveret/persist/vfs/faultfs"
)

// long makes the crash tests thorough: "make crash" sets it.
var long = flag.Bool("long", false, "crash tests take minutes and look at every point")

// TestPowerCut cuts power after every write, sync and change of a name of a
// random history, and again while what was left is recovered.
func TestPowerCut(t *testing.T) {
	scenarios, steps, cuts := 3, 150, 250
	if *long {
		scenarios, steps, cuts = 40, 400, 1<<30
	}
	if testing.Short() {
		scenarios = 1
	}
	for seed := range uint64(scenarios) {
		disk := faultfs.New(faultfs.Options{})
		o := persist.LogOptions{SegmentBytes: 16 << 10}
		if seed%3 == 2 {
			o.SegmentBytes = 4 << 10
		}
		l := openLog(t, disk, "/log", o)
		persisttest.Recover(t, l, nil)
		h := newHistory(disk.Ops)
		a := newActor(t, l, h, seed)
		for range steps {
			a.step()
		}
		a.wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(seed, 2))
		ops := disk.Ops()
		stride := max(1, ops/cuts)
		for at := 1; at <= ops; at += 1 + rng.IntN(stride) {
			cut := rng.Uint64()
			left := disk.CrashAt(at, cut)
			l := openLog(t, left, "/log", o)
			if err := h.check(t, l, at); err != nil {
				t.Fatalf("scenario %d, cut after %d of %d operations with seed %d: %v", seed, at, ops, cut, err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			// And once more, somewhere in recovery or in the Close behind it;
			// sometimes without the sidecars, which only save time.
			again := rng.IntN(left.Ops() + 1)
			left = left.CrashAt(again, cut)
			if rng.IntN(2) == 0 {
				removeSidecars(t, left)
			}
			l = openLog(t, left, "/log", o)
			if err := h.check(t, l, at); err != nil {
				t.Fatalf("scenario %d, cut after %d of %d operations with seed %d, then after %d: %v", seed, at, ops, cut, again, err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func removeSidecars(t *testing.T, fsys vfs.FS) {
	t.Helper()
	names, err := fsys.ReadDir("/log")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".idx") {
			if err := fsys.Remove("/log/" + name); err != nil {
				t.Fatal(err)
			}
		}
	}
}
