package faultfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"leveret/persist/vfs"
	"leveret/persist/vfs/faultfs"
)

func create(t testing.TB, fsys vfs.FS, name string) vfs.File {
	t.Helper()
	f, err := fsys.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func writeAt(t testing.TB, f vfs.File, data []byte, offset int64) {
	t.Helper()
	if _, err := f.WriteAt(data, offset); err != nil {
		t.Fatal(err)
	}
}

// The same operations have the same results as on the file system of the machine.
func TestBehavesAsOS(t *testing.T) {
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	memory := faultfs.New(faultfs.Options{})
	both := [2]vfs.FS{vfs.OS, memory}
	must(t, memory.MkdirAll(dir, 0o700))
	names := []string{"a", "b", "c", "d"}
	pick := func() string { return filepath.Join(dir, names[rng.IntN(len(names))]) }
	kinds := []error{fs.ErrNotExist, fs.ErrExist}

	for step := range 3000 {
		a, b := pick(), pick()
		data := bytes.Repeat([]byte{byte(step)}, rng.IntN(2000))
		offset, size := int64(rng.IntN(3000)), int64(rng.IntN(3000))
		op := rng.IntN(8)
		var got [2]string
		for i, fsys := range both {
			var err error
			var out any
			withFile := func(flag int, fn func(f vfs.File) error) {
				f, openErr := fsys.OpenFile(a, flag, 0o600)
				if err = openErr; err == nil {
					err = fn(f)
					must(t, f.Close())
				}
			}
			switch op {
			case 0:
				withFile(os.O_RDWR|os.O_CREATE|os.O_EXCL, func(f vfs.File) error { _, err := f.Write(data); return err })
			case 1:
				withFile(os.O_RDWR, func(f vfs.File) error { _, err := f.WriteAt(data, offset); return err })
			case 2:
				withFile(os.O_RDWR|os.O_CREATE|os.O_TRUNC, func(f vfs.File) error {
					_, err := f.Write(data)
					_, err2 := f.Write([]byte("more"))
					return errors.Join(err, err2)
				})
			case 3:
				withFile(os.O_RDWR, func(f vfs.File) error { return f.Truncate(size) })
			case 4:
				withFile(os.O_RDWR, func(f vfs.File) error { return f.Preallocate(offset, size) })
			case 5:
				err = fsys.Rename(a, b)
			case 6:
				err = fsys.Link(a, b)
			case 7:
				err = fsys.Remove(a)
			}
			kind := "nil"
			if err != nil {
				kind = "another error"
				for _, k := range kinds {
					if errors.Is(err, k) {
						kind = k.Error()
					}
				}
			}
			listed, err := fsys.ReadDir(dir)
			must(t, err)
			for _, n := range listed {
				content, err := vfs.ReadFile(fsys, filepath.Join(dir, n))
				must(t, err)
				info, err := fsys.Stat(filepath.Join(dir, n))
				must(t, err)
				out = fmt.Sprintf("%v %s %d %x", out, n, info.Size(), crc32.ChecksumIEEE(content))
			}
			got[i] = fmt.Sprint(kind, out)
		}
		if got[0] != got[1] {
			t.Fatalf("seed %d step %d: operation %d on %s, %s:\nOS     %.300s\nmemory %.300s", seed, step, op, a, b, got[0], got[1])
		}
	}
}

func TestSyncedIsWholeAfterPowerCut(t *testing.T) {
	disk := faultfs.New(faultfs.Options{})
	must(t, disk.MkdirAll("/d", 0o700))
	f := create(t, disk, "/d/a")
	want := bytes.Repeat([]byte("synced"), 1000)
	writeAt(t, f, want, 0)
	must(t, f.Sync())
	must(t, disk.SyncDir("/d"))
	synced := disk.Ops()
	writeAt(t, f, bytes.Repeat([]byte("x"), 6000), 6000)
	for seed := range uint64(200) {
		for ops := synced; ops <= disk.Ops(); ops++ {
			got, err := vfs.ReadFile(disk.CrashAt(ops, seed), "/d/a")
			if err != nil || len(got) < len(want) || !bytes.Equal(got[:len(want)], want) {
				t.Fatalf("seed %d, after %d operations: %d bytes, %v", seed, ops, len(got), err)
			}
		}
	}
}

// Over a hundred seeds an overwrite of three sectors leaves each of the eight
// outcomes, and nothing else.
func TestUnsyncedSectorsAreThereOrNot(t *testing.T) {
	disk := faultfs.New(faultfs.Options{})
	f := create(t, disk, "/a")
	writeAt(t, f, bytes.Repeat([]byte("o"), 3*faultfs.SectorBytes), 0)
	must(t, f.Sync())
	must(t, disk.SyncDir("/"))
	writeAt(t, f, bytes.Repeat([]byte("n"), 3*faultfs.SectorBytes-100), 50)

	seen := make(map[string]int)
	for seed := range uint64(200) {
		got, err := vfs.ReadFile(disk.Crash(seed), "/a")
		must(t, err)
		outcome := ""
		for s := range 3 {
			sector := got[s*faultfs.SectorBytes:][:faultfs.SectorBytes]
			inner := sector[50 : len(sector)-50]
			if n := bytes.Count(inner, []byte("n")); n != 0 && n != len(inner) {
				t.Fatalf("seed %d: sector %d is torn", seed, s)
			}
			outcome += string(inner[0])
		}
		if got[0] != 'o' || got[len(got)-1] != 'o' {
			t.Fatalf("seed %d: what was not overwritten has changed", seed)
		}
		seen[outcome]++
	}
	if len(seen) != 8 {
		t.Fatalf("outcomes %v, want all eight", seen)
	}
}

// A file that grew may have its size without its data: zeros or stale bytes.
func TestGrownFileMayHoldStaleBytes(t *testing.T) {
	disk := faultfs.New(faultfs.Options{})
	f := create(t, disk, "/a")
	must(t, disk.SyncDir("/"))
	writeAt(t, f, bytes.Repeat([]byte("n"), 4*faultfs.SectorBytes), 0)
	var empty, whole, zeros, other bool
	for seed := range uint64(300) {
		got, err := vfs.ReadFile(disk.Crash(seed), "/a")
		must(t, err)
		empty = empty || len(got) == 0
		whole = whole || bytes.Count(got, []byte("n")) == 4*faultfs.SectorBytes
		zeros = zeros || bytes.Contains(got, make([]byte, faultfs.SectorBytes))
		other = other || len(bytes.Trim(got, "n\x00")) > 0
	}
	if !empty || !whole || !zeros || !other {
		t.Fatalf("seen: empty %t, whole %t, zeros %t, rubbish %t", empty, whole, zeros, other)
	}
}

func TestNamesAreThereOrNotUntilSyncDir(t *testing.T) {
	disk := faultfs.New(faultfs.Options{})
	must(t, disk.MkdirAll("/d", 0o700))
	for _, n := range []string{"a", "b", "c"} {
		f := create(t, disk, "/d/"+n)
		writeAt(t, f, []byte(n), 0)
		must(t, f.Sync())
	}
	must(t, disk.SyncDir("/d"))
	must(t, disk.Rename("/d/a", "/d/a2"))
	must(t, disk.Remove("/d/b"))
	must(t, disk.Link("/d/c", "/d/c2"))
	before := disk.Ops()

	seen := make(map[string]int)
	for seed := range uint64(300) {
		names, err := disk.CrashAt(before, seed).ReadDir("/d")
		must(t, err)
		seen[fmt.Sprint(names)]++
	}
	if len(seen) != 8 {
		t.Fatalf("outcomes %v, want eight", seen)
	}
	must(t, disk.SyncDir("/d"))
	for seed := range uint64(50) {
		names, err := disk.Crash(seed).ReadDir("/d")
		if err != nil || !slices.Equal(names, []string{"a2", "c", "c2"}) {
			t.Fatalf("seed %d: names %v, %v after SyncDir", seed, names, err)
		}
	}
}

func TestSeedRepeatsACrash(t *testing.T) {
	disk := faultfs.New(faultfs.Options{})
	for i := range 20 {
		f := create(t, disk, fmt.Sprintf("/%d", i))
		writeAt(t, f, bytes.Repeat([]byte{byte(i)}, 5000), 0)
	}
	content := func(d *faultfs.FS) string {
		var b bytes.Buffer
		names, err := d.ReadDir("/")
		must(t, err)
		for _, n := range names {
			data, err := vfs.ReadFile(d, "/"+n)
			must(t, err)
			fmt.Fprintf(&b, "%s %x\n", n, data)
		}
		return b.String()
	}
	for seed := range uint64(20) {
		first := content(disk.CrashAt(30, seed))
		content(disk.CrashAt(10, seed)) // Going back must not matter.
		if second := content(disk.CrashAt(30, seed)); first != second {
			t.Fatalf("seed %d gave two disks", seed)
		}
	}
	if a, b := content(disk.KillAt(disk.Ops())), content(disk); a != b {
		t.Fatal("a killed process lost something")
	}
}

// What a failed sync should have written is not made safe by a later one.
func TestFailedSyncLosesData(t *testing.T) {
	disk := faultfs.New(faultfs.Options{})
	in := faultfs.Inject(disk)
	f := create(t, in, "/a")
	must(t, in.SyncDir("/"))
	writeAt(t, f, []byte("lost"), 0)
	in.Add(faultfs.Fault{Op: faultfs.OpSync})
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Sync: %v, want EIO", err)
	}
	must(t, f.Sync())
	writeAt(t, f, []byte("kept"), 1000)
	must(t, f.Sync())
	var lost, there int
	for seed := range uint64(100) {
		got, err := vfs.ReadFile(disk.Crash(seed), "/a")
		must(t, err)
		if string(got[1000:]) != "kept" {
			t.Fatalf("seed %d: what was synced is gone", seed)
		}
		if bytes.HasPrefix(got, []byte("lost")) {
			there++
		} else {
			lost++
		}
	}
	if lost == 0 || there == 0 {
		t.Fatalf("lost %d times, there %d times", lost, there)
	}
}

