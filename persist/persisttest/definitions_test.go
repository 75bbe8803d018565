package persisttest_test

import (
	"testing"

	"leveret/core"
	"leveret/persist/persisttest"
)

func TestMemoryDefinitions(t *testing.T) {
	persisttest.TestDefinitions(t, func(*testing.T) core.Definitions { return core.NewMemoryDefinitions() })
}
