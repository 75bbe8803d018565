package meta_test

import (
	"testing"

	"leveret/core"
	"leveret/persist/meta"
	"leveret/persist/persisttest"
	"leveret/persist/vfs"
)

func TestConformance(t *testing.T) {
	dirs := make(map[core.Definitions]string)
	openIn := func(t *testing.T, dir string) core.Definitions {
		s, err := meta.Open(vfs.OS, dir, meta.Options{})
		must(t, err)
		dirs[s] = dir
		return s
	}
	persisttest.TestDefinitions(t,
		func(t *testing.T) core.Definitions { return openIn(t, t.TempDir()) },
		func(t *testing.T, d core.Definitions) core.Definitions {
			must(t, d.Close())
			return openIn(t, dirs[d])
		})
}