func TestDiskFull(t *testing.T) {
	disk := faultfs.New(faultfs.Options{SizeBytes: 1000})
	a, b := create(t, disk, "/a"), create(t, disk, "/b")
	writeAt(t, a, make([]byte, 900), 0)
	if n, err := b.Write(make([]byte, 300)); n != 100 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("wrote %d, %v; want 100 and ENOSPC", n, err)
	}
	if err := b.Preallocate(0, 200); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Preallocate: %v", err)
	}
	writeAt(t, a, make([]byte, 900), 0) // Overwriting needs no space.
	must(t, disk.Remove("/a"))
	if free, _ := disk.FreeSpace("/"); free != 0 {
		t.Fatalf("%d bytes free while the file is open", free)
	}
	must(t, a.Close())
	if free, _ := disk.FreeSpace("/"); free != 900 || disk.Used() != 100 {
		t.Fatalf("%d bytes free, %d used", free, disk.Used())
	}
	must(t, b.Preallocate(0, 1000))
}

func TestLockIsExclusive(t *testing.T) {
	disk := faultfs.New(faultfs.Options{})
	l, err := disk.Lock("/lock")
	must(t, err)
	var locked *vfs.LockedError
	if _, err := disk.Lock("/lock"); !errors.As(err, &locked) {
		t.Fatalf("second lock: %v", err)
	}
	must(t, l.Close())
	l, err = disk.Lock("/lock")
	must(t, err)
	must(t, l.Close())
}

