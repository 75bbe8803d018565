package core_test

import (
	"testing"

	"leveret/core/coretest"
)

// TestScripts runs the rules of the broker as scripts; see package coretest.
func TestScripts(t *testing.T) { coretest.RunDir(t, "testdata") }
