package persist_test

import (
	"log/slog"
	"path/filepath"
	"testing"

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
