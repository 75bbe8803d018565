//go:build !linux

package process

import "runtime"

// ResidentBytes is the memory the Go runtime has from the system.
func ResidentBytes() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}

// The rest is known on Linux only; 0 is unknown.

// VirtualBytes is the process's address space.
func VirtualBytes() int64 { return 0 }

// OpenFiles counts its descriptors.
func OpenFiles() int { return 0 }

// FileLimit is how many it may have.
func FileLimit() int64 { return 0 }

// IOCounts are the bytes that it had the disk do.
func IOCounts() (read, written int64) { return 0, 0 }

// CPUSeconds is the processor time that it has used.
func CPUSeconds() float64 { return 0 }
