//go:build !darwin

package config

// systemMemory knows nothing: Linux has said it in /proc/meminfo.
func systemMemory() int64 { return 0 }
