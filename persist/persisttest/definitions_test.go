package persisttest_test

import (
	"testing"

	"leveret/core"
	"leveret/persist/persisttest"
)

func TestMemoryDefinitions(t *testing.T) {
	persisttest.TestDefinitions(t,
		func(*testing.T) core.Definitions { return core.NewMemoryDefinitions() },
		func(t *testing.T, d core.Definitions) core.Definitions {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			return d
		})
}
