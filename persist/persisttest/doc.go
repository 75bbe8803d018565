// Package persisttest holds the tests that every implementation of core's
// storage interfaces must pass: those on disk, and those in memory.
//
// TestDefinitions is the suite for core.Definitions. Read definitions.go.
package persisttest