func TestFaults(t *testing.T) {
	disk := faultfs.New(faultfs.Options{})
	in := faultfs.Inject(disk)
	f := create(t, in, "/a")
	in.Add(faultfs.Fault{Op: faultfs.OpWrite, Nth: 2, For: 2, Err: syscall.ENOSPC, Half: true})
	var sizes []int
	for range 4 {
		n, err := f.Write([]byte("1234"))
		if (err != nil) != (n == 2) || err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("wrote %d, %v", n, err)
		}
		sizes = append(sizes, n)
	}
	if !slices.Equal(sizes, []int{4, 2, 2, 4}) {
		t.Fatalf("written %v", sizes)
	}
	if got, _ := vfs.ReadFile(disk, "/a"); string(got) != "123412121234" {
		t.Fatalf("content %q", got)
	}

	in.Add(faultfs.Fault{Op: faultfs.OpRename, For: -1, Match: func(name string) bool { return name == "/a" }})
	for range 3 {
		if err := in.Rename("/a", "/b"); !errors.Is(err, syscall.EIO) {
			t.Fatalf("Rename: %v", err)
		}
	}
	in.Clear()
	must(t, in.Rename("/a", "/b"))
	if n := in.Count(faultfs.OpRename); n != 4 {
		t.Fatalf("%d renames counted", n)
	}
}

