//go:build !darwin && !linux

package config

// systemMemory knows nothing.
func systemMemory() int64 { return 0 }
