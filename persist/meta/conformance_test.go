package meta_test

import (
	"testing"

	"leveret/core"
	"leveret/persist/meta"
	"leveret/persist/persisttest"
	"leveret/persist/vfs"
)

func TestConformance(t *testing.T) {
	persisttest.TestDefinitions(t, func(t *testing.T) core.Definitions {
		s, err := meta.Open(vfs.OS, t.TempDir(), meta.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