// Every operation of an Injector can be made to fail, and fails with nothing done.
func TestEveryOperationCanFail(t *testing.T) {
	for _, op := range faultfs.Ops {
		t.Run(string(op), func(t *testing.T) {
			disk := faultfs.New(faultfs.Options{})
			in := faultfs.Inject(disk)
			f := create(t, in, "/a")
			in.Add(faultfs.Fault{Op: op, For: -1})
			before := disk.Ops()
			_, openErr := in.OpenFile("/c", os.O_RDWR|os.O_CREATE, 0o600)
			_, readDirErr := in.ReadDir("/")
			_, statErr := in.Stat("/a")
			_, lockErr := in.Lock("/a")
			_, freeErr := in.FreeSpace("/")
			_, readErr := f.ReadAt(nil, 0)
			_, writeErr := f.Write([]byte("x"))
			errs := map[faultfs.Op]error{
				faultfs.OpOpen: openErr, faultfs.OpReadDir: readDirErr, faultfs.OpStat: statErr,
				faultfs.OpLock: lockErr, faultfs.OpFreeSpace: freeErr, faultfs.OpWrite: writeErr,
				faultfs.OpRead:        ignoreEOF(readErr),
				faultfs.OpMkdirAll:    in.MkdirAll("/d", 0o700),
				faultfs.OpSyncDir:     in.SyncDir("/"),
				faultfs.OpTruncate:    f.Truncate(7),
				faultfs.OpPreallocate: f.Preallocate(0, 9),
				faultfs.OpLink:        in.Link("/a", "/l"),
				faultfs.OpRename:      in.Rename("/a", "/b"),
				faultfs.OpRemove:      in.Remove("/l"),
				faultfs.OpSync:        f.Sync(),
				faultfs.OpClose:       f.Close(),
			}
			if !errors.Is(errs[op], syscall.EIO) {
				t.Fatalf("%v, want EIO", errs[op])
			}
			if disk.Ops() == before {
				t.Fatal("nothing else worked")
			}
			for other, err := range errs {
				dependent := op == faultfs.OpLink && other == faultfs.OpRemove
				if other != op && err != nil && !dependent {
					t.Errorf("%s failed too: %v", other, err)
				}
			}
		})
	}
}

func ignoreEOF(err error) error {
	if err != nil && err.Error() == "EOF" {
		return nil
	}
	return err
}

func TestSyncDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := faultfs.Inject(faultfs.New(faultfs.Options{}))
		f := create(t, in, "/a")
		var seen []string
		in.SetBefore(func(op faultfs.Op, name string) { seen = append(seen, string(op)+" "+name) })
		in.SetSyncDelay(50 * time.Millisecond)
		start := time.Now()
		must(t, f.Sync())
		if d := time.Since(start); d != 50*time.Millisecond {
			t.Fatalf("took %v", d)
		}
		if !slices.Equal(seen, []string{"sync /a"}) {
			t.Fatalf("saw %v", seen)
		}
	})
}
