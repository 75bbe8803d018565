package persist_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"leveret/core"
	"leveret/persist"
	"leveret/persist/persisttest"
	"leveret/persist/vfs"
	"leveret/persist/vfs/faultfs"
)

// quiet drops log lines.
var quiet = slog.New(slog.DiscardHandler)

func openLog(t testing.TB, fsys vfs.FS, dir string, o persist.LogOptions) *persist.Log {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet
	}
	l, err := persist.OpenLog(fsys, dir, o)
	if err != nil {
		t.Fatalf("OpenLog: %v", err)
	}
	return l
}

func TestConformance(t *testing.T) {
	for name, o := range map[string]persist.LogOptions{
		"default":        {},
		"small segments": {SegmentBytes: 64 << 10},
		"tiny segments":  {SegmentBytes: 4 << 10},
		"interval":       {Sync: persist.SyncInterval, SegmentBytes: 1 << 20},
		"none":           {Sync: persist.SyncNone, SegmentBytes: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			persisttest.Run(t, func(t *testing.T) persisttest.Harness {
				dir := filepath.Join(t.TempDir(), "log")
				return persisttest.Harness{Open: func(t testing.TB) core.MessageLog {
					l := openLog(t, vfs.OS, dir, o)
					if r := l.Opened(); !r.Sound() {
						t.Fatalf("opened a log that is not sound: %+v", r)
					}
					return l
				}}
			})
		})
	}
	t.Run("in memory", func(t *testing.T) {
		persisttest.Run(t, func(t *testing.T) persisttest.Harness {
			disk := faultfs.New(faultfs.Options{})
			return persisttest.Harness{Open: func(t testing.TB) core.MessageLog {
				l := openLog(t, disk, "/log", persist.LogOptions{SegmentBytes: 1 << 20})
				if r := l.Opened(); !r.Sound() {
					t.Fatalf("opened a log that is not sound: %+v", r)
				}
				return l
			}}
		})
	})
}

// A broker that is killed again and again, having stored little each time,
// neither leaves a whole segment behind each time nor more and more small ones.
func TestManyStarts(t *testing.T) {
	disk := faultfs.New(faultfs.Options{})
	o := persist.LogOptions{SegmentBytes: 1 << 20}
	text := func(s core.Seq) []byte { return fmt.Append(nil, "message ", s) }
	var want []core.Seq
	for s := core.Seq(1); s <= 40; s++ {
		l := openLog(t, disk, "/log", o)
		r := persisttest.Recover(t, l, nil)
		if got := r.Seqs(1, 0); !slices.Equal(got, want) {
			t.Fatalf("start %d: %v", s, got)
		}
		persisttest.Store(t, l, l.OpenQueue(1), text, s)
		want = append(want, s)
		left := disk.KillAt(disk.Ops())
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		disk = left
	}
	l := openLog(t, disk, "/log", o)
	persisttest.Recover(t, l, nil)
	// Two prepared, the one being written, a few from before.
	const segmentsMax = 16
	for deadline := time.Now().Add(persisttest.Deadline); ; {
		names, err := disk.ReadDir("/log")
		if err != nil {
			t.Fatal(err)
		}
		segments := 0
		for _, name := range names {
			if strings.HasSuffix(name, ".seg") {
				segments++
			}
		}
		if used := disk.Used(); segments <= segmentsMax && used < 8<<20 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("%d segments, %d bytes used", segments, used)
		}
		// Whatever is done wakes the janitor.
		want = append(want, want[len(want)-1]+1)
		persisttest.Store(t, l, l.OpenQueue(1), text, want[len(want)-1])
	}
	persisttest.CheckBodies(t, l, 1, text, want)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// sober is a logger for disks that do no more than fill up: whatever is said of
// a segment that cannot be compacted is wrong there.
func sober(t testing.TB) *slog.Logger { return slog.New(soberHandler{slog.DiscardHandler, t}) }

type soberHandler struct {
	slog.Handler
	t testing.TB
}

func (soberHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h soberHandler) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "cannot compact") {
		r.Attrs(func(a slog.Attr) bool {
			h.t.Errorf("%s: %v", r.Message, a)
			return true
		})
	}
	return nil
}
