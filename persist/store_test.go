package persist_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"leveret/core"
	"leveret/persist"
	"leveret/persist/persisttest"
	"leveret/persist/vfs"
	"leveret/persist/vfs/faultfs"
)

// A backup that fails, wherever that is, leaves nothing by its name, and the
// next one is whole.
func TestBackupCutShort(t *testing.T) {
	dir := t.TempDir()
	bad := faultfs.Inject(vfs.OS)
	s, err := persist.Open(bad, filepath.Join(dir, "data"), persist.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(s.Log.Close(), s.Streams.Close(), s.Definitions.Close()); err != nil {
			t.Error(err)
		}
	}()
	text := func(s core.Seq) []byte { return fmt.Append(nil, "message ", s) }
	persisttest.Recover(t, s.Log, nil)
	persisttest.Store(t, s.Log, s.Log.OpenQueue(1), text, 1, 2, 3)

	dst := filepath.Join(dir, "backup")
	in := func(name string) bool {
		r, err := filepath.Rel(dst+".incomplete", name)
		return err == nil && filepath.IsLocal(r)
	}
	for _, op := range []faultfs.Op{faultfs.OpWrite, faultfs.OpSync, faultfs.OpOpen, faultfs.OpSyncDir, faultfs.OpRename} {
		failed := 0
		for nth := 1; ; nth++ {
			bad.Add(faultfs.Fault{Op: op, Nth: nth, Err: syscall.EIO, Match: in})
			err := s.Backup(dst)
			if err == nil {
				break
			}
			failed++
			if _, err := os.Stat(dst); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("%v %d: a backup that failed is there: %v", op, nth, err)
			}
		}
		if failed == 0 {
			t.Fatalf("%v never failed", op)
		}
		c, err := persist.Open(vfs.OS, dst, persist.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		got := persisttest.Recover(t, c.Log, nil).Seqs(1, 0)
		if r := c.Log.Opened(); !r.Sound() || len(got) != 3 {
			t.Fatalf("%v: %v, %+v", op, got, r)
		}
		if err := errors.Join(c.Log.Close(), c.Streams.Close(), c.Definitions.Close(), os.RemoveAll(dst)); err != nil {
			t.Fatal(err)
		}
	}
}
